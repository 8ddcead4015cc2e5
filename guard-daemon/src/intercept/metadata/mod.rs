//! The metadata services that SDKs take credentials from, as a session sees them: the instance's (IMDSv2) and
//! the container's, at the addresses where AWS has them.
//!
//! A tree that runs already has no variables of guard's; its SDKs ask these addresses anyway, and get dummies of
//! their session. Nothing is ever asked of the host's real services. `instance` and `container` are the two
//! protocols; what they give out comes from the session's `Issued`.

mod container;
mod instance;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;

use crate::broker::Issue;
use crate::gateway::{Gateway, ResponseBody, serve_http1};
use crate::record::entry::{Entry, Event, Process};
use crate::session::Session;

/// A metadata service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Service {
    /// EC2's instance metadata.
    Instance,
    /// ECS's credentials of a task.
    Task,
    /// EKS Pod Identity's, and guard's own (`AWS_CONTAINER_CREDENTIALS_FULL_URI`).
    Pod,
}

/// Where guard's own credentials are for clients that a session's environment sends there.
pub const CONTAINER_URI: &str = "http://169.254.170.23/guard/credentials";

const PORT: u16 = 80;
const INSTANCE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];
const TASK: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2));
const POD: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
];

impl Service {
    /// The service at an address, where AWS has one.
    pub(super) fn at(destination: SocketAddr) -> Option<Self> {
        let address = destination.ip().to_canonical();
        match address {
            _ if destination.port() != PORT => None,
            _ if INSTANCE.contains(&address) => Some(Self::Instance),
            _ if address == TASK => Some(Self::Task),
            _ if POD.contains(&address) => Some(Self::Pod),
            _ => None,
        }
    }

    /// Its name in the journal.
    fn name(self) -> &'static str {
        match self {
            Self::Instance => "imds",
            Self::Task => "ecs",
            Self::Pod => "pod-identity",
        }
    }
}

/// What a request is answered with.
#[derive(Debug, Eq, PartialEq)]
enum Answer {
    /// A token, for so many seconds.
    Token {
        token: String,
        seconds: u32,
    },
    /// Plain text.
    Text(String),
    /// Credentials, in the instance's form or the container's.
    InstanceCredentials,
    ContainerCredentials,
    /// It has no such thing; SDKs then look elsewhere.
    NotFound,
    /// The request is not as it must be.
    Refused(StatusCode, &'static str),
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    service: Service,
    process: Process,
    destination: SocketAddr,
    stream: TcpStream,
) {
    let told = AtomicBool::new(false);
    let limits = gateway.config.limits.clone();
    let asked = Asked {
        gateway,
        session,
        service,
        process,
        destination,
        told,
    };
    let run = |request: http::Request<hyper::body::Incoming>| {
        let parts = request.into_parts().0;
        let asked = &asked;
        async move { asked.answer(&parts).await }
    };
    if let Err(refused) = serve_http1(stream, &limits, run).await {
        asked.refuse(refused).await;
    }
}

/// A connection to a metadata service.
struct Asked {
    gateway: Arc<Gateway>,
    session: Arc<Session>,
    service: Service,
    process: Process,
    destination: SocketAddr,
    /// A refusal on this connection is on record.
    told: AtomicBool,
}

impl Asked {
    async fn answer(&self, parts: &http::request::Parts) -> Response<ResponseBody> {
        let own = self.session.issued.own();
        let now = SystemTime::now();
        let answer = if let Some(text) = self.session.term.refusal() {
            self.refuse(text).await;
            Answer::Refused(StatusCode::FORBIDDEN, "the session has ended at its time")
        } else if self.service == Service::Instance {
            instance::answer(parts, own, self.session.credentials.region(), now)
        } else {
            container::answer(parts, own, self.service)
        };
        match answer {
            Answer::Token { token, seconds } => {
                let mut response = plain(StatusCode::OK, token);
                let name = "x-aws-ec2-metadata-token-ttl-seconds";
                response.headers_mut().insert(name, seconds.into());
                response
            }
            Answer::Text(text) => plain(StatusCode::OK, text),
            Answer::NotFound => plain(StatusCode::NOT_FOUND, "guard has nothing here\n".to_owned()),
            Answer::Refused(status, why) => {
                self.refuse(format!("{} {}: {why}", parts.method, self.service.name()))
                    .await;
                plain(status, format!("guard refused this request: {why}\n"))
            }
            Answer::InstanceCredentials | Answer::ContainerCredentials => {
                match self.lend(now).await {
                    Ok(issue) if answer == Answer::InstanceCredentials => {
                        plain(StatusCode::OK, instance::credentials(&issue, now))
                    }
                    Ok(issue) => {
                        let mut response = plain(StatusCode::OK, container::credentials(&issue));
                        let json = HeaderValue::from_static("application/json");
                        response.headers_mut().insert(CONTENT_TYPE, json);
                        response
                    }
                    Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
                }
            }
        }
    }

