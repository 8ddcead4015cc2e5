//! Takes a session's redirected connections and DNS questions and finds out what they are.
//!
//! `connection` decides on one connection: AWS endpoints have their TLS terminated (`authority`) and go to
//! `gateway`, allowed hosts are copied both ways (`passthrough`), all else is refused and journalled.
//! `resolver` gives each allowed name an address of its own (`names`), by which a connection is known.
//! `metadata` gives out the session's dummies where AWS has its metadata services.
//! `local` copies between the session's loopback and the host where the profile says so.
//! `surroundings` is all that these need from the rest of guard.

mod accept;
pub mod authority;
mod client_hello;
mod connection;
mod local;
pub mod metadata;
pub mod names;
mod owner;
mod passthrough;
mod resolver;
mod surroundings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::accept::{Door, Serving, accept};
use self::connection::{Connection, reset};
use self::local::{IntoSession, ToHost};
pub use self::owner::Sockets;
use self::resolver::Pace;
use self::surroundings::{Live, Surroundings};
use crate::gateway::Gateway;
use crate::kernel::tracker::Tracker;
use crate::kernel::{self, Hooks, Origin};
use crate::record::entry::{Event, Process};
use crate::sandbox::network::Namespace;
use crate::session::{Session, SessionId};
use crate::term::Term;

/// A session's sockets, opened in its network namespace: 127.0.0.1 and ::1.
pub struct Wires {
    /// The gateway's listeners (same port on both).
    pub tcp: Vec<std::net::TcpListener>,
    /// The resolver's sockets (same port on both).
    pub udp: Vec<std::net::UdpSocket>,
    /// Listeners that lead to the same port of the host's loopback.
    pub loopback: Vec<std::net::TcpListener>,
    /// Listeners on the host that lead to the session's loopback.
    pub published: Vec<Published>,
    /// The namespace's sockets.
    pub sockets: Sockets,
}

/// A port of the session that is open on the host.
pub struct Published {
    /// Where it is open.
    pub listener: std::net::TcpListener,
    /// That address.
    pub host: SocketAddr,
    /// The port on the session's loopback.
    pub port: u16,
    /// The session's network namespace.
    pub namespace: Namespace,
}

impl Wires {
    /// The gateway's TCP port; 0 where there is none.
    pub fn gateway_port(&self) -> u16 {
        let first = self.tcp.first().and_then(|tcp| tcp.local_addr().ok());
        first.map_or(0, |address| address.port())
    }

    /// The resolver's UDP port; 0 where there is none.
    pub fn resolver_port(&self) -> u16 {
        let first = self.udp.first().and_then(|udp| udp.local_addr().ok());
        first.map_or(0, |address| address.port())
    }
}

/// Serves a session's connections and questions until dropped; journals what the hooks refuse.
///
/// Dropping the future ends every connection. Should a part of it fail, it fails closed: what is
/// redirected to a socket that nobody serves goes nowhere.
pub async fn serve(gateway: Arc<Gateway>, session: Arc<Session>, hooks: Arc<Hooks>, wires: Wires) {
    let id = session.id.clone();
    let allowance = Arc::new(Semaphore::new(gateway.config.limits.connections));
    let describe = describer(gateway.tracker.clone());
    let around = Arc::new(Live { gateway, session });
    let pace = Arc::new(Pace::default());
    let mut parts = JoinSet::new();
    for listener in wires.tcp {
        if let Some(listener) = ready(&id, listener) {
            let hooks = hooks.clone();
            let lobby = Lobby {
                around: around.clone(),
                pace: pace.clone(),
                allowance: allowance.clone(),
                origins: move |peer| hooks.take_origin(peer),
                describe: describe.clone(),
            };
            parts.spawn(accept(lobby, listener));
        }
    }
    for listener in wires.loopback {
        if let Some(listener) = ready(&id, listener)
            && let Ok(address) = listener.local_addr()
        {
            let door = ToHost {
                around: around.clone(),
                allowance: allowance.clone(),
                sockets: wires.sockets.clone(),
                port: address.port(),
            };
            parts.spawn(accept(door, listener));
        }
    }
    for published in wires.published {
        if let Some(listener) = ready(&id, published.listener) {
            let door = IntoSession {
                around: around.clone(),
                allowance: allowance.clone(),
                namespace: published.namespace,
                host: published.host,
                port: published.port,
            };
            parts.spawn(accept(door, listener));
        }
    }
    for socket in wires.udp {
        match socket
            .set_nonblocking(true)
            .and_then(|()| UdpSocket::from_std(socket))
        {
            Ok(socket) => {
                parts.spawn(resolver::datagrams(around.clone(), pace.clone(), socket));
            }
            Err(error) => tracing::error!(session = %id, %error, "cannot serve a resolver socket"),
        }
    }
    parts.spawn(report_refusals(around, hooks));
    while let Some(ended) = parts.join_next().await {
        // None of the parts ends by itself.
        tracing::error!(session = %id, error = ?ended.err(), "a part of the session's gateway ended");
    }
}

