//! Who a session is for: tokens of a real OpenID provider, what policies and records make of them, and forgeries.

mod provider;
mod sessions;
mod tokens;

use std::process::{Child, Command, Output, Stdio};

use guard_tests::guard::Guard;
use guard_tests::installation::eventually;
use guard_tests::stand::Stand;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use provider::Provider;

const OPEN: &str = "default = \"allow\"\n";

/// guard with a provider that it trusts, and a daemon of its own that keeps what it has learned.
struct Host {
    guard: Guard,
    daemon: Option<Child>,
}

impl Host {
    /// `more` stands in `[identity]`.
    fn new(profile: &str, provider: &Provider, more: &str) -> Self {
        let config = format!("[identity]\n{more}\n{}", provider.configuration());
        let guard = Guard::new(profile, &config);
        let mut host = Self {
            guard,
            daemon: None,
        };
        host.restart(Signal::SIGKILL);
        host
    }

    /// Ends the daemon, if one runs, and starts the next.
    fn restart(&mut self, signal: Signal) {
        self.stop(signal);
        let socket = self.guard.directory().join("run/guard.sock");
        let _ = std::fs::remove_file(&socket);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.guard.directory().join("state.log"))
            .expect("a log");
        let daemon = self
            .guard
            .command(&["daemon"])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        self.daemon = Some(daemon);
        eventually("the daemon listens", || socket.exists()).expect("a socket");
    }

    fn stop(&mut self, signal: Signal) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
            kill(pid, signal).expect("signalled");
            daemon.wait().expect("it ends");
        }
    }

    /// `guard run FLAGS -- …` with a token in its environment.
    fn run(&self, token: Option<&str>, flags: &[&str]) -> Command {
        let mut command = self.guard.run_with(Stand::shared(), flags);
        if let Some(token) = token {
            command.env("GUARD_IDENTITY_TOKEN", token);
        }
        command
    }

    /// Runs `true` with a token.
    fn tries(&self, token: &str) -> Output {
        self.run(Some(token), &[])
            .arg("true")
            .output()
            .expect("guard runs")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop(Signal::SIGINT);
    }
}
