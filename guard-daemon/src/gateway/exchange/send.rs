//! The request that leaves: its head made ready, and signed with the real credentials.

use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Request};
use hyper::body::Incoming;

use super::super::body::{Progress, RequestBody};
use super::super::forward::{self, Wanted};
use super::super::refusal::Refusal;
use super::super::spool::Spool;
use super::Exchange;
use super::authenticate::{Authenticated, By};
use crate::aws::error::Code;
use crate::aws::sigv4::{self, DeclaredPayload, SignAs};
use crate::aws::{Call, Scope, bearer};
use crate::broker::{BearerToken, StandsFor};

/// What a request leaves with.
pub(super) enum Leaving {
    /// A signature, and its scope where the request has none of its own.
    Signed {
        credentials: Credentials,
        region: Option<String>,
    },
    /// The real bearer token.
    Bearer(BearerToken),
    /// Nothing, as it came.
    Unsigned,
}

impl Leaving {
    /// The access key id for the record.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Signed { credentials, .. } => Some(credentials.access_key_id()),
            Self::Bearer(_) | Self::Unsigned => None,
        }
    }
}

impl Exchange {
    /// The real credentials that stand behind whoever made the request.
    pub(super) async fn leaving(
        &self,
        from: &Authenticated,
        call: &Call,
    ) -> Result<Leaving, Refusal> {
        let Some(issue) = from.issue() else {
            return Ok(Leaving::Unsigned);
        };
        let region = match (&from.by, &self.session.bearer) {
            (By::Bearer { made: false, .. }, Some(token)) => {
                return Ok(Leaving::Bearer(token.clone()));
            }
            (By::Bearer { .. }, _) => Some(call.region.clone().ok_or_else(|| {
                Refusal::denied(
                    Code::InvalidRequest,
                    "the host does not tell the region that the request is to be signed for; use a regional endpoint",
                )
            })?),
            _ => None,
        };
        let credentials = match &issue.stands_for {
            StandsFor::Session => self.session.credentials.credentials_of(&self.whose).await,
            StandsFor::Minted(minted) => Ok(minted.credentials.clone()),
        };
        let credentials = credentials
            .map_err(|error| Refusal::denied(Code::UpstreamUnavailable, error.to_string()))?;
        Ok(Leaving::Signed {
            credentials,
            region,
        })
    }

    /// Makes the request that leaves, and tells the signature that it leaves with; empty where that is none.
    pub(super) async fn sign(
        &self,
        mut parts: Parts,
        from: &Authenticated,
        body: &mut Spool<Incoming>,
        wanted: Wanted,
        leaving: &Leaving,
        sent: Arc<Progress>,
    ) -> Result<(Request<RequestBody>, String), Refusal> {
        let host = &self.caller.server_name;
        let approved = match &from.payload {
            // Else it was compared, or is of a digest of guard's own.
            DeclaredPayload::Sha256(digest)
                if self.decided.approval.is_some() && !body.has_arrived() =>
            {
                Some(digest.clone())
            }
            _ => None,
        };
        let body = body
            .take()
            .await
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let length = http_body::Body::size_hint(&body).exact();
        let wanted = match (wanted, leaving) {
            // An error to what leaves with real credentials is looked through, too.
            (Wanted::AsAsked, Leaving::Signed { .. } | Leaving::Bearer(_)) => Wanted::Plain,
            (wanted, _) => wanted,
        };
        forward::prepare(&mut parts, host, length, wanted)
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let head = match leaving {
            Leaving::Signed {
                credentials,
                region,
            } => {
                let own = region.as_deref().map(|region| Scope {
                    region,
                    service: bearer::SERVICE,
                });
                let scope = own.or_else(|| from.scope()).ok_or_else(|| {
                    Refusal::failed("the request has no scope to be signed for".to_owned())
                })?;
                let signed = sigv4::sign(
                    &mut parts,
                    host,
                    from.payload(),
                    scope,
                    credentials,
                    SignAs {
                        algorithm: from.algorithm(),
                        s3_session: from
                            .issue()
                            .and_then(|issue| issue.minted())
                            .is_some_and(|minted| minted.express),
                    },
                    SystemTime::now(),
                )
                .map_err(|error| Refusal::failed(error.to_string()))?;
                Some((signed, scope, credentials))
            }
            Leaving::Bearer(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))
                    .map_err(|_invalid| {
                        Refusal::failed(
                            "the session owner's AWS_BEARER_TOKEN_BEDROCK cannot stand in a header"
                                .to_owned(),
                        )
                    })?;
                value.set_sensitive(true);
                parts.headers.insert(AUTHORIZATION, value);
                None
            }
            Leaving::Unsigned => None,
        };
        let body = from
            .body_leaving(
                body,
                head.as_ref()
                    .map(|(signed, scope, keys)| (signed, *scope, *keys)),
                approved,
                sent,
            )
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let signature = head.map_or_else(String::new, |(signed, ..)| signed.signature);
        Ok((Request::from_parts(parts, body), signature))
    }
}
