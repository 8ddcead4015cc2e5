//! The lines between the daemon and a resolver: one JSON object each. What it is handed comes first.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Keys, Program};

/// Bytes of a line. A session token is some kilobytes.
pub(super) const LINE_BYTES: usize = 256 * 1024;

/// What a resolver is told. What is secret of it must not stand in its environment.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handed {
    /// The owner's environment keys, for `credential_source = Environment`.
    pub(super) keys: Option<Keys>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub(super) container_token: Option<String>,
    /// It gives tokens from there; credentials otherwise.
    pub(super) token: Option<TokenFrom>,
    /// The programs as they were when the session started, where an earlier daemon served it.
    pub(super) programs: Option<Vec<Program>>,
}

/// What a resolver is asked: the next token or credentials.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) number: u64,
}

/// Where an OpenID Connect token comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TokenFrom {
    /// A file.
    File(PathBuf),
    /// What a program prints.
    Command(Vec<String>),
}

/// What a resolver says.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) enum Reply {
    /// Once, first: the configuration is read.
    Ready {
        region: Option<String>,
        /// What runs for what it gives.
        programs: Vec<Program>,
    },
    /// Once, instead: the configuration cannot be used.
    Refused { text: String },
    /// To the request of that number.
    Credentials { number: u64, credentials: Given },
    /// To the request of that number.
    Token { number: u64, token: Secret },
    /// To the request of that number.
    Failed { number: u64, text: String },
}

/// A token as it goes over the pipe.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Secret(pub(super) String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Credentials as they go over the pipe.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    /// Seconds since the epoch.
    expiry: Option<u64>,
    account: Option<String>,
}

impl From<&Credentials> for Given {
    fn from(credentials: &Credentials) -> Self {
        let seconds = |at: SystemTime| {
            at.duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs())
        };
        Self {
            access_key_id: credentials.access_key_id().to_owned(),
            secret_access_key: credentials.secret_access_key().to_owned(),
            session_token: credentials.session_token().map(str::to_owned),
            expiry: credentials.expiry().map(seconds),
            account: credentials
                .account_id()
                .map(|account| account.as_str().to_owned()),
        }
    }
}

impl From<&Given> for Credentials {
    fn from(given: &Given) -> Self {
        let mut builder = Self::builder()
            .access_key_id(&given.access_key_id)
            .secret_access_key(&given.secret_access_key)
            .provider_name("owner");
        builder.set_session_token(given.session_token.clone());
        // A time past what the clock can hold is as good as none.
        builder.set_expiry(
            given
                .expiry
                .and_then(|s| UNIX_EPOCH.checked_add(Duration::from_secs(s))),
        );
        builder.set_account_id(given.account.clone().map(Into::into));
        builder.build()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        self.container_token.zeroize();
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}
