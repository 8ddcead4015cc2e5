//! Signature Version 4: verify what the agent signed, sign what leaves.
//!
//! `presented` reads a signature, `payload` says which payload line it was made with, `verify` recomputes
//! it with guard's own canonical request (`canonical`), and `sign` makes the one that leaves, with the
//! `aws-sigv4` crate: two implementations that check each other. The gateway calls them in that order.
//!
//! Source: AWS IAM User Guide, "Create a signed AWS API request"; Amazon S3 API Reference,
//! "Authenticating Requests (AWS Signature Version 4)".

mod canonical;
mod chunks;
mod hoisted;
mod payload;
mod presented;
mod sign;
mod stamp;

#[cfg(test)]
mod vectors;
mod verify;
mod version2;
mod version4a;

pub use chunks::ChunkSigner;
pub use hoisted::{check_query, restore_headers};
pub use payload::{DeclaredPayload, Streaming, declared_payload, declared_payload_of};
pub use presented::{presented, signs_query};
pub use sign::{SignAs, Signed, sign};
pub use verify::verify;

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use self::sign::replace_query;
use super::Scope;

/// The signature a request carries, parsed, not yet verified.
#[derive(Clone, Eq, PartialEq)]
pub struct Presented {
    /// What it was made with.
    pub algorithm: Algorithm,
    /// The access key id.
    pub access_key_id: String,
    /// The scope's region. In Version 4A the set of regions as it was signed: names and patterns (`*`) joined by
    /// commas. Version 2 has none: the host's, or else us-east-1.
    pub region: String,
    /// The scope's service.
    pub service: String,
    /// Names of the signed headers, lower case, in strictly ascending order, `host` among them. None in Version
    /// 2, which signs every `x-amz-*` header there is.
    pub signed_headers: Vec<String>,
    /// The signature: 64 lower-case hexadecimal digits, in Version 4A an even number up to 144; in Version 2, base64.
    pub signature: String,
    /// The session token that came with it, at most 16 KiB. Not all services have it signed.
    pub session_token: Option<String>,
    /// Where it stood and what goes with it.
    pub form: Form,
    /// `YYYYMMDDTHHMMSSZ`, from `x-amz-date`, `X-Amz-Date`, or else the `Date` header; on the scope's day. Empty
    /// in a URL of Version 2, which says only how long it is valid.
    pub date: String,
}

/// What a signature is made with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Algorithm {
    /// `AWS4-HMAC-SHA256`: Signature Version 4.
    #[default]
    HmacSha256,
    /// `AWS4-ECDSA-P256-SHA256`: Signature Version 4A, for a set of regions.
    EcdsaP256,
    /// HMAC-SHA1: Signature Version 2, for S3 alone.
    HmacSha1,
}

/// Where a signature stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `Authorization` header.
    Header,
    /// Query parameters; valid for so many seconds.
    Query {
        /// `X-Amz-Expires`, at most 604 800 (seven days).
        expires: u32,
    },
    /// Query parameters of Version 2; valid until a moment.
    Until {
        /// `Expires`, in seconds after the epoch. As with AWS it may be as far away as the signer likes: the
        /// credentials end before.
        until: i64,
    },
}

/// Without signature and token.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("algorithm", &self.algorithm)
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .field("service", &self.service)
            .field("signed_headers", &self.signed_headers)
            .field("form", &self.form)
            .field("date", &self.date)
            .finish_non_exhaustive()
    }
}

