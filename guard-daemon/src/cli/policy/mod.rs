//! `guard policy`: checks, tests and explains policies. No daemon is needed.

mod completion;
mod explain;
mod question;
mod test;

use std::process::ExitCode;

/// Check, test and explain policies.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run cases, each a call with the decision that is expected; exit code 5 if one differs
    Test(test::Arguments),
    /// Say what is decided on a call, and why
    Explain(explain::Arguments),
}

/// Exit code where a policy is not as it should be.
const FINDINGS: u8 = 5;

pub(super) fn run(arguments: &Arguments, global: &super::Global) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Test(arguments) => test::run(arguments, global),
        Command::Explain(arguments) => explain::run(arguments, global),
    }
}
