//! Devices that lead to a wire, a disk, memory or the terminal outside.

use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

use super::sys::{c_string, call, open};
use super::{Attempt, Outcome, Stop, Technique, technique};

const DEVICE: &str = "device";
const OR: &[(&str, &str)] = &[
    ("open: EACCES", "file permissions"),
    ("open: ENOENT", "mount namespace"),
];

macro_rules! devices {
    ($($id:literal, $path:literal, $kind:expr, $major:literal, $minor:literal;)*) => {
        &[$(technique($id, $path, |a| opened(a, $path)).root().possession().closed(DEVICE, DEVICE).or(OR)),*,
          $(technique(concat!($id, "-made"), concat!("mknod of ", $path), |a| made(a, $path, $kind, $major, $minor))
              .root().possession().closed("capabilities", DEVICE)
              .or(&[("open: EPERM", DEVICE)])),*]
    };
}

const NODES: &[Technique] = devices! {
    "tun", "/dev/net/tun", libc::S_IFCHR, 10, 200;
    "vsock-device", "/dev/vsock", libc::S_IFCHR, 10, 258;
    "disk", "/dev/vda", libc::S_IFBLK, 254, 0;
    "kmsg", "/dev/kmsg", libc::S_IFCHR, 1, 11;
    "kvm", "/dev/kvm", libc::S_IFCHR, 10, 232;
    "memory", "/dev/mem", libc::S_IFCHR, 1, 1;
    "ports", "/dev/port", libc::S_IFCHR, 1, 4;
    "vhost-net", "/dev/vhost-net", libc::S_IFCHR, 10, 238;
    "vhost-vsock", "/dev/vhost-vsock", libc::S_IFCHR, 10, 241;
    "ppp", "/dev/ppp", libc::S_IFCHR, 108, 0;
    "loop-control", "/dev/loop-control", libc::S_IFCHR, 10, 237;
    "uinput", "/dev/uinput", libc::S_IFCHR, 10, 223;
};

const TERMINAL: [Technique; 3] = [
    technique(
        "terminal-input",
        "TIOCSTI: type into the terminal that guard was started from",
        |a| {
            let terminal = open("/dev/tty", libc::O_RDWR)?;
            for byte in a.marker().bytes() {
                call("TIOCSTI", unsafe {
                    libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, &raw const byte)
                })
                .map_err(|stop| match stop {
                    Stop::Refused(_, Errno::EIO) => {
                        Stop::Unavailable("dev.tty.legacy_tiocsti is off".to_owned())
                    }
                    other => other,
                })?;
            }
            Ok("typed".to_owned())
        },
    )
    .possession()
    .closed("seccomp: TIOCSTI", ""),
    technique("terminal-paste", "TIOCLINUX: paste into a console", |_| {
        let terminal = open("/dev/tty", libc::O_RDWR)?;
        let paste = 3_u8;
        match call("TIOCLINUX", unsafe {
            libc::ioctl(terminal.as_raw_fd(), libc::TIOCLINUX, &raw const paste)
        }) {
            Err(Stop::Refused(_, Errno::ENOTTY)) => {
                Err(Stop::Unavailable("the terminal is no console".to_owned()))
            }
            other => other.map(|_| "pasted".to_owned()),
        }
    })
    .possession()
    .closed("seccomp: TIOCLINUX", ""),
    technique(
        "terminal-other",
        "another terminal of the same user: read what is typed there",
        |a| {
            open(&a.outside()?.terminal, libc::O_RDWR | libc::O_NOCTTY)?;
            Ok("opened".to_owned())
        },
    )
    .possession()
    .closed("mount namespace", "")
    .or(&[
        ("open: EACCES", "file permissions"),
        ("open: EPERM", DEVICE),
    ]),
];

pub(super) const TABLE: &[Technique] = &{
    let mut all = [TERMINAL[0]; 27];
    let mut at = 0;
    while at < NODES.len() {
        all[at] = NODES[at];
        at += 1;
    }
    all[24] = TERMINAL[0];
    all[25] = TERMINAL[1];
    all[26] = TERMINAL[2];
    all
};

fn opened(attempt: &Attempt<'_>, path: &str) -> Outcome {
    // A disk is not opened for writing: the host lives on it.
    let mode = if path.ends_with("vda") {
        libc::O_RDONLY
    } else {
        libc::O_RDWR
    };
    match open(path, mode | libc::O_NONBLOCK) {
        Ok(_) => Ok("opened".to_owned()),
        Err(stop) => Err(attempt.of_host(stop)),
    }
}

fn made(attempt: &Attempt<'_>, path: &str, kind: libc::mode_t, major: u32, minor: u32) -> Outcome {
    let name = Path::new(path).file_name().unwrap_or_default();
    let node = attempt.world.home.join("open").join(name);
    let c = c_string(&node);
    unsafe { libc::unlink(c.as_ptr()) };
    call("mknod", unsafe {
        libc::mknod(c.as_ptr(), kind | 0o666, libc::makedev(major, minor))
    })?;
    let opened = opened(attempt, node.to_str().unwrap_or_default());
    unsafe { libc::unlink(c.as_ptr()) };
    opened
}
