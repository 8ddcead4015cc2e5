//! Reads the signature of a request: `Authorization` header, or `X-Amz-*` query parameters.
//!
//! Everything here is the agent's. A request with no signature is `None`; one whose signature could be
//! read in two ways, or is of a kind guard does not take, is an error that says so.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE, HOST};
use percent_encoding::percent_decode_str;

use super::{Form, Presented, SigV4Error, pairs, signature_parameter, stamp};
use crate::aws::RequestView;

/// Bytes of an `Authorization` header, or of one query parameter of a signature (session tokens, which are
/// longer, are not read here).
const AUTHORIZATION_BYTES: usize = 8 * 1024;
/// Names in `SignedHeaders`.
const SIGNED_HEADERS: usize = 128;
/// Seven days in seconds: the longest a presigned URL may live.
const MAX_EXPIRES: u32 = 604_800;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Headers that may stand once in a signed request: AWS acts on them, and two would be ambiguous.
const SINGLE_HEADERS: [&str; 6] = [
    "host",
    "date",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-s3session-token",
    "x-amz-security-token",
];

/// Reads the signature of a request; `None` where it has none. Both forms at once, a doubled parameter, or a
/// form guard does not take (SigV2, SigV4A, bearer tokens) is an error that says so.
pub fn presented(request: &RequestView<'_>) -> Result<Option<Presented>, SigV4Error> {
    let query = QuerySignature::read(request.query)?;
    let header = authorization(request.headers)?;
    if header.is_some() || query.is_some() {
        for name in SINGLE_HEADERS {
            if request.headers.get_all(name).iter().nth(1).is_some() {
                return Err(SigV4Error::Doubled(name));
            }
        }
    }
    match (header, query) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(SigV4Error::BothForms),
        (Some(header), None) => from_header(header, request.headers).map(Some),
        (None, Some(query)) => query.finish().map(Some),
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>, SigV4Error> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(SigV4Error::Doubled("the Authorization header"));
    }
    let malformed = |why| SigV4Error::Malformed {
        part: "the Authorization header",
        why,
    };
    if value.len() > AUTHORIZATION_BYTES {
        return Err(malformed("it is longer than 8 KiB"));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(malformed("it is not printable ASCII")),
    }
}

fn from_header(value: &str, headers: &HeaderMap) -> Result<Presented, SigV4Error> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme != ALGORITHM {
        return Err(SigV4Error::Unsupported(scheme_name(scheme)));
    }
    let (mut credential, mut signed, mut signature) = (None, None, None);
    for part in rest.split(',') {
        let Some((name, value)) = part.trim().split_once('=') else {
            return Err(SigV4Error::Malformed {
                part: "the Authorization header",
                why: "it must be Credential=…, SignedHeaders=…, Signature=…",
            });
        };
        let (slot, name) = match name {
            "Credential" => (&mut credential, "Credential in the Authorization header"),
            "SignedHeaders" => (&mut signed, "SignedHeaders in the Authorization header"),
            "Signature" => (&mut signature, "Signature in the Authorization header"),
            _ => {
                return Err(SigV4Error::Malformed {
                    part: "the Authorization header",
                    why: "it has a part other than Credential, SignedHeaders and Signature",
                });
            }
        };
        if slot.replace(value).is_some() {
            return Err(SigV4Error::Doubled(name));
        }
    }
    let credential = credential.ok_or(SigV4Error::Missing("Credential"))?;
    let signed = signed.ok_or(SigV4Error::Missing("SignedHeaders"))?;
    let signature = signature.ok_or(SigV4Error::Missing("Signature"))?;
    assemble(
        credential,
        signed,
        signature,
        header_date(headers)?,
        Form::Header,
    )
}

fn header_date(headers: &HeaderMap) -> Result<String, SigV4Error> {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(|t| t.trim().to_owned());
    if let Some(value) = headers.get("x-amz-date") {
        return text(value)
            .filter(|text| stamp::seconds(text).is_some())
            .ok_or(SigV4Error::Malformed {
                part: "x-amz-date",
                why: "it must be YYYYMMDDTHHMMSSZ",
            });
    }
    let value = headers.get(DATE).ok_or(SigV4Error::Missing("x-amz-date"))?;
    text(value)
        .and_then(|date| stamp::from_date_header(&date))
        .ok_or(SigV4Error::Malformed {
            part: "Date",
            why: "it must be YYYYMMDDTHHMMSSZ or an HTTP date in GMT",
        })
}

