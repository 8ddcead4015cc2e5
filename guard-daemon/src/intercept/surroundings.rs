//! What a session's connections and questions need from the rest of guard, in one narrow place.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::authority::Authority;
use super::metadata::{self, Service};
use super::names::Names;
use crate::aws::{endpoint, token};
use crate::gateway::exchange::Caller;
use crate::gateway::{self, Gateway};
use crate::record::entry::{Entry, Event, Process};
use crate::session::Session;
use crate::term::Term;

/// The rest of guard, as a session's connections see it. Tests put another in its place.
pub(super) trait Surroundings: Send + Sync + 'static {
    /// Whether the name is an AWS API endpoint, or the one that guard serves itself.
    fn is_aws(&self, host: &str) -> bool;

    /// Whether the profile allows a host that is not AWS.
    fn allows_host(&self, host: &str, port: u16) -> bool;

    /// Whether the profile allows some port of a host that is not AWS.
    fn allows_name(&self, host: &str) -> bool;

    /// Whether the profile opens a port of the host's loopback.
    fn allows_loopback(&self, port: u16) -> bool;

    /// How long the session lasts.
    fn term(&self) -> &Term;

    /// The session's synthetic addresses.
    fn names(&self) -> &Names;

    /// The certificate authority.
    fn authority(&self) -> &Authority;

    /// How long a client may take to say what it wants, and a handshake may last.
    fn head_timeout(&self) -> Duration;

    /// Makes an event durable; the reason why not has been logged.
    fn record(&self, event: Event) -> impl Future<Output = Result<(), Unrecorded>> + Send;

    /// Connects to an allowed host by name.
    fn dial(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = Result<TcpStream, impl std::fmt::Display + Send>> + Send;

    /// Serves the exchanges of a terminated connection until it ends.
    fn exchanges(
        &self,
        caller: Caller,
        tls: TlsStream<TcpStream>,
    ) -> impl Future<Output = ()> + Send;

    /// Serves a connection to a metadata service until it ends.
    fn metadata(
        &self,
        service: Service,
        process: Process,
        destination: SocketAddr,
        stream: TcpStream,
    ) -> impl Future<Output = ()> + Send;
}

/// The journal did not take an event: what it would have recorded must not happen.
#[derive(Debug)]
pub(super) struct Unrecorded;

/// A session as the daemon serves it.
pub(super) struct Live {
    pub(super) gateway: Arc<Gateway>,
    pub(super) session: Arc<Session>,
}

impl Surroundings for Live {
    fn is_aws(&self, host: &str) -> bool {
        host == token::HOST || endpoint::classify(host).is_some()
    }

    fn allows_host(&self, host: &str, port: u16) -> bool {
        self.session.profile.allows_host(host, port)
    }

    fn allows_name(&self, host: &str) -> bool {
        self.session.profile.allows_name(host)
    }

    fn allows_loopback(&self, port: u16) -> bool {
        self.session.profile.reach().loopback.contains(&port)
    }

    fn term(&self) -> &Term {
        &self.session.term
    }

    fn names(&self) -> &Names {
        &self.session.names
    }

    fn authority(&self) -> &Authority {
        &self.gateway.authority
    }

    fn head_timeout(&self) -> Duration {
        self.gateway.config.limits.head_timeout
    }

    async fn record(&self, event: Event) -> Result<(), Unrecorded> {
        let entry = Entry {
            session: Some(self.session.id.clone()),
            event,
        };
        match self.gateway.journal.append(entry).await {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(session = %self.session.id, %error, "journal append failed");
                Err(Unrecorded)
            }
        }
    }

    async fn dial(
        &self,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, impl std::fmt::Display + Send> {
        self.session.upstream.dial(host, port).await
    }

    async fn exchanges(&self, caller: Caller, tls: TlsStream<TcpStream>) {
        gateway::serve(self.gateway.clone(), self.session.clone(), caller, tls).await;
    }

    async fn metadata(
        &self,
        service: Service,
        process: Process,
        destination: SocketAddr,
        stream: TcpStream,
    ) {
        let (gateway, session) = (self.gateway.clone(), self.session.clone());
        metadata::serve(gateway, session, service, process, destination, stream).await;
    }
}
