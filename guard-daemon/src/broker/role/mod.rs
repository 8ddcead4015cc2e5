//! A role's credentials, from STS: the call, its retries, and what to do when STS refuses.

mod answer;
mod naming;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::Response;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use self::answer::{Assumed, Refused};
use self::naming::Naming;
use self::request::Evidence;
use super::link::Link;
use super::selection::GithubRequest;
use super::way::{Way, WayError};
use super::wire::TokenFrom;
use super::{BearerToken, BrokerError, Keys, Principal, caller, token};
use crate::policy::{Extent, NoSessionPolicy, Profile, Role, SessionPolicy, SessionPolicyMode};
use crate::record::entry::{Assumes, Event, OwnCall};
use crate::session::{Identity, SessionId};

/// How long one set of credentials may take of STS, with all retries.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between tries; each is shortened by up to half, at random.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_secs(4),
];

/// A role, and everything that is said to STS of the session that assumes it.
#[derive(Clone, Debug)]
pub struct RoleRequest {
    role: Role,
    naming: Naming,
    policy: Result<SessionPolicy, NoSessionPolicy>,
}

impl RoleRequest {
    /// What a session says of itself. An error where its profile's policy must go along and cannot.
    pub fn new(
        role: Role,
        id: &SessionId,
        identity: &Identity,
        profile: &Profile,
    ) -> Result<Self, BrokerError> {
        let policy = profile.session_policy();
        if role.session_policy == SessionPolicyMode::Required {
            match &policy {
                Ok(policy) if policy.extent == Extent::Whole => {}
                Err(NoSessionPolicy::Unlimited) => {}
                Ok(_) => {
                    let why =
                        "its statements do not fit in 2,048 characters, only their actions do";
                    return Err(BrokerError::SessionPolicy(why.to_owned()));
                }
                Err(why) => return Err(BrokerError::SessionPolicy(why.to_string())),
            }
        }
        Ok(Self {
            naming: Naming::of(id, identity, &role),
            role,
            policy,
        })
    }

    /// What the person who starts the session should know, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let auto = self.role.session_policy == SessionPolicyMode::Auto;
        let warning = match &self.policy {
            Ok(policy) if policy.extent == Extent::Actions => {
                "the session policy that AWS enforces says the profile's actions alone, since all of it is too long; \
                 guard enforces the rest"
                    .to_owned()
            }
            Err(why @ NoSessionPolicy::TooLong(_)) => {
                format!("AWS enforces no session policy, only guard does: {why}")
            }
            _ => return Vec::new(),
        };
        if auto { vec![warning] } else { Vec::new() }
    }

    /// Which token the resolver is asked for; `None` where AWS credentials or something at hand do.
    pub(super) fn token_from(&self) -> Option<TokenFrom> {
        use crate::policy::WebIdentity;

        match self.role.web_identity.as_ref()? {
            WebIdentity::File(path) => Some(TokenFrom::File(path.clone())),
            WebIdentity::Command(words) => Some(TokenFrom::Command(words.clone())),
            WebIdentity::GithubActions { .. } | WebIdentity::Variable(_) => None,
        }
    }

    pub(super) fn role(&self) -> &Role {
        &self.role
    }
}

/// What a role is assumed with.
pub(super) enum Base {
    /// Keys that do not change.
    Keys(Keys),
    /// What the owner's configuration gives.
    Owner {
        link: Link,
        /// As errors name it, and what its owner can do.
        name: String,
        remedy: String,
    },
    /// A token that the resolver reads.
    Token { link: Link },
    /// A token of GitHub's endpoint.
    Github {
        request: GithubRequest,
        audience: String,
    },
    /// A token that does not change.
    Given(BearerToken),
}

/// Gives a role's credentials again and again.
pub(super) struct Assuming {
    request: RoleRequest,
    base: Base,
    way: Arc<dyn Way>,
    region: Option<String>,
    patience: Duration,
    pauses: [Duration; 3],
    /// STS did not take the policy, so it stays out.
    without_policy: bool,
}

