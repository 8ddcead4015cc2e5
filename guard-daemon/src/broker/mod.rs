//! Credentials: the dummies a session signs with, and the real ones that leave this host.

/// What the confined tree signs with: valid in form, worthless outside this session.
#[derive(Clone)]
pub struct DummyCredentials {
    /// 20 characters, `AKIA…`, random.
    pub access_key_id: String,
    /// 40 characters, random.
    pub secret_access_key: String,
}

/// Where a session's real credentials come from.
#[derive(Clone)]
pub struct Source {}

/// Why real credentials could not be had; the text says which source failed and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {}

/// What `guard run` saw in the invoking user's environment and flags, to choose the source.
#[derive(Clone, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// `--aws-profile`, else `AWS_PROFILE`.
    pub profile: Option<String>,
    /// `--region`, else `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// The invoking user's home, for `~/.aws`.
    pub home: Option<std::path::PathBuf>,
    /// `AWS_CONFIG_FILE`.
    pub config_file: Option<std::path::PathBuf>,
    /// `AWS_SHARED_CREDENTIALS_FILE`.
    pub credentials_file: Option<std::path::PathBuf>,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, where set (and no profile is).
    pub keys: Option<Keys>,
}

/// Static keys from the environment.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
pub struct Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The session token, for temporary keys.
    pub session_token: Option<String>,
}

impl DummyCredentials {
    /// Draws new ones.
    pub fn random() -> Self {
        unimplemented!("contract")
    }
}

impl Source {
    /// The source a selection means, by the usual chain.
    pub async fn new(_selection: &Selection) -> Result<Self, BrokerError> {
        unimplemented!("contract")
    }

    /// Credentials that are good for at least a few minutes; cached, one refresh at a time.
    pub async fn credentials(&self) -> Result<aws_credential_types::Credentials, BrokerError> {
        unimplemented!("contract")
    }

    /// The account of the credentials, if it is known without a call.
    pub fn account(&self) -> Option<String> {
        unimplemented!("contract")
    }
}
