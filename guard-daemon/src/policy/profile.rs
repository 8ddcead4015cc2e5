//! A profile's text → a checked, compiled profile; every error names its place and what to write instead.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use toml::Spanned;

use super::evaluate::{Patterns, Statement, Statements};
use super::network::{AllowList, HostError};
use super::pattern::{ActionPattern, PatternError, ResourcePattern};
use super::reach::{Publish, Reach, ReachError, Temporary, path};
use super::{Effect, Mode, Profile, position};
use crate::mask::Class;

/// Bytes a profile may have: it may come from a launcher over the control socket.
pub const LARGEST_PROFILE: usize = 1024 * 1024;

/// Characters of a profile's name or a `sid`.
const LONGEST_NAME: usize = 64;

/// Why a profile was not accepted; the text names file position and remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Something in the text.
    #[error("profile {profile:?}, line {line}, column {column}: {problem}")]
    Invalid {
        /// The profile's name.
        profile: String,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong, and what to write instead.
        problem: Problem,
    },
    /// Larger than a profile may be.
    #[error(
        "profile {profile:?} has {bytes} bytes, more than the {LARGEST_PROFILE} allowed; use wildcards"
    )]
    TooLarge {
        /// The profile's name.
        profile: String,
        /// Its size.
        bytes: usize,
    },
    /// The file's stem is no name.
    #[error(
        "{profile:?} is not a profile name (1 to {LONGEST_NAME} letters, digits, `.`, `-`, `_`); rename the \
         file, or put `name = \"…\"` on its first line"
    )]
    Unnamed {
        /// The stem.
        profile: String,
    },
}

/// What is wrong at a place in a profile.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not TOML, an unknown key or value, or a value of another type.
    #[error("{0}; docs/policy.md lists what a profile may say")]
    Syntax(String),
    /// `name` is no name.
    #[error("`name` has 1 to {LONGEST_NAME} letters, digits, `.`, `-` and `_`; choose another")]
    Name,
    /// `sid` is no name.
    #[error("`sid` has 1 to {LONGEST_NAME} letters, digits, `.`, `-` and `_`; choose another")]
    Sid,
    /// Two statements have the same `sid`.
    #[error("sid {0:?} is already that of an earlier statement; rename one of them")]
    DuplicateSid(String),
    /// Neither `action` nor `not_action`.
    #[error("this statement has no `action`; add one, `action = \"*\"` for all")]
    NoAction,
    /// Both of a pair.
    #[error("this statement has both `{0}` and `not_{0}`; keep one of them")]
    Both(&'static str),
    /// A list without elements.
    #[error(
        "`{0}` is an empty list, which would match nothing; name something, or remove the statement"
    )]
    EmptyList(&'static str),
    /// `condition`.
    #[error(
        "conditions are not supported yet; remove `condition`, or use `effect = \"approve\"` to have a person look"
    )]
    Condition,
    /// A bad action or resource pattern.
    #[error("{text:?}: {error}")]
    Pattern {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A bad entry among what of the host the session may reach or see.
    #[error("{text:?}: {error}")]
    Reach {
        /// The entry.
        text: String,
        /// What is wrong with it.
        error: ReachError,
    },
    /// A bad host pattern.
    #[error("{text:?}: {error}")]
    Host {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        error: HostError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "deny")]
    default: Effect,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    sandbox: Sandbox,
    #[serde(default)]
    mask: Mask,
    #[serde(default)]
    statement: Vec<Spanned<Rule>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(default)]
    allow: Vec<Spanned<String>>,
    #[serde(default)]
    allow_loopback: Vec<Spanned<u16>>,
    #[serde(default)]
    publish: Vec<Spanned<String>>,
    #[serde(default)]
    allow_unix: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sandbox {
    #[serde(default)]
    tmp: Temporary,
    #[serde(default)]
    show: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Mask {
    classes: Vec<Class>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    sid: Option<Spanned<String>>,
    effect: Effect,
    action: Option<Spanned<OneOrMore>>,
    not_action: Option<Spanned<OneOrMore>>,
    resource: Option<Spanned<OneOrMore>>,
    not_resource: Option<Spanned<OneOrMore>>,
    condition: Option<Spanned<IgnoredAny>>,
}

/// A string or a list of strings.
enum OneOrMore {
    One(String),
    More(Vec<Spanned<String>>),
}

impl Default for Mask {
    fn default() -> Self {
        Self {
            classes: vec![Class::Credential],
        }
    }
}

fn deny() -> Effect {
    Effect::Deny
}

/// Parses and checks. `name` is the profile's unless the text says another.
pub(super) fn parse(name: &str, text: &str) -> Result<Profile, PolicyError> {
    if text.len() > LARGEST_PROFILE {
        return Err(PolicyError::TooLarge {
            profile: name.to_owned(),
            bytes: text.len(),
        });
    }
    let invalid = |Misplaced(span, problem): Misplaced| {
        let (line, column) = position::of(text, span.start);
        PolicyError::Invalid {
            profile: name.to_owned(),
            line,
            column,
            problem,
        }
    };
    let file: File = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        // One line: the message stands in a sentence, and in a log.
        let message = error.message().trim_end().replace('\n', ", ");
        invalid(Misplaced(span, Problem::Syntax(message)))
    })?;
    let own_name = match &file.name {
        Some(own) if !is_name(own.get_ref()) => {
            return Err(invalid(Misplaced(own.span(), Problem::Name)));
        }
        Some(own) => own.get_ref(),
        None if !is_name(name) => {
            return Err(PolicyError::Unnamed {
                profile: name.to_owned(),
            });
        }
        None => name,
    };
    let mut hosts = AllowList::default();
    for host in &file.network.allow {
        hosts.add(host.get_ref()).map_err(|error| {
            let text = host.get_ref().clone();
            invalid(Misplaced(host.span(), Problem::Host { text, error }))
        })?;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    Ok(Profile {
        name: own_name.to_owned(),
        sha256: hex::encode(digest),
        hosts,
        reach: reach(&file).map_err(invalid)?,
        masked: file.mask.classes,
        mode: file.mode,
        statements: Statements::new(compile(&file.statement).map_err(invalid)?, file.default),
    })
}