/// Why one try gave nothing.
enum Failure {
    /// STS said so.
    Refused(Refused),
    /// STS said nothing.
    Unreached(WayError),
    /// It is not worth another try.
    Final(BrokerError),
}

/// What a role is assumed with, for one flight.
enum Held {
    Credentials(Credentials),
    Token(Zeroizing<String>),
}

impl Assuming {
    pub(super) fn new(
        request: RoleRequest,
        base: Base,
        way: Arc<dyn Way>,
        region: Option<String>,
    ) -> Self {
        Self {
            request,
            base,
            way,
            region,
            patience: PATIENCE,
            pauses: PAUSES,
            without_policy: false,
        }
    }

    #[cfg(test)]
    pub(super) fn hurried(&mut self, patience: Duration) {
        self.patience = patience;
        self.pauses = [Duration::from_millis(1); 3];
    }

    /// New credentials, and whose they are. What passes is tried again, for 15 s at the most; what the role is assumed
    /// with has a time of its own before that.
    pub(super) async fn assume(&mut self) -> Result<(Credentials, Principal), BrokerError> {
        let held = self.held().await?;
        let mut tries = Tries::new(self.patience, self.pauses);
        loop {
            let failure = match self.ask(&held, tries.deadline).await {
                Ok(assumed) => return self.keep(assumed).await,
                Err(failure) => failure,
            };
            if let Failure::Refused(refused) = &failure
                && self.policy().is_some()
                && is_about_policy(refused)
                && self.request.role.session_policy == SessionPolicyMode::Auto
            {
                self.drop_policy(refused).await;
                continue;
            }
            if !(failure.passes() && tries.again(&self.describe(&failure)).await) {
                return Err(self.explain(failure));
            }
        }
    }

    /// What the role is assumed with now: tokens and credentials expire, so they are read anew.
    async fn held(&mut self) -> Result<Held, BrokerError> {
        let unavailable = |text: String| BrokerError::Token { text };
        match &mut self.base {
            Base::Keys(keys) => Ok(Held::Credentials(keys.credentials())),
            Base::Owner { link, name, remedy } => {
                let credentials = link.fetch().await?;
                let unavailable = |text| BrokerError::Unavailable {
                    name: name.clone(),
                    text,
                    remedy: remedy.clone(),
                };
                Ok(Held::Credentials(credentials.map_err(unavailable)?))
            }
            Base::Token { link } => Ok(Held::Token(link.token().await?.map_err(unavailable)?)),
            Base::Given(token) => {
                let checked = token::checked(token.secret());
                Ok(Held::Token(checked.map_err(unavailable)?))
            }
            Base::Github { request, audience } => {
                let tries = Tries::new(self.patience, self.pauses);
                let token = github_token(&*self.way, request, audience, tries).await;
                Ok(Held::Token(token.map_err(unavailable)?))
            }
        }
    }

    async fn ask(&self, held: &Held, deadline: Instant) -> Result<Assumed, Failure> {
        let evidence = match held {
            Held::Credentials(credentials) => Evidence::Signed(credentials),
            Held::Token(token) => Evidence::Token(token),
        };
        let request = request::request(
            &self.request.role,
            &self.request.naming,
            self.policy().map(|policy| policy.text.as_str()),
            &evidence,
            self.region.as_deref(),
            SystemTime::now(),
        );
        let request = request.map_err(|error| {
            Failure::Final(self.failed(error.to_string(), "check the region and the credentials"))
        })?;
        let call = OwnCall {
            service: "sts".to_owned(),
            operation: evidence.operation().to_owned(),
            host: request.uri().host().unwrap_or_default().to_owned(),
            signing_key: match held {
                Held::Credentials(credentials) => Some(credentials.access_key_id().to_owned()),
                Held::Token(_) => None,
            },
            assumes: Some(Box::new(self.assumes(&evidence))),
        };
        let late = |_elapsed| WayError {
            text: format!(
                "{} did not answer in time",
                request_host(self.region.as_deref())
            ),
            passing: false,
        };
        let response: Response<Bytes> = timeout_at(deadline, self.way.ask(call, request))
            .await
            .map_err(late)
            .flatten()
            .map_err(Failure::Unreached)?;
        answer::read(evidence.operation(), &response).map_err(Failure::Refused)
    }

