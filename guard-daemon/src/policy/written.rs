//! Statements as they were written, in TOML or in JSON, with the place of everything.

use std::collections::HashSet;
use std::ops::Range;

use super::Effect;
use super::condition::{Condition, Operator};
use super::keys::{Keys, LONGEST_KEY, is_no_guard_key};
use super::pattern::{ActionPattern, PatternError, ResourcePattern};
use super::problem::{Misplaced, Problem};
use super::statement::{Listed, Patterns, Statement};
use super::text::Language;

/// Something and the bytes where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) at: Range<usize>,
    pub(super) it: T,
}

impl<T> Placed<T> {
    pub(super) fn new(at: Range<usize>, it: T) -> Self {
        Self { at, it }
    }

    pub(super) fn wrong(&self, problem: Problem) -> Misplaced {
        Misplaced(self.at.clone(), problem)
    }
}

/// A value of TOML or JSON.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Placed<Value>>),
    /// In the order of the text; no key is there twice.
    Table(Vec<Entry>),
}

/// A key and its value.
pub(super) type Entry = (Placed<String>, Placed<Value>);

/// A statement before it is compiled.
pub(super) struct Written {
    pub(super) at: Range<usize>,
    pub(super) sid: Option<Placed<String>>,
    pub(super) effect: Effect,
    pub(super) actions: Choice,
    pub(super) resources: Choice,
    pub(super) condition: Option<Placed<Value>>,
}

/// One of a pair such as `action` and `not_action`, or neither.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) named: Option<Placed<Value>>,
    pub(super) excepted: Option<Placed<Value>>,
}

/// How the words are spelt.
pub(super) struct Words {
    pub(super) action: &'static str,
    pub(super) not_action: &'static str,
    pub(super) resource: &'static str,
    pub(super) not_resource: &'static str,
}

/// Of a profile.
pub(super) const TOML: Words = Words {
    action: "action",
    not_action: "not_action",
    resource: "resource",
    not_resource: "not_resource",
};

/// Of an IAM document.
pub(super) const JSON: Words = Words {
    action: "Action",
    not_action: "NotAction",
    resource: "Resource",
    not_resource: "NotResource",
};

/// What compiling needs besides the statement.
pub(super) struct Compiler<'a> {
    pub(super) words: &'a Words,
    pub(super) language: Language,
    /// Whether a statement without resources speaks of all of them.
    pub(super) any_resource: bool,
    pub(super) keys: &'a mut Keys,
}

impl Compiler<'_> {
    /// `label` is how decisions name the statement, `source` the document it stands in.
    pub(super) fn compile(
        &mut self,
        written: &Written,
        label: &str,
        source: usize,
    ) -> Result<Statement, Misplaced> {
        let Words {
            action,
            not_action,
            resource,
            not_resource,
        } = *self.words;
        let actions = match written.actions.one(action, not_action)? {
            Some((list, except)) => Patterns {
                except,
                list: patterns(
                    list,
                    if except { not_action } else { action },
                    ActionPattern::parse,
                )?,
            },
            None => return Err(Misplaced(written.at.clone(), Problem::NoAction(action))),
        };
        let resources = match written.resources.one(resource, not_resource)? {
            Some((list, except)) => Patterns {
                except,
                list: patterns(list, if except { not_resource } else { resource }, |text| {
                    ResourcePattern::parse(text, self.language, self.keys)
                })?,
            },
            None if self.any_resource => Patterns {
                except: false,
                list: vec![Listed {
                    text: "*".into(),
                    at: written.at.start,
                    pattern: ResourcePattern::Any,
                }],
            },
            None => return Err(Misplaced(written.at.clone(), Problem::NoResource)),
        };
        let conditions = match &written.condition {
            None => Vec::new(),
            Some(condition) => self.conditions(condition)?,
        };
        Ok(Statement {
            label: label.into(),
            source,
            at: written.at.start,
            variables: self.language.variables,
            effect: written.effect,
            actions,
            resources,
            conditions: conditions.into(),
        })
    }

    fn conditions(&mut self, written: &Placed<Value>) -> Result<Vec<Condition>, Misplaced> {
        let mut conditions = Vec::new();
        let mut operators = HashSet::new();
        for (name, tests) in table(written, "condition operators")? {
            let operator = Operator::parse(&name.it).map_err(|error| {
                name.wrong(Problem::Operator {
                    text: name.it.clone(),
                    error,
                })
            })?;
            if !operators.insert(operator) {
                return Err(name.wrong(Problem::Repeated(name.it.clone())));
            }
            let mut keys = HashSet::new();
            for (key, values) in table(tests, "condition keys")? {
                let plain = |c: char| !c.is_control() && !"*?{}\"'".contains(c);
                if !key.it.contains(':') || key.it.len() > LONGEST_KEY || !key.it.chars().all(plain)
                {
                    return Err(key.wrong(Problem::ConditionKey(key.it.clone())));
                }
                if is_no_guard_key(&key.it) {
                    return Err(key.wrong(Problem::GuardKey(key.it.clone())));
                }
                // Keys are not told apart by case.
                if !keys.insert(key.it.to_ascii_lowercase()) {
                    return Err(key.wrong(Problem::Repeated(key.it.clone())));
                }
                let values = scalars(values, &key.it)?;
                let texts = values
                    .iter()
                    .map(|value| value.it.as_str().into())
                    .collect();
                let name = Placed::new(key.at.clone(), key.it.as_str());
                let condition = Condition::new(operator, &name, texts, self.language, self.keys)
                    .map_err(|(at, error)| {
                        let Placed { at, it } = values[at].clone();
                        Misplaced(at, Problem::Value { text: it, error })
                    })?;
                conditions.push(condition);
            }
        }
        Ok(conditions)
    }
}

