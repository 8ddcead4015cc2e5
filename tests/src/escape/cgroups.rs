//! Leaving the cgroup, and with it the hooks; whoever got out sends a datagram.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use libc::{AF_INET, SOCK_DGRAM};

use super::descriptors::ask_for;
use super::sys::{Address, Result, c_string, call, in_child, open, pause, send_to, socket, wait};
use super::udp::sent;
use super::{Attempt, Outcome, Stop, Technique, technique};

const HIDDEN: &str = "cgroup namespace";
const MOVED: &str = "killed: left its cgroup";
const OR: &[(&str, &str)] = &[
    ("open: EACCES", "file permissions"),
    ("open: ENOENT", "mount namespace"),
    ("open: EROFS", "mount namespace"),
    ("clone3: EACCES", "file permissions"),
    ("sendto: EPERM", "sendmsg4/6"),
    ("sendto: ENETUNREACH", "network namespace"),
];

pub(super) const TABLE: &[Technique] = &[
    technique(
        "cgroup-move",
        "write to another cgroup's cgroup.procs",
        |a| {
            put(&a.world.outer_cgroup.join("cgroup.procs"))?;
            escaped(a)
        },
    )
    .root()
    .closed(HIDDEN, MOVED)
    .or(OR),
    technique(
        "cgroup-move-daemon",
        "the same from a daemon (two forks, setsid)",
        |a| {
            let procs = a.world.outer_cgroup.join("cgroup.procs");
            twice(a, move |a| {
                put(&procs)?;
                escaped(a)
            })
        },
    )
    .root()
    .closed(HIDDEN, MOVED)
    .or(OR),
    technique(
        "cgroup-move-thread",
        "a child is moved by its parent",
        |a| {
            let procs = a.world.outer_cgroup.join("cgroup.procs");
            match call("fork", unsafe { libc::fork() })? {
                0 => {
                    pause(150);
                    let _ = escaped(a);
                    unsafe { libc::_exit(0) }
                }
                child => {
                    let moved = write(&procs, &child.to_string());
                    wait(child as _)?;
                    moved?;
                    sent()
                }
            }
        },
    )
    .root()
    .closed(HIDDEN, MOVED)
    .or(OR),
    technique(
        "cgroup-parent",
        "write to the parent cgroup's cgroup.procs, by its own path",
        |a| {
            let own = own(Path::new("/proc/self/cgroup"))?;
            let parent = Path::new(&own)
                .parent()
                .unwrap_or(Path::new("/"))
                .to_owned();
            let hierarchy = a.world.hierarchy();
            put(&hierarchy
                .join(parent.strip_prefix("/").unwrap_or(&parent))
                .join("cgroup.procs"))?;
            escaped(a)
        },
    )
    .root()
    .closed(HIDDEN, MOVED)
    .or(OR),
    technique("cgroup-by-init", "by /proc/1/root", |a| {
        put(&under(
            "/proc/1/root",
            &a.world.outer_cgroup.join("cgroup.procs"),
        ))
        .map_err(|stop| a.of_host(stop))?;
        escaped(a)
    })
    .root()
    .closed("pid namespace", MOVED)
    .or(OR),
    technique(
        "cgroup-by-process",
        "by /proc/PID/root of a process outside",
        |a| {
            let root = format!("/proc/{}/root", a.outside()?.pid);
            put(&under(&root, &a.world.outer_cgroup.join("cgroup.procs")))?;
            escaped(a)
        },
    )
    .root()
    .closed("pid namespace", MOVED)
    .or(OR),
    technique(
        "cgroup-mount",
        "mount the hierarchy oneself, in a mount namespace of one's own",
        |a| {
            call("unshare", unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
            let place = a.world.home.join("open");
            private()?;
            mount(c"cgroup2", &place)?;
            let below = a
                .world
                .outer_cgroup
                .strip_prefix(a.world.hierarchy())
                .unwrap_or(Path::new(""));
            put(&place.join(below).join("cgroup.procs"))?;
            escaped(a)
        },
    )
    .root()
    .closed("capabilities", MOVED)
    .or(OR),
    technique("cgroup-clone", "clone3(CLONE_INTO_CGROUP)", |a| {
        let directory = open(&a.world.outer_cgroup, libc::O_PATH | libc::O_DIRECTORY)?;
        clone_into(a, directory.as_raw_fd())
    })
    .root()
    .closed(HIDDEN, MOVED)
    .or(OR),
    technique(
        "cgroup-passed-file",
        "a cgroup.procs that a process outside opened and passed",
        |a| {
            let file = ask_for(a, "procs")?;
            super::descriptors::write(&file, b"0")
                .or(Err(Stop::Nothing("write refused".to_owned())))?;
            escaped(a)
        },
    )
    .root()
    .closed("mount namespace", "connect_unix")
    .or(OR),
    technique(
        "cgroup-passed-directory",
        "CLONE_INTO_CGROUP into a directory that was passed",
        |a| {
            let directory = ask_for(a, "cgroup")?;
            clone_into(a, directory.as_raw_fd())
        },
    )
    .root()
    .closed("mount namespace", "connect_unix")
    .or(OR),
    technique("cgroup-child", "a new cgroup below its own", |a| {
        let own = own(Path::new("/proc/self/cgroup"))?;
        let path = a
            .world
            .hierarchy()
            .join(own.trim_start_matches('/'))
            .join(format!("child-{}", a.world.nonce));
        std::fs::create_dir(&path).map_err(Stop::io("mkdir"))?;
        let gone = in_child(|| put(&path.join("cgroup.procs")).is_ok() && escaped(a).is_ok());
        pause(20);
        let _ = std::fs::remove_dir(&path);
        match gone {
            Ok(true) => sent(),
            _ => Err(Stop::Nothing("the child was stopped".to_owned())),
        }
    })
    .root()
    .closed(HIDDEN, "sendmsg4/6")
    .or(OR),
    technique("daemon", "two forks and setsid, then a datagram", |a| {
        twice(a, escaped)
    })
    .closed("sendmsg4/6", "sendmsg4/6")
    .or(OR),
    technique("thread", "a datagram from a new thread", |a| {
        std::thread::scope(|scope| scope.spawn(|| escaped(a)).join())
            .unwrap_or(Err(Stop::Nothing("the thread ended".to_owned())))
    })
    .closed("sendmsg4/6", "sendmsg4/6")
    .or(OR),
    technique("vfork-clone", "clone(CLONE_VFORK|CLONE_PARENT)", |a| {
        let flags = libc::CLONE_PARENT as libc::c_long | libc::SIGCHLD as libc::c_long;
        let child = call("clone", unsafe {
            libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0)
        })?;
        if child == 0 {
            let _ = escaped(a);
            unsafe { libc::_exit(0) }
        }
        pause(50);
        sent()
    })
    .closed("sendmsg4/6", "sendmsg4/6")
    .or(OR),
];

