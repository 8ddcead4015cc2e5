//! Keeps what is in this process' memory there: no core dumps, no look from other processes, no swap.

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// The only limit that also stops dumps which `core_pattern` hands to a program (core(5)).
const NO_CORES: u64 = 1;

/// Has the kernel dump no core of this process, and lets no process look into it (`/proc/PID/mem`, `environ`, ptrace)
/// but root's with `CAP_SYS_PTRACE`. The limit is that of its children, too; what they run is dumpable again.
pub fn close() -> io::Result<()> {
    set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, NO_CORES, NO_CORES)?;
    Ok(())
}

/// Keeps the memory of this process out of swap: each page from when it is first used. All of it, since secrets
/// pass through the buffers of connections as well; the daemon's memory is bounded.
///
/// Only where no limit can be met later, when an allocation would fail for it.
pub fn pin() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn pages_are_locked_as_they_are_used() {
        // In a process of its own: the memory of the tests is not to stay locked.
        let Ok(program) = std::env::current_exe() else {
            panic!("no program");
        };
        if std::env::var_os("GUARD_TEST_PIN").is_some() {
            let status = || fs::read_to_string("/proc/self/status").unwrap_or_default();
            match super::pin() {
                Ok(()) => {
                    let locked = status();
                    let locked = locked.lines().find(|line| line.starts_with("VmLck:"));
                    let locked = locked.and_then(|line| line.split_whitespace().nth(1));
                    assert!(locked.is_some_and(|kib| kib != "0"), "{}", status());
                }
                Err(error) => crate::skip::skip(module_path!(), format!("mlockall: {error}")),
            }
            return;
        }
        let status = std::process::Command::new(program)
            .args(["--exact", "seal::tests::pages_are_locked_as_they_are_used"])
            .env("GUARD_TEST_PIN", "1")
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}
