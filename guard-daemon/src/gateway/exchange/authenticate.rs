//! Who made the request: with which of the session's dummies it was signed, over what payload.
//!
//! A bearer token of the session counts like a signature; a request with neither is nobody's, which only a
//! statement that names `Anonymous` lets pass.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use hyper::body::Incoming;

use super::super::outcome;
use super::super::refusal::Refusal;
use super::super::spool::Spool;
use super::inside::Inside;
use super::{Exchange, view};
use crate::aws::bearer::{self, Bearer};
use crate::aws::error::Code;
use crate::aws::sigv4::{self, Algorithm, DeclaredPayload, Form, Payload, Presented};
use crate::aws::{BodyView, Call, Protocol, RequestView, Scope};
use crate::broker::Issue;

/// Who made a request, and what of its body they vouch for.
pub(super) struct Authenticated {
    pub(super) by: By,
    /// Never `Absent`: the digest of the whole body then. A digest is what was signed, or that of what is here; a
    /// claim that nobody signed is `Unsigned`.
    pub(super) payload: DeclaredPayload,
    pub(super) inside: Inside,
}

/// How a request was authenticated.
pub(super) enum By {
    /// Its signature was verified.
    Signature {
        presented: Presented,
        issue: Arc<Issue>,
    },
    /// It carries the session's bearer token, or one that was made with its dummies.
    Bearer { issue: Arc<Issue>, made: bool },
    /// Nobody vouches for it.
    Nobody,
}

impl Exchange {
    /// Verifies the signature with the secret of the dummies that it names. A request that declares no digest
    /// of its body is signed with that digest, so its body must be here first.
    pub(super) async fn authenticate(
        &mut self,
        parts: &Parts,
        body: &mut Spool<Incoming>,
    ) -> Result<Authenticated, Refusal> {
        let caller = Arc::clone(&self.caller);
        let view = view(parts, &caller.server_name, BodyView::Unread);
        if let Some(bearer) = bearer::presented(&view)? {
            self.decided.authentication = Some("bearer".to_owned());
            return self.bearer(bearer, view.headers, body).await;
        }
        let Some(presented) = sigv4::presented(&view)? else {
            self.decided.authentication = Some("none".to_owned());
            let payload = sigv4::declared_payload(view.headers)?;
            return self
                .authenticated(By::Nobody, payload, view.headers, body)
                .await;
        };
        if presented.form != Form::Header {
            self.decided.authentication = Some("url".to_owned());
        }
        let issue = self.issue(&presented)?;
        check_token(&presented, &issue)?;
        let payload = sigv4::declared_payload_of(&presented, &view)?;
        let by = By::Signature { presented, issue };
        let authenticated = self.authenticated(by, payload, view.headers, body).await?;
        if let By::Signature { presented, issue } = &authenticated.by {
            verify(presented, &view, authenticated.payload(), issue)?;
            self.attribute(issue);
        }
        Ok(authenticated)
    }

    /// The dummies that a signature names, which must still hold.
    fn issue(&mut self, presented: &Presented) -> Result<Arc<Issue>, Refusal> {
        self.decided.presented_key = Some(outcome::bounded(&presented.access_key_id));
        let Some(issue) = self.session.issued.find(&presented.access_key_id) else {
            return Err(Refusal::denied(
                Code::InvalidAccessKey,
                "the access key is not this session's, and guard lets no other leave: use the credentials that \
                 guard put in the environment",
            ));
        };
        if issue.has_expired(SystemTime::now()) {
            return Err(Refusal::denied(
                Code::ExpiredToken,
                "the temporary credentials have expired; get new ones where these came from",
            ));
        }
        Ok(issue)
    }

    /// Says whose credentials they are, of a signature that was verified.
    fn attribute(&mut self, issue: &Issue) {
        if let Some(minted) = issue.minted() {
            self.decided.assumed.clone_from(&minted.chain);
        }
    }

    async fn bearer(
        &mut self,
        bearer: Bearer<'_>,
        headers: &HeaderMap,
        body: &mut Spool<Incoming>,
    ) -> Result<Authenticated, Refusal> {
        let by = match bearer {
            Bearer::Made { presented, query } => {
                let issue = self.issue(&presented)?;
                check_token(&presented, &issue)?;
                verify(&presented, &query.view(), Payload::Bytes(b""), &issue)?;
                self.attribute(&issue);
                By::Bearer { issue, made: true }
            }
            Bearer::Opaque(token) => {
                let Some(issue) = self.session.issued.of_bearer_token(token) else {
                    return Err(Refusal::denied(
                        Code::InvalidAccessKey,
                        "the bearer token is not this session's, and guard lets no other leave: use the token or \
                         the credentials that guard put in the environment",
                    ));
                };
                By::Bearer { issue, made: false }
            }
        };
        // Whatever signs it in the token's place needs the digest.
        self.authenticated(by, DeclaredPayload::Absent, headers, body)
            .await
    }

