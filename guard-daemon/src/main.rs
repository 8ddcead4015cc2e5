//! The `guard` binary: parses the command line and leaves the rest to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = guard_daemon::broker::resolver_if_asked() {
        return code;
    }
    guard_daemon::cli::main()
}
