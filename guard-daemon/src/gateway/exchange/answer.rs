//! The upstream's answer on its way to the client.

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{Method, Response, Version};
use hyper::body::Incoming;

use super::super::body::ResponseBody;
use super::super::forward::{self, Unreadable, Wanted};
use super::super::outcome::Completion;
use super::super::refusal::Refusal;
use super::Exchange;
use super::authenticate::Authenticated;
use super::mint::Handed;
use crate::aws::catalog::Output;
use crate::aws::{Call, Protocol};
use crate::broker::DummyCredentials;
use crate::mask::minted::{self, Mints};
use crate::mask::{self, Class, Layout, MaskError, Minting, Shape};
use crate::policy::Masked;

/// Answers as HAL, in another form than its model's, unless it is asked for `application/json`, as SDKs do.
const HAL: &str = "apigateway";

/// What is to be changed in an answer.
pub(super) enum Edits {
    /// What the API model says.
    Modelled(Modelled),
    /// Nothing, since nobody knows where: it passes only without keys in it.
    Unknown,
}

/// What the API model says of an answer.
pub(super) struct Modelled {
    protocol: Protocol,
    output: Output,
    masked: Masked,
    /// It has temporary credentials, which never pass, whatever is masked.
    mints: Option<&'static Mints>,
    wanted: Wanted,
}

impl Edits {
    /// `None` where the answer passes as it comes. `query` is the request's.
    pub(super) fn of(call: &Call, query: &str, masked: Masked) -> Option<Self> {
        if minted::may_hold_unfound(call, query) {
            return Some(Self::Unknown);
        }
        let output = call.output?;
        let mut services = call.candidates.iter().map(|it| it.0);
        let masked = if services.any(|service| minted::ALWAYS_MASKED.contains(&service)) {
            masked.with(Class::Credential)
        } else {
            masked
        };
        let mut candidates = call.candidates.iter();
        let mints = candidates.find_map(|(service, operation)| Mints::of(service, operation));
        let changes =
            mints.is_some() || forward::has_masked(output, |class| masked.contains(class));
        let document =
            !matches!(output.layout(), Layout::Payload { shape, .. } if shape.kind().is_opaque());
        let hal = document && call.candidates.iter().any(|it| it.0 == HAL);
        changes.then_some(Self::Modelled(Modelled {
            protocol: call.protocol,
            output,
            masked,
            mints,
            wanted: if hal {
                Wanted::PlainJson
            } else {
                Wanted::Plain
            },
        }))
    }

    /// How the answer must come so that it can be changed.
    pub(super) fn wanted(edits: Option<&Self>) -> Wanted {
        match edits {
            None => Wanted::AsAsked,
            Some(Self::Unknown) => Wanted::Plain,
            Some(Self::Modelled(modelled)) => modelled.wanted,
        }
    }

    fn mints(&self) -> Option<&'static Mints> {
        match self {
            Self::Modelled(modelled) => modelled.mints,
            Self::Unknown => None,
        }
    }

    /// Masks the headers of an answer that is not successful, and returns their names.
    pub(super) fn apply_to_headers(&self, parts: &mut Parts) -> Vec<String> {
        match self {
            Self::Modelled(modelled) => {
                let masks = |class| modelled.masked.contains(class);
                mask::mask_headers(modelled.output, &mut parts.headers, &masks)
            }
            Self::Unknown => Vec::new(),
        }
    }

    /// The answer's body as it is sent, the paths of what changed in it, and the dummies that are in it.
    fn apply(
        &self,
        parts: &mut Parts,
        body: Bytes,
    ) -> Result<(Bytes, Vec<String>, Handed), MaskError> {
        let modelled = match self {
            Self::Modelled(modelled) => modelled,
            Self::Unknown if minted::holds_keys(&body) => return Err(MaskError::Unknown),
            Self::Unknown => return Ok((body, Vec::new(), Handed::new())),
        };
        let mut handed = Handed::new();
        let mut issue = |fresh| {
            let dummy = DummyCredentials::temporary();
            handed.push((fresh, dummy.clone()));
            dummy
        };
        let mut minting = modelled.mints.map(|mints| Minting {
            mints,
            issue: &mut issue,
        });
        let masks = |class| modelled.masked.contains(class);
        let (body, paths) = mask::mask_response(
            modelled.output,
            modelled.protocol,
            parts,
            body,
            &masks,
            minting.as_mut(),
        )?;
        Ok((body, paths, handed))
    }
}

