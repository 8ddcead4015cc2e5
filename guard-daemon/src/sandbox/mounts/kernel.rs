//! File systems that are windows into the kernel: /proc and /sys of the session's own, and none through
//! which cgroups, eBPF programs, traces or other processes could be reached.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{Statfs, statfs};

use super::super::report::{Report, Stage, at, on};
use super::private::Directories;
use super::table::{self, Mount};
use super::{read_only, syscalls, tmpfs};

/// File systems that a session does not see, by the names in /proc/self/mountinfo and their magic numbers
/// (linux/magic.h, and the file systems' own sources).
const REMOVED: [(&str, i64); 13] = [
    ("bpf", 0xcafe_4a11),
    ("binfmt_misc", 0x4249_4e4d),
    ("cgroup", 0x0027_e0eb),
    ("cgroup2", 0x6367_7270),
    ("configfs", 0x6265_6570),
    ("debugfs", 0x6462_6720),
    ("efivarfs", 0xde5e_81e4),
    ("fusectl", 0x6573_5543),
    ("nsfs", 0x6e73_6673),
    ("pstore", 0x6165_676c),
    ("resctrl", 0x0765_5821),
    ("securityfs", 0x7363_6673),
    ("tracefs", 0x7472_6163),
];

/// File systems that a session has of its own below /proc, /sys and /dev. Others are the host's.
const OWN: [(&str, i64); 4] = [
    ("devpts", 0x1cd1),
    ("mqueue", 0x1980_0202),
    ("proc", 0x9fa0),
    ("sysfs", 0x6265_6572),
];

/// The type of a file system, if it is one of those that sessions do not see.
pub(super) fn hidden_kind(found: &Statfs) -> Option<&'static str> {
    let magic = number(found);
    let all = REMOVED.iter().chain(&OWN);
    // The standard streams may well be a terminal.
    all.filter(|(name, _)| *name != "devpts")
        .find(|(_, number)| *number == magic)
        .map(|(name, _)| *name)
}

/// Replaces /proc by that of this process's pid namespace.
pub(super) fn own_proc() -> Result<(), Report> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    detach(Path::new("/proc"));
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(at(Stage::Processes))
}

/// Replaces /sys by that of this process's network namespace, read-only.
pub(super) fn own_sysfs() -> Result<(), Report> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    detach(Path::new("/sys"));
    mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>).map_err(at(Stage::Sysfs))
}

/// Takes what is mounted at a path away, with all below. What stays, because it is no mount or locked to
/// what it is mounted on, is covered by what follows.
fn detach(path: &Path) {
    let _ = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
}

/// Removes every other mount of a kernel file system, wherever it stands, and every mount that shows a
/// private directory's content elsewhere.
pub(super) fn remove_file_systems(directories: &Directories) -> Result<(), Report> {
    for window in windows(directories)? {
        // A mount below another is not what its path leads to; nor does anything else lead to it.
        while window.is_open() {
            let path = &window.path;
            if umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_err() {
                cover(path).map_err(on(Stage::Kernel, path))?;
            }
        }
    }
    match windows(directories)?.into_iter().find(Window::is_open) {
        None => Ok(()),
        Some(Window { path, .. }) => Err(on(Stage::Kernel, &path)(Errno::EBUSY)),
    }
}

/// A mount that no session may see.
struct Window {
    path: PathBuf,
    shows: Shows,
}

/// What is known of it.
enum Shows {
    /// The magic number of its file system.
    Kind(i64),
    /// The device of its file system.
    Device(u64),
}

impl Window {
    /// Whether its path leads to it.
    fn is_open(&self) -> bool {
        match self.shows {
            Shows::Kind(magic) => statfs(&self.path).is_ok_and(|found| number(&found) == magic),
            Shows::Device(device) => {
                let found = self.path.symlink_metadata();
                found.is_ok_and(|found| found.dev() == device)
            }
        }
    }
}

/// The mounts that no session may see, the deepest first.
fn windows(directories: &Directories) -> Result<Vec<Window>, Report> {
    let table = table::read().map_err(at(Stage::Kernel))?;
    let mut found: Vec<Window> = table
        .into_iter()
        .filter_map(|mount| {
            let Mount {
                path, kind, device, ..
            } = mount;
            let number = |list: &[(&str, i64)]| {
                let found = list.iter().find(|(name, _)| name.as_bytes() == kind);
                found.map(|(_, number)| Shows::Kind(*number))
            };
            let elsewhere = !["/proc", "/sys", "/dev"]
                .iter()
                .any(|own| path.starts_with(own));
            let private = || {
                let seen = elsewhere && directories.are_seen_at(&path, device);
                seen.then_some(Shows::Device(device))
            };
            let shows = number(&REMOVED)
                .or_else(|| number(&OWN).filter(|_| elsewhere))
                .or_else(private)?;
            Some(Window { path, shows })
        })
        .collect();
    found.reverse();
    Ok(found)
}

/// The magic number of a file system.
pub(in crate::sandbox) fn number(found: &Statfs) -> i64 {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        clippy::cast_lossless,
        reason = "the type differs between libcs"
    )]
    let number = found.filesystem_type().0 as i64;
    number
}

fn cover(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        tmpfs(path, "mode=0555,size=4k")?;
    } else {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let nothing = open("/dev/null", flags, Mode::empty())?;
        syscalls::copy(nothing, false)?.attach(open(path, flags, Mode::empty())?)?;
    }
    Ok(())
}

/// Makes what root could set in /proc read-only, and what tells of the kernel's memory empty.
pub(super) fn protect_settings() -> Result<(), Report> {
    let set = [
        "acpi",
        "asound",
        "bus",
        "driver",
        "dynamic_debug",
        "fs",
        "irq",
        "mtrr",
        "scsi",
        "sys",
        "sysrq-trigger",
    ];
    for path in set.map(|name| Path::new("/proc").join(name)) {
        if path.exists() {
            read_only(&path).map_err(on(Stage::ReadOnly, &path))?;
        }
    }
    let read = [
        "kcore",
        "keys",
        "key-users",
        "kmsg",
        "kpagecgroup",
        "kpagecount",
        "kpageflags",
        "latency_stats",
        "sched_debug",
        "timer_list",
        "vmcore",
    ];
    for path in read.map(|name| Path::new("/proc").join(name)) {
        if path.exists() {
            cover(&path).map_err(on(Stage::ReadOnly, &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_numbers() {
        let kind = |path: &str| hidden_kind(&statfs(path).unwrap());
        assert_eq!(kind("/proc"), Some("proc"));
        assert_eq!(kind(env!("CARGO_MANIFEST_DIR")), None);
    }
}
