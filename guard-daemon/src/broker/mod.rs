//! Credentials: the dummies a session signs with, and the real ones that leave this host.
//!
//! A session's real credentials are what its owner would get on this host outside guard, or those of a role that is
//! assumed with them. Whatever the owner's profile names (files, `credential_process`, the SSO cache) is read and run
//! as the owner, never as the daemon, in a `resolver` process that starts before the confined tree does and takes its
//! configuration once: the tree cannot change afterwards where credentials come from. A `program` that it runs must
//! stay as it was; `process` finds the one of a profile, `printed` runs it as a `child`.
//! `link` is the daemon's end of it, `selection` what the owner asked for, `role` what STS is asked, `token` what that
//! may take in place of credentials, `caller` finds whose they are. What leaves goes the `way` of the session.

mod caller;
mod child;
mod dummy;
mod issued;
mod link;
mod printed;
mod process;
mod program;
mod resolver;
mod role;
mod selection;
mod token;
mod way;
mod wire;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

pub use caller::Principal;
pub use dummy::DummyCredentials;
pub use issued::{Issue, Issued, LONGEST_CHAIN, Lookup, Minted, MintedFor, StandsFor};
pub use program::Program;
pub use resolver::resolver_if_asked;
pub use role::RoleRequest;
pub use selection::{BearerToken, GithubRequest, Keys, Owner, ProfilesDiffer, Selection};
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
    /// Gone with the last of them: what is being fetched then is nobody's.
    _used: Arc<watch::Sender<()>>,
}

struct Shared {
    /// What the source is called in errors.
    name: String,
    remedy: String,
    region: Option<String>,
    warnings: Vec<String>,
    programs: Vec<Program>,
    /// Read on every exchange.
    current: RwLock<Current>,
    /// Held by the one that refreshes.
    refresh: Arc<Mutex<Refresh>>,
    way: Arc<dyn Way>,
    /// Held by the one that asks; when the last attempt failed.
    ask: Mutex<Option<Instant>>,
}

