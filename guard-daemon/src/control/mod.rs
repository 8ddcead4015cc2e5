//! The control socket: wire types, server, client and peer credentials.
//!
//! One JSON line each way per request, on a unix socket in the runtime directory. Who may ask is decided
//! per request (`peer`): root and members of the group `guard`, never a process of a confined tree.

use std::path::{Path, PathBuf};

pub mod client;
mod peer;
pub mod server;
pub mod wire;

/// Bytes of a request or reply, without its newline.
const LINE_BYTES: usize = 1024 * 1024;

/// The group whose members may use the socket.
pub const GROUP: &str = "guard";

/// Where the socket is.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("guard.sock")
}
