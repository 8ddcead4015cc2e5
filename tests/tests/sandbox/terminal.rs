//! Terminals: the inherited one keeps its name and its job control, new ones are the session's own.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use guard_tests::installation::eventually;

use super::{World, for_all, guard};

/// A session on a terminal of its own, as a shell outside would start it.
struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn open(world: &World, command: &[&str]) -> Self {
        let pair = nix::pty::openpty(None, None).unwrap();
        let slave = || Stdio::from(pair.slave.try_clone().unwrap());
        let plain = world.run(command);
        let mut setsid = Command::new("setsid");
        setsid
            .args(["--ctty", "--wait"])
            .arg(guard())
            .args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => setsid.env(name, value),
                None => setsid.env_remove(name),
            };
        }
        let child = setsid
            .env("PS1", "$ ")
            .env("TERM", "xterm")
            .current_dir(world.own())
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        Self {
            master: File::from(pair.master),
            child,
            seen: String::new(),
        }
    }

    fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` comes; what came before it.
    fn expect(&mut self, text: &str) -> String {
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
        let at = self.seen.find(text).unwrap();
        let before = self.seen[..at].to_owned();
        self.seen.drain(..at + text.len());
        before
    }

    fn ends(mut self) {
        eventually("it ends", || self.child.try_wait().unwrap().is_some()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_terminal_keeps_its_name() {
    for_all("name = \"p\"", |world| {
        let mut terminal = Terminal::open(
            world,
            &[
                "sh",
                "-c",
                "tty; tty < /dev/tty; stty size; ls /dev/pts; echo en\"\"d",
            ],
        );
        let text = terminal.expect("end");
        let name = text.lines().find(|line| line.starts_with("/dev/pts/"));
        let number = name
            .unwrap_or_else(|| panic!("{text}"))
            .rsplit('/')
            .next()
            .unwrap();
        let listed: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert!(
            listed.contains(&number) && listed.contains(&"ptmx"),
            "{text}"
        );
        terminal.ends();
    });
}

#[test]
fn an_interactive_shell_has_job_control() {
    for shell in [
        &["bash", "--norc", "--noprofile", "-i"][..],
        &["dash", "-i"],
    ] {
        let world = World::new(65534, "name = \"p\"");
        let mut terminal = Terminal::open(&world, shell);
        terminal.expect("$ ");
        terminal.type_in("sleep 300\n");
        terminal.expect("sleep 300");
        std::thread::sleep(std::time::Duration::from_millis(300));
        terminal.type_in("\x1a");
        terminal.expect("topped");
        terminal.type_in("jobs; echo st\"\"ill\n");
        let jobs = terminal.expect("still");
        assert!(jobs.contains("topped"), "{jobs}");
        terminal.type_in("fg\n");
        terminal.expect("sleep 300");
        std::thread::sleep(std::time::Duration::from_millis(300));
        terminal.type_in("\x03");
        terminal.expect("$ ");
        terminal.type_in("echo co\"\"de=$?\n");
        terminal.expect("code=130");
        terminal.type_in("exit\n");
        terminal.ends();
        world.stand.wait_until_clean().unwrap();
    }
}

#[test]
fn a_script_has_the_terminal_back_after_a_shell_inside() {
    let world = World::new(65534, "name = \"p\"");
    let plain = world.run(&["bash", "--norc", "-i", "-c", "set -m; true"]);
    let line = std::iter::once(plain.get_program())
        .chain(plain.get_args())
        .map(|part| format!("'{}'", part.to_str().unwrap()))
        .collect::<Vec<_>>()
        .join(" ");
    let pair = nix::pty::openpty(None, None).unwrap();
    let slave = || Stdio::from(pair.slave.try_clone().unwrap());
    let script = format!("{line}; echo read\"\"y; read x; echo got $x");
    let mut child = Command::new("setsid")
        .args(["--ctty", "--wait", "sh", "-c", &script])
        .stdin(slave())
        .stdout(slave())
        .stderr(slave())
        .spawn()
        .unwrap();
    let mut terminal = File::from(pair.master);
    let mut seen = String::new();
    let mut read_until = |text: &str, terminal: &mut File| {
        while !seen.contains(text) {
            let mut chunk = [0; 512];
            let size = terminal.read(&mut chunk).unwrap();
            seen.push_str(&String::from_utf8_lossy(&chunk[..size]));
        }
    };
    read_until("ready", &mut terminal);
    terminal.write_all(b"word\n").unwrap();
    read_until("got word", &mut terminal);
    assert!(child.wait().unwrap().success());
}
