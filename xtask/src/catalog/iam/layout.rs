//! Actions, rules and key rules → the artifact's tables, each thing once.

use std::{collections::HashMap, hash::Hash};

use anyhow::Context;

use super::{
    super::{
        schema::{
            self, Action, Catalog, NONE, ResourceType, Rule, Span, Step, Target, alternative,
        },
        tables::{Tables, append, length},
    },
    bind,
    data::Reference,
    draft::{self, NamedStep, Part},
};

/// What has been laid out so far.
#[derive(Default)]
pub(crate) struct Layout {
    actions: HashMap<String, u32>,
    table_actions: Vec<Action>,
    /// See `condition`.
    pub(super) condition_keys: Vec<schema::ConditionKey>,
    types: Vec<ResourceType>,
    rules: Vec<Rule>,
    targets: Vec<Target>,
    alternatives: Pool<schema::Alternative>,
    parts: Vec<schema::Part>,
    part_spans: HashMap<Vec<schema::Part>, Span>,
    paths: Pool<schema::Path>,
    steps: Pool<Step>,
    key_rules: Pool<schema::KeyRule>,
    spans: HashMap<Vec<u32>, Span>,
}

/// An operation's rules.
#[derive(Clone, Copy)]
pub(crate) struct Laid {
    /// In `rules`.
    pub(crate) rules: Span,
    /// In `numbers`.
    pub(crate) keys: Span,
}

/// How a condition key is read, before it is laid out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyDraft {
    /// In lower case.
    pub(crate) key: String,
    /// As `schema::key`.
    pub(crate) kind: u32,
    /// Alternatives, for one or many values.
    pub(crate) alternatives: Vec<draft::Alternative>,
    /// Paths, for containers.
    pub(crate) paths: Vec<draft::Path>,
    /// Where it is not given.
    pub(crate) absent: Missing,
    /// Types of the resources that it is right for, as their ARNs name them; all where there are none.
    pub(crate) on: Vec<String>,
}

/// What a key is where its member is not given.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Missing {
    /// Absent.
    Absent,
    /// Unknown.
    Unknown,
    /// This.
    Value(String),
}

impl Layout {
    /// Actions and resource types.
    pub(crate) fn actions(
        &mut self,
        reference: &Reference,
        tables: &mut Tables,
    ) -> anyhow::Result<()> {
        let mut all = Vec::new();
        for (prefix, service) in &reference.services {
            let mut types = HashMap::new();
            for (name, it) in &service.types {
                let laid = ResourceType {
                    name: tables.text(&it.key),
                    arn: tables.text(&it.arn),
                };
                types.insert(name.as_str(), length(&self.types));
                self.types.push(laid);
            }
            for action in service.actions.values() {
                all.push((format!("{prefix}:{}", action.name), action, types.clone()));
            }
        }
        all.sort_by_cached_key(|it| it.0.to_ascii_lowercase());
        for (name, action, types) in all {
            let mut uses = Vec::new();
            for used in &action.resource_types {
                let Some(place) = types.get(used.name.to_ascii_lowercase().as_str()) else {
                    continue;
                };
                let keys = self.texts(&used.condition_keys, tables);
                uses.extend([*place, u32::from(used.required), keys.start, keys.end]);
            }
            let dependents = action.dependents();
            let dependents: Vec<u32> = dependents.iter().map(|it| tables.text(it)).collect();
            let laid = Action {
                name: tables.text(&name),
                level: action.level()?,
                types: self.span(uses, tables),
                keys: self.texts(&action.condition_keys, tables),
                dependents: self.span(dependents, tables),
            };
            self.actions.insert(name, length(&self.table_actions));
            self.table_actions.push(laid);
        }
        Ok(())
    }

    /// An operation's rules.
    pub(crate) fn operation(
        &mut self,
        drafts: &[draft::Rule],
        keys: &[KeyDraft],
        tables: &mut Tables,
    ) -> anyhow::Result<Laid> {
        let mut laid = Vec::with_capacity(drafts.len());
        for rule in drafts {
            let action = self.actions.get(&rule.action);
            let action = *action.with_context(|| format!("{} is not laid out", rule.action))?;
            let targets: Vec<Target> = rule
                .targets
                .iter()
                .map(|it| self.target(it, tables))
                .collect();
            let (when, value) = match &rule.when {
                None => (NONE, NONE),
                Some((path, value)) => (
                    self.path(path, tables),
                    value.as_ref().map_or(NONE, |it| tables.text(it)),
                ),
            };
            laid.push(Rule {
                action,
                targets: append(&mut self.targets, targets),
                when,
                value,
                source: rule.source,
            });
        }
        let keys: Vec<u32> = keys.iter().map(|it| self.key(it, tables)).collect();
        Ok(Laid {
            rules: append(&mut self.rules, laid),
            keys: self.span(keys, tables),
        })
    }

