//! Tests over loopback: a TLS server with a certificate of its own stands for AWS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::Share;
use super::body::{BodyError, RequestBody, ResponseBody};
use super::chunked::{ChunkError, Chunked, Framing};
use super::outcome::Completion;
use super::serve::serve_http1;
use super::spool::{Spool, Spooled};
use super::upstream::{Upstream, UpstreamError};
use crate::config::{Limits, UpstreamConfig};
use crate::record::entry::ExchangeCompleted;

const HOST: &str = "s3.example.test";
const MIB: u64 = 1024 * 1024;

/// A body of so many bytes, made as it is read.
struct Zeros {
    left: u64,
    made: Arc<AtomicU64>,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(CHUNK.len() as u64);
        self.left -= length;
        self.made.fetch_add(length, Ordering::Relaxed);
        let length = usize::try_from(length).expect("a chunk");
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The stand-in for AWS: `GET /N` answers N zeros; anything else, the number of bytes it was sent.
struct Aws {
    address: SocketAddr,
    roots: PathBuf,
    _directory: TempDir,
    connections: Arc<AtomicUsize>,
    made: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
}

impl Aws {
    async fn start(name: &str, protocols: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let issuer = issuer.expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new([name.to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        let roots = directory.path().join("root.pem");
        std::fs::write(&roots, issuer.pem()).expect("written");

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a certificate");
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let aws = Self {
            address: listener.local_addr().expect("an address"),
            roots,
            _directory: directory,
            connections: Arc::default(),
            made: Arc::default(),
            taken: Arc::default(),
        };
        let (connections, made, taken) = (
            Arc::clone(&aws.connections),
            Arc::clone(&aws.made),
            Arc::clone(&aws.taken),
        );
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (acceptor, made, taken) =
                    (acceptor.clone(), Arc::clone(&made), Arc::clone(&taken));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                    let service = hyper::service::service_fn(|request| {
                        answer(request, Arc::clone(&made), Arc::clone(&taken))
                    });
                    let io = TokioIo::new(tls);
                    if is_http2 {
                        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(io, service).await;
                    } else {
                        let server = hyper::server::conn::http1::Builder::new();
                        let _ = server.serve_connection(io, service).await;
                    }
                });
            }
        });
        aws
    }

    fn config(&self) -> UpstreamConfig {
        UpstreamConfig {
            connect: [("*.example.test".to_owned(), self.address.to_string())].into(),
            roots: vec![self.roots.clone()],
        }
    }

    fn upstream(&self) -> Upstream {
        Upstream::new(&self.config()).expect("an upstream")
    }
}

type AnswerBody = http_body_util::Either<Zeros, Full<Bytes>>;

