//! A profile's text and its policy documents → a checked, compiled profile; every error names its place and
//! what to write instead.

mod credentials;
mod layers;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use self::layers::{Layers, layers};
use super::evaluate::{Parts, Policy};
use super::keys::Keys;
use super::length::Length;
use super::mask::{Masking, Rule as MaskRule};
use super::network::AllowList;
use super::problem::{LARGEST_PROFILE, LONGEST_NAME, Misplaced, PolicyError, Problem};
use super::reach::{Publish, Reach, ReachError, Temporary, path};
use super::text::Language;
use super::written::{Choice, Compiler, Placed, TOML, Value, Written};
use super::{Effect, Mode, Profile, Source, position};
use crate::mask::Class;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<Spanned<String>>,
    max_session: Option<Spanned<String>>,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "deny")]
    default: Effect,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    sandbox: Sandbox,
    #[serde(default)]
    credentials: credentials::Written,
    #[serde(default)]
    mask: Mask,
    #[serde(default)]
    policies: Policies,
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
    statement: Vec<Spanned<Rule>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Policies {
    identity: Vec<Spanned<String>>,
    boundary: Vec<Spanned<String>>,
    scp: Vec<Spanned<Value>>,
}

/// A statement of the profile's, or of `[mask]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    sid: Option<Spanned<String>>,
    /// Of the profile's statements alone.
    effect: Option<Spanned<Effect>>,
    /// Of mask statements alone.
    classes: Option<Spanned<Vec<Class>>>,
    action: Option<Spanned<Value>>,
    not_action: Option<Spanned<Value>>,
    resource: Option<Spanned<Value>>,
    not_resource: Option<Spanned<Value>>,
    condition: Option<Spanned<Value>>,
}

impl Default for Mask {
    fn default() -> Self {
        Self {
            classes: vec![Class::Credential],
            statement: Vec::new(),
        }
    }
}

fn deny() -> Effect {
    Effect::Deny
}

/// The paths of the policy documents that a profile names, each once, as it names them.
pub(super) fn document_paths(name: &str, text: &str) -> Result<Vec<String>, PolicyError> {
    let file = read(name, text)?;
    let named = layers(&file.policies).map_err(|misplaced| invalid(name, text, misplaced))?;
    let mut seen = HashSet::new();
    let paths = named.into_iter().map(|named| named.path.it);
    Ok(paths.filter(|path| seen.insert(path.clone())).collect())
}

/// Parses and checks. `source.name` is the profile's name unless the text says another.
pub(super) fn parse(source: &Source) -> Result<Profile, PolicyError> {
    let Source { name, text, .. } = source;
    let wrong = |misplaced: Misplaced| invalid(name, text, misplaced);
    let file = read(name, text)?;
    let own_name = match &file.name {
        Some(own) if !is_name(own.get_ref()) => {
            return Err(wrong(Misplaced(own.span(), Problem::Name)));
        }
        Some(own) => own.get_ref(),
        None if !is_name(name) => {
            return Err(PolicyError::Unnamed {
                profile: name.clone(),
            });
        }
        None => name,
    };
    let mut hosts = AllowList::default();
    for host in &file.network.allow {
        hosts.add(host.get_ref()).map_err(|error| {
            let text = host.get_ref().clone();
            wrong(Misplaced(host.span(), Problem::Host { text, error }))
        })?;
    }
    let reach = reach(&file).map_err(wrong)?;
    let credentials = file.credentials.terms().map_err(wrong)?;
    let max_session = match &file.max_session {
        Some(text) => Some(
            Length::parse(text.get_ref())
                .map_err(|error| wrong(Misplaced(text.span(), Problem::Length(error))))?,
        ),
        None => None,
    };
    let mut keys = Keys::default();
    let mut statements = Vec::new();
    for (written, effect, sid) in rules(&file.statement).map_err(wrong)? {
        let Some(effect) = effect else {
            return Err(wrong(Misplaced(
                written.at.clone(),
                Problem::Missing("effect"),
            )));
        };
        let written = Written { effect, ..written };
        statements.push(
            compiler(&mut keys)
                .compile(&written, &sid, 0)
                .map_err(wrong)?,
        );
    }
    let masking = masking(file.mask, &mut keys).map_err(wrong)?;
    let named = layers(&file.policies).map_err(wrong)?;
    let Layers {
        documents,
        statements: others,
        limits,
    } = Layers::compile(named, source, &mut keys)?;
    statements.extend(others);
    let keys = keys.into_names();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    Ok(Profile {
        name: own_name.to_owned(),
        sha256: sha256(source),
        hosts,
        reach,
        mode: file.mode,
        credentials,
        max_session,
        masking,
        policy: Policy::new(Parts {
            profile: own_name.to_owned(),
            documents,
            statements,
            limits,
            default: file.default,
            keys,
        }),
        condition_keys: sorted,
    })
}

