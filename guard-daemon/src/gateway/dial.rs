//! Connections of the upstream client: TCP by name and by the rules of `route`, TLS on top.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector, dns};
use hyper_util::rt::TokioIo;
use nix::ifaddrs::getifaddrs;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::route::{Routes, not_public};
use super::upstream::{UpstreamError, chain, find};

/// How long one attempt to connect may take, and after it the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes TCP connections by name, by the rules.
#[derive(Clone)]
pub(super) struct Dialler {
    routes: Arc<Routes>,
    /// Resolves names that may lead anywhere: the operator wrote them down.
    anywhere: HttpConnector<Resolver>,
    /// Resolves names that must lead to public addresses.
    public: HttpConnector<Resolver>,
}

impl Dialler {
    pub(super) fn new(routes: Arc<Routes>) -> Self {
        let connector = |public_only| {
            let mut connector = HttpConnector::new_with_resolver(Resolver { public_only });
            connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
            connector.set_nodelay(true);
            connector.set_keepalive(Some(Duration::from_mins(1)));
            connector
        };
        Self {
            routes,
            anywhere: connector(false),
            public: connector(true),
        }
    }

    /// A TCP connection to a lower-case host, or to what `upstream.connect` puts in its place.
    pub(super) async fn dial(&mut self, host: &str, port: u16) -> Result<TcpStream, UpstreamError> {
        let (connector, name, port, shown) = match self.routes.of(host) {
            Some(target) => {
                let shown = format!("{host} (as {}:{})", target.host, target.port);
                (&mut self.anywhere, target.host.clone(), target.port, shown)
            }
            None => (
                &mut self.public,
                host.to_owned(),
                port,
                format!("{host}:{port}"),
            ),
        };
        // The connector does not ask its resolver about a literal address.
        let literal = name.parse::<IpAddr>().ok();
        if let (Some(address), None) = (literal, self.routes.of(host)) {
            check_public(host, address)?;
        }
        let authority = match literal {
            Some(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{name}:{port}"),
        };
        let connect_error = |cause| UpstreamError::Connect {
            host: shown.clone(),
            cause,
        };
        let uri = Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|error| connect_error(chain(&error)))?;
        match tokio::time::timeout(CONNECT_TIMEOUT, connector.call(uri)).await {
            Ok(Ok(stream)) => Ok(stream.into_inner()),
            Ok(Err(error)) => Err(find::<UpstreamError>(&error)
                .cloned()
                .unwrap_or_else(|| connect_error(chain(&error)))),
            Err(_) => Err(UpstreamError::Timeout { host: shown }),
        }
    }
}

fn check_public(host: &str, address: IpAddr) -> Result<(), UpstreamError> {
    let why = match not_public(address) {
        None if is_own(address).map_err(|errno| UpstreamError::Name {
            host: host.to_owned(),
            cause: format!("this host's own addresses cannot be told from others: {errno}"),
        })? =>
        {
            Some("an address of this host")
        }
        why => why,
    };
    match why {
        Some(why) => Err(UpstreamError::Address {
            host: host.to_owned(),
            address,
            why,
        }),
        None => Ok(()),
    }
}

/// Whether an address is one of this host's own: what is dialled there never passes a firewall outside.
fn is_own(address: IpAddr) -> nix::Result<bool> {
    let wanted = address.to_canonical();
    Ok(getifaddrs()?.any(|interface| {
        let own = interface.address.as_ref();
        let v4 = own
            .and_then(|own| own.as_sockaddr_in())
            .map(|own| own.ip().into());
        let v6 = own
            .and_then(|own| own.as_sockaddr_in6())
            .map(|own| own.ip().into());
        v4.or(v6) == Some(wanted)
    }))
}

/// The host's resolver. One address in an answer that is not public spoils all of it.
#[derive(Clone)]
struct Resolver {
    public_only: bool,
}

impl Service<dns::Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        let public_only = self.public_only;
        Box::pin(async move {
            let host = name.as_str();
            let failed = |cause: String| UpstreamError::Name {
                host: host.to_owned(),
                cause,
            };
            let found: Vec<_> = tokio::net::lookup_host((host, 0))
                .await
                .map_err(|error| failed(chain(&error)))?
                .collect();
            if found.is_empty() {
                return Err(failed("it has no address".to_owned()));
            }
            if public_only {
                found
                    .iter()
                    .try_for_each(|found| check_public(host, found.ip()))?;
            }
            Ok(found.into_iter())
        })
    }
}

/// Makes TLS connections for the pool.
#[derive(Clone)]
pub(super) struct Connector {
    dialler: Dialler,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(dialler: Dialler, tls: Arc<ClientConfig>) -> Self {
        Self {
            dialler,
            tls: TlsConnector::from(tls),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Encrypted>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { mut dialler, tls } = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().to_ascii_lowercase();
            let name = ServerName::try_from(host.clone()).map_err(|error| UpstreamError::Tls {
                host: host.clone(),
                cause: chain(&error),
            })?;
            let tcp = dialler.dial(&host, uri.port_u16().unwrap_or(443)).await?;
            match tokio::time::timeout(CONNECT_TIMEOUT, tls.connect(name, tcp)).await {
                Ok(Ok(stream)) => Ok(TokioIo::new(Encrypted(stream))),
                Ok(Err(error)) => Err(explain_handshake(host, &error)),
                Err(_) => Err(UpstreamError::Timeout { host }),
            }
        })
    }
}

fn explain_handshake(host: String, error: &io::Error) -> UpstreamError {
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(cause)) => UpstreamError::Certificate {
            host,
            cause: cause.to_string(),
        },
        _ => UpstreamError::Tls {
            host,
            cause: chain(error),
        },
    }
}

/// A TLS connection that tells the pool which protocol was agreed on.
pub(super) struct Encrypted(TlsStream<TcpStream>);

impl Connection for Encrypted {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.0.get_ref().1.alpn_protocol() == Some(b"h2") {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_hosts_addresses_are_known() {
        for own in ["127.0.0.1", "::ffff:127.0.0.1"] {
            assert!(is_own(own.parse().unwrap()).unwrap(), "{own}");
        }
        for other in ["192.0.2.1", "2001:db8::1", "127.0.0.2"] {
            assert!(!is_own(other.parse().unwrap()).unwrap(), "{other}");
        }
    }
}