async fn answer(
    request: Request<Incoming>,
    made: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
) -> Result<Response<AnswerBody>, hyper::Error> {
    if let Ok(left) = request.uri().path()[1..].parse() {
        return Ok(Response::new(AnswerBody::Left(Zeros { left, made })));
    }
    let host = request.headers().get("host").cloned();
    let mut body = request.into_body();
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        let length = frame?.data_ref().map_or(0, Bytes::len) as u64;
        total += length;
        if taken.fetch_add(length, Ordering::Relaxed) == 0 {
            // Slow at first: what is sent meanwhile must wait at its source.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    let text = format!("{total} for {host:?}");
    let response = Response::builder().header("x-amz-request-id", "R1");
    Ok(response
        .body(AnswerBody::Right(Full::from(text)))
        .expect("a response"))
}

fn request(path: &str, body: &'static [u8]) -> Request<RequestBody> {
    let body = RequestBody::new(Spooled::of(Bytes::from_static(body)), Arc::default());
    let request = Request::post(format!("https://{HOST}{path}")).header("host", HOST);
    request.body(body).expect("a request")
}

#[tokio::test]
async fn both_protocols_are_spoken_and_connections_are_pooled() {
    for (protocol, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        let aws = Aws::start(HOST, &[protocol]).await;
        let upstream = aws.upstream();
        for _ in 0..3 {
            let response = upstream
                .send(request("/echo", b"hello"))
                .await
                .expect("a response");
            assert_eq!(response.version(), version);
            let text = response
                .into_body()
                .collect()
                .await
                .expect("a body")
                .to_bytes();
            assert_eq!(text, format!("5 for Some({HOST:?})"));
        }
        assert_eq!(aws.connections.load(Ordering::Relaxed), 1, "{protocol}");
    }
}

#[tokio::test]
async fn why_a_body_broke_off_is_told_on_both_protocols() {
    for protocol in ["http/1.1", "h2"] {
        let aws = Aws::start(HOST, &[protocol]).await;
        let framing = Framing::unsigned(&HeaderMap::new()).expect("a framing");
        let body = Spooled::of(Bytes::from_static(b"1\r\na\r\n0\r\n\r\nPUT"));
        let body = RequestBody::chunked(Chunked::new(body, framing, None), Arc::default());
        let request = Request::put(format!("https://{HOST}/echo")).header("host", HOST);
        let upstream = aws.upstream();
        let sent = upstream.send(request.body(body).expect("a request"));
        let error = sent.await.expect_err("broken off");
        let why = UpstreamError::Body(BodyError::Chunked(ChunkError::Framing(
            "something follows its end",
        )));
        assert_eq!(error.to_string(), why.to_string(), "{protocol}");
    }
}

#[tokio::test]
async fn a_bad_certificate_is_named_with_its_host() {
    // A root that is not trusted, and a trusted root with another host's certificate.
    let aws = Aws::start(HOST, &[]).await;
    let other = Aws::start("other.example.test", &[]).await;
    let untrusted = UpstreamConfig {
        roots: vec![other.roots.clone()],
        ..aws.config()
    };
    for config in [untrusted, other.config()] {
        let upstream = Upstream::new(&config).expect("an upstream");
        let error = upstream
            .send(request("/echo", b""))
            .await
            .expect_err("refused");
        assert!(
            matches!(error, UpstreamError::Certificate { .. }),
            "{error:?}"
        );
        assert_eq!(error.code(), "upstream-tls");
        assert!(
            error.to_string().contains(HOST) && error.to_string().contains("roots"),
            "{error}"
        );
    }
    assert_eq!(
        aws.taken.load(Ordering::Relaxed) + other.taken.load(Ordering::Relaxed),
        0
    );
}

#[tokio::test]
async fn private_addresses_are_dialled_only_where_the_operator_says_so() {
    let aws = Aws::start(HOST, &[]).await;
    let upstream = aws.upstream();
    let port = aws.address.port();
    for host in [
        "localhost",
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "LOCALHOST",
    ] {
        let error = upstream.dial(host, port).await.expect_err(host);
        assert!(matches!(error, UpstreamError::Address { .. }), "{error:?}");
    }
    upstream
        .dial("Anything.Example.Test", 443)
        .await
        .expect("overridden");
}

#[tokio::test]
async fn an_upstream_that_is_down_or_not_tls_is_told_apart() {
    let aws = Aws::start(HOST, &[]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let target = |address: SocketAddr| UpstreamConfig {
        connect: [(HOST.to_owned(), address.to_string())].into(),
        roots: vec![aws.roots.clone()],
    };
    let upstream = Upstream::new(&target(closed.local_addr().expect("an address")));
    let plain = tokio::spawn(async move {
        let (mut tcp, _) = closed.accept().await.expect("a connection");
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .expect("a write");
        drop(closed);
    });
    let upstream = upstream.expect("an upstream");
    let error = upstream
        .send(request("/echo", b""))
        .await
        .expect_err("not TLS");
    assert!(matches!(error, UpstreamError::Tls { .. }), "{error:?}");
    plain.await.expect("no panic");
    let error = upstream
        .send(request("/echo", b""))
        .await
        .expect_err("down");
    assert!(matches!(error, UpstreamError::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains(HOST), "{error}");
}

#[test]
fn bad_roots_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").expect("written");
    for path in [directory.path().join("none.pem"), empty] {
        let config = UpstreamConfig {
            roots: vec![path.clone()],
            ..UpstreamConfig::default()
        };
        let error = Upstream::new(&config)
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

/// A client's connection through guard's two ends, without the decisions between them.
fn relayed(
    upstream: Upstream,
) -> (
    tokio::io::DuplexStream,
    tokio::sync::mpsc::UnboundedReceiver<ExchangeCompleted>,
) {
    let (client, server) = duplex(64 * 1024);
    let (record, recorded) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let limits = Limits::default();
        let _ = serve_http1(server, &limits, |request: Request<Incoming>| {
            let (upstream, record) = (&upstream, record.clone());
            async move {
                let (mut parts, body) = request.into_parts();
                let mut body = Spool::new(
                    body,
                    PathBuf::from("/nonexistent"),
                    0,
                    Share::default().lease(),
                );
                let body = body.take().await.expect("a body");
                let mut completion = Completion::new(
                    "x-1".to_owned(),
                    Box::new(move |entry| record.send(entry).expect("the test waits")),
                );
                let length = body.size_hint().exact();
                super::forward::prepare(&mut parts, HOST, length, super::forward::Wanted::AsAsked)
                    .expect("prepared");
                let body = RequestBody::new(body, completion.sent());
                let sent = upstream.send(Request::from_parts(parts, body)).await;
                let (parts, body) = sent.expect("a response").into_parts();
                completion.answered(parts.status, &parts.headers);
                Response::from_parts(parts, ResponseBody::through(body, completion))
            }
        })
        .await;
    });
    (client, recorded)
}

#[tokio::test]
async fn a_download_of_100_mb_waits_at_its_source_and_is_recorded_at_its_end() {
    let aws = Aws::start(HOST, &["http/1.1"]).await;
    let (mut client, mut recorded) = relayed(aws.upstream());
    let length = 100 * MIB;
    let head = format!("GET /{length} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.write_all(head.as_bytes()).await.expect("a write");
    let mut some = vec![0; 64 * 1024];
    let mut got = client.read(&mut some).await.expect("a read") as u64;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let made = aws.made.load(Ordering::Relaxed);
    assert!(
        made < 16 * MIB,
        "{made} bytes were made for a client that does not read"
    );
    assert!(recorded.try_recv().is_err(), "not yet complete");
    while got < length {
        got += client.read(&mut some).await.expect("a read") as u64;
    }
    let entry = recorded.recv().await.expect("recorded");
    assert_eq!(
        (entry.status, entry.bytes_received, entry.error),
        (Some(200), length, None)
    );
}

#[tokio::test]
async fn an_upload_of_100_mb_waits_at_its_source() {
    let aws = Aws::start(HOST, &["http/1.1"]).await;
    let (client, mut recorded) = relayed(aws.upstream());
    let (mut reader, mut writer) = tokio::io::split(client);
    let length = 100 * MIB;
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    tokio::spawn(async move {
        let head = format!("PUT /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.expect("a write");
        let chunk = vec![0; 64 * 1024];
        while counter.load(Ordering::Relaxed) < length {
            writer.write_all(&chunk).await.expect("a write");
            counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        // Kept open: an end would be a client that leaves.
        std::future::pending::<()>().await;
    });
    tokio::time::sleep(Duration::from_millis(250)).await;
    let early = written.load(Ordering::Relaxed);
    assert!(
        early < 24 * MIB,
        "{early} bytes were taken for an upstream that does not read"
    );
    let mut answer = vec![0; 4096];
    let mut got = 0;
    while !answer[..got].ends_with(b"\")") {
        got += reader.read(&mut answer[got..]).await.expect("a read");
    }
    assert!(String::from_utf8_lossy(&answer[..got]).contains(&format!("{length} for")));
    let entry = recorded.recv().await.expect("recorded");
    assert_eq!((entry.bytes_sent, entry.error), (length, None));
    assert_eq!(entry.aws_request_id.as_deref(), Some("R1"));
}

#[tokio::test]
async fn a_client_that_leaves_within_the_answer_is_recorded() {
    let aws = Aws::start(HOST, &["http/1.1"]).await;
    let (mut client, mut recorded) = relayed(aws.upstream());
    let head = format!("GET /{} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", 100 * MIB);
    client.write_all(head.as_bytes()).await.expect("a write");
    client.read_exact(&mut [0; 1000]).await.expect("a read");
    drop(client);
    let entry = recorded.recv().await.expect("recorded");
    assert!(
        entry
            .error
            .is_some_and(|error| error.starts_with("client-gone"))
    );
    assert!(entry.bytes_received > 0 && entry.bytes_received < 100 * MIB);
}

#[tokio::test]
async fn answers_without_a_body_are_recorded_once() {
    let aws = Aws::start(HOST, &["http/1.1"]).await;
    let (mut client, mut recorded) = relayed(aws.upstream());
    for head in ["HEAD /1000 HTTP/1.1", "GET /0 HTTP/1.1", "HEAD /5 HTTP/1.1"] {
        client
            .write_all(format!("{head}\r\nHost: {HOST}\r\n\r\n").as_bytes())
            .await
            .expect("a write");
        let mut answer = vec![0; 4096];
        let got = client.read(&mut answer).await.expect("a read");
        assert!(
            answer[..got].ends_with(b"\r\n\r\n"),
            "{:?}",
            String::from_utf8_lossy(&answer[..got])
        );
        let entry = recorded.recv().await.expect("recorded");
        assert_eq!(
            (entry.status, entry.bytes_received, entry.error),
            (Some(200), 0, None),
            "{head}"
        );
    }
    assert!(recorded.try_recv().is_err());
}

#[tokio::test]
async fn a_dropped_completion_says_that_the_client_left() {
    let (record, recorded) = oneshot::channel();
    drop(Completion::new(
        "x-1".to_owned(),
        Box::new(|entry| record.send(entry).expect("waits")),
    ));
    let entry = recorded.await.expect("recorded");
    assert!(
        entry
            .error
            .is_some_and(|error| error.starts_with("client-gone"))
            && entry.status.is_none()
    );
}
