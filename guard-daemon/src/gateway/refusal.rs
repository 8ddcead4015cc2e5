//! Why an exchange ends early, what its client is told, and what is left to record of it.

use std::borrow::Cow;

use crate::aws::error::Code;
use crate::aws::sigv4::SigV4Error;

use super::admit::NotAdmitted;
use super::body::BodyError;
use super::upstream::UpstreamError;

/// An exchange that ends without the upstream's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    /// What the SDK is told.
    pub(super) code: Code,
    /// What the person who reads the error is told, and the journal.
    pub(super) message: String,
    /// What the person who reads the error is told to do, where the message does not say it.
    pub(super) advice: Option<&'static str>,
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
            advice: None,
            record: Record::Denied,
        }
    }

    /// Failed after it was allowed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            code: Code::UpstreamUnavailable,
            message: message.into(),
            advice: None,
            record: Record::Completed,
        }
    }

    /// It was allowed, but broke off while it was sent.
    pub(super) fn not_sent(error: &UpstreamError) -> Self {
        let code = match error {
            UpstreamError::Body(BodyError::Signature(_)) => Code::SignatureDoesNotMatch,
            UpstreamError::Body(
                BodyError::Chunked(_) | BodyError::Events(_) | BodyError::NotApproved,
            ) => Code::InvalidRequest,
            _ => Code::UpstreamUnavailable,
        };
        Self {
            code,
            ..Self::failed(error.to_string())
        }
    }

    /// The error's message as the client gets it.
    pub(super) fn told(&self) -> Cow<'_, str> {
        match self.advice {
            Some(advice) => format!("{}; {advice}", self.message).into(),
            None => self.message.as_str().into(),
        }
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(error: NotAdmitted) -> Self {
        Self {
            code: Code::InvalidRequest,
            message: error.to_string(),
            advice: None,
            record: Record::Refused(error.code()),
        }
    }
}

impl From<SigV4Error> for Refusal {
    fn from(error: SigV4Error) -> Self {
        let code = if matches!(error, SigV4Error::Mismatch) {
            Code::SignatureDoesNotMatch
        } else if matches!(
            error,
            SigV4Error::Skewed { .. } | SigV4Error::Expired { .. }
        ) {
            Code::RequestExpired
        } else {
            Code::InvalidRequest
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
            advice: None,
            record,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code_and_its_place_in_the_record() {
        let gone = Refusal::from(BodyError::TooLarge { limit: 5 });
        assert_eq!(
            (gone.code, gone.record),
            (Code::RequestTooLarge, Record::Denied)
        );
        let chunks = Refusal::from(BodyError::Malformed("bad chunk".to_owned()));
        assert_eq!(chunks.record, Record::Refused("malformed-request"));
        assert_eq!(chunks.code, Code::InvalidRequest);
        let disk = Refusal::from(BodyError::Storage("full".to_owned()));
        assert_eq!(
            (disk.code, disk.record),
            (Code::AccessDenied, Record::Denied)
        );

        assert_eq!(
            Refusal::from(SigV4Error::Mismatch).code,
            Code::SignatureDoesNotMatch
        );
        assert_eq!(
            Refusal::from(SigV4Error::Skewed { seconds: 1 }).code,
            Code::RequestExpired
        );
        assert_eq!(
            Refusal::from(SigV4Error::Expired { seconds: 1 }).code,
            Code::RequestExpired
        );

        let shape = Refusal::from(NotAdmitted::Malformed("it has no Host"));
        assert_eq!(shape.record, Record::Refused("malformed-request"));
        assert!(shape.message.contains("no Host"));
        assert_eq!(Refusal::failed("x").record, Record::Completed);

        let mut denied = Refusal::denied(Code::AccessDenied, "no");
        assert_eq!(denied.told(), "no");
        denied.advice = Some("ask");
        assert_eq!(denied.told(), "no; ask");
    }
}