    fn assumes(&self, evidence: &Evidence<'_>) -> Assumes {
        let Naming {
            session_name,
            source_identity,
            tags,
        } = &self.request.naming;
        let signed = matches!(evidence, Evidence::Signed(_));
        let policy = self.policy();
        Assumes {
            role: self.request.role.arn.clone(),
            session_name: session_name.clone(),
            source_identity: source_identity.clone().filter(|_| signed),
            tags: if signed {
                tags.iter().cloned().collect()
            } else {
                BTreeMap::new()
            },
            policy_sha256: policy.map(|policy| {
                let digest =
                    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, policy.text.as_bytes());
                hex::encode(digest)
            }),
        }
    }

    /// The session policy that goes along.
    fn policy(&self) -> Option<&SessionPolicy> {
        let wanted =
            self.request.role.session_policy != SessionPolicyMode::Off && !self.without_policy;
        self.request.policy.as_ref().ok().filter(|_| wanted)
    }

    async fn drop_policy(&mut self, refused: &Refused) {
        self.without_policy = true;
        let detail = format!(
            "STS did not take the profile's session policy ({}: {}), so AWS does not enforce it and guard alone does; \
             shorten the profile, or say session_policy = \"required\" to have no credentials instead",
            refused.code, refused.message
        );
        tracing::warn!("{detail}");
        let code = "session-policy-dropped".to_owned();
        self.way.record(Event::Finding { code, detail }).await;
    }

    async fn keep(&self, assumed: Assumed) -> Result<(Credentials, Principal), BrokerError> {
        let event = Event::CredentialsObtained {
            role: self.request.role.arn.clone(),
            arn: assumed.principal.arn.clone().unwrap_or_default(),
            real_key: assumed.credentials.access_key_id().to_owned(),
            expiry: assumed.expiry,
        };
        if self.way.record(event).await {
            return Ok((assumed.credentials, assumed.principal));
        }
        Err(self.failed(
            "they could not be put on record".to_owned(),
            "see the daemon's log",
        ))
    }

    fn describe(&self, failure: &Failure) -> String {
        match failure {
            Failure::Refused(refused) => format!(
                "STS refused {}: {}: {}",
                self.request.role.arn, refused.code, refused.message
            ),
            Failure::Unreached(error) => error.text.clone(),
            Failure::Final(error) => error.to_string(),
        }
    }

    fn explain(&self, failure: Failure) -> BrokerError {
        match failure {
            Failure::Final(error) => error,
            Failure::Unreached(error) => {
                self.failed(error.text, "guard tries again with the next call")
            }
            Failure::Refused(refused) => {
                let remedy = remedy(&refused, &self.request.role);
                self.failed(
                    format!("STS answered {}: {}", refused.code, refused.message),
                    remedy,
                )
            }
        }
    }

    fn failed(&self, text: String, remedy: &str) -> BrokerError {
        BrokerError::Role {
            role: self.request.role.arn.clone(),
            text,
            remedy: remedy.to_owned(),
        }
    }
}

