//! Who a session is for: what its starter says, what the kernel knows, and whom an OpenID provider vouches for.
//!
//! `starter` is what a client may say, and its bounds; `token` a person's token as it is written; `issuer` a
//! provider with its keys (`keys`), fetched over the gateway's way out; `claims` what a token must say;
//! `error` which check failed. `Identities` puts them together: what it returns is a session's `Identity`.
//! docs/identity.md is the same for users.

mod claims;
mod error;
mod issuer;
mod keys;
mod starter;
mod strict;
mod token;

use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::User;

use crate::config::{IdentityConfig, UpstreamConfig};
use crate::session::{Human, Identity};
use issuer::Issuer;

pub use error::{IdentityError, TokenError};
pub use starter::{Starter, check_agent, check_label, check_reason};
pub use token::{LARGEST_TOKEN, Token};

/// Knows the providers that this host trusts, and makes identities.
#[derive(Debug)]
pub struct Identities {
    config: IdentityConfig,
    issuers: Vec<Issuer>,
}

impl Identities {
    /// Nothing is fetched before a token comes. `upstream` is the way to the providers.
    pub fn new(config: &IdentityConfig, upstream: &UpstreamConfig) -> Self {
        let issuers = config.issuers.iter();
        Self {
            issuers: issuers
                .map(|it| Issuer::new(it.clone(), upstream))
                .collect(),
            config: config.clone(),
        }
    }

    /// The identity of a session that is about to start. `loginuid` is the user that logged in to the process that
    /// starts it, as the kernel knows. A token that does not verify refuses the session, also where none is required.
    pub async fn establish(
        &self,
        starter: Starter,
        loginuid: Option<u32>,
    ) -> Result<Identity, IdentityError> {
        starter.check()?;
        if self.config.require_reason && starter.reason.is_none() {
            return Err(IdentityError::ReasonRequired);
        }
        if self.config.require_agent && starter.agent.is_none() {
            return Err(IdentityError::AgentRequired);
        }
        let human = match &starter.token {
            Some(token) => Some(self.verify(token).await?),
            None if self.config.required => {
                return Err(IdentityError::TokenRequired {
                    issuers: self.names(),
                });
            }
            None => None,
        };
        let uid = starter.uid;
        // The user database may be on the network.
        let user = tokio::task::spawn_blocking(move || user_name(uid)).await;
        Ok(Identity {
            uid,
            user: user.unwrap_or_else(|_| uid.to_string()),
            loginuid,
            host: host(),
            reason: starter.reason,
            command: starter.command,
            human,
            agent: starter.agent,
            labels: starter.labels,
        })
    }

    /// Whom the token is of.
    async fn verify(&self, token: &Token) -> Result<Human, TokenError> {
        let read = token.read()?;
        let named = read.issuer()?;
        let issuer = self
            .issuers
            .iter()
            .find(|issuer| issuer.config().issuer == named);
        let issuer = issuer.ok_or_else(|| TokenError::Issuer {
            issuer: error::shown(named),
            trusted: self.names(),
        })?;
        issuer.verify_signature(&read).await?;
        // By a clock before 1970 no token is valid yet.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        claims::check(&read.claims, issuer.config(), now)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self
            .issuers
            .iter()
            .map(|issuer| issuer.config().issuer.as_str())
            .collect();
        if names.is_empty() {
            "none: /etc/guard/guard.toml has no [[identity.issuer]]".to_owned()
        } else {
            names.join(", ")
        }
    }
}

/// The account's name, or the number where the host knows none.
fn user_name(uid: u32) -> String {
    let user = User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn host() -> String {
    let name = nix::unistd::gethostname().ok();
    name.map_or_else(
        || "unknown".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests;
