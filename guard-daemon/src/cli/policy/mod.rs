//! `guard policy`: checks, tests and explains policies. No daemon is needed.

mod check;
mod completion;
mod explain;
mod question;
mod test;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use crate::policy::Effect;

/// Check, test and explain policies.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Look for mistakes in profiles and IAM policies; exit code 5 if there are any
    Check(check::Arguments),
    /// Run cases, each a call with the decision that is expected; exit code 5 if one differs
    Test(test::Arguments),
    /// Say what is decided on a call, and why
    Explain(explain::Arguments),
}

/// Exit code where a policy is not as it should be.
const FINDINGS: u8 = 5;

pub(super) fn run(arguments: &Arguments, global: &super::Global) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments, global),
        Command::Test(arguments) => test::run(arguments, global),
        Command::Explain(arguments) => explain::run(arguments, global),
    }
}

/// An effect as policies write it.
fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
        Effect::Approve => "approve",
    }
}

/// Reads a file of at most `most` bytes.
fn read(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(text)
}
