//! Answers of operations that guard does not know, at services that mint credentials: what the operation is, AWS alone
//! knows then, and real credentials must not pass. Where the answer has its secrets nobody can say, so it is not
//! changed, but passes only if it looks as if it held none.

use memchr::memmem;

use super::Mints;
use crate::aws::{Call, Operation};

/// Services whose secrets are masked whatever a profile says, since no dummy stands for them: keys without an end, which
/// later calls name (`CreateAccessKey`, `CreateBucketAccessKey`), and tokens that buy credentials outside the session
/// (`CreateToken`, `CreateOAuth2Token`).
pub const ALWAYS_MASKED: [&str; 4] = ["iam", "lightsail", "signin", "sso-oidc"];

/// How an access key id begins: a temporary one's, a lasting one's (IAM User Guide, "IAM identifiers").
const PREFIXES: [&[u8]; 2] = [b"ASIA", b"AKIA"];
/// Letters and digits that follow, at the least.
const AFTER_PREFIX: usize = 12;
/// What services call secrets, in lower case.
const NAMES: [&[u8]; 5] = [
    b"accesstoken",
    b"idtoken",
    b"refreshtoken",
    b"secretaccesskey",
    b"sessiontoken",
];

/// Whether an answer may hold credentials that guard would not find in it.
pub fn may_hold_unfound(call: &Call, query: &str) -> bool {
    call.operation == Operation::Unknown
        && call.services.iter().any(|&service| match service {
            // What S3 answers is the customer's content, but to this subresource.
            "s3" => names_session(query),
            service => {
                ALWAYS_MASKED.contains(&service) || Mints::all().any(|it| it.service == service)
            }
        })
}

/// Whether a document looks as if it held an access key.
pub fn holds_keys(document: &[u8]) -> bool {
    let is_key = |at: usize| {
        let rest = document.get(at..at + AFTER_PREFIX).unwrap_or_default();
        !rest.is_empty()
            && rest
                .iter()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if PREFIXES
        .iter()
        .any(|prefix| memmem::find_iter(document, prefix).any(|at| is_key(at + prefix.len())))
    {
        return true;
    }
    let lower = document.to_ascii_lowercase();
    NAMES
        .iter()
        .any(|name| memmem::find(&lower, name).is_some())
}

/// Whether a query has a parameter `session`, however it is written; one that cannot be decoded may be it.
fn names_session(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_encoding::percent_decode_str(name)
            .decode_utf8()
            .map_or(true, |name| name.trim().eq_ignore_ascii_case("session"))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;
    use crate::aws::{BodyView, RequestView, Scope, identify};

    #[test]
    fn what_is_unknown_is_looked_at_where_services_mint() {
        let asked = |host: &str, service: &str, query: &str| {
            let headers = HeaderMap::new();
            let request = RequestView {
                method: &Method::GET,
                host,
                path: "/",
                query,
                headers: &headers,
                body: BodyView::Whole(b""),
            };
            let region = "us-east-1";
            let call = identify(&request, Some(Scope { region, service }), None, &[]).unwrap();
            may_hold_unfound(&call, query)
        };
        let sts = "sts.us-east-1.amazonaws.com";
        assert!(asked(sts, "sts", "Action=AssumeAnything"));
        assert!(!asked(sts, "sts", "Action=AssumeRole&Version=2011-06-15"));
        // Whatever its name, it is the service that takes the signature.
        let other = "nobody-knows.us-east-1.amazonaws.com";
        assert!(asked(other, "sts", "Action=AssumeRole&Version=2011-06-15"));
        assert!(!asked(other, "nobody-knows", ""));
        let s3 = "bucket.s3.us-east-1.amazonaws.com";
        assert!(asked(s3, "s3", "session&x=1"));
        assert!(!asked(s3, "s3", "cachebuster=1"));
        assert!(asked("iam.amazonaws.com", "iam", "Action=CreateSomething"));
        assert!(!asked("sqs.us-east-1.amazonaws.com", "sqs", "Action=New"));
    }

    #[test]
    fn keys_are_seen_in_every_format() {
        for document in [
            &b"{\"a\":\"ASIAIOSFODNN7EXAMPLE\"}"[..],
            b"<AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId>",
            b"\xa1\x61a\x74ASIAIOSFODNN7EXAMPLE",
            b"ASIA ASIASIAIOSFODNN7EXAMPLE",
            b"{\"secretAccessKey\":\"x\"}",
            b"<SessionToken>x</SessionToken>",
            b"{\"refreshToken\":\"x\"}",
        ] {
            assert!(holds_keys(document), "{document:?}");
        }
        for document in [
            &b""[..],
            b"ASIA",
            b"EURASIA AND OCEANIA",
            b"ASIAIOSFODN",
            b"asiaiosfodnn7example",
        ] {
            assert!(!holds_keys(document), "{document:?}");
        }
    }

    #[test]
    fn a_session_is_asked_for_however_it_is_written() {
        for query in ["session", "a=1&session=", "%73ession&x=1", "Session", "%ff"] {
            assert!(names_session(query), "{query}");
        }
        for query in ["", "list-type=2", "a=session", "sessions"] {
            assert!(!names_session(query), "{query}");
        }
    }
}
