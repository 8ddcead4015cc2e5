//! `[credentials]` as it is written.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use crate::policy::Length;
use crate::policy::credentials::{
    self, CredentialTerms, CredentialsError, GITHUB_AUDIENCE, GITLAB_VARIABLE, SessionPolicyMode,
    WebIdentity,
};
use crate::policy::problem::{Misplaced, Problem};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    role_arn: Option<Spanned<String>>,
    external_id: Option<Spanned<String>>,
    duration: Option<Spanned<String>>,
    session_name: Option<Spanned<String>>,
    source_identity: Option<bool>,
    session_tags: Option<bool>,
    transitive_tags: Option<bool>,
    session_policy: Option<SessionPolicyMode>,
    web_identity: Option<Spanned<Web>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Web {
    provider: Option<Provider>,
    token_file: Option<PathBuf>,
    command: Option<Vec<String>>,
    audience: Option<String>,
    variable: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Provider {
    GithubActions,
    Gitlab,
    Spiffe,
}

impl Written {
    /// The terms, each checked where it stands; whether they go together, flags have a say in.
    pub(super) fn terms(self) -> Result<CredentialTerms, Misplaced> {
        let wrong =
            |at: std::ops::Range<usize>| move |error| Misplaced(at, Problem::Credentials(error));
        let checked = |text: Option<Spanned<String>>,
                       check: fn(&str) -> Result<(), CredentialsError>| {
            let Some(text) = text else { return Ok(None) };
            check(text.get_ref()).map_err(wrong(text.span()))?;
            Ok(Some(text.into_inner()))
        };
        let duration = match self.duration {
            None => None,
            Some(text) => {
                let length = Length::parse(text.get_ref())
                    .map_err(|error| Misplaced(text.span(), Problem::Syntax(error.to_string())))?;
                let seconds = length.duration().as_secs();
                credentials::check_duration(seconds).map_err(wrong(text.span()))?;
                Some(seconds)
            }
        };
        let web_identity = match self.web_identity {
            None => None,
            Some(web) => {
                let at = web.span();
                Some(web.into_inner().source().map_err(wrong(at))?)
            }
        };
        Ok(CredentialTerms {
            role_arn: checked(self.role_arn, credentials::check_arn)?,
            external_id: checked(self.external_id, credentials::check_external_id)?,
            duration,
            session_name: checked(self.session_name, credentials::check_session_name)?,
            source_identity: self.source_identity,
            session_tags: self.session_tags,
            transitive_tags: self.transitive_tags,
            session_policy: self.session_policy,
            web_identity,
        })
    }
}

impl Web {
    fn source(self) -> Result<WebIdentity, CredentialsError> {
        let Self {
            provider,
            token_file,
            command,
            audience,
            variable,
        } = self;
        let source = match (provider, token_file, command, audience, variable) {
            (None | Some(Provider::Spiffe), Some(path), None, None, None) => {
                WebIdentity::File(path)
            }
            (None, None, Some(words), None, None) => WebIdentity::Command(words),
            (Some(Provider::GithubActions), None, None, audience, None) => {
                WebIdentity::GithubActions {
                    audience: audience.unwrap_or_else(|| GITHUB_AUDIENCE.to_owned()),
                }
            }
            (Some(Provider::Gitlab), None, None, None, variable) => {
                WebIdentity::Variable(variable.unwrap_or_else(|| GITLAB_VARIABLE.to_owned()))
            }
            _ => return Err(CredentialsError::WebIdentity),
        };
        source.check()?;
        Ok(source)
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::credentials::{CredentialTerms, SessionPolicyMode, WebIdentity};
    use crate::policy::{PolicyError, Profile};

    #[test]
    fn reads_the_whole_table() {
        let text = "default = \"deny\"\n[credentials]\nrole_arn = \"arn:aws:iam::123456789012:role/x\"\n\
            external_id = \"org-17\"\nduration = \"1h30m\"\nsession_name = \"nightly\"\nsource_identity = false\n\
            session_tags = true\ntransitive_tags = true\nsession_policy = \"required\"\n";
        let profile = Profile::parse("p", text).unwrap();
        assert_eq!(
            *profile.credentials(),
            CredentialTerms {
                role_arn: Some("arn:aws:iam::123456789012:role/x".to_owned()),
                external_id: Some("org-17".to_owned()),
                duration: Some(5400),
                session_name: Some("nightly".to_owned()),
                source_identity: Some(false),
                session_tags: Some(true),
                transitive_tags: Some(true),
                session_policy: Some(SessionPolicyMode::Required),
                web_identity: None,
            }
        );
        let none = Profile::parse("p", "default = \"deny\"\n").unwrap();
        assert_eq!(*none.credentials(), CredentialTerms::default());
    }

    #[test]
    fn reads_every_way_to_a_token() {
        for (written, meant) in [
            (
                "{ token_file = \"/run/t\" }",
                WebIdentity::File("/run/t".into()),
            ),
            (
                "{ provider = \"spiffe\", token_file = \"/run/t\" }",
                WebIdentity::File("/run/t".into()),
            ),
            (
                "{ command = [\"vault\", \"token\"] }",
                WebIdentity::Command(vec!["vault".to_owned(), "token".to_owned()]),
            ),
            (
                "{ provider = \"github-actions\" }",
                WebIdentity::GithubActions {
                    audience: "sts.amazonaws.com".to_owned(),
                },
            ),
            (
                "{ provider = \"github-actions\", audience = \"sts.amazonaws.com.cn\" }",
                WebIdentity::GithubActions {
                    audience: "sts.amazonaws.com.cn".to_owned(),
                },
            ),
            (
                "{ provider = \"gitlab\" }",
                WebIdentity::Variable("GITLAB_OIDC_TOKEN".to_owned()),
            ),
            (
                "{ provider = \"gitlab\", variable = \"ID_TOKEN\" }",
                WebIdentity::Variable("ID_TOKEN".to_owned()),
            ),
        ] {
            let text = format!("[credentials]\nweb_identity = {written}\n");
            let profile = Profile::parse("p", &text).unwrap();
            assert_eq!(profile.credentials().web_identity, Some(meant), "{written}");
        }
    }

    #[test]
    fn errors_name_their_place() {
        for (line, column, says) in [
            ("role_arn = \"deploy\"", 12, "no role's ARN"),
            ("external_id = \"x\"", 15, "2 to 1224"),
            ("duration = \"5m\"", 12, "15m to 12h"),
            ("duration = \"soon\"", 12, "length of time"),
            ("session_name = \"a b\"", 16, "role session name"),
            ("session_policy = \"maybe\"", 18, "auto"),
            ("role = \"x\"", 1, "unknown field"),
            ("web_identity = { }", 16, "one of"),
            ("web_identity = { token_file = \"t\" }", 16, "absolute"),
            (
                "web_identity = { token_file = \"/t\", command = [\"x\"] }",
                16,
                "one of",
            ),
            (
                "web_identity = { provider = \"azure\" }",
                29,
                "github-actions",
            ),
            (
                "web_identity = { provider = \"gitlab\", audience = \"x\" }",
                16,
                "one of",
            ),
        ] {
            let text = format!("[credentials]\n{line}\n");
            let error = Profile::parse("p", &text).unwrap_err();
            let PolicyError::Invalid {
                line: at,
                column: found,
                problem,
                ..
            } = &error
            else {
                panic!("{error}");
            };
            assert_eq!((*at, *found), (2, column), "{line}: {error}");
            assert!(problem.to_string().contains(says), "{line}: {error}");
        }
    }
}