/// The payload's line in the canonical request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Payload<'a> {
    /// The whole body, hashed here.
    Bytes(&'a [u8]),
    /// Already hashed, hexadecimal.
    Sha256(&'a str),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    StreamingUnsignedTrailer,
    /// The body carries signatures of its parts.
    Streaming(Streaming),
}

/// Why a signature was refused or could not be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SigV4Error {
    /// A header or parameter that may stand once stands twice.
    #[error("the request carries {0} more than once; send it once")]
    Doubled(&'static str),
    /// A signature in the header and one in the query.
    #[error(
        "the request is signed both in the Authorization header and in the query; sign it in one place"
    )]
    BothForms,
    /// A form of authentication that guard does not take.
    #[error("guard does not take {0}; sign with AWS4-HMAC-SHA256 (Signature Version 4)")]
    Unsupported(&'static str),
    /// A part of the signature is not there.
    #[error("the signature lacks {0}; sign the request again")]
    Missing(&'static str),
    /// A part of the signature is not what it must be.
    #[error("{part} of the signature is malformed: {why}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What it must be.
        why: &'static str,
    },
    /// AWS acts on this header, but the signature does not cover it.
    #[error("header {0:?} is sent but not signed; sign every x-amz-* header and host")]
    NotSigned(String),
    /// A signed header that the request does not have.
    #[error("header {0:?} is signed but not sent")]
    NotSent(String),
    /// A member of a presigned URL's query that stands for a header cannot be one.
    #[error("{name:?} in the presigned URL's query {why}")]
    NoHeader {
        /// The header's name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A member of the query that S3 takes for a header in a presigned URL alone.
    #[error(
        "the query has {0:?}, which S3 ignores there unless the URL is presigned; send it as a header"
    )]
    Ignored(String),
    /// Signed too far from guard's clock.
    #[error(
        "the request was signed {seconds} s away from guard's clock (at most 900 s); set the clock right"
    )]
    Skewed {
        /// How far, in seconds; negative where it was signed in the past.
        seconds: i64,
    },
    /// A presigned URL past its time.
    #[error("the presigned URL expired {seconds} s ago; make a new one")]
    Expired {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// The signature is another request's, or another secret's.
    #[error(
        "the signature does not match the request: it was made with another secret key, or the request was \
         changed on the way; use the credentials that `guard run` put in the environment"
    )]
    Mismatch,
    /// A chunk, trailer or event inside the body is not what was signed there.
    #[error(
        "a signature inside the body does not match: a chunk or event was made with another secret key, changed, \
         left out or moved on the way; send the request again"
    )]
    PartMismatch,
    /// The request cannot be signed.
    #[error("the request cannot be signed for AWS: {0}")]
    Unsignable(&'static str),
}

/// How the SDK for JavaScript signs the host of an HTTP/2 request: by the name that it has there.
const AUTHORITY: &str = ":authority";

/// The key that a day's signatures in a scope are made with.
fn hmac_key(secret: &str, day: &str, scope: Scope<'_>) -> Key {
    let secret = Zeroizing::new(format!("AWS4{secret}"));
    let step = |key: &[u8], text: &str| {
        let mut derived = Zeroizing::new([0; 32]);
        let tag = hmac::sign(&Key::new(HMAC_SHA256, key), text.as_bytes());
        derived.copy_from_slice(tag.as_ref());
        derived
    };
    let key = step(secret.as_bytes(), day);
    let key = step(key.as_slice(), scope.region);
    let key = step(key.as_slice(), scope.service);
    let key = step(key.as_slice(), "aws4_request");
    Key::new(HMAC_SHA256, key.as_slice())
}

/// Whether a signing name follows S3's rules: the path is not normalised and not encoded twice, and
/// `x-amz-content-sha256` is always there.
pub fn is_s3(service: &str) -> bool {
    matches!(
        service,
        "s3" | "s3express" | "s3-object-lambda" | "s3-outposts"
    )
}

/// Query parameters that are part of a signature, in any case: all leave the request when it is signed anew.
const SIGNATURE_PARAMETERS: [&str; 10] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-region-set",
    "x-amz-s3session-token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// The `name=value` pairs of a raw query, still encoded; empty ones are left out, as every server does.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The signature parameter that an encoded query name stands for, if it is one. Compared without regard
/// to case and after decoding, so that nothing AWS might read as a signature passes for something else.
fn signature_parameter(encoded: &str) -> Option<&'static str> {
    // Decoding only shortens: a name this long is none of ours.
    if encoded.len() > 3 * "x-amz-s3session-token".len() {
        return None;
    }
    let name: Vec<u8> = percent_decode_str(encoded).collect();
    SIGNATURE_PARAMETERS
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The parameter of Version 2 that an encoded query name stands for, if it is one; as `signature_parameter`.
/// `AWSAccessKeyId` makes the first three a signature; the others stand in the query protocol alone.
fn version2_parameter(encoded: &str) -> Option<&'static str> {
    const PARAMETERS: [&str; 5] = [
        "AWSAccessKeyId",
        "Expires",
        "Signature",
        "SignatureMethod",
        "SignatureVersion",
    ];
    if encoded.len() > 3 * "SignatureVersion".len() {
        return None;
    }
    let name: Vec<u8> = percent_decode_str(encoded).collect();
    PARAMETERS
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// A value of the query, decoded; a `+` stays one.
fn decoded(encoded: &str) -> Result<String, SigV4Error> {
    percent_decode_str(encoded)
        .decode_utf8()
        .map(Cow::into_owned)
        .map_err(|_invalid| SigV4Error::Malformed {
            part: "the query",
            why: "a value of it is not UTF-8",
        })
}
