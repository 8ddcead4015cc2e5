//! Unix sockets: a process outside that does what it is asked, by every path that leads to it.
//!
//! The process outside sends a mark on wherever it finds one, so a request in the shape that a real service
//! understands is enough to show that the service would be reached.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use libc::{AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

use super::sys::{
    Address, c_string, call, connect, open, pause, send, send_message, send_to, socket,
    with_message,
};
use super::udp::sent;
use super::{Attempt, Outcome, Stop, Technique, technique};

const MOUNTS: &str = "mount namespace";
const CONNECT: &str = "connect_unix";
const SENDMSG: &str = "sendmsg_unix";
const OR: &[(&str, &str)] = &[
    ("connect: EPERM", CONNECT),
    ("sendto: EPERM", SENDMSG),
    ("sendmsg: EPERM", SENDMSG),
];

/// Sockets of services, as (name of the technique, what it is, path, request); `{}` stands for the mark.
pub(super) const SERVICES: &[(&str, &str, &str)] = &[
    (
        "unix-docker",
        "/run/docker.sock",
        "POST /v1.41/containers/create?name={} HTTP/1.1\r\nHost: docker\r\n\r\n",
    ),
    (
        "unix-containerd",
        "/run/containerd/containerd.sock",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}",
    ),
    (
        "unix-podman",
        "/run/podman/podman.sock",
        "POST /v4.0.0/libpod/containers/create?name={} HTTP/1.1\r\n\r\n",
    ),
    (
        "unix-crio",
        "/run/crio/crio.sock",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}",
    ),
    (
        "unix-dbus",
        "/run/dbus/system_bus_socket",
        "\0AUTH EXTERNAL 30\r\nBEGIN\r\nStartTransientUnit {}",
    ),
    (
        "unix-dbus-user",
        "/run/user/65534/bus",
        "\0AUTH EXTERNAL 30\r\nBEGIN\r\nStartTransientUnit {}",
    ),
    (
        "unix-systemd",
        "/run/systemd/private",
        "\0AUTH EXTERNAL 30\r\nBEGIN\r\nStartTransientUnit {}",
    ),
    (
        "unix-systemd-user",
        "/run/user/65534/systemd/private",
        "\0AUTH EXTERNAL 30\r\nBEGIN\r\n{}",
    ),
    (
        "unix-resolved",
        "/run/systemd/resolve/io.systemd.Resolve",
        "{\"method\":\"io.systemd.Resolve.ResolveHostname\",\"parameters\":{\"name\":\"{}.example\"}}\0",
    ),
    ("unix-nscd", "/run/nscd/socket", "\u{2}\0\0\0\u{5}\0\0\0{}"),
    (
        "unix-machined",
        "/run/systemd/machine/io.systemd.Machine",
        "{\"method\":\"{}\"}\0",
    ),
    (
        "unix-ssh-agent",
        "/tmp/ssh-escape/agent.1",
        "\0\0\0\u{1}\u{b}{}",
    ),
    (
        "unix-gpg-agent",
        "/run/user/65534/gnupg/S.gpg-agent",
        "KEYINFO {}\n",
    ),
    ("unix-x11", "/tmp/.X11-unix/X77", "l\0\u{b}\0\0\0{}"),
    ("unix-wayland", "/run/user/65534/wayland-0", "{}"),
    ("unix-pulse", "/run/user/65534/pulse/native", "{}"),
    ("unix-tmux", "/tmp/tmux-65534/default", "new-window {}"),
    ("unix-mysql", "/run/mysqld/mysqld.sock", "{}"),
    (
        "unix-postgres",
        "/tmp/.s.PGSQL.5432",
        "COPY x FROM PROGRAM '{}'",
    ),
    (
        "unix-snapd",
        "/run/snapd.socket",
        "POST /v2/snaps/{} HTTP/1.1\r\n\r\n",
    ),
    (
        "unix-lxd",
        "/var/tmp/lxd/unix.socket",
        "POST /1.0/instances?name={} HTTP/1.1\r\n\r\n",
    ),
    ("unix-libvirt", "/run/libvirt/libvirt-sock", "{}"),
    ("unix-acpid", "/run/acpid.socket", "{}"),
    ("unix-vscode", "/tmp/vscode-ipc.sock", "{}"),
    ("unix-shm", "/dev/shm/escape.sock", "{}"),
];

/// The same of services that take datagrams.
pub(super) const MESSAGES: &[(&str, &str, &str)] = &[
    ("unix-syslog", "/run/systemd/journal/dev-log", "<13>{}"),
    (
        "unix-journal",
        "/run/systemd/journal/socket",
        "MESSAGE={}\n",
    ),
    ("unix-notify", "/run/systemd/notify", "STATUS={}"),
];

