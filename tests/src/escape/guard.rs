//! guard itself: its control socket, its gateway's port, its process, its files.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use libc::{AF_INET, SOCK_STREAM, SOL_SOCKET};

use super::descriptors::ask_for;
use super::sys::{Address, bind, call, connect, open, option, pause, socket};
use super::world::Place;
use super::{Attempt, Outcome, Stop, Technique, technique};

const PIDS: &str = "pid namespace";
const HIDDEN: &str = "mount namespace";
const FILE: &[(&str, &str)] = &[
    ("open: EACCES", "file permissions"),
    ("kill: EPERM", "file permissions"),
];

pub(super) const TABLE: &[Technique] = &[
    technique("control-socket", "the control socket", |a| {
        let stream = UnixStream::connect(control(a)).map_err(Stop::io("connect"))?;
        status(stream)
    })
    .root()
    .possession()
    .closed(HIDDEN, "control socket refuses")
    .or(&[
        ("answered", "control socket refuses"),
        ("connect: EPERM", "connect_unix"),
        ("connect: EACCES", "file permissions"),
    ]),
    technique(
        "control-passed",
        "a connection to the control socket that a process outside made and passed",
        |a| {
            let fd = ask_for(a, "control")?;
            status(UnixStream::from(fd))
        },
    )
    .root()
    .possession()
    .closed(HIDDEN, "connect_unix"),
    technique(
        "gateway-port",
        "listen on the gateway's port beside it (SO_REUSEPORT)",
        |a| {
            let port = gateway_port(a)?;
            let fd = socket(AF_INET, SOCK_STREAM, 0)?;
            option(&fd, SOL_SOCKET, libc::SO_REUSEADDR, &1_i32)?;
            option(&fd, SOL_SOCKET, libc::SO_REUSEPORT, &1_i32)?;
            bind(&fd, &Address::ip((Ipv4Addr::LOCALHOST, port).into()))?;
            call("listen", unsafe {
                libc::listen(std::os::fd::AsRawFd::as_raw_fd(&fd), 8)
            })?;
            Ok("listening".to_owned())
        },
    )
    .possession()
    .closed("bind4/6", "bind4/6"),
    technique(
        "gateway-direct",
        "the gateway's own port, without a destination",
        |a| {
            let to = match a.world.place {
                // There is no gateway in between.
                Place::Outside => a.v4(80),
                _ => (Ipv4Addr::LOCALHOST, gateway_port(a)?).into(),
            };
            let mut stream = std::net::TcpStream::connect(to).map_err(Stop::io("connect"))?;
            let request = format!("CONNECT {}.example:443 HTTP/1.1\r\n\r\n", a.marker());
            stream
                .write_all(request.as_bytes())
                .map_err(Stop::io("write"))?;
            pause(50);
            Ok("sent".to_owned())
        },
    )
    .closed("gateway", "gateway"),
    technique("daemon-signal", "may signal guard's daemon", |a| {
        let daemon = daemon(a)?;
        call("kill", unsafe { libc::kill(daemon, 0) })?;
        Ok("permitted".to_owned())
    })
    .root()
    .possession()
    .closed(PIDS, "")
    .or(FILE),
    technique("daemon-memory", "may write guard's daemon's memory", |a| {
        open(format!("/proc/{}/mem", daemon(a)?), libc::O_RDWR)?;
        Ok("opened".to_owned())
    })
    .root()
    .possession()
    .closed(PIDS, "")
    .or(FILE),
    technique(
        "daemon-limits",
        "may take the daemon's limits (prlimit)",
        |a| {
            let daemon = daemon(a)?;
            let mut limit: libc::rlimit64 = unsafe { std::mem::zeroed() };
            call("prlimit", unsafe {
                libc::prlimit64(
                    daemon,
                    libc::RLIMIT_NOFILE,
                    std::ptr::null(),
                    &raw mut limit,
                )
            })?;
            Ok("permitted".to_owned())
        },
    )
    .root()
    .possession()
    .closed(PIDS, ""),
    technique("journal", "the journal's files, for writing", |a| {
        let journal = a.world.state.join("journal");
        let entries = std::fs::read_dir(journal).map_err(Stop::io("open"))?;
        let file = entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.is_file());
        open(
            file.ok_or_else(|| Stop::Nothing("open: ENOENT".to_owned()))?,
            libc::O_WRONLY,
        )?;
        Ok("opened".to_owned())
    })
    .root()
    .possession()
    .closed(HIDDEN, "")
    .or(FILE),
    technique("authority-key", "the certificate authority's key", |a| {
        let file =
            find(&a.world.state, "key").ok_or_else(|| Stop::Nothing("open: ENOENT".to_owned()))?;
        open(file, libc::O_RDONLY)?;
        Ok("opened".to_owned())
    })
    .root()
    .possession()
    .closed(HIDDEN, "")
    .or(FILE),
];

/// The daemon's number. In another pid namespace it may be one of the session's own processes; `exe` is what the
/// kernel calls a daemon that `guard run` started.
fn daemon(attempt: &Attempt<'_>) -> Result<i32, Stop> {
    let daemon = attempt.session()?.daemon;
    match std::fs::read_to_string(format!("/proc/{daemon}/comm")) {
        Ok(name) if !["guard", "exe"].contains(&name.trim_end()) => {
            Err(Stop::Nothing(format!("{} has its number", name.trim_end())))
        }
        _ => Ok(daemon),
    }
}

/// Where guard listens.
fn control(attempt: &Attempt<'_>) -> PathBuf {
    attempt.world.runtime.join("guard.sock")
}

/// Asks for the status; an answer that is no refusal counts.
fn status(mut stream: UnixStream) -> Outcome {
    let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(5)));
    stream
        .write_all(b"{\"request\":\"status\"}\n")
        .map_err(Stop::io("write"))?;
    let mut answer = vec![0; 4096];
    let size = stream.read(&mut answer).map_err(Stop::io("read"))?;
    let answer = String::from_utf8_lossy(&answer[..size]).into_owned();
    if answer.contains("\"reply\":\"status\"") {
        Ok("a status".to_owned())
    } else {
        Err(Stop::Nothing(format!(
            "answered {}",
            answer.chars().take(60).collect::<String>()
        )))
    }
}

/// The port where connections really go, by the kernel's table of connections.
fn gateway_port(attempt: &Attempt<'_>) -> Result<u16, Stop> {
    if attempt.world.place == Place::Outside {
        // Nothing listens there: to bind it is to have it.
        return Ok(attempt.port());
    }
    let fd = socket(AF_INET, SOCK_STREAM, 0)?;
    connect(&fd, &Address::ip(attempt.v4(80)))?;
    let stream = std::net::TcpStream::from(fd);
    let own = stream.local_addr().map_err(Stop::io("getsockname"))?.port();
    let table = std::fs::read_to_string("/proc/self/net/tcp").map_err(Stop::io("open"))?;
    let port = |text: &str| u16::from_str_radix(text.rsplit(':').next()?, 16).ok();
    let remote = table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        (port(fields.next()?)? == own)
            .then(|| port(fields.next()?))
            .flatten()
    });
    remote.ok_or_else(|| Stop::Nothing("the gateway's port is not found".to_owned()))
}

/// A file below a directory with this in its name.
fn find(directory: &std::path::Path, part: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find_map(|path| {
            if path.is_dir() {
                find(&path, part)
            } else {
                path.file_name()?.to_str()?.contains(part).then_some(path)
            }
        })
}
