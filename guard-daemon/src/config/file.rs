//! The form of `guard.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Config, ConfigError, Limits, UpstreamConfig};

const MEBIBYTE: u64 = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    profile_dir: PathBuf,
    upstream: UpstreamConfig,
    approval: Approval,
    limits: RawLimits,
}

impl Default for File {
    fn default() -> Self {
        Self {
            profile_dir: "/etc/guard/profiles".into(),
            upstream: UpstreamConfig::default(),
            approval: Approval::default(),
            limits: RawLimits::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    hold_seconds: u64,
}

impl Default for Approval {
    fn default() -> Self {
        Self { hold_seconds: 50 }
    }
}

/// Bounds that may be moved, each within a range that keeps guard working.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    head_bytes: Option<u64>,
    request_body_bytes: Option<u64>,
    response_body_bytes: Option<u64>,
    connections: Option<u64>,
    head_timeout_seconds: Option<u64>,
}

/// Parses and validates the text of `path`. The directories are the caller's to set.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|source| ConfigError::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let invalid = |what| ConfigError::Invalid {
        path: path.to_owned(),
        what,
    };
    file.upstream
        .validate()
        .map_err(|what| invalid(format!("[upstream] connect: {what}")))?;
    for root in &file.upstream.roots {
        std::fs::File::open(root).map_err(|source| {
            invalid(format!(
                "[upstream] roots: {} cannot be read: {source}",
                root.display()
            ))
        })?;
    }
    if !file.profile_dir.is_absolute() {
        return Err(invalid("profile_dir: write an absolute path".to_owned()));
    }
    let hold = within(
        "[approval] hold_seconds",
        Some(file.approval.hold_seconds),
        50,
        1,
        3600,
    )
    .map_err(invalid)?;
    let limits = file.limits.validate().map_err(invalid)?;
    Ok(Config {
        state_dir: PathBuf::new(),
        runtime_dir: PathBuf::new(),
        profile_dir: file.profile_dir,
        upstream: file.upstream,
        hold: Duration::from_secs(hold),
        limits,
    })
}

impl RawLimits {
    fn validate(&self) -> Result<Limits, String> {
        let default = Limits::default();
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Limits {
            head_bytes: size(within(
                "[limits] head_bytes",
                self.head_bytes,
                default.head_bytes as u64,
                16 * 1024,
                MEBIBYTE,
            )?),
            request_body_bytes: within(
                "[limits] request_body_bytes",
                self.request_body_bytes,
                default.request_body_bytes,
                MEBIBYTE,
                1024 * MEBIBYTE,
            )?,
            response_body_bytes: within(
                "[limits] response_body_bytes",
                self.response_body_bytes,
                default.response_body_bytes,
                MEBIBYTE,
                256 * MEBIBYTE,
            )?,
            connections: size(within(
                "[limits] connections",
                self.connections,
                default.connections as u64,
                1,
                65_536,
            )?),
            head_timeout: Duration::from_secs(within(
                "[limits] head_timeout_seconds",
                self.head_timeout_seconds,
                default.head_timeout.as_secs(),
                1,
                300,
            )?),
        })
    }
}

fn within(
    key: &str,
    value: Option<u64>,
    default: u64,
    least: u64,
    most: u64,
) -> Result<u64, String> {
    let value = value.unwrap_or(default);
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(format!("{key} is {value}; it can be {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("[upstream]\nrotos = []", "rotos"),
            (
                "[upstream.connect]\n\"*.amazonaws.com\" = \"nowhere\"",
                "nowhere",
            ),
            (
                "[upstream]\nroots = [\"/nowhere/root.pem\"]",
                "/nowhere/root.pem",
            ),
            ("[approval]\nhold_seconds = 0", "hold_seconds is 0"),
            ("[limits]\nhead_bytes = 1", "head_bytes is 1"),
            ("profile_dir = \"relative\"", "absolute"),
            ("x = [", "line 1"),
        ];
        for (text, part) in cases {
            let error = parse(Path::new("g.toml"), text).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("g.toml"),
                "{part}: {error}"
            );
        }
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let config = parse(Path::new("g.toml"), "").unwrap();
        assert_eq!(config.hold, Duration::from_secs(50));
        assert_eq!(config.limits.connections, 1024);
    }
}
