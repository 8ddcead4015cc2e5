//! Credentials that a `credential_process` prints
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>).
//!
//! guard runs it itself: the SDK would put what the program writes to its standard error into its own errors, and let
//! one that hangs run on.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::process::Command;
use zeroize::Zeroize;

use super::child::{self, Failure};

/// The shell that runs the command, as in AWS's SDKs.
pub(super) const SHELL: &str = "sh";
/// Bytes that it may print. A session token is some kilobytes.
const PRINTED: usize = 64 * 1024;

/// A `credential_process`.
pub(super) struct Printed {
    /// It may hold secrets.
    pub(super) command: String,
    /// The profile's `aws_account_id`, where the program tells none.
    pub(super) account: Option<String>,
}

/// Why it gave nothing. Nothing of what it printed is in it.
#[derive(Debug, thiserror::Error)]
enum PrintedError {
    #[error("the profile's credential_process: {0}")]
    Failed(#[from] Failure),
    #[error(
        "what the profile's credential_process printed is not a JSON object with Version, AccessKeyId and \
         SecretAccessKey"
    )]
    Unlike,
    #[error("what the profile's credential_process printed is of version {0}, and only 1 is known")]
    Version(u64),
    #[error("the Expiration that the profile's credential_process printed is no time of RFC 3339")]
    Expiration,
}

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    version: u64,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
    account_id: Option<String>,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}

impl Printed {
    async fn credentials(&self) -> Result<Credentials, PrintedError> {
        let mut command = Command::new(SHELL);
        command.args(["-c", &self.command]);
        let bytes = child::printed(command, PRINTED).await?;
        self.parse(&bytes)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Credentials, PrintedError> {
        // serde's own message may quote a value.
        let document: Document =
            serde_json::from_slice(bytes).map_err(|_unlike| PrintedError::Unlike)?;
        if document.version != 1 {
            return Err(PrintedError::Version(document.version));
        }
        let mut builder = Credentials::builder()
            .access_key_id(&document.access_key_id)
            .secret_access_key(&document.secret_access_key)
            .provider_name("credential_process");
        let filled = |text: &Option<String>| text.clone().filter(|it| !it.is_empty());
        builder.set_session_token(filled(&document.session_token));
        let expiration = filled(&document.expiration).map(|it| time(&it));
        builder.set_expiry(expiration.transpose()?);
        let account = filled(&document.account_id).or_else(|| self.account.clone());
        builder.set_account_id(account.map(Into::into));
        Ok(builder.build())
    }
}

fn time(text: &str) -> Result<SystemTime, PrintedError> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(SystemTime::from)
        .map_err(|_invalid| PrintedError::Expiration)
}

impl ProvideCredentials for Printed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let credentials = self.credentials();
        future::ProvideCredentials::new(async move {
            credentials.await.map_err(CredentialsError::provider_error)
        })
    }
}

impl std::fmt::Debug for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Printed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn parse(text: &str) -> Result<Credentials, PrintedError> {
        let account = Some("210987654321".to_owned());
        let command = String::new();
        Printed { command, account }.parse(text.as_bytes())
    }

    #[test]
    fn what_is_printed_is_read_as_documented() {
        let whole = parse(
            r#"{"Version":1,"AccessKeyId":"ASIA","SecretAccessKey":"s","SessionToken":"t",
                "Expiration":"2025-11-24T16:00:00+00:00","AccountId":"123456789012","Other":[1]}"#,
        )
        .unwrap();
        assert_eq!(whole.access_key_id(), "ASIA");
        assert_eq!(whole.secret_access_key(), "s");
        assert_eq!(whole.session_token(), Some("t"));
        let at = UNIX_EPOCH + Duration::from_hours(490_000);
        assert_eq!(whole.expiry(), Some(at));
        assert_eq!(whole.account_id().unwrap().as_str(), "123456789012");

        let least =
            r#"{"Version":1,"AccessKeyId":"AKIA","SecretAccessKey":"s","SessionToken":null}"#;
        let least = parse(least).unwrap();
        assert_eq!((least.session_token(), least.expiry()), (None, None));
        assert_eq!(least.account_id().unwrap().as_str(), "210987654321");
    }

    #[test]
    fn what_is_not_understood_is_not_shown() {
        for odd in [
            "",
            "s3cret",
            "{}",
            r#"{"Version":2,"AccessKeyId":"s3cret","SecretAccessKey":"s3cret"}"#,
            r#"{"Version":"s3cret","AccessKeyId":"a","SecretAccessKey":"s3cret"}"#,
            r#"{"Version":1,"SecretAccessKey":"s3cret"}"#,
            r#"{"Version":1,"AccessKeyId":"a","SecretAccessKey":"s3cret","Expiration":"s3cret"}"#,
        ] {
            let error = parse(odd).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{odd}");
        }
    }
}
