//! What is inside a body that is more than bytes: aws-chunked framing, and signatures to be made anew.

use std::sync::Arc;

use aws_credential_types::Credentials;
use http::HeaderMap;
use hyper::body::Incoming;

use super::super::body::{Progress, RequestBody};
use super::super::chunked::{Chains, ChunkError, Chunked, Content, Framing};
use super::super::events::Events;
use super::super::refusal::Refusal;
use super::super::spool::{Spool, Spooled};
use super::authenticate::{Authenticated, By};
use crate::aws::Scope;
use crate::aws::error::Code;
use crate::aws::sigv4::{ChunkSigner, DeclaredPayload, SigV4Error, Signed, Streaming};

/// What is inside a body.
pub(super) enum Inside {
    /// Bytes.
    Plain,
    /// aws-chunked framing.
    Chunks {
        framing: Framing,
        /// Every chunk is signed.
        signed: bool,
    },
    /// An event stream, every message in a signed envelope.
    Events,
}

impl Inside {
    /// Reads it from a request's head.
    pub(super) fn of(
        by: &By,
        payload: &DeclaredPayload,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        let chunks = |framing: Result<_, ChunkError>, signed| match framing {
            Ok(framing) => Ok(Self::Chunks { framing, signed }),
            Err(error) => Err(Refusal::denied(Code::InvalidRequest, error.to_string())),
        };
        let form = match payload {
            DeclaredPayload::StreamingUnsignedTrailer => {
                return chunks(Framing::unsigned(headers), false);
            }
            DeclaredPayload::Streaming(form) => *form,
            _ => return Ok(Self::Plain),
        };
        if !matches!(by, By::Signature { .. }) {
            return Err(Refusal::denied(
                Code::InvalidRequest,
                "x-amz-content-sha256 says that the body is signed inside, but the request itself is not signed",
            ));
        }
        match form {
            Streaming::Events => Ok(Self::Events),
            form => chunks(Framing::signed(headers, form), true),
        }
    }

    /// aws-chunked framing has an end of its own, so that no body at all is none of it; nobody would look for it.
    pub(super) fn check_there(&self, body: &Spool<Incoming>) -> Result<(), Refusal> {
        if matches!(self, Self::Chunks { .. }) && body.is_empty() {
            let text = "x-amz-content-sha256 says that the body is in chunks, but there is no body";
            return Err(Refusal::denied(Code::InvalidRequest, text));
        }
        Ok(())
    }

    /// What digests the content, where that is not the bytes of the body.
    pub(super) fn content(&self) -> Option<Content> {
        match self {
            Self::Chunks { framing, .. } => Some(Content::of(framing.clone())),
            Self::Plain | Self::Events => None,
        }
    }
}

impl Authenticated {
    /// Whether the body is a conversation: its end comes only after the answer has begun.
    pub(super) fn converses(&self) -> bool {
        matches!(self.inside, Inside::Events)
    }

    /// The body as it leaves. `head` is the signature that the request leaves with, if any; `approved` the digest of a
    /// body that still arrives.
    pub(super) fn body_leaving(
        &self,
        body: Spooled<Incoming>,
        head: Option<(&Signed, Scope<'_>, &Credentials)>,
        approved: Option<String>,
        sent: Arc<Progress>,
    ) -> Result<RequestBody, SigV4Error> {
        match &self.inside {
            Inside::Plain => Ok(match approved {
                Some(digest) => RequestBody::approved(body, digest, sent),
                None => RequestBody::new(body, sent),
            }),
            Inside::Chunks { framing, signed } => {
                let chains = signed.then(|| self.chains(head)).transpose()?;
                let (body, resigned) = match chains {
                    Some(chains) => {
                        let charge = body.charge();
                        (body.counted(), Some((chains, charge)))
                    }
                    None => (body, None),
                };
                let body = Chunked::new(body, framing.clone(), resigned);
                Ok(RequestBody::chunked(body, sent))
            }
            Inside::Events => {
                let charge = body.charge();
                let body = Events::new(body.counted(), self.chains(head)?, charge);
                Ok(RequestBody::events(body, sent))
            }
        }
    }

    fn chains(
        &self,
        head: Option<(&Signed, Scope<'_>, &Credentials)>,
    ) -> Result<Chains, SigV4Error> {
        let (By::Signature { presented, issue }, Some((signed, scope, credentials))) =
            (&self.by, head)
        else {
            return Err(SigV4Error::Missing("a signature of the request itself"));
        };
        Ok(Chains {
            arriving: ChunkSigner::of_client(presented, &issue.dummy.secret_access_key)?,
            leaving: ChunkSigner::leaving(signed, scope, credentials)?,
        })
    }
}
