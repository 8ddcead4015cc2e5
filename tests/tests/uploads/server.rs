//! An S3 server in the test process that checks every signature it gets: `s3s` with its file system backend.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};

use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use s3s::auth::SimpleAuth;
use s3s::host::MultiDomain;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// Hosts that lead to it, each with its buckets below it.
const HOSTS: [&str; 2] = ["s3.us-east-1.amazonaws.com", "s3.amazonaws.com"];

/// What goes to a path with this in it is never read.
const STALLED: &str = "/stalled/";

/// A running server; it ends with the process.
pub(crate) struct Server {
    directory: tempfile::TempDir,
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: Runtime,
    _remover: Child,
}

/// What it saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    /// `x-amz-content-sha256`.
    pub(crate) payload: String,
    /// What it answered.
    pub(crate) status: u16,
}

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

impl Server {
    /// The server of this test process, with a bucket `uploads`.
    pub(crate) fn shared() -> &'static Self {
        &SERVER
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let remover = remover(directory.path());
        std::fs::create_dir_all(directory.path().join("files/uploads")).unwrap();
        let config = certified(&directory.path().join("ca.pem"));
        let runtime = Runtime::new().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let mut builder =
            S3ServiceBuilder::new(FileSystem::new(directory.path().join("files")).unwrap());
        builder.set_auth(SimpleAuth::from_single(REAL_ACCESS_KEY_ID, REAL_SECRET));
        builder.set_host(MultiDomain::new(HOSTS).unwrap());
        let s3 = builder.build();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let log = Arc::clone(&seen);
        runtime.spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (acceptor, s3, log) = (acceptor.clone(), s3.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    let Ok(connection) = acceptor.accept(connection).await else {
                        return;
                    };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (s3, log) = (s3.clone(), Arc::clone(&log));
                        let header = request.headers().get("x-amz-content-sha256");
                        let mut seen = Seen {
                            method: request.method().to_string(),
                            path: request.uri().path().to_owned(),
                            payload: header
                                .map_or_else(String::new, |it| it.to_str().unwrap().to_owned()),
                            status: 0,
                        };
                        async move {
                            if seen.path.contains(STALLED) {
                                std::future::pending::<()>().await;
                            }
                            let response = Service::call(&s3, request).await?;
                            seen.status = response.status().as_u16();
                            log.lock().unwrap().push(seen);
                            Ok::<_, s3s::HttpError>(response)
                        }
                    });
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(connection), service)
                        .await;
                });
            }
        });
        Self {
            directory,
            port,
            seen,
            _runtime: runtime,
            _remover: remover,
        }
    }

    /// Flags of `guard run` that lead to it.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--upstream-roots".to_owned(), self.file("ca.pem")];
        for host in HOSTS {
            for pattern in [host.to_owned(), format!("*.{host}")] {
                flags.push("--upstream-connect".to_owned());
                flags.push(format!("{pattern}=127.0.0.1:{}", self.port));
            }
        }
        flags
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// An object of bucket `uploads`, as it is on disk.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.directory.path().join("files/uploads").join(key)
    }

    /// The requests whose path contains `needle`.
    pub(crate) fn seen(&self, needle: &str) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.retain(|request| request.path.contains(needle));
        seen
    }
}

/// Removes a directory when this process ends, however it does: what a `static` holds is never dropped. It waits for
/// the end of its standard input.
fn remover(directory: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "cat; rm -rf \"$0\""])
        .arg(directory)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A certificate for these names, and its key; its authority goes to `roots`.
pub(crate) fn certificate(names: &[String], roots: &Path) -> (Certificate, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(roots, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    (params.signed_by(&key, &authority).unwrap(), key)
}

fn certified(roots: &Path) -> ServerConfig {
    let names: Vec<String> = HOSTS
        .iter()
        .flat_map(|host| [(*host).to_owned(), format!("*.{host}")])
        .collect();
    let (certificate, key) = certificate(&names, roots);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap()
}
