//! Sets up and runs everything that must hold before a change lands; ends with one closing line.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::place::{cargo, environment, root, run, target, tools};
use crate::{fuzz, setup, vm};

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
    // It looks at every platform's dependencies, of which a build here fetches only some.
    run(cargo().args(["fetch", "--locked"]))?;
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

/// What the tests that run on this host and under other kernels come to.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
}

impl Tally {
    /// Takes a line of a runner's output into account.
    fn read(&mut self, line: &str) {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
        }
    }

    /// A skipped test returns early, so the runner counted it among the passed.
    fn skip(&mut self, line: String) {
        self.passed = self.passed.saturating_sub(1);
        self.skipped.push(line);
    }
}

/// Runs the tests here and, unless only some are wanted, under the other kernels; prints the closing line.
fn tests(filter: Option<&str>, skipped: Vec<String>) -> anyhow::Result<()> {
    let mut tally = Tally {
        skipped,
        ..Tally::default()
    };
    step("tests");
    let here = here(filter, &mut tally)?;
    if filter.is_none() {
        step("fuzzing, a few seconds");
        if let Err(error) = fuzz::run_task(&SMOKE) {
            say(&format!("fuzzing: {error}"));
            tally.failed += 1;
        }
        step("tests under other kernels");
        kernels(&mut tally)?;
    }
    say("");
    for line in &tally.skipped {
        say(line);
    }
    say(&format!(
        "{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed,
        tally.skipped.len()
    ));
    if !here || tally.failed > 0 {
        bail!("tests failed");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// Runs the tests on this host; tells whether the runner was content.
fn here(filter: Option<&str>, tally: &mut Tally) -> anyhow::Result<bool> {
    let skips = target().join("skipped-tests");
    let _ = std::fs::remove_file(&skips);
    let cargo = cargo();
    // What a shell ignores for a task in its background cannot be trapped below it, and tests do.
    let mut runner = Command::new("env")
        .args(["--default-signal=INT,QUIT"])
        .arg(cargo.get_program())
        .args(["test", "--workspace", "--no-fail-fast"])
        .current_dir(root())
        .args(filter)
        .env("GUARD_TEST_ENV", environment())
        .env("GUARD_TEST_SKIPS", &skips)
        .env("GUARD_BIN", target().join("debug/guard"))
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test did not start")?;
    let output = runner
        .stdout
        .take()
        .context("the runner's output is piped")?;
    for line in BufReader::new(output).lines() {
        let line = line.context("the runner's output is not text")?;
        say(&line);
        tally.read(&line);
    }
    let status = runner.wait()?;
    for line in std::fs::read_to_string(&skips).unwrap_or_default().lines() {
        tally.skip(line.to_owned());
    }
    Ok(status.success())
}

/// Enough for the seeds and some thousand inputs made of them: the same ones each time, so that a failure comes again.
const SMOKE: fuzz::Arguments = fuzz::Arguments {
    target: None,
    seconds: 3,
    seed: Some(1),
};

/// What runs under every kernel, once with BPF LSM and once without: a test binary, and which of its tests.
/// The rest of the escape suite takes a guest half an hour: `cargo xtask vm -- target/debug/deps/escape-…`.
const UNDER_EVERY_KERNEL: [(&str, &str); 2] = [
    ("escape", "the_ordinary_user"),
    ("main_job", "boto3_calls the_aws_cli"),
];

/// What runs with BPF LSM besides: what has more hooks then.
const WITH_BPF_LSM: [(&str, &str); 2] = [("tracking", ""), ("attach", "a_running_tree")];

/// What runs without: what does not ask for it.
const WITHOUT_BPF_LSM: [(&str, &str); 2] =
    [("hooks", ""), ("recovery", "a_killed_daemons_session")];

/// How long a guest may take; without KVM it is some ten times slower than this host.
const GUEST_LIMIT: Duration = Duration::from_mins(15);

/// Runs the tests that depend on the kernel under each of the matrix.
fn kernels(tally: &mut Tally) -> anyhow::Result<()> {
    let binaries = binaries()?;
    for (bpf_lsm, more) in [(true, WITH_BPF_LSM), (false, WITHOUT_BPF_LSM)] {
        let mut commands = Vec::new();
        for (name, tests) in UNDER_EVERY_KERNEL.iter().chain(&more) {
            let binary = binaries
                .get(*name)
                .with_context(|| format!("there is no test binary {name}"))?;
            commands.push(format!("{} {tests}", binary.display()));
        }
        let plan = vm::Plan {
            commands,
            limit: GUEST_LIMIT,
            keep: false,
        };
        let guests = vm::Guest::all().into_iter();
        let guests: Vec<_> = guests.filter(|guest| guest.bpf_lsm == bpf_lsm).collect();
        let matrix = vm::run(&guests, &plan)?;
        vm::print(&matrix);
        account(matrix, tally);
    }
    Ok(())
}

/// Takes what the tests in the guests said into account.
fn account(matrix: vm::Matrix, tally: &mut Tally) {
    tally.skipped.extend(matrix.skipped);
    for outcome in matrix.outcomes {
        let failed = tally.failed;
        outcome.output.lines().for_each(|line| tally.read(line));
        // A guest that hung or a binary that crashed has no line that counts it.
        if !outcome.succeeded() && tally.failed == failed {
            tally.failed += 1;
        }
        for line in outcome.skips {
            tally.skip(format!("{line} [kernel {}]", outcome.guest.name()));
        }
    }
}

/// The test binaries by name, as cargo has built them.
fn binaries() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let output = cargo()
        .args(["test", "--workspace", "--no-run"])
        .args(["--message-format", "json"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo test did not start")?;
    if !output.status.success() {
        bail!("the test binaries are not built");
    }
    let mut found = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else {
            continue;
        };
        // A program may have a test's name.
        if message["profile"]["test"] != true {
            continue;
        }
        let name = message["target"]["name"].as_str();
        if let (Some(name), Some(path)) = (name, message["executable"].as_str()) {
            found.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    Ok(found)
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
