//! Shows the main job on a fresh machine: moto stands in for AWS, `agent.sh` for the agent.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::place::{cargo, environment, root, run, target};
use crate::setup;

/// The stand-in's credentials (`tests/stand/stand.py`): what guard holds and the agent never sees.
const REAL_KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "real-secret-key-that-only-guard-may-hold",
    ),
    ("AWS_REGION", "us-east-1"),
];

/// What is there before the agent starts.
const SEED: &str = "set -e
aws s3 mb s3://demo-data
echo quarter,revenue | aws s3 cp - s3://demo-data/report.csv
echo obsolete | aws s3 cp - s3://demo-data/old.csv
aws secretsmanager create-secret --name demo/database --secret-string correct-horse-battery";

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Runs it.
pub(crate) fn run_task(_arguments: &Arguments) -> anyhow::Result<()> {
    setup::clients()?;
    run(cargo().args(["build", "--package", "guard-daemon"]))?;
    let directory = tempfile::Builder::new().prefix("guard-demo-").tempdir()?;
    // The agent, which is not root, reads its script and its CA here.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
    let stand = Stand::start(directory.path())?;

    let open = directory.path().join("seed.toml");
    std::fs::write(&open, "default = \"allow\"\n")?;
    let seed = Guard {
        directory: directory.path().join("seed"),
        stand: &stand,
    };
    run(seed
        .run(&open)
        .args(["sh", "-c", SEED])
        .stdout(Stdio::null()))?;

    let guard = Guard {
        directory: directory.path().join("guard"),
        stand: &stand,
    };
    let profile = root().join("xtask/src/demo/profile.toml");
    say("The profile:\n");
    say(&std::fs::read_to_string(&profile)?);
    heading("guard run --profile profile.toml -- bash agent.sh");
    let script = directory.path().join("agent.sh");
    std::fs::copy(root().join("xtask/src/demo/agent.sh"), &script)?;
    let mut agent = guard.run(&profile).arg("bash").arg(&script).spawn()?;
    guard.approve(&mut agent)?;
    let status = agent.wait()?;
    if !status.success() {
        bail!("the agent ended with {status}");
    }
    for subcommand in [["journal", "show"], ["journal", "verify"]] {
        heading(&format!("guard {}", subcommand.join(" ")));
        run(guard.command().args(subcommand))?;
    }
    seed.wait_for_the_end();
    guard.wait_for_the_end();
    Ok(())
}

/// The AWS stand-in; ends when its standard input closes.
struct Stand {
    address: String,
    roots: PathBuf,
    _process: Child,
}

impl Stand {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let mut process = Command::new(environment().join("venv/bin/python"))
            .arg(root().join("tests/stand/stand.py"))
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the AWS stand-in did not start")?;
        let mut line = String::new();
        let output = process.stdout.take().context("its output is piped")?;
        BufReader::new(output).read_line(&mut line)?;
        let Some(port) = line.trim().strip_prefix("ready ") else {
            bail!("the AWS stand-in said {line:?} where its port was expected");
        };
        let address = format!("127.0.0.1:{port}");
        Ok(Self {
            address,
            roots: directory.join("ca.pem"),
            _process: process,
        })
    }
}

/// guard with directories of the demo's own.
struct Guard<'a> {
    directory: PathBuf,
    stand: &'a Stand,
}

impl Guard<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(target().join("debug/guard"));
        command
            .arg("--state-dir")
            .arg(self.directory.join("state"))
            .arg("--runtime-dir")
            .arg(self.directory.join("run"));
        command
    }

    fn run(&self, profile: &Path) -> Command {
        let programs = environment().join("venv/bin");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.command();
        command
            .arg("run")
            .arg("--profile")
            .arg(profile)
            .args(["--reason", "demo", "--upstream-connect"])
            .arg(format!("*.amazonaws.com={}", self.stand.address))
            .arg("--upstream-roots")
            .arg(&self.stand.roots)
            .arg("--")
            // In the session /tmp is private, but for the working directory.
            .current_dir(&self.directory)
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("AWS_PAGER", "")
            .env("HOME", &self.directory)
            .envs(REAL_KEYS);
        if std::env::var_os("SUDO_UID").is_none() {
            // As if root had been reached through sudo: an agent is no job for root.
            command
                .env("SUDO_UID", "65534")
                .env("SUDO_GID", "65534")
                .env("SUDO_USER", "nobody");
        }
        command
    }

    /// The embedded daemon ends with its last session, and takes its mounts with it.
    fn wait_for_the_end(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.directory.join("run/guard.sock").exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Plays the person: looks at what waits, approves it.
    fn approve(&self, agent: &mut Child) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(50);
        while agent.try_wait()?.is_none() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(500));
            let listed = self.command().args(["approval", "list"]).output()?;
            let table = String::from_utf8_lossy(&listed.stdout).into_owned();
            let waiting = table.lines().find(|line| line.contains("waiting"));
            let Some(id) = waiting.and_then(|line| line.split_whitespace().next()) else {
                continue;
            };
            heading("in another terminal: guard approval list");
            say(table.trim_end());
            heading(&format!("guard approval approve {id} --reason 'old data'"));
            return run(self
                .command()
                .args(["approval", "approve", id, "--reason", "old data"]));
        }
        bail!("no call of the agent waited for an approval");
    }
}

fn heading(text: &str) {
    say(&format!("\n\u{1b}[1;34m# {text}\u{1b}[0m"));
}

#[expect(clippy::print_stdout, reason = "the demo is what it prints")]
fn say(text: &str) {
    println!("{text}");
}
