//! Finds a profile's text by name or path.

use std::io;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, read};
use crate::policy::{self, BUILT_IN_DEFAULT, LARGEST_PROFILE, Profile};

/// The profile of sessions that name none.
const DEFAULT: &str = "default";

/// Names of profiles that an error lists.
const LISTED: usize = 20;

impl Config {
    /// The profile of this name or path; `None`: `default`.
    pub fn profile(&self, name_or_path: Option<&str>) -> Result<Profile, ConfigError> {
        let (name, text) = self.profile_text(name_or_path)?;
        Ok(Profile::parse(&name, &text)?)
    }

    /// The name and text of a profile, as `Profile::parse` takes them. A value with a `/`, or that ends in
    /// `.toml`, is a path; anything else a name, looked up in `profile_dir`. Where that has no
    /// `default`, the built-in one stands in.
    pub fn profile_text(
        &self,
        name_or_path: Option<&str>,
    ) -> Result<(String, String), ConfigError> {
        let wanted = name_or_path.unwrap_or(DEFAULT);
        let is_path = wanted.contains('/')
            || Path::new(wanted)
                .extension()
                .is_some_and(|extension| extension == "toml");
        if !is_path && !policy::is_name(wanted) {
            return Err(ConfigError::ProfileName(wanted.to_owned()));
        }
        let path = if is_path {
            PathBuf::from(wanted)
        } else {
            self.profile_dir.join(format!("{wanted}.toml"))
        };
        match read::bounded(&path, LARGEST_PROFILE as u64) {
            Ok(text) => Ok((stem(&path), text)),
            // The stem of a path given as a file must not fall back to anything.
            Err(error) if is_path => Err(ConfigError::ProfileFile {
                path,
                source: error,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if wanted == DEFAULT {
                    return Ok((DEFAULT.to_owned(), BUILT_IN_DEFAULT.to_owned()));
                }
                Err(ConfigError::NoProfile {
                    name: wanted.to_owned(),
                    directory: self.profile_dir.clone(),
                    existing: self.existing_profiles(),
                })
            }
            Err(error) => Err(ConfigError::ProfileFile {
                path,
                source: error,
            }),
        }
    }

    /// The names that could have been given, in one text.
    fn existing_profiles(&self) -> String {
        let entries = std::fs::read_dir(&self.profile_dir)
            .into_iter()
            .flatten()
            .flatten();
        let toml = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        };
        let files = entries.map(|entry| entry.path()).filter(toml);
        let mut names: Vec<String> = files
            .map(|path| stem(&path))
            .filter(|name| policy::is_name(name))
            .collect();
        names.push(DEFAULT.to_owned());
        names.sort_unstable();
        names.dedup();
        let more = names.len().saturating_sub(LISTED);
        names.truncate(LISTED);
        let names = names.join(", ");
        if more == 0 {
            names
        } else {
            format!("{names} and {more} more")
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