    /// Moves everything into the artifact.
    pub(crate) fn finish(self, catalog: &mut Catalog) {
        catalog.actions = self.table_actions;
        catalog.condition_keys = self.condition_keys;
        catalog.resource_types = self.types;
        catalog.rules = self.rules;
        catalog.rule_targets = self.targets;
        catalog.alternatives = self.alternatives.items;
        catalog.parts = self.parts;
        catalog.paths = self.paths.items;
        catalog.steps = self.steps.items;
        catalog.key_rules = self.key_rules.items;
    }

    fn target(&mut self, target: &draft::Target, tables: &mut Tables) -> Target {
        let numbers: Vec<u32> = target
            .alternatives
            .iter()
            .map(|it| self.alternative(it, tables))
            .collect();
        Target {
            optional: u32::from(target.optional),
            alternatives: self.span(numbers, tables),
        }
    }

    fn alternative(&mut self, it: &draft::Alternative, tables: &mut Tables) -> u32 {
        let parts: Vec<schema::Part> = it
            .parts
            .iter()
            .map(|part| {
                let (value, form) = match part {
                    Part::Literal(text) => (tables.text(text), None),
                    Part::Call(_) => (0, None),
                    Part::Member(path, form) => (self.path(path, tables), Some(form)),
                    Part::Item(steps, form) => (self.within(steps, tables), Some(form)),
                };
                schema::Part {
                    kind: bind::kind(part),
                    value,
                    form: form.map_or(0, |it| it.kind),
                    text: form.map_or(0, |it| tables.text(&it.text)),
                }
            })
            .collect();
        let known = self.part_spans.get(&parts).copied();
        let parts = known.unwrap_or_else(|| {
            let span = append(&mut self.parts, parts.clone());
            self.part_spans.insert(parts, span);
            span
        });
        let services: Vec<u32> = if it.kind == alternative::WHOLE {
            it.services.iter().map(|it| tables.text(it)).collect()
        } else {
            Vec::new()
        };
        let each = it
            .each
            .as_ref()
            .map_or(NONE, |path| self.path(path, tables));
        let laid = schema::Alternative {
            kind: it.kind,
            each,
            parts,
            services: self.span(services, tables),
        };
        self.alternatives.number(laid)
    }

    fn path(&mut self, path: &draft::Path, tables: &mut Tables) -> u32 {
        let name = if path.location == schema::location::LABEL {
            path.segment
        } else {
            tables.text(&path.name)
        };
        let steps = self.steps(&path.steps, tables);
        self.paths.number(schema::Path {
            location: path.location,
            name,
            steps,
        })
    }

    fn within(&mut self, steps: &[NamedStep], tables: &mut Tables) -> u32 {
        let steps = self.steps(steps, tables);
        self.paths.number(schema::Path {
            location: bind::WITHIN,
            name: 0,
            steps,
        })
    }

    fn steps(&mut self, steps: &[NamedStep], tables: &mut Tables) -> Span {
        let numbers: Vec<u32> = steps
            .iter()
            .map(|it| {
                let step = it.number(|text| tables.text(text));
                self.steps.number(step)
            })
            .collect();
        self.span(numbers, tables)
    }

    fn key(&mut self, it: &KeyDraft, tables: &mut Tables) -> u32 {
        let reads: Vec<u32> = if it.paths.is_empty() {
            it.alternatives
                .iter()
                .map(|it| self.alternative(it, tables))
                .collect()
        } else {
            it.paths.iter().map(|it| self.path(it, tables)).collect()
        };
        let laid = schema::KeyRule {
            key: tables.text(&it.key),
            kind: it.kind,
            reads: self.span(reads, tables),
            absent: match &it.absent {
                Missing::Absent => schema::absent::ABSENT,
                Missing::Unknown => schema::absent::UNKNOWN,
                Missing::Value(text) => tables.text(text),
            },
            on: self.texts(&it.on, tables),
        };
        self.key_rules.number(laid)
    }

    fn texts(&mut self, texts: &[String], tables: &mut Tables) -> Span {
        let numbers = texts.iter().map(|it| tables.text(it)).collect();
        self.span(numbers, tables)
    }

    fn span(&mut self, numbers: Vec<u32>, tables: &mut Tables) -> Span {
        if numbers.is_empty() {
            return Span::default();
        }
        if let Some(known) = self.spans.get(&numbers) {
            return *known;
        }
        let span = tables.numbers(numbers.iter().copied());
        self.spans.insert(numbers, span);
        span
    }
}

/// Things by number, each once.
struct Pool<T> {
    items: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            numbers: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Pool<T> {
    fn number(&mut self, item: T) -> u32 {
        if let Some(known) = self.numbers.get(&item) {
            return *known;
        }
        let number = length(&self.items);
        self.items.push(item.clone());
        self.numbers.insert(item, number);
        number
    }
}
