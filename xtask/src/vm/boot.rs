//! One guest's life: its file system daemon, its QEMU, its time limit, and what it leaves.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::images::{self, Image};
use super::report::{End, Outcome, Report};
use super::{Guest, Plan, guest};

/// How much of the commands' output is kept for the caller; all of it is printed.
pub(crate) const OUTPUT_MAX: usize = 16 << 20;
/// A guest's memory in MiB: its layer over the host's files is in it too.
const MEMORY: u32 = 3072;
/// How many of the console's last lines tell about a failure.
const CONSOLE_LINES: usize = 30;

/// Boots a guest, runs the plan's commands in it, and waits for its end.
pub(crate) fn run(
    guest: Guest,
    image: &Image,
    plan: &Plan,
    places: &[PathBuf],
) -> anyhow::Result<Outcome> {
    let mut scratch = tempfile::Builder::new()
        .prefix("guard-vm-")
        .tempdir()
        .context("cannot make the guest's directory")?;
    let directory = scratch.path().to_owned();
    fs::write(
        directory.join("initramfs"),
        guest::initramfs(image, &plan.commands, places)?,
    )?;
    let start = Instant::now();
    let _share = Share::start(&directory)?;
    let mut qemu = Ended(start_qemu(guest, image, &directory)?);
    let stdout = qemu.0.stdout.take().context("QEMU's output is piped")?;
    let (done, ended) = mpsc::channel();
    let copier = std::thread::spawn(move || {
        let output = copy(stdout, &guest.name());
        let _ = done.send(());
        output
    });
    // Its output ends with it.
    let hung = ended.recv_timeout(plan.limit) == Err(RecvTimeoutError::Timeout);
    if hung {
        qemu.0.kill()?;
    }
    let status = qemu.0.wait()?;
    let output = copier.join().unwrap_or_default();
    let report = Report::read(&lossy(&directory.join("report")));
    let end = judge(guest, plan, &report, hung.then_some(plan.limit), status)
        .unwrap_or_else(|reason| End::Failed(format!("{reason}{}", console(&directory))));
    if plan.keep {
        scratch.disable_cleanup(true);
        say(&format!("{}: kept {}", guest.name(), directory.display()));
    }
    Ok(Outcome {
        guest,
        version: image.version.clone(),
        end,
        boot: report.booted,
        took: start.elapsed(),
        output,
        skips: report.skips,
    })
}

/// Whether the guest ran everything as the guest that it should be; else why not.
fn judge(
    guest: Guest,
    plan: &Plan,
    report: &Report,
    hung: Option<Duration>,
    status: ExitStatus,
) -> Result<End, String> {
    if let Some(limit) = hung {
        return Err(format!("was killed after {} s", limit.as_secs()));
    }
    if !report.complete || report.exits.len() != plan.commands.len() {
        return Err(format!("ended before its commands did (QEMU: {status})"));
    }
    if report
        .security_modules
        .split(',')
        .any(|module| module == "bpf")
        != guest.bpf_lsm
    {
        return Err(format!(
            "has the security modules {}",
            report.security_modules
        ));
    }
    Ok(End::Ran(report.exits.clone()))
}

/// The host's file system, read-only, offered on `fs.sock` in the guest's directory.
struct Share {
    _daemon: Ended,
}

impl Share {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let (program, is_qemus) = images::virtiofsd().context("virtiofsd is not there any more")?;
        let view = directory.join("host");
        fs::create_dir(&view)?;
        let socket = directory.join("fs.sock");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "slave", "sh", "-ec"])
            .arg(
                "mount --rbind / \"$1\"; mount -o remount,bind,ro \"$1\"; shift
                 exec setpriv --pdeathsig KILL \"$@\"",
            )
            .args(["sh".as_ref(), view.as_os_str(), program.as_os_str()]);
        if is_qemus {
            command
                .arg(format!("--socket-path={}", socket.display()))
                .args(["-f", "-o", "cache=always", "-o", "log_level=err", "-o"])
                .arg(format!("source={}", view.display()));
        } else {
            command
                .arg("--socket-path")
                .arg(&socket)
                .arg("--shared-dir")
                .arg(&view)
                .args(["--cache", "always", "--log-level", "error"]);
        }
        let log = fs::File::create(directory.join("virtiofsd.log"))?;
        let daemon = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("unshare did not start")?;
        let mut daemon = Ended(daemon);
        let start = Instant::now();
        while !socket.exists() {
            if let Some(status) = daemon.0.try_wait()? {
                let log = lossy(&directory.join("virtiofsd.log"));
                bail!("{} ended with {status}: {log}", program.display());
            }
            if start.elapsed() > Duration::from_secs(20) {
                bail!("{} made no socket within 20 s", program.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { _daemon: daemon })
    }
}

fn start_qemu(guest: Guest, image: &Image, directory: &Path) -> anyhow::Result<Child> {
    let modules = &image.security_modules;
    let lsm = if guest.bpf_lsm {
        format!("{modules},bpf")
    } else {
        modules.clone()
    };
    let at = |name: &str| directory.join(name).display().to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1"])
        .args([
            "-m",
            &MEMORY.to_string(),
            "-machine",
            "q35,memory-backend=memory",
        ])
        .args([
            "-object",
            &format!("memory-backend-memfd,id=memory,size={MEMORY}M,share=on"),
        ])
        .arg("-kernel")
        .arg(&image.kernel)
        .args(["-initrd", &at("initramfs")])
        .args([
            "-append",
            &format!("console=ttyS0 quiet panic=-1 lsm={lsm}"),
        ])
        .args(["-serial", &format!("file:{}", at("console"))])
        .args(["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"])
        .args(["-chardev", "file,id=output,path=/proc/self/fd/1"])
        .args(["-device", "virtserialport,chardev=output,name=output"])
        .args(["-chardev", &format!("file,id=report,path={}", at("report"))])
        .args(["-device", "virtserialport,chardev=report,name=report"])
        .args([
            "-chardev",
            &format!("socket,id=files,path={}", at("fs.sock")),
        ])
        .args([
            "-device",
            "vhost-user-fs-pci,chardev=files,tag=host,queue-size=1024",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(directory.join("qemu.log"))?)
        .spawn()
        .context("setpriv did not start")
}

/// Prints each line after the guest's name; returns the first [`OUTPUT_MAX`] bytes.
fn copy(output: ChildStdout, name: &str) -> String {
    let mut kept = String::new();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    // A line without an end is cut, not collected.
    while (&mut lines)
        .take(64 << 10)
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        say(&format!("[{name}] {text}"));
        if kept.len() + text.len() < OUTPUT_MAX {
            kept.push_str(text);
            kept.push('\n');
        }
        line.clear();
    }
    kept
}

/// What the console, QEMU and the file system daemon said last.
fn console(directory: &Path) -> String {
    let mut last = String::new();
    for name in ["console", "qemu.log", "virtiofsd.log"] {
        let text = lossy(&directory.join(name));
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
            last.push_str("\n    ");
            last.push_str(line.trim_end());
        }
    }
    last
}

fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A process that does not outlive this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the guests' output, and where things are kept"
)]
fn say(line: &str) {
    println!("{line}");
}
