//! `[credentials]`: the role whose credentials a session uses, and how it is assumed.
//!
//! A profile says it, flags of `guard run` may say what the profile leaves open; `role` puts both together and
//! checks what only the whole can tell.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Seconds that an assumed role's credentials may last: STS takes 15 minutes to 12 hours
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
const LIFETIMES: std::ops::RangeInclusive<u64> = 900..=43_200;

/// Words of a command that prints a token, and bytes of each.
const MOST_WORDS: usize = 64;
const LONGEST_WORD: usize = 4096;

/// The audience that AWS's own action for GitHub asks for.
pub(super) const GITHUB_AUDIENCE: &str = "sts.amazonaws.com";

/// The variable that GitLab's documentation puts the job's token in.
pub const GITLAB_VARIABLE: &str = "GITLAB_OIDC_TOKEN";

/// What is said of a session's role; what is `None` was not said.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialTerms {
    /// The role's ARN.
    pub role_arn: Option<String>,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// Seconds that its credentials last: 900 to 43,200; STS's default is an hour.
    pub duration: Option<u64>,
    /// The role session's name; made from the agent and the session where none is said.
    pub session_name: Option<String>,
    /// Whether AWS is told whom the session is for as `SourceIdentity`.
    pub source_identity: Option<bool>,
    /// Whether AWS is told who the session is as session tags.
    pub session_tags: Option<bool>,
    /// Whether these tags go on into roles that the role's credentials assume.
    pub transitive_tags: Option<bool>,
    /// Whether the profile's statements go along as an inline session policy.
    pub session_policy: Option<SessionPolicyMode>,
    /// The OpenID Connect token that the role is assumed with, in the place of AWS credentials.
    pub web_identity: Option<WebIdentity>,
}

/// Whether the profile's statements go along as an inline session policy.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionPolicyMode {
    /// Where IAM's limits allow it, as much as they allow.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// Whole; otherwise there are no credentials.
    Required,
}

/// Where an OpenID Connect token comes from. It is read again for every new set of credentials.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebIdentity {
    /// A file, read as the session's owner.
    File(PathBuf),
    /// What a program prints that runs as the session's owner.
    Command(Vec<String>),
    /// GitHub's token endpoint of the running job.
    GithubActions {
        /// The audience that is asked for.
        audience: String,
    },
    /// A variable of the environment that the session is started from, such as GitLab's `id_tokens` make.
    Variable(String),
}

/// A role to assume: `CredentialTerms`, with everything decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id.
    pub external_id: Option<String>,
    /// Seconds.
    pub duration: Option<u64>,
    /// The name that was chosen for the role session.
    pub session_name: Option<String>,
    /// Whether `SourceIdentity` is set.
    pub source_identity: bool,
    /// Whether session tags are set.
    pub session_tags: bool,
    /// Whether all of them are transitive.
    pub transitive_tags: bool,
    /// Whether an inline session policy goes along.
    pub session_policy: SessionPolicyMode,
    /// With which token, where not with AWS credentials.
    pub web_identity: Option<WebIdentity>,
}

/// What is wrong with what is said of a role, and what to say instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// Not a role's ARN.
    #[error("{0:?} is no role's ARN; write it as \"arn:aws:iam::123456789012:role/name\"")]
    RoleArn(String),
    /// Not an external id.
    #[error(
        "an external id has 2 to 1224 letters, digits and `_+=,.@:/-`; copy it from the role's trust policy"
    )]
    ExternalId,
    /// Not a length of time that STS takes.
    #[error(
        "`duration` is {0}; STS takes 15m to 12h, and at most what the role's MaxSessionDuration says"
    )]
    Duration(String),
    /// Not the name of a role session.
    #[error(
        "{0:?} is no role session name: 2 to 64 letters, digits and `_+=,.@-`; leave it out for AGENT-SESSION"
    )]
    SessionName(String),
    /// A token file that depends on where the daemon runs.
    #[error("{0:?} is not an absolute path; write it from `/` on")]
    TokenFile(PathBuf),
    /// Not a command.
    #[error(
        "`command` is a list of 1 to {MOST_WORDS} words, the program first, none longer than {LONGEST_WORD} bytes"
    )]
    Command,
    /// Not a variable's name.
    #[error(
        "{0:?} is no variable's name: letters, digits and `_`, none of the AWS_ ones that guard reads itself"
    )]
    Variable(String),
    /// Not an audience.
    #[error("{0:?} is no audience: 1 to 256 printable ASCII characters without spaces")]
    Audience(String),
    /// None or several of the ways to a token.
    #[error(
        "`web_identity` is one of {{ token_file = \"/path\" }}, {{ command = [\"program\", …] }}, \
         {{ provider = \"github-actions\" }}, {{ provider = \"gitlab\" }}, {{ provider = \"spiffe\", token_file = \"/path\" }}"
    )]
    WebIdentity,
    /// Something of a role without a role.
    #[error("`{0}` is said without a role; add `role_arn` under [credentials], or pass --role-arn")]
    NoRole(&'static str),
    /// Something that STS does not take along with a token.
    #[error(
        "`{0}` does not go with `web_identity`: AssumeRoleWithWebIdentity takes source identity and tags from the \
         token's own claims and has no external id; remove it, or assume this role from a profile that uses the token"
    )]
    NotWithToken(&'static str),
    /// Transitive tags without tags.
    #[error("`transitive_tags` needs session tags; remove `session_tags = false`")]
    NoTags,
    /// The profile says one thing and a flag another.
    #[error(
        "the profile says `{0}` under [credentials], so a flag cannot say something else; leave {1} out"
    )]
    Conflict(&'static str, &'static str),
}

