//! `guard approval`: shows the calls that wait for a person, and takes the person's decision.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::bail;

use super::terminal::printable;
use crate::approval::ApprovalView;
use crate::control::client::Client;
use crate::control::wire::{Reply, Request};

/// Decide on calls that wait for a person.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// `table` for people, `json` for programs
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what waits and what was decided lately, oldest first
    List,
    /// Show one approval
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Let the call through, once
    Approve(Decision),
    /// Refuse the call
    Deny(Decision),
}

#[derive(Debug, clap::Args)]
struct Decision {
    /// The approval's id, or the beginning of it
    id: String,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(super) fn run(arguments: &Arguments, global: &super::Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let mut client = Client::connect(&config.runtime_dir)?;
    let reply = client.request(&request(&arguments.command))?;
    let mut out = io::stdout().lock();
    let written = match (reply, arguments.output) {
        (Reply::Approvals { approvals }, Output::Json) => json(&mut out, &approvals)?,
        (Reply::Approval { approval }, Output::Json) => json(&mut out, &approval)?,
        (Reply::Approvals { approvals }, Output::Table) => table(&mut out, &approvals),
        (Reply::Approval { approval }, Output::Table) => detail(&mut out, &approval),
        (Reply::Error { message, .. }, _) => bail!(message),
        _ => bail!("the daemon answers another question; are daemon and command of the same version?"),
    };
    match written {
        // `guard approval list | head`: the reader has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn request(command: &Command) -> Request {
    let decide = |decision: &Decision, approve| Request::ApprovalDecide {
        id: decision.id.clone(),
        approve,
        reason: decision.reason.clone(),
    };
    match command {
        Command::List => Request::ApprovalList,
        Command::Show { id } => Request::ApprovalShow { id: id.clone() },
        Command::Approve(decision) => decide(decision, true),
        Command::Deny(decision) => decide(decision, false),
    }
}

fn json(out: &mut impl Write, value: &impl serde::Serialize) -> anyhow::Result<io::Result<()>> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(writeln!(out, "{text}"))
}

fn table(out: &mut impl Write, approvals: &[ApprovalView]) -> io::Result<()> {
    if approvals.is_empty() {
        return writeln!(out, "no call waits for a person");
    }
    writeln!(out, "{:<10}  {:<8}  {:>6}  {:<24}  {:<28}  RESOURCE", "ID", "STATE", "AGE", "WHO", "ACTION")?;
    for approval in approvals {
        let question = &approval.question;
        writeln!(
            out,
            "{:<10}  {:<8}  {:>5}s  {:<24}  {:<28}  {}",
            approval.id,
            approval.state,
            approval.age_seconds,
            printable(&question.requester),
            printable(&question.actions.join(" ")),
            printable(&question.resources.join(" ")),
        )?;
    }
    Ok(())
}

fn detail(out: &mut impl Write, approval: &ApprovalView) -> io::Result<()> {
    let question = &approval.question;
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<10} {}", printable(value));
    line("approval", &approval.id)?;
    line("state", &approval.state)?;
    line("age", &format!("{} s", approval.age_seconds))?;
    line("waiting", &approval.waiting.to_string())?;
    line("who", &question.requester)?;
    line("session", question.session.as_str())?;
    line("call", &question.summary)?;
    for action in &question.actions {
        line("action", action)?;
    }
    for resource in &question.resources {
        line("resource", resource)?;
    }
    line("statement", question.statement.as_deref().unwrap_or("the profile's default"))?;
    if let Some(approver) = &approval.approver {
        line("decided by", approver)?;
    }
    if let Some(reason) = &approval.reason {
        line("reason", reason)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::Question;
    use crate::session::SessionId;

    #[test]
    fn what_an_agent_chose_cannot_forge_the_table() {
        let approval = ApprovalView {
            id: "a-00000001".into(),
            question: Question {
                session: SessionId::random(),
                exchange: "x-1".into(),
                actions: vec!["s3:PutObject".into()],
                resources: vec!["arn:aws:s3:::b/\n\u{1b}[31mforged".into()],
                summary: "s3:PutObject".into(),
                statement: None,
                requester: "ana".into(),
                fingerprint: [0; 32],
            },
            state: "waiting".into(),
            age_seconds: 3,
            waiting: 1,
            approver: None,
            reason: None,
        };
        let mut out = Vec::new();
        table(&mut out, std::slice::from_ref(&approval)).unwrap();
        detail(&mut out, &approval).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with('\u{1b}')));
        assert_eq!(text.lines().filter(|line| line.contains("forged")).count(), 2, "{text}");
    }
}