/// Sockets in the home directory and elsewhere, by what opens them: name below the home, kind of socket.
pub(super) const OTHERS: &[(&str, i32)] = &[
    ("stream.sock", SOCK_STREAM),
    (REPLACED, SOCK_STREAM),
    ("dgram.sock", SOCK_DGRAM),
    ("seqpacket.sock", SOCK_SEQPACKET),
    ("deep/a/b/c/stream.sock", SOCK_STREAM),
];

/// Abstract names; the nonce is put behind.
pub(super) const ABSTRACT: &[(&str, i32)] = &[
    ("@escape-stream-", SOCK_STREAM),
    ("@escape-dgram-", SOCK_DGRAM),
    ("@escape-seqpacket-", SOCK_SEQPACKET),
];

/// The socket that is made anew when the session runs already.
pub(super) const REPLACED: &str = "replaced.sock";

/// The socket that is made when the session runs already.
pub(super) const LATE: &str = "late.sock";

macro_rules! message {
    ($number:expr) => {
        technique(MESSAGES[$number].0, MESSAGES[$number].1, |a| {
            let (_, path, message) = MESSAGES[$number];
            let fd = socket(AF_UNIX, SOCK_DGRAM, 0)?;
            let message = message.replace("{}", &a.marker());
            send_to(&fd, message.as_bytes(), 0, &Address::unix(Path::new(path)))?;
            heard()
        })
        .closed(MOUNTS, SENDMSG)
        .or(OR)
    };
}

macro_rules! service {
    ($number:expr) => {
        technique(SERVICES[$number].0, SERVICES[$number].1, |a| {
            let (_, path, request) = SERVICES[$number];
            ask(a, &a.world.service(path), request)
        })
        .closed(MOUNTS, CONNECT)
        .or(OR)
    };
}

