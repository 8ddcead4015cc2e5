//! `guard policy test`: cases from a file, each a call with the decision that is expected of it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::question::Question;
use super::{FINDINGS, word};
use crate::policy::{Effect, Profile};
use crate::visible::printable;

/// Bytes a file of cases may have.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Its flags.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files of cases (docs/policy.md)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Profile, by name or path [default: the file's `profile`, else as `guard run` has it]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    /// A name, or a path that starts at the file.
    profile: Option<String>,
    /// The account that ARNs without one are of.
    account: Option<String>,
    #[serde(default)]
    case: Vec<Case>,
}

/// A call, by actions and resources or as a request, and what is expected of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    expect: Effect,
    /// The deciding statement.
    statement: Option<String>,
    action: Option<OneOrMore>,
    resource: Option<OneOrMore>,
    request: Option<Request>,
    /// Condition keys; an empty list states an absent one.
    #[serde(default)]
    keys: BTreeMap<String, OneOrMore>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::More(more) => more.clone(),
        }
    }
}

/// A request; its body is text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

pub(super) fn run(arguments: &Arguments, global: &crate::cli::Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let mut out = std::io::stdout().lock();
    let (mut passed, mut failed) = (0, 0);
    for path in &arguments.files {
        let cases = read(path)?;
        let profile = arguments
            .profile
            .clone()
            .or_else(|| cases.profile.as_deref().map(|name| beside(path, name)));
        let profile = config.profile(profile.as_deref())?;
        ensure!(!cases.case.is_empty(), "{} has no [[case]]", path.display());
        for case in &cases.case {
            match case.differs(&profile, cases.account.as_deref()) {
                None => passed += 1,
                Some(how) => {
                    failed += 1;
                    let name = printable(&case.name).into_owned();
                    writeln!(out, "{}: {name}: {}", path.display(), printable(&how))?;
                }
            }
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FINDINGS)
    })
}

fn read(path: &Path) -> anyhow::Result<Cases> {
    let name = path.display();
    let text = super::read(path, LARGEST).with_context(|| format!("cannot read {name}"))?;
    toml::from_str(&text).with_context(|| format!("{name} is no file of cases"))
}

/// A profile's path starts at the file that names it; a name stays one.
fn beside(file: &Path, profile: &str) -> String {
    let toml = |it: &Path| it.extension().is_some_and(|it| it == "toml");
    let is_path = profile.contains('/') || toml(Path::new(profile));
    match file.parent() {
        Some(directory) if is_path => {
            let path = directory.join(profile).to_string_lossy().into_owned();
            // Without a slash it would be taken for a name.
            if path.contains('/') {
                path
            } else {
                format!("./{path}")
            }
        }
        _ => profile.to_owned(),
    }
}

impl Case {
    /// How the decision differs from what is expected, if it does.
    fn differs(&self, profile: &Profile, account: Option<&str>) -> Option<String> {
        let question = match self.question(account, profile.condition_keys()) {
            Ok(question) => question,
            Err(error) => return Some(format!("{error:#}")),
        };
        let decision = profile.decide(&question.access, &question);
        let statement = decision.statement.as_deref();
        let other = self
            .statement
            .as_deref()
            .is_some_and(|wanted| statement != Some(wanted));
        (decision.effect != self.expect || other).then(|| {
            let wanted = match &self.statement {
                Some(statement) => format!("{} by {statement}", word(self.expect)),
                None => word(self.expect).to_owned(),
            };
            format!(
                "expected {wanted}, but {}: {}",
                word(decision.effect),
                decision.reason
            )
        })
    }

    fn question(&self, account: Option<&str>, wanted: &[String]) -> anyhow::Result<Question> {
        let mut question = match (&self.action, &self.request) {
            (Some(actions), None) => {
                let resources = self
                    .resource
                    .as_ref()
                    .map_or_else(Vec::new, OneOrMore::list);
                Question::of_actions(&actions.list(), &resources)?
            }
            (None, Some(request)) => {
                ensure!(
                    self.resource.is_none(),
                    "a request names its resources itself"
                );
                Question::of_request(&request.line(), account, wanted)?
            }
            _ => anyhow::bail!("a case has either `action` or `request`"),
        };
        for (key, values) in &self.keys {
            question.state(key, values.list());
        }
        Ok(question)
    }
}

impl Request {
    /// As `guard identify` reads it.
    fn line(&self) -> String {
        use base64::Engine as _;

        let body = base64::engine::general_purpose::STANDARD.encode(&self.body);
        let Self {
            method,
            url,
            headers,
            ..
        } = self;
        serde_json::json!({ "method": method, "url": url, "headers": headers, "body": body })
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"
        [[statement]]
        sid = "read"
        effect = "allow"
        action = "s3:Get*"
        resource = "arn:aws:s3:::data/*"
        condition = { StringEquals = { "aws:RequestedRegion" = "eu-west-1" } }
    "#;

    fn differs(case: &str) -> Option<String> {
        let case: Case = toml::from_str(&format!("name = \"x\"\n{case}")).unwrap();
        case.differs(&Profile::parse("p", PROFILE).unwrap(), None)
    }

    #[test]
    fn actions_and_requests_are_decided_on() {
        let action = "action = \"s3:GetObject\"\nresource = \"arn:aws:s3:::data/k\"\n";
        let region = "[keys]\n\"aws:RequestedRegion\" = \"eu-west-1\"";
        assert_eq!(
            differs(&format!(
                "expect = \"allow\"\nstatement = \"read\"\n{action}{region}"
            )),
            None
        );
        // A region that nobody stated is unknown, and allows nothing.
        assert_eq!(differs(&format!("expect = \"deny\"\n{action}")), None);
        let request =
            "request = { method = \"GET\", url = \"https://data.s3.eu-west-1.amazonaws.com/k\" }";
        assert_eq!(differs(&format!("expect = \"allow\"\n{request}")), None);
        let other = differs(&format!("expect = \"deny\"\n{request}")).unwrap();
        assert!(other.starts_with("expected deny, but allow: "), "{other}");
    }

    #[test]
    fn what_is_no_case_is_a_failure_that_says_why() {
        for (case, why) in [
            ("expect = \"allow\"", "either `action` or `request`"),
            ("expect = \"allow\"\naction = \"GetObject\"", "is no action"),
            (
                "expect = \"allow\"\nrequest = { method = \"GET\", url = \"https://example.org/\" }",
                "not an AWS API endpoint",
            ),
            (
                "expect = \"allow\"\naction = \"s3:GetObject\"\nresource = \"data\"",
                "is no resource",
            ),
        ] {
            let how = differs(case).unwrap();
            assert!(how.contains(why), "{how}");
        }
    }

    #[test]
    fn a_profile_is_looked_up_beside_its_cases() {
        assert_eq!(beside(Path::new("a/cases.toml"), "p.toml"), "a/p.toml");
        assert_eq!(beside(Path::new("cases.toml"), "p.toml"), "./p.toml");
        assert_eq!(beside(Path::new("a/cases.toml"), "standard"), "standard");
    }
}
