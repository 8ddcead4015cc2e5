//! The way out: dials by name, verifies the certificate, pools connections.
//!
//! A session has its own `Upstream`, so a pooled connection never serves two sets of credentials. Names
//! are resolved here, on the host; the address that the client asked for plays no part.

use std::error::Error as StdError;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::body::{BodyError, RequestBody};
use super::dial::{Connector, Dialler};
use super::route::Routes;
use crate::config::UpstreamConfig;

/// How long an unused connection is kept; below the 20 s after which AWS endpoints close theirs.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// Unused connections kept per host.
const POOL_PER_HOST: usize = 32;

/// Bytes of an answer to a request of guard's own, and how long it may take.
const OWN_ANSWER: usize = 1024 * 1024;
const OWN_PATIENCE: Duration = Duration::from_secs(10);

/// A pooled HTTPS client for upstream hosts.
pub struct Upstream {
    client: Client<Connector, RequestBody>,
    dialler: Dialler,
}

/// Why an upstream could not be reached; the text names host and remedy.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// A file of `upstream.roots` could not be used.
    #[error("cannot read root certificates from {}: {cause}; correct `roots` under [upstream]", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// There is nothing to verify an upstream's certificate with.
    #[error(
        "no trusted root certificates found on this host ({cause}); install ca-certificates, or name a PEM \
         file in `roots` under [upstream]"
    )]
    NoRoots {
        /// What the search for the system's roots said.
        cause: String,
    },
    /// An entry of `upstream.connect` is malformed.
    #[error("[upstream] connect: \"{pattern}\" = \"{target}\": {why}")]
    Override {
        /// The pattern.
        pattern: String,
        /// The target.
        target: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The name could not be resolved.
    #[error("cannot resolve {host}: {cause}; check the name and this host's DNS")]
    Name {
        /// The name that was looked up.
        host: String,
        /// What the resolver said.
        cause: String,
    },
    /// The name leads somewhere a public host is not.
    #[error(
        "{host} resolves to {address}, which is {why}; guard dials only public addresses unless `connect` \
         under [upstream] names the host (\"{host}\" = \"{host}:443\")"
    )]
    Address {
        /// The name.
        host: String,
        /// The address.
        address: IpAddr,
        /// What kind it is.
        why: &'static str,
    },
    /// No connection.
    #[error("cannot connect to {host}: {cause}; check the network, or `connect` under [upstream]")]
    Connect {
        /// The host, with what was dialled instead where it was overridden.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// The certificate was not accepted.
    #[error(
        "the certificate of {host} was not accepted: {cause}; if a private CA or an inspecting proxy is meant to \
         stand there, name its root in `roots` under [upstream]"
    )]
    Certificate {
        /// The host.
        host: String,
        /// What is wrong with the certificate.
        cause: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("TLS with {host} failed: {cause}; check that a TLS server stands there")]
    Tls {
        /// The host.
        host: String,
        /// What failed.
        cause: String,
    },
    /// It took too long.
    #[error("{host} did not answer within 10 s; check the network, or `connect` under [upstream]")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The connection broke before the response: it is not known whether the call ran.
    #[error(
        "the connection to {host} broke before its answer: {cause}; whether the call ran is not known"
    )]
    Closed {
        /// The host.
        host: String,
        /// What failed.
        cause: String,
    },
    /// The request's own body failed while it was sent.
    #[error("{0}")]
    Body(BodyError),
}

impl UpstreamError {
    /// A stable code for the journal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate { .. } | Self::Tls { .. } => "upstream-tls",
            Self::Closed { .. } => "upstream-closed",
            Self::Timeout { .. } => "timeout",
            Self::Body(body) => body.code(),
            _ => "upstream-connect",
        }
    }
}

impl Upstream {
    /// A client that trusts the system's roots and `config.roots`, and dials as `config.connect` says.
    pub fn new(config: &UpstreamConfig) -> Result<Self, UpstreamError> {
        let dialler = Dialler::new(Arc::new(Routes::new(&config.connect)?));
        let tls = client_config(trusted_roots(config)?)?;
        let connector = Connector::new(dialler.clone(), Arc::new(tls));
        // The client's own retry only takes up a request none of which was ever written: an idle
        // connection that turned out to be closed. It cannot run a call twice.
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_PER_HOST)
            .http2_initial_stream_window_size(1024 * 1024)
            .http2_initial_connection_window_size(4 * 1024 * 1024)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(20))
            .set_host(false)
            .build(connector);
        Ok(Self { client, dialler })
    }

    /// Sends a request, whose URI has the scheme `https` and the host, and returns when the head of the
    /// response is there. There is no limit on how long the upstream may think: drop the future.
    pub async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let sent = request.body().progress();
        let answered = self.client.request(request).await;
        answered.map_err(|error| match sent.error() {
            Some(broken) => UpstreamError::Body(broken.clone()),
            None => explain(host, &error),
        })
    }

    /// Sends a request of guard's own and reads the whole answer, at most 1 MiB of it, within 10 s.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, UpstreamError> {
        self.ask_within(request, OWN_PATIENCE).await
    }

    /// As `ask`, but waits so long.
    pub async fn ask_within(
        &self,
        request: Request<Bytes>,
        patience: Duration,
    ) -> Result<Response<Bytes>, UpstreamError> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let exchange = async {
            let (parts, body) = self.send(request.map(RequestBody::own)).await?.into_parts();
            let collected = Limited::new(body, OWN_ANSWER)
                .collect()
                .await
                .map_err(|error| UpstreamError::Closed {
                    host: host.clone(),
                    cause: chain(error.as_ref()),
                })?;
            Ok(Response::from_parts(parts, collected.to_bytes()))
        };
        let late = |_elapsed| UpstreamError::Timeout { host: host.clone() };
        tokio::time::timeout(patience, exchange)
            .await
            .map_err(late)?
    }

    /// A TCP connection to `host`, under the same overrides and address rules, for what is passed through.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, UpstreamError> {
        self.dialler
            .clone()
            .dial(&host.to_ascii_lowercase(), port)
            .await
    }
}

fn trusted_roots(config: &UpstreamConfig) -> Result<RootCertStore, UpstreamError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for path in &config.roots {
        let wrong = |cause: &dyn StdError| UpstreamError::Roots {
            path: path.clone(),
            cause: chain(cause),
        };
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.len() == before {
            return Err(UpstreamError::Roots {
                path: path.clone(),
                cause: "no certificate in it".to_owned(),
            });
        }
    }
    if roots.is_empty() {
        let causes: Vec<_> = system.errors.iter().map(|error| chain(error)).collect();
        let cause = if causes.is_empty() {
            "no store".to_owned()
        } else {
            causes.join("; ")
        };
        return Err(UpstreamError::NoRoots { cause });
    }
    Ok(roots)
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, UpstreamError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| UpstreamError::Tls {
            host: "any host".to_owned(),
            cause: chain(&error),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn explain(host: String, error: &hyper_util::client::legacy::Error) -> UpstreamError {
    if let Some(known) = find::<UpstreamError>(error) {
        return known.clone();
    }
    let cause = chain(error);
    if error.is_connect() {
        UpstreamError::Connect { host, cause }
    } else {
        UpstreamError::Closed { host, cause }
    }
}

/// An error with what caused it, in one line.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The first error of a kind in a chain of causes. An `io::Error` shows its payload's causes but not its
/// payload, so that is looked into.
pub(super) fn find<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let payload = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        current = match payload {
            Some(payload) => Some(payload),
            None => error.source(),
        };
    }
    None
}
