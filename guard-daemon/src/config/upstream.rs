//! `[upstream]` and its flags: where guard dials, and whom it trusts besides the system's roots.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::file::Problem;
use super::{ConfigError, UpstreamConfig, read};
use crate::policy::is_host_name;

/// Bytes of a file of roots: all of a system's take about 250 KiB.
const LARGEST_ROOTS: u64 = 4 * 1024 * 1024;

impl UpstreamConfig {
    /// With flags laid over it: a flag's pattern replaces the same pattern here, its roots come in
    /// addition. A relative path is taken from the working directory.
    pub fn merge(
        &self,
        connect: &[(String, String)],
        roots: &[PathBuf],
    ) -> Result<Self, ConfigError> {
        let mut merged = self.clone();
        for (pattern, target) in connect {
            check_pattern(pattern)
                .and_then(|()| check_target(target))
                .map_err(ConfigError::Flag)?;
            merged.connect.insert(pattern.clone(), target.clone());
        }
        for root in roots {
            let path = std::path::absolute(root).unwrap_or_else(|_| root.clone());
            check_root(&path).map_err(ConfigError::Flag)?;
            if !merged.roots.contains(&path) {
                merged.roots.push(path);
            }
        }
        Ok(merged)
    }
}

/// Reads `PATTERN=HOST:PORT`, as given on the command line.
pub fn parse_connect_flag(text: &str) -> Result<(String, String), ConfigError> {
    let (pattern, target) = text
        .split_once('=')
        .ok_or_else(|| ConfigError::ConnectFlag(text.to_owned()))?;
    check_pattern(pattern)
        .and_then(|()| check_target(target))
        .map_err(ConfigError::Flag)?;
    Ok((pattern.to_owned(), target.to_owned()))
}

pub(super) fn check_pattern(pattern: &str) -> Result<(), Problem> {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    if is_host_name(name) && !name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(Problem::HostPattern(pattern.to_owned()))
}

pub(super) fn check_target(target: &str) -> Result<(), Problem> {
    let bad = || Problem::HostPort(target.to_owned());
    if let Ok(address) = target.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(bad())
        } else {
            Ok(())
        };
    }
    let (host, port) = target.rsplit_once(':').ok_or_else(bad)?;
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|&port| digits && port != 0);
    // What looks like an address but is none is not a name either.
    let all_numbers = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if port.is_none() || !is_host_name(host) || all_numbers || host.parse::<IpAddr>().is_ok() {
        return Err(bad());
    }
    Ok(())
}

/// That the file is there, readable, and holds a certificate. The upstream client parses it.
pub(super) fn check_root(path: &Path) -> Result<(), Problem> {
    let bad = |why: String| Problem::Root {
        path: path.to_owned(),
        why,
    };
    let text = read::bounded(path, LARGEST_ROOTS).map_err(|error| bad(error.to_string()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(bad("it holds no PEM certificate".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_flags_are_pattern_and_target() {
        for (text, pattern, target) in [
            (
                "*.amazonaws.com=127.0.0.1:5443",
                "*.amazonaws.com",
                "127.0.0.1:5443",
            ),
            (
                "s3.amazonaws.com=[::1]:443",
                "s3.amazonaws.com",
                "[::1]:443",
            ),
            (
                "sts.eu-west-1.amazonaws.com=proxy.internal:8443",
                "sts.eu-west-1.amazonaws.com",
                "proxy.internal:8443",
            ),
        ] {
            let expected = (pattern.to_owned(), target.to_owned());
            assert_eq!(parse_connect_flag(text).unwrap(), expected);
        }
        for text in [
            "",
            "=",
            "a",
            "a=",
            "=b:1",
            "*=b:1",
            "*.=b:1",
            "a.*=b:1",
            "A.com=b:1",
            "a.com.=b:1",
            "a=b",
            "a=b:",
            "a=b:0",
            "a=b:+1",
            "a=b:65536",
            "a=:1",
            "a=127.0.0.1",
            "a=999.0.0.1:1",
            "a=::1:1",
            "a=http://b:1",
            "a=b c:1",
            "a=127.0.0.1:0",
        ] {
            assert!(parse_connect_flag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn flags_are_laid_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root.pem");
        std::fs::write(&root, "-----BEGIN CERTIFICATE-----\n").unwrap();
        let pair = |target: &str| ("*.amazonaws.com".to_owned(), target.to_owned());
        let file = UpstreamConfig {
            connect: [pair("a:1"), ("x".to_owned(), "y:1".to_owned())].into(),
            roots: vec![root.clone()],
        };
        let merged = file
            .merge(&[pair("b:2")], std::slice::from_ref(&root))
            .unwrap();
        assert_eq!(merged.connect["*.amazonaws.com"], "b:2");
        assert_eq!(
            (merged.connect["x"].as_str(), merged.roots),
            ("y:1", vec![root])
        );
        assert!(
            file.merge(&[("*".to_owned(), "b:2".to_owned())], &[])
                .is_err()
        );
        let none = directory.path().join("none.pem");
        let error = file.merge(&[], &[none]).unwrap_err().to_string();
        assert!(error.contains("none.pem"), "{error}");
    }

    #[test]
    fn roots_hold_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\n").unwrap();
        for path in [&file, directory.path(), &directory.path().join("none")] {
            assert!(check_root(path).is_err(), "{path:?}");
        }
    }
}
