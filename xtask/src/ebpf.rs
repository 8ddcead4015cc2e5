//! Rebuilds the eBPF objects that the daemon embeds, and installs the toolchain for them.
//!
//! docs/ebpf.md tells what is built with what, and why the result is the same everywhere.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The linker's version; another one may make another object.
const BPF_LINKER: &str = "0.13.0";
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const LLVM: &str = "/usr/lib/llvm-22";
const TARGET: &str = "bpfel-unknown-none";

/// The objects: a session's programs, and those for the whole host.
const OBJECTS: [&str; 2] = ["guard", "host"];

/// What Debian provides of the toolchain.
const PACKAGES: [&str; 7] = [
    "rustc-web",
    "rust-web-src",
    "cargo-web",
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
];

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail if a committed object is not the one that the sources make
    #[arg(long)]
    pub(crate) check: bool,
}

/// Runs it.
#[expect(clippy::print_stdout, reason = "the task's answer")]
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let root = root()?;
    build(&root)?;
    for object in OBJECTS {
        let committed = root.join(format!("guard-ebpf/{object}.bpf.o"));
        let built = stripped(&root, object)?;
        if arguments.check {
            let current = fs::read(&committed)
                .with_context(|| format!("{} is missing", committed.display()))?;
            ensure!(
                current == built,
                "{} ({} bytes) is not what its sources make with {} ({} bytes); \
                 run `cargo xtask ebpf` and commit it",
                committed.display(),
                current.len(),
                version()?,
                built.len()
            );
            println!("{} is what its sources make", committed.display());
        } else {
            fs::write(&committed, &built)
                .with_context(|| format!("cannot write {}", committed.display()))?;
            println!("{}: {} bytes", committed.display(), built.len());
        }
    }
    Ok(())
}

/// Installs what `run` needs, as root; what is there already is left alone. `Some` tells why this host cannot
/// have it: the packages are Debian 12's.
pub(crate) fn install_toolchain() -> anyhow::Result<Option<String>> {
    if !crate::setup::debian_if_known(&PACKAGES)? {
        return Ok(Some(format!(
            "this release has no packages {}",
            PACKAGES.join(", ")
        )));
    }
    let tools = tools(&root()?);
    if linker_version(&linker(&tools)).as_deref() == Some(BPF_LINKER) {
        return Ok(None);
    }
    let mut install = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    install
        .args([
            "install",
            "bpf-linker",
            "--version",
            BPF_LINKER,
            "--locked",
            "--force",
        ])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(tools)
        .env("LLVM_PREFIX", LLVM);
    succeed(&mut install)?;
    Ok(None)
}

/// Builds the objects.
fn build(root: &Path) -> anyhow::Result<()> {
    let linker = linker(&tools(root));
    for tool in [Path::new(RUSTC), Path::new(CARGO), &linker, &strip()] {
        ensure!(
            tool.exists(),
            "{} is missing; run `cargo xtask setup`",
            tool.display()
        );
    }
    let target = built(root);
    // Unpacks the dependencies, so that `flags` sees where they are.
    succeed(cargo(root).args(["fetch", "--locked"]))?;
    let mut build = cargo(root);
    build
        .args([
            "build",
            "--release",
            "--locked",
            "-Z",
            "build-std=core",
            "--target",
            TARGET,
        ])
        // `-Z build-std` is how a target without a shipped core is built.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(root)?.join("\u{1f}"));
    succeed(&mut build)
}

/// An object as it is committed. DWARF names crates by hashes that depend on the checkout's path; the kernel
/// reads BTF only.
fn stripped(root: &Path, object: &str) -> anyhow::Result<Vec<u8>> {
    let target = built(root);
    let stripped = target.join(format!("{object}.bpf.o"));
    let mut command = Command::new(strip());
    command
        .args(["--strip-debug", "-o"])
        .arg(&stripped)
        .arg(target.join(TARGET).join("release").join(object));
    succeed(&mut command)?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}

/// Debian's cargo in `guard-ebpf`, without what the outer cargo and the user set.
fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(CARGO);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let set = ["CARGO_", "RUSTC", "RUSTFLAGS", "RUSTUP_", "LD_LIBRARY_PATH"];
        let kept = [
            "CARGO_HOME",
            "CARGO_NET_",
            "CARGO_HTTP_",
            "CARGO_REGISTRIES_",
        ];
        if set.iter().any(|set| name.starts_with(set))
            && !kept.iter().any(|kept| name.starts_with(kept))
        {
            cargo.env_remove(&*name);
        }
    }
    cargo
        .current_dir(root.join("guard-ebpf"))
        .env("RUSTC", RUSTC);
    cargo
}

/// The compiler's flags. Paths of this machine are replaced: BTF names source files.
fn flags(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut flags = vec!["-Cdebuginfo=2".to_owned(), "-Clink-arg=--btf".to_owned()];
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    remap(root, "/guard");
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => Path::new(&env::var_os("HOME").context("HOME is not set")?).join(".cargo"),
    };
    // One directory per registry, named with a hash of its address; a mirror has another one.
    for registry in fs::read_dir(home.join("registry/src"))
        .into_iter()
        .flatten()
        .flatten()
    {
        remap(&registry.path(), "/registry");
    }
    let source = Path::new("/usr/lib/rustlib/src/rust");
    remap(source, "/rustc");
    if let Ok(source) = source.canonicalize() {
        remap(&source, "/rustc");
    }
    Ok(flags)
}

fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let root = root.context("xtask is not in a workspace")?;
    root.canonicalize()
        .with_context(|| format!("{} is gone; rebuild xtask", root.display()))
}

/// Where this workspace builds to.
fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target))
}

/// Where the objects are built.
fn built(root: &Path) -> PathBuf {
    target(root).join("ebpf")
}

/// Where `install_toolchain` puts programs.
fn tools(root: &Path) -> PathBuf {
    target(root).join("tools")
}

fn linker(tools: &Path) -> PathBuf {
    tools.join("bin/bpf-linker")
}

fn strip() -> PathBuf {
    Path::new(LLVM).join("bin/llvm-strip")
}

fn version() -> anyhow::Result<String> {
    let output = Command::new(RUSTC)
        .arg("--version")
        .output()
        .context(RUSTC)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn linker_version(linker: &Path) -> Option<String> {
    let output = Command::new(linker).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().nth(1).map(str::to_owned)
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}
