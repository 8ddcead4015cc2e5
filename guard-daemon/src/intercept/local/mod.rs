//! Connections that the profile lets pass between the session's loopback and the host, past the gateway:
//! out to ports of the host's loopback (`allow_loopback`), and in to ports of the session (`publish`).
//!
//! Each is durably recorded before its first byte moves, and counts among the session's connections.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::accept::{Door, Serving};
use super::connection::reset;
use super::owner::Sockets;
use super::passthrough;
use super::surroundings::{Surroundings, Unrecorded};
use crate::record::entry::{Event, Process};
use crate::sandbox::network::Namespace;
use crate::term::Term;

/// The way out: a listener on the session's loopback that leads to the same port of the host's.
pub(super) struct ToHost<S> {
    pub(super) around: Arc<S>,
    pub(super) allowance: Arc<Semaphore>,
    /// To find out who is at the other end.
    pub(super) sockets: Sockets,
    pub(super) port: u16,
}

impl<S: Surroundings> Door for ToHost<S> {
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Serving> {
        let Ok(permit) = self.allowance.clone().try_acquire_owned() else {
            let local = stream.local_addr().ok();
            turn_away(&*self.around, &stream, None, local, FULL).await;
            return None;
        };
        let (around, sockets, port) = (self.around.clone(), self.sockets.clone(), self.port);
        Some(Box::pin(async move {
            let process = owner(sockets, peer, &stream).await;
            to_host(&*around, process, port, stream).await;
            drop(permit);
        }))
    }

    fn term(&self) -> &Term {
        self.around.term()
    }
}

/// Copies between a connection and a port of the host's loopback.
pub(super) async fn to_host<S: Surroundings>(
    around: &S,
    process: Process,
    port: u16,
    stream: TcpStream,
) {
    if let Some(detail) = around.term().refusal() {
        let host = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        return turn_away(around, &stream, Some(process), host, (ENDED, detail)).await;
    }
    let passed = Event::ConnectionPassed {
        process: process.clone(),
        host: "localhost".to_owned(),
        port,
    };
    if let Err(Unrecorded) = around.record(passed).await {
        return reset(&stream);
    }
    let host = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match timed(dial_host(port)).await {
        Ok(upstream) => copy(stream, upstream).await,
        Err(error) => {
            let detail = format!("cannot connect to port {port} of the host's loopback: {error}");
            let refusal = ("upstream-connect", detail);
            turn_away(around, &stream, Some(process), Some(host), refusal).await;
        }
    }
}

/// The way in: a listener on the host that leads to a port of the session's loopback.
pub(super) struct IntoSession<S> {
    pub(super) around: Arc<S>,
    pub(super) allowance: Arc<Semaphore>,
    pub(super) namespace: Namespace,
    pub(super) host: SocketAddr,
    pub(super) port: u16,
}

impl<S: Surroundings> Door for IntoSession<S> {
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Serving> {
        let Ok(permit) = self.allowance.clone().try_acquire_owned() else {
            turn_away(&*self.around, &stream, None, Some(self.host), FULL).await;
            return None;
        };
        if let Some(detail) = self.around.term().refusal() {
            let host = Some(self.host);
            turn_away(&*self.around, &stream, None, host, (ENDED, detail)).await;
            return None;
        }
        let (around, namespace) = (self.around.clone(), self.namespace.clone());
        let (host, port) = (self.host, self.port);
        Some(Box::pin(async move {
            let accepted = Event::ConnectionPublished { peer, host, port };
            match around.record(accepted).await {
                Err(Unrecorded) => reset(&stream),
                // Recorded already, and nothing of the session's was refused.
                Ok(()) => match timed(namespace.connect(port)).await {
                    Ok(upstream) => copy(stream, upstream).await,
                    Err(error) => {
                        tracing::debug!(port, %error, "nothing serves a published port");
                        reset(&stream);
                    }
                },
            }
            drop(permit);
        }))
    }

    fn term(&self) -> &Term {
        self.around.term()
    }
}

/// Connects to a port of the host's loopback: on 127.0.0.1, else on ::1.
async fn dial_host(port: u16) -> io::Result<TcpStream> {
    match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(stream) => Ok(stream),
        Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, port))
            .await
            // A host without IPv6 has nothing better to say.
            .map_err(|_second| error),
    }
}

async fn timed(connecting: impl Future<Output = io::Result<TcpStream>>) -> io::Result<TcpStream> {
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn copy(near: TcpStream, mut far: TcpStream) {
    for stream in [&near, &far] {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot switch Nagle's algorithm off");
        }
    }
    if let Err(error) = passthrough::relay(&near, &mut far, &[], passthrough::IDLE_TIMEOUT).await {
        tracing::debug!(%error, "local connection broke off");
        reset(&near);
        reset(&far);
    }
}

/// Looks up who made a connection that the hooks did not see. The files under /proc can block, so another
/// thread reads them, and not for ever.
async fn owner(sockets: Sockets, peer: SocketAddr, stream: &TcpStream) -> Process {
    let Ok(local) = stream.local_addr() else {
        return Process::default();
    };
    let looking = tokio::task::spawn_blocking(move || sockets.owner(peer, local));
    match timeout(super::DESCRIBE_TIMEOUT, looking).await {
        Ok(Ok(process)) => process,
        Ok(Err(_)) | Err(_) => Process::default(),
    }
}

async fn turn_away<S: Surroundings>(
    around: &S,
    stream: &TcpStream,
    process: Option<Process>,
    destination: Option<SocketAddr>,
    (code, detail): (&str, impl Into<String>),
) {
    reset(stream);
    let event = Event::Refused {
        process,
        destination,
        host: None,
        code: code.to_owned(),
        detail: detail.into(),
    };
    // It is refused either way.
    let _ = around.record(event).await;
}

/// The code of what is refused once the session's time is over.
pub(super) const ENDED: &str = "session-ended";

const FULL: (&str, &str) = ("limit", super::TOO_MANY);

/// For connecting over loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
