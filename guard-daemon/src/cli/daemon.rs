//! `guard daemon`: serves sessions in the foreground.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use super::{Exit, Global};
use crate::service::{self, embedded};

/// What `guard daemon` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Started by `guard run`: detach, tell the launcher how the start went, end when idle
    #[arg(long, hide = true)]
    embedded: bool,
}

/// Runs the daemon.
pub(super) fn run(arguments: &Arguments, global: &Global) -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // It would say on standard error that standard error cannot be written, and panic: a full disk
        // under the log must not end the daemon.
        .log_internal_errors(false)
        .init();
    let result = global.load().map_err(anyhow::Error::from);
    let result = result.and_then(|config| Ok(service::run(config, arguments.embedded)?));
    if let Err(error) = &result
        && arguments.embedded
    {
        tell_launcher(&embedded::failure(error));
    }
    result.map(|()| Exit::Success.into())
}

fn tell_launcher(message: &str) {
    // A launcher that is gone has nobody to tell; standard error is the log.
    let _ = std::io::stdout().write_all(message.as_bytes());
}
