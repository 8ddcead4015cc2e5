//! Who signed the request: with which of the session's dummies, over what payload.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;

use super::super::outcome;
use super::super::refusal::Refusal;
use super::super::spool::Spool;
use super::{Exchange, view};
use crate::aws::error::Code;
use crate::aws::sigv4::{self, DeclaredPayload, Payload, Presented};
use crate::aws::{BodyView, Scope};
use crate::broker::Issue;

/// A request whose signature was verified.
pub(super) struct Signed {
    pub(super) presented: Presented,
    /// Never `Absent`: the digest of the whole body then.
    pub(super) payload: DeclaredPayload,
    /// The dummies it was signed with.
    pub(super) issue: Arc<Issue>,
}

impl Exchange {
    /// Verifies the signature with the session's secret. A request that declares no digest of its body
    /// is signed with that digest, so its body must be here first.
    pub(super) async fn authenticate(
        &mut self,
        parts: &Parts,
        body: &mut Spool<Incoming>,
    ) -> Result<Signed, Refusal> {
        let view = view(parts, &self.caller.server_name, BodyView::Unread);
        let presented = sigv4::presented(&view)?.ok_or_else(|| {
            Refusal::denied(
                Code::AccessDenied,
                "guard denies unsigned requests; use the credentials that `guard run` put in the environment",
            )
        })?;
        self.decided.presented_key = Some(outcome::bounded(&presented.access_key_id));
        let Some(issue) = self.session.issued.find(&presented.access_key_id) else {
            return Err(Refusal::denied(
                Code::InvalidAccessKey,
                "the access key is not this session's; use the credentials that `guard run` put in the environment",
            ));
        };
        let payload = match sigv4::declared_payload_of(&presented, &view)? {
            DeclaredPayload::Absent => {
                body.collect().await?;
                DeclaredPayload::Sha256(body.sha256().unwrap_or_default())
            }
            declared => declared,
        };
        let signed = Signed {
            presented,
            payload,
            issue,
        };
        let secret = &signed.issue.dummy.secret_access_key;
        sigv4::verify(
            &signed.presented,
            &view,
            signed.payload(),
            secret,
            SystemTime::now(),
        )?;
        Ok(signed)
    }
}

impl Signed {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope {
            region: &self.presented.region,
            service: &self.presented.service,
        }
    }

    pub(super) fn payload(&self) -> Payload<'_> {
        match &self.payload {
            DeclaredPayload::Sha256(digest) => Payload::Sha256(digest),
            DeclaredPayload::StreamingUnsignedTrailer => Payload::StreamingUnsignedTrailer,
            DeclaredPayload::Absent | DeclaredPayload::Unsigned => Payload::Unsigned,
        }
    }

    /// A body that is here must be the one that was signed. One that streams is checked by AWS, which is
    /// told the same digest.
    pub(super) fn check_digest<B>(&self, body: &Spool<B>) -> Result<(), Refusal>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match (&self.payload, body.sha256()) {
            (DeclaredPayload::Sha256(declared), Some(digest)) if *declared != digest => {
                Err(Refusal::denied(
                    Code::InvalidRequest,
                    "x-amz-content-sha256 is not the digest of the request body",
                ))
            }
            _ => Ok(()),
        }
    }
}
