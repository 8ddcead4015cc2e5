//! The calls AssumeRole and AssumeRoleWithWebIdentity, as STS's query protocol has them.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::naming::Naming;
use crate::aws::Scope;
use crate::aws::sigv4::{self, Payload, SigV4Error, SignAs};
use crate::broker::caller;
use crate::policy::Role;

/// What RFC 3986 leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What stands in for the caller's rights.
pub(super) enum Evidence<'a> {
    /// AWS credentials, which sign the call.
    Signed(&'a Credentials),
    /// An OpenID Connect token; nobody signs.
    Token(&'a str),
}

impl Evidence<'_> {
    /// The operation.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Signed(_) => "AssumeRole",
            Self::Token(_) => "AssumeRoleWithWebIdentity",
        }
    }
}

/// The request, with an absolute URI.
pub(super) fn request(
    role: &Role,
    naming: &Naming,
    policy: Option<&str>,
    evidence: &Evidence<'_>,
    region: Option<&str>,
    now: SystemTime,
) -> Result<Request<Bytes>, SigV4Error> {
    let (host, region) = caller::endpoint(region);
    let body = form(role, naming, policy, evidence);
    let request = Request::post(format!("https://{host}/"))
        .header(HOST, host.as_str())
        .header(ACCEPT, "text/xml")
        .header(
            CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .header(CONTENT_LENGTH, body.len())
        .body(())
        .map_err(|_invalid| SigV4Error::Unsignable("its region is not part of a host name"))?;
    let (mut parts, ()) = request.into_parts();
    if let Evidence::Signed(credentials) = evidence {
        let scope = Scope {
            region,
            service: "sts",
        };
        sigv4::sign(
            &mut parts,
            &host,
            Payload::Bytes(&body),
            scope,
            credentials,
            SignAs::default(),
            now,
        )?;
    }
    // Zeroised with the last of its clones.
    Ok(Request::from_parts(parts, Bytes::from_owner(body)))
}

fn form(
    role: &Role,
    naming: &Naming,
    policy: Option<&str>,
    evidence: &Evidence<'_>,
) -> Zeroizing<Vec<u8>> {
    // Larger than any: it must not grow, since that would leave a token behind.
    let token = match evidence {
        Evidence::Token(token) => token.len(),
        Evidence::Signed(_) => 0,
    };
    let mut form = Zeroizing::new(Vec::with_capacity(128 * 1024 + 3 * token));
    let mut put = |key: &str, value: &str| {
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(key.as_bytes());
        form.push(b'=');
        for part in utf8_percent_encode(value, FORM) {
            form.extend_from_slice(part.as_bytes());
        }
    };
    put("Action", evidence.operation());
    put("Version", "2011-06-15");
    put("RoleArn", &role.arn);
    put("RoleSessionName", &naming.session_name);
    if let Some(seconds) = role.duration {
        put("DurationSeconds", &seconds.to_string());
    }
    if let Some(policy) = policy {
        put("Policy", policy);
    }
    match evidence {
        Evidence::Token(token) => put("WebIdentityToken", token),
        Evidence::Signed(_) => {
            if let Some(id) = &role.external_id {
                put("ExternalId", id);
            }
            if let Some(identity) = &naming.source_identity {
                put("SourceIdentity", identity);
            }
            for (at, (key, value)) in (1..).zip(&naming.tags) {
                put(&format!("Tags.member.{at}.Key"), key);
                put(&format!("Tags.member.{at}.Value"), value);
                if role.transitive_tags {
                    put(&format!("TransitiveTagKeys.member.{at}"), key);
                }
            }
        }
    }
    form
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::policy::SessionPolicyMode;

    pub(in crate::broker) fn role() -> Role {
        Role {
            arn: "arn:aws:iam::123456789012:role/agent".to_owned(),
            external_id: None,
            duration: None,
            session_name: None,
            source_identity: true,
            session_tags: true,
            transitive_tags: false,
            session_policy: SessionPolicyMode::Auto,
            web_identity: None,
        }
    }

    pub(in crate::broker) fn naming() -> Naming {
        Naming {
            session_name: "claude-7b1e09c44f2ad310".to_owned(),
            source_identity: Some("ada@example.com".to_owned()),
            tags: vec![("guard:session".to_owned(), "7b1e09c44f2ad310".to_owned())],
        }
    }

    #[test]
    fn a_signed_call_carries_all() {
        let credentials = Credentials::new("AKIAREALREALREALREAL", "secret", None, None, "test");
        let role = Role {
            external_id: Some("org/17".to_owned()),
            duration: Some(900),
            transitive_tags: true,
            ..role()
        };
        let request = request(
            &role,
            &naming(),
            Some("{\"Version\":\"2012-10-17\"}"),
            &Evidence::Signed(&credentials),
            Some("eu-west-1"),
            SystemTime::now(),
        )
        .unwrap();
        assert_eq!(request.uri(), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(request.headers()["host"], "sts.eu-west-1.amazonaws.com");
        assert!(request.headers().contains_key("authorization"));
        assert_eq!(
            request.body(),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fagent\
             &RoleSessionName=claude-7b1e09c44f2ad310&DurationSeconds=900\
             &Policy=%7B%22Version%22%3A%222012-10-17%22%7D&ExternalId=org%2F17&SourceIdentity=ada%40example.com\
             &Tags.member.1.Key=guard%3Asession&Tags.member.1.Value=7b1e09c44f2ad310\
             &TransitiveTagKeys.member.1=guard%3Asession"
        );
    }

    #[test]
    fn a_token_is_the_only_evidence_beside_it() {
        let request = request(
            &role(),
            &naming(),
            None,
            &Evidence::Token("eyJh.eyJz.c2ln"),
            None,
            SystemTime::now(),
        )
        .unwrap();
        assert_eq!(request.uri(), "https://sts.amazonaws.com/");
        assert!(!request.headers().contains_key("authorization"));
        assert_eq!(
            request.body(),
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fagent\
             &RoleSessionName=claude-7b1e09c44f2ad310&WebIdentityToken=eyJh.eyJz.c2ln"
        );
    }
}
