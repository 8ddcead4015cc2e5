//! Takes a session's redirected connections and DNS questions and finds out what they are.

pub mod authority;
pub mod names;

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::kernel::Hooks;
use crate::session::Session;

/// A session's sockets, opened in its network namespace: 127.0.0.1 and ::1.
pub struct Wires {
    /// The gateway's listeners (same port on both).
    pub tcp: Vec<std::net::TcpListener>,
    /// The resolver's sockets (same port on both).
    pub udp: Vec<std::net::UdpSocket>,
}

/// Serves a session's connections and questions until dropped; journals what the hooks refuse.
pub async fn serve(
    _gateway: Arc<Gateway>,
    _session: Arc<Session>,
    _hooks: Arc<Hooks>,
    _wires: Wires,
) {
    unimplemented!("contract")
}
