//! Files and flags → validated configuration; finds profiles by name or path.
//!
//! `file` is `guard.toml`, `identity` whose tokens are believed, `upstream` the way out with its flags, `profiles`
//! the search for a profile. What a profile says is `policy`'s.

mod file;
mod identity;
mod profiles;
mod read;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use file::Problem;
pub(crate) use identity::is_loopback;
pub use identity::{EmailVerified, IdentityConfig, IssuerConfig, RequiredClaim};
pub use upstream::parse_connect_flag;

use crate::policy::{Length, PolicyError, position};

const FILE: &str = "/etc/guard/guard.toml";
const STATE_DIR: &str = "/var/lib/guard";
const RUNTIME_DIR: &str = "/run/guard";
const PROFILE_DIR: &str = "/etc/guard/profiles";

/// How long an exchange waits for a person: less than the 60 s after which boto3 and awscli give up.
const HOLD: Duration = Duration::from_secs(50);

/// Bytes `guard.toml` may have.
const LARGEST_FILE: u64 = 1024 * 1024;

/// Everything `guard.toml` and the flags say, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// `/var/lib/guard` unless `--state-dir`.
    pub state_dir: PathBuf,
    /// `/run/guard` unless `--runtime-dir`.
    pub runtime_dir: PathBuf,
    /// Where profiles are looked up by name: `/etc/guard/profiles`.
    pub profile_dir: PathBuf,
    /// The address that AWS sees this host's calls come from (`aws:SourceIp`), where somebody said it.
    pub source_ip: Option<IpAddr>,
    /// The way out.
    pub upstream: UpstreamConfig,
    /// How long an exchange waits for a person: 50 s by default.
    pub hold: Duration,
    /// Whose word is taken for who a session is for.
    pub identity: IdentityConfig,
    /// Limits on what the agent controls.
    pub limits: Limits,
}

/// `[upstream]`.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Host pattern (`*.amazonaws.com`: any number of labels in front; or an exact host) → the
    /// `host:port` that is dialled instead. The certificate is still checked for the original name.
    pub connect: BTreeMap<String, String>,
    /// PEM files with roots trusted besides the system's.
    pub roots: Vec<PathBuf>,
}

/// `[limits]`: bounds on what the agent controls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of an HTTP/1.1 request head or an HTTP/2 header list.
    pub head_bytes: usize,
    /// Bytes of a request body that is needed whole to be understood or signed.
    pub request_body_bytes: u64,
    /// Bytes of a response body that is needed whole to be masked.
    pub response_body_bytes: u64,
    /// Connections a session may have open.
    pub connections: usize,
    /// How long a session may last; `None`: as long as its tree.
    pub max_session: Option<Length>,
    /// Seconds a client may take for a ClientHello or a request head.
    pub head_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            request_body_bytes: 96 * 1024 * 1024,
            response_body_bytes: 32 * 1024 * 1024,
            connections: 1024,
            max_session: None,
            head_timeout: Duration::from_secs(20),
        }
    }
}

/// Why a configuration or profile cannot be used; the text names the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {path:?}: {source}; check --config and the file's permissions"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in the file.
    #[error("{path:?}, line {line}, column {column}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong.
        problem: Problem,
    },
    /// Something in a flag.
    #[error("{0}")]
    Flag(Problem),
    /// A connect flag without `=`.
    #[error("{0:?} is not PATTERN=HOST:PORT, such as \"*.amazonaws.com=127.0.0.1:5443\"")]
    ConnectFlag(String),
    /// Neither a name nor a path.
    #[error(
        "{0:?} is not a profile name (letters, digits, `.`, `-`, `_`); a path to a profile has a `/` in it or \
         ends in `.toml`"
    )]
    ProfileName(String),
    /// No profile of that name.
    #[error(
        "there is no profile {name:?} in {directory:?}; profiles there are: {existing}; a path to a profile has a \
         `/` in it or ends in `.toml`"
    )]
    NoProfile {
        /// The name.
        name: String,
        /// Where it was looked for.
        directory: PathBuf,
        /// What there is.
        existing: String,
    },
    /// The profile's file cannot be read.
    #[error(
        "cannot read the profile {path:?}: {source}; check the path and the file's permissions"
    )]
    ProfileFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A policy document that the profile names cannot be read.
    #[error(
        "cannot read the policy document {path:?}: {source}; check the path in the profile's [policies] and the \
         file's permissions"
    )]
    Document {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The profile's text is not accepted.
    #[error(transparent)]
    Profile(#[from] PolicyError),
}

impl Config {
    /// Reads and checks the configuration. Without `file`, `/etc/guard/guard.toml` is read if it exists;
    /// a file that is named must exist. The directories are the flags', else the defaults, made absolute.
    pub fn load(
        file: Option<&Path>,
        state_dir: Option<&Path>,
        runtime_dir: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(FILE));
        let text = match read::bounded(path, LARGEST_FILE) {
            Ok(text) => text,
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
                String::new()
            }
            Err(source) => {
                return Err(ConfigError::Unreadable {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let said = file::parse(&text).map_err(|file::Misplaced(span, problem)| {
            let (line, column) = position::of(&text, span.start);
            ConfigError::Invalid {
                path: path.to_owned(),
                line,
                column,
                problem,
            }
        })?;
        Ok(Self {
            state_dir: directory(state_dir, STATE_DIR),
            runtime_dir: directory(runtime_dir, RUNTIME_DIR),
            profile_dir: said.profile_dir.unwrap_or_else(|| PROFILE_DIR.into()),
            source_ip: said.source_ip,
            upstream: said.upstream,
            hold: said.hold.unwrap_or(HOLD),
            identity: said.identity,
            limits: said.limits,
        })
    }
}

/// Absolute, since the daemon changes its working directory. Only an empty path has no absolute form;
/// making the directory will say so.
fn directory(flag: Option<&Path>, default: &str) -> PathBuf {
    let path = flag.unwrap_or(Path::new(default));
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
