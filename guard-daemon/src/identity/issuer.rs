//! A provider: where its keys are, when they are fetched, and whether they made a signature.
//!
//! The keys are fetched when a token needs them, and used for ten minutes. A token of an unknown key, or with a
//! signature that the known ones did not make, has them fetched again, at most once a minute, so that a provider that
//! changes its keys is followed and no token makes guard a source of requests. Without fresh keys nothing is accepted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use tokio::sync::Mutex;

use super::error::{TokenError, shown};
use super::keys::Keys;
use super::strict;
use super::token::Read;
use crate::config::{IssuerConfig, UpstreamConfig, is_loopback};
use crate::gateway::upstream::Upstream;
use crate::term::boot_time;

/// How long keys are used. The time that the host sleeps counts, as in all of these.
const FRESH: Duration = Duration::from_mins(10);
/// How long after keys were fetched for the sake of a token that none of them fits they are not fetched for that again.
const PAUSE: Duration = Duration::from_mins(1);
/// Bytes of a document of a provider, and how long it may take.
const DOCUMENT_BYTES: usize = 512 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// A provider that this host trusts.
pub(super) struct Issuer {
    config: IssuerConfig,
    upstream: UpstreamConfig,
    /// Held while keys are fetched: one flight at a time.
    known: Mutex<Known>,
}

/// What is known of a provider's keys.
#[derive(Default)]
struct Known {
    /// The way there, for a port; made at the first use, as roots are read for it.
    way: Option<(u16, Arc<Upstream>)>,
    keys: Keys,
    /// When they were fetched, in milliseconds of `CLOCK_BOOTTIME`.
    fetched: Option<u64>,
    /// The same, for the sake of a token that none of them fits.
    sought: Option<u64>,
}

impl Issuer {
    pub(super) fn new(config: IssuerConfig, upstream: &UpstreamConfig) -> Self {
        Self {
            config,
            upstream: upstream.clone(),
            known: Mutex::default(),
        }
    }

    pub(super) fn config(&self) -> &IssuerConfig {
        &self.config
    }

    /// Whether a key of this provider made the token's signature, with an algorithm that it is trusted with.
    pub(super) async fn verify_signature(&self, token: &Read<'_>) -> Result<(), TokenError> {
        let algorithm = self.algorithm(&token.header.algorithm)?;
        let key = token.header.key.as_deref();
        let mut known = self.known.lock().await;
        let stale = known.fetched.is_none_or(|then| since(then) >= FRESH);
        if stale {
            self.fetch(&mut known).await?;
        }
        let mut verdict = verdict(&known.keys, token, algorithm);
        let mut later = String::new();
        // It may be of a new key, also of one with an old one's name.
        if verdict != Verdict::Right && !stale {
            match known.sought.and_then(|then| PAUSE.checked_sub(since(then))) {
                Some(wait) if !wait.is_zero() => {
                    let seconds = wait.as_secs() + 1;
                    later =
                        format!("; its keys are looked up again in {seconds} s at the earliest");
                }
                _ => {
                    known.sought = Some(boot_time());
                    self.fetch(&mut known).await?;
                    verdict = self::verdict(&known.keys, token, algorithm);
                }
            }
        }
        let age = known.fetched.map_or(0, |then| since(then).as_secs());
        match verdict {
            Verdict::Right => Ok(()),
            Verdict::Wrong => Err(TokenError::Signature {
                issuer: self.config.issuer.clone(),
                age,
                later,
            }),
            Verdict::NoKey => Err(TokenError::Key {
                issuer: self.config.issuer.clone(),
                key: key.map_or_else(|| "(it names none)".to_owned(), shown),
                algorithm: format!("{algorithm:?}"),
                age,
                later,
            }),
        }
    }

