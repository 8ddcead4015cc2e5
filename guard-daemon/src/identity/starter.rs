//! What who starts a session says of it, and the bounds of that.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::shown;
use super::{IdentityError, Token};
use crate::session::Agent;

/// Labels of a session at the most.
const MOST_LABELS: usize = 20;
/// Bytes of a label's key, and characters of its value, at the most.
const LONGEST_KEY: usize = 64;
const LONGEST_VALUE: usize = 256;
/// Bytes of all labels together at the most: they are in every journal entry.
const LABEL_BYTES: usize = 4096;
/// Characters of an agent's name, version or instance at the most.
const LONGEST_AGENT: usize = 128;
/// Characters of a reason at the most.
const LONGEST_REASON: usize = 1024;

/// What who starts a session says of it. Nothing of it names a person: only the token does, once it is verified.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Starter {
    /// The invoking user: the one that the command runs as, and behind `sudo` the person's.
    pub uid: u32,
    /// The command line of the confined command.
    pub command: Vec<String>,
    /// Why the session runs (`--reason`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The agent (`--agent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Its labels (`--label`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The token of the person or workload that it is for (`--identity-token-file`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
}

impl Starter {
    /// Whether everything is in its bounds.
    pub(super) fn check(&self) -> Result<(), IdentityError> {
        let said = |what: &str| {
            let what = what.to_owned();
            move |why| IdentityError::Said { what, why }
        };
        if let Some(reason) = &self.reason {
            check_reason(reason).map_err(said("the reason"))?;
        }
        if let Some(agent) = &self.agent {
            check_agent(&agent.name).map_err(said("the agent's name"))?;
            let more = [("version", &agent.version), ("instance", &agent.instance)];
            for (part, text) in more {
                let check = text.as_deref().map_or(Ok(()), check_agent);
                check.map_err(said(&format!("the agent's {part}")))?;
            }
        }
        let mut keys = BTreeSet::new();
        for (key, value) in &self.labels {
            check_label(key, value).map_err(said(&format!("the label {}", shown(key))))?;
            // Condition keys are not told apart by case.
            if !keys.insert(key.to_ascii_lowercase()) {
                return Err(said(&format!("the label {key:?}"))(
                    "is there twice, in different case; name it once".to_owned(),
                ));
            }
        }
        let bytes: usize = self
            .labels
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if self.labels.len() > MOST_LABELS || bytes > LABEL_BYTES {
            return Err(said("the labels")(format!(
                "are more than {MOST_LABELS}, or have more than {LABEL_BYTES} bytes; give fewer or shorter ones"
            )));
        }
        Ok(())
    }
}

/// Whether a text can be a reason; the error says what it must be.
pub fn check_reason(text: &str) -> Result<(), String> {
    check(text, LONGEST_REASON)
}

/// Whether a text can be an agent's name, version or instance; the error says what it must be.
pub fn check_agent(text: &str) -> Result<(), String> {
    check(text, LONGEST_AGENT)
}

/// Whether these can be a label's key and value; the error says what they must be.
pub fn check_label(key: &str, value: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    if key.is_empty() || key.len() > LONGEST_KEY || !key.bytes().all(plain) {
        return Err(format!(
            "must have a key of 1 to {LONGEST_KEY} letters, digits, `.`, `_`, `/` and `-`"
        ));
    }
    if value.is_empty() {
        return Err("must have a value, as in team=data; leave it out instead".to_owned());
    }
    check(value, LONGEST_VALUE)
}

fn check(text: &str, most: usize) -> Result<(), String> {
    if text.trim().is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(format!(
            "must have 1 to {most} characters, none of them control characters such as newlines"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starter() -> Starter {
        Starter {
            uid: 0,
            command: Vec::new(),
            reason: None,
            agent: None,
            labels: BTreeMap::new(),
            token: None,
        }
    }

    fn labelled(labels: impl IntoIterator<Item = (String, String)>) -> Result<(), IdentityError> {
        let labels = labels.into_iter().collect();
        Starter {
            labels,
            ..starter()
        }
        .check()
    }

    #[test]
    fn labels_are_bounded() {
        let pair = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
        for (key, value) in [("team", "data"), ("ci/job.id_1-a", "é ∑ \"x\""), ("k", "1")] {
            labelled(pair(key, value)).unwrap();
        }
        labelled(pair(&"k".repeat(64), &"é".repeat(256))).unwrap();
        for (key, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a=", "x"),
            ("ä", "x"),
            ("a*", "x"),
            ("a", ""),
            ("a", " "),
            ("a", "x\ny"),
            ("a", "\u{1b}[2J"),
            ("a", "\u{85}"),
        ] {
            let error = labelled(pair(key, value)).unwrap_err().to_string();
            assert!(!error.chars().any(char::is_control), "{error:?}");
        }
        labelled(pair(&"k".repeat(65), "x")).unwrap_err();
        labelled(pair("k", &"x".repeat(257))).unwrap_err();
        let many = |count: usize, bytes: usize| {
            labelled((0..count).map(|at| (format!("k{at:02}"), "x".repeat(bytes))))
        };
        many(20, 200).unwrap();
        many(21, 1).unwrap_err();
        many(20, 203).unwrap_err();
        labelled([pair("Team", "a"), pair("team", "b")].concat()).unwrap_err();
    }

    #[test]
    fn agent_and_reason_are_bounded() {
        let agent = |name: &str, version: Option<&str>| {
            let agent = Some(Agent {
                name: name.to_owned(),
                version: version.map(str::to_owned),
                instance: None,
            });
            Starter { agent, ..starter() }.check()
        };
        agent("claude", Some("2.1")).unwrap();
        agent("", None).unwrap_err();
        agent("a\n", None).unwrap_err();
        let error = agent("a", Some(&"1".repeat(129))).unwrap_err().to_string();
        assert!(error.starts_with("the agent's version must"), "{error}");
        for (reason, good) in [("x", true), ("", false), ("a\tb", false)] {
            assert_eq!(check_reason(reason).is_ok(), good, "{reason:?}");
        }
        assert!(check_reason(&"x".repeat(1025)).is_err());
    }

    #[test]
    fn nobody_names_a_person_but_a_token() {
        let text = r#"{"uid":0,"command":[]}"#;
        serde_json::from_str::<Starter>(text).unwrap();
        for forged in ["human", "user", "loginuid", "host"] {
            let text = format!(r#"{{"uid":0,"command":[],"{forged}":null}}"#);
            assert!(serde_json::from_str::<Starter>(&text).is_err(), "{forged}");
        }
    }
}