/// What of the host the session may reach and see.
fn reach(file: &File) -> Result<Reach, Misplaced> {
    fn each<T: fmt::Display, R>(
        list: &[Spanned<T>],
        parse: impl Fn(&T) -> Result<R, ReachError>,
    ) -> Result<Vec<R>, Misplaced> {
        let one = |entry: &Spanned<T>| {
            parse(entry.get_ref()).map_err(|error| {
                let text = entry.get_ref().to_string();
                Misplaced(entry.span(), Problem::Reach { text, error })
            })
        };
        list.iter().map(one).collect()
    }
    let port = |&port: &u16| match port {
        0 => Err(ReachError::Port),
        port => Ok(port),
    };
    Ok(Reach {
        loopback: each(&file.network.allow_loopback, port)?,
        publish: each(&file.network.publish, |text| Publish::parse(text))?,
        unix: each(&file.network.allow_unix, |text| path(text))?,
        temporary: file.sandbox.tmp,
        show: each(&file.sandbox.show, |text| path(text))?,
    })
}

/// A problem, and the bytes where it is.
struct Misplaced(Range<usize>, Problem);

fn compile(rules: &[Spanned<Rule>]) -> Result<Vec<Statement>, Misplaced> {
    let mut sids = HashSet::new();
    let mut statements = Vec::with_capacity(rules.len());
    for (at, rule) in rules.iter().enumerate() {
        let (span, rule) = (rule.span(), rule.get_ref());
        if let Some(condition) = &rule.condition {
            return Err(Misplaced(condition.span(), Problem::Condition));
        }
        if let Some(sid) = &rule.sid {
            if !is_name(sid.get_ref()) {
                return Err(Misplaced(sid.span(), Problem::Sid));
            }
            if !sids.insert(sid.get_ref()) {
                let problem = Problem::DuplicateSid(sid.get_ref().clone());
                return Err(Misplaced(sid.span(), problem));
            }
        }
        let actions = pair("action", rule.action.as_ref(), rule.not_action.as_ref())?;
        let resources = pair(
            "resource",
            rule.resource.as_ref(),
            rule.not_resource.as_ref(),
        )?;
        statements.push(Statement {
            label: rule
                .sid
                .as_ref()
                .map_or_else(|| format!("#{}", at + 1), |sid| sid.get_ref().clone()),
            effect: rule.effect,
            actions: match actions {
                Some(actions) => actions.compile(ActionPattern::parse)?,
                None => return Err(Misplaced(span, Problem::NoAction)),
            },
            resources: match resources {
                Some(resources) => resources.compile(ResourcePattern::parse)?,
                None => Patterns::In(vec![ResourcePattern::Any]),
            },
        });
    }
    Ok(statements)
}

/// One of a pair such as `action` and `not_action`, as it stands in the file.
struct Listed<'a> {
    key: &'static str,
    negated: bool,
    list: &'a Spanned<OneOrMore>,
}

