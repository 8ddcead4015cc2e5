//! Why an exchange ends early, what its client is told, and what is left to record of it.

use crate::aws::error::Code;
use crate::aws::sigv4::SigV4Error;

use super::admit::NotAdmitted;
use super::body::BodyError;

/// An exchange that ends without the upstream's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    /// What the SDK is told.
    pub(super) code: Code,
    /// What the person who reads the error is told.
    pub(super) message: String,
    /// What the journal still has to be told.
    pub(super) record: Record,
}

/// What the journal still has to be told of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Record {
    /// A decision: denied.
    Denied,
    /// It was no exchange: a `Refused` entry with this code.
    Refused(&'static str),
    /// Nothing: the decision was to allow, and its completion says how it failed.
    Completed,
}

impl Refusal {
    /// Denied before anything left.
    pub(super) fn denied(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            record: Record::Denied,
        }
    }

    /// Failed after it was allowed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: Code::UpstreamUnavailable,
            message: message.into(),
            record: Record::Completed,
        }
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(error: NotAdmitted) -> Self {
        Self {
            code: Code::InvalidRequest,
            message: error.to_string(),
            record: Record::Refused(error.code()),
        }
    }
}

impl From<SigV4Error> for Refusal {
    fn from(error: SigV4Error) -> Self {
        let code = match error {
            SigV4Error::Mismatch => Code::SignatureDoesNotMatch,
            SigV4Error::Skewed { .. } | SigV4Error::Expired { .. } => Code::RequestExpired,
            #[allow(
                unreachable_patterns,
                reason = "every other form is a request that cannot be read"
            )]
            _ => Code::InvalidRequest,
        };
        Self::denied(code, error.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge { .. } | BodyError::Busy => Code::RequestTooLarge,
            BodyError::Storage(_) => Code::AccessDenied,
            _ => Code::InvalidRequest,
        };
        let record = match error {
            BodyError::Malformed(_) => Record::Refused(error.code()),
            _ => Record::Denied,
        };
        Self {
            code,
            message: error.to_string(),
            record,
        }
    }
}
