//! The world of a session of `guard run`: namespaces, files, system calls, descriptors, and that ordinary
//! work goes on in it. As root and as an ordinary user. Needs root; fails where the host lacks something.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

mod calls;
mod files;
mod keys;
mod processes;
mod streams;
mod terminal;
mod work;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use guard_tests::installation::{Installation, binary};

/// Who the command runs as.
const USERS: [u32; 2] = [0, 65534];

/// guard with a profile, whose commands run as one user.
struct World {
    stand: Installation,
    user: u32,
}

impl World {
    fn new(user: u32, profile: &str) -> Self {
        let stand = Installation::new().unwrap();
        std::fs::write(stand.home().join("profile.toml"), profile).unwrap();
        let own = stand.home().join("own");
        std::fs::create_dir(&own).unwrap();
        std::os::unix::fs::chown(&own, Some(user), Some(user)).unwrap();
        Self { stand, user }
    }

    /// A directory that belongs to the user.
    fn own(&self) -> PathBuf {
        self.stand.home().join("own")
    }

    /// `guard run -- COMMAND…` in the user's directory.
    fn run(&self, command: &[&str]) -> Command {
        let mut guard = self.stand.guard();
        guard
            .args(["run", "--profile"])
            .arg(self.stand.home().join("profile.toml"))
            .arg("--")
            .args(command)
            .current_dir(self.own())
            .env("HOME", self.own());
        if self.user != 0 {
            let user = self.user.to_string();
            guard.env("SUDO_UID", &user).env("SUDO_GID", &user);
            guard.env("SUDO_USER", "nobody");
        }
        guard
    }

    /// `guard run -- sh -c SCRIPT`, to its end.
    fn shell(&self, script: &str) -> Output {
        self.run(&["sh", "-c", script]).output().unwrap()
    }

    /// What the script says inside; fails unless it goes well.
    fn says(&self, script: &str) -> String {
        said(&self.shell(script))
    }

    /// What a Python script says inside; fails unless it goes well.
    fn python(&self, script: &str) -> String {
        said(
            &self
                .run(&["/usr/bin/python3", "-c", script])
                .output()
                .unwrap(),
        )
    }
}

/// Standard output of a command that went well.
fn said(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// Whether a program is there; skips the test otherwise.
fn has(test: &str, program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    });
    if !found {
        guard_tests::skip(test, &format!("needs {program}"));
    }
    found
}

/// Runs both users' versions of a test.
fn for_all(profile: &str, test: impl Fn(&World)) {
    for user in USERS {
        test(&World::new(user, profile));
    }
}

/// The binary under test, for a second launcher.
fn guard() -> PathBuf {
    Path::new(&binary()).to_owned()
}