impl CredentialTerms {
    /// Checks each value for itself.
    pub fn check(&self) -> Result<(), CredentialsError> {
        if let Some(arn) = &self.role_arn {
            check_arn(arn)?;
        }
        if let Some(id) = &self.external_id {
            check_external_id(id)?;
        }
        if let Some(seconds) = self.duration {
            check_duration(seconds)?;
        }
        if let Some(name) = &self.session_name {
            check_session_name(name)?;
        }
        match &self.web_identity {
            Some(web) => web.check(),
            None => Ok(()),
        }
    }

    /// The role that a profile's terms and those of the flags mean together; `None` where neither names one.
    /// What the profile says, no flag changes.
    pub fn role(profile: &Self, flags: &Self) -> Result<Option<Role>, CredentialsError> {
        flags.check()?;
        let said = profile.joined(flags)?;
        let Some(arn) = said.role_arn else {
            return match said.first_said() {
                Some(key) => Err(CredentialsError::NoRole(key)),
                None => Ok(None),
            };
        };
        let token = said.web_identity.is_some();
        if token {
            for (key, said) in [
                ("external_id", said.external_id.is_some()),
                ("source_identity", said.source_identity == Some(true)),
                ("session_tags", said.session_tags == Some(true)),
                ("transitive_tags", said.transitive_tags == Some(true)),
            ] {
                if said {
                    return Err(CredentialsError::NotWithToken(key));
                }
            }
        }
        let session_tags = said.session_tags.unwrap_or(!token);
        let transitive_tags = said.transitive_tags.unwrap_or(false);
        if transitive_tags && !session_tags {
            return Err(CredentialsError::NoTags);
        }
        Ok(Some(Role {
            arn,
            external_id: said.external_id,
            duration: said.duration,
            session_name: said.session_name,
            source_identity: said.source_identity.unwrap_or(!token),
            session_tags,
            transitive_tags,
            session_policy: said.session_policy.unwrap_or_default(),
            web_identity: said.web_identity,
        }))
    }

    fn joined(&self, flags: &Self) -> Result<Self, CredentialsError> {
        fn one<T: Clone + PartialEq>(
            profile: Option<&T>,
            flag: Option<&T>,
            key: &'static str,
            name: &'static str,
        ) -> Result<Option<T>, CredentialsError> {
            match (profile, flag) {
                (Some(said), Some(other)) if said != other => {
                    Err(CredentialsError::Conflict(key, name))
                }
                (said, other) => Ok(said.or(other).cloned()),
            }
        }
        Ok(Self {
            role_arn: one(
                self.role_arn.as_ref(),
                flags.role_arn.as_ref(),
                "role_arn",
                "--role-arn",
            )?,
            external_id: one(
                self.external_id.as_ref(),
                flags.external_id.as_ref(),
                "external_id",
                "--role-external-id",
            )?,
            duration: one(
                self.duration.as_ref(),
                flags.duration.as_ref(),
                "duration",
                "--role-duration",
            )?,
            session_policy: one(
                self.session_policy.as_ref(),
                flags.session_policy.as_ref(),
                "session_policy",
                "--session-policy",
            )?,
            web_identity: one(
                self.web_identity.as_ref(),
                flags.web_identity.as_ref(),
                "web_identity",
                "--web-identity-token-file or --web-identity-variable",
            )?,
            ..self.clone()
        })
    }