    fn algorithm(&self, name: &str) -> Result<Algorithm, TokenError> {
        let accepted = &self.config.algorithms;
        // The newer name says which curve it is (RFC 9864); there is no other here.
        let plain = if name == "Ed25519" { "EdDSA" } else { name };
        let found = accepted.iter().find(|it| format!("{it:?}") == plain);
        found.copied().ok_or_else(|| TokenError::Algorithm {
            algorithm: shown(name),
            issuer: self.config.issuer.clone(),
            allowed: accepted
                .iter()
                .map(|it| format!("{it:?}"))
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    /// Fetches the keys; all that were known before are forgotten once it worked.
    async fn fetch(&self, known: &mut Known) -> Result<(), TokenError> {
        let failed = |why: String| TokenError::Keys {
            issuer: self.config.issuer.clone(),
            why,
        };
        let uri = match &self.config.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.discover(known).await.map_err(failed)?,
        };
        let document = self.get(known, &uri).await.map_err(failed)?;
        let keys = Keys::read(&document)
            .map_err(|why| failed(format!("{uri} is no key set: {why}; check `jwks_uri`")))?;
        known.keys = keys;
        known.fetched = Some(boot_time());
        Ok(())
    }

    /// Where the keys are (OpenID Connect Discovery 1.0, 4).
    async fn discover(&self, known: &mut Known) -> Result<String, String> {
        let issuer = &self.config.issuer;
        let uri = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let document = self.get(known, &uri).await?;
        let document = strict::object(&document)
            .map_err(|error| format!("{uri} is not what it should be: {error}"))?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(format!(
                "{uri} is of the issuer {}; write `issuer` exactly as it stands there",
                shown(text("issuer").unwrap_or_default())
            ));
        }
        let keys = text("jwks_uri").ok_or_else(|| format!("{uri} has no `jwks_uri`"))?;
        // What came over TLS does not lead to where there is none, nor from outside to this host.
        let plain = is_loopback(issuer) && is_loopback(keys);
        if !keys.starts_with("https://") && !plain {
            return Err(format!(
                "{uri} has keys at {}, which is not https",
                shown(keys)
            ));
        }
        Ok(keys.to_owned())
    }

    /// The way to this provider's documents on a port.
    fn upstream(&self, port: u16) -> UpstreamConfig {
        let mut upstream = self.upstream.clone();
        for uri in [Some(&self.config.issuer), self.config.jwks_uri.as_ref()] {
            let uri = uri.map(String::as_str).unwrap_or_default();
            allow(&mut upstream, uri, port);
        }
        upstream
    }

    async fn get(&self, known: &mut Known, uri: &str) -> Result<Bytes, String> {
        let parsed: Uri = uri.parse().map_err(|error| format!("{uri}: {error}"))?;
        let authority = parsed.authority().map_or("", |it| it.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        let request = Request::get(&parsed)
            .header(HOST, host)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("guard/", env!("CARGO_PKG_VERSION")));
        let response = if parsed.scheme_str() == Some("http") {
            plain(
                request
                    .body(Empty::new())
                    .map_err(|error| error.to_string())?,
            )
            .await?
        } else {
            let port = parsed.port_u16().unwrap_or(443);
            let way = match &known.way {
                Some((of, way)) if *of == port => Arc::clone(way),
                _ => {
                    let way = Upstream::new(&self.upstream(port));
                    let way = Arc::new(way.map_err(|error| error.to_string())?);
                    known.way = Some((port, Arc::clone(&way)));
                    way
                }
            };
            let request = request
                .body(Bytes::new())
                .map_err(|error| error.to_string())?;
            way.ask(request).await.map_err(|error| error.to_string())?
        };
        match response.status() {
            StatusCode::OK if response.body().len() <= DOCUMENT_BYTES => Ok(response.into_body()),
            StatusCode::OK => Err(format!("{uri} has more than {DOCUMENT_BYTES} bytes")),
            status => Err(format!("{uri} answered with status {}", status.as_u16())),
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Right,
    Wrong,
    NoKey,
}

fn verdict(keys: &Keys, token: &Read<'_>, algorithm: Algorithm) -> Verdict {
    let mut verdict = Verdict::NoKey;
    for key in keys.of(token.header.key.as_deref(), algorithm) {
        let message = token.signed.as_bytes();
        // A signature that is not base64 is as wrong as any other.
        match jsonwebtoken::crypto::verify(token.signature, message, key, algorithm) {
            Ok(true) => return Verdict::Right,
            Ok(false) | Err(_) => verdict = Verdict::Wrong,
        }
    }
    verdict
}

/// A request to a provider on this host's own loopback, the only place without TLS.
async fn plain(request: Request<Empty<Bytes>>) -> Result<Response<Bytes>, String> {
    let uri = request.uri().to_string();
    let failed = |why: &dyn fmt::Display| {
        format!("{uri} cannot be fetched: {why}; is the provider running?")
    };
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let response = client
            .request(request)
            .await
            .map_err(|error| failed(&error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, DOCUMENT_BYTES + 1).collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes();
        Ok(Response::from_parts(parts, body))
    };
    let late = |_elapsed| failed(&"it did not answer within 10 s");
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(late)?
}

/// The time since a point of `CLOCK_BOOTTIME`.
fn since(then: u64) -> Duration {
    Duration::from_millis(boot_time().saturating_sub(then))
}

/// Lets the host of a URI that root wrote down be anywhere, as `[upstream] connect` does. That table says a port as
/// well, so it is for one alone.
fn allow(upstream: &mut UpstreamConfig, uri: &str, port: u16) {
    let Ok(uri) = uri.parse::<Uri>() else { return };
    let Some(host) = uri.host().map(str::to_ascii_lowercase) else {
        return;
    };
    let below = |pattern: &String| {
        let suffix = pattern.strip_prefix('*');
        suffix.is_some_and(|suffix| host.ends_with(suffix))
    };
    // What is said of it there goes first. An IPv6 address has no place there.
    if upstream.connect.keys().any(below) || host.starts_with('[') {
        return;
    }
    let target = format!("{host}:{port}");
    upstream.connect.entry(host).or_insert(target);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_root_wrote_down_may_be_anywhere() {
        let connect = |pairs: &[(&str, &str)]| UpstreamConfig {
            connect: pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
            ..UpstreamConfig::default()
        };
        for (before, uri, after) in [
            (
                &[][..],
                "https://sso.internal:8443/realms/a",
                &[("sso.internal", "sso.internal:444")][..],
            ),
            (&[], "https://127.0.0.1", &[("127.0.0.1", "127.0.0.1:444")]),
            (
                &[("*.internal", "p:1")],
                "https://sso.internal",
                &[("*.internal", "p:1")],
            ),
            (
                &[("sso.internal", "p:1")],
                "https://SSO.internal",
                &[("sso.internal", "p:1")],
            ),
            (&[], "https://[::1]:1", &[]),
            (&[], "", &[]),
        ] {
            let mut upstream = connect(before);
            allow(&mut upstream, uri, 444);
            assert_eq!(upstream, connect(after), "{uri}");
        }
    }

    #[test]
    fn a_host_with_two_ports_is_reached_on_both() {
        let issuer = IssuerConfig {
            jwks_uri: Some("https://sso.internal/keys".to_owned()),
            ..IssuerConfig::new("https://sso.internal:8443")
        };
        let issuer = Issuer::new(issuer, &UpstreamConfig::default());
        for port in [443, 8443] {
            let target = format!("sso.internal:{port}");
            assert_eq!(issuer.upstream(port).connect["sso.internal"], target);
        }
    }
}
