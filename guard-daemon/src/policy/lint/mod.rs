//! What is probably not meant as it is written: actions that do not exist, resources and condition keys that an
//! action does not have, operators of another type than their key, statements that never decide.
//!
//! The facts about actions come through [`Actions`]; nothing here changes what a profile decides.

mod cover;
mod key;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use self::cover::{meet, pattern_tokens, template_tokens};
pub use self::key::KeyType;
use super::condition::Condition;
use super::pattern::{ActionPattern, ResourcePattern, Start};
use super::position::Lines;
use super::statement::{Listed, Statement};
use super::{Effect, PolicyError, Profile, Source};

/// How far a name may be from the one that is suggested for it, in letters.
const FARTHEST: usize = 5;

/// What there is to know of IAM's actions.
pub trait Actions {
    /// An action by its name, in any case.
    fn action(&self, name: &str) -> Option<Model>;

    /// The names of all actions: `service:Name`.
    fn names(&self) -> Vec<&str>;

    /// The type of a service's condition key, by its name in lower case; `None` where it is not known.
    fn key_type(&self, _key: &str) -> Option<KeyType> {
        None
    }
}

/// An action.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The ARN templates of its resource types, with `${…}` for what varies. None: it takes only `*`.
    pub resources: Vec<String>,
    /// Its condition keys, with `${…}` for what varies.
    pub keys: Vec<String>,
}

/// Something that is probably not meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The policy document, as the profile names it; `None`: the profile itself.
    pub document: Option<String>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The statement, as decisions name it.
    pub statement: String,
    /// What.
    pub lint: Lint,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(document) = &self.document {
            write!(f, "{document}, ")?;
        }
        let (line, column) = (self.line, self.column);
        write!(
            f,
            "line {line}, column {column}: statement {}: {}",
            self.statement, self.lint
        )
    }
}

/// What is probably not meant.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// An action that IAM does not have.
    #[error("IAM has no action {action}{}", suggestion.as_ref().map(|it| format!("; did you mean {it}?")).unwrap_or_default())]
    UnknownAction {
        /// As it is written.
        action: String,
        /// The nearest there is.
        suggestion: Option<String>,
    },
    /// A pattern that matches no action.
    #[error("no action of IAM matches {0}")]
    NoAction(String),
    /// An action that takes no resource, in a statement that names some.
    #[error("{0} takes no resource: only \"*\" matches it")]
    NoResource(String),
    /// An action none of whose resource types is among the resources.
    #[error("none of the resources can be one of {action}'s: {}", types.join(", "))]
    OtherResource {
        /// The action.
        action: String,
        /// The ARN templates of its resource types.
        types: Vec<String>,
    },
    /// A resource that none of the actions takes.
    #[error("none of the actions takes a resource like {0}")]
    UnusedResource(String),
    /// A condition key that an action does not have.
    #[error("{action} has no condition key {key}: for it, the key is always missing")]
    OtherKey {
        /// The action.
        action: String,
        /// The key.
        key: String,
    },
    /// A condition key that none of the actions has.
    #[error("none of the actions has a condition key {0}")]
    UnusedKey(String),
    /// An operator of another type than the key.
    #[error("{operator} does not fit {key}, which {is}")]
    Operator {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
        /// What the key is.
        is: &'static str,
    },
    /// A multivalued key without a set operator.
    #[error("{key} has several values: write ForAnyValue:{operator} or ForAllValues:{operator}")]
    SetOperator {
        /// The operator.
        operator: String,
        /// The key.
        key: String,
    },
    /// An ARN with too few components to compare.
    #[error("{0} has fewer than the six components of an ARN, so that it never surely matches")]
    ShortArn(String),
    /// Something like a variable in a document of an older language version.
    #[error("variables such as {0} are plain text without \"Version\": \"2012-10-17\"")]
    Variable(String),
    /// A statement whose every match is decided by another.
    #[error("it never decides: statement {by} {} all that it matches", match effect { Effect::Allow => "allows", Effect::Deny => "denies", Effect::Approve => "asks for" })]
    Shadowed {
        /// The other.
        by: String,
        /// What that one does.
        effect: Effect,
    },
    /// The same again.
    #[error("it says the same as statement {0}")]
    Duplicate(String),
}

