//! STS's answers: credentials, or why there are none.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::{Response, StatusCode};
use quick_xml::Reader;
use quick_xml::events::Event;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroize;

use crate::broker::Principal;

/// Bytes of an answer that is read, elements within elements, and bytes of a text that people see.
const LARGEST: usize = 64 * 1024;
const DEEPEST: usize = 16;
const SHOWN: usize = 1024;

/// What STS gave.
pub(super) struct Assumed {
    pub(super) credentials: Credentials,
    pub(super) principal: Principal,
    pub(super) expiry: OffsetDateTime,
}

/// What STS said in place of credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refused {
    /// The error's code; the status where it has none.
    pub(super) code: String,
    pub(super) message: String,
    /// It may go better in a moment.
    pub(super) passing: bool,
}

/// Codes that pass with any status.
const PASSING: &[&str] = &[
    "IDPCommunicationError",
    "InternalFailure",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Reads the answer to `operation`.
pub(super) fn read(operation: &str, response: &Response<Bytes>) -> Result<Assumed, Refused> {
    if response.status() != StatusCode::OK {
        return Err(refused(response));
    }
    assumed(operation, response.body()).map_err(|wrong| Refused {
        code: "an answer that cannot be used".to_owned(),
        message: wrong,
        passing: false,
    })
}

fn assumed(operation: &str, body: &[u8]) -> Result<Assumed, String> {
    let at = |leaf: &str| format!("{operation}Response/{operation}Result/{leaf}");
    let paths = [
        at("Credentials/AccessKeyId"),
        at("Credentials/SecretAccessKey"),
        at("Credentials/SessionToken"),
        at("Credentials/Expiration"),
        at("AssumedRoleUser/Arn"),
        at("AssumedRoleUser/AssumedRoleId"),
    ];
    let mut found = leaves(body, &paths)?;
    let result = from_leaves(&found);
    for text in found.iter_mut().flatten() {
        text.zeroize();
    }
    result
}

fn from_leaves(found: &[Option<String>]) -> Result<Assumed, String> {
    let [
        Some(key),
        Some(secret),
        Some(token),
        Some(expiration),
        Some(arn),
        user_id,
    ] = found
    else {
        return Err("it has no whole credentials".to_owned());
    };
    let is_key = (16..=128).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_sendable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !is_key || !is_sendable(secret) || !is_sendable(token) {
        return Err("its credentials are not of their form".to_owned());
    }
    let expiry = OffsetDateTime::parse(expiration, &Rfc3339)
        .map_err(|_unlike| "its credentials' end is no time".to_owned())?;
    // arn:aws:sts::123456789012:assumed-role/ROLE/SESSION
    let account = arn.split(':').nth(4).unwrap_or_default();
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err("its role is in no account".to_owned());
    }
    let credentials = Credentials::builder()
        .access_key_id(key)
        .secret_access_key(secret)
        .session_token(token)
        .expiry(SystemTime::from(expiry))
        .account_id(account)
        .provider_name("role")
        .build();
    Ok(Assumed {
        credentials,
        principal: Principal {
            account: account.to_owned(),
            arn: Some(arn.clone()),
            user_id: user_id.clone(),
        },
        expiry,
    })
}

fn refused(response: &Response<Bytes>) -> Refused {
    let paths = ["Code", "Message"].map(|leaf| format!("ErrorResponse/Error/{leaf}"));
    let [code, message] = leaves(response.body(), &paths)
        .ok()
        .and_then(|found| <[Option<String>; 2]>::try_from(found).ok())
        .unwrap_or_default()
        .map(|text| text.as_deref().map(shown));
    let status = response.status();
    let passing = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || code.as_deref().is_some_and(|code| PASSING.contains(&code));
    Refused {
        code: code.unwrap_or_else(|| status.to_string()),
        message: message.unwrap_or_default(),
        passing,
    }
}

/// The start of a text, without characters that a terminal would act on.
fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    text[..end].chars().filter(|c| !c.is_control()).collect()
}

/// The texts of elements by their paths, without namespaces. Each may be there once; what is no plain XML is an
/// error.
fn leaves(body: &[u8], paths: &[String]) -> Result<Vec<Option<String>>, String> {
    if body.len() > LARGEST {
        return Err("it is larger than any answer of STS".to_owned());
    }
    let text = std::str::from_utf8(body).map_err(|_invalid| "it is not text".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut found: Vec<Option<String>> = vec![None; paths.len()];
    let mut path = String::new();
    let mut depth = 0;
    // Which of the paths the innermost element is.
    let mut inside: Option<usize> = None;
    let malformed = || "it is not XML of STS's".to_owned();
    loop {
        let event = reader.read_event().map_err(|_invalid| malformed())?;
        match event {
            Event::Start(start) => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(malformed());
                }
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(start.local_name().as_ref());
                inside = paths.iter().position(|known| *known == path);
                if let Some(at) = inside
                    && found[at].replace(String::new()).is_some()
                {
                    return Err("it says something twice".to_owned());
                }
            }
            Event::End(_) => {
                depth -= 1;
                path.truncate(path.rfind('/').unwrap_or(0));
                inside = None;
            }
            Event::Text(text) => {
                if let Some(at) = inside {
                    let leaf = found[at].get_or_insert_default();
                    // As long as it gets: growing would leave copies of a secret behind.
                    leaf.reserve_exact(text.len());
                    leaf.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(at) = inside {
                    let c = character(&reference).ok_or_else(malformed)?;
                    found[at].get_or_insert_default().push(c);
                }
            }
            Event::Decl(_) | Event::Empty(_) => {}
            Event::Eof if depth == 0 => break,
            Event::Eof | Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {
                return Err(malformed());
            }
        }
    }
    Ok(found)
}

