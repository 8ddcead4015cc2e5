//! Credentials: the dummies a session signs with, and the real ones that leave this host.
//!
//! A session's real credentials are what its owner would get on this host outside guard, or those of a role that is
//! assumed with them. Whatever the owner's profile names (files, `credential_process`, the SSO cache) is read and run
//! as the owner, never as the daemon, in a `resolver` process that starts before the confined tree does and takes its
//! configuration once: the tree cannot change afterwards where credentials come from.
//! `link` is the daemon's end of it, `selection` what the owner asked for, `role` what STS is asked, `token` what that
//! may take in place of credentials, `caller` finds whose they are. What leaves goes the `way` of the session.

mod caller;
mod dummy;
mod issued;
mod link;
mod resolver;
mod role;
mod selection;
mod token;
mod way;
mod wire;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use caller::Principal;
pub use dummy::DummyCredentials;
pub use issued::{Issue, Issued, LONGEST_CHAIN, Lookup, Minted, MintedFor, StandsFor};
pub use resolver::resolver_if_asked;
pub use role::RoleRequest;
pub use selection::{BearerToken, GithubRequest, Keys, Owner, Selection};
pub use way::{Pending, Way, WayError};

use link::{Launch, Link};
use role::{Assuming, Base};

use crate::policy::WebIdentity;
use crate::record::entry::OwnCall;

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
    warnings: Vec<String>,
    /// Read on every exchange.
    current: RwLock<Option<Credentials>>,
    /// Held by the one that refreshes.
    refresh: Arc<Mutex<Refresh>>,
    principal: RwLock<Option<Principal>>,
    way: Arc<dyn Way>,
    /// Held by the one that asks; when the last attempt failed.
    ask: Mutex<Option<Instant>>,
}

/// How to get the next credentials.
struct Refresh {
    origin: Origin,
    /// The last attempt: when it ended, and how it failed.
    last: Option<(Instant, Option<BrokerError>)>,
}

/// Where the next credentials come from.
enum Origin {
    /// Keys that do not change.
    Fixed,
    /// The owner's configuration.
    Owner(Link),
    /// A role.
    Role(Box<Assuming>),
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
    /// The token that a role is assumed with could not be had.
    #[error(
        "no OpenID Connect token for the session's role: {text}; correct `web_identity` under [credentials], or its source"
    )]
    Token {
        /// What failed.
        text: String,
    },
    /// The role gave nothing.
    #[error("no credentials of {role}: {text}; {remedy}")]
    Role {
        /// Its ARN.
        role: String,
        /// What failed.
        text: String,
        /// What to do.
        remedy: String,
    },
    /// The profile asks for a session policy, and there is none.
    #[error(
        "[credentials] says session_policy = \"required\", and there is none: {0}; shorten the profile, or say \"auto\""
    )]
    SessionPolicy(String),
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
    /// profile, else the usual chain (default profile, web identity, container, instance metadata). With `role`, that
    /// role's credentials, assumed with what the selection means or with its own token. Calls to STS go `way`.
    ///
    /// Reads the owner's configuration files, but fetches nothing yet. To be called before the confined
    /// tree starts, inside a Tokio runtime.
    pub async fn new(
        selection: &Selection,
        owner: Owner,
        role: Option<RoleRequest>,
        way: Arc<dyn Way>,
    ) -> Result<Self, BrokerError> {
        Self::launch(selection, Launch::own(selection, owner), role, way).await
    }

    async fn launch(
        selection: &Selection,
        launch: Launch,
        role: Option<RoleRequest>,
        way: Arc<dyn Way>,
    ) -> Result<Self, BrokerError> {
        let keys = selection
            .keys
            .as_ref()
            .filter(|_| selection.profile.is_none());
        let token = role
            .as_ref()
            .and_then(|role| role.role().web_identity.as_ref());
        let asked = match token {
            None => keys.is_none(),
            Some(WebIdentity::File(_) | WebIdentity::Command(_)) => true,
            Some(WebIdentity::GithubActions { .. } | WebIdentity::Variable(_)) => false,
        };
        let link = match (asked, &selection.region) {
            (true, _) => Some(Link::start(launch).await?),
            (false, Some(_)) => None,
            // Now the files only tell the region.
            (false, None) => match Link::start(launch).await {
                Ok(link) => Some(link),
                Err(error) => {
                    tracing::warn!(%error, "the region of the owner's profile is not known");
                    None
                }
            },
        };
        let region = selection.region.clone().or_else(|| {
            link.as_ref()
                .and_then(|link| link.region().map(str::to_owned))
        });
        let (name, remedy) = selection.describe();
        let link = link.filter(|_| asked);
        let fixed = role
            .is_none()
            .then_some(keys)
            .flatten()
            .map(Keys::credentials);
        let warnings = role.as_ref().map_or_else(Vec::new, RoleRequest::warnings);
        let origin = match role {
            None => link.map_or(Origin::Fixed, Origin::Owner),
            Some(role) => {
                let base = base(selection, keys, link, &role)?;
                let (way, region) = (Arc::clone(&way), region.clone());
                Origin::Role(Box::new(Assuming::new(role, base, way, region)))
            }
        };
        Ok(Self {
            shared: Arc::new(Shared {
                name,
                remedy,
                region,
                warnings,
                current: RwLock::new(fixed),
                refresh: Arc::new(Mutex::new(Refresh { origin, last: None })),
                principal: RwLock::new(None),
                way,
                ask: Mutex::new(None),
            }),
        })
    }

    /// The region the owner uses: the selection's, else the profile's. The confined tree cannot read the
    /// profile, so that its environment must say it.
    pub fn region(&self) -> Option<&str> {
        self.shared.region.as_deref()
    }

    /// What the person who starts the session should know of it, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.shared.warnings
    }

    /// Credentials that are good for at least a minute; cached, one refresh at a time. Those with less than five
    /// minutes left are renewed while they are used.
    ///
    /// A caller that goes away does not stop a refresh that others may wait for.
    pub async fn credentials(&self) -> Result<Credentials, BrokerError> {
        if let Some(credentials) = self.shared.current(RENEW_AHEAD) {
            return Ok(credentials);
        }
        let refresh = Arc::clone(&self.shared.refresh);
        if let Some(usable) = self.shared.current(USABLE) {
            if let Ok(refresh) = refresh.try_lock_owned() {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move { shared.renew(refresh).await });
            }
            return Ok(usable);
        }
        let refresh = refresh.lock_owned().await;
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
    /// is not known, or with `whole` the ARN. What is known without it where that fails; it is then not tried again
    /// for a minute.
    pub async fn resolve_principal(&self, whole: bool) -> Option<Principal> {
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
        let credentials = match self.credentials().await {
            Ok(credentials) => credentials,
            Err(error) => {
                // They are asked for again soon enough, and with them this.
                tracing::warn!(%error, "it is not known whose the session's credentials are");
                return known;
            }
        };
        if let Some(principal) = self.principal().filter(enough) {
            // A role tells with its credentials.
            return Some(principal);
        }
        match self.ask_principal(&credentials).await {
            Ok(principal) => {
                self.shared.set_principal(principal.clone());
                Some(principal)
            }
            Err(error) => {
                tracing::warn!(error, "it is not known whose the session's credentials are");
                *failed = Some(Instant::now());
                known
            }
        }
    }

    async fn ask_principal(&self, credentials: &Credentials) -> Result<Principal, String> {
        let request = caller::request(self.region(), credentials, SystemTime::now())
            .map_err(|error| error.to_string())?;
        let call = OwnCall {
            service: "sts".to_owned(),
            operation: "GetCallerIdentity".to_owned(),
            host: request.uri().host().unwrap_or_default().to_owned(),
            signing_key: Some(credentials.access_key_id().to_owned()),
            assumes: None,
        };
        let response = self.shared.way.ask(call, request).await;
        caller::principal(&response.map_err(|error| error.to_string())?)
    }
}

