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
use super::collected::GiveUp;
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
pub(crate) async fn serve_http1<I, R, F>(io: I, limits: &Limits, run: R) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<ResponseBody>>,
{
    let turn = Turn::default();
    let framed = Framed::new(io, limits.head_bytes, limits.head_timeout, turn.clone());
    let give_up = GiveUp::default();
    let service = service_fn(|request: Request<Incoming>| {
        let answering = turn.answering();
        // Only the parser of the chunks knows where they end, so nothing may come after them.
        let last = request.headers().contains_key(TRANSFER_ENCODING);
        let running = run(request);
        let give_up = give_up.clone();
        async move {
            let body = |body: ResponseBody| body.watched(&give_up).answering(answering);
            let mut response = running.await.map(body);
            if last {
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // `framed` passes whole heads only and has deadlines of its own.
        .header_read_timeout(None)
        .max_buf_size((limits.head_bytes + 8 * 1024).max(128 * 1024))
        .serve_connection(TokioIo::new(framed), service);
    let result = give_up.unless(connection).await;
    match turn.refusal() {
        Some(malformed) => Err(malformed.to_string()),
        None => result.or_else(|error| explain(&error)),
    }
}

/// Serves HTTP/2; the error says why the connection was refused.
pub(super) async fn serve_http2<I, R, F>(io: I, limits: &Limits, run: R) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let give_up = GiveUp::default();
    let service = service_fn(|request: Request<Incoming>| {
        let running = run(request);
        let give_up = give_up.clone();
        async move { Ok::<_, Infallible>(running.await.map(|body| body.watched(&give_up))) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(io), service);
    let result = give_up.unless(connection).await;
    result.or_else(|error| explain(&error))
}

/// Tells a client that broke the protocol from one that went away, which is nobody's fault.
fn explain(error: &hyper::Error) -> Result<(), String> {
    let kind = find::<io::Error>(error).map(io::Error::kind);
    let broken = error.is_parse()
        || matches!(
            kind,
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        );
    // hyper wraps what its HTTP/2 implementation found, whose type is not public here.
    let protocol = error.source().is_some() && kind.is_none();
    if broken || protocol {
        return Err(chain(error));
    }
    tracing::debug!(error = %chain(error), "a client's connection ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Mutex;

    use bytes::Bytes;
    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::oneshot;

    use super::*;

    type Seen = Arc<Mutex<Vec<String>>>;

    /// Serves one connection, answering each request with its target and body; notes what was served.
    fn echo(seen: &Seen) -> (DuplexStream, tokio::task::JoinHandle<Result<(), String>>) {
        let (client, far) = duplex(64 * 1024);
        let seen = Arc::clone(seen);
        let served = tokio::spawn(async move {
            let limits = Limits::default();
            serve_http1(far, &limits, |request: Request<Incoming>| {
                let seen = Arc::clone(&seen);
                async move {
                    let target = request.uri().to_string();
                    let body = request
                        .into_body()
                        .collect()
                        .await
                        .map(http_body_util::Collected::to_bytes);
                    let text = match body {
                        Ok(body) => format!("{target} {}", String::from_utf8_lossy(&body)),
                        Err(error) => {
                            format!("{target} ! {}", super::super::body::BodyError::of(&error))
                        }
                    };
                    seen.lock().expect("no panic").push(text.clone());
                    Response::new(ResponseBody::whole(Bytes::from(text)))
                }
            })
            .await
        });
        (client, served)
    }

    async fn talk(bytes: &str) -> (Vec<String>, String, Result<(), String>) {
        let seen = Seen::default();
        let (mut client, served) = echo(&seen);
        client.write_all(bytes.as_bytes()).await.expect("a write");
        let mut answer = Vec::new();
        let reading = client.read_to_end(&mut answer);
        // A connection that is kept alive stays open: what came until then is the answer.
        let _ = tokio::time::timeout(Duration::from_millis(300), reading).await;
        drop(client);
        let result = served.await.expect("no panic");
        let seen = seen.lock().expect("no panic").clone();
        (seen, String::from_utf8_lossy(&answer).into_owned(), result)
    }

    #[tokio::test]
    async fn requests_on_one_connection_are_answered_in_order() {
        let (seen, answer, result) = talk(
            "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none\
             GET /b HTTP/1.1\r\nHost: h\r\n\r\nGET /c HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .await;
        assert_eq!(seen, ["/a one", "/b ", "/c "]);
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
        assert_eq!(result, Ok(()));
    }

    #[tokio::test]
    async fn what_follows_a_chunked_request_is_never_a_request() {
        let (seen, answer, result) = talk(
            "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n\
             GET /evil HTTP/1.1\r\nHost: h\r\n\r\n",
        )
        .await;
        assert_eq!(seen, ["/a one"]);
        assert!(answer.contains("connection: close"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert_eq!(result, Ok(()));
    }

    #[tokio::test]
    async fn a_bad_head_is_answered_after_the_good_request_before_it() {
        let (seen, answer, result) = talk(
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\n\
             POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!(seen, ["/a "]);
        let (ok, bad) = (
            answer.find("200 OK").expect("200"),
            answer.find("400 Bad").expect("400"),
        );
        assert!(ok < bad, "{answer}");
        assert!(
            result
                .expect_err("refused")
                .contains("both Content-Length and")
        );
    }

    #[tokio::test]
    async fn bad_chunks_are_malformed_and_not_the_clients_departure() {
        for chunks in [
            "xyz\r\nabc\r\n0\r\n\r\n",
            "3\r\noneX0\r\n\r\n",
            "-1\r\n",
            "fffffffffffffffff\r\n",
        ] {
            let head = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            let (seen, ..) = talk(&format!("{head}{chunks}")).await;
            assert!(
                seen[0].contains("the request body is malformed"),
                "{chunks:?}: {seen:?}"
            );
        }
    }

    /// As boto3 does when no `100 Continue` has come for a second.
    #[tokio::test]
    async fn an_early_answer_is_not_lost_to_a_client_that_sends_its_body_all_the_same() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let (io, _) = listener.accept().await.expect("a connection");
            let limits = Limits::default();
            serve_http1(io, &limits, |_unread: Request<Incoming>| async {
                let mut response = Response::new(ResponseBody::whole(Bytes::from("denied")));
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
                response
            })
            .await
        });
        let mut client = tokio::net::TcpStream::connect(address).await.expect("open");
        let body = vec![b'x'; 8 << 20];
        let head = format!(
            "PUT /k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).await.expect("a head");
        tokio::time::sleep(Duration::from_millis(100)).await;
        for piece in body.chunks(1 << 20) {
            client.write_all(piece).await.expect("not reset");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .await
            .expect("an answer, not a reset");
        assert!(answer.ends_with("denied"), "{answer}");
        drop(client);
        assert_eq!(serving.await.expect("no panic"), Ok(()));
    }

    #[tokio::test]
    async fn an_upgrade_is_refused() {
        let (seen, answer, result) = talk(
            "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
        assert_eq!(seen, [""; 0]);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(result.expect_err("refused").contains("upgrade"));
    }

    struct Dropped(Option<oneshot::Sender<()>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.take().map(|sender| sender.send(()));
        }
    }

    /// A client that leaves while its exchange is held: the exchange must be dropped, so nothing is sent.
    async fn leaves_after(bytes: &[u8]) {
        let (mut client, server) = duplex(64 * 1024);
        let (dropped, noticed) = oneshot::channel();
        let (started, running) = oneshot::channel();
        let signals = Mutex::new(Some((started, Dropped(Some(dropped)))));
        let limits = Limits::default();
        let serving = serve_http1(server, &limits, |request: Request<Incoming>| {
            let signals = signals.lock().expect("no panic").take();
            async move {
                let (started, _dropped) = signals.expect("one request only");
                let _body = request.into_body().collect().await;
                started.send(()).expect("the test waits");
                std::future::pending::<Response<ResponseBody>>().await
            }
        });
        let mut serving = pin!(serving);
        client.write_all(bytes).await.expect("a write");
        tokio::select! {
            _ = &mut serving => panic!("ended too early"),
            started = running => started.expect("started"),
        }
        let early = tokio::time::timeout(Duration::from_millis(50), &mut serving).await;
        assert!(early.is_err(), "the exchange ended while the client waited");
        drop(client);
        let ended = tokio::time::timeout(Duration::from_secs(5), serving).await;
        assert_eq!(ended.expect("noticed"), Ok(()));
        noticed.await.expect("the exchange was dropped");
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_its_exchange() {
        leaves_after(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        leaves_after(b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none").await;
        leaves_after(b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .await;
        // One that has sent its next request already, too.
        leaves_after(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n").await;
    }

    #[tokio::test]
    async fn a_stream_that_is_taken_back_ends_its_exchange() {
        let (near, far) = duplex(64 * 1024);
        let (dropped, noticed) = oneshot::channel();
        let (started, running) = oneshot::channel();
        let signals = Arc::new(Mutex::new(Some((started, Dropped(Some(dropped))))));
        tokio::spawn(async move {
            let limits = Limits::default();
            let run = |_request: Request<Incoming>| {
                let signals = signals.lock().expect("no panic").take();
                async move {
                    let (started, _dropped) = signals.expect("one request only");
                    started.send(()).expect("the test waits");
                    std::future::pending::<Response<ResponseBody>>().await
                }
            };
            serve_http2(far, &limits, run).await
        });
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
                .await
                .expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::get("https://h/a").body(http_body_util::Empty::<Bytes>::new());
        let answer = sender.send_request(request.expect("a request"));
        tokio::select! {
            _ = answer => panic!("answered"),
            started = running => started.expect("started"),
        }
        let noticed = tokio::time::timeout(Duration::from_secs(5), noticed).await;
        noticed.expect("in time").expect("the exchange was dropped");
    }
}