fn scheme_name(scheme: &str) -> &'static str {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    match scheme {
        "AWS" => "Signature Version 2 (Authorization: AWS …)",
        "AWS3" | "AWS3-HTTPS" => "Signature Version 3",
        "AWS4-ECDSA-P256-SHA256" => "Signature Version 4A (AWS4-ECDSA-P256-SHA256)",
        _ if is("Bearer") => "bearer tokens",
        _ if is("Basic") => "basic authentication",
        _ => "this kind of Authorization header",
    }
}

/// The parameters of a signature in the query, decoded.
#[derive(Default)]
struct QuerySignature<'a> {
    algorithm: Option<Cow<'a, str>>,
    credential: Option<Cow<'a, str>>,
    date: Option<Cow<'a, str>>,
    expires: Option<Cow<'a, str>>,
    signed: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
}

impl<'a> QuerySignature<'a> {
    /// `None` where the query holds no part that only a signature has.
    fn read(query: &'a str) -> Result<Option<Self>, SigV4Error> {
        let mut found = Self::default();
        let mut others = 0_u16;
        for (encoded, value) in pairs(query) {
            let Some(name) = signature_parameter(encoded) else {
                if is_sigv2(encoded) {
                    return Err(SigV4Error::Unsupported("Signature Version 2 in the query"));
                }
                continue;
            };
            let slot = match name {
                "x-amz-algorithm" => &mut found.algorithm,
                "x-amz-credential" => &mut found.credential,
                "x-amz-date" => &mut found.date,
                "x-amz-expires" => &mut found.expires,
                "x-amz-signedheaders" => &mut found.signed,
                "x-amz-signature" => &mut found.signature,
                _ => {
                    // Read elsewhere or not at all; here it only must not stand twice.
                    let bit = 1 << other_index(name);
                    if others & bit != 0 {
                        return Err(SigV4Error::Doubled(name));
                    }
                    others |= bit;
                    continue;
                }
            };
            let malformed = |why| SigV4Error::Malformed { part: name, why };
            if value.len() > AUTHORIZATION_BYTES {
                return Err(malformed("it is longer than 8 KiB"));
            }
            let Ok(value) = percent_decode_str(value).decode_utf8() else {
                return Err(malformed("it is not UTF-8"));
            };
            if slot.replace(value).is_some() {
                return Err(SigV4Error::Doubled(name));
            }
        }
        let some =
            found.algorithm.is_some() || found.credential.is_some() || found.signature.is_some();
        Ok(some.then_some(found))
    }

    fn finish(self) -> Result<Presented, SigV4Error> {
        let missing = SigV4Error::Missing;
        match self.algorithm.as_deref() {
            Some(ALGORITHM) => {}
            Some("AWS4-ECDSA-P256-SHA256") => {
                return Err(SigV4Error::Unsupported(
                    "Signature Version 4A (AWS4-ECDSA-P256-SHA256)",
                ));
            }
            Some(_) => return Err(SigV4Error::Unsupported("this X-Amz-Algorithm")),
            None => return Err(missing("X-Amz-Algorithm")),
        }
        let credential = self.credential.ok_or(missing("X-Amz-Credential"))?;
        let date = self.date.ok_or(missing("X-Amz-Date"))?;
        let signed = self.signed.ok_or(missing("X-Amz-SignedHeaders"))?;
        let signature = self.signature.ok_or(missing("X-Amz-Signature"))?;
        let expires = self.expires.ok_or(missing("X-Amz-Expires"))?;
        let expires = Some(expires.as_ref())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|seconds| (1..=MAX_EXPIRES).contains(seconds))
            .ok_or(SigV4Error::Malformed {
                part: "X-Amz-Expires",
                why: "it must be 1 to 604800 seconds",
            })?;
        if stamp::seconds(&date).is_none() {
            return Err(SigV4Error::Malformed {
                part: "X-Amz-Date",
                why: "it must be YYYYMMDDTHHMMSSZ",
            });
        }
        assemble(
            &credential,
            &signed,
            &signature,
            date.into_owned(),
            Form::Query { expires },
        )
    }
}