/// Looks for what is probably not meant, in the order of the documents.
///
/// # Errors
/// What keeps the profile from being loaded.
pub fn lint(source: &Source, actions: &dyn Actions) -> Result<Vec<Finding>, PolicyError> {
    let profile = Profile::load(source)?;
    let linter = Linter {
        actions,
        names: {
            let mut names: Vec<String> = actions
                .names()
                .into_iter()
                .map(str::to_ascii_lowercase)
                .collect();
            names.sort_unstable();
            names
        },
    };
    let mut found: Vec<(usize, usize, String, Lint)> = Vec::new();
    let mut add = |statement: &Statement, at: usize, lint: Lint| {
        let label = statement.label.to_string();
        found.push((statement.source, at, label, lint));
    };
    for statement in profile.policy.statements() {
        linter.statement(statement, &mut |at, lint| add(statement, at, lint));
    }
    for statement in profile.masking.statements() {
        linter.statement(statement, &mut |at, lint| add(statement, at, lint));
    }
    for (statements, index) in profile.policy.layers() {
        for (at, statement) in statements.iter().enumerate() {
            let Some(by) = cover::covering(statements, index, at) else {
                continue;
            };
            let other = &statements[by];
            let by = other.label.to_string();
            let lint = if cover::same(statement, other) {
                Lint::Duplicate(by)
            } else {
                let effect = other.effect;
                Lint::Shadowed { by, effect }
            };
            add(statement, statement.at, lint);
        }
    }
    found.sort_by_key(|&(document, at, ..)| (document, at));
    let mut lines: HashMap<usize, Lines> = HashMap::new();
    let place = |(number, at, statement, lint): (usize, usize, String, Lint)| {
        let document = profile.policy.document(number);
        let text = match document {
            None => &source.text,
            Some(path) => source
                .documents
                .iter()
                .find(|document| document.path == path)
                .map_or(&source.text, |document| &document.text),
        };
        let (line, column) = lines
            .entry(number)
            .or_insert_with(|| Lines::new(text))
            .place(text, at);
        Finding {
            document: document.map(str::to_owned),
            line,
            column,
            statement,
            lint,
        }
    };
    Ok(found.into_iter().map(place).collect())
}

struct Linter<'a> {
    actions: &'a dyn Actions,
    /// In lower case, sorted.
    names: Vec<String>,
}

/// What an action pattern stands for.
struct Meant<'a> {
    listed: &'a Listed<ActionPattern>,
    /// It names one action.
    exact: bool,
    models: Vec<Model>,
}

impl Linter<'_> {
    fn statement(&self, statement: &Statement, add: &mut dyn FnMut(usize, Lint)) {
        let mut meant = Vec::new();
        let mut all_known = true;
        for listed in &statement.actions.list {
            if listed.pattern.is_any() {
                all_known = false;
                continue;
            }
            let one = self.meant(listed);
            if one.models.is_empty() {
                all_known = false;
                add(listed.at, self.unknown(listed, one.exact));
            } else {
                meant.push(one);
            }
        }
        // What a statement with exceptions speaks of is not worth listing.
        if !statement.actions.except {
            resources(statement, &meant, all_known, add);
            conditions(statement, &meant, all_known, add);
        }
        self.types(statement, add);
        if !statement.variables {
            let patterns = statement.resources.list.iter();
            let values = statement.conditions.iter().flat_map(Condition::written);
            let texts = patterns.map(|it| &*it.text).chain(values.map(|it| &**it));
            if let Some(text) = texts.into_iter().find(|text| text.contains("${")) {
                add(statement.at, Lint::Variable(text.to_owned()));
            }
        }
    }

    fn meant<'a>(&self, listed: &'a Listed<ActionPattern>) -> Meant<'a> {
        let exact = !listed.text.contains(['*', '?']);
        let models = if exact {
            self.actions.action(&listed.text).into_iter().collect()
        } else {
            self.matching(&listed.pattern)
                .filter_map(|name| self.actions.action(name))
                .collect()
        };
        Meant {
            listed,
            exact,
            models,
        }
    }

    /// The names that a pattern matches.
    fn matching<'a>(&'a self, pattern: &'a ActionPattern) -> impl Iterator<Item = &'a str> {
        let start = match pattern.start() {
            Start::Action(start) => start,
            Start::Name(_) => "",
        };
        let from = self.names.partition_point(|name| name.as_str() < start);
        let names = self.names[from..].iter().map(String::as_str);
        names
            .take_while(move |name| name.starts_with(start))
            .filter(|name| {
                name.split_once(':')
                    .is_some_and(|(service, name)| pattern.matches(service, name))
            })
    }

    fn unknown(&self, listed: &Listed<ActionPattern>, exact: bool) -> Lint {
        let action = listed.text.to_string();
        if !exact {
            return Lint::NoAction(action);
        }
        let written = action.to_ascii_lowercase();
        let nearest = self
            .names
            .iter()
            .map(|name| (strsim::osa_distance(&written, name), name))
            .min();
        let suggestion = nearest
            .filter(|&(distance, _)| distance <= FARTHEST)
            .and_then(|(_, lower)| {
                let names = self.actions.names();
                let spelt = names.into_iter().find(|it| it.eq_ignore_ascii_case(lower));
                spelt.map(str::to_owned)
            });
        Lint::UnknownAction { action, suggestion }
    }

    fn types(&self, statement: &Statement, add: &mut dyn FnMut(usize, Lint)) {
        for condition in &statement.conditions {
            let name = condition.key().to_ascii_lowercase();
            let global = key::global(&name);
            let kind = global.or_else(|| self.actions.key_type(&name));
            if let Some(kind) = kind
                && let Some(lint) = kind.check(condition)
            {
                add(condition.at(), lint);
            }
            if condition.operator().is_arn() {
                let mut written = condition.written().iter().map(|it| &**it);
                let short = |it: &&str| it.splitn(6, ':').count() < 6 && !it.contains("${");
                if let Some(short) = written.find(short) {
                    add(condition.at(), Lint::ShortArn(short.to_owned()));
                }
            }
        }
    }
}

