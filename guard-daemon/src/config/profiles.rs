//! Finds a profile's text by name or path, and the policy documents that it names.

use std::io;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError, read};
use crate::policy::{
    self, BUILT_IN, LARGEST_DOCUMENTS, LARGEST_PROFILE, Profile, STANDARD, Source, SourceDocument,
};

/// The profile of sessions that name none; where there is no such file, the built-in `standard`.
const DEFAULT: &str = "default";

/// Names of profiles that an error lists.
const LISTED: usize = 20;

impl Config {
    /// The profile of this name or path; `None`: `default`.
    pub fn profile(&self, name_or_path: Option<&str>) -> Result<Profile, ConfigError> {
        Ok(Profile::load(&self.profile_source(name_or_path)?)?)
    }

    /// The texts of a profile and of the policy documents that it names, as `Profile::load` takes them. A value
    /// with a `/`, or that ends in `.toml`, is a path; anything else a name, looked up in `profile_dir` and then
    /// among the built-in ones. Documents are looked up beside the profile.
    pub fn profile_source(&self, name_or_path: Option<&str>) -> Result<Source, ConfigError> {
        let (mut source, directory) = self.profile_text(name_or_path)?;
        let mut left = LARGEST_DOCUMENTS as u64;
        for path in source.document_paths()? {
            let file = directory.join(&path);
            let text = read::bounded(&file, left)
                .map_err(|source| ConfigError::Document { path: file, source })?;
            left = left.saturating_sub(text.len() as u64);
            source.documents.push(SourceDocument { path, text });
        }
        Ok(source)
    }

    /// The profile's text alone, and the directory that it stands in.
    fn profile_text(&self, name_or_path: Option<&str>) -> Result<(Source, PathBuf), ConfigError> {
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
            Ok(text) => {
                let directory = path.parent().unwrap_or(Path::new("")).to_owned();
                Ok((Source::new(stem(&path), text), directory))
            }
            // The stem of a path given as a file must not fall back to anything.
            Err(error) if is_path => Err(ConfigError::ProfileFile {
                path,
                source: error,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = if wanted == DEFAULT { STANDARD } else { wanted };
                if let Some(text) = policy::built_in(name) {
                    return Ok((Source::new(name, text), self.profile_dir.clone()));
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
        names.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
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
