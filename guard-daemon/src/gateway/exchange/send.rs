//! The request that leaves: its head made ready, and signed with the real credentials.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;

use super::super::body::RequestBody;
use super::super::forward;
use super::super::refusal::Refusal;
use super::super::spool::Spool;
use super::Exchange;
use super::authenticate::Signed;
use crate::aws::sigv4;

impl Exchange {
    /// Signs the request with the real credentials.
    pub(super) async fn sign(
        &self,
        mut parts: Parts,
        signed: &Signed,
        body: &mut Spool<Incoming>,
        plain: bool,
        credentials: &Credentials,
        sent: Arc<AtomicU64>,
    ) -> Result<Request<RequestBody>, Refusal> {
        let host = &self.caller.server_name;
        let body = body
            .take()
            .await
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let length = http_body::Body::size_hint(&body).exact();
        forward::prepare(&mut parts, host, length, plain)
            .map_err(|error| Refusal::failed(error.to_string()))?;
        let now = SystemTime::now();
        sigv4::sign(
            &mut parts,
            host,
            signed.payload(),
            signed.scope(),
            credentials,
            now,
        )
        .map_err(|error| Refusal::failed(error.to_string()))?;
        let body = RequestBody::new(body, sent);
        Ok(Request::from_parts(parts, body))
    }
}