/// What is at hand.
#[derive(Default)]
struct Current {
    credentials: Option<Credentials>,
    /// Whose just these are, where somebody said so: the next ones of the owner's may be another's.
    principal: Option<Principal>,
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
    Owner(Box<Link>),
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
    /// The credentials changed hands.
    #[error(
        "the session's credentials were renewed while this call was decided, and are not known to be the same \
         principal's; make the call again"
    )]
    Renewed,
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
    /// tree starts, inside a Tokio runtime. Where it has started, for an earlier daemon, `programs` are those that
    /// this one knew.
    pub async fn new(
        selection: &Selection,
        owner: Owner,
        role: Option<RoleRequest>,
        way: Arc<dyn Way>,
        programs: Option<Vec<Program>>,
    ) -> Result<Self, BrokerError> {
        let mut launch = Launch::own(selection, owner);
        launch.handed.programs = programs;
        Self::launch(selection, launch, role, way).await
    }

    async fn launch(
        selection: &Selection,
        mut launch: Launch,
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
        let (used, ended) = watch::channel(());
        launch.handed.token = role.as_ref().and_then(RoleRequest::token_from);
        let link = match (asked, &selection.region) {
            (true, _) => Some(Link::start(launch, ended).await?),
            (false, Some(_)) => None,
            // Now the files only tell the region.
            (false, None) => match Link::start(launch, ended).await {
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
        let programs = link.as_ref().map(Link::programs).unwrap_or_default();
        let programs = programs.to_vec();
        let mut warnings = role.as_ref().map_or_else(Vec::new, RoleRequest::warnings);
        warnings.extend(program::warnings(&programs));
        warnings.extend(selection.warning().filter(|_| token.is_none()));
        let origin = match role {
            None => link.map_or(Origin::Fixed, |link| Origin::Owner(Box::new(link))),
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
                programs,
                current: RwLock::new(Current {
                    credentials: fixed,
                    principal: None,
                }),
                refresh: Arc::new(Mutex::new(Refresh { origin, last: None })),
                way,
                ask: Mutex::new(None),
            }),
            _used: Arc::new(used),
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

    /// The programs that run outside the session for its credentials, as they were when it started.
    pub fn programs(&self) -> &[Program] {
        &self.shared.programs
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

    /// As `credentials`, for a call that was decided as one of `decided`'s: an error where they are not, or no longer,
    /// the same principal's.
    pub async fn credentials_of(&self, decided: &[Principal]) -> Result<Credentials, BrokerError> {
        let credentials = self.credentials().await?;
        let Some(whole) = decided.iter().map(|it| it.arn.is_some()).max() else {
            return Ok(credentials);
        };
        let now = self.principal_of(&credentials, whole).await;
        let same = |before: &Principal| {
            now.as_ref().is_some_and(|now| {
                before.account == now.account && (before.arn.is_none() || before.arn == now.arn)
            })
        };
        if decided.iter().all(same) {
            Ok(credentials)
        } else {
            Err(BrokerError::Renewed)
        }
    }

    /// Whose the credentials are that are used now, as far as that is known without a call: the account may be, and
    /// the ARN not.
    pub fn principal(&self) -> Option<Principal> {
        let credentials = self.shared.current(USABLE)?;
        self.shared.known(&credentials)
    }

    /// Whose the credentials are; asks STS (GetCallerIdentity, which no policy can deny) where the account
    /// is not known, or with `whole` the ARN, once for each set of credentials. What is known without it where that
    /// fails; it is then not tried again for a minute.
    pub async fn resolve_principal(&self, whole: bool) -> Option<Principal> {
        match self.credentials().await {
            Ok(credentials) => self.principal_of(&credentials, whole).await,
            Err(error) => {
                // They are asked for again soon enough, and with them this.
                tracing::warn!(%error, "it is not known whose the session's credentials are");
                None
            }
        }
    }

    async fn principal_of(&self, credentials: &Credentials, whole: bool) -> Option<Principal> {
        let enough = |it: &Principal| !whole || it.arn.is_some();
        let known = self.shared.known(credentials);
        if known.as_ref().is_some_and(enough) {
            return known;
        }
        let mut failed = self.shared.ask.lock().await;
        let known = self.shared.known(credentials);
        if known.as_ref().is_some_and(enough)
            || failed.is_some_and(|at| at.elapsed() < ACCOUNT_RETRY_GAP)
        {
            return known;
        }
        match self.ask_principal(credentials).await {
            Ok(principal) => {
                self.shared.set_principal(credentials, principal.clone());
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
        Some(WebIdentity::File(_) | WebIdentity::Command(_)) => {
            let link = link.ok_or(BrokerError::Ended)?;
            Ok(Base::Token { link })
        }
    }
}

impl Shared {
    fn current(&self, left: Duration) -> Option<Credentials> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current
            .credentials
            .as_ref()
            .filter(|credentials| lasts(credentials, left))
            .cloned()
    }

    /// Whose credentials are, as far as it is known.
    fn known(&self, credentials: &Credentials) -> Option<Principal> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let told = current.principal.as_ref();
        let told = told.filter(|_| current.are(credentials)).cloned();
        told.or_else(|| {
            Some(Principal {
                account: credentials.account_id()?.as_str().to_owned(),
                arn: None,
                user_id: None,
            })
        })
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
                Ok((credentials, principal)) => {
                    refresh.last = Some((Instant::now(), None));
                    self.replace(credentials.clone(), principal);
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

    /// New credentials, and whose they are where they came with that.
    async fn fetch(
        &self,
        origin: &mut Origin,
    ) -> Result<(Credentials, Option<Principal>), BrokerError> {
        let unavailable = |text: String| BrokerError::Unavailable {
            name: self.name.clone(),
            text,
            remedy: self.remedy.clone(),
        };
        let (credentials, principal) = match origin {
            Origin::Fixed => return Err(BrokerError::Ended),
            Origin::Owner(link) => (link.fetch().await?.map_err(unavailable)?, None),
            Origin::Role(role) => {
                let (credentials, principal) = role.assume().await?;
                (credentials, Some(principal))
            }
        };
        if lasts(&credentials, USABLE) {
            Ok((credentials, principal))
        } else {
            Err(unavailable("what it gave has expired".to_owned()))
        }
    }

    fn replace(&self, credentials: Credentials, principal: Option<Principal>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if principal.is_some() || !current.are(&credentials) {
            current.principal = principal;
        }
        current.credentials = Some(credentials);
    }

    /// Keeps whose credentials are, unless others have taken their place.
    fn set_principal(&self, credentials: &Credentials, principal: Principal) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.are(credentials) {
            current.principal = Some(principal);
        }
    }
}

impl Current {
    /// Whether these have the key of those: an access key is one principal's for ever.
    fn are(&self, credentials: &Credentials) -> bool {
        let own = self.credentials.as_ref();
        own.is_some_and(|own| own.access_key_id() == credentials.access_key_id())
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
