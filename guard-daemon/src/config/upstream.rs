//! `[upstream]`: where connections for a host really go, and whose certificates are trusted there.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The way out.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Host pattern (`*.amazonaws.com`: any number of labels in front; or an exact host) → the
    /// `host:port` that is dialled instead. The certificate is still checked for the original name.
    pub connect: BTreeMap<String, String>,
    /// PEM files with roots trusted besides the system's.
    pub roots: Vec<PathBuf>,
}

impl UpstreamConfig {
    /// These, with those of a `guard run` laid over them.
    pub fn with(&self, run: Self) -> Self {
        let mut merged = self.clone();
        merged.connect.extend(run.connect);
        merged.roots.extend(run.roots);
        merged
    }

    /// Reads a flag, `PATTERN=HOST:PORT`.
    pub fn parse_connect(text: &str) -> Result<(String, String), String> {
        let (pattern, target) = text
            .split_once('=')
            .ok_or("expected PATTERN=HOST:PORT, as *.amazonaws.com=127.0.0.1:5443")?;
        check(pattern, target)?;
        Ok((pattern.to_owned(), target.to_owned()))
    }

    /// Whether every pattern and target makes sense.
    pub(super) fn validate(&self) -> Result<(), String> {
        self.connect
            .iter()
            .try_for_each(|(pattern, target)| check(pattern, target))
    }
}

fn check(pattern: &str, target: &str) -> Result<(), String> {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    if !name.split('.').all(label) {
        return Err(format!(
            "{pattern:?} is not a host pattern; write a lower-case host, or \"*.\" and one"
        ));
    }
    let host = target
        .rsplit_once(':')
        .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0));
    if host.is_none() {
        return Err(format!(
            "{target:?} is not where {pattern:?} could be dialled; write \"host:port\""
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_rules_are_checked() {
        for text in [
            "*.amazonaws.com=127.0.0.1:5443",
            "sts.amazonaws.com=[::1]:443",
            "a=b:1",
        ] {
            assert!(UpstreamConfig::parse_connect(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a",
            "a=",
            "=h:1",
            "a=h",
            "a=h:",
            "a=:1",
            "a=h:0",
            "a=h:65536",
            "A=h:1",
            "*=h:1",
            "a b=h:1",
        ] {
            assert!(UpstreamConfig::parse_connect(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_runs_rules_come_over_the_daemons() {
        let base = UpstreamConfig {
            connect: [("a".into(), "1:1".into()), ("b".into(), "2:2".into())].into(),
            roots: vec!["/x.pem".into()],
        };
        let run = UpstreamConfig {
            connect: [("b".into(), "3:3".into())].into(),
            roots: vec!["/y.pem".into()],
        };
        let merged = base.with(run);
        assert_eq!(merged.connect["a"], "1:1");
        assert_eq!(merged.connect["b"], "3:3");
        assert_eq!(merged.roots, [PathBuf::from("/x.pem"), "/y.pem".into()]);
    }
}
