//! From a value to what a path leads to in it.

use std::borrow::Cow;

use crate::aws::{
    catalog::{Step, Steps, step},
    tree::Node,
    value::Value,
};

/// What is given can be read in more than one way, or not at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws::iam) struct Unclear;

/// What kind of tree a node is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws::iam) enum Wire {
    /// Of a form's keys.
    Form,
    /// Of an XML body.
    Xml,
}

/// A place in the input.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::aws::iam) enum At<'t> {
    /// In JSON or CBOR.
    Value(&'t Value<'t>),
    /// In a form or XML.
    Node(&'t Node<'t>, Wire),
    /// Text from elsewhere.
    Text(Cow<'t, str>),
}

impl<'t> At<'t> {
    /// Its text; whole numbers and booleans have one too. `None` where it is something else.
    pub(in crate::aws::iam) fn text(&self) -> Option<Cow<'t, str>> {
        match self {
            At::Text(text) => Some(text.clone()),
            At::Value(Value::Text(text)) => Some(Cow::Borrowed(text)),
            At::Value(Value::Number(number)) => Some(Cow::Owned(number.to_string())),
            At::Value(Value::Flag(flag)) => {
                Some(Cow::Borrowed(if *flag { "true" } else { "false" }))
            }
            At::Node(node, _) if !node.unclear && node.children.is_empty() => {
                Some(Cow::Borrowed(node.text.as_deref().unwrap_or_default()))
            }
            At::Value(_) | At::Node(..) => None,
        }
    }
}

/// Adds what the steps lead to; nothing where it is not given.
pub(super) fn walk<'t>(at: At<'t>, steps: Steps, found: &mut Vec<At<'t>>) -> Result<(), Unclear> {
    let Some((first, rest)) = steps.split_first() else {
        found.push(at);
        return Ok(());
    };
    match at {
        At::Value(value) => in_value(value, first, rest, found),
        At::Node(node, _) if node.unclear => Err(Unclear),
        At::Node(node, Wire::Form) => in_form(node, first, rest, found),
        At::Node(node, Wire::Xml) => in_xml(node, first, rest, found),
        At::Text(_) => Err(Unclear),
    }
}

fn in_value<'t>(
    value: &'t Value<'t>,
    first: Step,
    rest: Steps,
    found: &mut Vec<At<'t>>,
) -> Result<(), Unclear> {
    match (first.kind, value) {
        (step::MEMBER, Value::Object(_)) => match value.get(first.wire) {
            None | Some(Value::Null) => Ok(()),
            Some(member) => walk(At::Value(member), rest, found),
        },
        (step::ELEMENT | step::FLAT_ELEMENT, Value::List(elements)) => elements
            .iter()
            .filter(|it| **it != Value::Null)
            .try_for_each(|it| walk(At::Value(it), rest, found)),
        (step::KEY | step::FLAT_KEY, Value::Object(members)) => {
            let names = members
                .iter()
                .map(|it| At::Text(Cow::Borrowed(it.0.as_ref())));
            found.extend(names);
            Ok(())
        }
        (step::VALUE | step::FLAT_VALUE, Value::Object(members)) => members
            .iter()
            .filter(|it| it.1 != Value::Null)
            .try_for_each(|it| walk(At::Value(&it.1), rest, found)),
        _ => Err(Unclear),
    }
}

