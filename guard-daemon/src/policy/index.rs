//! Finds the statements that could match an access without looking at the others.
//!
//! Everything that a pattern matches starts with the pattern's literal beginning. Statements are therefore kept
//! under the beginnings of their actions, and below each of these under the beginnings of their resources.

use std::collections::BTreeMap;

use super::Effect;
use super::pattern::Start;
use super::statement::{Patterns, Statement};
use crate::aws::Resource;

/// An index of statements, by their places in a list.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the beginnings of actions, services included.
    actions: Prefixes<Group>,
    /// By the beginnings of names, where the service may be any.
    names: Prefixes<Group>,
    /// All of them, for an action that is not known.
    all: Group,
}

/// Statements by resource. Places are in ascending order.
#[derive(Debug, Default)]
struct Group {
    /// Those that may match a resource that is not known.
    unknown: Vec<u32>,
    /// Those that may match anything.
    any: Vec<u32>,
    /// The others, under the beginnings of their resources.
    named: Prefixes<Vec<u32>>,
}

impl Index {
    pub(super) fn new<'a>(statements: impl IntoIterator<Item = &'a Statement>) -> Self {
        let mut actions: BTreeMap<&str, Draft<'a>> = BTreeMap::new();
        let mut names: BTreeMap<&str, Draft<'a>> = BTreeMap::new();
        let mut all = Draft::default();
        for (at, statement) in (0..).zip(statements) {
            all.add(at, statement);
            let Patterns { except, list } = &statement.actions;
            let mut starts: Vec<Start<&str>> = if *except {
                vec![Start::Action("")]
            } else {
                list.iter().map(|action| action.pattern.start()).collect()
            };
            starts.sort_unstable();
            starts.dedup();
            for start in starts {
                let draft = match start {
                    Start::Action(start) => actions.entry(start),
                    Start::Name(start) => names.entry(start),
                };
                draft.or_default().add(at, statement);
            }
        }
        let finish = |drafts: BTreeMap<&'a str, Draft<'a>>| {
            let groups = drafts
                .into_iter()
                .map(|(start, draft)| (start, draft.finish()));
            Prefixes::new(groups)
        };
        Self {
            actions: finish(actions),
            names: finish(names),
            all: all.finish(),
        }
    }

    /// Visits the lists of places of all statements that could match, each list in ascending order. A
    /// statement may be in several.
    pub(super) fn visit(
        &self,
        action: Option<&str>,
        resource: &Resource,
        visit: &mut impl FnMut(&[u32]),
    ) {
        let Some((action, (_, name))) = action.and_then(|it| Some((it, it.split_once(':')?)))
        else {
            return self.all.visit(resource, visit);
        };
        let named = self.names.of::<true>(name);
        for group in self.actions.of::<true>(action).chain(named) {
            group.visit(resource, visit);
        }
    }
}

impl Index {
    /// Visits the lists of places of all statements that could match everything that starts so; `None`: any
    /// resource.
    pub(super) fn covering(
        &self,
        action: Start<&str>,
        resource: Option<&str>,
        visit: &mut impl FnMut(&[u32]),
    ) {
        let (whole, name) = match action {
            Start::Action(start) => (start, start.split_once(':').map_or("", |(_, name)| name)),
            Start::Name(name) => ("", name),
        };
        let named = self.names.of::<true>(name);
        for group in self.actions.of::<true>(whole).chain(named) {
            visit(&group.any);
            for list in resource
                .into_iter()
                .flat_map(|start| group.named.of::<false>(start))
            {
                visit(list);
            }
        }
    }
}

impl Group {
    fn visit(&self, resource: &Resource, visit: &mut impl FnMut(&[u32])) {
        match resource {
            Resource::Arn(arn) => {
                visit(&self.any);
                for list in self.named.of::<false>(arn) {
                    visit(list);
                }
            }
            Resource::Any => visit(&self.any),
            Resource::Unknown => visit(&self.unknown),
        }
    }
}

#[derive(Default)]
struct Draft<'a> {
    unknown: Vec<u32>,
    any: Vec<u32>,
    named: BTreeMap<&'a str, Vec<u32>>,
}

impl<'a> Draft<'a> {
    fn add(&mut self, at: u32, statement: &'a Statement) {
        let resources = &statement.resources;
        let any = resources.except || resources.list.iter().any(|it| it.pattern.is_any());
        if any || statement.effect != Effect::Allow {
            self.unknown.push(at);
        }
        if any {
            self.any.push(at);
            return;
        }
        for resource in &resources.list {
            let list = self.named.entry(resource.pattern.start()).or_default();
            if list.last() != Some(&at) {
                list.push(at);
            }
        }
    }

    fn finish(self) -> Group {
        Group {
            unknown: self.unknown,
            any: self.any,
            named: Prefixes::new(self.named),
        }
    }
}

/// Values under texts; finds those whose text a given one starts with.
#[derive(Debug)]
struct Prefixes<T> {
    /// Sorted by text.
    entries: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    text: Box<str>,
    value: T,
    /// The longest other text that this one starts with.
    parent: Option<usize>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<T> Prefixes<T> {
    /// Of entries in the order of their texts, none twice.
    fn new<'a>(sorted: impl IntoIterator<Item = (&'a str, T)>) -> Self {
        let mut entries: Vec<Entry<T>> = Vec::new();
        for (text, value) in sorted {
            // What a text starts with stands before it, and what stands between the two starts with it, too.
            let mut parent = entries.len().checked_sub(1);
            while let Some(at) = parent
                && !text.starts_with(&*entries[at].text)
            {
                parent = entries[at].parent;
            }
            entries.push(Entry {
                text: text.into(),
                value,
                parent,
            });
        }
        Self { entries }
    }

    /// The values under beginnings of a text. `FOLD`: the text is taken in lower case.
    fn of<const FOLD: bool>(&self, text: &str) -> impl Iterator<Item = &T> {
        let text = text.as_bytes();
        let after = self.entries.partition_point(|entry| {
            let entry = entry.text.as_bytes();
            if FOLD {
                entry
                    .iter()
                    .copied()
                    .cmp(text.iter().map(u8::to_ascii_lowercase))
                    .is_le()
            } else {
                entry <= text
            }
        });
        let starts = move |entry: &Entry<T>| {
            text.get(..entry.text.len()).is_some_and(|start| {
                if FOLD {
                    start.eq_ignore_ascii_case(entry.text.as_bytes())
                } else {
                    start == entry.text.as_bytes()
                }
            })
        };
        let mut next = after.checked_sub(1);
        std::iter::from_fn(move || {
            loop {
                let entry = &self.entries[next?];
                next = entry.parent;
                if starts(entry) {
                    return Some(&entry.value);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_all_beginnings_and_nothing_else(
            texts in prop::collection::btree_set("[ab:]{0,5}", 0..20),
            text in "[abAB:]{0,8}",
        ) {
            let prefixes = Prefixes::new(texts.iter().map(|text| (text.as_str(), text.as_str())));
            for (mut found, text) in [
                (prefixes.of::<false>(&text).copied().collect::<Vec<_>>(), text.clone()),
                (prefixes.of::<true>(&text).copied().collect(), text.to_ascii_lowercase()),
            ] {
                found.reverse();
                let expected: Vec<&str> = texts.iter().map(String::as_str).filter(|it| text.starts_with(it)).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