pub(super) const TABLE: &[Technique] = &[
    service!(0),
    service!(1),
    service!(2),
    service!(3),
    service!(4),
    service!(5),
    service!(6),
    service!(7),
    service!(8),
    service!(9),
    service!(10),
    service!(11),
    service!(12),
    service!(13),
    service!(14),
    service!(15),
    service!(16),
    service!(17),
    service!(18),
    service!(19),
    service!(20),
    service!(21),
    service!(22),
    service!(23),
    service!(24),
    message!(0),
    message!(1),
    message!(2),
    technique("unix-home", "a socket in the home directory", |a| {
        ask(a, &a.world.home.join("stream.sock"), "{}")
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-deep", "a socket deep in the home directory", |a| {
        ask(a, &a.world.home.join("deep/a/b/c/stream.sock"), "{}")
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique(
        "unix-late",
        "a socket made after the session started",
        |a| {
            let path = a.world.home.join(LATE);
            for _ in 0..80 {
                if path.exists() {
                    break;
                }
                pause(20);
            }
            ask(a, &path, "{}")
        },
    )
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique(
        "unix-replaced",
        "a socket that was there before and was made anew since, as a restarted service does",
        |a| {
            // The other is there when this one has been made anew.
            for _ in 0..80 {
                if a.world.home.join(LATE).exists() {
                    break;
                }
                pause(20);
            }
            ask(a, &a.world.home.join(REPLACED), "{}")
        },
    )
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-symlink", "by a symbolic link", |a| {
        let link = mine(a, "symlink")?;
        std::os::unix::fs::symlink(a.world.home.join("stream.sock"), &link)
            .map_err(Stop::io("symlink"))?;
        ask(a, &link, "{}")
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-hardlink", "by a hard link", |a| {
        let link = mine(a, "hardlink")?;
        std::fs::hard_link(a.world.home.join("stream.sock"), &link).map_err(Stop::io("link"))?;
        ask(a, &link, "{}")
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-renamed", "after renaming it", |a| {
        let moved = mine(a, "renamed")?;
        std::fs::rename(a.world.home.join("deep/rename-me.sock"), &moved)
            .map_err(Stop::io("rename"))?;
        ask(a, &moved, "{}")
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique(
        "unix-descriptor",
        "by /proc/self/fd of its own (O_PATH)",
        |a| {
            let fd = open(a.world.home.join("stream.sock"), libc::O_PATH)?;
            ask(
                a,
                Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())),
                "{}",
            )
        },
    )
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-relative", "by a relative path", |a| {
        std::env::set_current_dir(a.world.home.join("deep/a")).map_err(Stop::io("chdir"))?;
        ask(a, Path::new("b/../b/c/stream.sock"), "{}")
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique(
        "unix-process-root",
        "by /proc/PID/root of a process outside",
        |a| {
            let outside = a.outside()?.pid;
            ask(
                a,
                Path::new(&format!("/proc/{outside}/root/run/docker.sock")),
                "{}",
            )
        },
    )
    .closed("pid namespace", CONNECT)
    .or(OR),
    technique("unix-init-root", "by /proc/1/root", |a| {
        ask(
            a,
            Path::new(&format!(
                "/proc/1/root{}",
                a.world.home.join("stream.sock").display()
            )),
            "{}",
        )
        .map_err(|stop| a.of_host(stop))
    })
    .root()
    .closed("pid namespace", CONNECT)
    .or(OR),
    technique(
        "unix-process-directory",
        "by /proc/PID/cwd of a process outside",
        |a| {
            let outside = a.outside()?.pid;
            ask(
                a,
                Path::new(&format!("/proc/{outside}/cwd/stream.sock")),
                "{}",
            )
        },
    )
    .closed("pid namespace", CONNECT)
    .or(OR),
    technique("unix-dgram", "a datagram socket, connected", |a| {
        let fd = socket(AF_UNIX, SOCK_DGRAM, 0)?;
        connect(&fd, &Address::unix(&a.world.home.join("dgram.sock")))?;
        send(&fd, a.marker().as_bytes(), 0)?;
        heard()
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-dgram-sendto", "a datagram socket, sendto", |a| {
        let fd = socket(AF_UNIX, SOCK_DGRAM, 0)?;
        send_to(
            &fd,
            a.marker().as_bytes(),
            0,
            &Address::unix(&a.world.home.join("dgram.sock")),
        )?;
        heard()
    })
    .closed(MOUNTS, SENDMSG)
    .or(OR),
    technique("unix-dgram-sendmmsg", "a datagram socket, sendmmsg", |a| {
        let fd = socket(AF_UNIX, SOCK_DGRAM, 0)?;
        let (marker, to) = (a.marker(), Address::unix(&a.world.home.join("dgram.sock")));
        with_message(marker.as_bytes(), Some(&to), None, |message| {
            let mut several = [libc::mmsghdr {
                msg_hdr: unsafe { *message },
                msg_len: 0,
            }];
            call("sendmmsg", unsafe {
                libc::sendmmsg(fd.as_raw_fd(), several.as_mut_ptr(), 1, 0)
            })
        })?;
        heard()
    })
    .closed(MOUNTS, SENDMSG)
    .or(&[("sendmmsg: EPERM", SENDMSG)]),
    technique("unix-seqpacket", "a seqpacket socket", |a| {
        let fd = socket(AF_UNIX, SOCK_SEQPACKET, 0)?;
        connect(&fd, &Address::unix(&a.world.home.join("seqpacket.sock")))?;
        send(&fd, a.marker().as_bytes(), 0)?;
        heard()
    })
    .closed(MOUNTS, CONNECT)
    .or(OR),
    technique("unix-abstract", "an abstract name", |a| {
        ask(a, &abstract_name(a, "@escape-stream-"), "{}")
    })
    .closed("network namespace", CONNECT)
    .or(OR),
    technique("unix-abstract-dgram", "an abstract name, datagram", |a| {
        let fd = socket(AF_UNIX, SOCK_DGRAM, 0)?;
        let to = Address::unix(&abstract_name(a, "@escape-dgram-"));
        send_message(&fd, a.marker().as_bytes(), Some(&to), None)?;
        heard()
    })
    .closed("network namespace", SENDMSG)
    .or(OR),
    technique(
        "unix-abstract-seqpacket",
        "an abstract name, seqpacket",
        |a| {
            let fd = socket(AF_UNIX, SOCK_SEQPACKET, 0)?;
            connect(&fd, &Address::unix(&abstract_name(a, "@escape-seqpacket-")))?;
            send(&fd, a.marker().as_bytes(), 0)?;
            heard()
        },
    )
    .closed("network namespace", CONNECT)
    .or(OR),
];

/// Connects to a stream socket and says this; `{}` stands for the mark.
pub(super) fn ask(attempt: &Attempt<'_>, path: &Path, request: &str) -> Outcome {
    let fd = socket(AF_UNIX, SOCK_STREAM, 0)?;
    connect(&fd, &Address::unix(path))?;
    let request = request.replace("{}", &attempt.marker());
    UnixStream::from(fd)
        .write_all(request.as_bytes())
        .map_err(Stop::io("write"))?;
    heard()
}

/// Gives the process outside the time to act.
fn heard() -> Outcome {
    pause(30);
    sent()
}

pub(super) fn abstract_name(attempt: &Attempt<'_>, prefix: &str) -> PathBuf {
    format!("{prefix}{}", attempt.world.nonce).into()
}

/// A name in the home directory that only this technique uses, free.
fn mine(attempt: &Attempt<'_>, name: &str) -> Result<PathBuf, Stop> {
    let path = attempt
        .world
        .home
        .join("open")
        .join(format!("{name}-{}", attempt.world.nonce));
    let c = c_string(&path);
    unsafe { libc::unlink(c.as_ptr()) };
    Ok(path)
}
