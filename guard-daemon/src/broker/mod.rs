//! Credentials: the dummies a session signs with, and the real ones that leave this host.
//!
//! A session's real credentials are what its owner would get on this host outside guard. Whatever the
//! owner's profile names (files, `credential_process`, the SSO cache) is read and run as the owner, never
//! as the daemon, in a `resolver` process that starts before the confined tree does and takes its
//! configuration once: the tree cannot change afterwards where credentials come from.
//! `link` is the daemon's end of it, `selection` what the owner asked for, `caller` finds whose they are.

mod caller;
mod dummy;
mod issued;
mod link;
mod resolver;
mod selection;
mod wire;

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use caller::Principal;
pub use dummy::DummyCredentials;
pub use issued::{Issue, Issued, LONGEST_CHAIN, Minted, StandsFor};
pub use resolver::resolver_if_asked;
pub use selection::{BearerToken, Keys, Owner, Selection};

use link::{Launch, Link};

/// Where a session's real credentials come from. Clones share the cache and the resolver process, which
/// ends with the last of them.
#[derive(Clone)]
pub struct Source {
    shared: Arc<Shared>,
}

struct Shared {
    /// What the source is called in errors.
    name: String,
    remedy: String,
    region: Option<String>,
    /// Read on every exchange.
    current: RwLock<Option<Credentials>>,
    /// Held by the one that refreshes.
    refresh: Arc<Mutex<Refresh>>,
    principal: RwLock<Option<Principal>>,
    /// Held by the one that asks; when the last attempt failed.
    ask: Mutex<Option<Instant>>,
}

/// How to get the next credentials.
struct Refresh {
    /// `None` for keys that do not change.
    link: Option<Link>,
    /// The last attempt: when it ended, and how it failed.
    last: Option<(Instant, Option<BrokerError>)>,
}

/// Why real credentials could not be had; the text says which source failed and what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The resolver process could not be started.
    #[error(
        "cannot start the process that reads the session owner's credentials: {0}; `guard` must be executable by that user"
    )]
    Start(String),
    /// The owner's configuration names no usable source.
    #[error(
        "the AWS configuration of the session's owner cannot be used: {0}; correct it and start the session again"
    )]
    Configuration(String),
    /// The source exists, but gave nothing.
    #[error("no AWS credentials from {name}: {text}; {remedy}")]
    Unavailable {
        /// Which source.
        name: String,
        /// What it said.
        text: String,
        /// What to do.
        remedy: String,
    },
    /// The resolver process is gone. It is not started again: the confined tree may have changed what it
    /// would read.
    #[error(
        "the process that reads the session owner's credentials has ended; start the session again"
    )]
    Ended,
}

/// Credentials are renewed when they have less than this left.
const RENEW_AHEAD: Duration = Duration::from_mins(5);
/// Where renewing fails, those at hand are used while they have at least this left.
const USABLE: Duration = Duration::from_mins(1);
/// After an attempt the source is left alone for this long; meanwhile it gives the same result. Bounds the
/// calls to a source that fails, or whose credentials are always about to expire.
const RETRY_GAP: Duration = Duration::from_secs(10);
/// The same for the account.
const ACCOUNT_RETRY_GAP: Duration = Duration::from_mins(1);

impl Source {
    /// The source a selection means: the owner's environment keys where no profile is selected, else that
    /// profile, else the usual chain (default profile, web identity, container, instance metadata).
    ///
    /// Reads the owner's configuration files, but fetches nothing yet. To be called before the confined
    /// tree starts, inside a Tokio runtime.
    pub async fn new(selection: &Selection, owner: Owner) -> Result<Self, BrokerError> {
        Self::launch(selection, Launch::own(selection, owner)).await
    }

    async fn launch(selection: &Selection, launch: Launch) -> Result<Self, BrokerError> {
        let keys = selection
            .keys
            .as_ref()
            .filter(|_| selection.profile.is_none());
        let link = match keys {
            Some(_) if selection.region.is_some() => None,
            // With keys at hand the files only tell the region.
            Some(_) => match Link::start(launch).await {
                Ok(link) => Some(link),
                Err(error) => {
                    tracing::warn!(%error, "the region of the owner's profile is not known");
                    None
                }
            },
            None => Some(Link::start(launch).await?),
        };
        let region = selection.region.clone().or_else(|| {
            link.as_ref()
                .and_then(|link| link.region().map(str::to_owned))
        });
        let (name, remedy) = selection.describe();
        Ok(Self {
            shared: Arc::new(Shared {
                name,
                remedy,
                region,
                current: RwLock::new(keys.map(Keys::credentials)),
                refresh: Arc::new(Mutex::new(Refresh {
                    link: link.filter(|_| keys.is_none()),
                    last: None,
                })),
                principal: RwLock::new(None),
                ask: Mutex::new(None),
            }),
        })
    }

    /// The region the owner uses: the selection's, else the profile's. The confined tree cannot read the
    /// profile, so that its environment must say it.
    pub fn region(&self) -> Option<&str> {
        self.shared.region.as_deref()
    }

