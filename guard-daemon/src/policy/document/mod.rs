//! IAM's JSON policy documents: identity policies, permissions boundaries, service control policies.
//!
//! The grammar is <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>; element
//! names are told apart by case.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::keys::Keys;
use super::problem::{LONGEST_SID, Misplaced, Problem};
use super::statement::Statement;
use super::text::Language;
use super::written::{Choice, Compiler, JSON, Placed, Value, Written};
use super::{Effect, json};

/// Elements of a statement.
const ELEMENTS: &[&str] = &[
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
];

/// Reads and compiles a document. `path` names it in labels, `source` is its place among the documents.
pub(super) fn read(
    text: &str,
    path: &str,
    source: usize,
    keys: &mut Keys,
) -> Result<Vec<Statement>, Misplaced> {
    let root = json::read(text)?;
    let Value::Table(elements) = &root.it else {
        return Err(root.wrong(Problem::Json("this is no JSON object".to_owned())));
    };
    let (mut variables, mut written) = (false, None);
    for (key, value) in elements {
        match key.it.as_str() {
            "Version" => {
                variables = match &value.it {
                    Value::Text(text) if text == "2012-10-17" => true,
                    Value::Text(text) if text == "2008-10-17" => false,
                    _ => return Err(expected(value, "Version", "2012-10-17 or 2008-10-17")),
                }
            }
            "Id" => {
                text_of(value, "Id")?;
            }
            "Statement" => written = Some(value),
            _ => {
                return Err(unknown(
                    key,
                    &["Version", "Id", "Statement"],
                    "a policy document",
                ));
            }
        }
    }
    let written = written.ok_or_else(|| root.wrong(Problem::Missing("Statement")))?;
    let list: Vec<&Placed<Value>> = match &written.it {
        Value::List(list) => list.iter().collect(),
        _ => vec![written],
    };
    let mut compiler = Compiler {
        words: &JSON,
        language: Language { variables },
        any_resource: false,
        keys,
    };
    let mut sids = HashSet::new();
    let mut statements = Vec::with_capacity(list.len());
    for (at, value) in list.into_iter().enumerate() {
        let written = statement(value)?;
        let label = match &written.sid {
            Some(sid) if !is_sid(&sid.it) => return Err(sid.wrong(Problem::DocumentSid)),
            Some(sid) if !sids.insert(sid.it.clone()) => {
                return Err(sid.wrong(Problem::DuplicateSid(sid.it.clone())));
            }
            Some(sid) => format!("{path}:{}", sid.it),
            None => format!("{path}:#{}", at + 1),
        };
        statements.push(compiler.compile(&written, &label, source)?);
    }
    Ok(statements)
}

fn statement(value: &Placed<Value>) -> Result<Written, Misplaced> {
    let Value::Table(elements) = &value.it else {
        return Err(expected(
            value,
            "Statement",
            "an object, or a list of objects",
        ));
    };
    let (mut sid, mut effect, mut condition) = (None, None, None);
    let (mut actions, mut resources) = (Choice::default(), Choice::default());
    for (key, value) in elements {
        match key.it.as_str() {
            "Sid" => sid = Some(Placed::new(value.at.clone(), text_of(value, "Sid")?)),
            "Effect" => {
                effect = Some(match &value.it {
                    Value::Text(text) if text == "Allow" => Effect::Allow,
                    Value::Text(text) if text == "Deny" => Effect::Deny,
                    _ => return Err(expected(value, "Effect", "\"Allow\" or \"Deny\"")),
                });
            }
            "Action" => actions.named = Some(value.clone()),
            "NotAction" => actions.excepted = Some(value.clone()),
            "Resource" => resources.named = Some(value.clone()),
            "NotResource" => resources.excepted = Some(value.clone()),
            "Condition" => condition = Some(value.clone()),
            "Principal" | "NotPrincipal" => {
                return Err(key.wrong(Problem::Principal(key.it.clone())));
            }
            _ => return Err(unknown(key, ELEMENTS, "a statement")),
        }
    }
    Ok(Written {
        at: value.at.clone(),
        // IAM takes an empty one for none.
        sid: sid.filter(|sid| !sid.it.is_empty()),
        effect: effect.ok_or_else(|| value.wrong(Problem::Missing("Effect")))?,
        actions,
        resources,
        condition,
    })
}

/// Labels stand in messages and the journal, so they are plain.
fn is_sid(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    text.len() <= LONGEST_SID && text.bytes().all(plain)
}

fn text_of(value: &Placed<Value>, key: &'static str) -> Result<String, Misplaced> {
    match &value.it {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(expected(value, key, "a string")),
    }
}

fn expected(value: &Placed<Value>, key: &'static str, expected: &'static str) -> Misplaced {
    value.wrong(Problem::Expected { key, expected })
}

fn unknown(key: &Placed<String>, known: &[&str], place: &str) -> Misplaced {
    let spelt = known
        .iter()
        .find(|known| known.eq_ignore_ascii_case(&key.it));
    let hint = match spelt {
        Some(spelt) => format!("it is spelt {spelt:?}"),
        None => format!("{place} has {}", known.join(", ")),
    };
    key.wrong(Problem::Element {
        key: key.it.clone(),
        hint,
    })
}
