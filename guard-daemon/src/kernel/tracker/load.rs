//! Loads the host-wide object, attaches and pins it, and takes over from the daemon before.
//!
//! Pins stand in a directory per generation, named by its number. A new generation gets what the last one
//! knows before it is attached, and the last one is removed after that, so that there is no moment without.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::Program;
use aya::programs::links::{FdLink, PinnedLink};
use aya::{Ebpf, EbpfLoader};
use guard_common::tracking::{Label, Offsets, TrackedSession};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::TrackerError;
use super::btf::Btf;
use super::offsets::offsets;

/// The committed object; `cargo xtask ebpf --check` proves that it is the sources'.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../../guard-ebpf/host.bpf.o");

/// The tracepoints, and the programs of their names. Labels are kept right (fork, exit) before anything is
/// judged by them.
const TRACEPOINTS: [&str; 4] = [
    "sched_process_fork",
    "sched_process_exit",
    "cgroup_attach_task",
    "sched_process_exec",
];

/// The map of sessions, by cgroup.
pub(super) type Sessions = HashMap<MapData, u64, TrackedSession>;
/// The map of labels, by process.
pub(super) type Labels = HashMap<MapData, u32, Label>;

/// What is attached and pinned.
pub(super) struct Loaded {
    pub(super) sessions: Sessions,
    pub(super) labels: Labels,
    pub(super) events: RingBuf<MapData>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) links: Vec<(String, PinnedLink)>,
    /// The directory of this generation.
    pub(super) pins: PathBuf,
    pub(super) offsets: Offsets,
}

/// Attaches a generation under `pins` and removes the ones before.
pub(super) fn load(pins: &Path) -> Result<Loaded, TrackerError> {
    let btf = Btf::of_kernel().map_err(|reason| TrackerError::Unsupported { reason })?;
    let offsets = offsets(&btf).map_err(|missing| TrackerError::Unsupported {
        reason: format!("it has no {missing}"),
    })?;
    let earlier = generations(pins)?;
    let number = earlier.last().map_or(1, |(number, _)| number + 1);
    let directory = pins.join(number.to_string());
    make(&directory)?;
    let loaded = attach(&directory, offsets, earlier.last().map(|(_, path)| &**path));
    match loaded {
        Ok(loaded) => {
            for (_, directory) in earlier {
                remove(&directory)?;
            }
            Ok(loaded)
        }
        Err(error) => {
            // The error at hand matters more; the next start removes what stays.
            let _ = remove(&directory);
            Err(error)
        }
    }
}

/// Removes every generation under `pins`, and `pins`: nothing is tracked any more.
pub(super) fn remove_all(pins: &Path) -> Result<(), TrackerError> {
    for (_, directory) in generations(pins)? {
        remove(&directory)?;
    }
    match fs::remove_dir(pins) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| failed(pins, "cannot be removed", error)),
    }
}

fn attach(
    directory: &Path,
    offsets: Offsets,
    earlier: Option<&Path>,
) -> Result<Loaded, TrackerError> {
    let mut object = EbpfLoader::new()
        .override_global(Offsets::GLOBAL, &offsets, true)
        .load(OBJECT)
        .map_err(|error| refused("making the eBPF maps", error))?;
    for name in TRACEPOINTS {
        match program(&mut object, name)? {
            Program::RawTracePoint(program) => program
                .load()
                .map_err(|error| refused(format!("loading the program {name}"), error))?,
            _ => return Err(other_build(name)),
        }
    }
    for (name, map) in object.maps() {
        // The offsets' map (`.rodata`) lives as long as the programs; bpffs takes no dot in a name.
        if !name.starts_with('.') {
            map.pin(directory.join(map_pin(name)))
                .map_err(|error| refused(format!("pinning the map {name}"), error))?;
        }
    }
    let map =
        |object: &mut Ebpf, name: &str| object.take_map(name).ok_or_else(|| other_build(name));
    let opening = |error| refused("opening a map", error);
    let mut sessions = Sessions::try_from(map(&mut object, "SESSIONS")?).map_err(opening)?;
    let mut labels = Labels::try_from(map(&mut object, "LABELS")?).map_err(opening)?;
    let events = RingBuf::try_from(map(&mut object, "EVENTS")?).map_err(opening)?;
    let lost = PerCpuArray::try_from(map(&mut object, "LOST_EVENTS")?).map_err(opening)?;

    if let Some(earlier) = earlier {
        take_over(earlier, &mut sessions, &mut labels);
    }
    let mut links = Vec::with_capacity(TRACEPOINTS.len());
    for name in TRACEPOINTS {
        let Program::RawTracePoint(program) = program(&mut object, name)? else {
            return Err(other_build(name));
        };
        let link = program
            .attach(name)
            .and_then(|id| program.take_link(id))
            .map_err(|error| refused(format!("attaching to {name}"), error))?;
        let pinned = FdLink::from(link)
            .pin(directory.join(format!("link_{name}")))
            .map_err(|error| refused(format!("pinning the link of {name}"), error))?;
        links.push((name.to_owned(), pinned));
    }
    if let Some(earlier) = earlier {
        // What came into being between the copy and the attaching.
        take_over(earlier, &mut sessions, &mut labels);
    }
    Ok(Loaded {
        sessions,
        labels,
        events,
        lost,
        links,
        pins: directory.to_owned(),
        offsets,
    })
}

