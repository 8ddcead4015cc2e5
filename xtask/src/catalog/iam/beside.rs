//! What operations ask for beside their own action: that no role or tag in their input is forgotten.
//!
//! Checked for the services whose operations `aws::iam` reads by code, where the reference does not say what else
//! is needed.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use super::{super::schema::level, data::Reference, derive, draft::Rule, model::Operation};

const CHECKED: &[&str] = &[
    "dynamodb",
    "iam",
    "kms",
    "lambda",
    "secretsmanager",
    "sqs",
    "ssm",
    "sts",
];

/// Operations that take tags or a role without being asked for more, and why.
const EXCEPT: &[(&str, &str, &str)] = &[
    ("sts", "AssumeRole", "the role is the resource"),
    ("sts", "AssumeRoleWithSAML", "the role is the resource"),
    (
        "sts",
        "AssumeRoleWithWebIdentity",
        "the role is the resource",
    ),
];

/// The exceptions that some operation needed.
#[derive(Default)]
pub(crate) struct Beside {
    used: BTreeSet<usize>,
}

impl Beside {
    /// Fails where an operation takes tags or a role, and asks neither for a tagging action nor to pass a role.
    pub(crate) fn check(
        &mut self,
        operation: &Operation<'_>,
        rules: &[Rule],
        reference: &Reference,
    ) -> anyhow::Result<()> {
        let service = operation.service();
        if !CHECKED.contains(&service) || rules.is_empty() {
            return Ok(());
        }
        let mut missing = Vec::new();
        if derive::tags(operation).is_some() && !asks_to_tag(rules, reference)? {
            missing.push("a tagging action".to_owned());
        }
        let passes = rules.iter().any(|it| it.action == "iam:PassRole");
        if !passes && let Some(role) = derive::role_members(operation).first() {
            missing.push(format!("iam:PassRole on {role}"));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let excepted = EXCEPT
            .iter()
            .position(|it| (it.0, it.1) == (service, operation.name));
        let place = excepted.with_context(|| {
            format!(
                "{service}: {} does not ask for {}: say so in access/{service}.toml, or why not in iam/beside.rs",
                operation.name,
                missing.join(" and ")
            )
        })?;
        self.used.insert(place);
        Ok(())
    }

    /// Fails if an exception is of no use any more.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        for (place, (service, operation, _)) in EXCEPT.iter().enumerate() {
            ensure!(
                self.used.contains(&place),
                "iam/beside.rs: {service} {operation} asks for all it takes, or is no more"
            );
        }
        Ok(())
    }
}

fn asks_to_tag(rules: &[Rule], reference: &Reference) -> anyhow::Result<bool> {
    for rule in rules {
        let action = rule
            .action
            .split_once(':')
            .and_then(|(prefix, name)| reference.action(prefix, name))
            .with_context(|| format!("the reference has no action {}", rule.action))?;
        if action.level()? == level::TAGGING {
            return Ok(true);
        }
    }
    Ok(false)
}
