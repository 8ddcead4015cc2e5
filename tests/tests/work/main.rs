//! Ordinary work goes on inside `guard run`, as the ordinary user: package managers and git against
//! stand-ins that the profile allows, programs that serve and talk to each other, and what the profile
//! opens of the host.

mod local;
mod packages;
mod reach;
mod registries;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use guard_tests::guard::{Guard, USER, succeeded};

use self::registries::Registries;

const PROFILE: &str = r#"
default = "deny"
[network]
allow = ["*.registry.example"]
"#;

/// An installation with a directory that the confined user works in.
struct Work {
    guard: Guard,
    place: PathBuf,
}

impl Work {
    fn new(profile: &str) -> Self {
        let guard = Guard::new(profile, "");
        let place = guard.directory().join("work");
        std::fs::create_dir(&place).expect("made");
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).expect("set");
        std::os::unix::fs::chown(&place, Some(USER), Some(USER)).expect("given away");
        let roots = Registries::shared().roots();
        // Readable for the daemon on its own; the session gets it as part of its bundle.
        std::fs::copy(roots, guard.directory().join("roots.pem")).expect("copied");
        Self { guard, place }
    }

    /// Puts a file into the directory.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.place.join(name), text).expect("written");
    }

    /// `guard run --`, in the directory.
    fn command(&self) -> Command {
        let mut command = self.guard.command(&["run", "--profile"]);
        command
            .arg(self.guard.directory().join("profile.toml"))
            .arg("--upstream-connect")
            .arg(Registries::shared().route())
            .arg("--")
            .env("AWS_ACCESS_KEY_ID", guard_tests::stand::REAL_ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", guard_tests::stand::REAL_SECRET)
            .env("AWS_REGION", "us-east-1")
            .env("SSL_CERT_FILE", self.guard.directory().join("roots.pem"))
            .env(
                "NODE_EXTRA_CA_CERTS",
                self.guard.directory().join("roots.pem"),
            )
            .env("LANG", "C.UTF-8")
            .env("SUDO_UID", USER.to_string())
            .env("SUDO_GID", USER.to_string())
            .env("SUDO_USER", "nobody")
            .current_dir(&self.place)
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell script confined, to its end, with a home and a shell, which `nobody` has not.
    fn sh(&self, script: &str) -> Output {
        let script = format!("export HOME=$PWD SHELL=/bin/sh; {script}");
        self.command()
            .args(["timeout", "180", "sh", "-ec", &script])
            .output()
            .expect("guard runs")
    }

    /// Runs a shell script that must go well, as the ordinary user; what it says.
    fn done(&self, script: &str) -> String {
        let said = succeeded(&self.sh(&format!("id -u; {script}")));
        let rest = said.strip_prefix(&format!("{USER}\n"));
        rest.expect("it runs as the ordinary user").to_owned()
    }
}

/// Whether a program is there, by the path that confined commands have.
fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}
