//! One guest's life: its QEMU, its time limit, and what it leaves.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use anyhow::Context;

use super::images::Image;
use super::report::{End, Outcome, Report};
use super::share::{self, Share};
use super::{Guest, Plan, guest};

/// How much a guest's commands may say in bytes; one that says more has failed.
const OUTPUT_MAX: usize = 16 << 20;
/// How much of a line that does not end is taken for a line, in bytes.
const LINE_MAX: u64 = 64 << 10;
/// How many of the console's last lines tell about a failure.
const CONSOLE_LINES: usize = 60;

/// Where QEMU writes, in a guest's directory.
const CONSOLE: &str = "console";
const REPORT: &str = "report";
const LOG: &str = "qemu.log";

/// The machine. One processor: a guest is bound by it, and two guests run at once. The memory holds the layer over
/// the host's files too, and is shared with the daemon that serves them. Page tables of four levels are quicker to
/// walk than the five that `max` would have.
const MACHINE: &str = "-nodefaults -no-user-config -no-reboot -display none \
    -accel tcg,thread=multi -cpu max,la57=off -smp 1 -m 3G \
    -object memory-backend-memfd,id=memory,size=3G,share=on -machine q35,memory-backend=memory \
    -device virtio-rng-pci -device virtio-serial-pci \
    -chardev file,id=output,path=/proc/self/fd/1 \
    -device virtserialport,chardev=output,name=output \
    -device virtserialport,chardev=report,name=report \
    -device vhost-user-fs-pci,chardev=files,tag=host,queue-size=1024";

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
    let share = Share::start(&directory)?;
    let mut qemu = Ended(qemu(guest, image, &share.socket, &directory)?);
    let stdout = qemu.0.stdout.take().context("QEMU's output is piped")?;
    let (done, ended) = mpsc::channel();
    let copier = std::thread::spawn(move || {
        let output = copy(stdout, &guest.name());
        let _ = done.send(());
        output
    });
    // QEMU's output ends when QEMU does.
    let hung = ended.recv_timeout(plan.limit) == Err(RecvTimeoutError::Timeout);
    if hung {
        qemu.0.kill()?;
    }
    let status = qemu.0.wait()?;
    let output = copier.join().unwrap_or_default();
    let report = Report::read(&lossy(&directory.join(REPORT)));
    let failure = if hung {
        Some(format!("was killed after {} s", plan.limit.as_secs()))
    } else if output.len() > OUTPUT_MAX {
        Some(format!("said more than {OUTPUT_MAX} bytes"))
    } else {
        report
            .wrong(guest, plan.commands.len())
            .map(|wrong| format!("{wrong} (QEMU: {status})"))
    };
    report.keep_escapes(guest)?;
    let end = match failure {
        None => End::Ran(report.exits),
        Some(failure) => End::Failed(format!("{failure}{}", last_lines(&directory))),
    };
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

/// Starts QEMU; it ends when the thread that starts it does.
fn qemu(guest: Guest, image: &Image, files: &Path, directory: &Path) -> anyhow::Result<Child> {
    let bpf = if guest.bpf_lsm { ",bpf" } else { "" };
    let lsm = &image.security_modules;
    let at = |name: &str| directory.join(name).display().to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .arg("-kernel")
        .arg(&image.kernel)
        .args(["-initrd", &at("initramfs"), "-append"])
        .arg(format!(
            "console=ttyS0 quiet oops=panic panic=-1 lsm={lsm}{bpf}"
        ))
        .args(["-serial", &format!("file:{}", at(CONSOLE))])
        .args(["-chardev", &format!("file,id=report,path={}", at(REPORT))])
        .arg("-chardev")
        .arg(format!("socket,id=files,path={}", files.display()))
        .args(MACHINE.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(directory.join(LOG))?);
    command.spawn().context("setpriv did not start")
}

/// Prints each line after the guest's name; returns them, cut where they pass [`OUTPUT_MAX`].
fn copy(output: ChildStdout, name: &str) -> String {
    let mut kept = String::new();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = lines.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        say(&format!("[{name}] {text}"));
        if kept.len() <= OUTPUT_MAX {
            kept.push_str(text);
            kept.push('\n');
        }
        line.clear();
    }
    kept
}

/// What the console, QEMU and the file system daemon said last.
fn last_lines(directory: &Path) -> String {
    let mut last = String::new();
    for name in [CONSOLE, LOG, share::LOG] {
        let text = lossy(&directory.join(name));
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
            last.push_str("\n    ");
            last.push_str(line.trim_end());
        }
    }
    last
}

/// A file's text; nothing if it is not there.
pub(crate) fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A process that does not outlive this value.
pub(crate) struct Ended(pub(crate) Child);

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
