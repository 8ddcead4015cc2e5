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

/// A connection ends when nothing has moved for so long.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_hours(2);

/// Bytes per `splice`: what a pipe holds by default (pipe(7)).
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_was_said_first_arrives_first_and_silence_ends_it() {
        let ((mut client, client_side), (mut upstream_side, mut server)) =
            (pair().await, pair().await);
        client.write_all(b"then").await.unwrap();
        let idle = Duration::from_millis(300);
        let began = Instant::now();
        let talking = async {
            let mut heard = [0; 9];
            server.read_exact(&mut heard).await.unwrap();
            tokio::time::sleep(idle / 2).await;
            server.write_all(b"reply").await.unwrap();
            heard
        };
        let relaying = relay(&client_side, &mut upstream_side, b"first", idle);
        let (relayed, heard) = tokio::join!(relaying, talking);
        assert_eq!(&heard, b"firstthen");
        assert_eq!(relayed.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= idle * 3 / 2, "the reply counts as life");
    }

    #[tokio::test]
    async fn a_reset_on_one_side_ends_both() {
        let ((client, client_side), (mut upstream_side, server)) = (pair().await, pair().await);
        server.set_zero_linger().unwrap();
        drop(server);
        let relayed = relay(
            &client_side,
            &mut upstream_side,
            b"",
            Duration::from_mins(1),
        )
        .await;
        assert_eq!(relayed.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(client);
    }

    #[tokio::test]
    async fn a_slow_reader_holds_the_writer_back() {
        let ((mut client, client_side), (mut upstream_side, mut server)) =
            (pair().await, pair().await);
        let relaying = tokio::spawn(async move {
            relay(
                &client_side,
                &mut upstream_side,
                b"",
                Duration::from_mins(1),
            )
            .await
        });
        let sent: Vec<u8> = (0..64_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move { client.write_all(&sent).await.map(|()| client) });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(
            !writing.is_finished(),
            "64 MB went somewhere though nobody reads"
        );
        let mut received = vec![0; expected.len()];
        server.read_exact(&mut received).await.unwrap();
        assert!(received == expected);
        drop((writing.await.unwrap().unwrap(), server));
        relaying.await.unwrap().unwrap();
    }
}
