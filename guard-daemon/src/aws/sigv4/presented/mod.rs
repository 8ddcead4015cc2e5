//! Reads the signature of a request: `Authorization` header, or `X-Amz-*` query parameters.
//!
//! Everything here is the agent's. A request with no signature is `None`; one whose signature could be
//! read in two ways, or is of a kind guard does not take, is an error that says so.

mod query;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, DATE, HOST};
use percent_encoding::percent_decode_str;

use self::query::QuerySignature;
use super::{Form, Presented, SigV4Error, pairs, signature_parameter, stamp};
use crate::aws::RequestView;

/// Bytes of an `Authorization` header, or of one query parameter of a signature (session tokens, which are
/// longer, are not read here).
const AUTHORIZATION_BYTES: usize = 8 * 1024;
/// Names in `SignedHeaders`.
const SIGNED_HEADERS: usize = 128;

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

/// Whether a raw query holds a signature, or a part that only a signature has.
pub fn signs_query(query: &str) -> Result<bool, SigV4Error> {
    Ok(QuerySignature::read(query)?.is_some())
}

/// Bytes of a session token.
const TOKEN_BYTES: usize = 16 * 1024;

/// The session token that a request carries: in a header, or in the query of a presigned URL; an S3 Express
/// session's has a name of its own. Two of them are an error.
pub fn session_token<'a>(request: &RequestView<'a>) -> Result<Option<Cow<'a, str>>, SigV4Error> {
    const NAMES: [&str; 2] = ["x-amz-security-token", "x-amz-s3session-token"];
    let malformed = SigV4Error::Malformed {
        part: "the session token",
        why: "it must be printable ASCII, 16 KiB at the most",
    };
    let plain =
        |text: &str| text.len() <= TOKEN_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
    let mut found: Option<Cow<'a, str>> = None;
    let mut add = |token: Cow<'a, str>| {
        if !plain(&token) {
            return Err(malformed.clone());
        }
        match found.replace(token) {
            Some(_) => Err(SigV4Error::Doubled("a session token")),
            None => Ok(()),
        }
    };
    for value in NAMES.iter().flat_map(|name| request.headers.get_all(*name)) {
        add(value.to_str().map_err(|_opaque| malformed.clone())?.into())?;
    }
    for (name, value) in pairs(request.query) {
        if signature_parameter(name).is_some_and(|name| NAMES.contains(&name)) {
            let value = percent_decode_str(value).decode_utf8();
            add(value.map_err(|_invalid| malformed.clone())?)?;
        }
    }
    Ok(found)
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
        .map_err(|_fields: Vec<_>| scope("it must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request"))?;
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
