//! The command line: parses arguments, talks to people, chooses exit codes.
//!
//! Standard output carries the answer, standard error everything else.

mod approval;
mod attach;
mod daemon;
mod exit;
mod identify;
mod journal;
mod policy;
mod run;
mod status;
mod terms;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::config::{Config, ConfigError};
use exit::Exit;

/// Confines an AI agent's process tree and reviews every AWS call it makes.
#[derive(Debug, Parser)]
#[command(name = "guard", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, clap::Args)]
struct Global {
    /// Configuration file [default: /etc/guard/guard.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of journal, CA and lock [default: /var/lib/guard]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Directory of socket, pins and session files [default: /run/guard]
    #[arg(long, global = true, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command confined
    Run(run::Arguments),
    /// Confine a process tree that runs already
    Attach(attach::Arguments),
    /// Let a tree go that was attached
    Detach(attach::DetachArguments),
    /// Serve sessions (systemd starts this)
    Daemon(daemon::Arguments),
    /// Decide on calls that wait for a person
    Approval(approval::Arguments),
    /// Show or check the record
    Journal(journal::Arguments),
    /// Tell what AWS requests ask for
    Identify(identify::Arguments),
    /// Check, test and explain policies
    Policy(policy::Arguments),
    /// Show the daemon and its sessions
    Status,
    /// Inside a session: get a token that AWS's clients would compute from keys
    Token(token::Arguments),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Where a shell asks, its question is answered and the process ends.
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap, too, and go to standard output.
            let _ = error.print();
            let wrong = error.use_stderr();
            return if wrong { Exit::Usage } else { Exit::Success }.into();
        }
    };
    let global = &cli.global;
    let (result, otherwise) = match &cli.command {
        Command::Run(arguments) => (run::run(arguments, global), Exit::Guard),
        Command::Attach(arguments) => (attach::attach(arguments, global), Exit::Failure),
        Command::Detach(arguments) => (attach::detach(arguments, global), Exit::Failure),
        Command::Daemon(arguments) => (daemon::run(arguments, global), Exit::Failure),
        Command::Approval(arguments) => (approval::run(arguments, global), Exit::Failure),
        Command::Journal(arguments) => (journal::run(arguments, global), Exit::Failure),
        Command::Identify(arguments) => (identify::run(arguments), Exit::Failure),
        Command::Policy(arguments) => (policy::run(arguments, global), Exit::Failure),
        Command::Status => (status::run(global), Exit::Failure),
        Command::Token(arguments) => (token::run(arguments), Exit::Failure),
    };
    result.unwrap_or_else(|error| {
        say(&crate::control::text_of(error.as_ref()));
        Exit::of(&error, otherwise).into()
    })
}

/// Says that the process' memory cannot be closed, so that nothing is to be put there.
pub fn unsealed(error: &std::io::Error) -> ExitCode {
    say(&format!(
        "core dumps and other processes' looks into guard cannot be shut off ({error}); guard does not go on"
    ));
    Exit::Guard.into()
}

impl Global {
    /// The configuration that the flags name.
    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(
            self.config.as_deref(),
            self.state_dir.as_deref(),
            self.runtime_dir.as_deref(),
        )
    }
}

/// Says something to the person at the terminal.
fn say(message: &str) {
    use std::io::Write;

    // A closed standard error is nobody's to tell.
    let _ = writeln!(std::io::stderr(), "guard: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_takes_everything_after_two_hyphens() {
        let cli = Cli::try_parse_from([
            "guard",
            "run",
            "--reason",
            "x",
            "--",
            "ls",
            "--state-dir",
            "-l",
        ]);
        let Command::Run(arguments) = cli.unwrap().command else {
            panic!("not run");
        };
        assert_eq!(arguments.command, ["ls", "--state-dir", "-l"]);
        for wrong in [
            &["guard", "run"][..],
            &["guard", "run", "--"],
            &["guard", "run", "ls"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
