//! `guard policy check`: parses profiles and IAM policies, and looks for what is probably not meant.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::FINDINGS;
use crate::aws::catalog;
use crate::config::{Config, ConfigError};
use crate::policy::lint::{self, Actions, KeyType, Model};
use crate::policy::{GUARD_KEYS, LABEL_KEYS, Source, SourceDocument, label_of};
use crate::visible::printable;

/// Bytes a policy document may have.
const LARGEST: u64 = 1024 * 1024;

/// Its flags.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Profiles (`.toml`, or a profile's name) and IAM policies (`.json`) [default: the profile in force]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, global: &crate::cli::Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let mut out = std::io::stdout().lock();
    let mut wrong = false;
    let files = if arguments.files.is_empty() {
        vec![("the profile".to_owned(), None)]
    } else {
        let named = |path: &PathBuf| (path.display().to_string(), Some(path.clone()));
        arguments.files.iter().map(named).collect()
    };
    for (name, path) in files {
        let findings = match source(&config, path.as_deref()) {
            Ok(source) => lint::lint(&source, &Catalog),
            Err(error) => match error.downcast::<ConfigError>() {
                Ok(ConfigError::Profile(error)) => Err(error),
                Ok(error) => return Err(error.into()),
                Err(error) => return Err(error),
            },
        };
        let lines: Vec<String> = match findings {
            Ok(findings) => findings.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        };
        wrong |= !lines.is_empty();
        let name = printable(&name);
        if lines.is_empty() {
            writeln!(out, "{name}: ok")?;
        }
        for line in lines {
            writeln!(out, "{name}: {}", printable(&line))?;
        }
    }
    Ok(if wrong {
        ExitCode::from(FINDINGS)
    } else {
        ExitCode::SUCCESS
    })
}

/// A profile, or an IAM policy as one that a profile names.
fn source(config: &Config, path: Option<&Path>) -> anyhow::Result<Source> {
    let Some(path) = path else {
        return Ok(config.profile_source(None)?);
    };
    if path.extension() != Some(OsStr::new("json")) {
        let name = path.to_string_lossy();
        return Ok(config.profile_source(Some(&name))?);
    }
    let text =
        super::read(path, LARGEST).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let profile = toml::toml! { policies = { identity = [(name.clone())] } };
    Ok(Source {
        documents: vec![SourceDocument {
            path: name.clone(),
            text,
        }],
        ..Source::new("check", profile.to_string())
    })
}

/// What the catalog knows of IAM's actions.
struct Catalog;

impl Actions for Catalog {
    fn action(&self, name: &str) -> Option<Model> {
        let action = catalog::action(name)?;
        let labels = format!("{LABEL_KEYS}${{Name}}");
        let guards = GUARD_KEYS.iter().map(|it| (*it).to_owned());
        Some(Model {
            resources: action
                .resource_types()
                .map(|it| it.arn.to_owned())
                .collect(),
            keys: action
                .condition_keys()
                .map(str::to_owned)
                .chain(guards)
                .chain([labels])
                .collect(),
        })
    }

    fn names(&self) -> Vec<&str> {
        catalog::actions().map(catalog::ActionModel::name).collect()
    }

    fn key_type(&self, key: &str) -> Option<KeyType> {
        if ["guard:uid", "guard:loginuid"].contains(&key) {
            return Some(KeyType::Numeric);
        }
        // The others of guard's own are text.
        if label_of(key).is_some() || GUARD_KEYS.iter().any(|it| it.eq_ignore_ascii_case(key)) {
            return Some(KeyType::String);
        }
        Some(match catalog::condition_key(key)?.kind()? {
            catalog::KeyType::String => KeyType::String,
            catalog::KeyType::Numeric => KeyType::Numeric,
            catalog::KeyType::Date => KeyType::Date,
            catalog::KeyType::Bool => KeyType::Bool,
            catalog::KeyType::Address => KeyType::Address,
            catalog::KeyType::Arn => KeyType::Arn,
            catalog::KeyType::Strings => KeyType::Strings,
            catalog::KeyType::Arns => KeyType::Arns,
            // The lint has no such type.
            catalog::KeyType::Bools => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators of another type than a service's key are found.
    #[test]
    fn types_of_services_keys() {
        for (action, condition, wanted) in [
            (
                "ec2:CreateVolume",
                "StringEquals = { \"ec2:Encrypted\" = \"true\" }",
                "is true or false",
            ),
            (
                "ec2:CreateVolume",
                "Bool = { \"ec2:Encrypted\" = true }",
                "",
            ),
            (
                "s3:ListBucket",
                "StringEquals = { \"s3:max-keys\" = \"1\" }",
                "is a number",
            ),
            (
                "dynamodb:GetItem",
                "StringEquals = { \"dynamodb:LeadingKeys\" = \"a\" }",
                "dynamodb:LeadingKeys",
            ),
            (
                "dynamodb:GetItem",
                "\"ForAllValues:StringEquals\" = { \"dynamodb:LeadingKeys\" = \"a\" }",
                "",
            ),
        ] {
            let text = format!(
                "[[statement]]\neffect = \"deny\"\naction = \"{action}\"\ncondition.{condition}\n"
            );
            let found = lint::lint(&Source::new("p", text), &Catalog).unwrap();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            let found = found.join("; ");
            assert!(found.contains(wanted), "{condition}: {found}");
            assert_eq!(found.is_empty(), wanted.is_empty(), "{condition}: {found}");
        }
    }
}
