//! Files and flags → validated configuration; finds profiles by name or path.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

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

/// `[upstream]`.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Host pattern (`*.amazonaws.com`: any number of labels in front; or an exact host) → the
    /// `host:port` that is dialled instead. The certificate is still checked for the original name.
    pub connect: BTreeMap<String, String>,
    /// PEM files with roots trusted besides the system's.
    pub roots: Vec<PathBuf>,
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
            head_timeout: Duration::from_secs(20),
        }
    }
}