/// A listener as tokio has it. One that cannot be served is closed, and so is its port.
fn ready(id: &SessionId, listener: std::net::TcpListener) -> Option<TcpListener> {
    match listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
    {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::error!(session = %id, %error, "cannot serve a listener");
            None
        }
    }
}

/// Journals what the hooks refuse.
async fn report_refusals(around: Arc<Live>, hooks: Arc<Hooks>) {
    loop {
        let refusal = hooks.next_refusal().await;
        // A report that stands for several has no process.
        let process = (refusal.pid != 0).then(|| match &around.gateway.tracker {
            Some(tracker) => tracker.describe(refusal.pid, refusal.uid, &refusal.comm, refusal.at),
            None => kernel::process::describe(refusal.pid, refusal.uid, &refusal.comm, refusal.at),
        });
        let event = Event::Refused {
            process,
            destination: refusal.destination,
            host: refusal
                .destination
                .and_then(|d| around.names().name_of(d.ip())),
            code: refusal.code.to_owned(),
            detail: refusal.detail,
        };
        // It was refused already; that it could not be recorded has been logged.
        let _ = around.record(event).await;
    }
}

/// Where redirected connections arrive.
struct Lobby<S, O> {
    around: Arc<S>,
    pace: Arc<Pace>,
    /// How many connections may be open.
    allowance: Arc<Semaphore>,
    /// Takes out where a peer wanted to go.
    origins: O,
    describe: Describe,
}

impl<S, O> Door for Lobby<S, O>
where
    S: Surroundings,
    O: Fn(SocketAddr) -> Option<Origin> + Send + Sync,
{
    async fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Serving> {
        // Taken out in any case, so that nothing stale stays behind for a later connection.
        let Some(origin) = (self.origins)(peer) else {
            let detail = "a connection reached the gateway without being redirected there";
            self.turn_away(&stream, None, "no-origin", detail).await;
            return None;
        };
        let Ok(permit) = self.allowance.clone().try_acquire_owned() else {
            self.turn_away(&stream, Some(&origin), "limit", TOO_MANY)
                .await;
            return None;
        };
        let (around, pace) = (self.around.clone(), self.pace.clone());
        let describe = self.describe.clone();
        Some(Box::pin(async move {
            serve_connection(&*around, &pace, origin, stream, describe).await;
            drop(permit);
        }))
    }

    fn term(&self) -> &Term {
        self.around.term()
    }
}

impl<S: Surroundings, O> Lobby<S, O> {
    async fn turn_away(
        &self,
        stream: &TcpStream,
        origin: Option<&Origin>,
        code: &str,
        detail: &str,
    ) {
        reset(stream);
        let destination = origin.map(|origin| origin.destination);
        let event = Event::Refused {
            process: origin.map(seen_by_hooks),
            destination,
            host: destination.and_then(|d| self.around.names().name_of(d.ip())),
            code: code.to_owned(),
            detail: detail.to_owned(),
        };
        let _ = self.around.record(event).await;
    }
}

async fn serve_connection<S: Surroundings>(
    around: &S,
    pace: &Pace,
    origin: Origin,
    stream: TcpStream,
    describe: Describe,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot switch Nagle's algorithm off");
    }
    let destination = origin.destination;
    if destination.port() == DNS {
        return resolver::stream(around, pace, stream).await;
    }
    let process = described(origin, describe).await;
    Connection {
        around,
        process,
        destination,
        stream,
    }
    .serve()
    .await;
}

/// Tells who is behind a connection; may block.
type Describe = Arc<dyn Fn(&Origin) -> Process + Send + Sync>;

/// Asks the tracker, which knows also what has ended, and else `/proc`.
fn describer(tracker: Option<Arc<Tracker>>) -> Describe {
    Arc::new(move |origin| match &tracker {
        Some(tracker) => tracker.describe(origin.pid, origin.uid, &origin.comm, origin.at),
        None => kernel::process::of_origin(origin),
    })
}

/// Looks the process up. The files under /proc can block on the process's own memory, so another thread
/// reads them, and not for ever.
async fn described(origin: Origin, describe: Describe) -> Process {
    let fallback = seen_by_hooks(&origin);
    let looking = tokio::task::spawn_blocking(move || describe(&origin));
    match tokio::time::timeout(DESCRIBE_TIMEOUT, looking).await {
        Ok(Ok(process)) => process,
        Ok(Err(_)) | Err(_) => fallback,
    }
}

/// What the hooks alone tell of a process.
fn seen_by_hooks(origin: &Origin) -> Process {
    Process {
        pid: origin.pid,
        uid: origin.uid,
        comm: origin.comm.clone(),
        ..Process::default()
    }
}

/// Connections that wanted this port are the resolver's.
const DNS: u16 = 53;

const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

const TOO_MANY: &str = "the session has as many connections open as [limits] connections allows";

#[cfg(test)]
mod tests;
