//! `guard approval`: shows what waits for a person, and decides it.
//!
//! Most of what is shown was chosen by the confined agent, so nothing is printed but through `visible`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::approval::ApprovalView;
use crate::config::Config;
use crate::control::client::Client;
use crate::control::wire::{Reply, Request};
use crate::visible::{printable, printable_json};

/// Characters of a table's column; `show` has the whole.
const WIDEST: usize = 48;

/// Actions and resources that are shown unless all are asked for.
const SHOWN: usize = 32;

/// Show and decide what waits for a person
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
        /// The approval, or the beginning of its id
        id: String,
        /// Every action and resource of the call, not the first 32
        #[arg(long)]
        all: bool,
    },
    /// Let the call run, once
    Approve(Decision),
    /// Refuse the call
    Deny(Decision),
}

#[derive(Debug, clap::Args)]
struct Decision {
    /// The approval, or the beginning of its id
    id: String,
    /// Why; recorded, and for a denial told to the agent
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(super) fn run(arguments: &Arguments, global: &super::Global) -> anyhow::Result<ExitCode> {
    let config = Config::load(
        global.config.as_deref(),
        global.state_dir.as_deref(),
        global.runtime_dir.as_deref(),
    )?;
    let mut client = Client::connect(&config.runtime_dir)?;
    let answer = answer(&arguments.command, arguments.output, |request| {
        Ok(client.request(request)?)
    })?;
    std::io::stdout()
        .write_all(answer.as_bytes())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// Carries out the command and puts the answer in words. `ask` asks the daemon.
fn answer(
    command: &Command,
    output: Output,
    mut ask: impl FnMut(&Request) -> anyhow::Result<Reply>,
) -> anyhow::Result<String> {
    let (id, all, decision) = match command {
        Command::List => {
            let approvals = list(&mut ask)?;
            return match output {
                Output::Table => Ok(table(&approvals)),
                Output::Json => json(
                    "approvals",
                    &approvals.iter().map(value).collect::<Result<_, _>>()?,
                ),
            };
        }
        Command::Show { id, all } => (id, *all, None),
        Command::Approve(decision) => (&decision.id, false, Some((true, &decision.reason))),
        Command::Deny(decision) => (&decision.id, false, Some((false, &decision.reason))),
    };
    let id = whole_id(id, &list(&mut ask)?)?;
    let request = match decision {
        None => Request::ApprovalShow { id },
        Some((approve, reason)) => Request::ApprovalDecide {
            id,
            approve,
            reason: reason.clone(),
        },
    };
    let approval = match ask(&request)? {
        Reply::Approval { approval } => approval,
        other => return Err(unexpected(other)),
    };
    match output {
        Output::Table => Ok(details(&approval, if all { usize::MAX } else { SHOWN })),
        Output::Json => json("approval", &value(&approval)?),
    }
}

fn list(
    ask: &mut impl FnMut(&Request) -> anyhow::Result<Reply>,
) -> anyhow::Result<Vec<ApprovalView>> {
    match ask(&Request::ApprovalList)? {
        Reply::Approvals { approvals } => Ok(approvals),
        other => Err(unexpected(other)),
    }
}

fn unexpected(reply: Reply) -> anyhow::Error {
    match reply {
        Reply::Error { message, .. } => anyhow::anyhow!("{}", printable(&message)),
        _ => anyhow::anyhow!(
            "the daemon's reply does not answer the question; are daemon and command of the same version?"
        ),
    }
}

/// The one approval whose id begins like this, with or without `a-`.
fn whole_id(given: &str, approvals: &[ApprovalView]) -> anyhow::Result<String> {
    let digits = |id: &str| id.strip_prefix("a-").unwrap_or(id).to_ascii_lowercase();
    let wanted = digits(given);
    if wanted.is_empty() {
        bail!("name an approval by its id; `guard approval list` shows them");
    }
    let ids = approvals.iter().map(|approval| approval.id.as_str());
    let found: Vec<&str> = ids.filter(|id| digits(id).starts_with(&wanted)).collect();
    match found[..] {
        [id] => Ok(id.to_owned()),
        [] => bail!(
            "there is no approval {}; `guard approval list` shows those there are",
            printable(given)
        ),
        _ => bail!(
            "{} is the beginning of several: {}; write more of it",
            printable(given),
            found.join(", ")
        ),
    }
}

/// An approval as JSON; the fingerprint as text.
fn value(approval: &ApprovalView) -> anyhow::Result<serde_json::Value> {
    let mut value = serde_json::to_value(approval)?;
    value["question"]["fingerprint"] = hex::encode(approval.question.fingerprint).into();
    Ok(value)
}

fn json(what: &str, value: &serde_json::Value) -> anyhow::Result<String> {
    let document = serde_json::json!({ "schema": format!("guard.{what}/v1"), what: value });
    Ok(printable_json(&serde_json::to_string_pretty(&document)?) + "\n")
}

fn table(approvals: &[ApprovalView]) -> String {
    if approvals.is_empty() {
        return "no approvals\n".to_owned();
    }
    let head = ["ID", "AGE", "STATE", "WHO", "ACTION", "RESOURCE", "SUMMARY"].map(str::to_owned);
    let row = |approval: &ApprovalView| {
        let question = &approval.question;
        [
            cell(&approval.id),
            age(approval.age_seconds),
            cell(&approval.state),
            cell(&question.requester),
            cell(&first(&question.actions)),
            cell(&first(&question.resources)),
            cell(&question.summary),
        ]
    };
    let rows: Vec<[String; 7]> = std::iter::once(head)
        .chain(approvals.iter().map(row))
        .collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = text.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(text, width)| format!("{text:width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Printable, and no wider than a column may be.
fn cell(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= WIDEST {
        return text.into_owned();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

fn first(list: &[String]) -> String {
    match list {
        [] => "-".to_owned(),
        [only] => only.clone(),
        [first, ..] => format!("{first}, …"),
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// One approval; of lists, so many entries at the most.
fn details(approval: &ApprovalView, most: usize) -> String {
    let question = &approval.question;
    let mut lines = vec![
        ("approval", approval.id.clone()),
        ("state", approval.state.clone()),
        ("asked", format!("{} ago", age(approval.age_seconds))),
        ("waiting", approval.waiting.to_string()),
        ("session", question.session.to_string()),
        ("exchange", question.exchange.clone()),
        ("who", question.requester.clone()),
        ("call", question.summary.clone()),
    ];
    for (name, list) in [
        ("action", &question.actions),
        ("resource", &question.resources),
    ] {
        lines.extend(list.iter().take(most).map(|it| (name, it.clone())));
        if list.len() > most {
            let id = &approval.id;
            lines.push((
                name,
                format!("… `guard approval show --all {id}` has the rest"),
            ));
        }
    }
    let optional = [
        ("statement", &question.statement),
        ("approver", &approval.approver),
        ("reason", &approval.reason),
    ];
    lines.extend(
        optional
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.clone()?))),
    );
    let line = |(name, text): (&str, String)| format!("{name:10} {}\n", printable(&text));
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::approval::Question;
    use crate::session::SessionId;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn view(id: &str, resource: &str) -> ApprovalView {
        ApprovalView {
            id: id.to_owned(),
            question: Question {
                session: SessionId::parse("0123456789abcdef").unwrap(),
                exchange: "0123456789abcdef-1".to_owned(),
                actions: vec!["s3:DeleteBucket".to_owned()],
                resources: vec![resource.to_owned(), "arn:aws:s3:::second".to_owned()],
                summary: "s3:DeleteBucket, eu-west-1".to_owned(),
                statement: None,
                requester: "ann: aws".to_owned(),
                fingerprint: [0xab; 32],
            },
            state: "waiting".to_owned(),
            age_seconds: 61,
            waiting: 1,
            approver: None,
            reason: None,
        }
    }

    /// What the command prints, and what the daemon was asked besides the list.
    fn answered(arguments: &[&str]) -> (anyhow::Result<String>, Vec<String>) {
        let cli = Cli::try_parse_from([&["approval"], arguments].concat()).unwrap();
        let mut asked = Vec::new();
        let answer = answer(&cli.arguments.command, cli.arguments.output, |request| {
            let approvals = vec![
                view("a-00112233", "arn:aws:s3:::\u{1b}[2Jb"),
                view("a-00aabbcc", "x"),
            ];
            if matches!(request, Request::ApprovalList) {
                return Ok(Reply::Approvals { approvals });
            }
            asked.push(serde_json::to_string(request).unwrap());
            Ok(Reply::Approval {
                approval: approvals.into_iter().next().unwrap(),
            })
        });
        (answer, asked)
    }

    #[test]
    fn the_table_shows_each_approval_on_a_line_without_control_characters() {
        let text = answered(&["list"]).0.unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("ID          AGE    STATE"), "{text}");
        assert!(
            lines[1].starts_with("a-00112233  1m01s  waiting  ann: aws  s3:DeleteBucket"),
            "{text}"
        );
        assert!(lines[1].contains("arn:aws:s3:::\\u{1b}[2Jb, …"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        assert_eq!(table(&[]), "no approvals\n");
        let wide = table(&[view("a-00112233", &"x".repeat(500))]);
        assert!(
            wide.lines().all(|line| line.chars().count() < 200),
            "{wide}"
        );
    }

    #[test]
    fn json_has_a_schema_and_no_control_characters() {
        for (arguments, schema) in [
            (&["list", "-o", "json"][..], "guard.approvals/v1"),
            (&["show", "0011", "--output", "json"], "guard.approval/v1"),
        ] {
            let text = answered(arguments).0.unwrap();
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["schema"], schema);
            let approval = if schema.contains("approvals") {
                &value["approvals"][0]
            } else {
                &value["approval"]
            };
            assert_eq!(approval["question"]["fingerprint"], "ab".repeat(32));
            assert_eq!(
                approval["question"]["resources"][0],
                "arn:aws:s3:::\u{1b}[2Jb"
            );
        }
    }

    #[test]
    fn every_resource_is_shown_where_it_is_asked_for() {
        let mut approval = view("a-00112233", "x");
        approval.question.resources = (0..1000)
            .map(|key| format!("arn:aws:s3:::b/{key}"))
            .collect();
        let answer = |arguments: &[&str]| {
            let cli = Cli::try_parse_from([&["approval"], arguments].concat()).unwrap();
            let answer = answer(&cli.arguments.command, cli.arguments.output, |request| {
                let approval = approval.clone();
                Ok(match request {
                    Request::ApprovalList => Reply::Approvals {
                        approvals: vec![approval],
                    },
                    _ => Reply::Approval { approval },
                })
            });
            answer.unwrap()
        };
        let short = answer(&["show", "a-0"]);
        assert_eq!(short.matches("arn:aws:s3:::b/").count(), 32);
        let rest = "resource   … `guard approval show --all a-00112233` has the rest\n";
        assert!(short.contains(rest), "{short}");
        let all = answer(&["show", "a-0", "--all"]);
        assert_eq!(all.matches("resource   arn:aws:s3:::b/").count(), 1000);
        assert!(!all.contains("--all"));
        let json = answer(&["show", "a-0", "-o", "json"]);
        assert_eq!(json.matches("arn:aws:s3:::b/").count(), 1000);
    }

    #[test]
    fn decides_by_a_beginning_that_is_unique() {
        for (arguments, id, approve, reason) in [
            (&["approve", "a-00112233"][..], "a-00112233", "true", "null"),
            (
                &["approve", "a-001", "--reason", "fine"],
                "a-00112233",
                "true",
                "\"fine\"",
            ),
            (
                &["deny", "00AA", "--reason", "no"],
                "a-00aabbcc",
                "false",
                "\"no\"",
            ),
        ] {
            let (answer, asked) = answered(arguments);
            let expected = format!(
                r#"{{"request":"approval_decide","id":"{id}","approve":{approve},"reason":{reason}}}"#
            );
            assert_eq!(asked, [expected]);
            assert!(
                answer
                    .unwrap()
                    .contains("resource   arn:aws:s3:::\\u{1b}[2Jb\n")
            );
        }
        for (given, part) in [
            ("a-00", "a-00112233, a-00aabbcc"),
            ("a-", "guard approval list"),
            ("", "guard approval list"),
            ("ff\u{1b}", "no approval ff\\u{1b}"),
        ] {
            let (answer, asked) = answered(&["approve", given]);
            let error = answer.unwrap_err().to_string();
            assert!(asked.is_empty() && error.contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn the_daemons_errors_are_told() {
        let refused = |_: &Request| {
            let message = "a confined process cannot decide\u{7}".to_owned();
            Ok(Reply::Error {
                code: "confined".to_owned(),
                message,
            })
        };
        let error = answer(&Command::List, Output::Table, refused).unwrap_err();
        assert_eq!(error.to_string(), "a confined process cannot decide\\u{7}");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m00s"),
            (3599, "59m59s"),
            (7260, "2h01m"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