/// A datagram with the mark, by a new socket.
pub(super) fn escaped(attempt: &Attempt<'_>) -> Outcome {
    let fd = socket(AF_INET, SOCK_DGRAM, 0)?;
    send_to(
        &fd,
        attempt.marker().as_bytes(),
        0,
        &Address::ip(attempt.v4(9)),
    )?;
    sent()
}

fn put(procs: &Path) -> Result<()> {
    write(procs, "0")
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = open(path, libc::O_WRONLY)?;
    std::fs::File::from(file)
        .write_all(text.as_bytes())
        .map_err(Stop::io("write"))
}

/// A path of the host under another process's root.
pub(super) fn under(root: &str, path: &Path) -> std::path::PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

fn own(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(Stop::io("open"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned)
        .ok_or_else(|| Stop::Nothing("no cgroup of version 2".to_owned()))
}

/// Does something in a grandchild in a session of its own, and tells how it ended.
fn twice(attempt: &Attempt<'_>, work: impl FnOnce(&Attempt<'_>) -> Outcome) -> Outcome {
    let mut ends = [0; 2];
    call("pipe", unsafe { libc::pipe(ends.as_mut_ptr()) })?;
    in_child(|| {
        unsafe { libc::setsid() };
        let _ = in_child(|| {
            let said = work(attempt).map_or_else(|stop| stop.to_string(), |_| String::new());
            unsafe { libc::write(ends[1], said.as_ptr().cast(), said.len()) };
            true
        });
        true
    })?;
    unsafe { libc::close(ends[1]) };
    let mut said = [0; 128];
    let size = call("read", unsafe {
        libc::read(ends[0], said.as_mut_ptr().cast(), said.len())
    })?;
    match size {
        0 => sent(),
        size => Err(Stop::Nothing(
            String::from_utf8_lossy(&said[..size as usize]).into_owned(),
        )),
    }
}

/// A child that starts in another cgroup.
fn clone_into(attempt: &Attempt<'_>, cgroup: i32) -> Outcome {
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = 0x2_0000_0000;
    arguments.exit_signal = libc::SIGCHLD as _;
    arguments.cgroup = cgroup as _;
    let size = size_of_val(&arguments);
    match call("clone3", unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, size)
    })? {
        0 => {
            let good = escaped(attempt).is_ok();
            unsafe { libc::_exit(i32::from(!good)) }
        }
        child => {
            if wait(child as _)? {
                sent()
            } else {
                Err(Stop::Nothing("the child was stopped".to_owned()))
            }
        }
    }
}

/// Keeps mounts of a new namespace to itself.
pub(super) fn private() -> Result<()> {
    call("mount", unsafe {
        let none = std::ptr::null();
        libc::mount(
            none,
            c"/".as_ptr(),
            none,
            libc::MS_REC | libc::MS_PRIVATE,
            none.cast(),
        )
    })
    .map(drop)
}

/// Mounts a file system of the kernel's.
pub(super) fn mount(kind: &std::ffi::CStr, place: &Path) -> Result<()> {
    let place = c_string(place);
    call("mount", unsafe {
        libc::mount(
            kind.as_ptr(),
            place.as_ptr(),
            kind.as_ptr(),
            0,
            std::ptr::null(),
        )
    })
    .map(drop)
}
