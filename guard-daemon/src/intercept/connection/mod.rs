//! Decides what becomes of one redirected connection: its exchanges are served, it is passed through, or
//! it is refused with a reason that the client shows to whoever reads its output.

mod refusal;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::StartHandshake;

pub(super) use self::refusal::reset;
use self::refusal::{
    ACCESS_DENIED, Refusal, explain_handshake, forbidden, looks_like_http, plain_to_aws,
};
use super::client_hello::{self, Hello, Opening, OpeningError};
use super::local;
use super::metadata::Service;
use super::passthrough::{self, IDLE_TIMEOUT};
use super::surroundings::{Surroundings, Unrecorded};
use crate::gateway::exchange::Caller;
use crate::record::entry::{Event, Process};

/// A connection, and what is known of it before its first byte.
pub(super) struct Connection<'a, S> {
    pub(super) around: &'a S,
    pub(super) process: Process,
    pub(super) destination: SocketAddr,
    pub(super) stream: TcpStream,
}

/// Whether a name may be reached at a port, and how.
enum Standing {
    /// An AWS endpoint: guard terminates TLS.
    Aws,
    /// The profile allows it: guard passes it through.
    Allowed,
    /// It may not be reached.
    Refused(Refusal),
}

impl<S: Surroundings> Connection<'_, S> {
    /// Serves the connection until it ends.
    pub(super) async fn serve(mut self) {
        let deadline = Instant::now() + self.around.head_timeout();
        let port = self.destination.port();
        let name = self.around.names().name_of(self.destination.ip());

        // The hooks send loopback here only where the session shares the host's network: `guard attach`.
        if is_host_loopback(self.destination.ip()) {
            return self.loopback(port).await;
        }
        if let Some(service) = Service::at(self.destination) {
            if let Some(refusal) = self.over(&self.destination.ip().to_string()) {
                return self.refuse(refusal, &[]).await;
            }
            let Self {
                around,
                process,
                destination,
                stream,
            } = self;
            return around.metadata(service, process, destination, stream).await;
        }
        // Elsewhere than on 443 the server may speak first (SSH, SMTP, databases): nothing to wait for.
        if let Some(host) = &name
            && port != HTTPS
            && matches!(self.standing(host), Standing::Allowed)
        {
            return self.pass(host, &[]).await;
        }
        match client_hello::read(&mut self.stream, deadline).await {
            Ok(Opening::Tls(hello)) => self.tls(name, *hello, deadline).await,
            Ok(Opening::Plain(bytes)) => self.plain(name, &bytes).await,
            Ok(Opening::Closed) => self.closed(name).await,
            Err(error) => self.unreadable(name, error).await,
        }
    }

    /// A connection to the host's own loopback: passed where the profile lists the port.
    async fn loopback(self, port: u16) {
        if self.around.allows_loopback(port) {
            return local::to_host(self.around, self.process, port, self.stream).await;
        }
        let refusal = Refusal {
            code: "host-not-allowed",
            host: Some("localhost".to_owned()),
            detail: format!(
                "port {port} of the host's loopback is not open to the session; if it is needed, add it \
                 to the profile: [network] allow_loopback = [{port}]"
            ),
        };
        self.refuse(refusal, &[]).await;
    }

    async fn tls(self, name: Option<String>, hello: Hello, deadline: Instant) {
        let host = hello.server_name.as_str();
        let refusal = match (&name, self.standing(host)) {
            (Some(name), _) if name != host => Refusal {
                code: "host-mismatch",
                host: Some(name.clone()),
                detail: format!(
                    "the address was given out for {name}, but the TLS server name is {host}: connect to \
                     the host that is named"
                ),
            },
            (_, Standing::Aws) => return self.terminate(hello, deadline).await,
            // The gateway dials AWS by name whatever the address was; other hosts must have been looked
            // up here, or a name could be claimed for any address.
            (None, Standing::Allowed) => self.no_name(Some(host)),
            (Some(_), Standing::Allowed) => return self.pass(host, &hello.raw).await,
            (_, Standing::Refused(refusal)) => refusal,
        };
        self.refuse(refusal, &ACCESS_DENIED).await;
    }

    async fn plain(self, name: Option<String>, bytes: &[u8]) {
        let http = looks_like_http(bytes);
        let refusal = match name {
            None => self.no_name(None),
            Some(host) => match self.standing(&host) {
                Standing::Allowed => return self.pass(&host, bytes).await,
                Standing::Aws => plain_to_aws(host, http),
                // Such as port 80: the scheme is what is wrong, not the port.
                Standing::Refused(_) if self.around.is_aws(&host) => plain_to_aws(host, http),
                Standing::Refused(refusal) => refusal,
            },
        };
        if http {
            let reply = forbidden(&refusal.detail);
            self.refuse(refusal, reply.as_bytes()).await;
        } else {
            self.refuse(refusal, &[]).await;
        }
    }

    /// The client closed the connection without a word; where it may speak, that is nobody's concern.
    async fn closed(self, name: Option<String>) {
        let refusal = match name {
            None => self.no_name(None),
            Some(host) => match self.standing(&host) {
                Standing::Aws | Standing::Allowed => return,
                Standing::Refused(refusal) => refusal,
            },
        };
        self.refuse(refusal, &[]).await;
    }

    async fn unreadable(self, name: Option<String>, error: OpeningError) {
        let code = match &error {
            OpeningError::Malformed { .. } | OpeningError::TooLong | OpeningError::Socket(_) => {
                "malformed-client-hello"
            }
            OpeningError::NoServerName => "no-server-name",
            OpeningError::Encrypted => "encrypted-client-hello",
            OpeningError::Timeout => "timeout",
        };
        let mut refusal = Refusal {
            code,
            host: name,
            detail: error.to_string(),
        };
        // A client that waits for the server never says which protocol it speaks; where it may not go
        // anyway, that is the reason to name.
        if matches!(error, OpeningError::Timeout) {
            match &refusal.host {
                None => refusal = self.no_name(None),
                Some(host) => {
                    if let Standing::Refused(standing) = self.standing(host) {
                        refusal = standing;
                    }
                }
            }
        }
        let alert = match error {
            OpeningError::Malformed { alert, .. } => alert,
            OpeningError::NoServerName | OpeningError::Encrypted => ACCESS_DENIED.to_vec(),
            OpeningError::TooLong | OpeningError::Timeout | OpeningError::Socket(_) => Vec::new(),
        };
        self.refuse(refusal, &alert).await;
    }

    /// The refusal of a connection once the session's time is over.
    fn over(&self, host: &str) -> Option<Refusal> {
        let detail = self.around.term().refusal()?;
        Some(Refusal {
            code: local::ENDED,
            host: Some(host.to_owned()),
            detail,
        })
    }

    /// How a name stands at this connection's port.
    fn standing(&self, host: &str) -> Standing {
        let port = self.destination.port();
        if self.around.is_aws(host) {
            if port == HTTPS {
                return Standing::Aws;
            }
            // Never passed through, whatever the allow list says: it would be an unseen call.
            return Standing::Refused(Refusal {
                code: "host-not-allowed",
                host: Some(host.to_owned()),
                detail: format!(
                    "guard serves {host} by HTTPS on port 443 only, not on port {port}"
                ),
            });
        }
        if self.around.allows_host(host, port) {
            return match self.over(host) {
                Some(refusal) => Standing::Refused(refusal),
                None => Standing::Allowed,
            };
        }
        Standing::Refused(Refusal {
            code: "host-not-allowed",
            host: Some(host.to_owned()),
            detail: format!(
                "{host}:{port} is not on the session's allow list; if it is needed, add it to the \
                 profile: [network] allow = [\"{host}:{port}\"]"
            ),
        })
    }

    /// The refusal of a connection to an address that no name was looked up for.
    fn no_name(&self, claimed: Option<&str>) -> Refusal {
        let destination = self.destination;
        Refusal {
            code: "no-origin-name",
            host: claimed.map(str::to_owned),
            detail: format!(
                "{destination} was not given out for any name in this session; connect by host name \
                 instead of by address"
            ),
        }
    }

    /// Finishes the handshake as the AWS endpoint and serves its exchanges.
    async fn terminate(self, hello: Hello, deadline: Instant) {
        let Hello {
            server_name,
            raw,
            accepted,
        } = hello;
        drop(raw);
        let config = match self.around.authority().server_config(&server_name) {
            Ok(config) => config,
            Err(error) => {
                let detail = error.to_string();
                let refusal = Refusal {
                    code: "authority",
                    host: Some(server_name),
                    detail,
                };
                return self.refuse(refusal, &ACCESS_DENIED).await;
            }
        };
        let Self {
            around,
            process,
            destination,
            stream,
        } = self;
        let handshake = StartHandshake::from_parts(accepted, stream).into_stream(config);
        let (code, detail) = match timeout_at(deadline, handshake).await {
            Ok(Ok(tls)) => {
                let caller = Caller {
                    process,
                    destination,
                    server_name,
                };
                return around.exchanges(caller, tls).await;
            }
            Ok(Err(error)) => ("client-tls", explain_handshake(&error)),
            Err(_) => (
                "timeout",
                "the client did not finish the TLS handshake in time".to_owned(),
            ),
        };
        let _ = around
            .record(Event::Refused {
                process: Some(process),
                destination: Some(destination),
                host: Some(server_name),
                code: code.to_owned(),
                detail,
            })
            .await;
    }

    /// Connects to an allowed host and copies both ways; `first` is what the client has said.
    async fn pass(self, host: &str, first: &[u8]) {
        let port = self.destination.port();
        let passed = Event::ConnectionPassed {
            process: self.process.clone(),
            host: host.to_owned(),
            port,
        };
        if let Err(Unrecorded) = self.around.record(passed).await {
            return reset(&self.stream);
        }
        let failed = match timeout(DIAL_TIMEOUT, self.around.dial(host, port)).await {
            Ok(Ok(mut upstream)) => {
                let copied =
                    passthrough::relay(&self.stream, &mut upstream, first, IDLE_TIMEOUT).await;
                if let Err(error) = copied {
                    tracing::debug!(host, port, %error, "passed connection broke off");
                    reset(&self.stream);
                    reset(&upstream);
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", DIAL_TIMEOUT.as_secs()),
        };
        let refusal = Refusal {
            code: "upstream-connect",
            host: Some(host.to_owned()),
            detail: format!("cannot connect to {host}:{port}: {failed}"),
        };
        self.refuse(refusal, &[]).await;
    }

    /// Journals the refusal, then tells the client with `reply`, or resets where that is empty.
    async fn refuse(mut self, refusal: Refusal, reply: &[u8]) {
        let recorded = self
            .around
            .record(Event::Refused {
                process: Some(self.process),
                destination: Some(self.destination),
                host: refusal.host,
                code: refusal.code.to_owned(),
                detail: refusal.detail,
            })
            .await;
        if recorded.is_err() || reply.is_empty() {
            return reset(&self.stream);
        }
        // Closing with unread bytes would reset, and take the reply with it: read the rest, within reason.
        let farewell = async {
            self.stream.write_all(reply).await?;
            self.stream.shutdown().await?;
            tokio::io::copy(
                &mut (&mut self.stream).take(MAX_DRAINED),
                &mut tokio::io::sink(),
            )
            .await
        };
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// Whether an address is where `allow_loopback` leads. Others of 127.0.0.0/8 are services of their own.
fn is_host_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

/// The only port where AWS endpoints are served.
const HTTPS: u16 = 443;

/// For connecting to an upstream that is passed through.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// For getting a refusal out.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes of a refused request that are read so that its refusal arrives.
const MAX_DRAINED: u64 = 256 * 1024;

#[cfg(test)]
mod tests;
