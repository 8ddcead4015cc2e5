//! Interfaces that change the kernel or guard's programs in it. To have the descriptor, or to pass the check of
//! permissions, counts: what would follow would harm the host that the suite runs on.

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::sys::{Result, call, open};
use super::{Attempt, Outcome, Stop, Technique, technique};

const CAPABILITIES: &str = "capabilities";
const HIDDEN: &str = "mount namespace";
const BPF: &[(&str, &str)] = &[
    ("bpf: EPERM", "capabilities or seccomp: bpf"),
    ("bpf: ENOENT", HIDDEN),
];
const FILE: &[(&str, &str)] = &[
    ("open: EACCES", "file permissions"),
    ("open: EROFS", "mounted read-only"),
    ("open: ENOENT", HIDDEN),
];

macro_rules! files {
    ($($id:literal, $title:literal, $path:literal;)*) => {
        &[$(technique($id, $title, |a| writable(a, $path)).root().possession()
            .closed("mounted read-only", "").or(FILE)),*]
    };
}

const FILES: [Technique; 12] = *files! {
    "sysctl-core-pattern", "/proc/sys/kernel/core_pattern: a program that the kernel runs outside", "/proc/sys/kernel/core_pattern";
    "sysctl-modprobe", "/proc/sys/kernel/modprobe: the same", "/proc/sys/kernel/modprobe";
    "sysctl-binfmt", "/proc/sys/fs/binfmt_misc/register: an interpreter for programs outside", "/proc/sys/fs/binfmt_misc/register";
    "sysctl-route", "/proc/sys/net/ipv4/conf/all/route_localnet", "/proc/sys/net/ipv4/conf/all/route_localnet";
    "sysctl-ping", "/proc/sys/net/ipv4/ping_group_range", "/proc/sys/net/ipv4/ping_group_range";
    "sysctl-forward", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ip_forward";
    "sysctl-ptrace", "/proc/sys/kernel/kptr_restrict", "/proc/sys/kernel/kptr_restrict";
    "sysrq", "/proc/sysrq-trigger", "/proc/sysrq-trigger";
    "sys-uevent-helper", "/sys/kernel/uevent_helper: a program that the kernel runs outside", "/sys/kernel/uevent_helper";
    "sys-device", "/sys/devices: an event as if of the kernel", "/sys/devices/virtual/mem/null/uevent";
    "proc-init-memory", "/proc/1/mem", "/proc/1/mem";
    "proc-kcore", "/proc/kcore", "/proc/kcore";
};

