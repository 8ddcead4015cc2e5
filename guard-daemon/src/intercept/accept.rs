//! Accepts a listener's connections, each served in a task of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::term::Term;

/// Serves one connection to its end.
pub(super) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Decides on those who arrive at a listener.
pub(super) trait Door: Send + Sync {
    /// What serves the connection; `None` where it was turned away. The next one waits meanwhile.
    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = Option<Serving>> + Send;

    /// How long the session lasts: its end is that of all connections. Who arrives later is refused by `admit`, or
    /// by what serves the connection, with the reason.
    fn term(&self) -> &Term;
}

/// Accepts connections until dropped; dropping it ends them.
pub(super) async fn accept(door: impl Door, listener: TcpListener) {
    let mut connections = JoinSet::new();
    let mut over = false;
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely; they come back as connections end.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(AFTER_ERROR).await;
                    continue;
                }
            },
            () = door.term().ended(), if !over => {
                over = true;
                connections.abort_all();
                continue;
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && !error.is_cancelled() {
                    tracing::error!(%error, "a connection's task failed");
                }
                continue;
            }
        };
        if let Some(serving) = door.admit(stream, peer).await {
            connections.spawn(serving);
        }
    }
}

const AFTER_ERROR: Duration = Duration::from_millis(50);
