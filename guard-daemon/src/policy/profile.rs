//! A profile: the TOML file that says what a session may do.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;

use super::evaluate::{self, Actions, Resources, Statement};
use super::network::HostPattern;
use super::pattern::{ActionPattern, ResourcePattern};
use super::{Decision, Effect};
use crate::aws::Access;
use crate::mask::Class;

/// The profile in force where none is named and the host has none: reads go through, the rest asks.
pub const BUILT_IN: &str = include_str!("default.toml");

/// Statements a profile may have.
const MAX_STATEMENTS: usize = 10_000;

/// A parsed profile: network allow list, statements, masks.
#[derive(Debug)]
pub struct Profile {
    pub(super) name: String,
    sha256: String,
    pub(super) default: Effect,
    pub(super) statements: Vec<Statement>,
    network: Vec<HostPattern>,
    masked: Vec<Class>,
}

/// Why a profile was not accepted; the text names the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Not TOML, an unknown key, or a value of the wrong type; the source says where.
    #[error("profile {name:?}: {source}")]
    Syntax {
        /// The profile.
        name: String,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A statement says something that no statement can say.
    #[error("profile {name:?}, statement {statement}: {what}")]
    Statement {
        /// The profile.
        name: String,
        /// The statement's `sid` or `#N`.
        statement: String,
        /// What is wrong and what is expected.
        what: String,
    },
    /// Another part of the profile is wrong.
    #[error("profile {name:?}: {what}")]
    Invalid {
        /// The profile.
        name: String,
        /// What is wrong and what is expected.
        what: String,
    },
}

