//! guard's policy engine against an evaluator of IAM policies that has nothing to do with it: the same policies and
//! requests, made from a seed, must be decided alike.
//!
//! `elements` looks at single elements and operators in all their corners, where each difference must be of a class
//! with a reason; `layers` at whole sets of policies, where there may be none; `session` at the session policies that are
//! derived from profiles.

mod elements;
mod generate;
mod layers;
mod session;
mod simulate;

use std::collections::BTreeMap;
use std::io::Write as _;

use guard_daemon::aws::{Access, KeyValue, Resource};
use guard_daemon::policy::{ConditionKeys, Effect, Profile, Source, SourceDocument};
use serde_json::Value;

/// Policies, and a request that they decide on.
#[derive(Clone, Debug, serde::Serialize)]
struct Case {
    identity: Vec<Value>,
    boundary: Vec<Value>,
    scp: Vec<Vec<Value>>,
    action: String,
    resource: String,
    /// A string or a list of strings by condition key.
    context: BTreeMap<String, Value>,
}

impl Case {
    /// What guard decides.
    fn decide(&self) -> Effect {
        let mut documents = Vec::new();
        let mut add = |policy: &Value| {
            let path = format!("{}.json", documents.len());
            documents.push(SourceDocument {
                path: path.clone(),
                text: policy.to_string(),
            });
            path
        };
        let identity: Vec<String> = self.identity.iter().map(&mut add).collect();
        let boundary: Vec<String> = self.boundary.iter().map(&mut add).collect();
        let mut level = |policies: &Vec<Value>| policies.iter().map(&mut add).collect();
        let scp: Vec<Vec<String>> = self.scp.iter().map(&mut level).collect();
        let source = Source {
            documents,
            ..Source::new(
                "case",
                format!(
                    "[policies]\nidentity = {identity:?}\nboundary = {boundary:?}\nscp = {scp:?}\n"
                ),
            )
        };
        let profile = Profile::load(&source).expect("a generated profile is one");
        let access = Access {
            action: Some(self.action.clone().into()),
            level: None,
            resources: vec![Resource::Arn(self.resource.clone())],
        };
        profile.decide(&[access], self).effect
    }
}

impl ConditionKeys for Case {
    fn value(&self, key: &str, _: &Access, _: &Resource) -> KeyValue {
        let found = self
            .context
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key));
        match found {
            None => KeyValue::Absent,
            Some((_, Value::Array(values))) => KeyValue::Many(values.iter().map(text).collect()),
            Some((_, value)) => KeyValue::One(text(value)),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Differences that nothing explains.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn add(&mut self, what: &str, case: &Case) {
        let case = serde_json::to_string(case).unwrap_or_default();
        self.0.push(format!("{what}: {case}"));
    }

    /// Fails with some of them.
    fn assert_none(&self) {
        let shown: Vec<&str> = self.0.iter().take(20).map(String::as_str).collect();
        assert!(
            shown.is_empty(),
            "{} differences, such as\n{}",
            self.0.len(),
            shown.join("\n")
        );
    }
}

/// Shows what a test found, also where it passes: `println!` would be kept from the runner's output.
fn report(line: &str) {
    std::io::stdout()
        .write_all(format!("{line}\n").as_bytes())
        .expect("written");
}
