//! Copies between a client and its allowed upstream, both ways, inside the kernel: `splice(2)` through a
//! pipe each way, so that the bytes never enter this process.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Sends `first` upstream, then copies until both sides have ended, one of them fails, or nothing has
/// moved for `idle`. A side that ends its sending half leaves the other open.
pub(super) async fn relay(
    client: &TcpStream,
    upstream: &mut TcpStream,
    first: &[u8],
    idle: Duration,
) -> io::Result<()> {
    let activity = Activity::default();
    let copying = async {
        upstream.write_all(first).await?;
        let upstream = &*upstream;
        tokio::try_join!(
            pump(client, upstream, &activity),
            pump(upstream, client, &activity),
        )
    };
    tokio::select! {
        done = copying => done.map(|_| ()),
        () = activity.ceased(idle) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Copies one way until `from` ends, then ends `to`.
async fn pump(from: &TcpStream, to: &TcpStream, activity: &Activity) -> io::Result<()> {
    let (pipe_out, pipe_in) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    loop {
        // The pipe is empty here, so `EAGAIN` can only mean that the socket is.
        let mut held = from
            .async_io(Interest::READABLE, || move_bytes(from, &pipe_in, CHUNK))
            .await?;
        if held == 0 {
            return end(to);
        }
        while held > 0 {
            held -= to
                .async_io(Interest::WRITABLE, || move_bytes(&pipe_out, to, held))
                .await?;
            activity.happened();
        }
    }
}

fn move_bytes(
    from: impl std::os::fd::AsFd,
    to: impl std::os::fd::AsFd,
    most: usize,
) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

fn end(stream: &TcpStream) -> io::Result<()> {
    match nix::sys::socket::shutdown(
        std::os::fd::AsRawFd::as_raw_fd(stream),
        nix::sys::socket::Shutdown::Write,
    ) {
        // The peer was faster and reset the connection: nothing is left to end.
        Ok(()) | Err(nix::errno::Errno::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// When bytes last moved, either way.
struct Activity(Mutex<Instant>);

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Activity {
    fn happened(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns once nothing has happened for `idle`.
    async fn ceased(&self, idle: Duration) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// Bytes per `splice`: what a pipe holds by default (pipe(7)).
const CHUNK: usize = 64 * 1024;