    async fn authenticated(
        &self,
        by: By,
        payload: DeclaredPayload,
        headers: &HeaderMap,
        body: &mut Spool<Incoming>,
    ) -> Result<Authenticated, Refusal> {
        let inside = Inside::of(&by, &payload, headers)?;
        inside.check_there(body)?;
        body.look_into(inside.content());
        let payload = match payload {
            // A mere claim: it leaves under no signature that would hold the body to it.
            DeclaredPayload::Sha256(_) if !matches!(by, By::Signature { .. }) => {
                DeclaredPayload::Unsigned
            }
            DeclaredPayload::Absent => {
                body.collect().await?;
                DeclaredPayload::Sha256(body.sha256().unwrap_or_default())
            }
            declared => declared,
        };
        Ok(Authenticated {
            by,
            payload,
            inside,
        })
    }
}

/// The session token that a request carries must be that of its dummies.
fn check_token(presented: &Presented, issue: &Issue) -> Result<(), Refusal> {
    if issue.has_token(presented.session_token.as_deref()) {
        return Ok(());
    }
    Err(Refusal::denied(
        Code::InvalidAccessKey,
        "the session token is not the one that goes with the access key; use the credentials as they were given out, \
         all three parts of them",
    ))
}

fn verify(
    presented: &Presented,
    view: &RequestView<'_>,
    payload: Payload<'_>,
    issue: &Issue,
) -> Result<(), Refusal> {
    let secret = &issue.dummy.secret_access_key;
    sigv4::verify(presented, view, payload, secret, SystemTime::now())?;
    Ok(())
}

impl Authenticated {
    /// The credential scope, of a signature of the request itself.
    pub(super) fn scope(&self) -> Option<Scope<'_>> {
        match &self.by {
            By::Signature { presented, .. } => Some(Scope {
                region: &presented.region,
                service: &presented.service,
            }),
            By::Bearer { .. } | By::Nobody => None,
        }
    }

    /// What the request was signed with.
    pub(super) fn algorithm(&self) -> Algorithm {
        match &self.by {
            By::Signature { presented, .. } => presented.algorithm,
            By::Bearer { .. } | By::Nobody => Algorithm::default(),
        }
    }

    /// The dummies behind it.
    pub(super) fn issue(&self) -> Option<&Arc<Issue>> {
        match &self.by {
            By::Signature { issue, .. } | By::Bearer { issue, .. } => Some(issue),
            By::Nobody => None,
        }
    }

    /// A bearer token is for the services that take it, and no others: the real one least of all.
    pub(super) fn check_service(&self, call: &Call) -> Result<(), Refusal> {
        match self.by {
            By::Bearer { .. } if !call.service.is_some_and(bearer::is_taken_by) => {
                Err(Refusal::denied(
                    Code::InvalidRequest,
                    "guard takes bearer tokens for Amazon Bedrock alone; sign the request with the credentials that guard \
                 put in the environment",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Makes headers again of what a presigned URL carries in their place.
    pub(super) fn restore_headers(&self, parts: &mut Parts) -> Result<(), Refusal> {
        if let By::Signature { presented, .. } = &self.by {
            sigv4::restore_headers(parts, presented)?;
        }
        Ok(())
    }

    /// What S3 ignores in the query decides nothing.
    pub(super) fn check_query(&self, call: &Call, query: &str) -> Result<(), Refusal> {
        let s3 = call.protocol == Protocol::S3
            || self
                .scope()
                .is_some_and(|scope| sigv4::is_s3(scope.service));
        if s3 {
            sigv4::check_query(query)?;
        }
        Ok(())
    }

    pub(super) fn payload(&self) -> Payload<'_> {
        match &self.payload {
            DeclaredPayload::Sha256(digest) => Payload::Sha256(digest),
            DeclaredPayload::StreamingUnsignedTrailer => Payload::StreamingUnsignedTrailer,
            DeclaredPayload::Streaming(kind) => Payload::Streaming(*kind),
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
