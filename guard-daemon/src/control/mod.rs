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

/// An error with its causes, as text: each cause once, also where an error quotes its own.
pub(crate) fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Where the socket is.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("guard.sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer says {0}")]
        struct Quoting(#[source] std::io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("top")]
        struct Plain(#[source] Quoting);

        let error = Plain(Quoting(std::io::Error::other("inner")));
        assert_eq!(text_of(&error), "top: outer says inner");
    }
}