pub(super) const TABLE: &[Technique] = &[
    FILES[0],
    FILES[1],
    FILES[2],
    FILES[3],
    FILES[4],
    FILES[5],
    FILES[6],
    FILES[7],
    FILES[8],
    FILES[9],
    FILES[10],
    FILES[11],
    technique(
        "bpf-pin-open",
        "open a pinned map or link of the session",
        |a| {
            let path = super::sys::c_string(&pin(a)?);
            let fd = bpf(
                7,
                &mut Pin {
                    path: path.as_ptr() as _,
                    fd: 0,
                    flags: 0,
                },
            )?;
            Ok(format!("descriptor {fd}"))
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(BPF),
    technique("bpf-pin-remove", "remove the session's pins", |a| {
        let pin = pin(a)?;
        std::fs::remove_file(pin).map_err(Stop::io("unlink"))?;
        Ok("removed".to_owned())
    })
    .root()
    .last()
    .possession()
    .closed(HIDDEN, "")
    .or(&[("unlink: EACCES", "file permissions")]),
    technique(
        "bpf-link-detach",
        "find the session's links by their numbers, detach them all, send",
        |a| {
            let cgroup = a.session()?.cgroup;
            let mut detached = 0;
            let mut number = 0_u32;
            loop {
                let mut next = [number, 0, 0, 0];
                match bpf(31, &mut next) {
                    Ok(_) => number = next[1],
                    Err(Stop::Refused(_, Errno::ENOENT)) => break,
                    Err(stop) => return Err(stop),
                }
                let link = match bpf(30, &mut [number, 0, 0, 0]) {
                    Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd as _) },
                    // Gone meanwhile.
                    Err(Stop::Refused(_, Errno::ENOENT)) => continue,
                    Err(stop) => return Err(stop),
                };
                // struct bpf_link_info: type and number, the program's number, the cgroup's.
                let mut info = [0_u64; 16];
                let mut get = Info {
                    fd: link.as_raw_fd() as _,
                    size: size_of_val(&info) as _,
                    address: info.as_mut_ptr() as _,
                };
                bpf(15, &mut get)?;
                if info[2] == cgroup {
                    bpf(34, &mut [link.as_raw_fd() as u32, 0])?;
                    detached += 1;
                }
            }
            super::cgroups::escaped(a)?;
            Ok(format!("{detached} links detached"))
        },
    )
    .root()
    .last()
    .closed(CAPABILITIES, "")
    .or(BPF),
    technique(
        "bpf-map-by-number",
        "a descriptor of any map by its number",
        |_| {
            let mut next = [0_u32; 4];
            bpf(12, &mut next)?;
            let fd = bpf(14, &mut [next[1], 0, 0, 0])?;
            Ok(format!("descriptor {fd}"))
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(BPF),
    technique("bpf-map-create", "a map of its own", |_| {
        // An array of one value.
        let fd = bpf(0, &mut [2_u32, 4, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        Ok(format!("descriptor {fd}"))
    })
    .root()
    .possession()
    .closed("seccomp: bpf", "")
    .or(BPF),
    technique("module-load", "init_module", |_| {
        let done = call("init_module", unsafe {
            libc::syscall(libc::SYS_init_module, c"".as_ptr(), 0, c"".as_ptr())
        });
        permitted(done, &[Errno::ENOEXEC, Errno::EINVAL])
    })
    .root()
    .possession()
    .closed(CAPABILITIES, CAPABILITIES),
    technique("kexec", "kexec_load", |_| {
        let done = call("kexec_load", unsafe {
            libc::syscall(libc::SYS_kexec_load, 0, 0, 0, 0)
        });
        permitted(done, &[])
    })
    .root()
    .possession()
    .closed("seccomp: kexec_load", ""),
    technique("io-ports", "iopl", |_| {
        let done = call("iopl", unsafe { libc::syscall(libc::SYS_iopl, 3) });
        permitted(done, &[])
    })
    .root()
    .possession()
    .closed(CAPABILITIES, ""),
    technique(
        "perf-events",
        "perf_event_open for the whole machine",
        |_| {
            let mut attributes = [0_u64; 16];
            attributes[0] = 1 | 128 << 32;
            let fd = call("perf_event_open", unsafe {
                libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, 0)
            });
            permitted(fd, &[])
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, ""),
    technique(
        "userfaultfd",
        "userfaultfd with the kernel's own faults",
        |_| {
            let fd = call("userfaultfd", unsafe {
                libc::syscall(libc::SYS_userfaultfd, 0)
            });
            permitted(fd, &[])
        },
    )
    .root()
    .possession()
    .closed("seccomp: userfaultfd", ""),
    technique("kernel-log", "the kernel's log by syslog(2)", |_| {
        let mut text = [0_u8; 64];
        let done = call("syslog", unsafe {
            libc::syscall(libc::SYS_syslog, 3, text.as_mut_ptr(), text.len())
        });
        permitted(done, &[])
    })
    .root()
    .possession()
    .closed("seccomp: syslog", ""),
    technique(
        "fanotify",
        "fanotify: permission events of a whole file system",
        |_| {
            let fd = call("fanotify_init", unsafe {
                libc::syscall(libc::SYS_fanotify_init, 4, 0)
            });
            permitted(fd, &[])
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, ""),
    technique(
        "clock",
        "set the clock (to what it is), which certificates depend on",
        |_| {
            // A null time with a time zone: the check of permissions alone.
            let zone = [0_i32; 2];
            let done = call("settimeofday", unsafe {
                libc::settimeofday(std::ptr::null(), zone.as_ptr().cast())
            });
            permitted(done, &[])
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, ""),
    technique("host-name", "sethostname (to what it is)", |_| {
        let name =
            std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(Stop::io("open"))?;
        let name = name.trim();
        let done = call("sethostname", unsafe {
            libc::sethostname(name.as_ptr().cast(), name.len())
        });
        permitted(done, &[])
    })
    .root()
    .possession()
    .closed(CAPABILITIES, ""),
];

/// `struct bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct Info {
    fd: u32,
    size: u32,
    address: u64,
}

/// The same for BPF_OBJ_GET.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

fn bpf<T>(command: i32, attributes: &mut T) -> Result<i64> {
    call("bpf", unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of_val(attributes),
        )
    })
}

/// The first file among the session's pins.
fn pin(attempt: &Attempt<'_>) -> Result<std::path::PathBuf> {
    let pins = &attempt.session()?.pins;
    let entries = std::fs::read_dir(pins).map_err(Stop::io("open"))?;
    let first = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| !path.is_dir());
    first.ok_or_else(|| Stop::Nothing("open: ENOENT".to_owned()))
}

fn writable(attempt: &Attempt<'_>, path: &str) -> Outcome {
    let file = open(path, libc::O_WRONLY).map_err(|stop| attempt.of_host(stop))?;
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    call("fstat", unsafe {
        libc::fstat(file.as_raw_fd(), &raw mut status)
    })?;
    if status.st_rdev == libc::makedev(1, 3) {
        return Err(Stop::Nothing("covered by /dev/null".to_owned()));
    }
    Ok("open for writing".to_owned())
}

/// Whether a call got past its check of permissions.
fn permitted(done: Result<i64>, beyond: &[Errno]) -> Outcome {
    match done {
        Ok(_) => Ok("permitted".to_owned()),
        Err(Stop::Refused(_, errno)) if beyond.contains(&errno) => Ok("permitted".to_owned()),
        Err(Stop::Refused(call, Errno::ENOSYS)) => Err(Stop::Unavailable(format!(
            "{call}: the kernel does not have it"
        ))),
        Err(stop) => Err(stop),
    }
}
