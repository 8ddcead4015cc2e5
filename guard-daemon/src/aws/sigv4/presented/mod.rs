//! Reads the signature of a request: `Authorization` header, or query parameters.
//!
//! Everything here is the agent's. A request with no signature is `None`; one whose signature could be
//! read in two ways, or is of a kind guard does not take, is an error that says so.

mod query;
#[cfg(test)]
mod tests;
mod version2;

use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE, HOST};

use self::query::QuerySignature;
use super::{
    AUTHORITY, Algorithm, Form, Presented, SigV4Error, decoded, pairs, signature_parameter, stamp,
    version4a,
};
use crate::aws::RequestView;

/// Bytes of an `Authorization` header, or of one query parameter of a signature (session tokens, which are
/// longer, are not read here).
const AUTHORIZATION_BYTES: usize = 8 * 1024;
/// Bytes of a session token. AWS gives no bound; theirs have about 1 KiB, those with many session tags some more.
const SESSION_TOKEN_BYTES: usize = 16 * 1024;
const SESSION_TOKENS: [&str; 2] = ["x-amz-s3session-token", "x-amz-security-token"];
/// Bytes of a set of regions: there are some forty, of about 14 letters each.
const REGION_SET_BYTES: usize = 1024;
/// Names in `SignedHeaders`.
const SIGNED_HEADERS: usize = 128;

/// The algorithm that a signature names.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "AWS4-HMAC-SHA256" => Some(Algorithm::HmacSha256),
        version4a::ALGORITHM => Some(Algorithm::EcdsaP256),
        _ => None,
    }
}

/// Headers that may stand once in a signed request: AWS acts on them, and two would be ambiguous.
const SINGLE_HEADERS: [&str; 7] = [
    "host",
    "date",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-region-set",
    "x-amz-s3session-token",
    "x-amz-security-token",
];

/// Reads the signature of a request; `None` where it has none. Two at once, a doubled parameter, or a form
/// guard does not take (Version 2 but for S3, bearer tokens) is an error that says so.
pub fn presented(request: &RequestView<'_>) -> Result<Option<Presented>, SigV4Error> {
    let query = QuerySignature::read(request.query)?;
    let old = version2::QuerySignature::read(request.query)?;
    let header = authorization(request.headers)?;
    if header.is_some() || query.is_some() || old.is_some() {
        for name in SINGLE_HEADERS {
            if request.headers.get_all(name).iter().nth(1).is_some() {
                return Err(SigV4Error::Doubled(name));
            }
        }
    }
    match (header, query, old) {
        (None, None, None) => Ok(None),
        (Some(header), None, None) => from_header(header, request).map(Some),
        (None, Some(query), None) => query.finish(request).map(Some),
        (None, None, Some(old)) => old.finish(request).map(Some),
        _ => Err(SigV4Error::BothForms),
    }
}

/// Whether a raw query holds a signature, or a part that only a signature has.
pub fn signs_query(query: &str) -> Result<bool, SigV4Error> {
    Ok(QuerySignature::read(query)?.is_some() || version2::QuerySignature::read(query)?.is_some())
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

fn from_header(value: &str, request: &RequestView<'_>) -> Result<Presented, SigV4Error> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme == "AWS" {
        return version2::from_header(rest.trim(), request);
    }
    let algorithm =
        algorithm(scheme).ok_or_else(|| SigV4Error::Unsupported(scheme_name(scheme)))?;
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
    let regions = request.headers.get("x-amz-region-set");
    let found = Found {
        algorithm,
        credential,
        signed,
        signature,
        regions: regions.and_then(|regions| regions.to_str().ok()),
        date: header_date(request.headers)?,
        form: Form::Header,
    };
    found.assemble(request)
}

/// The session token that goes with the credentials: in a header or a parameter, under S3 Express's name too.
fn session_token(request: &RequestView<'_>) -> Result<Option<String>, SigV4Error> {
    let malformed = |why| SigV4Error::Malformed {
        part: "the session token",
        why,
    };
    let mut found: Option<String> = None;
    let mut add = |token: String| {
        if token.len() > SESSION_TOKEN_BYTES {
            return Err(malformed("it is longer than 16 KiB"));
        }
        if found.as_ref().is_some_and(|other| *other != token) {
            return Err(SigV4Error::Doubled("a session token"));
        }
        found = Some(token);
        Ok(())
    };
    for name in SESSION_TOKENS {
        for value in request.headers.get_all(name) {
            let token = value.to_str().ok();
            add(token
                .ok_or(malformed("it is not printable ASCII"))?
                .trim()
                .to_owned())?;
        }
    }
    for (name, value) in pairs(request.query) {
        if signature_parameter(name).is_some_and(|name| SESSION_TOKENS.contains(&name)) {
            if value.len() > 3 * SESSION_TOKEN_BYTES {
                return Err(malformed("it is longer than 16 KiB"));
            }
            add(decoded(value)?)?;
        }
    }
    Ok(found)
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
        "AWS3" | "AWS3-HTTPS" => "Signature Version 3",
        _ if is("Bearer") => "bearer tokens",
        _ if is("Basic") => "basic authentication",
        _ => "this kind of Authorization header",
    }
}

