//! Binds an approval to exactly one call: the same call again has the same fingerprint, any other has not.
//!
//! Everything AWS could act on is covered. Left out are only what a retry of the same call changes (dates,
//! signatures, attempt counters) and what belongs to one connection: a list of what does *not* count fails
//! towards asking again, a list of what does would fail towards running something else. Who signs, and for which
//! region and service, is not read from the headers that say so, which a retry changes: it is a part of its own.

use aws_lc_rs::digest;
use http::request::Parts;

use crate::aws::Scope;
use crate::session::SessionId;

/// Header fields that do not make another call.
const HEADERS: [&str; 21] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "date",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "user-agent",
    "x-amz-content-sha256", // The body counts by its own digest.
    "x-amz-date",
    "x-amz-s3session-token", // Whose session it is counts by itself.
    "x-amz-security-token",
    "x-amz-user-agent",
    "x-amzn-trace-id",
];

/// Query parameters, in lower case, that do not make another call: those of a presigned URL's signature.
const PARAMETERS: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-s3session-token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Those of a URL in Version 2. The first makes a signature of the others, which elsewhere may be anything.
const VERSION_2: [&str; 3] = ["AWSAccessKeyId", "Expires", "Signature"];

/// In whose name a request runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signer<'a> {
    /// The session.
    pub(super) session: &'a SessionId,
    /// The principal of the credentials, the same for every set that one role gives; `None` for an unsigned
    /// request.
    pub(super) principal: Option<&'a str>,
    /// The account of the session's own credentials, where the call was decided for one: what gives them may give
    /// another's later.
    pub(super) account: Option<&'a str>,
    /// The credential scope, where there is one.
    pub(super) scope: Option<Scope<'a>>,
}

/// SHA-256 over who asks and everything of the request that AWS acts on. `body_sha256` is hexadecimal.
pub(super) fn of(signer: Signer<'_>, host: &str, parts: &Parts, body_sha256: &str) -> [u8; 32] {
    let mut query: Vec<_> = parts.uri.query().unwrap_or_default().split('&').collect();
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().len();
    let is = |pair: &str, of: &str| pair[..name(pair)].eq_ignore_ascii_case(of);
    let version2 = query.iter().any(|pair| is(pair, VERSION_2[0]));
    let of_version2 = VERSION_2.iter().filter(|_| version2);
    let left_out: Vec<_> = PARAMETERS.iter().chain(of_version2).collect();
    query.retain(|pair| !left_out.iter().any(|left_out| is(pair, left_out)));
    // Here and below by name only: the order of equal names is part of what AWS sees.
    query.sort_by_key(|pair| &pair[..name(pair)]);
    let mut headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| !HEADERS.contains(name) && !name.starts_with("amz-sdk-"))
        .collect();
    headers.sort_by_key(|&(name, _)| name);

    let mut hash = Fields(digest::Context::new(&digest::SHA256));
    hash.field(signer.session.as_str().as_bytes());
    hash.optional(signer.principal);
    hash.optional(signer.account);
    hash.optional(signer.scope.map(|it| it.region));
    hash.optional(signer.scope.map(|it| it.service));
    hash.field(parts.method.as_str().as_bytes());
    hash.field(host.as_bytes());
    hash.field(parts.uri.path().as_bytes());
    hash.count(query.len());
    for pair in query {
        hash.field(pair.as_bytes());
    }
    hash.count(headers.len());
    for (name, value) in headers {
        hash.field(name.as_bytes());
        hash.field(value);
    }
    hash.field(body_sha256.as_bytes());
    hash.finish()
}

/// Fields with their lengths, so that no two lists of fields hash the same bytes.
struct Fields(digest::Context);

impl Fields {
    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    fn optional(&mut self, text: Option<&str>) {
        self.count(usize::from(text.is_some()));
        self.field(text.unwrap_or_default().as_bytes());
    }

    fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

    fn print(case: Case<'_>) -> [u8; 32] {
        print_as(Some("session"), None, Some(("eu-west-1", "s3")), case)
    }

    fn print_as(
        principal: Option<&str>,
        account: Option<&str>,
        scope: Option<(&str, &str)>,
        (method, target, headers, body): Case<'_>,
    ) -> [u8; 32] {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let session = SessionId::parse("0123456789abcdef").expect("an id");
        let signer = Signer {
            session: &session,
            principal,
            account,
            scope: scope.map(|(region, service)| Scope { region, service }),
        };
        of(
            signer,
            "s3.amazonaws.com",
            &request.body(()).expect("a request").into_parts().0,
            body,
        )
    }