/// What a role is assumed with.
fn base(
    selection: &Selection,
    keys: Option<&Keys>,
    link: Option<Link>,
    role: &RoleRequest,
) -> Result<Base, BrokerError> {
    let missing = |text: String| BrokerError::Token { text };
    match &role.role().web_identity {
        None => match (keys, link) {
            (Some(keys), _) => Ok(Base::Keys(keys.clone())),
            (None, Some(link)) => {
                let (name, remedy) = selection.describe();
                Ok(Base::Owner { link, name, remedy })
            }
            (None, None) => Err(BrokerError::Ended),
        },
        Some(WebIdentity::GithubActions { audience }) => {
            let request = selection.github.clone().ok_or_else(|| {
                missing(
                    "ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN are not set where the session \
                     was started: give the job `permissions: id-token: write`"
                        .to_owned(),
                )
            })?;
            let audience = audience.clone();
            Ok(Base::Github { request, audience })
        }
        Some(WebIdentity::Variable(name)) => {
            let token = selection.tokens.get(name).cloned();
            Ok(Base::Given(token.ok_or_else(|| {
                missing(format!(
                    "{name} is not set where the session was started, or guard run was not told of it: pass \
                     --web-identity-variable {name}"
                ))
            })?))
        }
        Some(WebIdentity::File(_) | WebIdentity::Command(_)) => match (role.token_from(), link) {
            (Some(from), Some(link)) => Ok(Base::Token { link, from }),
            _ => Err(BrokerError::Ended),
        },
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
            _ => match self.fetch(&mut refresh.origin).await {
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

    async fn fetch(&self, origin: &mut Origin) -> Result<Credentials, BrokerError> {
        let unavailable = |text: String| BrokerError::Unavailable {
            name: self.name.clone(),
            text,
            remedy: self.remedy.clone(),
        };
        let credentials = match origin {
            Origin::Fixed => return Err(BrokerError::Ended),
            Origin::Owner(link) => link.fetch().await?.map_err(unavailable)?,
            Origin::Role(role) => {
                let (credentials, principal) = role.assume().await?;
                self.set_principal(principal);
                credentials
            }
        };
        if lasts(&credentials, USABLE) {
            Ok(credentials)
        } else {
            Err(unavailable("what it gave has expired".to_owned()))
        }
    }

    fn set_principal(&self, principal: Principal) {
        *self
            .principal
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(principal);
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
