//! `guard run`: exit codes, signals, terminal, user, environment, and that nothing is left afterwards.
//!
//! Needs root; fails with the reason where the host lacks something.
#![allow(
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use guard_tests::installation::{Installation, binary, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn stand() -> Installation {
    Installation::new().unwrap()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn pid(child: &std::process::Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn ends_as_the_command_does() {
    let stand = stand();
    for (command, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 255"], 255),
        (&["no-such-command"], 127),
        (&["/etc/passwd"], 126),
        (&["/"], 126),
    ] {
        let output = stand.run(command).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{command:?}: {}",
            text(&output)
        );
    }
    for signal in [
        Signal::SIGTERM,
        Signal::SIGKILL,
        Signal::SIGSEGV,
        Signal::SIGPIPE,
    ] {
        let output = stand.shell(&format!("kill -{} $$", signal as i32)).unwrap();
        assert_eq!(
            output.status.signal(),
            Some(signal as i32),
            "{}",
            text(&output)
        );
    }
    stand.wait_until_clean().unwrap();
}

#[test]
fn without_root_it_says_so() {
    let stand = stand();
    let plain = stand.run(["true"]);
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--clear-groups"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(77));
    assert!(
        text(&output).contains("sudo guard run"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_bad_profile_is_told_before_anything_runs() {
    let stand = stand();
    let mark = stand.home().join("mark");
    let output = stand
        .guard()
        .args(["run", "--profile", "absent", "--", "touch"])
        .arg(&mark)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("profile"), "{}", text(&output));
    assert!(!mark.exists());
    stand.wait_until_clean().unwrap();
}

#[test]
fn standard_streams_are_the_commands_own() {
    let stand = stand();
    let mut child = stand
        .run(["sh", "-c", "tr a-z A-Z; echo err >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(&output.stdout[..], b"HELLO");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.ends_with("\nerr\n"), "{said}");
    assert!(said.contains("the command runs as root"), "{said}");
}

#[test]
fn a_network_socket_as_standard_input_is_refused() {
    let stand = stand();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let output = stand
        .run(["true"])
        .stdin(OwnedFd::from(client))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output).contains("standard input is a network connection"),
        "{}",
        text(&output)
    );
}

#[test]
fn inherited_descriptors_are_closed() {
    let stand = stand();
    let plain = stand.run(["sh", "-c", "ls -l /proc/$$/fd"]);
    // The shell opens 9 for guard; it must not be there for the command.
    let output = Command::new("sh")
        .args(["-c", "exec 9</etc/hostname; exec \"$@\"", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("hostname"), "{}", text(&output));
}

#[test]
fn runs_as_the_invoking_user_without_capabilities() {
    let stand = stand();
    let script = "id -u; id -G; echo $HOME $USER ${SUDO_UID-none}; \
        grep -E '^(CapInh|CapPrm|CapEff|CapAmb|NoNewPrivs)' /proc/self/status | tr -d '\\t '; \
        head -c 10 \"$SSL_CERT_FILE\"; cat \"$AWS_CONFIG_FILE\"";
    let output = stand
        .run(["sh", "-c", script])
        .env("SUDO_UID", "65534")
        .env("SUDO_GID", "65534")
        .env("SUDO_USER", "nobody")
        .env("HOME", "/root")
        .output()
        .unwrap();
    let zero = "0000000000000000";
    let expected = format!(
        "65534\n65534\n/nonexistent nobody none\nCapInh:{zero}\nCapPrm:{zero}\nCapEff:{zero}\n\
         CapAmb:{zero}\nNoNewPrivs:1\n-----BEGIN"
    );
    assert_eq!(text(&output), expected);
}

#[test]
fn root_keeps_no_capability_that_leads_out() {
    let stand = stand();
    let output = stand
        .shell("grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status; unshare --net true")
        .unwrap();
    assert!(
        !output.status.success(),
        "a new network namespace needs SYS_ADMIN"
    );
    let status = String::from_utf8(output.stdout).unwrap();
    assert_eq!(status.lines().count(), 3);
    for line in status.lines() {
        let held = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        for capability in [12, 13, 16, 17, 19, 21, 27, 38, 39] {
            assert_eq!(held >> capability & 1, 0, "{line}: {capability}");
        }
    }
}

#[test]
fn the_environment_holds_dummies_and_no_real_credentials() {
    let stand = stand();
    let output = stand
        .run(["env"])
        .env("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL")
        .env("AWS_SECRET_ACCESS_KEY", "real-secret")
        .env("AWS_SESSION_TOKEN", "real-token")
        .env("AWS_BEARER_TOKEN_BEDROCK", "real-bearer")
        .env("AWS_REGION", "eu-central-1")
        .env("HTTPS_PROXY", "http://proxy:3128")
        .env("JAVA_TOOL_OPTIONS", "-Dmine=1")
        .env("KEPT", "kept")
        .output()
        .unwrap();
    let text = text(&output);
    for real in ["AKIAREAL", "real-secret", "real-token", "real-bearer"] {
        assert!(!text.contains(real), "{real} is in {text}");
    }
    for expected in [
        "AWS_ACCESS_KEY_ID=AKIA",
        "AWS_REGION=eu-central-1\n",
        "AWS_DEFAULT_REGION=eu-central-1\n",
        "AWS_EC2_METADATA_DISABLED=true\n",
        "JAVA_TOOL_OPTIONS=-Dmine=1 -Djavax.net.ssl.trustStore=",
        "GUARD_SESSION=",
        "NODE_EXTRA_CA_CERTS=",
        "KEPT=kept\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!text.contains("HTTPS_PROXY"), "{text}");
}

#[test]
fn the_network_is_the_sessions_own() {
    let stand = stand();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let output = stand
        .shell("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")
        .unwrap();
    assert_eq!(&output.stdout[..], b"lo\n", "{}", text(&output));
    let output = stand
        .run([
            "bash",
            "-c",
            &format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo hi >&3"),
        ])
        .output()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    let reached = listener.accept().is_ok();
    assert!(
        !reached,
        "the host's loopback must not be reached: {}",
        text(&output)
    );
}

#[test]
fn signals_sent_to_guard_reach_the_command() {
    let stand = stand();
    for (signal, code) in [
        (Signal::SIGTERM, 41),
        (Signal::SIGUSR1, 42),
        (Signal::SIGINT, 43),
    ] {
        let mut child = stand
            .shell_started(
                "trap 'exit 41' TERM; trap 'exit 42' USR1; trap 'exit 43' INT; echo up; \
                 while :; do sleep 0.05; done",
            )
            .unwrap();
        kill(pid(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
    }
    stand.wait_until_clean().unwrap();
}

#[test]
fn what_the_command_leaves_running_ends_with_it() {
    let stand = stand();
    // Found by its argument: its number outside is not known inside.
    let mark = format!("30{}", std::process::id());
    let output = stand
        .shell(&format!("setsid sleep {mark} >/dev/null 2>&1 &"))
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let left = fs::read_dir("/proc").unwrap().flatten().find(|process| {
        fs::read_to_string(process.path().join("cmdline")).is_ok_and(|line| line.contains(&mark))
    });
    assert!(left.is_none(), "still there: {left:?}");
    assert!(stand.left().is_empty(), "{:?}", stand.left());
}

#[test]
fn a_killed_launcher_takes_the_tree_with_it() {
    let stand = stand();
    let mut child = stand.shell_started("echo up; exec sleep 300").unwrap();
    assert_eq!(stand.cgroups().len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    stand.wait_until_clean().unwrap();
    eventually("the end is in the journal", || {
        stand.journal().unwrap().contains("launcher-gone")
    })
    .unwrap();
}

#[test]
fn a_killed_daemon_is_replaced_and_the_command_goes_on() {
    let stand = stand();
    let mut child = stand.shell_started("echo up; exec sleep 300").unwrap();
    assert_eq!(stand.cgroups().len(), 1);
    let daemon = stand.daemon().unwrap();
    kill(daemon, Signal::SIGKILL).unwrap();
    // The launcher stays, says what happened, and starts the next one.
    let mut said = String::new();
    let mut stderr = child.stderr.take().unwrap();
    let mut byte = [0];
    while !said.contains("goes on with the next daemon") && stderr.read(&mut byte).unwrap() == 1 {
        said.push(char::from(byte[0]));
    }
    assert!(said.contains("the daemon is gone"), "{said}");
    assert!(child.try_wait().unwrap().is_none(), "{said}");
    assert_ne!(stand.daemon().unwrap(), daemon);
    kill(pid(&child), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    stand.wait_until_clean().unwrap();
}

#[test]
fn two_launchers_at_once_share_a_daemon() {
    let stand = stand();
    let both: Vec<_> = std::thread::scope(|scope| {
        let started = [(); 2]
            .map(|()| scope.spawn(|| stand.shell_started("echo up; sleep 300 & wait").unwrap()));
        started
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let status = stand.guard().arg("status").output().unwrap();
    assert_eq!(
        text(&status)
            .lines()
            .filter(|line| line.starts_with("session "))
            .count(),
        2,
        "{}",
        text(&status)
    );
    for mut child in both {
        kill(pid(&child), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
    }
    stand.wait_until_clean().unwrap();
}

#[test]
fn the_confined_tree_cannot_use_the_control_socket() {
    let stand = stand();
    let guard = |arguments: &[&str]| {
        let mut command = vec![binary().into_os_string()];
        command.extend(["--state-dir".into(), stand.home().join("state").into()]);
        command.extend(["--runtime-dir".into(), stand.runtime().into()]);
        command.extend(arguments.iter().map(Into::into));
        command
    };
    // From within, the socket is not there.
    let status = stand.run(guard(&["status"])).output().unwrap();
    assert!(!status.status.success(), "{}", text(&status));
    assert!(
        text(&status).contains("no guard daemon runs"),
        "{}",
        text(&status)
    );
    let nested = stand.run(guard(&["run", "--", "true"])).output().unwrap();
    assert_eq!(nested.status.code(), Some(125));
    assert!(
        text(&nested).contains("already inside"),
        "{}",
        text(&nested)
    );
    // A process of the session that sees the host's files is refused.
    let mut session = stand.shell_started("echo up; exec sleep 300").unwrap();
    let group = stand.cgroups().remove(0).join("cgroup.procs");
    let output = Command::new("sh")
        .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
        .arg(group)
        .args(guard(&["status"]))
        .output()
        .unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("confined"), "{}", text(&output));
    session.kill().unwrap();
    session.wait().unwrap();
    stand.wait_until_clean().unwrap();
    assert!(stand.journal().unwrap().contains("control-socket"));
}

#[test]
fn an_embedded_daemon_goes_with_its_last_session() {
    let stand = stand();
    assert!(stand.run(["true"]).status().unwrap().success());
    let daemon = stand.daemon().unwrap();
    eventually("the daemon ends", || kill(daemon, None).is_err()).unwrap();
    assert!(!stand.runtime().join("guard.sock").exists());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(
        !mounts.contains(stand.runtime().to_str().unwrap()),
        "{mounts}"
    );
}

#[test]
fn a_daemon_tells_systemd_and_ends_its_sessions_on_sigint() {
    let stand = stand();
    let path = stand.home().join("notify");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let log = File::create(stand.home().join("log")).unwrap();
    let mut daemon = stand
        .guard()
        .arg("daemon")
        .env("NOTIFY_SOCKET", &path)
        .stderr(log)
        .spawn()
        .unwrap();
    let mut message = [0; 256];
    let size = notify.recv(&mut message).unwrap();
    assert!(message[..size].starts_with(b"READY=1"));
    let second = stand.guard().arg("daemon").output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second).contains("another guard daemon"),
        "{}",
        text(&second)
    );

    let mut child = stand.shell_started("echo up; exec sleep 300").unwrap();
    // A hangup is nothing to a daemon.
    kill(pid(&daemon), Signal::SIGHUP).unwrap();
    kill(pid(&daemon), Signal::SIGINT).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    assert!(stand.journal().unwrap().contains("daemon-stopped"));
    assert!(stand.left().is_empty(), "{:?}", stand.left());
}

#[test]
fn job_control_is_the_shells() {
    let stand = stand();
    let mut terminal = Terminal::open();
    let plain = stand.run(["sh", "-c", "echo u\"\"p; sleep 300; echo after"]);
    let line = std::iter::once(plain.get_program())
        .chain(plain.get_args())
        .map(|part| format!("'{}'", part.to_str().unwrap()))
        .collect::<Vec<_>>()
        .join(" ");
    terminal.expect("$ ");
    terminal.type_in(&format!("{line}\n"));
    terminal.expect("up\r\n");
    // dash starts commands with vfork(2): stopped between that and exec, it could not stop itself.
    std::thread::sleep(Duration::from_millis(300));
    terminal.type_in("\x1a");
    terminal.expect("Stopped");
    terminal.type_in("jobs -p | wc -l; echo st\"\"ill\n");
    terminal.expect("1\r\nstill");
    terminal.type_in("fg\n");
    terminal.expect("sleep 300");
    // The command is in the foreground again: the terminal's interrupt ends it.
    std::thread::sleep(Duration::from_millis(300));
    terminal.type_in("\x03");
    terminal.expect("$ ");
    terminal.type_in("echo co\"\"de=$?\n");
    terminal.expect("code=130");
    terminal.type_in("exit\n");
    terminal.ended();
    stand.wait_until_clean().unwrap();
}

/// An interactive shell on a pseudo-terminal.
struct Terminal {
    master: File,
    shell: std::process::Child,
    seen: String,
}

impl Terminal {
    fn open() -> Self {
        let pair = nix::pty::openpty(None, None).unwrap();
        let slave = || Stdio::from(pair.slave.try_clone().unwrap());
        let shell = Command::new("setsid")
            .args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"])
            .env("PS1", "$ ")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        Self {
            master: File::from(pair.master),
            shell,
            seen: String::new(),
        }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` comes, and past it.
    fn expect(&mut self, text: &str) {
        use nix::poll::{PollFd, PollFlags, poll};
        use std::os::fd::AsFd;

        while !self.seen.contains(text) {
            let mut sources = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut sources, 20_000_u16).unwrap();
            assert_eq!(ready, 1, "{text:?} did not come; seen: {:?}", self.seen);
            let mut chunk = [0; 4096];
            let size = self.master.read(&mut chunk).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&chunk[..size]));
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn ended(mut self) {
        eventually("the shell ends", || {
            self.shell.try_wait().unwrap().is_some()
        })
        .unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