fn in_form<'t>(
    node: &'t Node<'t>,
    first: Step,
    rest: Steps,
    found: &mut Vec<At<'t>>,
) -> Result<(), Unclear> {
    let blank = node.text.as_deref().is_none_or(str::is_empty);
    if !blank {
        return Err(Unclear);
    }
    let on =
        |it: &'t Node<'t>, found: &mut Vec<At<'t>>| walk(At::Node(it, Wire::Form), rest, found);
    match first.kind {
        step::MEMBER => match node.named(first.form).next() {
            None => Ok(()),
            Some(member) => on(member, found),
        },
        step::ELEMENT => numbered(within(node, first.form)?)?
            .into_iter()
            .try_for_each(|it| on(it, found)),
        step::FLAT_ELEMENT => numbered(Some(node))?
            .into_iter()
            .try_for_each(|it| on(it, found)),
        kind => {
            let entries = match kind {
                step::KEY | step::VALUE => numbered(within(node, "entry")?)?,
                _ => numbered(Some(node))?,
            };
            let wanted = match kind {
                step::KEY | step::FLAT_KEY => first.wire,
                _ => first.form,
            };
            entries.into_iter().try_for_each(|entry| {
                let member = entry.named(wanted).next().ok_or(Unclear)?;
                on(member, found)
            })
        }
    }
}

/// The one child, which has this name.
fn within<'t>(node: &'t Node<'t>, name: &str) -> Result<Option<&'t Node<'t>>, Unclear> {
    match node.children.as_slice() {
        [] => Ok(None),
        [only] if only.name == name && !only.unclear && only.text.is_none() => Ok(Some(only)),
        _ => Err(Unclear),
    }
}

/// Children named 1, 2, …, in that order.
fn numbered<'t>(node: Option<&'t Node<'t>>) -> Result<Vec<&'t Node<'t>>, Unclear> {
    let children = node.map_or(&[][..], |it| &it.children);
    let mut found = Vec::with_capacity(children.len());
    for child in children {
        let plain =
            !child.name.starts_with('0') && child.name.bytes().all(|it| it.is_ascii_digit());
        let number: u32 = child.name.parse().ok().filter(|_| plain).ok_or(Unclear)?;
        found.push((number, child));
    }
    found.sort_by_key(|it| it.0);
    Ok(found.into_iter().map(|it| it.1).collect())
}

fn in_xml<'t>(
    node: &'t Node<'t>,
    first: Step,
    rest: Steps,
    found: &mut Vec<At<'t>>,
) -> Result<(), Unclear> {
    if node.children.is_empty() && node.text.as_deref().is_some_and(|it| !it.trim().is_empty()) {
        return Err(Unclear);
    }
    let on = |it: &'t Node<'t>, rest: Steps, found: &mut Vec<At<'t>>| {
        walk(At::Node(it, Wire::Xml), rest, found)
    };
    match first.kind {
        step::MEMBER => {
            let mut members = node.named(first.wire);
            // A flattened list's elements are the members themselves.
            if let Some((next, after)) = rest.split_first() {
                match next.kind {
                    step::FLAT_ELEMENT => return members.try_for_each(|it| on(it, after, found)),
                    step::FLAT_KEY | step::FLAT_VALUE => {
                        return members.try_for_each(|it| entry(it, next, after, found));
                    }
                    _ => {}
                }
            }
            match (members.next(), members.next()) {
                (None, _) => Ok(()),
                (Some(member), None) => on(member, rest, found),
                _ => Err(Unclear),
            }
        }
        step::ELEMENT => node.children.iter().try_for_each(|it| {
            if it.name == first.wire {
                on(it, rest, found)
            } else {
                Err(Unclear)
            }
        }),
        step::KEY | step::VALUE => node.children.iter().try_for_each(|it| {
            if it.name == "entry" {
                entry(it, first, rest, found)
            } else {
                Err(Unclear)
            }
        }),
        _ => Err(Unclear),
    }
}

/// Key or value of a map's entry.
fn entry<'t>(
    node: &'t Node<'t>,
    step: Step,
    rest: Steps,
    found: &mut Vec<At<'t>>,
) -> Result<(), Unclear> {
    let wanted = match step.kind {
        step::KEY | step::FLAT_KEY => step.wire,
        _ => step.form,
    };
    let mut members = node.named(wanted);
    match (members.next(), members.next()) {
        (Some(member), None) if !node.unclear => walk(At::Node(member, Wire::Xml), rest, found),
        _ => Err(Unclear),
    }
}
