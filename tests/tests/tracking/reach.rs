//! What reaches past the session by other ways than its sockets, and is for the kernel's security hooks to refuse.

use std::fs;

use crate::host::{Host, Running};
use crate::sockets::has;

/// What a script in `tell` answers outside, and inside.
struct Case {
    hook: &'static str,
    action: &'static str,
    outside: &'static str,
}

/// `PID` is a process outside, `STREAM` and `DATAGRAM` are its sockets' names.
const CASES: [Case; 15] = [
    case("socket_create", "socket(AF_PACKET, SOCK_RAW)", "done"),
    case("socket_create", "socket(AF_INET, SOCK_RAW, 1)", "done"),
    case("socket_create", "socket(AF_NETLINK, SOCK_RAW, 16)", "done"),
    case(
        "ptrace_access_check",
        "open(f'/proc/{PID}/environ').read()",
        "done",
    ),
    case(
        "ptrace_access_check",
        "os.readlink(f'/proc/{PID}/root')",
        "done",
    ),
    case(
        "ptrace_access_check",
        "call(438, os.pidfd_open(PID), 0, 0)",
        "done",
    ),
    case("ptrace_access_check", "call(101, 16, PID, 0, 0)", "done"),
    case(
        "bpf",
        "call(321, 0, (ctypes.c_uint32 * 16)(2, 4, 4, 1), 64)",
        "done",
    ),
    case(
        "unix_stream_connect",
        "socket(AF_UNIX).connect(STREAM)",
        "done",
    ),
    case(
        "unix_stream_connect",
        "socket(AF_UNIX).connect('\\0' + STREAM)",
        "done",
    ),
    case(
        "unix_may_send",
        "socket(AF_UNIX, SOCK_DGRAM).sendto(b'x', DATAGRAM)",
        "done",
    ),
    case(
        "unix_may_send",
        "socket(AF_UNIX, SOCK_DGRAM).connect(DATAGRAM)",
        "done",
    ),
    case("task_kill", "os.kill(PID, 0)", "done"),
    case(
        "task_kill",
        "signal.pidfd_send_signal(os.pidfd_open(PID), 0)",
        "done",
    ),
    case("capable", "call(176, b'guard-no-such-module', 0)", "ENOENT"),
];

const fn case(hook: &'static str, action: &'static str, outside: &'static str) -> Case {
    Case {
        hook,
        action,
        outside,
    }
}

struct Outsider {
    running: Running,
    directory: tempfile::TempDir,
}

/// A process outside with sockets.
fn outsider(host: &Host) -> Outsider {
    let directory = tempfile::tempdir().unwrap();
    let mut running = host.outsider(&format!(
        "os.chdir('{}')\n\
         stream = socket(AF_UNIX); stream.bind(os.getcwd() + '/stream'); stream.listen(99)\n\
         abstract = socket(AF_UNIX); abstract.bind('\\0' + os.getcwd() + '/stream'); abstract.listen(99)\n\
         datagram = socket(AF_UNIX, SOCK_DGRAM); datagram.bind(os.getcwd() + '/datagram')\n\
         print('up', flush=True); sys.stdin.read()",
        directory.path().display()
    ));
    assert_eq!(running.line(), "up");
    Outsider { running, directory }
}

impl Outsider {
    fn names(&self) -> String {
        let directory = self.directory.path().display();
        format!(
            "PID, STREAM, DATAGRAM = {}, '{directory}/stream', '{directory}/datagram'\n",
            self.running.pid()
        )
    }
}

#[test]
fn nothing_outside_is_within_reach() {
    let Some((host, tracker)) = Host::new("reach") else {
        return;
    };
    let outsider = outsider(&host);
    for Case {
        hook,
        action,
        outside,
    } in CASES
    {
        if !has(&tracker, &format!("security-hook:{hook}"), hook) {
            continue;
        }
        let script = format!("{}tell(lambda: {action})", outsider.names());
        assert_eq!(host.outsider(&script).line(), outside, "outside: {action}");
        let inside = host.python(&script).line();
        assert!(
            ["EPERM", "EACCES"].contains(&&*inside),
            "{action}: {inside}"
        );
    }
}

#[test]
fn unix_sockets_that_the_profile_lists_are_reached() {
    let test = "allow-unix";
    let Some((host, tracker)) = Host::new(test) else {
        return;
    };
    let outsider = outsider(&host);
    let listed = ["stream", "datagram"].map(|name| outsider.directory.path().join(name));
    tracker.allow_unix(&host.session, &listed).unwrap();
    let too_long = "/x".repeat(60).into();
    assert!(tracker.allow_unix(&host.session, &[too_long]).is_err());
    if !has(&tracker, "security-hook:unix_stream_connect", test) {
        return;
    }
    let mut user = host.python(&format!(
        "{}tell(lambda: socket(AF_UNIX).connect(STREAM))\n\
         tell(lambda: socket(AF_UNIX, SOCK_DGRAM).sendto(b'x', DATAGRAM))\n\
         tell(lambda: socket(AF_UNIX).connect('\\0' + STREAM))",
        outsider.names()
    ));
    assert_eq!(
        [user.line(), user.line(), user.line()],
        ["done", "done", "EPERM"]
    );
    tracker.release(&host.session);
    host.confine(&tracker, true);
    let mut user = host.python(&format!(
        "{}tell(lambda: socket(AF_UNIX).connect(STREAM))",
        outsider.names()
    ));
    assert_eq!(user.line(), "EPERM");
}

#[test]
fn pins_stay() {
    let test = "pins";
    let Some((host, tracker)) = Host::new(test) else {
        return;
    };
    if !has(&tracker, "security-hook:inode_unlink", test) {
        return;
    }
    let generation = fs::read_dir(host.pins()).unwrap().next().unwrap().unwrap();
    let pin = generation.path().join("map_calls");
    let script = format!("tell(lambda: os.unlink('{}'))", pin.display());
    assert_eq!(host.python(&script).line(), "EPERM");
    assert!(pin.exists());
    assert_eq!(host.outsider(&script).line(), "done");
}
