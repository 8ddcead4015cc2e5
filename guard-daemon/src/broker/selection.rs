//! What the session's owner asked for: flags, and the part of the environment that chooses credentials.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::resolver;
use super::wire::Handed;
use crate::policy::GITLAB_VARIABLE;

/// The user whose credentials a session uses and as whom they are read. Never taken from what a client
/// says: it is the peer of the control socket, or who started `guard run`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group id. Supplementary groups are dropped.
    pub gid: u32,
}

/// What `guard run` saw in the invoking user's environment and flags, to choose the source.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// `--aws-profile`, else `AWS_PROFILE` or `AWS_DEFAULT_PROFILE`.
    pub profile: Option<String>,
    /// `--region`, else `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// The invoking user's home, for `~/.aws`.
    pub home: Option<PathBuf>,
    /// `AWS_CONFIG_FILE`.
    pub config_file: Option<PathBuf>,
    /// `AWS_SHARED_CREDENTIALS_FILE`.
    pub credentials_file: Option<PathBuf>,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, where set. They are the source
    /// unless a profile is selected; a profile may name them (`credential_source = Environment`).
    pub keys: Option<Keys>,
    /// `AWS_BEARER_TOKEN_BEDROCK`, where set.
    #[serde(default)]
    pub bearer: Option<BearerToken>,
    /// `ACTIONS_ID_TOKEN_REQUEST_URL` and `ACTIONS_ID_TOKEN_REQUEST_TOKEN`, where set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GithubRequest>,
    /// OpenID Connect tokens by the variables that hold them: `GITLAB_OIDC_TOKEN`, and what a flag names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, BearerToken>,
    /// Others of `VARIABLES`, where set.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// A token that authenticates whoever holds it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub struct BearerToken(String);

/// How a job of GitHub Actions gets its OpenID Connect tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GithubRequest {
    /// The endpoint.
    pub url: String,
    /// What authenticates the job there.
    pub token: BearerToken,
}

/// Static keys from the environment.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The session token, for temporary keys.
    pub session_token: Option<String>,
}

/// `AWS_PROFILE` and `AWS_DEFAULT_PROFILE` name different profiles.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "AWS_PROFILE is {profile:?} and AWS_DEFAULT_PROFILE is {default:?}, and AWS's tools do not agree which of them counts; \
     unset one, or pass --aws-profile"
)]
pub struct ProfilesDiffer {
    profile: String,
    default: String,
}

/// The one of them that is a secret.
const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

/// `PATH` where it is not set.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Variables besides those with a field of their own that tell the usual chain where credentials are, and
/// how to get there. No other variable reaches the resolver.
const VARIABLES: [&str; 18] = [
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "https_proxy",
    "no_proxy",
];

/// What the role of a web identity takes, of which a flag's profile makes nothing, as in the AWS CLI.
const WEB_IDENTITY: [&str; 2] = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];

