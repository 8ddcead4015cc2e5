//! Loads the host-wide object, attaches and pins it, and takes over from the daemon before.
//!
//! Pins stand in a directory per generation, named by its number. A new generation gets what the last one
//! knows before it is attached, and the last one is removed after that, so that there is no moment without.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::programs::Program;
use aya::programs::links::FdLink;
use aya::{Ebpf, EbpfLoader, Pod};
use guard_common::tracking::{AllowedSocket, LSM_HOOKS, Label, Offsets, TrackedSession};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::TrackerError;
use super::btf::Btf;
use super::links::Links;
use super::offsets::{offsets, tell_executions};
use super::{root, security};

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

/// The map of unix sockets that sessions may reach.
pub(super) type Allowed = HashMap<MapData, AllowedSocket, u32>;

/// A ring buffer, and how many records found no room in it.
pub(super) struct Ring {
    pub(super) records: RingBuf<MapData>,
    pub(super) lost: PerCpuArray<MapData, u64>,
}

/// What is attached and pinned.
pub(super) struct Loaded {
    pub(super) sessions: Sessions,
    pub(super) labels: Labels,
    pub(super) allowed: Allowed,
    pub(super) events: Ring,
    pub(super) refusals: Ring,
    pub(super) links: Links,
    pub(super) enforced: Vec<String>,
    pub(super) limits: Vec<String>,
}

/// Attaches a generation under `pins` and removes the ones before.
pub(super) fn load(pins: &Path) -> Result<Loaded, TrackerError> {
    let btf = Btf::of_kernel().map_err(|reason| TrackerError::Unsupported { reason })?;
    let mut offsets = offsets(&btf).map_err(|missing| TrackerError::Unsupported {
        reason: format!("it has no {missing}"),
    })?;
    offsets.tester = std::process::id();
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
    let mut maps = Maps {
        sessions: open(&mut object, "SESSIONS")?,
        labels: open(&mut object, "LABELS")?,
        allowed: open(&mut object, "ALLOWED")?,
    };
    let events = ring(&mut object, "EVENTS", "LOST_EVENTS")?;
    let refusals = ring(&mut object, "REFUSALS", "LOST_REFUSALS")?;
    let calls: Array<MapData, u64> = open(&mut object, "CALLS")?;

    if let Some(earlier) = earlier {
        maps.take_over(earlier);
    }
    let mut links = Links::new(directory);
    for name in TRACEPOINTS {
        let Program::RawTracePoint(program) = program(&mut object, name)? else {
            return Err(other_build(name));
        };
        let link = program
            .attach(name)
            .and_then(|id| program.take_link(id))
            .map_err(|error| refused(format!("attaching to {name}"), error))?;
        links.add(name, FdLink::from(link), false)?;
    }
    let mut enforced = vec![
        "process-tracking".to_owned(),
        "sticky-membership".to_owned(),
    ];
    let mut limits = Vec::new();
    if !tell_executions(&offsets) {
        limits.push(
            "executed programs are recorded without path or arguments: this kernel does not tell where they are"
                .to_owned(),
        );
    }
    match root::attach(&mut object, &offsets, &mut links) {
        Ok(()) => enforced.push("foreign-sockets".to_owned()),
        Err(error) => {
            root::detach(&mut links);
            limits.push(format!(
                "sockets that come from outside can be connected: {}",
                security::reason(&error)
            ));
        }
    }
    let (running, missing) = security::attach(&mut object, &offsets, &calls, directory, &mut links);
    limits.extend(missing);
    if running.len() == LSM_HOOKS.len() {
        enforced.push("security-hooks".to_owned());
    } else {
        enforced.extend(running.iter().map(|hook| format!("security-hook:{hook}")));
    }
    if let Some(earlier) = earlier {
        // What came into being between the copy and the attaching.
        maps.take_over(earlier);
    }
    Ok(Loaded {
        sessions: maps.sessions,
        labels: maps.labels,
        allowed: maps.allowed,
        events,
        refusals,
        links,
        enforced,
        limits,
    })
}

/// The maps that a next generation takes over.
struct Maps {
    sessions: Sessions,
    labels: Labels,
    allowed: Allowed,
}

impl Maps {
    /// Copies what an earlier generation knows and this one does not. Maps of another form are left: then the
    /// sessions' processes are labelled anew from their cgroups, when they are confined again.
    fn take_over(&mut self, earlier: &Path) {
        copy(pinned(earlier, "SESSIONS").as_ref(), &mut self.sessions);
        copy(pinned(earlier, "LABELS").as_ref(), &mut self.labels);
        copy(pinned(earlier, "ALLOWED").as_ref(), &mut self.allowed);
    }
}

fn copy<K: Pod, V: Pod>(from: Option<&HashMap<MapData, K, V>>, to: &mut HashMap<MapData, K, V>) {
    for (key, value) in from.into_iter().flat_map(HashMap::iter).flatten() {
        if to.get(&key, 0).is_err() {
            let _ = to.insert(key, value, 0);
        }
    }
}

fn open<T: TryFrom<Map, Error = aya::maps::MapError>>(
    object: &mut Ebpf,
    name: &str,
) -> Result<T, TrackerError> {
    let map = object.take_map(name).ok_or_else(|| other_build(name))?;
    T::try_from(map).map_err(|error| refused(format!("opening the map {name}"), error))
}

fn ring(object: &mut Ebpf, records: &str, lost: &str) -> Result<Ring, TrackerError> {
    Ok(Ring {
        records: open(object, records)?,
        lost: open(object, lost)?,
    })
}

fn pinned<T: TryFrom<Map>>(directory: &Path, name: &str) -> Option<T> {
    let map = MapData::from_pin(directory.join(map_pin(name))).ok()?;
    T::try_from(Map::from_map_data(map).ok()?).ok()
}

pub(super) fn map_pin(name: &str) -> String {
    format!("map_{}", name.to_lowercase())
}

pub(super) fn program<'a>(
    object: &'a mut Ebpf,
    name: &str,
) -> Result<&'a mut Program, TrackerError> {
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

pub(super) fn other_build(name: &str) -> TrackerError {
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
