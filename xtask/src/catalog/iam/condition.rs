//! Condition keys of all services → the artifact's table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::{
    super::{
        schema::{ConditionKey, key_type},
        tables::Tables,
    },
    data::Reference,
};

/// Each key once, sorted by name in any case. AWS's global keys are not the reference's to define.
pub(crate) fn lay_out(
    reference: &Reference,
    tables: &mut Tables,
) -> anyhow::Result<Vec<ConditionKey>> {
    let mut listed = BTreeSet::new();
    let mut all: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    for service in reference.services.values() {
        for action in service.actions.values() {
            listed.extend(action.keys().map(str::to_ascii_lowercase));
        }
        for (lower, key) in service.keys.iter().filter(|it| !it.0.starts_with("aws:")) {
            let kind = kind(&key.kind)?;
            let known = all.entry(lower).or_insert((&key.name, kind));
            if known.1 != kind {
                known.1 = key_type::UNKNOWN;
            }
        }
    }
    let laid = all.into_iter().map(|(lower, (name, kind))| ConditionKey {
        name: tables.text(name),
        kind,
        listed: u32::from(listed.contains(lower)),
    });
    Ok(laid.collect())
}

fn kind(written: &str) -> anyhow::Result<u32> {
    Ok(match written {
        "String" => key_type::STRING,
        "Numeric" => key_type::NUMERIC,
        "Date" => key_type::DATE,
        "Bool" => key_type::BOOL,
        "IPAddress" => key_type::ADDRESS,
        "ARN" => key_type::ARN,
        "ArrayOfString" => key_type::STRINGS,
        "ArrayOfBool" => key_type::BOOLS,
        "ArrayOfARN" => key_type::ARNS,
        other => bail!("a condition key has a new type: {other}"),
    })
}