/// The parts of a signature, as they were sent.
struct Found<'a> {
    algorithm: Algorithm,
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
    /// The set of regions of Version 4A.
    regions: Option<&'a str>,
    date: String,
    form: Form,
}

impl Found<'_> {
    fn assemble(self, request: &RequestView<'_>) -> Result<Presented, SigV4Error> {
        let scope = |why| SigV4Error::Malformed {
            part: "Credential",
            why,
        };
        let fields: Vec<&str> = self.credential.splitn(6, '/').collect();
        let version4a = self.algorithm == Algorithm::EcdsaP256;
        let (key, day, region, service, terminator) = match (version4a, fields.as_slice()) {
            (false, &[key, day, region, service, end]) => (key, day, region, service, end),
            (true, &[key, day, service, end]) => {
                let regions = self
                    .regions
                    .ok_or(SigV4Error::Missing("X-Amz-Region-Set"))?;
                (key, day, region_set(regions)?, service, end)
            }
            (false, _) => {
                return Err(scope("it must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request"));
            }
            (true, _) => return Err(scope("it must be KEY/YYYYMMDD/SERVICE/aws4_request")),
        };
        if terminator != "aws4_request" {
            return Err(scope("it must end in /aws4_request"));
        }
        if !(version4a || is_scope_name(region)) || !is_scope_name(service) {
            return Err(scope(
                "region and service must be 1 to 64 letters, digits, '-', '.' or '_'",
            ));
        }
        if self.date.get(..8) != Some(day) {
            return Err(scope("its day is not that of the request's date"));
        }
        let digits = self.signature.len();
        let as_long = if version4a {
            digits.is_multiple_of(2) && (16..=version4a::SIGNATURE_DIGITS).contains(&digits)
        } else {
            digits == 64
        };
        if !as_long || !self.signature.bytes().all(is_lower_hex) {
            return Err(SigV4Error::Malformed {
                part: "Signature",
                why: "it must be 64 lower-case hexadecimal digits, or in Version 4A a signature in DER",
            });
        }
        Ok(Presented {
            algorithm: self.algorithm,
            access_key_id: access_key_id(key)?.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers(self.signed)?,
            signature: self.signature.to_owned(),
            session_token: session_token(request)?,
            form: self.form,
            date: self.date,
        })
    }
}

fn is_scope_name(text: &str) -> bool {
    let plain = |b: u8| is_word(b) || b == b'-' || b == b'.';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

/// Regions and patterns, joined by commas.
fn region_set(text: &str) -> Result<&str, SigV4Error> {
    let is_pattern = |name: &str| is_scope_name(&name.replace('*', "x"));
    if text.len() <= REGION_SET_BYTES && text.split(',').all(is_pattern) {
        return Ok(text);
    }
    Err(SigV4Error::Malformed {
        part: "X-Amz-Region-Set",
        why: "it must be regions joined by ',', each of letters, digits, '-' and '*', 1 KiB at most",
    })
}

fn access_key_id(text: &str) -> Result<&str, SigV4Error> {
    // IAM: 16 to 128 word characters.
    if (16..=128).contains(&text.len()) && text.bytes().all(is_word) {
        return Ok(text);
    }
    Err(SigV4Error::Malformed {
        part: "the access key id",
        why: "it must be 16 to 128 letters and digits",
    })
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
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
    let well = |name: &str| name == AUTHORITY || (!name.is_empty() && name.bytes().all(token));
    if !names.iter().all(|name| well(name)) {
        return Err(malformed(
            "it must be lower-case header names joined by ';'",
        ));
    }
    if !names.is_sorted_by(|a, b| a < b) {
        return Err(malformed("its names must be in order, each once"));
    }
    if !names.contains(&HOST.as_str()) && !names.contains(&AUTHORITY) {
        return Err(SigV4Error::NotSigned(HOST.as_str().to_owned()));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Whether a byte is a lower-case hexadecimal digit.
pub(super) fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}
