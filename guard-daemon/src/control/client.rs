//! The blocking client of the control socket, for the command line.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wire::{Reply, Request};
use super::{LINE_BYTES, socket_path};

/// How long the daemon may take for a reply. Starting a session may have to wait for credentials.
const PATIENCE: Duration = Duration::from_mins(2);

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No daemon serves the socket.
    #[error(
        "no guard daemon runs on {socket}; start one with `sudo systemctl start guard`, or start a \
         session with `sudo guard run -- COMMAND`"
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket's permissions forbid it.
    #[error(
        "no permission to use {socket}; use sudo, or have root add you to the group guard: \
         sudo usermod -aG guard \"$USER\", then log in again"
    )]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
    },
    /// The daemon closed the connection without a reply.
    #[error("the guard daemon closed the connection; see its log: journalctl -u guard")]
    Closed,
    /// The daemon did not reply in time.
    #[error("the guard daemon did not reply within {} s; see its log: journalctl -u guard", PATIENCE.as_secs())]
    TimedOut,
    /// The connection failed otherwise.
    #[error("cannot talk to the guard daemon on {socket}: {source}")]
    Io {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What came is no reply of this version.
    #[error(
        "the guard daemon's reply is not understood ({0}); are daemon and command of the same version?"
    )]
    Protocol(#[from] serde_json::Error),
    /// The request does not fit.
    #[error(
        "the request is larger than {LINE_BYTES} bytes; shorten the command line or its environment"
    )]
    TooLong,
}

impl Client {
    /// Connects to the daemon of a runtime directory.
    pub fn connect(runtime_dir: &Path) -> Result<Self, ClientError> {
        let socket = socket_path(runtime_dir);
        let stream = UnixStream::connect(&socket).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning {
                socket: socket.clone(),
            },
            io::ErrorKind::PermissionDenied => ClientError::NotPermitted {
                socket: socket.clone(),
            },
            _ => ClientError::Io {
                socket: socket.clone(),
                source,
            },
        })?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(|source| ClientError::Io { socket, source })?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Asks and waits for the reply, which may be `Reply::Error`.
    pub fn request(&mut self, request: &Request) -> Result<Reply, ClientError> {
        let mut line = serde_json::to_vec(request)?;
        if line.len() > LINE_BYTES {
            return Err(ClientError::TooLong);
        }
        line.push(b'\n');
        // A daemon that refuses us may have said so and hung up before it heard us out.
        let written = self.stream.get_mut().write_all(&line);
        line.clear();
        // A reply may list many approvals: twice a request is far beyond their bound.
        let limit = 2 * LINE_BYTES as u64;
        let read = (&mut self.stream).take(limit).read_until(b'\n', &mut line);
        if line.is_empty() {
            written.and(read).map_err(|error| lost(&error))?;
            return Err(ClientError::Closed);
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// The connection, to notice its end.
    pub fn connection(&self) -> BorrowedFd<'_> {
        self.stream.get_ref().as_fd()
    }
}

fn lost(error: &io::Error) -> ClientError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::TimedOut,
        // A broken pipe or reset: the daemon is gone, or refused us and hung up.
        _ => ClientError::Closed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn says_what_to_do_when_no_daemon_runs() {
        let directory = tempfile::tempdir().unwrap();
        let error = Client::connect(directory.path()).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
        assert!(error.to_string().contains("guard run"), "{error}");
        // A socket that nobody listens on any more.
        drop(UnixListener::bind(socket_path(directory.path())).unwrap());
        let error = Client::connect(directory.path()).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    }

    #[test]
    fn a_refusal_is_heard_also_when_the_daemon_hung_up_first() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket_path(directory.path())).unwrap();
        let mut client = Client::connect(directory.path()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"{\"reply\":\"error\",\"code\":\"confined\",\"message\":\"no\"}\n")
            .unwrap();
        drop(stream);
        let reply = client.request(&Request::Status).unwrap();
        assert!(matches!(reply, Reply::Error { code, .. } if code == "confined"));
    }

    #[test]
    fn a_connection_closed_without_a_reply_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket_path(directory.path())).unwrap();
        let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let mut client = Client::connect(directory.path()).unwrap();
        server.join().unwrap();
        let reply = client.request(&Request::Status);
        assert!(matches!(reply, Err(ClientError::Closed)));
    }
}
