//! Files and flags → validated configuration; finds profiles by name or path.
//!
//! docs/configuration.md is the reference.

mod file;
mod upstream;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::policy::{BUILT_IN, PolicyError, Profile};

pub use upstream::UpstreamConfig;

/// The configuration file that need not be there.
const FILE: &str = "/etc/guard/guard.toml";
/// The profile's name where none is given.
const DEFAULT_PROFILE: &str = "default";
/// Bytes of a configuration file or a profile.
const MAX_FILE: u64 = 1024 * 1024;

/// Everything `guard.toml` and the flags say, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// `/var/lib/guard` unless `--state-dir`.
    pub state_dir: PathBuf,
    /// `/run/guard` unless `--runtime-dir`.
    pub runtime_dir: PathBuf,
    /// Where profiles are looked up by name: `/etc/guard/profiles`.
    pub profile_dir: PathBuf,
    /// The way out.
    pub upstream: UpstreamConfig,
    /// How long an exchange waits for a person: 50 s by default.
    pub hold: Duration,
    /// Limits on what the agent controls.
    pub limits: Limits,
}

/// `[limits]`: bounds on what the agent controls.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of an HTTP/1.1 request head or an HTTP/2 header list.
    pub head_bytes: usize,
    /// Bytes of a request body that is needed whole to be understood or signed.
    pub request_body_bytes: u64,
    /// Bytes of a response body that is needed whole to be masked.
    pub response_body_bytes: u64,
    /// Connections a session may have open.
    pub connections: usize,
    /// How long a client may take for a ClientHello or a request head.
    pub head_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            request_body_bytes: 96 * 1024 * 1024,
            response_body_bytes: 32 * 1024 * 1024,
            connections: 1024,
            head_timeout: Duration::from_secs(20),
        }
    }
}

/// Why the configuration or a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is longer than guard reads.
    #[error("{path} is longer than 1 MiB; a configuration or profile is a short text", path = .0.display())]
    TooLong(PathBuf),
    /// Not TOML, an unknown key, or a value of the wrong type; the source says where.
    #[error("{path}: {source}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value is not one that makes sense.
    #[error("{path}: {what}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which, and what is expected.
        what: String,
    },
    /// There is no profile of this name.
    #[error("there is no profile {name:?}: {directory} has {found}; name one, or give a path with a slash", directory = directory.display())]
    NoProfile {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The profile is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Config {
    /// Reads `file` (which must exist), or `/etc/guard/guard.toml` where it exists; the directories given
    /// as flags come first.
    pub fn load(
        file: Option<&Path>,
        state_dir: Option<&Path>,
        runtime_dir: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(FILE));
        let text = match read(path) {
            Ok(text) => text,
            Err(ConfigError::Read { source, .. })
                if file.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                String::new()
            }
            Err(error) => return Err(error),
        };
        let mut config = file::parse(path, &text)?;
        let or = |flag: Option<&Path>, default: &str| {
            flag.map_or_else(|| PathBuf::from(default), Path::to_owned)
        };
        config.state_dir = or(state_dir, "/var/lib/guard");
        config.runtime_dir = or(runtime_dir, "/run/guard");
        Ok(config)
    }

    /// Finds and parses a profile: a path where `wanted` has a slash or ends in `.toml`, else a name in
    /// `profile_dir`, else the built-in `default`.
    pub fn profile(&self, wanted: Option<&str>) -> Result<Profile, ConfigError> {
        let name = wanted.unwrap_or(DEFAULT_PROFILE);
        if name.contains('/') || Path::new(name).extension().is_some_and(|e| e == "toml") {
            let path = Path::new(name);
            let stem = path
                .file_stem()
                .map_or("profile".into(), |stem| stem.to_string_lossy());
            return Ok(Profile::parse(&stem, &read(path)?)?);
        }
        match read(&self.profile_dir.join(format!("{name}.toml"))) {
            Ok(text) => Ok(Profile::parse(name, &text)?),
            Err(ConfigError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                if name == DEFAULT_PROFILE {
                    return Ok(Profile::parse(name, BUILT_IN)?);
                }
                Err(ConfigError::NoProfile {
                    name: name.to_owned(),
                    directory: self.profile_dir.clone(),
                    found: profiles(&self.profile_dir),
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_FILE {
        return Err(ConfigError::TooLong(path.to_owned()));
    }
    Ok(text)
}

/// The names of the profiles in a directory, for an error message.
fn profiles(directory: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_suffix(".toml")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Effect;

    fn config(directory: &Path) -> Config {
        let file = directory.join("guard.toml");
        std::fs::write(&file, format!("profile_dir = {:?}\n", directory.display())).unwrap();
        Config::load(Some(&file), Some(Path::new("/s")), None).unwrap()
    }

    #[test]
    fn profiles_are_found_by_name_path_or_built_in() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        assert_eq!(config.profile(None).unwrap().name(), "default");
        let path = directory.path().join("review.toml");
        std::fs::write(&path, "default = \"deny\"\n").unwrap();
        for wanted in ["review", path.to_str().unwrap()] {
            let profile = config.profile(Some(wanted)).unwrap();
            assert_eq!(profile.name(), "review");
            assert_eq!(profile.decide(&[]).effect, Effect::Deny);
        }
        let error = config.profile(Some("other")).unwrap_err().to_string();
        assert!(
            error.contains("no profile \"other\"") && error.contains("review"),
            "{error}"
        );
        assert!(config.profile(Some("./nowhere.toml")).is_err());
    }

    #[test]
    fn directories_come_from_flags_and_an_explicit_file_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        assert_eq!(config.state_dir, Path::new("/s"));
        assert_eq!(config.runtime_dir, Path::new("/run/guard"));
        assert!(Config::load(Some(Path::new("/nowhere/guard.toml")), None, None).is_err());
    }

    #[test]
    fn a_long_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("long.toml");
        std::fs::write(&path, "#".repeat(1024 * 1024 + 1)).unwrap();
        assert!(matches!(read(&path), Err(ConfigError::TooLong(_))));
    }
}
