//! git, pip, npm and cargo against registries that the profile allows.

use std::path::{Path, PathBuf};
use std::process::Command;

use guard_tests::{is_root, python_program, skip};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::registries::Registries;
use crate::{PROFILE, Work, is_there};

#[test]
fn git_clones_and_pushes_over_https() {
    let test = "git_clones_and_pushes_over_https";
    if !is_root(test) {
        return;
    }
    if !is_there("git") {
        return skip(test, "needs git: `cargo xtask setup` installs it");
    }
    let work = Work::new(PROFILE);
    let said = work.done(
        "git clone -q https://git.registry.example/demo.git && cd demo && cat README
        git config user.name agent && git config user.email agent@example.com
        git checkout -q -b change && echo more >> README && git commit -qam change
        git push -q origin change && git ls-remote origin change | cut -f 2",
    );
    assert_eq!(said, "the answer is 42\nrefs/heads/change\n");
    // Not allowed: says so at once, in git's words, and is on record.
    let output = work.sh("git clone -q https://git.other.example/demo.git other");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains("Could not resolve host: git.other.example"),
        "{error}"
    );
    let passed = work.guard.entries("connection_passed");
    assert!(
        passed
            .iter()
            .any(|entry| entry["host"] == "git.registry.example"
                && entry["process"]["argv"].to_string().contains("git")),
        "{passed:#?}"
    );
}

#[test]
fn pip_installs_from_an_allowed_index() {
    if !is_root("pip_installs_from_an_allowed_index") {
        return;
    }
    let work = Work::new(PROFILE);
    let said = work.done(&format!(
        "{python} -m venv --without-pip env
        {python} -m pip --python env/bin/python install -q --disable-pip-version-check \
            --index-url https://pypi.registry.example/simple guard-demo
        env/bin/python -c 'import guard_demo; print(guard_demo.ANSWER)'",
        python = python_program("python").display()
    ));
    assert_eq!(said, "42\n");
    let requests = Registries::shared().requests();
    assert!(
        requests.contains("pypi GET /files/guard_demo-1.0"),
        "{requests}"
    );
}

#[test]
fn npm_installs_from_an_allowed_registry() {
    let test = "npm_installs_from_an_allowed_registry";
    if !is_root(test) {
        return;
    }
    if !is_there("npm") {
        return skip(test, "needs npm: `cargo xtask setup` installs it");
    }
    let work = Work::new(PROFILE);
    let said = work.done(
        "echo '{\"name\": \"app\", \"version\": \"1.0.0\"}' > package.json
        npm install --registry https://npm.registry.example --no-audit --no-fund --no-update-notifier \
            --loglevel=error guard-demo > log
        node -e 'console.log(require(\"guard-demo\"))'",
    );
    assert_eq!(said, "42\n");
}

#[test]
fn cargo_adds_and_builds_from_an_allowed_registry() {
    let test = "cargo_adds_and_builds_from_an_allowed_registry";
    if !is_root(test) {
        return;
    }
    let work = Work::new(PROFILE);
    let toolchain = match Toolchain::shown_at(work.guard.directory().join("toolchain")) {
        Ok(toolchain) => toolchain,
        Err(reason) => return skip(test, &reason),
    };
    let said = work.done(&format!(
        "export PATH={bin}:$PATH CARGO_HOME=$PWD/cargo RUSTC={bin}/rustc
        mkdir cargo && cat > cargo/config.toml <<END
[source.crates-io]
replace-with = \"local\"
[source.local]
registry = \"sparse+https://cargo.registry.example/index/\"
END
        cargo init -q --vcs none --name app app && cd app && cargo add -q guard-demo
        echo 'fn main() {{ println!(\"{{}}\", guard_demo::ANSWER) }}' > src/main.rs
        cargo run -q",
        bin = toolchain.0.join("bin").display()
    ));
    assert_eq!(said, "42\n");
}

/// A Rust toolchain where the confined user can reach it: rustup's stands in a home directory.
struct Toolchain(PathBuf);

impl Toolchain {
    fn shown_at(place: PathBuf) -> Result<Self, String> {
        let output = Command::new("rustc")
            .args(["--print", "sysroot"])
            .output()
            .map_err(|error| format!("needs rustc: {error}"))?;
        let root = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !Path::new(&root).join("bin/cargo").exists() {
            return Err(format!("needs cargo besides rustc in {root}"));
        }
        std::fs::create_dir(&place).map_err(|error| error.to_string())?;
        let nothing = None::<&str>;
        mount(
            Some(root.as_str()),
            &place,
            nothing,
            MsFlags::MS_BIND,
            nothing,
        )
        .map_err(|error| format!("{root} cannot be shown to the confined user: {error}"))?;
        Ok(Self(place))
    }
}

impl Drop for Toolchain {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