    /// What means nothing without a role. A profile's `session_policy` waits for a role that a flag may name.
    fn first_said(&self) -> Option<&'static str> {
        [
            ("external_id", self.external_id.is_some()),
            ("duration", self.duration.is_some()),
            ("session_name", self.session_name.is_some()),
            ("web_identity", self.web_identity.is_some()),
        ]
        .into_iter()
        .find_map(|(key, said)| said.then_some(key))
    }
}

impl WebIdentity {
    pub(super) fn check(&self) -> Result<(), CredentialsError> {
        match self {
            Self::File(path) => {
                let plain = path.is_absolute() && path.as_os_str().len() <= LONGEST_WORD;
                let wrong = || CredentialsError::TokenFile(path.clone());
                plain.then_some(()).ok_or_else(wrong)
            }
            Self::Command(words) => {
                let plain = |word: &String| word.len() <= LONGEST_WORD && !word.contains('\0');
                let named = words.first().is_some_and(|program| !program.is_empty());
                let right = named && words.len() <= MOST_WORDS && words.iter().all(plain);
                right.then_some(()).ok_or(CredentialsError::Command)
            }
            Self::GithubActions { audience } => {
                let right = (1..=256).contains(&audience.len())
                    && audience.bytes().all(|b| b.is_ascii_graphic());
                let wrong = || CredentialsError::Audience(audience.clone());
                right.then_some(()).ok_or_else(wrong)
            }
            Self::Variable(name) => check_variable(name),
        }
    }
}

/// Whether a variable may hold a token.
pub fn check_variable(name: &str) -> Result<(), CredentialsError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let right = (1..=128).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("AWS_");
    let wrong = || CredentialsError::Variable(name.to_owned());
    right.then_some(()).ok_or_else(wrong)
}

/// Whether a text is a role's ARN: `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
pub(super) fn check_arn(text: &str) -> Result<(), CredentialsError> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) =
        (next(), next(), next(), next(), next(), next());
    let name = resource.strip_prefix("role/").unwrap_or_default();
    let partition_is_plain = partition.starts_with("aws")
        && partition
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b == b'-');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b);
    let right = arn == "arn"
        && partition_is_plain
        && (service, region) == ("iam", "")
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !name.is_empty()
        && !name.ends_with('/')
        && name.bytes().all(plain)
        && text.len() <= 2048;
    right
        .then_some(())
        .ok_or_else(|| CredentialsError::RoleArn(text.to_owned()))
}

/// Whether a text is an external id.
pub(super) fn check_external_id(text: &str) -> Result<(), CredentialsError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b);
    let right = (2..=1224).contains(&text.len()) && text.bytes().all(plain);
    right.then_some(()).ok_or(CredentialsError::ExternalId)
}

/// Whether credentials may last so many seconds.
pub(super) fn check_duration(seconds: u64) -> Result<(), CredentialsError> {
    if LIFETIMES.contains(&seconds) {
        return Ok(());
    }
    let shown = super::Length::seconds(seconds).to_string();
    Err(CredentialsError::Duration(shown))
}

