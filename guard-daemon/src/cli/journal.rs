//! `guard journal`: shows and checks the record. Reads the files; no daemon is needed.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::Config;
use crate::record::read::{self, Content, Line};
use crate::record::{show, verify};
use crate::visible::printable;

/// Exit code where the journal is not sound.
const FINDINGS: u8 = 5;

/// Show or check the record of what sessions did.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the journal's entries, oldest first
    Show(Show),
    /// Check the hash chain; exit code 5 if something is wrong
    Verify,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Only this session's entries
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only entries with this sequence number or a higher one
    #[arg(long, value_name = "N", default_value_t = 0)]
    since: u64,
    /// `table` for people, `jsonl` for the lines exactly as they were written
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    Table,
    Jsonl,
}

pub(super) fn run(arguments: &Arguments, global: &super::Global) -> anyhow::Result<ExitCode> {
    let directory = directory(global)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = match &arguments.command {
        Command::Show(show) => print(show, read::lines(&directory), &mut out, &mut io::stderr()),
        Command::Verify => check(verify::verify(&directory), &mut out),
    };
    let done = done.and_then(|code| out.flush().map(|()| code));
    match done {
        // `guard journal show | head`: the reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        done => done.map(ExitCode::from).with_context(|| {
            format!(
                "cannot read the journal in {}; its owner can, or root",
                directory.display()
            )
        }),
    }
}

fn directory(global: &super::Global) -> anyhow::Result<PathBuf> {
    let config = Config::load(
        global.config.as_deref(),
        global.state_dir.as_deref(),
        global.runtime_dir.as_deref(),
    )?;
    Ok(config.state_dir.join("journal"))
}

fn print(
    show: &Show,
    lines: io::Result<read::Lines>,
    out: &mut impl Write,
    complaints: &mut impl Write,
) -> io::Result<u8> {
    for line in lines? {
        let line = line?;
        let place = match line.link() {
            Ok(place) => place,
            // A writer may be in the middle of its last line.
            Err(_) if matches!(line.content, Content::Torn { .. }) => continue,
            Err(reason) => {
                writeln!(
                    complaints,
                    "journal-{:06}.jsonl line {}: {}; see `guard journal verify`",
                    line.segment,
                    line.number,
                    printable(&reason)
                )?;
                continue;
            }
        };
        let wanted = show
            .session
            .as_deref()
            .is_none_or(|id| place.session.as_deref() == Some(id));
        if place.seq < show.since || !wanted {
            continue;
        }
        match (show.output, &line.content) {
            (Output::Jsonl, Content::Whole(bytes)) => {
                out.write_all(bytes)?;
                out.write_all(b"\n")?;
            }
            _ => row(&line, out)?,
        }
    }
    Ok(0)
}

fn row(line: &Line, out: &mut impl Write) -> io::Result<()> {
    let Ok(summary) = show::summary(line) else {
        return Ok(());
    };
    // Agents chose much of what is behind the person.
    let who = match summary.who.as_str() {
        "" => "-",
        who => who,
    };
    write!(
        out,
        "{:>6}  {}  {:<16}  {:<8}  {:<16}  {:<16}  {}",
        summary.seq,
        printable(&summary.time),
        printable(&summary.session),
        printable(&summary.decision),
        printable(who),
        printable(&summary.process),
        printable(&summary.what),
    )?;
    for more in [&summary.outcome, &summary.reason] {
        if !more.is_empty() {
            write!(out, "; {}", printable(more))?;
        }
    }
    writeln!(out)
}

