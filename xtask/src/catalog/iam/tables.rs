//! The hand-written tables: `access/{service}.toml`, checked against models and reference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

use super::{
    super::schema::{alternative, source},
    bind,
    data::Reference,
    draft::{Rule, Target},
    model::Operation,
};

/// All tables, by botocore's name of the service.
pub(crate) struct Files {
    files: BTreeMap<String, File>,
    used: BTreeSet<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct File {
    /// Operations whose action is not known, and why.
    #[serde(default)]
    none: BTreeMap<String, String>,
    #[serde(flatten)]
    tables: BTreeMap<String, Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    access: Option<Vec<Access>>,
    /// Beside what names tell.
    also: Option<Vec<Access>>,
    #[serde(rename = "use")]
    same_as: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Access {
    action: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    optional: Vec<String>,
    when: Option<String>,
}

/// Reads them.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Files> {
    let mut files = BTreeMap::new();
    if directory.exists() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_none_or(|it| it != "toml") {
                continue;
            }
            let service = path
                .file_stem()
                .map(|it| it.to_string_lossy().into_owned())
                .context("a file has a name")?;
            let text = fs::read_to_string(&path)?;
            let file =
                toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
            files.insert(service, file);
        }
    }
    Ok(Files {
        files,
        used: BTreeSet::new(),
    })
}

impl Files {
    /// The rules of an operation; `None` where no table has it.
    pub(crate) fn draft(
        &mut self,
        operation: &Operation<'_>,
        reference: &Reference,
    ) -> anyhow::Result<Option<Vec<Rule>>> {
        let service = operation.service();
        for of in [service, shared(service)] {
            let Some(file) = self.files.get(of) else {
                continue;
            };
            let place = (of.to_owned(), operation.name.to_owned());
            if file.none.contains_key(operation.name) {
                self.used.insert(place);
                return Ok(Some(Vec::new()));
            }
            let Some(table) = file.tables.get(operation.name) else {
                continue;
            };
            self.used.insert(place);
            if table.also.is_some() {
                return Ok(None);
            }
            let rules = rules(operation, reference, file, table);
            match rules {
                // Its fork may lack a member.
                Err(_) if of != service => return Ok(None),
                rules => {
                    return rules
                        .map(Some)
                        .with_context(|| format!("access/{of}.toml [{}]", operation.name));
                }
            }
        }
        Ok(None)
    }

    /// The rules of an operation beside those that names tell.
    pub(crate) fn further(
        &self,
        operation: &Operation<'_>,
        reference: &Reference,
    ) -> anyhow::Result<Vec<Rule>> {
        let service = operation.service();
        let table = self
            .files
            .get(service)
            .and_then(|it| it.tables.get(operation.name));
        let also = table.and_then(|it| it.also.as_deref()).unwrap_or_default();
        let only =
            table.is_none_or(|it| it.also.is_none() || it.access.is_none() && it.same_as.is_none());
        let rules: anyhow::Result<Vec<Rule>> = also
            .iter()
            .map(|it| rule(operation, reference, it))
            .collect();
        let place = || format!("access/{service}.toml [{}]", operation.name);
        ensure!(only, "{}: `also` stands alone", place());
        rules.with_context(place)
    }

    /// Fails if a table names an operation that no model has.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        for (service, file) in &self.files {
            for operation in file.tables.keys().chain(file.none.keys()) {
                ensure!(
                    self.used.contains(&(service.clone(), operation.clone())),
                    "access/{service}.toml [{operation}]: botocore has no such operation"
                );
            }
        }
        Ok(())
    }
}

/// Services whose calls the wire does not tell from another's.
fn shared(service: &str) -> &str {
    match service {
        "docdb" | "neptune" => "rds",
        other => other,
    }
}

fn rules(
    operation: &Operation<'_>,
    reference: &Reference,
    file: &File,
    table: &Table,
) -> anyhow::Result<Vec<Rule>> {
    let access = match (&table.access, &table.same_as) {
        (Some(access), None) => access,
        (None, Some(other)) => {
            let other = file
                .tables
                .get(other)
                .with_context(|| format!("no table [{other}] to use"))?;
            other
                .access
                .as_ref()
                .context("`use` must name a table with `access`")?
        }
        _ => bail!("either `access` or `use`"),
    };
    ensure!(!access.is_empty(), "`access` is empty");
    access
        .iter()
        .map(|it| rule(operation, reference, it))
        .collect()
}

fn rule(operation: &Operation<'_>, reference: &Reference, access: &Access) -> anyhow::Result<Rule> {
    let (prefix, name) = access
        .action
        .split_once(':')
        .context("an action is service:Name")?;
    let action = reference
        .action(prefix, name)
        .filter(|it| it.name == name)
        .with_context(|| format!("the reference has no action {}", access.action))?;
    let mut targets = Vec::new();
    for written in &access.resources {
        targets.push(bind::target(
            operation,
            reference,
            (prefix, action),
            written,
        )?);
    }
    for written in &access.optional {
        let mut target = bind::target(operation, reference, (prefix, action), written)?;
        target.optional = true;
        targets.push(target);
    }
    if targets.is_empty() {
        targets.push(Target::any());
    }
    if action.resource_types.is_empty() {
        let kinds = targets.iter().flat_map(|it| &it.alternatives);
        ensure!(
            kinds.map(|it| it.kind).all(|it| it == alternative::ANY),
            "{} takes no resource: say `*`",
            access.action
        );
    }
    let when = access.when.as_deref();
    Ok(Rule {
        action: format!("{prefix}:{}", action.name),
        targets,
        when: when.map(|it| bind::when(operation, it)).transpose()?,
        source: source::TABLE,
    })
}
