//! Installs what the build and the tests need on Debian and Ubuntu; does nothing where it is there already.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::place::{environment, root, run, tools};

/// The version of cargo-deny that CI uses.
const CARGO_DENY: &str = "0.20.2";

/// Debian packages: a C compiler for aws-lc, the test clients' interpreters, the tools tests check with,
/// and what ordinary work in a session needs.
const PACKAGES: &[&str] = &[
    "bind9-dnsutils",
    "build-essential",
    "ca-certificates",
    "cmake",
    "curl",
    "default-jdk-headless",
    "git",
    "iproute2",
    "nodejs",
    "npm",
    "openssh-client",
    "openssl",
    "python3",
    "python3-pip",
    "python3-pytest",
    "python3-venv",
    "rclone",
    "s3cmd",
    "tmux",
];

/// Packages that are often there from elsewhere, and a command that tells.
const BY_COMMAND: &[(&str, &str)] = &[
    ("default-jdk-headless", "javac"),
    ("git", "git"),
    ("nodejs", "node"),
    ("npm", "npm"),
];

/// The AWS SDKs for Go, with a compiler; not every release has them.
const GO_PACKAGES: &[&str] = &[
    "golang-github-aws-aws-sdk-go-dev",
    "golang-github-aws-aws-sdk-go-v2-dev",
    "golang-go",
];

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the eBPF toolchain (it is only needed to rebuild the eBPF object).
    #[arg(long)]
    without_ebpf: bool,
}

/// Runs it.
pub(crate) fn run_task(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.without_ebpf {
        clients()?;
        return deny();
    }
    if let Some(reason) = run_all()? {
        bail!("the eBPF object cannot be rebuilt here: {reason}; `--without-ebpf` leaves that out");
    }
    Ok(())
}

/// Everything, the eBPF toolchain included; `Some` tells why this host cannot have that.
pub(crate) fn run_all() -> anyhow::Result<Option<String>> {
    clients()?;
    deny()?;
    crate::ebpf::install_toolchain()
}

/// What the demo and the tests run: moto, boto3, the AWS CLI, and the SDKs for JavaScript and Go.
pub(crate) fn clients() -> anyhow::Result<()> {
    debian(PACKAGES)?;
    python()?;
    crt()?;
    node()?;
    go()
}

/// Installs Debian packages that are not installed, where the release has them all; tells whether it has.
pub(crate) fn debian_if_known(packages: &[&str]) -> anyhow::Result<bool> {
    if packages.iter().all(|name| is_installed(name)) {
        return Ok(true);
    }
    run(privileged("apt-get").args(["-q", "update"]))?;
    // One by one: of several, apt-cache is content to know one.
    let known = |name: &&str| {
        let mut show = Command::new("apt-cache");
        show.args(["show", "--no-all-versions", name]);
        show.stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !packages.iter().all(known) {
        return Ok(false);
    }
    debian(packages)?;
    Ok(true)
}

/// Installs Debian packages that are not installed; a command that is there under its own name counts.
fn debian(packages: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|name| !is_installed(name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(privileged("apt-get").args(["-q", "update"]))?;
    run(privileged("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["-q", "-y", "install", "--no-install-recommends"])
        .args(&missing))
}

fn is_installed(package: &str) -> bool {
    if let Some((_, program)) = BY_COMMAND.iter().find(|(name, _)| *name == package) {
        return Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
    }
    Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn privileged(program: &str) -> Command {
    if nix_is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

fn nix_is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn python() -> anyhow::Result<()> {
    let requirements = root().join("tests/stand/requirements.txt");
    let environment = environment().join("venv");
    let stamp = environment.join("requirements.txt");
    if same(&requirements, &stamp) {
        return Ok(());
    }
    // The system's own: one in a home directory is out of the confined user's reach.
    run(Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    run(Command::new(environment.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(&requirements))?;
    stamped(&requirements, &stamp)
}

/// The CRT signs in Version 4A. It stands apart: where botocore finds it, it signs everything with it.
fn crt() -> anyhow::Result<()> {
    let directory = environment().join("crt");
    if directory.join("awscrt-0.38.0.dist-info").exists() {
        return Ok(());
    }
    run(Command::new(environment().join("venv/bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--upgrade",
            "--target",
        ])
        .arg(directory)
        .arg("awscrt==0.38.0"))
}

fn node() -> anyhow::Result<()> {
    let package = root().join("tests/clients/package.json");
    let directory = environment().join("node");
    let stamp = directory.join("installed.json");
    if same(&package, &stamp) {
        return Ok(());
    }
    std::fs::create_dir_all(&directory)?;
    std::fs::copy(&package, directory.join("package.json"))?;
    run(Command::new("npm")
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--loglevel=error",
        ])
        .current_dir(&directory))?;
    stamped(&package, &stamp)
}

/// Without the packages the tests that need these clients say so.
fn go() -> anyhow::Result<()> {
    let directory = environment().join("go");
    for client in ["sdk-v1", "sdk-v2"] {
        let source = root().join("tests/clients/go").join(client);
        let (main, stamp) = (
            source.join("main.go"),
            directory.join(format!("{client}.go")),
        );
        if same(&main, &stamp) {
            continue;
        }
        if !debian_if_known(GO_PACKAGES)? {
            return Ok(());
        }
        run(Command::new("go")
            .args(["build", "-trimpath", "-o"])
            .arg(directory.join(client))
            .arg(".")
            .current_dir(source)
            // Where Debian puts the packages' sources.
            .envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")])
            .env("GOCACHE", directory.join("cache")))?;
        stamped(&main, &stamp)?;
    }
    Ok(())
}

fn deny() -> anyhow::Result<()> {
    if tools().join("bin/cargo-deny").exists() {
        return Ok(());
    }
    run(crate::place::cargo()
        .args([
            "install",
            "--locked",
            "cargo-deny",
            "--version",
            CARGO_DENY,
            "--root",
        ])
        .arg(tools()))
}

fn same(wanted: &Path, stamp: &Path) -> bool {
    match (std::fs::read(wanted), std::fs::read(stamp)) {
        (Ok(wanted), Ok(stamp)) => wanted == stamp,
        _ => false,
    }
}

fn stamped(wanted: &Path, stamp: &Path) -> anyhow::Result<()> {
    std::fs::copy(wanted, stamp).with_context(|| format!("cannot write {}", stamp.display()))?;
    if !same(wanted, stamp) {
        bail!("{} was not written", stamp.display());
    }
    Ok(())
}