    /// The session's temporary dummies; on record and kept before they are given out.
    async fn lend(&self, now: SystemTime) -> Result<Arc<Issue>, String> {
        let issue = self.session.issued.lent(now);
        let key = &issue.dummy.access_key_id;
        if !self.session.lent.knows(&self.process, key) {
            let event = Event::DummiesServed {
                process: self.process.clone(),
                service: self.service.name().to_owned(),
                dummy_key: key.clone(),
            };
            if let Err(error) = self.session.issued.keep().await {
                tracing::error!(session = %self.session.id, %error, "the session's dummies are not kept");
                return Err(
                    "guard could not keep the session's dummies; see the daemon's log".to_owned(),
                );
            }
            if !self.append(event).await {
                return Err("guard could not record this; see the daemon's log".to_owned());
            }
            self.session.lent.note(&self.process, key);
        }
        Ok(issue)
    }

    /// Records a refusal; one for a connection.
    async fn refuse(&self, detail: String) {
        if self.told.swap(true, Ordering::Relaxed) {
            return;
        }
        self.append(Event::Refused {
            process: Some(self.process.clone()),
            destination: Some(self.destination),
            host: None,
            code: "metadata".to_owned(),
            detail,
        })
        .await;
    }

    async fn append(&self, event: Event) -> bool {
        let entry = Entry {
            session: Some(self.session.id.clone()),
            event,
        };
        let appended = self.gateway.journal.append(entry).await;
        if let Err(error) = &appended {
            tracing::error!(session = %self.session.id, %error, "journal append failed");
        }
        appended.is_ok()
    }
}

fn plain(status: StatusCode, text: String) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn time(at: SystemTime) -> String {
    let whole = OffsetDateTime::from(at).replace_nanosecond(0);
    let text = whole.ok().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_default()
}

/// Which processes have which dummies, as far as the journal says so. Bounded; what falls out is recorded again.
#[derive(Debug, Default)]
pub struct Lent(Mutex<HashSet<Loan>>);

/// A process, by its number and its start, and the dummies' access key id.
type Loan = (u32, Option<u64>, String);

/// Pairs that are remembered.
const MOST_LENT: usize = 1024;

impl Lent {
    fn knows(&self, process: &Process, key: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(&loan(process, key))
    }

    /// To be called when it is on record.
    fn note(&self, process: &Process, key: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_LENT {
            known.clear();
        }
        known.insert(loan(process, key));
    }
}

fn loan(process: &Process, key: &str) -> Loan {
    (process.pid, process.started, key.to_owned())
}

/// The three parts, under the names that all of these services have for them.
fn parts_of(issue: &Issue) -> serde_json::Value {
    json!({
        "AccessKeyId": issue.dummy.access_key_id,
        "SecretAccessKey": issue.dummy.secret_access_key,
        "Token": issue.dummy.session_token,
        "Expiration": time(issue.expiry.unwrap_or_else(SystemTime::now)),
    })
}