fn other_index(name: &str) -> usize {
    super::SIGNATURE_PARAMETERS
        .iter()
        .position(|known| *known == name)
        .unwrap_or_default()
}

/// `AWSAccessKeyId` stands in every SigV2 query; `SignatureVersion` in those of the query protocol.
fn is_sigv2(encoded: &str) -> bool {
    if encoded.len() > 3 * "signatureversion".len() {
        return false;
    }
    let name: Vec<u8> = percent_decode_str(encoded).collect();
    name.eq_ignore_ascii_case(b"awsaccesskeyid") || name.eq_ignore_ascii_case(b"signatureversion")
}

fn assemble(
    credential: &str,
    signed: &str,
    signature: &str,
    date: String,
    form: Form,
) -> Result<Presented, SigV4Error> {
    let scope = |why| SigV4Error::Malformed {
        part: "Credential",
        why,
    };
    let fields: [&str; 5] = credential
        .splitn(6, '/')
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_: Vec<_>| scope("it must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request"))?;
    let [access_key_id, day, region, service, terminator] = fields;
    if terminator != "aws4_request" {
        return Err(scope("it must end in /aws4_request"));
    }
    // IAM: access key ids are 16 to 128 word characters.
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !(16..=128).contains(&access_key_id.len()) || !access_key_id.bytes().all(word) {
        return Err(scope(
            "the access key id must be 16 to 128 letters and digits",
        ));
    }
    let name = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| word(b) || b == b'-' || b == b'.')
    };
    if !name(region) || !name(service) {
        return Err(scope(
            "region and service must be 1 to 64 letters, digits, '-', '.' or '_'",
        ));
    }
    if date.get(..8) != Some(day) {
        return Err(scope("its day is not that of the request's date"));
    }
    if signature.len() != 64 || !signature.bytes().all(is_lower_hex) {
        return Err(SigV4Error::Malformed {
            part: "Signature",
            why: "it must be 64 lower-case hexadecimal digits",
        });
    }
    Ok(Presented {
        access_key_id: access_key_id.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers: signed_headers(signed)?,
        signature: signature.to_owned(),
        form,
        date,
    })
}

