//! Signature Version 4: verify what the agent signed, sign what leaves.
//!
//! `presented` reads a signature, `payload` says which payload line it was made with, `verify` recomputes
//! it with guard's own canonical request (`canonical`), and `sign` makes the one that leaves, with the
//! `aws-sigv4` crate: two implementations that check each other. The gateway calls them in that order.
//!
//! Source: AWS IAM User Guide, "Create a signed AWS API request"; Amazon S3 API Reference,
//! "Authenticating Requests (AWS Signature Version 4)".

mod canonical;
mod payload;
mod presented;
mod sign;
mod stamp;

#[cfg(test)]
mod vectors;
mod verify;

pub use payload::{DeclaredPayload, declared_payload, declared_payload_of};
pub use presented::{presented, session_token, signs_query};
pub use sign::sign;
pub use verify::verify;

/// The signature a request carries, parsed, not yet verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presented {
    /// The access key id.
    pub access_key_id: String,
    /// The scope's region.
    pub region: String,
    /// The scope's service.
    pub service: String,
    /// Names of the signed headers, lower case, in strictly ascending order, `host` among them.
    pub signed_headers: Vec<String>,
    /// The signature: 64 lower-case hexadecimal digits.
    pub signature: String,
    /// Where it stood and what goes with it.
    pub form: Form,
    /// `YYYYMMDDTHHMMSSZ`, from `x-amz-date`, `X-Amz-Date`, or else the `Date` header; on the scope's day.
    pub date: String,
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
    /// The request cannot be signed.
    #[error("the request cannot be signed for AWS: {0}")]
    Unsignable(&'static str),
}

/// Whether a signing name follows S3's rules: the path is signed as it stands, neither normalised nor
/// encoded again, and `x-amz-content-sha256` is always there.
fn is_s3(service: &str) -> bool {
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
    let name: Vec<u8> = percent_encoding::percent_decode_str(encoded).collect();
    SIGNATURE_PARAMETERS
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}
