//! Errors guard makes, in the request's own protocol, so that each SDK raises its own, once.

use bytes::Bytes;
use http::{Method, Response};

use super::Protocol;

/// What went wrong, in the terms SDKs know. None of these is retried by an SDK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    /// Denied by policy or a person, or not decided in time.
    AccessDenied,
    /// The signature does not match the dummy credentials.
    SignatureDoesNotMatch,
    /// The access key is not this session's.
    InvalidAccessKey,
    /// The signature is too old or from the future.
    RequestExpired,
    /// The request cannot be understood or is ambiguous.
    InvalidRequest,
    /// The request is larger than guard accepts.
    RequestTooLarge,
    /// The upstream could not be reached or verified, or its answer could not be masked.
    UpstreamUnavailable,
}

/// Makes the response. `service` is botocore's service name; a HEAD gets no body, the message then stands
/// in `x-guard-reason` only (which every response has, ASCII, bounded).
pub fn response(
    _protocol: Protocol,
    _service: Option<&str>,
    _method: &Method,
    _code: Code,
    _message: &str,
) -> Response<Bytes> {
    unimplemented!("contract")
}

/// The protocol to answer in when the operation could not be identified: from content type, target
/// header, path and host.
pub fn protocol_of(_request: &super::RequestView<'_>) -> Protocol {
    unimplemented!("contract")
}