    const CALL: Case<'_> = (
        "DELETE",
        "/b/k?versionId=1&x-id=DeleteObject",
        &[("x-amz-mfa", "1 2")],
        "e3b0",
    );

    #[test]
    fn a_retry_of_the_same_call_has_the_same_fingerprint() {
        let headers: &[(&str, &str)] = &[
            ("X-Amz-Date", "20261124T000000Z"),
            ("authorization", "AWS4-HMAC-SHA256 x"),
            ("amz-sdk-invocation-id", "1"),
            ("amz-sdk-request", "attempt=2"),
            ("user-agent", "Boto3"),
            ("expect", "100-continue"),
            ("x-amz-mfa", "1 2"),
        ];
        let again = (
            "DELETE",
            "/b/k?x-id=DeleteObject&versionId=1",
            headers,
            "e3b0",
        );
        assert_eq!(print(CALL), print(again));
        let presigned = (
            "DELETE",
            "/b/k?versionId=1&X-Amz-Signature=ab&x-id=DeleteObject&X-Amz-Date=2",
            CALL.2,
            "e3b0",
        );
        assert_eq!(print(CALL), print(presigned));
        let version2 = (
            "DELETE",
            "/b/k?AWSAccessKeyId=AKIA&versionId=1&Signature=ab%3D&x-id=DeleteObject&Expires=2",
            CALL.2,
            "e3b0",
        );
        assert_eq!(print(CALL), print(version2));
        let express = (
            "DELETE",
            CALL.1,
            &[("x-amz-mfa", "1 2"), ("x-amz-s3session-token", "another")][..],
            "e3b0",
        );
        assert_eq!(print(CALL), print(express));
    }

    #[test]
    fn any_other_call_has_another() {
        let target = CALL.1;
        let cases: &[Case<'_>] = &[
            ("PUT", target, CALL.2, "e3b0"),
            (
                "DELETE",
                "/b/K?versionId=1&x-id=DeleteObject",
                CALL.2,
                "e3b0",
            ),
            (
                "DELETE",
                "/b/k?versionId=2&x-id=DeleteObject",
                CALL.2,
                "e3b0",
            ),
            (
                "DELETE",
                "/b/k?versionId=1&x-id=DeleteObject&Expires=1&Signature=ab",
                CALL.2,
                "e3b0",
            ),
            (
                "DELETE",
                "/b/k?versionId=1&x-id=DeleteObject&versionId=1",
                CALL.2,
                "e3b0",
            ),
            (
                "DELETE",
                "/b/k?versionId=1&x-id=DeleteObject&versionId=2",
                CALL.2,
                "e3b0",
            ),
            (
                "DELETE",
                "/b/k?versionId=2&x-id=DeleteObject&versionId=1",
                CALL.2,
                "e3b0",
            ),
            ("DELETE", target, &[("x-amz-mfa", "1 3")], "e3b0"),
            ("DELETE", target, &[], "e3b0"),
            (
                "DELETE",
                target,
                &[("x-amz-mfa", "1 2"), ("if-match", "*")],
                "e3b0",
            ),
            (
                "DELETE",
                target,
                &[("x-amz-mfa", "1 2"), ("x-amz-copy-source", "b/k")],
                "e3b0",
            ),
            ("DELETE", target, CALL.2, "e3b1"),
        ];
        for case in cases {
            assert_ne!(print(CALL), print(*case), "{case:?}");
        }
    }

    #[test]
    fn another_signer_makes_another_call() {
        let here = Some(("eu-west-1", "s3"));
        let own = Some("session");
        let signers = [
            (own, None, here),
            (own, Some("111111111111"), here),
            (own, Some("222222222222"), here),
            (
                Some("arn:aws:sts::222222222222:assumed-role/prod"),
                None,
                here,
            ),
            (Some(""), None, here),
            (None, None, here),
            (own, None, Some(("eu-west-2", "s3"))),
            (own, None, Some(("eu-west-1", "s3express"))),
            (own, None, None),
            (None, None, None),
        ];
        let prints: std::collections::HashSet<_> = signers
            .iter()
            .map(|&(principal, account, scope)| print_as(principal, account, scope, CALL))
            .collect();
        assert_eq!(prints.len(), signers.len());
    }
}
