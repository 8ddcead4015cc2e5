//! `guard policy check`: parses profiles and IAM policies, and looks for what is probably not meant.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::FINDINGS;
use crate::aws::catalog;
use crate::cli::terminal::printable;
use crate::config::Config;
use crate::context::GUARD_KEYS;
use crate::policy::lint::{self, Actions, KeyType, Model};
use crate::policy::{Source, SourceDocument};

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
    let sources = if arguments.files.is_empty() {
        vec![("the profile".to_owned(), config.profile_source(None)?)]
    } else {
        let read = |path: &PathBuf| Ok((path.display().to_string(), source(&config, path)?));
        arguments
            .files
            .iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?
    };
    for (name, source) in sources {
        match lint::lint(&source, &Catalog) {
            Ok(findings) if findings.is_empty() => writeln!(out, "{}: ok", printable(&name))?,
            Ok(findings) => {
                wrong = true;
                for finding in findings {
                    writeln!(
                        out,
                        "{}: {}",
                        printable(&name),
                        printable(&finding.to_string())
                    )?;
                }
            }
            Err(error) => {
                wrong = true;
                writeln!(
                    out,
                    "{}: {}",
                    printable(&name),
                    printable(&error.to_string())
                )?;
            }
        }
    }
    Ok(if wrong {
        ExitCode::from(FINDINGS)
    } else {
        ExitCode::SUCCESS
    })
}

/// A profile, or an IAM policy as one that a profile names.
fn source(config: &Config, path: &Path) -> anyhow::Result<Source> {
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
                .collect(),
        })
    }

    fn names(&self) -> Vec<&str> {
        catalog::actions().map(catalog::ActionModel::name).collect()
    }

    fn key_type(&self, key: &str) -> Option<KeyType> {
        // guard's own keys are text.
        let own = GUARD_KEYS.iter().any(|it| it.eq_ignore_ascii_case(key));
        own.then_some(KeyType::String)
    }
}