fn check(report: io::Result<verify::Report>, out: &mut impl Write) -> io::Result<u8> {
    let report = report?;
    for finding in &report.findings {
        writeln!(out, "{}", printable(&finding.to_string()))?;
    }
    let more = report.finding_count - report.findings.len() as u64;
    if more > 0 {
        writeln!(out, "and {more} more")?;
    }
    let verdict = match report.finding_count {
        0 => "sound".to_owned(),
        1 => "1 finding".to_owned(),
        n => format!("{n} findings"),
    };
    writeln!(
        out,
        "{verdict}: {} entries in {} segments checked{}",
        report.entries,
        report.segments,
        if report.in_use {
            ", in use by a writer"
        } else {
            ""
        }
    )?;
    writeln!(
        out,
        "last: seq {} hash {}",
        report.last_seq, report.last_hash
    )?;
    Ok(if report.finding_count == 0 {
        0
    } else {
        FINDINGS
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser as _;

    use super::*;
    use crate::record::entry::{Entry, Event, Process};
    use crate::record::journal::Journal;
    use crate::session::{Human, Identity, SessionId};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn journal() -> (tempfile::TempDir, SessionId) {
        let directory = tempfile::tempdir().unwrap();
        let session = SessionId::parse("7b1e09c44f2ad310").unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        for (session, name) in [
            (Some(session.clone()), "one.example"),
            (None, "two.example"),
            (None, "\u{1b}[2J.example"),
        ] {
            let event = Event::DnsQuestion {
                name: name.to_owned(),
                kind: "A".to_owned(),
                allowed: false,
                transport: "udp".to_owned(),
            };
            runtime
                .block_on(journal.append(Entry { session, event }))
                .unwrap();
        }
        (directory, session)
    }

    fn shown(directory: &std::path::Path, arguments: &[&str]) -> (String, String) {
        let line = Line::parse_from([&["journal", "show"], arguments].concat());
        let Command::Show(show) = line.arguments.command else {
            panic!("not show")
        };
        let (mut out, mut complaints) = (Vec::new(), Vec::new());
        print(&show, read::lines(directory), &mut out, &mut complaints).unwrap();
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(complaints).unwrap(),
        )
    }

    #[test]
    fn a_table_has_one_safe_line_per_entry() {
        let (directory, _) = journal();
        let (table, complaints) = shown(directory.path(), &[]);
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(
            table.contains(
                "deny      -                 -                 dns A one.example over udp"
            ),
            "{table}"
        );
        assert!(!table.contains('\u{1b}'), "{table}");
        assert_eq!(complaints, "");
    }

    #[test]
    fn the_person_stands_before_what_agents_choose() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let session = SessionId::parse("7b1e09c44f2ad310").unwrap();
        let identity = Identity {
            uid: 1000,
            user: "ada".to_owned(),
            loginuid: None,
            host: "h".to_owned(),
            reason: None,
            command: Vec::new(),
            human: Some(Human {
                issuer: "https://sso.acme.example".to_owned(),
                subject: "1".to_owned(),
                email: Some("ada@acme.example".to_owned()),
            }),
            agent: None,
            labels: BTreeMap::new(),
        };
        journal.introduce(&session, &identity).unwrap();
        let process = Process {
            pid: 7,
            comm: "x[1]  allow".to_owned(),
            argv: Some(vec![
                "x".to_owned(),
                "; allowed by statement ok; for grace@acme.example".to_owned(),
            ]),
            ..Process::default()
        };
        let entry = Entry {
            session: Some(session),
            event: Event::ProcessExecuted { process },
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(journal.append(entry)).unwrap();
        let (table, _) = shown(directory.path(), &[]);
        let row = "Z  7b1e09c44f2ad310  -         ada@acme.example  'x[1]  allow'[7]  exec a program \
            '; allowed by statement ok; for grace@acme.example'\n";
        assert!(table.ends_with(row), "{table}");
    }

    #[test]
    fn filters_select_lines_which_jsonl_prints_exactly() {
        let (directory, session) = journal();
        let file = std::fs::read_to_string(directory.path().join("journal-000001.jsonl")).unwrap();
        let lines: Vec<_> = file.split_inclusive('\n').collect();
        for (arguments, expected) in [
            (&["-o", "jsonl"][..], &lines[..]),
            (&["-o", "jsonl", "--since", "2"], &lines[1..]),
            (&["-o", "jsonl", "--session", session.as_str()], &lines[..1]),
            (&["-o", "jsonl", "--session", "other"], &[]),
        ] {
            assert_eq!(
                shown(directory.path(), arguments).0,
                expected.concat(),
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn lines_that_are_not_entries_are_named_and_left_out() {
        let (directory, _) = journal();
        let path = directory.path().join("journal-000001.jsonl");
        let file = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("junk\n{file}{{\"v\":1")).unwrap();
        let (out, complaints) = shown(directory.path(), &["-o", "jsonl"]);
        assert_eq!(out, file);
        assert!(
            complaints.starts_with("journal-000001.jsonl line 1: "),
            "{complaints}"
        );
        assert_eq!(complaints.lines().count(), 1, "{complaints}");
    }

    #[test]
    fn verify_says_what_it_checked_and_fails_on_findings() {
        let (directory, _) = journal();
        let mut out = Vec::new();
        assert_eq!(
            check(verify::verify(directory.path()), &mut out).unwrap(),
            0
        );
        let said = String::from_utf8(out).unwrap();
        assert!(
            said.starts_with("sound: 3 entries in 1 segments checked\nlast: seq 3 hash "),
            "{said}"
        );
        let path = directory.path().join("journal-000001.jsonl");
        let file = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, file.replace("two.example", "ten.example")).unwrap();
        let mut out = Vec::new();
        assert_eq!(
            check(verify::verify(directory.path()), &mut out).unwrap(),
            FINDINGS
        );
        let said = String::from_utf8(out).unwrap();
        assert!(
            said.starts_with("journal-000001.jsonl line 2 (seq 2): changed"),
            "{said}"
        );
        assert!(said.contains("1 finding: "), "{said}");
    }
}