/// A token of GitHub's endpoint. What passes is tried again, as with STS.
async fn github_token(
    way: &dyn Way,
    github: &GithubRequest,
    audience: &str,
    mut tries: Tries,
) -> Result<Zeroizing<String>, String> {
    let request = token::github_request(github, audience)?;
    let call = OwnCall {
        service: "github-actions".to_owned(),
        operation: "IdToken".to_owned(),
        host: request.uri().host().unwrap_or_default().to_owned(),
        signing_key: None,
        assumes: None,
    };
    loop {
        let asked = way.ask(call.clone(), request.clone());
        let (text, passing) = match timeout_at(tries.deadline, asked).await {
            Ok(Ok(response)) => match token::github_answer(&response) {
                Ok(token) => return Ok(token),
                Err(text) => (text, token::github_passes(response.status())),
            },
            Ok(Err(error)) => (error.text, error.passing),
            Err(_elapsed) => (format!("{} did not answer in time", call.host), false),
        };
        if !(passing && tries.again(&text).await) {
            return Err(text);
        }
    }
}

/// The tries that are left of one call.
struct Tries {
    deadline: Instant,
    pauses: std::array::IntoIter<Duration, 3>,
}

impl Tries {
    fn new(patience: Duration, pauses: [Duration; 3]) -> Self {
        Self {
            deadline: Instant::now() + patience,
            pauses: pauses.into_iter(),
        }
    }

    /// Whether it is to be tried again, after a pause that is over by then.
    async fn again(&mut self, failure: &str) -> bool {
        let pause = self.pauses.next().map(jittered);
        let Some(pause) = pause.filter(|pause| Instant::now() + *pause < self.deadline) else {
            return false;
        };
        tracing::warn!("{failure}; trying again");
        tokio::time::sleep(pause).await;
        true
    }
}

impl Failure {
    fn passes(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.passing,
            Self::Unreached(error) => error.passing,
            Self::Final(_) => false,
        }
    }
}

/// Whether STS refuses the policy and not the call.
fn is_about_policy(refused: &Refused) -> bool {
    ["PackedPolicyTooLarge", "MalformedPolicyDocument"].contains(&refused.code.as_str())
}

/// What to do about a refusal.
fn remedy(refused: &Refused, role: &Role) -> &'static str {
    let token = role.web_identity.is_some();
    match refused.code.as_str() {
        "AccessDenied" if refused.message.contains("sts:TagSession") => {
            "allow sts:TagSession in the role's trust policy, or say session_tags = false under [credentials]"
        }
        "AccessDenied" if refused.message.contains("sts:SetSourceIdentity") => {
            "allow sts:SetSourceIdentity in the role's trust policy, or say source_identity = false under [credentials]"
        }
        "AccessDenied" if token => {
            "check the role's trust policy: the provider, sts:AssumeRoleWithWebIdentity, and its conditions on the \
             token's aud and sub"
        }
        "AccessDenied" => {
            "allow sts:AssumeRole in the role's trust policy (with its sts:ExternalId, if it asks for one) and in the \
             policies of the credentials that assume it"
        }
        "PackedPolicyTooLarge" => {
            "session policy and tags are too large together: shorten the profile or the labels, or say session_tags = false"
        }
        "MalformedPolicyDocument" => {
            "IAM does not take the session policy: say session_policy = \"off\" under [credentials], and report it"
        }
        "ExpiredToken" | "ExpiredTokenException" if token => {
            "the OpenID Connect token has expired: see that its source is kept up to date"
        }
        "ExpiredToken" | "ExpiredTokenException" => {
            "the credentials that assume the role have expired: renew them"
        }
        "InvalidIdentityToken" | "IDPRejectedClaim" => {
            "check that IAM has the token's issuer as an OpenID Connect provider with the token's audience"
        }
        "RegionDisabledException" => {
            "activate STS in this region for the account, or choose another region"
        }
        "ValidationError" => {
            "check `duration` under [credentials] against the role's MaxSessionDuration (an hour where one role assumes \
             another)"
        }
        _ if refused.passing => "guard tries again with the next call",
        _ => "check [credentials] in the profile and the role",
    }
}

fn request_host(region: Option<&str>) -> String {
    caller::endpoint(region).0
}

/// Between half of a pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // aws-lc's generator cannot fail once seeded; zero is as good as any.
    let _ = aws_lc_rs::rand::fill(&mut random);
    pause.mul_f64(0.5 + f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX) / 2.0)
}
