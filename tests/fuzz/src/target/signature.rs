//! A request (see `request`) is read for a signature, and signed.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use guard_daemon::aws::sigv4::{self, Algorithm, Form, Payload, SignAs};
use guard_daemon::aws::{BodyView, RequestView, Scope};
use http::uri::PathAndQuery;

use crate::request::{Request, is_scope};

/// Nobody signs an input with it.
const SECRET: &str = "a secret that no input was signed with";

/// What a request presents is well formed and verified by nobody's secret; what guard signs, with another
/// implementation, guard verifies.
pub(crate) fn run(data: &[u8]) {
    let Some(request) = Request::read(data) else {
        return;
    };
    let view = request.view(BodyView::Whole(request.body));
    let now = UNIX_EPOCH + Duration::from_secs(1_773_500_966);
    let Ok(presented) = sigv4::presented(&view) else {
        return;
    };
    if let Some(presented) = presented {
        assert!(presented.signed_headers.is_sorted(), "{presented:?}");
        if presented.algorithm == Algorithm::HmacSha256 {
            assert_eq!(presented.signature.len(), 64, "{presented:?}");
        }
        let scope = (&*presented.region, &*presented.service);
        assert!(is_scope(&scope), "{presented:?}");
        if let Form::Query { expires } = presented.form {
            assert!(expires <= 604_800, "{presented:?}");
        }
        let _ = sigv4::declared_payload_of(&presented, &view);
        let verified = sigv4::verify(&presented, &view, Payload::Unsigned, SECRET, now);
        assert!(verified.is_err(), "{presented:?}");
    }
    sign_and_verify(&request, now);
}

fn sign_and_verify(request: &Request<'_>, now: std::time::SystemTime) {
    let (region, service) = request.scope.unwrap_or(("us-east-1", "s3"));
    let target = match request.query {
        "" => request.path.to_owned(),
        query => format!("{}?{query}", request.path),
    };
    let Ok(target) = PathAndQuery::try_from(target.as_str()) else {
        return;
    };
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = request.method.clone();
    parts.uri = target.into();
    parts.headers = request.headers.clone();
    let credentials = Credentials::new("AKIAFUZZFUZZFUZZFUZZ", SECRET, None, None, "fuzz");
    let scope = Scope { region, service };
    let payload = Payload::Bytes(request.body);
    if sigv4::sign(
        &mut parts,
        request.host,
        payload,
        scope,
        &credentials,
        SignAs::default(),
        now,
    )
    .is_err()
    {
        return;
    }
    let signed = RequestView {
        method: &parts.method,
        host: request.host,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: BodyView::Whole(request.body),
    };
    let presented = match sigv4::presented(&signed) {
        Ok(Some(presented)) => presented,
        other => panic!("guard does not read what it signed: {other:?} in {parts:?}"),
    };
    let verified = sigv4::verify(&presented, &signed, payload, SECRET, now);
    assert_eq!(verified, Ok(()), "{parts:?}");
}