impl Choice {
    /// What is given, and whether it is the negated one.
    fn one(
        &self,
        name: &'static str,
        not_name: &'static str,
    ) -> Result<Option<(&Placed<Value>, bool)>, Misplaced> {
        match (&self.named, &self.excepted) {
            (Some(_), Some(second)) => Err(second.wrong(Problem::Both(name, not_name))),
            (Some(list), None) => Ok(Some((list, false))),
            (None, Some(list)) => Ok(Some((list, true))),
            (None, None) => Ok(None),
        }
    }
}

fn patterns<P>(
    list: &Placed<Value>,
    key: &str,
    mut parse: impl FnMut(&str) -> Result<P, PatternError>,
) -> Result<Vec<Listed<P>>, Misplaced> {
    let texts = match &list.it {
        Value::List(elements) => elements.iter().collect(),
        _ => vec![list],
    };
    if texts.is_empty() {
        return Err(list.wrong(Problem::EmptyList(key.to_owned())));
    }
    let one = |element: &&Placed<Value>| {
        let Value::Text(text) = &element.it else {
            return Err(element.wrong(Problem::NotText(key.to_owned())));
        };
        let pattern = parse(text).map_err(|error| {
            element.wrong(Problem::Pattern {
                text: text.clone(),
                error,
            })
        })?;
        Ok(Listed {
            text: text.as_str().into(),
            at: element.at.start,
            pattern,
        })
    };
    texts.iter().map(one).collect()
}

fn table<'a>(value: &'a Placed<Value>, what: &'static str) -> Result<&'a [Entry], Misplaced> {
    match &value.it {
        Value::Table(entries) => Ok(entries),
        _ => Err(value.wrong(Problem::NotTable(what))),
    }
}

/// A string, number or boolean, or a list of them.
fn scalars(value: &Placed<Value>, key: &str) -> Result<Vec<Placed<String>>, Misplaced> {
    let scalar = |value: &Placed<Value>| {
        let text = match &value.it {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Bool(value) => value.to_string(),
            Value::Null | Value::List(_) | Value::Table(_) => {
                return Err(value.wrong(Problem::NotScalar(key.to_owned())));
            }
        };
        Ok(Placed::new(value.at.clone(), text))
    };
    match &value.it {
        Value::List(elements) if elements.is_empty() => {
            Err(value.wrong(Problem::EmptyList(key.to_owned())))
        }
        Value::List(elements) => elements.iter().map(scalar).collect(),
        _ => Ok(vec![scalar(value)?]),
    }
}
