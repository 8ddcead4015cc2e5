//! What a guest says of itself, and the table of all.

use std::time::Duration;

use super::{Guest, Matrix};

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
    /// The commands' standard output and error, at most [`super::boot::OUTPUT_MAX`] bytes.
    pub(crate) output: String,
    /// `SKIPPED …` lines of the tests that ran.
    pub(crate) skips: Vec<String>,
}

impl Outcome {
    /// Whether every command ended with 0.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(&self.end, End::Ran(exits) if exits.iter().all(|(status, _)| *status == 0))
    }
}

/// What a guest writes to its report port, as far as it got.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) booted: Option<Duration>,
    pub(crate) security_modules: String,
    pub(crate) exits: Vec<(i32, Duration)>,
    pub(crate) skips: Vec<String>,
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
                ("booted", [seconds, _release, modules]) => {
                    report.booted = duration(seconds);
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
                ("end", _) => report.complete = true,
                _ => {}
            }
        }
        report
    }
}

fn duration(seconds: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds.parse().ok()?).ok()
}

/// Prints a line for each guest, and why those that failed did.
#[expect(clippy::print_stdout, reason = "the task's report")]
pub(crate) fn print(matrix: &Matrix) {
    println!(
        "\n{:<16} {:<20} {:<12} {:>6} {:>8}",
        "kernel", "package", "exit", "boot s", "total s"
    );
    for outcome in &matrix.outcomes {
        let exit = match &outcome.end {
            End::Ran(exits) => {
                let each: Vec<String> =
                    exits.iter().map(|(status, _)| status.to_string()).collect();
                each.join(" ")
            }
            End::Failed(_) => "did not end".to_owned(),
        };
        let boot = outcome.boot.map_or_else(
            || "-".to_owned(),
            |boot| format!("{:.1}", boot.as_secs_f64()),
        );
        println!(
            "{:<16} {:<20} {exit:<12} {boot:>6} {:>8.1}",
            outcome.guest.name(),
            outcome.version,
            outcome.took.as_secs_f64()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_report_is_read() {
        let report = Report::read(
            "booted 7.50 6.1.0-56-cloud-amd64 lockdown,capability,bpf\nexit 0 101 7.50 9.00\n\
             skip SKIPPED a: needs b\nend\n",
        );
        assert_eq!(report.booted, Some(Duration::from_millis(7500)));
        assert_eq!(report.security_modules, "lockdown,capability,bpf");
        assert_eq!(report.exits, [(101, Duration::from_millis(1500))]);
        assert_eq!(report.skips, ["SKIPPED a: needs b"]);
        assert!(report.complete);
    }

    #[test]
    fn a_report_that_breaks_off_is_not_complete() {
        let report = Report::read("booted 7.50 6.1.0 capability\nexit 0 0 7.");
        assert_eq!(report.exits, []);
        assert!(!report.complete);
    }
}