    /// Credentials that are good for at least a minute, and mostly five; cached, one refresh at a time.
    ///
    /// A caller that goes away does not stop a refresh that others may wait for.
    pub async fn credentials(&self) -> Result<Credentials, BrokerError> {
        if let Some(credentials) = self.shared.current(RENEW_AHEAD) {
            return Ok(credentials);
        }
        let refresh = Arc::clone(&self.shared.refresh).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.renew(refresh).await })
            .await
            .unwrap_or(Err(BrokerError::Ended))
    }

    /// Whose the credentials are, as far as that is known without a call: the account may be, and the
    /// ARN not.
    pub fn principal(&self) -> Option<Principal> {
        let known = self
            .shared
            .principal
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        known.or_else(|| {
            let credentials = self.shared.current(Duration::ZERO)?;
            Some(Principal {
                account: credentials.account_id()?.as_str().to_owned(),
                arn: None,
                user_id: None,
            })
        })
    }

    /// Whose the credentials are; asks STS (GetCallerIdentity, which no policy can deny) where the account
    /// is not known, or with `whole` the ARN. `send` carries the signed request to its host and returns
    /// the whole response. What is known without it where that fails; it is then not tried again for a
    /// minute.
    pub async fn resolve_principal<F, R, E>(&self, whole: bool, send: F) -> Option<Principal>
    where
        F: FnOnce(http::Request<Bytes>) -> R,
        R: Future<Output = Result<http::Response<Bytes>, E>>,
        E: std::fmt::Display,
    {
        let enough = |it: &Principal| !whole || it.arn.is_some();
        let known = self.principal();
        if known.as_ref().is_some_and(enough) {
            return known;
        }
        let mut failed = self.shared.ask.lock().await;
        let known = self.principal();
        if known.as_ref().is_some_and(enough)
            || failed.is_some_and(|at| at.elapsed() < ACCOUNT_RETRY_GAP)
        {
            return known;
        }
        match self.ask_principal(send).await {
            Ok(principal) => {
                *self
                    .shared
                    .principal
                    .write()
                    .unwrap_or_else(PoisonError::into_inner) = Some(principal.clone());
                Some(principal)
            }
            Err(error) => {
                tracing::warn!(error, "it is not known whose the session's credentials are");
                *failed = Some(Instant::now());
                known
            }
        }
    }

    async fn ask_principal<F, R, E>(&self, send: F) -> Result<Principal, String>
    where
        F: FnOnce(http::Request<Bytes>) -> R,
        R: Future<Output = Result<http::Response<Bytes>, E>>,
        E: std::fmt::Display,
    {
        let credentials = self
            .credentials()
            .await
            .map_err(|error| error.to_string())?;
        let request = caller::request(self.region(), &credentials, SystemTime::now())
            .map_err(|error| error.to_string())?;
        let response = send(request).await.map_err(|error| error.to_string())?;
        caller::principal(&response)
    }
}

impl Shared {
    fn current(&self, left: Duration) -> Option<Credentials> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current
            .as_ref()
            .filter(|credentials| lasts(credentials, left))
            .cloned()
    }

    async fn renew(
        &self,
        mut refresh: impl std::ops::DerefMut<Target = Refresh>,
    ) -> Result<Credentials, BrokerError> {
        // Another caller may have renewed them, or tried to, while this one waited.
        if let Some(credentials) = self.current(RENEW_AHEAD) {
            return Ok(credentials);
        }
        let recent = refresh
            .last
            .as_ref()
            .filter(|(at, _)| at.elapsed() < RETRY_GAP);
        let error = match (recent, self.current(USABLE)) {
            (Some(_), Some(credentials)) => return Ok(credentials),
            (Some((_, Some(error))), None) => error.clone(),
            _ => match self.fetch(refresh.link.as_mut()).await {
                Ok(credentials) => {
                    refresh.last = Some((Instant::now(), None));
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                        Some(credentials.clone());
                    return Ok(credentials);
                }
                Err(error) => {
                    tracing::warn!(%error, "the session's credentials could not be renewed");
                    refresh.last = Some((Instant::now(), Some(error.clone())));
                    error
                }
            },
        };
        self.current(USABLE).ok_or(error)
    }

    async fn fetch(&self, link: Option<&mut Link>) -> Result<Credentials, BrokerError> {
        let unavailable = |text: String| BrokerError::Unavailable {
            name: self.name.clone(),
            text,
            remedy: self.remedy.clone(),
        };
        let link = link.ok_or(BrokerError::Ended)?;
        let credentials = link.fetch().await?.map_err(unavailable)?;
        if lasts(&credentials, USABLE) {
            Ok(credentials)
        } else {
            Err(unavailable("what it gave has expired".to_owned()))
        }
    }
}

/// Whether credentials hold for `left` from now on.
fn lasts(credentials: &Credentials, left: Duration) -> bool {
    credentials
        .expiry()
        .is_none_or(|expiry| expiry > SystemTime::now() + left)
}

#[cfg(test)]
mod tests;