fn resources(
    statement: &Statement,
    meant: &[Meant<'_>],
    all_known: bool,
    add: &mut dyn FnMut(usize, Lint),
) {
    let resources = &statement.resources;
    if resources.except || resources.list.iter().any(|it| it.pattern.is_any()) {
        return;
    }
    let patterns: Vec<_> = resources
        .list
        .iter()
        .map(|it| pattern_tokens(&it.text, statement.variables))
        .collect();
    let mut used = vec![false; patterns.len()];
    for one in meant {
        let mut fits = false;
        for template in one.models.iter().flat_map(|model| &model.resources) {
            let template = template_tokens(template);
            for (pattern, used) in patterns.iter().zip(&mut used) {
                if meet(pattern, &template) {
                    fits = true;
                    *used = true;
                }
            }
        }
        if fits {
            continue;
        }
        let action = one.listed.text.to_string();
        let mut types: Vec<String> = one
            .models
            .iter()
            .flat_map(|model| model.resources.iter().cloned())
            .collect();
        types.sort_unstable();
        types.dedup();
        if types.is_empty() {
            add(one.listed.at, Lint::NoResource(action));
        } else if one.exact {
            add(one.listed.at, Lint::OtherResource { action, types });
        }
    }
    if all_known {
        for (listed, _) in resources.list.iter().zip(used).filter(|(_, used)| !used) {
            let text = listed.text.to_string();
            add(listed.at, Lint::UnusedResource(text));
        }
    }
}

fn conditions(
    statement: &Statement,
    meant: &[Meant<'_>],
    all_known: bool,
    add: &mut dyn FnMut(usize, Lint),
) {
    for condition in &statement.conditions {
        let name = condition.key().to_ascii_lowercase();
        // Global keys, and guard's own, are those of every action.
        if name.starts_with("aws:") || name.starts_with("guard:") {
            continue;
        }
        let has = |one: &Meant<'_>| {
            let mut keys = one.models.iter().flat_map(|model| &model.keys);
            keys.any(|key| key::is_of(&name, key))
        };
        if all_known && !meant.iter().any(has) {
            add(condition.at(), Lint::UnusedKey(condition.key().to_owned()));
            continue;
        }
        for one in meant.iter().filter(|one| one.exact && !has(one)) {
            add(
                condition.at(),
                Lint::OtherKey {
                    action: one.listed.text.to_string(),
                    key: condition.key().to_owned(),
                },
            );
        }
    }
}

/// Whether a list of patterns has `*`.
fn has_any(list: &[Listed<ResourcePattern>]) -> bool {
    list.iter().any(|it| it.pattern.is_any())
}