/// Whether a text is a role session's name.
pub(super) fn check_session_name(text: &str) -> Result<(), CredentialsError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    let right = (2..=64).contains(&text.len()) && text.bytes().all(plain);
    right
        .then_some(())
        .ok_or_else(|| CredentialsError::SessionName(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:iam::123456789012:role/agents/deploy";

    #[test]
    fn an_arn_is_a_roles() {
        for right in [
            ARN,
            "arn:aws-us-gov:iam::123456789012:role/x",
            "arn:aws-cn:iam::123456789012:role/a.b@c",
        ] {
            assert_eq!(check_arn(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "deploy",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:iam::12345678901:role/x",
            "arn:aws:iam:eu-west-1:123456789012:role/x",
            "arn:aws:sts::123456789012:assumed-role/x/y",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/x/",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::123456789012:role/a:b",
            "arn::iam::123456789012:role/x",
        ] {
            assert!(check_arn(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_bounded() {
        for (seconds, right) in [(899, false), (900, true), (43_200, true), (43_201, false)] {
            assert_eq!(check_duration(seconds).is_ok(), right, "{seconds}");
        }
        for (name, right) in [
            ("a", false),
            ("ab", true),
            ("a b", false),
            ("a/b", false),
            ("A_+=,.@-9", true),
        ] {
            assert_eq!(check_session_name(name).is_ok(), right, "{name}");
        }
        assert!(check_session_name(&"a".repeat(64)).is_ok());
        assert!(check_session_name(&"a".repeat(65)).is_err());
        for (id, right) in [("x", false), ("Org/17:a", true), ("a b", false)] {
            assert_eq!(check_external_id(id).is_ok(), right, "{id}");
        }
        for (name, right) in [
            ("GITLAB_OIDC_TOKEN", true),
            ("9X", false),
            ("", false),
            ("A-B", false),
            ("AWS_SECRET_ACCESS_KEY", false),
        ] {
            assert_eq!(check_variable(name).is_ok(), right, "{name}");
        }
        for (web, right) in [
            (WebIdentity::File("token".into()), false),
            (WebIdentity::File("/run/token".into()), true),
            (WebIdentity::Command(Vec::new()), false),
            (WebIdentity::Command(vec![String::new()]), false),
            (WebIdentity::Command(vec!["get-token".to_owned()]), true),
            (
                WebIdentity::Command(vec!["x".to_owned(); MOST_WORDS + 1]),
                false,
            ),
            (
                WebIdentity::GithubActions {
                    audience: "a b".to_owned(),
                },
                false,
            ),
            (
                WebIdentity::GithubActions {
                    audience: GITHUB_AUDIENCE.to_owned(),
                },
                true,
            ),
        ] {
            assert_eq!(web.check().is_ok(), right, "{web:?}");
        }
    }

    #[test]
    fn flags_say_what_the_profile_leaves_open() {
        let profile = CredentialTerms {
            session_policy: Some(SessionPolicyMode::Required),
            ..CredentialTerms::default()
        };
        assert_eq!(
            CredentialTerms::role(&profile, &CredentialTerms::default()),
            Ok(None)
        );
        let flags = CredentialTerms {
            role_arn: Some(ARN.to_owned()),
            ..CredentialTerms::default()
        };
        let role = CredentialTerms::role(&profile, &flags).unwrap().unwrap();
        assert_eq!(
            (role.arn.as_str(), role.session_policy),
            (ARN, SessionPolicyMode::Required)
        );
        assert!(role.source_identity && role.session_tags && !role.transitive_tags);
        let weaker = CredentialTerms {
            session_policy: Some(SessionPolicyMode::Off),
            ..flags.clone()
        };
        assert_eq!(
            CredentialTerms::role(&profile, &weaker),
            Err(CredentialsError::Conflict(
                "session_policy",
                "--session-policy"
            ))
        );
        assert!(CredentialTerms::role(&flags, &flags).unwrap().is_some());
    }

    #[test]
    fn what_does_not_go_together_is_an_error() {
        let token = CredentialTerms {
            web_identity: Some(WebIdentity::File("/run/token".into())),
            ..CredentialTerms::default()
        };
        let none = CredentialTerms::default();
        assert_eq!(
            CredentialTerms::role(&token, &none),
            Err(CredentialsError::NoRole("web_identity"))
        );
        let role = CredentialTerms {
            role_arn: Some(ARN.to_owned()),
            ..token.clone()
        };
        let found = CredentialTerms::role(&role, &none).unwrap().unwrap();
        assert!(!found.source_identity && !found.session_tags);
        for (terms, key) in [
            (
                CredentialTerms {
                    external_id: Some("ab".to_owned()),
                    ..role.clone()
                },
                "external_id",
            ),
            (
                CredentialTerms {
                    session_tags: Some(true),
                    ..role.clone()
                },
                "session_tags",
            ),
            (
                CredentialTerms {
                    source_identity: Some(true),
                    ..role
                },
                "source_identity",
            ),
        ] {
            assert_eq!(
                CredentialTerms::role(&terms, &none),
                Err(CredentialsError::NotWithToken(key))
            );
        }
        let untagged = CredentialTerms {
            role_arn: Some(ARN.to_owned()),
            session_tags: Some(false),
            transitive_tags: Some(true),
            ..CredentialTerms::default()
        };
        assert_eq!(
            CredentialTerms::role(&untagged, &none),
            Err(CredentialsError::NoTags)
        );
    }
}
