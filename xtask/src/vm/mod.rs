//! Runs commands under other kernels, with BPF LSM on and off: `cargo xtask vm -- COMMAND…`.
//!
//! A guest is one of Debian's kernels in QEMU without KVM. Its root is the host's file system, read-only under a
//! layer in the guest's memory, so the binaries and clients under test are where they are on the host.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::bail;

mod boot;
mod guest;
mod images;
mod report;
mod share;

pub(crate) use report::{Outcome, print};

use crate::place::{environment, root, target};

/// A series of Debian's kernels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kernel {
    /// Debian 12's own.
    V6_1,
    /// Debian 13's, which Debian 12 has too.
    V6_12,
}

impl Kernel {
    const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// `6.1` or `6.12`.
    pub(crate) fn series(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// One kernel as it is booted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Guest {
    /// Which kernel.
    pub(crate) kernel: Kernel,
    /// Whether `bpf` is among the active security modules.
    pub(crate) bpf_lsm: bool,
}

impl Guest {
    /// Every kernel, with BPF LSM on and off.
    pub(crate) fn all() -> Vec<Self> {
        Kernel::ALL
            .into_iter()
            .flat_map(|kernel| [true, false].map(|bpf_lsm| Self { kernel, bpf_lsm }))
            .collect()
    }

    /// `6.1 lsm=on`, as in reports.
    pub(crate) fn name(self) -> String {
        let lsm = if self.bpf_lsm { "on" } else { "off" };
        format!("{} lsm={lsm}", self.kernel.series())
    }
}

/// What became of the guests.
pub(crate) struct Matrix {
    /// Of those that were started, in the order asked for.
    pub(crate) outcomes: Vec<Outcome>,
    /// `SKIPPED kernel 6.1 lsm=on: …` for those that this host cannot have.
    pub(crate) skipped: Vec<String>,
}

/// How commands are run in the guests.
pub(crate) struct Plan {
    /// Shell command lines, run one after the other as root in the workspace's root, each whatever the one before
    /// ended with.
    pub(crate) commands: Vec<String>,
    /// How long a guest may take from its start to its end; it is killed then.
    pub(crate) limit: Duration,
    /// Keep the directory with each guest's console and report, and say where it is.
    pub(crate) keep: bool,
}

/// Boots each guest, two at a time, and runs the plan's commands in it. Their output is printed as it comes, each
/// line after the guest's name.
pub(crate) fn run(guests: &[Guest], plan: &Plan) -> anyhow::Result<Matrix> {
    let missing = images::install()?;
    let mut images = Vec::new();
    for kernel in Kernel::ALL {
        if guests.iter().any(|guest| guest.kernel == kernel) {
            let image = match &missing {
                Some(reason) => Err(reason.clone()),
                None => images::image(kernel)?,
            };
            images.push((kernel, image));
        }
    }
    let mut skipped = Vec::new();
    let mut ready = Vec::new();
    for guest in guests {
        match images.iter().find(|(kernel, _)| *kernel == guest.kernel) {
            Some((_, Ok(image))) => ready.push((*guest, image)),
            Some((_, Err(reason))) => {
                skipped.push(format!("SKIPPED kernel {}: {reason}", guest.name()));
            }
            None => {}
        }
    }
    // As they are named, and as they are found behind symbolic links.
    let places: Vec<PathBuf> = [root(), target(), environment(), images::cache()]
        .into_iter()
        .flat_map(|place| [std::path::absolute(&place), place.canonicalize()])
        .flatten()
        .filter(|place| place.exists())
        .collect();
    let mut outcomes: Vec<Option<anyhow::Result<Outcome>>> = ready.iter().map(|_| None).collect();
    let queue = Mutex::new(ready.iter().zip(&mut outcomes));
    let next = || queue.lock().map_or(None, |mut queue| queue.next());
    std::thread::scope(|scope| {
        for _ in 0..at_once() {
            scope.spawn(|| {
                while let Some(((guest, image), outcome)) = next() {
                    *outcome = Some(boot::run(*guest, image, plan, &places));
                }
            });
        }
    });
    let outcomes = outcomes.into_iter().flatten().collect::<Result<_, _>>()?;
    Ok(Matrix { outcomes, skipped })
}

/// A guest has one processor and is bound by it.
fn at_once() -> usize {
    std::thread::available_parallelism()
        .map_or(1, NonZero::get)
        .clamp(1, 2)
}

/// Its flags.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this kernel.
    #[arg(long, value_name = "6.1|6.12", value_parser = parse_kernel)]
    kernel: Option<Kernel>,
    /// Only with BPF LSM among the active security modules, or only without.
    #[arg(long, value_name = "on|off", value_parser = parse_switch)]
    lsm: Option<bool>,
    /// Keep the directory with each guest's console and report, and say where it is.
    #[arg(long)]
    keep: bool,
    /// How long each guest may take, in seconds.
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// A command line for the guest's shell; several words are joined with spaces.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

/// Runs it.
pub(crate) fn run_task(arguments: &Arguments) -> anyhow::Result<()> {
    let guests: Vec<Guest> = Guest::all()
        .into_iter()
        .filter(|guest| arguments.kernel.is_none_or(|kernel| guest.kernel == kernel))
        .filter(|guest| arguments.lsm.is_none_or(|on| guest.bpf_lsm == on))
        .collect();
    let plan = Plan {
        commands: vec![arguments.command.join(" ")],
        limit: Duration::from_secs(arguments.limit),
        keep: arguments.keep,
    };
    let matrix = run(&guests, &plan)?;
    print(&matrix);
    let failed = matrix
        .outcomes
        .iter()
        .filter(|outcome| !outcome.succeeded());
    match failed.count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} guests failed", guests.len()),
    }
}

fn parse_kernel(text: &str) -> Result<Kernel, String> {
    Kernel::ALL
        .into_iter()
        .find(|kernel| kernel.series() == text)
        .ok_or_else(|| "the kernels are 6.1 and 6.12".to_owned())
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("`on` or `off`".to_owned()),
    }
}

/// The binary under test, in the guest as on the host.
fn guard() -> PathBuf {
    target().join("debug/guard")
}
