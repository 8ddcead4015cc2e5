//! The command line: parses arguments, talks to people, chooses exit codes.

use std::process::ExitCode;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    unimplemented!("contract")
}