impl Exchange {
    /// Passes the answer of a call that went well on: as it arrives, or changed where it holds what is to be changed.
    pub(super) async fn answer(
        &self,
        response: Response<Incoming>,
        edits: Option<Edits>,
        from: &Authenticated,
        mut completion: Completion,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (mut parts, body) = response.into_parts();
        completion.answered(parts.status, &parts.headers);
        forward::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::HTTP_11;
        let Some(edits) = edits else {
            return Ok(Response::from_parts(
                parts,
                ResponseBody::through(body, completion),
            ));
        };
        let withheld = |completion: &mut Completion, text: String| {
            completion.fail("not-masked", &text);
            Refusal::failed(format!("the call ran, but its answer is withheld: {text}"))
        };
        let limit = self.gateway.config.limits.response_body_bytes;
        let mut charge = self.session.bodies.answer(limit);
        let bytes = forward::read_answer(&parts.headers, body, limit, &mut charge)
            .await
            .map_err(|error| withheld(&mut completion, error.to_string()))?;
        completion.received(bytes.len());
        let (bytes, paths, handed) = edits
            .apply(&mut parts, bytes)
            .map_err(|error| withheld(&mut completion, error.to_string()))?;
        charge
            .resize(bytes.len() as u64)
            .map_err(|_busy| withheld(&mut completion, Unreadable::Busy.to_string()))?;
        if let Some(mints) = edits.mints() {
            self.hand_out(mints, from, handed)
                .await
                .map_err(|text| withheld(&mut completion, text))?;
        }
        completion.masked(paths);
        if self.reply.method != Method::HEAD {
            parts
                .headers
                .insert(CONTENT_LENGTH, (bytes.len() as u64).into());
        }
        let body = ResponseBody::collected(bytes, charge, completion);
        Ok(Response::from_parts(parts, body))
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;
    use crate::aws::{BodyView, RequestView, catalog, identify};

    fn credentials() -> Masked {
        [Class::Credential].into_iter().collect()
    }

    fn edits(method: &Method, host: &str, path: &str, masked: Masked) -> Option<Edits> {
        let headers = HeaderMap::new();
        let request = RequestView {
            method,
            host,
            path,
            query: "",
            headers: &headers,
            body: BodyView::Whole(b""),
        };
        let call = identify(&request, None, None, &[]).unwrap();
        assert!(call.candidates.iter().next().is_some(), "{path}");
        Edits::of(&call, "", masked)
    }

    #[test]
    fn what_answers_as_hal_is_asked_for_json() {
        let wanted = |host: &str, path: &str| {
            Edits::wanted(edits(&Method::GET, host, path, credentials()).as_ref())
        };
        let host = "apigateway.us-east-1.amazonaws.com";
        assert_eq!(wanted(host, "/apikeys"), Wanted::PlainJson);
        // Its `Accept` says which document is exported.
        let export = "/restapis/a/stages/b/exports/oas30";
        assert_ne!(wanted(host, export), Wanted::PlainJson);
        let host = "lambda.us-east-1.amazonaws.com";
        assert_eq!(wanted(host, "/2015-03-31/functions/f"), Wanted::Plain);
    }

    #[test]
    fn tokens_that_buy_credentials_never_pass() {
        for (host, path, body) in [
            (
                "oidc.us-east-1.amazonaws.com",
                "/token",
                r#"{"accessToken":"s3cret","tokenType":"Bearer","expiresIn":1,"refreshToken":"s3cret","idToken":"s3cret"}"#,
            ),
            (
                "us-east-1.signin.aws.amazon.com",
                "/v1/token",
                r#"{"accessToken":{"accessKeyId":"ASIAREAL","secretAccessKey":"s3cret-key","sessionToken":"s3cret-token"},
                    "tokenType":"x","expiresIn":1,"refreshToken":"s3cret","idToken":"s3cret"}"#,
            ),
        ] {
            let masked = std::iter::empty::<Class>().collect();
            let edits = edits(&Method::POST, host, path, masked).expect(host);
            let (mut parts, ()) = Response::new(()).into_parts();
            let (body, paths, _) = edits.apply(&mut parts, body.into()).expect(host);
            let body = String::from_utf8_lossy(&body);
            assert!(!body.contains("s3cret"), "{host}: {body}");
            assert!(paths.contains(&"refreshToken".to_owned()), "{paths:?}");
        }
    }

    #[test]
    fn headers_of_an_unsuccessful_answer_are_masked() {
        let header = "x-amz-server-side-encryption-aws-kms-key-id";
        let edits = Edits::Modelled(Modelled {
            protocol: Protocol::S3,
            output: catalog::output("s3", "PutObject").unwrap(),
            masked: [Class::Content].into_iter().collect(),
            mints: None,
            wanted: Wanted::Plain,
        });
        let mut parts = Response::new(()).into_parts().0;
        parts.status = StatusCode::BAD_REQUEST;
        parts
            .headers
            .insert(header, HeaderValue::from_static("hunter2"));
        assert_eq!(
            edits.apply_to_headers(&mut parts),
            [format!("header {header}")]
        );
        assert!(!format!("{:?}", parts.headers).contains("hunter2"));
    }
}
