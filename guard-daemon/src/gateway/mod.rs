//! The HTTP side: serves the confined client, runs each exchange, and dials the upstream.
//!
//! `exchange` is the pipeline; the other files are its parts.

pub mod exchange;
pub mod upstream;

use std::sync::Arc;

use crate::approval::Approvals;
use crate::config::Config;
use crate::intercept::authority::Authority;
use crate::record::journal::Journal;

/// What all sessions of a daemon share.
pub struct Gateway {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The journal.
    pub journal: Journal,
    /// Open approvals.
    pub approvals: Approvals,
    /// The certificate authority that the confined tree trusts.
    pub authority: Arc<Authority>,
}

/// Serves HTTP (ALPN decides which) on a connection whose TLS guard terminates, until it ends.
pub async fn serve<I>(
    _gateway: Arc<Gateway>,
    _session: Arc<crate::session::Session>,
    _caller: exchange::Caller,
    _tls: tokio_rustls::server::TlsStream<I>,
) where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    unimplemented!("contract")
}
