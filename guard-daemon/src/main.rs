//! The `guard` binary: closes its memory, parses the command line and leaves the rest to the library.

use std::alloc::System;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is given back. Secrets pass through buffers of crates that do not (serde, hyper, aws-sigv4), and
/// growing a buffer leaves its old bytes behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // Before any secret is here.
    if let Err(error) = guard_daemon::seal::close() {
        return guard_daemon::cli::unsealed(&error);
    }
    if let Some(code) = guard_daemon::broker::resolver_if_asked() {
        return code;
    }
    guard_daemon::cli::main()
}
