//! What a guest says of itself, and the table of all.

use std::fs;
use std::time::Duration;

use anyhow::Context;

use super::{Guest, Matrix};
use crate::place::target;
use crate::test::counts;

/// How a guest ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It ran everything: each command's exit status, and how long it took.
    Ran(Vec<(i32, Duration)>),
    /// It hung, panicked, or did not start: why, with the console's last lines.
    Failed(String),
}

/// What became of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Which one.
    pub(crate) guest: Guest,
    /// The version of the kernel's package.
    pub(crate) version: String,
    /// How it ended.
    pub(crate) end: End,
    /// From the kernel's start to the first command's, by the guest's clock; `None` if it did not get there.
    pub(crate) boot: Option<Duration>,
    /// From QEMU's start to its end.
    pub(crate) took: Duration,
    /// The commands' standard output and error.
    pub(crate) output: String,
    /// `SKIPPED …` lines of the tests that ran.
    pub(crate) skips: Vec<String>,
}

impl Outcome {
    /// Whether every command ended with 0.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(&self.end, End::Ran(exits) if exits.iter().all(|(status, _)| *status == 0))
    }

    /// How many tests passed and failed, as their runners say in the output; skipped ones are neither.
    pub(crate) fn tests(&self) -> (usize, usize) {
        let (passed, failed) = self
            .output
            .lines()
            .filter_map(counts)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        // A skipped test returns early, so the runner counted it among the passed.
        (passed.saturating_sub(self.skips.len()), failed)
    }
}

/// What a guest writes to its report port, as far as it got.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) booted: Option<Duration>,
    pub(crate) release: String,
    pub(crate) security_modules: String,
    pub(crate) exits: Vec<(i32, Duration)>,
    pub(crate) skips: Vec<String>,
    pub(crate) escapes: Vec<String>,
    pub(crate) complete: bool,
}

impl Report {
    /// Reads it; lines that are not understood are as if the guest had not got there.
    pub(crate) fn read(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let fields: Vec<&str> = rest.split(' ').collect();
            match (word, fields.as_slice()) {
                ("booted", [seconds, release, modules]) => {
                    report.booted = duration(seconds);
                    (*release).clone_into(&mut report.release);
                    (*modules).clone_into(&mut report.security_modules);
                }
                ("exit", [_number, status, start, end]) => {
                    let Ok(status) = status.parse() else { continue };
                    let (Some(start), Some(end)) = (duration(start), duration(end)) else {
                        continue;
                    };
                    report.exits.push((status, end.saturating_sub(start)));
                }
                ("skip", _) => report.skips.push(rest.to_owned()),
                ("row", _) => report.escapes.push(rest.to_owned()),
                ("end", _) => report.complete = true,
                _ => {}
            }
        }
        report
    }
}

impl Report {
    /// What is wrong if this is the guest that was asked for and it was to run so many commands.
    pub(crate) fn wrong(&self, guest: Guest, commands: usize) -> Option<String> {
        if !self.complete || self.exits.len() != commands {
            return Some("ended before its commands did".to_owned());
        }
        let modules = &self.security_modules;
        (modules.split(',').any(|module| module == "bpf") != guest.bpf_lsm)
            .then(|| format!("has the security modules {modules}"))
    }
}

impl Report {
    /// Writes the rows of the escape suite, if it ran, to where it writes them itself when it runs on this host.
    pub(crate) fn keep_escapes(&self, guest: Guest) -> anyhow::Result<()> {
        if self.escapes.is_empty() {
            return Ok(());
        }
        let directory = target().join("escapes");
        let with = if guest.bpf_lsm { "with" } else { "without" };
        let kernel = guest.kernel.series();
        let file = directory.join(format!("{kernel}, {with} BPF LSM.jsonl"));
        fs::create_dir_all(&directory)
            .and_then(|()| fs::write(&file, self.escapes.join("\n") + "\n"))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

fn duration(seconds: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

/// Prints a line for each guest, why those that failed did, and what was skipped.
#[expect(clippy::print_stdout, reason = "the task's report")]
pub(crate) fn print(matrix: &Matrix) {
    println!(
        "\n{:<14} {:<20} {:<12} {:<20} {:>6} {:>7}",
        "kernel", "package", "exit", "tests", "boot s", "total s"
    );
    for outcome in &matrix.outcomes {
        let exit = match &outcome.end {
            End::Ran(exits) => {
                let each = exits.iter().map(|(status, _)| status.to_string());
                each.collect::<Vec<_>>().join(" ")
            }
            End::Failed(_) => "did not end".to_owned(),
        };
        let tests = match outcome.tests() {
            (0, 0) => "-".to_owned(),
            (passed, failed) => format!("{passed} passed, {failed} failed"),
        };
        let boot = outcome.boot.map_or("-".to_owned(), seconds);
        println!(
            "{:<14} {:<20} {exit:<12} {tests:<20} {boot:>6} {:>7}",
            outcome.guest.name(),
            outcome.version,
            seconds(outcome.took)
        );
    }
    for outcome in &matrix.outcomes {
        if let End::Failed(reason) = &outcome.end {
            println!("\n{}: {reason}", outcome.guest.name());
        }
        for line in &outcome.skips {
            println!("{} [{}]", line, outcome.guest.name());
        }
    }
    for line in &matrix.skipped {
        println!("{line}");
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_report_is_read() {
        let report = Report::read(
            "booted 7.50 6.1.0-56-cloud-amd64 lockdown,capability,bpf\nexit 0 101 7.50 9.00\n\
             skip SKIPPED a: needs b\nrow {\"a\": 1}\nend\n",
        );
        assert_eq!(report.booted, Some(Duration::from_millis(7500)));
        assert_eq!(report.security_modules, "lockdown,capability,bpf");
        assert_eq!(report.exits, [(101, Duration::from_millis(1500))]);
        assert_eq!(report.skips, ["SKIPPED a: needs b"]);
        assert_eq!(report.release, "6.1.0-56-cloud-amd64");
        assert_eq!(report.escapes, ["{\"a\": 1}"]);
        assert!(report.complete);
    }

    #[test]
    fn a_report_that_breaks_off_is_not_complete() {
        let report = Report::read("booted 7.50 6.1.0 capability\nexit 0 0 7.");
        assert_eq!(report.exits, []);
        assert!(!report.complete);
    }
}
