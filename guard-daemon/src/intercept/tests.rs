//! A stage for a session's connections and questions, and how the lobby treats those who arrive.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::server::TlsStream;

use super::authority::Authority;
use super::metadata::Service;
use super::names::Names;
use super::surroundings::Unrecorded;
use super::*;
use crate::gateway::exchange::Caller;

/// Stands in for the rest of guard: knows one AWS suffix and one allowed host, and keeps what is recorded.
pub(super) struct Stage {
    names: Names,
    pub(super) term: Term,
    authority: Authority,
    pub(super) directory: tempfile::TempDir,
    events: Mutex<Vec<Event>>,
    broken: AtomicBool,
    /// Where dialling leads, whatever the name; `None`: nowhere.
    pub(super) upstream: Option<SocketAddr>,
    /// The port of the host's loopback that is open.
    pub(super) loopback: Option<u16>,
    pub(super) dialled: Mutex<Vec<(String, u16)>>,
    pub(super) callers: Mutex<Vec<Caller>>,
}

impl Stage {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            names: Names::default(),
            term: Term::new(None),
            authority: Authority::load_or_create_for(directory.path(), &["amazonaws.com"]).unwrap(),
            directory,
            events: Mutex::default(),
            broken: AtomicBool::new(false),
            upstream: None,
            loopback: None,
            dialled: Mutex::default(),
            callers: Mutex::default(),
        }
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    pub(super) fn last_event(&self) -> Event {
        self.events().pop().expect("something was recorded")
    }

    pub(super) fn break_journal(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// The codes of what was refused.
    pub(super) fn refusals(&self) -> Vec<String> {
        let code = |event| match event {
            Event::Refused { code, .. } => Some(code),
            _ => None,
        };
        self.events().into_iter().filter_map(code).collect()
    }
}

impl Surroundings for Stage {
    fn is_aws(&self, host: &str) -> bool {
        host.ends_with(".amazonaws.com")
    }

    fn allows_host(&self, host: &str, port: u16) -> bool {
        // The AWS name is there to show that it is never passed through.
        matches!(
            (host, port),
            ("allowed.example" | "s3.amazonaws.com", 22 | 80 | 443)
        )
    }

    fn allows_name(&self, host: &str) -> bool {
        host == "allowed.example"
    }

    fn allows_loopback(&self, port: u16) -> bool {
        self.loopback == Some(port)
    }

    fn term(&self) -> &Term {
        &self.term
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn authority(&self) -> &Authority {
        &self.authority
    }

    fn head_timeout(&self) -> Duration {
        Duration::from_millis(800)
    }

    async fn record(&self, event: Event) -> Result<(), Unrecorded> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Unrecorded);
        }
        self.events.lock().unwrap().push(event);
        Ok(())
    }

    async fn dial(
        &self,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, impl std::fmt::Display + Send> {
        self.dialled.lock().unwrap().push((host.to_owned(), port));
        match self.upstream {
            Some(address) => TcpStream::connect(address).await,
            None => Err(std::io::Error::other("nowhere to go")),
        }
    }

    async fn exchanges(&self, caller: Caller, mut tls: TlsStream<TcpStream>) {
        self.callers.lock().unwrap().push(caller);
        let mut request = [0; 4];
        tls.read_exact(&mut request).await.unwrap();
        tls.write_all(b"served ").await.unwrap();
        tls.write_all(&request).await.unwrap();
        tls.shutdown().await.unwrap();
    }

    async fn metadata(
        &self,
        service: Service,
        _process: Process,
        _destination: SocketAddr,
        mut stream: TcpStream,
    ) {
        let name = format!("{service:?}");
        stream.write_all(name.as_bytes()).await.unwrap();
    }
}

pub(super) fn origin(destination: &str) -> Origin {
    Origin {
        destination: destination.parse().unwrap(),
        pid: 42,
        uid: 1000,
        comm: "agent".to_owned(),
        at: 1,
    }
}

/// A lobby whose connections all wanted to go to `destination`.
async fn lobby(stage: &Arc<Stage>, destination: Option<&'static str>, room: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lobby = Lobby {
        around: stage.clone(),
        pace: Arc::default(),
        allowance: Arc::new(Semaphore::new(room)),
        origins: move |_| destination.map(origin),
        describe: Arc::new(seen_by_hooks),
    };
    tokio::spawn(accept(lobby, listener));
    address
}

/// What a client that says `first` is told; a reset can reach it as early as in `connect`.
async fn attempt(address: SocketAddr, first: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(first).await?;
    ending(client).await
}

async fn ending(mut client: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).await.map(|_| seen)
}

#[tokio::test]
async fn a_connection_without_an_origin_is_reset() {
    let stage = Arc::new(Stage::new());
    let address = lobby(&stage, None, 1).await;
    let error = attempt(address, b"").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(stage.refusals(), ["no-origin"]);
}

#[tokio::test]
async fn connections_past_the_limit_are_reset_and_room_comes_back() {
    let stage = Arc::new(Stage::new());
    let address = lobby(&stage, Some("203.0.113.9:443"), 1).await;
    let first = TcpStream::connect(address).await.unwrap();
    assert!(attempt(address, b"").await.is_err());
    assert_eq!(stage.refusals(), ["limit"]);

    drop(first);
    let room_again = async {
        loop {
            // Refused as long as the first is being seen off.
            if let Ok(reply) = attempt(address, b"GET / HTTP/1.1\r\n\r\n").await {
                return reply;
            }
        }
    };
    let reply = tokio::time::timeout(Duration::from_secs(5), room_again)
        .await
        .unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 403"));
}

#[tokio::test]
async fn port_53_leads_to_the_resolver() {
    let stage = Arc::new(Stage::new());
    let address = lobby(&stage, Some("192.0.2.53:53"), 1).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let question = b"\x00\x21\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
                     \x07allowed\x07example\x00\x00\x01\x00\x01";
    client.write_all(question).await.unwrap();
    let length = client.read_u16().await.unwrap();
    let mut reply = vec![0; length.into()];
    client.read_exact(&mut reply).await.unwrap();
    assert!(reply.ends_with(&[198, 18, 0, 1]), "{reply:?}");
}

#[tokio::test]
async fn dropping_the_service_ends_its_connections() {
    let stage = Arc::new(Stage::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lobby = Lobby {
        around: stage,
        pace: Arc::default(),
        allowance: Arc::new(Semaphore::new(8)),
        origins: |_| Some(origin("203.0.113.9:443")),
        describe: Arc::new(seen_by_hooks),
    };
    let serving = tokio::spawn(accept(lobby, listener));
    let client = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    serving.abort();
    let ended = tokio::time::timeout(Duration::from_millis(500), ending(client));
    assert!(ended.await.is_ok(), "the connection outlived its service");
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the port is still open"
    );
}
