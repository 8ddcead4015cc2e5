//! Reads the beginning of a connection: a ClientHello, or something that is not TLS.
//!
//! rustls's parser is the only one: what it reads is what guard decides on and, for AWS, what the
//! handshake goes on with. The bytes are kept for the upstream of a connection that is passed through.

use std::io::Read;

use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// How a connection begins.
pub(super) enum Opening {
    /// With a ClientHello.
    Tls(Box<Hello>),
    /// With these bytes, which are not TLS.
    Plain(Vec<u8>),
    /// The client closed it without a word.
    Closed,
}

/// A ClientHello that names its server.
pub(super) struct Hello {
    /// The server name: lower case, without a final dot, never an address.
    pub(super) server_name: String,
    /// Every byte read so far, the ClientHello first.
    pub(super) raw: Vec<u8>,
    /// For going on with the handshake; it holds `raw` as well.
    pub(super) accepted: Accepted,
}

/// Why a connection's beginning was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    /// It is not a ClientHello that guard's TLS library accepts.
    #[error("the ClientHello is malformed: {why}")]
    Malformed {
        /// What the library says.
        why: String,
        /// The alert to send, which may be empty.
        alert: Vec<u8>,
    },
    /// The ClientHello is not complete within the limit.
    #[error("the ClientHello is longer than {MAX_HELLO} bytes")]
    TooLong,
    /// There is no server name, or an address in its place.
    #[error("the ClientHello names no server (SNI), so guard cannot tell which host is meant")]
    NoServerName,
    /// The true server name may be encrypted.
    #[error(
        "the ClientHello hides its server name (Encrypted Client Hello): switch ECH off in the client"
    )]
    Encrypted,
    /// It took too long.
    #[error("the client did not say within the time limit what it wants")]
    Timeout,
    /// The socket failed, or was closed in the middle.
    #[error("the connection ended inside the ClientHello: {0}")]
    Socket(#[from] std::io::Error),
}

/// Reads until it is known how the connection begins.
pub(super) async fn read<S>(stream: &mut S, deadline: Instant) -> Result<Opening, OpeningError>
where
    S: AsyncRead + Unpin,
{
    let mut hello = Partial::default();
    let mut chunk = [0; CHUNK];
    loop {
        let room = MAX_HELLO - hello.raw.len();
        if room == 0 {
            return Err(OpeningError::TooLong);
        }
        let reading = stream.read(&mut chunk[..room.min(CHUNK)]);
        let Ok(read) = timeout_at(deadline, reading).await else {
            return Err(OpeningError::Timeout);
        };
        let bytes = match read? {
            0 if hello.raw.is_empty() => return Ok(Opening::Closed),
            0 => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            count => &chunk[..count],
        };
        if hello.raw.is_empty() && bytes[0] != HANDSHAKE_RECORD {
            return Ok(Opening::Plain(bytes.to_vec()));
        }
        match hello.push(bytes)? {
            None => {}
            Some(accepted) => return hello.finish(accepted).map(|h| Opening::Tls(Box::new(h))),
        }
    }
}

/// A ClientHello of which more may follow.
#[derive(Default)]
struct Partial {
    acceptor: Acceptor,
    raw: Vec<u8>,
}

impl Partial {
    /// Takes more bytes; all of them reach the acceptor, so that none is lost after the hello.
    fn push(&mut self, bytes: &[u8]) -> Result<Option<Accepted>, OpeningError> {
        self.raw.extend_from_slice(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            // Takes 4 KiB at a time. Nothing means a record that claims to be longer than any may be;
            // then `accept` says so.
            if self.acceptor.read_tls(rest.by_ref())? == 0 {
                break;
            }
        }
        self.acceptor.accept().map_err(|(error, mut alert)| {
            let mut bytes = Vec::new();
            // Writing to a vector cannot fail.
            let _ = alert.write_all(&mut bytes);
            OpeningError::Malformed {
                why: error.to_string(),
                alert: bytes,
            }
        })
    }

    fn finish(self, accepted: Accepted) -> Result<Hello, OpeningError> {
        let hello = accepted.client_hello();
        // Lower case already and without a final dot; asked for again because all matching rests on it.
        let name = hello.server_name().ok_or(OpeningError::NoServerName)?;
        let server_name = name.trim_end_matches('.').to_ascii_lowercase();
        match has_extension(&self.raw, ENCRYPTED_CLIENT_HELLO) {
            Some(false) => Ok(Hello {
                server_name,
                raw: self.raw,
                accepted,
            }),
            Some(true) => Err(OpeningError::Encrypted),
            None => Err(OpeningError::Malformed {
                why: "its extensions cannot be listed".to_owned(),
                alert: Vec::new(),
            }),
        }
    }
}

/// Whether the ClientHello in these records has an extension; `None` where its structure does not add up.
///
/// rustls does not report extensions that it does not act on. This reads nothing else, and can only lead
/// to a refusal.
fn has_extension(raw: &[u8], wanted: u16) -> Option<bool> {
    let mut message = Vec::with_capacity(raw.len());
    let mut records = raw;
    while let Some((&[HANDSHAKE_RECORD, _, _, high, low], rest)) = records.split_first_chunk::<5>()
    {
        let length = usize::from(u16::from_be_bytes([high, low]));
        // The last record may be cut off behind the hello.
        message.extend_from_slice(rest.get(..length).unwrap_or(rest));
        records = rest.get(length..).unwrap_or_default();
    }

    let (&[1, a, b, c], message) = message.split_first_chunk::<4>()? else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
    let body = message.get(..length)?;
    let body = body.get(VERSION_AND_RANDOM..)?;
    let (_session, body) = split_prefixed::<1>(body)?;
    let (_suites, body) = split_prefixed::<2>(body)?;
    let (_compressions, body) = split_prefixed::<1>(body)?;
    if body.is_empty() {
        return Some(false);
    }
    let (mut extensions, []) = split_prefixed::<2>(body)? else {
        return None;
    };
    while let Some((kind, rest)) = extensions.split_first_chunk::<2>() {
        if u16::from_be_bytes(*kind) == wanted {
            return Some(true);
        }
        (_, extensions) = split_prefixed::<2>(rest)?;
    }
    extensions.is_empty().then_some(false)
}

/// Splits off a field that begins with its length in `N` bytes.
fn split_prefixed<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

/// The content type of a TLS record with handshake messages (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// A whole record: what any real ClientHello fits in, also a post-quantum one with a long ticket.
const MAX_HELLO: usize = 16 * 1024 + 5;

const CHUNK: usize = 4096;

/// `encrypted_client_hello` (RFC 9849 §5); browsers send a meaningless one as well, which looks the same.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

const VERSION_AND_RANDOM: usize = 2 + 32;

#[cfg(test)]
pub(super) mod tests;