impl Profile {
    /// Parses a profile; unknown keys, empty lists and bad patterns are errors.
    pub fn parse(name: &str, text: &str) -> Result<Self, PolicyError> {
        let file: File = toml::from_str(text).map_err(|source| PolicyError::Syntax {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
        let name = file.name.unwrap_or_else(|| name.to_owned());
        let invalid = |what: String| PolicyError::Invalid {
            name: name.clone(),
            what,
        };
        if file.statement.len() > MAX_STATEMENTS {
            return Err(invalid(format!(
                "it has more than {MAX_STATEMENTS} statements; split it"
            )));
        }
        let mut network = Vec::with_capacity(file.network.allow.len());
        for entry in &file.network.allow {
            let host = HostPattern::parse(entry)
                .map_err(|why| invalid(format!("[network] allow: {entry:?}: {why}")))?;
            network.push(host);
        }
        let mut statements = Vec::with_capacity(file.statement.len());
        let mut seen = HashSet::new();
        for (index, raw) in file.statement.into_iter().enumerate() {
            let called = raw.sid.clone().unwrap_or_else(|| format!("#{}", index + 1));
            let wrong = |what: String| PolicyError::Statement {
                name: name.clone(),
                statement: called.clone(),
                what,
            };
            if called.is_empty() || called.len() > 128 || called.chars().any(char::is_control) {
                return Err(wrong("a sid is 1 to 128 printable characters".to_owned()));
            }
            if !seen.insert(called.clone()) {
                return Err(wrong(
                    "another statement has the same sid; name each once".to_owned(),
                ));
            }
            statements.push(raw.compile(called.clone()).map_err(wrong)?);
        }
        Ok(Self {
            sha256: hex::encode(digest(&SHA256, text.as_bytes())),
            default: file.default,
            statements,
            network,
            masked: file.mask.classes,
            name,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its text, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Decides on a call. Every access must be allowed; deny beats approve beats allow.
    pub fn decide(&self, access: &[Access]) -> Decision {
        evaluate::decide(self, access)
    }

    /// Whether a host that is not AWS (lower case) may be reached by name and port.
    pub fn allows_host(&self, host: &str, port: u16) -> bool {
        self.network
            .iter()
            .any(|pattern| pattern.matches(host, port))
    }

    /// Whether a name (lower case) may be resolved: some port of it is allowed.
    pub fn allows_name(&self, host: &str) -> bool {
        self.network
            .iter()
            .any(|pattern| pattern.matches_name(host))
    }

    /// Whether members of this class are masked.
    pub fn masks(&self, class: Class) -> bool {
        self.masked.contains(&class)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    default: Effect,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    mask: Mask,
    #[serde(default)]
    statement: Vec<RawStatement>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(default)]
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mask {
    classes: Vec<Class>,
}

impl Default for Mask {
    fn default() -> Self {
        Self {
            classes: vec![Class::Credential],
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStatement {
    sid: Option<String>,
    effect: Effect,
    action: Option<OneOrMany>,
    not_action: Option<OneOrMany>,
    resource: Option<OneOrMany>,
    not_resource: Option<OneOrMany>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn parse<T, E: std::fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, String> {
        let all = match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        };
        if all.is_empty() {
            return Err(format!(
                "{key} is an empty list; name at least one, or \"*\""
            ));
        }
        all.iter()
            .map(|text| parse(text).map_err(|why| format!("{key} {text:?}: {why}")))
            .collect()
    }
}

impl RawStatement {
    fn compile(self, name: String) -> Result<Statement, String> {
        let actions = match (&self.action, &self.not_action) {
            (Some(action), None) => Actions::In(action.parse("action", ActionPattern::parse)?),
            (None, Some(action)) => {
                Actions::NotIn(action.parse("not_action", ActionPattern::parse)?)
            }
            (None, None) => return Err("it has neither action nor not_action; name one".to_owned()),
            (Some(_), Some(_)) => {
                return Err("it has both action and not_action; keep one".to_owned());
            }
        };
        let resources = match (&self.resource, &self.not_resource) {
            (Some(resource), None) => {
                Resources::In(resource.parse("resource", ResourcePattern::parse)?)
            }
            (None, Some(resource)) => {
                Resources::NotIn(resource.parse("not_resource", ResourcePattern::parse)?)
            }
            (None, None) => Resources::In(vec![ResourcePattern::Any]),
            (Some(_), Some(_)) => {
                return Err("it has both resource and not_resource; keep one".to_owned());
            }
        };
        Ok(Statement {
            name,
            effect: self.effect,
            actions,
            resources,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profile_reads_and_asks() {
        let profile = Profile::parse("default", BUILT_IN).unwrap();
        let decide = |action: &str| {
            let access = Access {
                action: Some(action.to_owned()),
                resources: vec![crate::aws::Resource::Unknown],
            };
            profile.decide(&[access]).effect
        };
        assert_eq!(decide("s3:GetObject"), Effect::Allow);
        assert_eq!(decide("ec2:DescribeInstances"), Effect::Allow);
        assert_eq!(decide("ec2:TerminateInstances"), Effect::Approve);
        assert_eq!(decide("sts:GetFederationToken"), Effect::Approve);
        assert!(profile.masks(Class::Credential) && !profile.masks(Class::Content));
        assert!(!profile.allows_name("example.com"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let statement = |body: &str| format!("default = \"deny\"\n[[statement]]\n{body}");
        let cases = [
            ("defualt = \"deny\"".to_owned(), "defualt"),
            ("default = \"perhaps\"".to_owned(), "perhaps"),
            (String::new(), "default"),
            ("default = [\n".to_owned(), "line 1"),
            (statement("effect = \"allow\""), "neither action"),
            (statement("effect = \"allow\"\naction = []"), "empty list"),
            (statement("effect = \"allow\"\naction = \"s3\""), "\"s3\""),
            (
                statement("effect = \"allow\"\naction = 3"),
                "string or a list",
            ),
            (statement("effect = \"alow\"\naction = \"*\""), "alow"),
            (
                statement("effect = \"deny\"\naction = \"*\"\nnot_action = \"*\""),
                "both action",
            ),
            (
                statement("effect = \"deny\"\naction = \"*\"\nresource = \"b\""),
                "an ARN",
            ),
            (
                statement("effect = \"deny\"\naction = \"*\"\ncondition = {}"),
                "condition",
            ),
            (
                statement("sid = \"\"\neffect = \"deny\"\naction = \"*\""),
                "sid",
            ),
            (
                "default = \"deny\"\n[network]\nallow = [\"*\"]".to_owned(),
                "allow: \"*\"",
            ),
            (
                "default = \"deny\"\n[mask]\nclasses = [\"secrets\"]".to_owned(),
                "secrets",
            ),
        ];
        for (text, part) in cases {
            let error = Profile::parse("p", &text).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("profile \"p\""),
                "{part}: {error}"
            );
        }
    }

    #[test]
    fn a_sid_stands_once() {
        let one = "[[statement]]\nsid = \"a\"\neffect = \"deny\"\naction = \"*\"\n";
        let error = Profile::parse("p", &format!("default = \"deny\"\n{one}{one}")).unwrap_err();
        assert!(error.to_string().contains("same sid"), "{error}");
    }
}
