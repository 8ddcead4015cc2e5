//! A request for a token: guard's own host. Decided, held and recorded like any exchange, and answered here
//! instead of being forwarded. Host and path of its entry say what the token is for.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::super::body::ResponseBody;
use super::super::outcome;
use super::super::refusal::Refusal;
use super::super::spool::Spool;
use super::Exchange;
use super::authenticate::{Authenticated, By};
use super::send::Leaving;
use crate::aws::error::Code;
use crate::aws::sigv4::Form;
use crate::aws::token::{Asked, Minted, SERVICE};
use crate::aws::{BodyView, Protocol};
use crate::term::Limit;

impl Exchange {
    /// Makes the token that the request asks for, where the profile lets it.
    pub(super) async fn token(
        &mut self,
        parts: &Parts,
        body: &mut Spool<Incoming>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        self.reply.protocol = Protocol::RestJson;
        let from = self.authenticate(parts, body).await?;
        let asked = asked(parts, &from, body).await?;
        let account = self.principal(&from, false).await.map(|it| it.account);
        let call = asked.call(account.as_deref());
        outcome::describe(&mut self.decided, &call);
        let (host, path) = asked.place();
        self.decided.host = host;
        self.decided.path = outcome::bounded(&path);
        self.decide(parts, &from, &call, body).await?;
        let leaving = self.leaving(&from, &call).await?;
        let Leaving::Signed { credentials, .. } = &leaving else {
            return Err(unsigned());
        };
        let mut completion = self.record_allowed(&leaving).await?;
        let left = self.session.term.limit().map(Limit::left);
        let minted = asked
            .mint(credentials, SystemTime::now(), left)
            .map_err(|error| error.to_string())
            .and_then(|minted| answer(&minted))
            .map_err(|text| {
                completion.fail("not-made", &text);
                Refusal::failed(text)
            })?;
        completion.answered(StatusCode::OK, &HeaderMap::new());
        completion.finish();
        Ok(minted)
    }
}

/// What is asked for. It must be signed for guard itself, in the header: no signature for another host, and
/// none that was handed on as a link, gets a token.
async fn asked(
    parts: &Parts,
    from: &Authenticated,
    body: &mut Spool<Incoming>,
) -> Result<Asked, Refusal> {
    let signed = matches!(
        &from.by,
        By::Signature { presented, .. } if presented.service == SERVICE && presented.form == Form::Header
    );
    if !signed {
        return Err(unsigned());
    }
    if parts.method != Method::POST || parts.uri.path() != "/" || parts.uri.query().is_some() {
        let text = "tokens are asked for by POST of / alone; use guard token";
        return Err(Refusal::denied(Code::InvalidRequest, text));
    }
    body.collect().await?;
    from.check_digest(body)?;
    let BodyView::Whole(bytes) = body.view() else {
        return Err(Refusal::denied(
            Code::RequestTooLarge,
            "the request for a token is too large",
        ));
    };
    Asked::parse(bytes).map_err(|error| Refusal::denied(Code::InvalidRequest, error.to_string()))
}

fn unsigned() -> Refusal {
    Refusal::denied(
        Code::AccessDenied,
        "a token is made for a signed request alone; use guard token, with the credentials that guard put in the \
         environment",
    )
}

fn answer(minted: &Minted) -> Result<Response<ResponseBody>, String> {
    let expires = OffsetDateTime::from(minted.expires)
        .replace_nanosecond(0)
        .map_err(|error| error.to_string())?
        .format(&Rfc3339)
        .map_err(|error| error.to_string())?;
    let body = Zeroizing::new(
        json!({
            "token": minted.token.as_str(),
            "username": minted.username.as_ref().map(|it| it.as_str()),
            "expiration": expires,
        })
        .to_string(),
    );
    let mut response = Response::new(ResponseBody::whole(Bytes::copy_from_slice(body.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
