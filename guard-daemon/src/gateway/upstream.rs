//! The way out: dials by name, verifies the certificate, pools connections.

use crate::config::UpstreamConfig;

/// A pooled HTTPS client for upstream hosts.
pub struct Upstream {}

/// Why an upstream could not be reached; the text names host and remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {}

impl Upstream {
    /// A client that trusts the system's roots and `config.roots`, and dials as `config.connect` says.
    pub fn new(_config: &UpstreamConfig) -> Result<Self, UpstreamError> {
        unimplemented!("contract")
    }

    /// Connects to a host and port without TLS, for a connection that is passed through.
    pub async fn dial(
        &self,
        _host: &str,
        _port: u16,
    ) -> Result<tokio::net::TcpStream, UpstreamError> {
        unimplemented!("contract")
    }
}
