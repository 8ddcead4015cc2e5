//! Fuzzes guard's parsers with libFuzzer: `tests/fuzz`, built on stable Rust with coverage of guard's own crates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::place::{cargo, root, run, target};

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this target; all of them otherwise.
    pub(crate) target: Option<String>,
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u32,
    /// Makes the inputs of this seed; others each time otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seed: Option<u32>,
}

/// Runs it.
pub(crate) fn run_task(arguments: &Arguments) -> anyhow::Result<()> {
    let program = build()?;
    let mut names = targets()?;
    if let Some(wanted) = &arguments.target {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            bail!("there is no target {wanted}; tests/fuzz/corpus has one directory for each");
        }
    }
    let mut broken = Vec::new();
    for name in names {
        say(&format!("== {name}"));
        if !fuzz(&program, &name, arguments)? {
            broken.push(name);
        }
    }
    if !broken.is_empty() {
        bail!("something does not hold: {}", broken.join(", "));
    }
    Ok(())
}

/// Builds the targets' program. Dependencies are built as for the tests, so that only guard's own crates are built
/// again, by `rustc.sh`.
fn build() -> anyhow::Result<PathBuf> {
    run(cargo()
        .args(["build", "--workspace", "--bin", "guard-fuzz"])
        .args(["--features", "guard-fuzz/libfuzzer"])
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            root().join("tests/fuzz/rustc.sh"),
        ))?;
    Ok(target().join("debug/guard-fuzz"))
}

/// The targets' names: those of the corpus.
fn targets() -> anyhow::Result<Vec<String>> {
    let corpus = root().join("tests/fuzz/corpus");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&corpus).context("the corpus cannot be read")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Runs one target over its seeds and what earlier runs found, and then on from there; tells whether all held.
fn fuzz(program: &Path, name: &str, arguments: &Arguments) -> anyhow::Result<bool> {
    let found = target().join("fuzz").join(name);
    let artifacts = target().join("fuzz/artifacts").join(name);
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&artifacts)?;
    let output = Command::new(program)
        .arg(format!("-max_total_time={}", arguments.seconds))
        // libFuzzer takes 0 for one of its own choice.
        .arg(format!("-seed={}", arguments.seed.unwrap_or(0)))
        .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048"])
        .args(["-verbosity=1", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&found)
        .arg(root().join("tests/fuzz/corpus").join(name))
        .env("GUARD_FUZZ_TARGET", name)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .output()
        .context("the targets' program did not start")?;
    let report = String::from_utf8_lossy(&output.stderr);
    let held = output.status.success();
    // How far it got: the first and the last of the lines with its coverage, and the number of runs.
    let coverage = || report.lines().filter(|line| line.contains(" cov: "));
    let shown = coverage().take(1).chain(coverage().next_back());
    shown.for_each(|line| say(&line.replace('\t', " ")));
    for line in report.lines().filter(|line| !line.starts_with('#')) {
        let told = line.starts_with("Done ") || line.contains("Test unit written");
        if told || (!held && !line.contains("NEW_FUNC")) {
            say(line);
        }
    }
    Ok(held)
}

#[expect(clippy::print_stdout, reason = "the task's report")]
fn say(line: &str) {
    println!("{line}");
}
