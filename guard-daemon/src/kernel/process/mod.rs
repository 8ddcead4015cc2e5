//! Says who is behind a process id, for the record.
//!
//! Everything read here is the confined process' own to choose (its argv, even its executable's name), so
//! it is bounded and its secrets are taken out before it is kept.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::Mode;

use super::Origin;
use crate::record::entry::Process;

mod parents;
mod redaction;

/// Arguments kept.
const ARGUMENTS: usize = 64;
/// Bytes of the command line read.
const COMMAND_LINE: u64 = 4096;
/// Bytes of `/proc/PID/stat` read; it has 52 numbers and a name.
const STAT: u64 = 2048;

/// Describes the process that made a connection.
pub fn of_origin(origin: &Origin) -> Process {
    describe(origin.pid, origin.uid, &origin.comm, origin.at)
}

/// Describes process `pid`, which called the kernel at `at` (`CLOCK_BOOTTIME` nanoseconds) as user
/// `uid` under the name `comm`. Executable and arguments are absent if it is gone; a later process with
/// its number is not taken for it. Reads `/proc`: a few microseconds, no waiting on the process.
pub fn describe(pid: u32, uid: u32, comm: &str, at: u64) -> Process {
    Process {
        pid,
        uid,
        comm: comm.to_owned(),
        ..look(pid, at).unwrap_or_default()
    }
}

/// Executable, arguments, start and parents, each where it can be read.
fn look(pid: u32, at: u64) -> Option<Process> {
    // An open directory of /proc stays this process': it reads nothing once the process is reaped, even
    // if the number is given out again.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(format!("/proc/{pid}").as_str(), flags, Mode::empty()).ok()?;
    let stat = read(&directory, "stat", STAT)?;
    let started = started_at(&stat)?;
    if started > at {
        return None;
    }
    let exe = readlinkat(&directory, "exe").ok();
    let exe = exe.map(|path| path.to_string_lossy().into_owned());
    // Empty once the process has ended and waits to be reaped.
    let line = read(&directory, "cmdline", COMMAND_LINE).filter(|line| !line.is_empty());
    let argv = line.map(|line| arguments(&line));
    Some(Process {
        exe,
        argv,
        started: Some(started),
        parents: parents::of(&stat),
        ..Process::default()
    })
}

/// A process without its arguments, which it could make the reader wait for.
pub(super) fn outline(pid: u32) -> Option<Process> {
    let stat = parents::stat(pid)?;
    Some(Process {
        pid,
        comm: parents::name(&stat),
        exe: parents::executable(pid),
        started: Some(started_at(&stat)?),
        parents: parents::of(&stat),
        ..Process::default()
    })
}

fn read(directory: impl AsFd, name: &str, limit: u64) -> Option<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = File::from(openat(directory, name, flags, Mode::empty()).ok()?);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether a process is ending: its only thread is, by fields 9 and 20 of its `stat`.
pub(super) fn is_ending(stat: &[u8]) -> bool {
    /// `PF_EXITING` (include/linux/sched.h).
    const EXITING: u32 = 4;
    let number = |field| parents::field(stat, field)?.parse::<u32>().ok();
    number(9).is_some_and(|flags| flags & EXITING != 0)
        && number(20).is_some_and(|threads| threads <= 1)
}

/// When a process started, in nanoseconds of `CLOCK_BOOTTIME` rounded down to a clock tick: field 22 of
/// its `stat` (proc_pid_stat(5)).
pub(super) fn started_at(stat: &[u8]) -> Option<u64> {
    let ticks: u64 = parents::field(stat, 22)?.parse().ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    ticks.checked_mul(1_000_000_000 / u64::try_from(per_second).ok()?)
}

/// Splits a command line as `/proc/PID/cmdline` has it, bounded and redacted.
pub(super) fn arguments(line: &[u8]) -> Vec<String> {
    let line = line.strip_suffix(b"\0").unwrap_or(line);
    let arguments = line.split(|byte| *byte == 0).take(ARGUMENTS);
    redaction::redact(arguments.map(String::from_utf8_lossy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// `CLOCK_BOOTTIME` nanoseconds, to a hundredth of a second, rounded up.
    fn now() -> u64 {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        u64::try_from(std::time::Duration::from_secs_f64(seconds + 0.01).as_nanos()).unwrap()
    }

    #[test]
    fn a_live_process_is_described_and_a_reused_number_is_not() {
        let before = now() - 1_000_000_000;
        let mut child = Command::new("sh")
            .args(["-c", "echo; read line", "name", "--password=hunter2"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // `spawn` returns within the exec, before the arguments are in place.
        let up = child.stdout.as_mut().unwrap().read_exact(&mut [0]);
        up.unwrap();
        let here = describe(child.id(), 7, "sh", now());
        let reused = describe(child.id(), 7, "sh", before);
        child.kill().unwrap();
        child.wait().unwrap();
        let gone = describe(child.id(), 7, "sh", now());

        assert_eq!(
            (here.pid, here.uid, here.comm.as_str()),
            (child.id(), 7, "sh")
        );
        assert!(here.exe.unwrap().starts_with('/'));
        let argv = here.argv.unwrap();
        assert_eq!(
            argv,
            [
                "sh",
                "-c",
                "echo; read line",
                "name",
                "--password=[redacted]"
            ]
        );
        assert_eq!((reused.exe, reused.argv), (None, None));
        assert_eq!((gone.exe, gone.argv), (None, None));
    }

    #[test]
    fn the_start_is_field_22_whatever_the_name_is() {
        let numbers = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 500 20 21";
        let tick = 1_000_000_000
            / u64::try_from(
                nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
                    .unwrap()
                    .unwrap(),
            )
            .unwrap();
        for name in ["sh", "a b", ") 1 2 (", ")"] {
            let stat = format!("77 ({name}) {numbers}");
            assert_eq!(started_at(stat.as_bytes()), Some(500 * tick), "{name}");
        }
        for stat in [
            "",
            "77 (sh",
            "77 (sh) S 1 2",
            "77 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x",
        ] {
            assert_eq!(started_at(stat.as_bytes()), None, "{stat}");
        }
    }

    #[test]
    fn a_process_is_ending_with_its_last_thread() {
        let stat = |flags: u32, threads: u32| {
            format!("7 (a) S 4 5 6 7 8 {flags} 10 11 12 13 14 15 16 17 18 19 {threads} 21 500")
        };
        assert!(is_ending(stat(0x0040_0004, 1).as_bytes()));
        assert!(!is_ending(stat(0x0040_0004, 2).as_bytes()));
        assert!(!is_ending(stat(0x0040_0000, 1).as_bytes()));
        assert!(!is_ending(b"7 (a) S"));
    }

    #[test]
    fn arguments_are_bounded() {
        assert_eq!(arguments(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(arguments(b"cut of"), ["cut of"]);
        assert_eq!(arguments(&b"x\0".repeat(1000)).len(), ARGUMENTS);
        assert_eq!(arguments(b"\xff"), ["\u{fffd}"]);
    }
}
