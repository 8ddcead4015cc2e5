//! `guard policy explain`: what is decided on a call, and which statements had a part in it. The call is an
//! action on resources, or that of a journal entry.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::question::Question;
use super::{completion, word};
use crate::aws::{KeyValue, Resource};
use crate::config::Config;
use crate::policy::{ConditionTrace, Decider, Profile, StatementTrace, Trace, Truth};
use crate::record::entry::{Event, ExchangeDecided};
use crate::record::read;
use crate::visible::printable;

/// Its flags.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// IAM action, such as `s3:DeleteBucket`
    #[arg(required_unless_present = "exchange", add = completion::actions())]
    action: Option<String>,
    /// Resource ARNs; `*` for an action that takes none (the default), `?` for one that is not known
    #[arg(requires = "action")]
    resource: Vec<String>,
    /// The exchange of a journal entry instead
    #[arg(long, value_name = "ID", conflicts_with_all = ["action", "key"])]
    exchange: Option<String>,
    /// The value of a condition key; again for a further value; `KEY=` for a key that is absent
    #[arg(long, value_name = "KEY=VALUE")]
    key: Vec<String>,
    /// Profile, by name or path [default: that of the entry's session, else as `guard run` has it]
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

pub(super) fn run(arguments: &Arguments, global: &crate::cli::Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let mut out = std::io::stdout().lock();
    let (profile, question) = if let Some(exchange) = &arguments.exchange {
        let recorded = find(&config, exchange)?;
        let name = arguments.profile.as_deref().unwrap_or(&recorded.profile);
        let profile = config.profile(Some(name))?;
        recorded.describe(&profile, &mut out)?;
        (profile, Question::of_entry(&recorded.decided))
    } else {
        let action = arguments.action.as_slice();
        let mut question = Question::of_actions(action, &arguments.resource)?;
        question.state_all(&arguments.key)?;
        (config.profile(arguments.profile.as_deref())?, question)
    };
    let decision = profile.decide(&question.access, &question);
    writeln!(
        out,
        "{}: {}",
        word(decision.effect),
        printable(&decision.reason)
    )?;
    for trace in profile.explain(&question.access, &question) {
        describe(&trace, &mut out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An entry, and what its session ran under.
struct Recorded {
    decided: Box<ExchangeDecided>,
    profile: String,
    profile_sha256: String,
}

fn find(config: &Config, exchange: &str) -> anyhow::Result<Recorded> {
    let directory = config.state_dir.join("journal");
    let unreadable = || {
        format!(
            "cannot read the journal in {}; its owner can, or root",
            directory.display()
        )
    };
    let session = exchange.rsplit_once('-').map_or(exchange, |it| it.0);
    let mut profile = None;
    for line in read::lines(&directory).with_context(unreadable)? {
        let Some(entry) = line.with_context(unreadable)?.entry() else {
            continue;
        };
        if entry
            .session
            .as_ref()
            .is_none_or(|it| it.as_str() != session)
        {
            continue;
        }
        match entry.event {
            Event::SessionStarted {
                profile: name,
                profile_sha256,
                ..
            } => profile = Some((name, profile_sha256)),
            Event::ExchangeDecided(decided) if decided.exchange == exchange => {
                let (profile, profile_sha256) = profile
                    .with_context(|| format!("the journal has no start of session {session}"))?;
                return Ok(Recorded {
                    decided,
                    profile,
                    profile_sha256,
                });
            }
            _ => {}
        }
    }
    bail!("the journal has no decision on exchange {exchange:?}; `guard journal show` lists them")
}

impl Recorded {
    /// Says what was decided then, and whether what follows is by the same policy.
    fn describe(&self, profile: &Profile, out: &mut impl Write) -> std::io::Result<()> {
        let ExchangeDecided {
            exchange,
            decision,
            observed,
            reason,
            ..
        } = &*self.decided;
        let observed = observed
            .as_ref()
            .map_or_else(String::new, |it| format!(" (observed: {it})"));
        writeln!(
            out,
            "recorded for {exchange}: {decision}{observed}: {}",
            printable(reason)
        )?;
        if profile.sha256() != self.profile_sha256 {
            writeln!(
                out,
                "profile {} is not what it was then (SHA-256 {} now, {} then); by what it is now:",
                profile.name(),
                profile.sha256(),
                self.profile_sha256
            )?;
        }
        Ok(())
    }
}

fn describe(trace: &Trace, out: &mut impl Write) -> std::io::Result<()> {
    let action = trace.action.as_deref().unwrap_or("unknown action");
    let resource = match &trace.resource {
        Resource::Arn(arn) => arn,
        Resource::Any => "*",
        Resource::Unknown => "unknown resource",
    };
    let by = match &trace.decider {
        Decider::Statement(label) => format!("statement {label}"),
        Decider::Limit(name) => format!("{name}, where no statement allows it"),
        Decider::Unsigned => {
            "that nobody signed it, and no statement names anonymous callers".to_owned()
        }
        Decider::Default => "the profile's default".to_owned(),
    };
    writeln!(
        out,
        "\n{} on {}: {} by {}",
        printable(action),
        printable(resource),
        word(trace.effect),
        printable(&by)
    )?;
    for statement in &trace.statements {
        part(statement, out)?;
    }
    Ok(())
}

fn part(statement: &StatementTrace, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "  {} {:<7} {}, {}: action {}, resource {}",
        if statement.applies { "+" } else { "-" },
        word(statement.effect),
        printable(&statement.label),
        printable(&statement.origin),
        truth(statement.action),
        truth(statement.resource),
    )?;
    for condition in &statement.conditions {
        let ConditionTrace {
            operator,
            key,
            wanted,
            found,
            holds,
        } = condition;
        let found = match found {
            KeyValue::Absent => "absent".to_owned(),
            KeyValue::Unknown => "unknown".to_owned(),
            KeyValue::One(value) => format!("{value:?}"),
            KeyValue::Many(values) => format!("{values:?}"),
        };
        writeln!(
            out,
            "      {} {} {}: found {}: {}",
            printable(operator),
            printable(key),
            printable(&format!("{wanted:?}")),
            printable(&found),
            truth(*holds),
        )?;
    }
    Ok(())
}

fn truth(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "matches",
        Truth::False => "does not match",
        Truth::Unknown => "unknown",
    }
}