fn pair<'a>(
    key: &'static str,
    plain: Option<&'a Spanned<OneOrMore>>,
    negated: Option<&'a Spanned<OneOrMore>>,
) -> Result<Option<Listed<'a>>, Misplaced> {
    match (plain, negated) {
        (Some(_), Some(second)) => Err(Misplaced(second.span(), Problem::Both(key))),
        (Some(list), None) => Ok(Some(Listed {
            key,
            negated: false,
            list,
        })),
        (None, Some(list)) => Ok(Some(Listed {
            key,
            negated: true,
            list,
        })),
        (None, None) => Ok(None),
    }
}

impl Listed<'_> {
    fn compile<P>(
        &self,
        parse: impl Fn(&str) -> Result<P, PatternError>,
    ) -> Result<Patterns<P>, Misplaced> {
        let one = |text: &str, span: Range<usize>| {
            parse(text).map_err(|error| {
                Misplaced(
                    span,
                    Problem::Pattern {
                        text: text.to_owned(),
                        error,
                    },
                )
            })
        };
        let patterns = match self.list.get_ref() {
            OneOrMore::One(text) => vec![one(text, self.list.span())?],
            OneOrMore::More(texts) if texts.is_empty() => {
                return Err(Misplaced(self.list.span(), Problem::EmptyList(self.key)));
            }
            OneOrMore::More(texts) => texts
                .iter()
                .map(|text| one(text.get_ref(), text.span()))
                .collect::<Result<_, _>>()?,
        };
        Ok(if self.negated {
            Patterns::NotIn(patterns)
        } else {
            Patterns::In(patterns)
        })
    }
}

/// Names stand in messages, the journal and file names, so they are plain.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(plain)
}