/// Copies what an earlier generation knows and this one does not. Maps of another form are left: then the
/// sessions' processes are labelled anew from their cgroups, when they are confined again.
fn take_over(earlier: &Path, sessions: &mut Sessions, labels: &mut Labels) {
    if let Some(old) = pinned::<Sessions>(earlier, "SESSIONS") {
        for (cgroup, session) in old.iter().flatten() {
            if sessions.get(&cgroup, 0).is_err() {
                let _ = sessions.insert(cgroup, session, 0);
            }
        }
    }
    if let Some(old) = pinned::<Labels>(earlier, "LABELS") {
        for (pid, label) in old.iter().flatten() {
            if labels.get(&pid, 0).is_err() {
                let _ = labels.insert(pid, label, 0);
            }
        }
    }
}

fn pinned<T: TryFrom<Map>>(directory: &Path, name: &str) -> Option<T> {
    let map = MapData::from_pin(directory.join(map_pin(name))).ok()?;
    T::try_from(Map::from_map_data(map).ok()?).ok()
}

fn map_pin(name: &str) -> String {
    format!("map_{}", name.to_lowercase())
}

fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, TrackerError> {
    object.program_mut(name).ok_or_else(|| other_build(name))
}

/// The generations under a directory, oldest first.
fn generations(pins: &Path) -> Result<Vec<(u64, PathBuf)>, TrackerError> {
    let entries = match fs::read_dir(pins) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(pins, "cannot be listed", error))?,
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort();
    Ok(found)
}

fn make(directory: &Path) -> Result<(), TrackerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| failed(directory, "cannot be made for the host's pins", error))?;
    if !statfs(directory).is_ok_and(|at| at.filesystem_type() == BPF_FS_MAGIC) {
        let _ = fs::remove_dir(directory);
        let problem = "is not on a bpffs, so tracking would not outlive guard; mount one there";
        return Err(TrackerError::Pins {
            path: directory.to_owned(),
            problem: problem.to_owned(),
            source: None,
        });
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<(), TrackerError> {
    let gone = |error: io::Error| {
        failed(
            directory,
            "cannot be removed; remove the directory and its files as root",
            error,
        )
    };
    for entry in fs::read_dir(directory).map_err(gone)? {
        fs::remove_file(entry.map_err(gone)?.path()).map_err(gone)?;
    }
    fs::remove_dir(directory).map_err(gone)
}

fn failed(path: &Path, problem: &str, source: io::Error) -> TrackerError {
    TrackerError::Pins {
        path: path.to_owned(),
        problem: problem.to_owned(),
        source: Some(source),
    }
}

fn other_build(name: &str) -> TrackerError {
    TrackerError::Kernel {
        step: format!("finding {name} in guard's host-wide eBPF object"),
        source: "the object and the daemon are of different builds; run `cargo xtask ebpf`".into(),
    }
}

pub(super) fn refused(
    step: impl Into<String>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> TrackerError {
    TrackerError::Kernel {
        step: step.into(),
        source: Box::new(error),
    }
}