impl Selection {
    /// Reads the environment through `variable`; the flags, where given, come first.
    ///
    /// # Errors
    /// No flag says which of two profiles it is.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
        profile: Option<String>,
        region: Option<String>,
        home: Option<PathBuf>,
    ) -> Result<Self, ProfilesDiffer> {
        // An empty variable means an unset one to every SDK.
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let keys = set("AWS_ACCESS_KEY_ID").zip(set("AWS_SECRET_ACCESS_KEY"));
        let by_flag = profile.is_some();
        let profile = match (profile, set("AWS_PROFILE"), set("AWS_DEFAULT_PROFILE")) {
            (None, Some(profile), Some(default)) if profile != default => {
                return Err(ProfilesDiffer { profile, default });
            }
            // boto3 reads both, other SDKs the first alone.
            (flag, profile, default) => flag.or(profile).or(default),
        };
        Ok(Self {
            profile,
            region: region
                .or_else(|| set("AWS_REGION"))
                .or_else(|| set("AWS_DEFAULT_REGION")),
            home,
            config_file: set("AWS_CONFIG_FILE").map(PathBuf::from),
            credentials_file: set("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from),
            keys: keys.map(|(access_key_id, secret_access_key)| Keys {
                access_key_id,
                secret_access_key,
                session_token: set("AWS_SESSION_TOKEN"),
            }),
            bearer: set("AWS_BEARER_TOKEN_BEDROCK").map(BearerToken),
            github: set("ACTIONS_ID_TOKEN_REQUEST_URL")
                .zip(set("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
                .map(|(url, token)| GithubRequest {
                    url,
                    token: BearerToken(token),
                }),
            tokens: set(GITLAB_VARIABLE)
                .map(|token| (GITLAB_VARIABLE.to_owned(), BearerToken(token)))
                .into_iter()
                .collect(),
            variables: VARIABLES
                .into_iter()
                .filter(|name| !(by_flag && WEB_IDENTITY.contains(name)))
                .filter_map(|name| Some((name.to_owned(), set(name)?)))
                .collect(),
        })
    }

    /// What the person who starts the session should know of it.
    pub(super) fn warning(&self) -> Option<String> {
        let profile = self.profile.as_ref()?;
        WEB_IDENTITY
            .iter()
            .all(|name| self.variables.contains_key(*name))
            .then(|| {
                format!(
                    "the session has the credentials of profile {profile:?}, as AWS_PROFILE says; the AWS CLI may take \
                     those of AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, which are set, too: unset what is not meant"
                )
            })
    }

    /// The configuration files that the usual chain reads, as the resolver finds them, whether or not they exist.
    pub fn files(&self) -> Vec<PathBuf> {
        let home = self.home.as_deref();
        let file = |named: &Option<PathBuf>, usual: &str| match (named, home) {
            (Some(named), _) => Some(resolver::expand(named.as_os_str(), home)),
            (None, home) => home.map(|home| home.join(".aws").join(usual)),
        };
        let config = file(&self.config_file, "config");
        let credentials = file(&self.credentials_file, "credentials");
        let all = config.into_iter().chain(credentials);
        all.map(|path| Path::new(resolver::DIRECTORY).join(path))
            .collect()
    }

    /// The whole environment of the resolver. No secret is in it: a `credential_process` inherits it, and it is shown
    /// to whoever may look at the process.
    pub(super) fn environment(&self) -> BTreeMap<String, std::ffi::OsString> {
        let mut environment = BTreeMap::new();
        for (name, value) in &self.variables {
            if VARIABLES.contains(&name.as_str()) && name != CONTAINER_TOKEN {
                environment.insert(name.clone(), value.into());
            }
        }
        if self.variables.contains_key(CONTAINER_TOKEN) {
            environment
                .entry(format!("{CONTAINER_TOKEN}_FILE"))
                .or_insert_with(|| resolver::TOKEN_FILE.into());
        }
        let mut set = |name: &str, value: Option<std::ffi::OsString>| {
            if let Some(value) = value {
                environment.insert(name.to_owned(), value);
            }
        };
        // Guard and the shell must look in the same places.
        let path = self
            .variables
            .get("PATH")
            .map_or(USUAL_PATH, String::as_str);
        set("PATH", Some(path.into()));
        set("HOME", self.home.as_ref().map(Into::into));
        set("AWS_PROFILE", self.profile.as_ref().map(Into::into));
        set("AWS_REGION", self.region.as_ref().map(Into::into));
        set("AWS_CONFIG_FILE", self.config_file.as_ref().map(Into::into));
        set(
            "AWS_SHARED_CREDENTIALS_FILE",
            self.credentials_file.as_ref().map(Into::into),
        );
        environment
    }

    /// What the resolver is told over its pipe.
    pub(super) fn handed(&self) -> Handed {
        Handed {
            // Without a profile the keys are the source, and nothing else needs them.
            keys: self.keys.clone().filter(|_| self.profile.is_some()),
            container_token: self.variables.get(CONTAINER_TOKEN).cloned(),
            token: None,
            programs: None,
        }
    }

    /// What the source is called, and what its owner can do when it gives nothing.
    pub(super) fn describe(&self) -> (String, String) {
        match (&self.profile, &self.keys) {
            (Some(profile), _) => (
                format!("profile {profile:?}"),
                format!(
                    "check `aws sts get-caller-identity --profile {profile}` outside guard, and for IAM \
                     Identity Center run `aws sso login --profile {profile}`"
                ),
            ),
            (None, Some(_)) => (
                "AWS_ACCESS_KEY_ID in the environment".to_owned(),
                "set new keys and start the session again".to_owned(),
            ),
            (None, None) => (
                "the default profile, web identity, container or instance metadata".to_owned(),
                "set AWS_PROFILE or pass --aws-profile, or run `aws configure`".to_owned(),
            ),
        }
    }
}

impl Keys {
    pub(super) fn credentials(&self) -> Credentials {
        Credentials::new(
            self.access_key_id.clone(),
            self.secret_access_key.clone(),
            self.session_token.clone(),
            None,
            "environment",
        )
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Selection")
            .field("profile", &self.profile)
            .field("region", &self.region)
            .field("home", &self.home)
            .field("config_file", &self.config_file)
            .field("credentials_file", &self.credentials_file)
            .field("keys", &self.keys)
            .field("bearer", &self.bearer)
            .field("github", &self.github)
            .field("tokens", &self.tokens)
            // One of them may be a container's token.
            .field("variables", &names)
            .finish()
    }
}

impl BearerToken {
    /// A token, which is not looked at.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token, to be sent and never to be shown.
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken")
    }
}

impl Drop for BearerToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(pairs: &[(&str, &str)], profile: Option<&str>) -> Selection {
        let find = |name: &str| {
            pairs
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Selection::from_environment(
            find,
            profile.map(str::to_owned),
            None,
            Some("/home/u".into()),
        )
        .unwrap()
    }

    #[test]
    fn a_profile_of_either_variable_counts_and_no_contradiction() {
        let both = |profile: &str, default: &str, flag: Option<&str>| {
            let find = |name: &str| match name {
                "AWS_PROFILE" => Some(profile.to_owned()),
                "AWS_DEFAULT_PROFILE" => Some(default.to_owned()),
                _ => None,
            };
            let selection = Selection::from_environment(find, flag.map(str::to_owned), None, None);
            selection.map(|it| it.profile.unwrap_or_default())
        };
        assert_eq!(both("a", "", None).unwrap(), "a");
        assert_eq!(both("", "b", None).unwrap(), "b");
        assert_eq!(both("a", "a", None).unwrap(), "a");
        assert_eq!(both("a", "b", Some("c")).unwrap(), "c");
        let error = both("a", "b", None).unwrap_err().to_string();
        assert!(
            error.contains("\"a\"") && error.contains("\"b\""),
            "{error}"
        );
    }

    #[test]
    fn what_the_cli_may_choose_otherwise_is_told() {
        let web = [
            ("AWS_ROLE_ARN", "arn"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ];
        assert_eq!(selection(&web, None).warning(), None);
        assert_eq!(selection(&web, Some("flag")).warning(), None);
        let variable = [&web[..], &[("AWS_DEFAULT_PROFILE", "p")]].concat();
        assert!(
            selection(&variable, None)
                .warning()
                .unwrap()
                .contains("\"p\"")
        );
    }

    #[test]
    fn flags_come_before_variables_and_empty_ones_are_unset() {
        let pairs = [
            ("AWS_PROFILE", "variable"),
            ("AWS_REGION", ""),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("LD_PRELOAD", "x"),
            ("AWS_ROLE_ARN", "arn"),
        ];
        let from_flag = selection(&pairs, Some("flag"));
        assert_eq!(from_flag.profile.as_deref(), Some("flag"));
        let from_variable = selection(&pairs, None);
        assert_eq!(from_variable.profile.as_deref(), Some("variable"));
        assert_eq!(from_variable.region.as_deref(), Some("eu-west-1"));
        assert!(from_variable.keys.is_none());
        assert_eq!(
            from_variable.variables.keys().collect::<Vec<_>>(),
            ["AWS_ROLE_ARN"]
        );
    }

    #[test]
    fn the_files_are_those_that_the_resolver_reads() {
        let files = |pairs: &[(&str, &str)]| selection(pairs, None).files();
        let usual = ["/home/u/.aws/config", "/home/u/.aws/credentials"].map(PathBuf::from);
        assert_eq!(files(&[]), usual);
        let named = [
            ("AWS_CONFIG_FILE", "~/c"),
            ("AWS_SHARED_CREDENTIALS_FILE", "k"),
        ];
        let resolved = ["/home/u/c", "/k"].map(PathBuf::from);
        assert_eq!(files(&named), resolved);
    }

    #[test]
    fn the_resolver_gets_what_it_needs_and_no_more() {
        let pairs = [
            ("AWS_ACCESS_KEY_ID", "AKIA"),
            ("AWS_SECRET_ACCESS_KEY", "s3cret"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "s3cret too"),
            ("PATH", "/bin"),
        ];
        let mut selected = selection(&pairs, None);
        selected
            .variables
            .insert("LD_PRELOAD".to_owned(), "x".to_owned());
        let names = |selection: &Selection| selection.environment().into_keys().collect::<Vec<_>>();
        assert_eq!(
            names(&selected),
            ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "HOME", "PATH"]
        );
        assert!(selected.handed().keys.is_none());
        selected.profile = Some("p".to_owned());
        assert_eq!(
            names(&selected),
            [
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                "AWS_PROFILE",
                "HOME",
                "PATH"
            ]
        );
        let environment = selected.environment();
        assert!(!format!("{environment:?}").contains("s3cret"));
        let handed = selected.handed();
        assert_eq!(handed.keys.as_ref().unwrap().secret_access_key, "s3cret");
        assert_eq!(handed.container_token.as_deref(), Some("s3cret too"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let selected = selection(
            &[
                ("AWS_ACCESS_KEY_ID", "AKIA"),
                ("AWS_SECRET_ACCESS_KEY", "s3cret"),
                ("AWS_SESSION_TOKEN", "s3cret"),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "s3cret"),
                ("AWS_BEARER_TOKEN_BEDROCK", "s3cret"),
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://pipelines.example"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "s3cret"),
                ("GITLAB_OIDC_TOKEN", "s3cret"),
            ],
            None,
        );
        assert!(selected.github.is_some() && selected.tokens.len() == 1);
        assert!(!format!("{selected:?}").contains("s3cret"));
    }
}
