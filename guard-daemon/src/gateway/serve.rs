//! Serves HTTP on a connection whose TLS guard terminates: HTTP/2 where the client agreed on it, else
//! HTTP/1.1 behind the strict reader of `framing`.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::Gateway;
use super::body::ResponseBody;
use super::exchange::{self, Caller};
use super::framing::{Framed, Turn};
use super::outcome::append_later;
use super::upstream::{chain, find};
use crate::config::Limits;
use crate::session::Session;

/// Exchanges at once on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// Bytes an HTTP/2 client may send ahead, per exchange and per connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Serves HTTP (ALPN decides which) on a connection whose TLS guard terminates, until it ends.
pub async fn serve<I>(
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    caller: Caller,
    tls: TlsStream<I>,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let caller = Arc::new(caller);
    let limits = &gateway.config.limits;
    let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let run = |request| {
        exchange::run(
            Arc::clone(&gateway),
            Arc::clone(&session),
            Arc::clone(&caller),
            request,
        )
    };
    let result = if is_http2 {
        serve_http2(tls, limits, run).await
    } else {
        serve_http1(tls, limits, run).await
    };
    if let Err(refused) = result {
        append_later(
            &gateway.journal,
            &session.id,
            caller.refused("malformed-request", refused),
        );
    }
}

/// Serves HTTP/1.1; the error says why the connection was refused.
async fn serve_http1<I, R, F>(io: I, limits: &Limits, run: R) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<ResponseBody>>,
{
    let turn = Turn::default();
    let framed = Framed::new(io, limits.head_bytes, limits.head_timeout, turn.clone());
    let service = service_fn(|request: Request<Incoming>| {
        let answering = turn.answering();
        // Only the parser of the chunks knows where they end, so nothing may come after them.
        let last = request.headers().contains_key(TRANSFER_ENCODING);
        let running = run(request);
        async move {
            let mut response = running.await.map(|body| body.answering(answering));
            if last {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        // `framed` passes whole heads only and has deadlines of its own.
        .header_read_timeout(None)
        .max_buf_size((limits.head_bytes + 8 * 1024).max(128 * 1024))
        .serve_connection(TokioIo::new(framed), service)
        .await;
    match turn.refusal() {
        Some(malformed) => Err(malformed.to_string()),
        None => result.or_else(explain),
    }
}

/// Serves HTTP/2; the error says why the connection was refused.
async fn serve_http2<I, R, F>(io: I, limits: &Limits, run: R) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let running = run(request);
        async move { Ok::<_, Infallible>(running.await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(io), service)
        .await
        .or_else(explain)
}

/// Tells a client that broke the protocol from one that went away, which is nobody's fault.
fn explain(error: hyper::Error) -> Result<(), String> {
    let kind = find::<io::Error>(&error).map(io::Error::kind);
    let broken = error.is_parse()
        || matches!(
            kind,
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        );
    // hyper wraps what its HTTP/2 implementation found, whose type is not public here.
    let protocol = (&error as &dyn StdError).source().is_some() && kind.is_none();
    if broken || protocol {
        return Err(chain(&error));
    }
    tracing::debug!(error = %chain(&error), "a client's connection ended");
    Ok(())
}