fn read(name: &str, text: &str) -> Result<File, PolicyError> {
    if text.len() > LARGEST_PROFILE {
        return Err(PolicyError::TooLarge {
            profile: name.to_owned(),
            bytes: text.len(),
        });
    }
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        // One line: the message stands in a sentence, and in a log.
        let message = error.message().trim_end().replace('\n', ", ");
        invalid(name, text, Misplaced(span, Problem::Syntax(message)))
    })
}

fn invalid(name: &str, text: &str, Misplaced(span, problem): Misplaced) -> PolicyError {
    let (line, column) = position::of(text, span.start);
    PolicyError::Invalid {
        profile: name.to_owned(),
        line,
        column,
        problem,
    }
}

/// Of the text alone where there are no documents; otherwise of a list of the texts' digests.
fn sha256(source: &Source) -> String {
    let digest =
        |bytes: &[u8]| hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes));
    let own = digest(source.text.as_bytes());
    if source.documents.is_empty() {
        return own;
    }
    let documents = source
        .documents
        .iter()
        .map(|document| format!("{}  {}\n", digest(document.text.as_bytes()), document.path));
    let list = std::iter::once(format!("{own}\n")).chain(documents);
    digest(list.collect::<String>().as_bytes())
}

fn compiler(keys: &mut Keys) -> Compiler<'_> {
    Compiler {
        words: &TOML,
        language: Language { variables: true },
        any_resource: true,
        keys,
    }
}

/// Statements with their effects and labels.
fn rules(rules: &[Spanned<Rule>]) -> Result<Vec<(Written, Option<Effect>, String)>, Misplaced> {
    let mut sids = HashSet::new();
    let mut written = Vec::with_capacity(rules.len());
    for (at, rule) in rules.iter().enumerate() {
        if let Some(classes) = &rule.get_ref().classes {
            let problem = "`classes` stands in [[mask.statement]] only; remove it here";
            return Err(Misplaced(
                classes.span(),
                Problem::Syntax(problem.to_owned()),
            ));
        }
        written.push(rule_of(at, rule, &mut sids)?);
    }
    Ok(written)
}

fn rule_of<'a>(
    at: usize,
    rule: &'a Spanned<Rule>,
    sids: &mut HashSet<&'a str>,
) -> Result<(Written, Option<Effect>, String), Misplaced> {
    let (span, rule) = (rule.span(), rule.get_ref());
    let label = match &rule.sid {
        Some(sid) if !is_name(sid.get_ref()) => return Err(Misplaced(sid.span(), Problem::Sid)),
        Some(sid) if !sids.insert(sid.get_ref()) => {
            let problem = Problem::DuplicateSid(sid.get_ref().clone());
            return Err(Misplaced(sid.span(), problem));
        }
        Some(sid) => sid.get_ref().clone(),
        None => format!("#{}", at + 1),
    };
    let value = |value: &Option<Spanned<Value>>| value.clone().map(Placed::from);
    let written = Written {
        at: span,
        sid: rule.sid.clone().map(Placed::from),
        effect: Effect::Deny,
        actions: Choice {
            named: value(&rule.action),
            excepted: value(&rule.not_action),
        },
        resources: Choice {
            named: value(&rule.resource),
            excepted: value(&rule.not_resource),
        },
        condition: value(&rule.condition),
    };
    let effect = rule.effect.as_ref().map(|effect| *effect.get_ref());
    Ok((written, effect, label))
}

fn masking(mask: Mask, keys: &mut Keys) -> Result<Masking, Misplaced> {
    let mut sids = HashSet::new();
    let mut compiled = Vec::with_capacity(mask.statement.len());
    for (at, rule) in mask.statement.iter().enumerate() {
        if let Some(effect) = &rule.get_ref().effect {
            let problem = "a mask statement has `classes` and no `effect`; remove it";
            return Err(Misplaced(
                effect.span(),
                Problem::Syntax(problem.to_owned()),
            ));
        }
        let (written, _, label) = rule_of(at, rule, &mut sids)?;
        let classes = match &rule.get_ref().classes {
            None => return Err(Misplaced(rule.span(), Problem::Missing("classes"))),
            Some(classes) if classes.get_ref().is_empty() => {
                let problem = Problem::EmptyList("classes".to_owned());
                return Err(Misplaced(classes.span(), problem));
            }
            Some(classes) => classes.get_ref().iter().copied().collect(),
        };
        // Like a denial it matches wherever it could.
        let statement = compiler(keys).compile(&written, &label, 0)?;
        compiled.push(MaskRule { statement, classes });
    }
    Ok(Masking::new(mask.classes.into_iter().collect(), compiled))
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

/// Names stand in messages, the journal and file names, so they are plain.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(plain)
}
