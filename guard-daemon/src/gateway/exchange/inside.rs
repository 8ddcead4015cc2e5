//! What is inside a body that is more than bytes: aws-chunked framing, and signatures to be made anew.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_credential_types::Credentials;
use http::HeaderMap;
use hyper::body::Incoming;

use super::super::body::RequestBody;
use super::super::chunked::{Chains, Chunked, Framing};
use super::super::refusal::Refusal;
use super::super::spool::Spooled;
use super::authenticate::{Authenticated, By};
use crate::aws::Scope;
use crate::aws::error::Code;
use crate::aws::sigv4::{ChunkSigner, DeclaredPayload, SigV4Error, Signed, Streaming};

/// What is inside a body.
pub(super) enum Inside {
    /// Bytes.
    Plain,
    /// aws-chunked framing without signatures.
    Chunks(Framing),
    /// aws-chunked framing, every chunk signed.
    SignedChunks(Framing),
}

impl Inside {
    /// Reads it from a request's head.
    pub(super) fn of(
        by: &By,
        payload: &DeclaredPayload,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        let framing = |trailer| {
            Framing::of(headers, trailer)
                .map_err(|error| Refusal::denied(Code::InvalidRequest, error.to_string()))
        };
        let form = match payload {
            DeclaredPayload::StreamingUnsignedTrailer => return framing(None).map(Self::Chunks),
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
            Streaming::Chunks | Streaming::ChunksTrailer => {
                framing(Some(form.has_trailer())).map(Self::SignedChunks)
            }
            _ => Err(SigV4Error::Unsupported(form.name()).into()),
        }
    }
}

impl Authenticated {
    /// The body as it leaves. `head` is the signature that the request leaves with, if any.
    pub(super) fn body_leaving(
        &self,
        body: Spooled<Incoming>,
        head: Option<(&Signed, Scope<'_>, &Credentials)>,
        sent: Arc<AtomicU64>,
    ) -> Result<RequestBody, SigV4Error> {
        match &self.inside {
            Inside::Plain => Ok(RequestBody::new(body, sent)),
            Inside::Chunks(framing) => {
                let body = Chunked::unsigned(body, framing.clone());
                Ok(RequestBody::chunked(body, sent))
            }
            Inside::SignedChunks(framing) => {
                let chains = self.chains(head)?;
                let body = Chunked::signed(body, framing.clone(), chains);
                Ok(RequestBody::chunked(body, sent))
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
