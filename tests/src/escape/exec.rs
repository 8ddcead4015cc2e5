//! Programs that gain privileges or hide what they are when executed, and files that something outside executes.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use super::sys::{call, in_child, open, pause};
use super::udp::sent;
use super::{Attempt, Outcome, Stop, Technique, technique};

const PRIVILEGES: &str = "no_new_privs";

/// Copies of the program in the home directory: setuid root; with CAP_NET_RAW.
pub(super) const SETUID: &str = "escape-setuid";
pub(super) const CAPABLE: &str = "escape-capable";

pub(super) const TABLE: &[Technique] = &[
    technique(
        "setuid",
        "a setuid program leaves the cgroup and sends",
        |a| started(a, &a.world.home.join(SETUID), "leave"),
    )
    .ordinary()
    .closed(PRIVILEGES, "killed: left its cgroup"),
    technique(
        "setuid-packet",
        "a setuid program sends by a packet socket",
        |a| started(a, &a.world.home.join(SETUID), "packet"),
    )
    .ordinary()
    .closed(PRIVILEGES, ""),
    technique(
        "file-capability",
        "a program with CAP_NET_RAW sends by a packet socket",
        |a| started(a, &a.world.home.join(CAPABLE), "packet"),
    )
    .ordinary()
    .closed(PRIVILEGES, ""),
    technique(
        "file-capability-ping",
        "a program with CAP_NET_RAW (ping) sends an echo request",
        |a| started(a, &a.world.home.join(CAPABLE), "ping"),
    )
    .ordinary()
    .closed("sock_create", "sock_create"),
    technique(
        "memfd",
        "a program from memory (memfd_create, fexecve)",
        |a| {
            let fd = call("memfd_create", unsafe {
                libc::memfd_create(c"x".as_ptr(), 0)
            })?;
            let program = std::fs::read("/proc/self/exe").map_err(Stop::io("read"))?;
            let mut file = unsafe { std::fs::File::from_raw_fd(fd as _) };
            std::io::Write::write_all(&mut file, &program).map_err(Stop::io("write"))?;
            started(
                a,
                Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())),
                "datagram",
            )
        },
    )
    .closed("sendmsg4/6", "sendmsg4/6"),
    technique(
        "personality",
        "as a program of 32 bits, by personality(2)",
        |a| {
            call("personality", unsafe { libc::personality(8) })?;
            super::cgroups::escaped(a)
        },
    )
    .closed("sendmsg4/6", "sendmsg4/6")
    .or(&[("personality", "seccomp: personality")]),
    technique("preload", "LD_PRELOAD into a setuid program", |a| {
        // The dynamic linker drops it for a program that gains privileges; whoever does not gain any, gains nothing.
        in_child(|| {
            unsafe {
                libc::setenv(
                    c"LD_PRELOAD".as_ptr(),
                    c"/home/agent/open/none.so".as_ptr(),
                    1,
                )
            };
            started(a, &a.world.home.join(SETUID), "leave").is_ok()
        })?;
        sent()
    })
    .ordinary()
    .closed(PRIVILEGES, "killed: left its cgroup"),
    technique("cron", "a file in /etc/cron.d", |_| {
        drop_in("/etc/cron.d/guard-escape")
    })
    .root()
    .possession()
    .closed("mounted read-only", ""),
    technique("profile", "a file in /etc/profile.d", |_| {
        drop_in("/etc/profile.d/guard-escape.sh")
    })
    .root()
    .possession()
    .closed("mounted read-only", ""),
    technique("unit", "a unit in /etc/systemd/system", |_| {
        drop_in("/etc/systemd/system/guard-escape.service")
    })
    .root()
    .possession()
    .closed("mounted read-only", ""),
    technique("program", "a program in /usr/local/bin", |_| {
        drop_in("/usr/local/bin/guard-escape")
    })
    .root()
    .possession()
    .closed("mounted read-only", ""),
    technique(
        "preload-file",
        "/etc/ld.so.preload, which every program outside reads",
        |_| {
            let path = Path::new("/etc/ld.so.preload");
            if path.exists() {
                open(path, libc::O_WRONLY)?;
                return Ok("open for writing".to_owned());
            }
            // Made under another name: with its own, every program of the host would complain.
            drop_in("/etc/guard-escape.preload")
        },
    )
    .root()
    .possession()
    .closed("mounted read-only", ""),
];

/// Runs the program with one order; the order sends the mark.
fn started(attempt: &Attempt<'_>, program: &Path, order: &str) -> Outcome {
    let path = super::sys::c_string(program);
    let words = [order.to_owned(), attempt.number.to_string()];
    let words = words.map(|word| CString::new(word).unwrap_or_default());
    let arguments = [
        path.as_ptr(),
        words[0].as_ptr(),
        words[1].as_ptr(),
        std::ptr::null(),
    ];
    match call("fork", unsafe { libc::fork() })? {
        0 => unsafe {
            libc::execv(path.as_ptr(), arguments.as_ptr());
            libc::_exit(100)
        },
        child => {
            let well = super::sys::wait(child as _)?;
            pause(20);
            if well {
                sent()
            } else {
                Err(Stop::Nothing(format!("{order}: the program was refused")))
            }
        }
    }
}

/// Makes a file and takes it away again.
fn drop_in(path: &str) -> Outcome {
    if !Path::new(path).parent().is_some_and(Path::is_dir) {
        return Err(Stop::Unavailable(
            "the host does not have the directory".to_owned(),
        ));
    }
    open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)?;
    std::fs::remove_file(path).map_err(Stop::io("unlink"))?;
    Ok("made".to_owned())
}

/// What the program does when it is started with an order.
pub(super) fn ordered(attempt: &Attempt<'_>, order: &str) -> Outcome {
    match order {
        "datagram" => super::cgroups::escaped(attempt),
        "packet" => super::packet::sent_by_packet(attempt),
        "ping" => super::raw::echoed(attempt),
        "leave" => {
            call("setuid", unsafe { libc::setuid(0) })?;
            let procs = open(
                attempt.world.outer_cgroup.join("cgroup.procs"),
                libc::O_WRONLY,
            )?;
            super::descriptors::write(&procs, b"0")?;
            super::cgroups::escaped(attempt)
        }
        _ => Err(Stop::Nothing("unknown order".to_owned())),
    }
}
