//! Signature Version 4: verify what the agent signed, sign what leaves.

use std::time::SystemTime;

use super::RequestView;

/// The signature a request carries, parsed, not yet verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presented {
    /// The access key id.
    pub access_key_id: String,
    /// The scope's region.
    pub region: String,
    /// The scope's service.
    pub service: String,
    /// Names of the signed headers, lower case, in the order given.
    pub signed_headers: Vec<String>,
    /// The signature, hexadecimal.
    pub signature: String,
    /// Where it stood and what goes with it.
    pub form: Form,
    /// `x-amz-date` (or `X-Amz-Date`), `YYYYMMDDTHHMMSSZ`.
    pub date: String,
}

/// Where a signature stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// `Authorization` header.
    Header,
    /// Query parameters; valid for so many seconds.
    Query {
        /// `X-Amz-Expires`.
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
    /// Signed too far from guard's clock.
    #[error("skewed")]
    Skewed {
        /// How far, in seconds; negative where it was signed in the past.
        seconds: i64,
    },
    /// A presigned URL past its time.
    #[error("expired")]
    Expired {
        /// How long ago, in seconds.
        seconds: u64,
    },
    /// The signature is another request's, or another secret's.
    #[error("mismatch")]
    Mismatch,
}

/// What a request says of its payload's part in the signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeclaredPayload {
    /// Nothing: the signature covers the SHA-256 of the whole body.
    Absent,
    /// The body's SHA-256, 64 lower-case hexadecimal digits. To be compared with what is forwarded.
    Sha256(String),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: aws-chunked, its checksum in a trailer, no signature in it.
    StreamingUnsignedTrailer,
}

/// Reads the `x-amz-content-sha256` header, or what a presigned URL declares.
pub fn declared_payload_of(
    _presented: &Presented,
    _request: &RequestView<'_>,
) -> Result<DeclaredPayload, SigV4Error> {
    unimplemented!("contract")
}

/// Reads the signature of a request; `None` where it has none. Both forms at once, a doubled parameter, or a
/// form guard does not take (SigV2, SigV4A, chunk-signed) is an error that says so.
pub fn presented(_request: &RequestView<'_>) -> Result<Option<Presented>, SigV4Error> {
    unimplemented!("contract")
}

/// Verifies a signature with the session's secret: recomputed, compared in constant time, ±15 min.
pub fn verify(
    _presented: &Presented,
    _request: &RequestView<'_>,
    _payload: Payload<'_>,
    _secret: &str,
    _now: SystemTime,
) -> Result<(), SigV4Error> {
    unimplemented!("contract")
}

/// Strips every client signature (header and query) from `parts` and signs it in header form. The path and
/// the rest of the query leave byte for byte as they came.
pub fn sign(
    _parts: &mut http::request::Parts,
    _host: &str,
    _payload: Payload<'_>,
    _scope: super::Scope<'_>,
    _credentials: &aws_credential_types::Credentials,
    _now: SystemTime,
) -> Result<(), SigV4Error> {
    unimplemented!("contract")
}
