//! The resolver's sockets: datagrams, and the streams of connections that wanted port 53.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Pace, Transport, answer};
use crate::intercept::surroundings::Surroundings;

/// Answers datagrams until dropped.
pub(in crate::intercept) async fn datagrams<S: Surroundings>(
    around: Arc<S>,
    pace: Arc<Pace>,
    socket: UdpSocket,
) {
    let socket = Arc::new(socket);
    let mut answering = JoinSet::new();
    // One byte more than accepted, so that a longer datagram is seen to be one.
    let mut buffer = [0; MAX_MESSAGE + 1];
    loop {
        while answering.try_join_next().is_some() {}
        if answering.len() >= MAX_ANSWERING {
            answering.join_next().await;
        }
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error for an earlier reply arrives here; it must not spin.
                tracing::debug!(%error, "resolver socket");
                sleep(AFTER_ERROR).await;
                continue;
            }
        };
        if length > MAX_MESSAGE {
            continue;
        }
        let message = buffer[..length].to_vec();
        let (around, pace, socket) = (around.clone(), pace.clone(), socket.clone());
        answering.spawn(async move {
            if let Some(reply) = answer(&*around, &pace, Transport::Udp, &message).await
                && let Err(error) = socket.send_to(&reply, client).await
            {
                tracing::debug!(%error, %client, "resolver reply");
            }
        });
    }
}

/// Answers the length-prefixed messages of a stream (RFC 7766), in order, until the client ends it, is
/// idle, sends what cannot be a question, or has had its share.
pub(in crate::intercept) async fn stream<S: Surroundings, I>(around: &S, pace: &Pace, mut stream: I)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..MAX_PER_STREAM {
        let Ok(Ok(message)) = timeout(STREAM_IDLE, read_message(&mut stream)).await else {
            return;
        };
        let Some(reply) = answer(around, pace, Transport::Tcp, &message).await else {
            return;
        };
        let Ok(Ok(())) = timeout(STREAM_IDLE, write_message(&mut stream, &reply)).await else {
            return;
        };
    }
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_MESSAGE {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(
    stream: &mut (impl AsyncWrite + Unpin),
    reply: &[u8],
) -> std::io::Result<()> {
    let length = u16::try_from(reply.len())
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
    let mut framed = Vec::with_capacity(2 + reply.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(reply);
    stream.write_all(&framed).await?;
    stream.flush().await
}

/// Bytes of a question: one name (255), one type and class, and EDNS with room for cookie and padding.
const MAX_MESSAGE: usize = 4096;

/// Questions of one socket that wait for the journal at the same time.
const MAX_ANSWERING: usize = 512;

/// Questions on one connection.
const MAX_PER_STREAM: usize = 256;

/// How long a connection may take for its next whole question, or to take an answer.
const STREAM_IDLE: Duration = Duration::from_secs(10);

const AFTER_ERROR: Duration = Duration::from_millis(10);