// By hand: an untagged enum would lose the elements' places.
impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
                Ok(OneOrMore::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<OneOrMore, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    list.push(element);
                }
                Ok(OneOrMore::More(list))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, usize, Problem) {
        match parse("test", text).unwrap_err() {
            PolicyError::Invalid {
                line,
                column,
                problem,
                ..
            } => (line, column, problem),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn takes_all_that_the_reference_lists() {
        let text = r#"
            name = "review"
            default = "approve"
            [network]
            allow = ["pypi.org", "*.npmjs.org:443"]
            [mask]
            classes = ["credential", "pii"]
            [[statement]]
            sid = "read"
            effect = "allow"
            action = ["s3:GetObject", "s3:List*"]
            resource = "arn:aws:s3:::data/*"
            [[statement]]
            effect = "deny"
            not_action = "s3:*"
            not_resource = ["arn:aws:s3:::data/*"]
        "#;
        let profile = parse("stem", text).unwrap();
        assert_eq!(profile.name(), "review");
        assert_eq!(profile.sha256().len(), 64);
        assert!(profile.masks(Class::Pii) && !profile.masks(Class::Content));
        assert!(profile.allows_host("pypi.org", 443) && profile.allows_name("a.npmjs.org"));
    }

    #[test]
    fn an_empty_profile_denies_and_masks_credentials() {
        let profile = parse("empty", "").unwrap();
        assert_eq!(profile.name(), "empty");
        assert!(profile.masks(Class::Credential) && !profile.masks(Class::Pii));
        assert_eq!(profile.decide(&[]).effect, Effect::Deny);
        // SHA-256 of nothing.
        assert!(profile.sha256().starts_with("e3b0c44298fc1c14"));
        let unmasked = parse("empty", "[mask]\nclasses = []").unwrap();
        assert!(!unmasked.masks(Class::Credential));
        let defaulted = parse("empty", "[mask]").unwrap();
        assert!(defaulted.masks(Class::Credential));
    }

    #[test]
    fn what_of_the_host_is_open_is_said_key_by_key() {
        let profile = Profile::parse("p", "").unwrap();
        assert_eq!(*profile.reach(), Reach::default());
        let text = "[network]\nallow_loopback = [5432]\npublish = [\"3000\"]\n\
            allow_unix = [\"/run/x\"]\n[sandbox]\ntmp = \"shared\"\nshow = [\"/tmp/b\"]\n";
        let expected = Reach {
            loopback: vec![5432],
            publish: vec![Publish::parse("3000").unwrap()],
            unix: vec!["/run/x".into()],
            temporary: Temporary::Shared,
            show: vec!["/tmp/b".into()],
        };
        assert_eq!(*Profile::parse("p", text).unwrap().reach(), expected);
    }

    #[test]
    fn each_error_names_its_place() {
        let statement = |rest: &str| format!("[[statement]]\neffect = \"allow\"\n{rest}");
        let pattern = |text: &str, error| Problem::Pattern {
            text: text.to_owned(),
            error,
        };
        let reach = |text: &str, error| Problem::Reach {
            text: text.to_owned(),
            error,
        };
        for (text, place, expected) in [
            ("name = \"a b\"".to_owned(), (1, 8), Problem::Name),
            (
                statement("sid = \"#1\"\naction = \"*\""),
                (3, 7),
                Problem::Sid,
            ),
            (
                statement("action = []"),
                (3, 10),
                Problem::EmptyList("action"),
            ),
            (
                statement("action = \"*\"\nnot_resource = []"),
                (4, 16),
                Problem::EmptyList("resource"),
            ),
            (
                statement("action = \"*\"\nnot_action = \"*\""),
                (4, 14),
                Problem::Both("action"),
            ),
            (statement("sid = \"x\""), (1, 1), Problem::NoAction),
            (
                statement("action = [\"s3:*\", \"Get*\"]"),
                (3, 19),
                pattern("Get*", PatternError::NoService),
            ),
            (
                statement("action = \"*\"\nresource = \"data\""),
                (4, 12),
                pattern("data", PatternError::NotArn),
            ),
            (
                statement("action = \"*\"\ncondition = { a = 1 }"),
                (4, 13),
                Problem::Condition,
            ),
            (
                "[network]\nallow = [\"a.org\", \"10.0.0.1\"]".to_owned(),
                (2, 19),
                Problem::Host {
                    text: "10.0.0.1".to_owned(),
                    error: HostError::Address,
                },
            ),
            (
                "[network]\nallow_loopback = [5432, 0]".to_owned(),
                (2, 25),
                reach("0", ReachError::Port),
            ),
            (
                "[network]\npublish = [\"80:x\"]".to_owned(),
                (2, 12),
                reach("80:x", ReachError::Publish),
            ),
            (
                "[network]\nallow_unix = [\"run/x\"]".to_owned(),
                (2, 15),
                reach("run/x", ReachError::Path),
            ),
            (
                "[sandbox]\nshow = [\"/a/../b\"]".to_owned(),
                (2, 9),
                reach("/a/../b", ReachError::Path),
            ),
        ] {
            let (line, column, problem) = problem(&text);
            assert_eq!(((line, column), problem), (place, expected), "{text}");
        }
        let one = statement("sid = \"x\"\naction = \"*\"\n");
        let (line, _, problem) = problem(&format!("{one}{one}"));
        assert_eq!((line, problem), (7, Problem::DuplicateSid("x".to_owned())));
    }

    #[test]
    fn unknown_keys_values_and_types_are_errors_with_a_place() {
        for (text, line, part) in [
            ("\nmodes = 1", 2, "unknown field `modes`"),
            ("mode = \"audit\"", 1, "unknown variant `audit`"),
            ("default = \"maybe\"", 1, "unknown variant `maybe`"),
            ("[network]\ndeny = []", 2, "unknown field `deny`"),
            ("[mask]\nclass = []", 2, "unknown field `class`"),
            (
                "[mask]\nclasses = [\"secret\"]",
                2,
                "unknown variant `secret`",
            ),
            (
                "[[statement]]\neffect = \"ask\"\naction = \"*\"",
                2,
                "unknown variant `ask`",
            ),
            ("[[statement]]\naction = \"*\"", 1, "missing field `effect`"),
            (
                "[[statement]]\neffect = \"deny\"\nAction = \"*\"",
                3,
                "unknown field `Action`",
            ),
            (
                "[[statement]]\neffect = \"deny\"\naction = 3",
                3,
                "a string or a list of strings",
            ),
            (
                "[[statement]]\neffect = \"deny\"\naction = [3]",
                3,
                "expected a string",
            ),
            ("name = \"a\"\nname = \"b\"", 2, "duplicate key"),
            ("default = ", 1, ""),
        ] {
            let (at, _, problem) = problem(text);
            let Problem::Syntax(message) = problem else {
                panic!("{problem}")
            };
            assert!(
                at == line && message.contains(part),
                "{text}: line {at}: {message}"
            );
            assert!(!message.contains('\n'), "{message}");
        }
        let error = parse("test", "\nmodes = 1").unwrap_err().to_string();
        assert!(
            error.starts_with("profile \"test\", line 2, column 1: "),
            "{error}"
        );
    }

    #[test]
    fn size_and_name_are_bounded() {
        let text = format!("#{}", "x".repeat(LARGEST_PROFILE));
        assert!(matches!(
            parse("x", &text),
            Err(PolicyError::TooLarge { .. })
        ));
        assert!(matches!(parse("a b", ""), Err(PolicyError::Unnamed { .. })));
        assert_eq!(parse("a b", "name = \"ab\"").unwrap().name(), "ab");
    }

    #[test]
    fn the_references_examples_are_profiles() {
        let reference = include_str!("../../../docs/policy.md");
        let examples: Vec<&str> = reference
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        assert_eq!(examples.len(), 3);
        for example in examples {
            parse("example", example).unwrap();
        }
    }
}
