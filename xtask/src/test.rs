//! Sets up and runs everything that must hold before a change lands; ends with one closing line.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::place::{cargo, environment, root, run, target, tools};
use crate::setup;

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only run the tests whose names contain this; no checks.
    filter: Option<String>,
}

/// Runs it.
pub(crate) fn run_task(arguments: &Arguments) -> anyhow::Result<()> {
    let mut skipped = Vec::new();
    if arguments.filter.is_none() {
        step("setup");
        let no_ebpf = setup::run_all()?;
        skipped.extend(
            no_ebpf
                .as_ref()
                .map(|reason| format!("SKIPPED {EBPF}: {reason}")),
        );
        checks(no_ebpf.is_none())?;
    } else {
        setup::clients()?;
    }
    step("build");
    run(cargo().args(["build", "--workspace", "--bins"]))?;
    tests(arguments.filter.as_deref(), skipped)
}

/// The check that needs a toolchain of its own.
const EBPF: &str = "the committed eBPF object equals a rebuild";

/// What must hold of the text and of the committed artifacts.
fn checks(ebpf: bool) -> anyhow::Result<()> {
    step("rustfmt");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    step("cargo-deny");
    run(Command::new(tools().join("bin/cargo-deny"))
        .args([
            "--all-features",
            "--offline",
            "check",
            "--hide-inclusion-graph",
            "bans",
            "licenses",
            "sources",
        ])
        .current_dir(root()))?;
    step("clippy");
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    if ebpf {
        step(EBPF);
        crate::ebpf::run(&crate::ebpf::Arguments { check: true })?;
    }
    step("the committed catalog equals a rebuild");
    crate::catalog::run(&crate::catalog::Arguments { check: true })
}

/// Runs the tests, adds up what the runner says of each test binary, and prints the closing line.
fn tests(filter: Option<&str>, mut skipped: Vec<String>) -> anyhow::Result<()> {
    step("tests");
    let skips = target().join("skipped-tests");
    let _ = std::fs::remove_file(&skips);
    let mut runner = cargo()
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(filter)
        .env("GUARD_TEST_ENV", environment())
        .env("GUARD_TEST_SKIPS", &skips)
        .env("GUARD_BIN", target().join("debug/guard"))
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test did not start")?;
    let mut passed = 0;
    let mut failed = 0;
    let output = runner
        .stdout
        .take()
        .context("the runner's output is piped")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("the runner's output is not text")?;
        say(&line);
        if let Some((ok, bad)) = counts(&line) {
            passed += ok;
            failed += bad;
        }
    }
    let status = runner.wait()?;
    let reasons = std::fs::read_to_string(&skips).unwrap_or_default();
    // A skipped test returns early, so the runner counted it among the passed.
    passed = passed.saturating_sub(reasons.lines().count());
    skipped.extend(reasons.lines().map(str::to_owned));
    say("");
    for line in &skipped {
        say(line);
    }
    say(&format!(
        "{passed} passed, {failed} failed, {} skipped",
        skipped.len()
    ));
    if !status.success() {
        bail!("tests failed");
    }
    if passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
pub(crate) fn counts(line: &str) -> Option<(usize, usize)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |label: &str| {
        let before = rest.split(label).next()?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((number(" passed")?, number(" failed")?))
}

fn step(name: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    let seconds = START.get_or_init(Instant::now).elapsed().as_secs();
    say(&format!("== {name} ({seconds} s)"));
}

#[expect(clippy::print_stdout, reason = "the task's report")]
fn say(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn the_runners_closing_line_is_counted() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counts(line), Some((12, 3)));
        assert_eq!(counts("test record::chain ... ok"), None);
    }
}