/// What a reference such as `amp` or `#39` stands for.
fn character(reference: &str) -> Option<char> {
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => {
            let number = reference.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::broker) fn answer(operation: &str, key: &str, expiration: &str) -> String {
        format!(
            "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result>\
             <AssumedRoleUser><AssumedRoleId>AROA:claude</AssumedRoleId>\
             <Arn>arn:aws:sts::123456789012:assumed-role/agent/claude</Arn></AssumedRoleUser>\
             <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s3cret/+</SecretAccessKey>\
             <SessionToken>t0ken==</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
             <PackedPolicySize>6</PackedPolicySize></{operation}Result>\
             <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{operation}Response>"
        )
    }

    pub(in crate::broker) fn error(code: &str, message: &str) -> String {
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
        )
    }

    fn response(status: u16, body: &str) -> Response<Bytes> {
        let body = Bytes::from(body.to_owned());
        Response::builder().status(status).body(body).unwrap()
    }

    const KEY: &str = "ASIAROLEROLEROLEROLE";

    #[test]
    fn reads_credentials() {
        let body = answer("AssumeRole", KEY, "2030-01-01T00:00:00Z");
        let assumed = read("AssumeRole", &response(200, &body)).unwrap();
        assert_eq!(assumed.credentials.access_key_id(), KEY);
        assert_eq!(assumed.credentials.secret_access_key(), "s3cret/+");
        assert_eq!(assumed.credentials.session_token(), Some("t0ken=="));
        assert_eq!(assumed.expiry.unix_timestamp(), 1_893_456_000);
        assert_eq!(
            assumed.principal,
            Principal {
                account: "123456789012".to_owned(),
                arn: Some("arn:aws:sts::123456789012:assumed-role/agent/claude".to_owned()),
                user_id: Some("AROA:claude".to_owned()),
            }
        );
    }

    #[test]
    fn what_is_not_whole_or_not_plain_is_refused() {
        let right = answer("AssumeRole", KEY, "2030-01-01T00:00:00Z");
        for (from, to) in [
            ("AssumeRoleResult>", "Result>"),
            ("<SecretAccessKey>s3cret/+</SecretAccessKey>", ""),
            ("s3cret/+", "s3 cret"),
            (KEY, "short"),
            (KEY, "ASIAROLEROLE\nROLEROLE"),
            ("2030-01-01T00:00:00Z", "tomorrow"),
            (
                "<Credentials>",
                "<Credentials><AccessKeyId>ASIAOTHEROTHEROTHER1</AccessKeyId>",
            ),
            ("123456789012", "1234"),
            ("<PackedPolicySize>", "<!-- -->"),
            (
                "<AssumeRoleResponse",
                "<!DOCTYPE x [<!ENTITY a 'b'>]><AssumeRoleResponse",
            ),
            ("</AssumeRoleResponse>", ""),
            ("s3cret/+", "<![CDATA[s3cret]]>"),
            ("s3cret/+", "&secret;"),
        ] {
            let body = right.replace(from, to);
            assert_ne!(body, right);
            assert!(
                read("AssumeRole", &response(200, &body)).is_err(),
                "{from} → {to}"
            );
        }
        assert!(read("AssumeRoleWithWebIdentity", &response(200, &right)).is_err());
        let large = format!("{right}{}", " ".repeat(LARGEST));
        assert!(read("AssumeRole", &response(200, &large)).is_err());
        let deep = "<a>".repeat(DEEPEST + 1);
        assert!(read("AssumeRole", &response(200, &deep)).is_err());
    }

    #[test]
    fn errors_are_told_apart() {
        let refused =
            |status: u16, body: &str| read("AssumeRole", &response(status, body)).err().unwrap();
        let denied = refused(
            403,
            &error("AccessDenied", "User: &quot;a&quot; is not &#39;x&#x27;"),
        );
        assert_eq!(
            denied,
            Refused {
                code: "AccessDenied".to_owned(),
                message: "User: \"a\" is not 'x'".to_owned(),
                passing: false,
            }
        );
        assert!(refused(400, &error("Throttling", "")).passing);
        assert!(refused(400, &error("IDPCommunicationError", "")).passing);
        assert!(refused(429, "").passing);
        let down = refused(503, "<html>");
        assert_eq!(
            (down.code.as_str(), down.passing),
            ("503 Service Unavailable", true)
        );
        assert!(!refused(400, &error("PackedPolicyTooLarge", "")).passing);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in "(<[a-zA-Z/!?]{0,20}>|&[a-z#0-9]{0,6};|\\PC){0,40}", status in 200_u16..600) {
            let _ = read("AssumeRole", &response(status, &body));
        }
    }
}