fn signed_headers(list: &str) -> Result<Vec<String>, SigV4Error> {
    let malformed = |why| SigV4Error::Malformed {
        part: "SignedHeaders",
        why,
    };
    // RFC 9110 §5.6.2 tokens, in lower case.
    let token =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    let names: Vec<&str> = list.split(';').take(SIGNED_HEADERS + 1).collect();
    if names.len() > SIGNED_HEADERS {
        return Err(malformed("it names more than 128 headers"));
    }
    if names
        .iter()
        .any(|name| name.is_empty() || !name.bytes().all(token))
    {
        return Err(malformed(
            "it must be lower-case header names joined by ';'",
        ));
    }
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(malformed("its names must be in order, each once"));
    }
    if !names.contains(&HOST.as_str()) {
        return Err(SigV4Error::NotSigned(HOST.as_str().to_owned()));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Whether a byte is a lower-case hexadecimal digit.
pub(super) fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::aws::BodyView;

    const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";

    fn read(query: &str, headers: &[(&str, &str)]) -> Result<Option<Presented>, SigV4Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                http::HeaderName::try_from(*name).unwrap(),
                value.parse().unwrap(),
            );
        }
        presented(&RequestView {
            method: &Method::GET,
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            query,
            headers: &map,
            body: BodyView::Unread,
        })
    }

    fn header(credential: &str, signed: &str, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
        )
    }

    fn url(drop: &str) -> String {
        [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
            format!("X-Amz-Credential={}", CREDENTIAL.replace('/', "%2F")),
            "X-Amz-Date=20130524T000000Z".to_owned(),
            "X-Amz-Expires=86400".to_owned(),
            "X-Amz-SignedHeaders=host".to_owned(),
            format!("X-Amz-Signature={SIGNATURE}"),
        ]
        .into_iter()
        .filter(|pair| drop.is_empty() || !pair.starts_with(drop))
        .collect::<Vec<_>>()
        .join("&")
    }

    const DATE_HEADER: (&str, &str) = ("x-amz-date", "20130524T000000Z");

    fn expected(form: Form, signed: &[&str]) -> Presented {
        Presented {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            signed_headers: signed.iter().map(|name| (*name).to_owned()).collect(),
            signature: SIGNATURE.to_owned(),
            form,
            date: "20130524T000000Z".to_owned(),
        }
    }

    #[test]
    fn reads_both_forms() {
        let value = header(CREDENTIAL, "host;range;x-amz-date", SIGNATURE);
        let signed = ["host", "range", "x-amz-date"];
        let wanted = Ok(Some(expected(Form::Header, &signed)));
        assert_eq!(read("", &[("authorization", &value), DATE_HEADER]), wanted);
        // Without spaces after the commas, and dated by `Date`.
        let tight = value.replace(", ", ",");
        let date = ("date", "Fri, 24 May 2013 00:00:00 GMT");
        assert_eq!(
            read("list-type=2", &[("authorization", &tight), date]),
            wanted
        );

        let wanted = Ok(Some(expected(Form::Query { expires: 86_400 }, &["host"])));
        assert_eq!(read(&url(""), &[]), wanted);
        assert_eq!(
            read(
                &url("")
                    .to_lowercase()
                    .replace("aws4-hmac-sha256", "AWS4-HMAC-SHA256")
                    .replace("akiaiosfodnn7example", "AKIAIOSFODNN7EXAMPLE")
                    .replace("20130524t000000z", "20130524T000000Z"),
                &[]
            ),
            wanted
        );

        assert_eq!(read("", &[]), Ok(None));
        assert_eq!(
            read("list-type=2&x-id=ListObjectsV2", &[DATE_HEADER]),
            Ok(None)
        );
    }

    #[test]
    fn refuses_two_of_anything() {
        let value = header(CREDENTIAL, "host", SIGNATURE);
        let once = ("authorization", value.as_str());
        assert!(matches!(
            read("", &[once, once, DATE_HEADER]),
            Err(SigV4Error::Doubled(_))
        ));
        assert_eq!(
            read("", &[once, DATE_HEADER, DATE_HEADER]),
            Err(SigV4Error::Doubled("x-amz-date"))
        );
        assert_eq!(
            read(&url(""), &[once, DATE_HEADER]),
            Err(SigV4Error::BothForms)
        );
        assert_eq!(
            read("%58-amz-signature=1", &[once, DATE_HEADER]),
            Err(SigV4Error::BothForms)
        );
        for part in ["Credential=a", "SignedHeaders=a", "Signature=a"] {
            let doubled = format!("{value}, {part}");
            let headers = [("authorization", doubled.as_str()), DATE_HEADER];
            assert!(
                matches!(read("", &headers), Err(SigV4Error::Doubled(_))),
                "{part}"
            );
        }
        for name in super::super::SIGNATURE_PARAMETERS {
            let twice = format!("{}&{name}=1&{name}=1", url(""));
            assert_eq!(read(&twice, &[]), Err(SigV4Error::Doubled(name)), "{name}");
        }
    }

    #[test]
    fn names_what_it_does_not_take() {
        for (value, text) in [
            (
                "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
                "Version 2",
            ),
            ("AWS4-ECDSA-P256-SHA256 Credential=a", "Version 4A"),
            ("Bearer abc", "bearer"),
            ("bearer abc", "bearer"),
            ("Basic abc", "basic"),
            ("aws4-hmac-sha256 Credential=a", "this kind"),
            ("", "this kind"),
        ] {
            let error = read("", &[("authorization", value), DATE_HEADER]).unwrap_err();
            assert!(
                matches!(error, SigV4Error::Unsupported(_)),
                "{value}: {error:?}"
            );
            assert!(error.to_string().contains(text), "{value}: {error}");
        }
        for query in [
            "AWSAccessKeyId=AKIA&Signature=a&Expires=1",
            "Action=ListDomains&SignatureVersion=2",
            &url("").replace("HMAC-SHA256", "ECDSA-P256-SHA256"),
            &url("").replace("AWS4-HMAC-SHA256", "AWS5"),
        ] {
            assert!(
                matches!(read(query, &[]), Err(SigV4Error::Unsupported(_))),
                "{query}"
            );
        }
    }

    #[test]
    fn refuses_what_is_missing() {
        for name in [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ] {
            assert_eq!(read(&url(name), &[]), Err(SigV4Error::Missing(name)));
        }
        let value = header(CREDENTIAL, "host", SIGNATURE);
        assert_eq!(
            read("", &[("authorization", &value)]),
            Err(SigV4Error::Missing("x-amz-date"))
        );
        for part in ["Credential", "SignedHeaders", "Signature"] {
            let others: Vec<&str> = value
                .trim_start_matches("AWS4-HMAC-SHA256 ")
                .split(", ")
                .filter(|p| !p.starts_with(part))
                .collect();
            // `Signature` is no prefix of `SignedHeaders`, so that one part goes at a time.
            let value = format!("AWS4-HMAC-SHA256 {}", others.join(", "));
            let headers = [("authorization", value.as_str()), DATE_HEADER];
            assert_eq!(read("", &headers), Err(SigV4Error::Missing(part)));
        }
    }

    #[test]
    fn refuses_what_is_malformed() {
        let long = "a;".repeat(200);
        for (credential, signed, signature) in [
            (
                "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3",
                "host",
                SIGNATURE,
            ),
            (
                "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request/x",
                "host",
                SIGNATURE,
            ),
            (
                "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws5_request",
                "host",
                SIGNATURE,
            ),
            (
                "AKIAIOSFODNN7EXAMPLE/20130525/us-east-1/s3/aws4_request",
                "host",
                SIGNATURE,
            ),
            ("AKIA/20130524/us-east-1/s3/aws4_request", "host", SIGNATURE),
            (
                "AKIAIOSFODNN7EXAM LE/20130524/us-east-1/s3/aws4_request",
                "host",
                SIGNATURE,
            ),
            (
                "AKIAIOSFODNN7EXAMPLE/20130524//s3/aws4_request",
                "host",
                SIGNATURE,
            ),
            (CREDENTIAL, "", SIGNATURE),
            (CREDENTIAL, "host;host", SIGNATURE),
            (CREDENTIAL, "range;host", SIGNATURE),
            (CREDENTIAL, "Host", SIGNATURE),
            (CREDENTIAL, &long, SIGNATURE),
            (CREDENTIAL, "host", &SIGNATURE[1..]),
            (CREDENTIAL, "host", &SIGNATURE.to_uppercase()),
        ] {
            let value = header(credential, signed, signature);
            let read = read("", &[("authorization", &value), DATE_HEADER]);
            assert!(
                matches!(read, Err(SigV4Error::Malformed { .. })),
                "{value}: {read:?}"
            );
        }
        let value = header(CREDENTIAL, "range", SIGNATURE);
        assert_eq!(
            read("", &[("authorization", &value), DATE_HEADER]),
            Err(SigV4Error::NotSigned("host".to_owned()))
        );
        for expires in ["0", "604801", "-1", "+1", "", "99999999999"] {
            let query = url("").replace("=86400", &format!("={expires}"));
            assert!(
                matches!(read(&query, &[]), Err(SigV4Error::Malformed { .. })),
                "{expires}"
            );
        }
        let huge = "a".repeat(AUTHORIZATION_BYTES + 1);
        assert!(matches!(
            read("", &[("authorization", &huge), DATE_HEADER]),
            Err(SigV4Error::Malformed { .. })
        ));
        assert!(matches!(
            read(&format!("X-Amz-Credential={huge}"), &[]),
            Err(SigV4Error::Malformed { .. })
        ));
    }
}
