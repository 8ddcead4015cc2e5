//! Which sessions and processes the kernel knows, and whether that is what is so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guard_common::tracking::{
    AllowedSocket, DEEPEST_LEVEL, Label, TICK, TrackedSession, UNIX_NAME_BYTES,
};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};

use super::event::number_of;
use super::load::{Allowed, Labels, Sessions, refused};
use super::{Fault, TrackerError, pidfd};
use crate::sandbox::cgroup;
use crate::session::SessionId;

/// The inode, and so the identifier, of the hierarchy's root.
pub(super) const ROOT: u64 = 1;
/// Rounds in which processes of a tree that forks all the while are looked for.
const ROUNDS: usize = 50;

/// How long a fork, a move or an end may take on a busy host.
const SETTLING: Duration = Duration::from_millis(700);

/// Numbers and starts of processes, and since when they are suspect.
type Suspects = BTreeMap<(u32, u64), Instant>;

/// The sessions and their processes.
pub(super) struct Members {
    sessions: Sessions,
    labels: Labels,
    allowed: Allowed,
    confined: BTreeMap<SessionId, Confined>,
    /// The processes that the last check found without a label, or outside, since when. A look may come between a
    /// fork or a move and what the kernel does about it.
    suspects: Suspects,
}

/// A session's cgroup.
struct Confined {
    /// Its identifier.
    cgroup: u64,
    level: u32,
    /// Its directory, whatever stands at its path by now.
    directory: OwnedFd,
    /// Its path as `/proc/PID/cgroup` has it.
    name: String,
}

impl Members {
    pub(super) fn new(sessions: Sessions, labels: Labels, allowed: Allowed) -> Self {
        Self {
            sessions,
            labels,
            allowed,
            confined: BTreeMap::new(),
            suspects: Suspects::new(),
        }
    }

    /// Makes a cgroup a session's, and labels the processes in it. Returns their numbers and starts.
    pub(super) fn confine(
        &mut self,
        session: &SessionId,
        cgroup: BorrowedFd<'_>,
        existing: bool,
    ) -> Result<Vec<(u32, u64)>, TrackerError> {
        let confined = Confined::find(cgroup)?;
        let value = confined.session(session)?;
        self.sessions
            .insert(confined.cgroup, value, 0)
            .map_err(|error| refused("adding a session to the map", error))?;
        let mut labelled = Vec::new();
        // From here on every fork of a process in the cgroup is labelled, so this comes to an end.
        for _ in 0..if existing { ROUNDS } else { 0 } {
            let unlabelled = self.unlabelled(&confined);
            if unlabelled.is_empty() {
                break;
            }
            for process in unlabelled {
                if let Err(error) = self.label(&confined, process) {
                    let _ = self.sessions.remove(&confined.cgroup);
                    return Err(error);
                }
                labelled.push(process);
            }
        }
        self.confined.insert(session.clone(), confined);
        Ok(labelled)
    }

    /// Lets a confined session reach unix sockets of others, by the paths that they are bound to.
    pub(super) fn allow(
        &mut self,
        session: &SessionId,
        paths: &[PathBuf],
    ) -> Result<(), TrackerError> {
        let confined = self
            .confined
            .get(session)
            .ok_or_else(|| TrackerError::Cgroup {
                reason: format!("{session} is not confined"),
            })?;
        for path in paths {
            let key = allowed(confined.cgroup, path).ok_or_else(|| TrackerError::Cgroup {
                reason: format!("{} cannot be a unix socket's path: it is empty, or has {UNIX_NAME_BYTES} bytes or more", path.display()),
            })?;
            self.allowed
                .insert(key, 1, 0)
                .map_err(|error| refused("adding a unix socket to the map", error))?;
        }
        Ok(())
    }

    /// Kills every process that has a session's label, wherever it is. Also for a session that an earlier daemon confined.
    /// Returns how many have one, those that have ended a moment ago included.
    pub(super) fn expel(&mut self, session: &SessionId) -> Result<usize, (u32, io::Error)> {
        let cgroups = self.cgroups(session);
        let labelled = self.labelled(&cgroups);
        let mut failed = None;
        for (pid, label) in &labelled {
            if let Some(started) = self.start_of_labelled(*pid, *label)
                && let Err(error) = pidfd::kill(*pid, started)
            {
                failed = Some((*pid, error));
            }
        }
        failed.map_or(Ok(labelled.len()), Err)
    }

    /// Makes a session's cgroup one like any other. Its processes may leave it.
    pub(super) fn release(&mut self, session: &SessionId) {
        self.confined.remove(session);
        let cgroups = self.cgroups(session);
        // With the session's entry gone its labels count for nothing.
        for cgroup in &cgroups {
            let _ = self.sessions.remove(cgroup);
        }
        for (pid, _) in self.labelled(&cgroups) {
            let _ = self.labels.remove(&pid);
        }
        let allowed: Vec<AllowedSocket> = self
            .allowed
            .keys()
            .flatten()
            .filter(|key| cgroups.contains(&key.cgroup))
            .collect();
        for key in allowed {
            let _ = self.allowed.remove(&key);
        }
    }

    /// The identifiers of the cgroups that the kernel knows as a session's: one, also without its directory.
    fn cgroups(&self, session: &SessionId) -> BTreeSet<u64> {
        let Some(name) = number_of(session) else {
            return BTreeSet::new();
        };
        let known = self.sessions.iter().flatten();
        known
            .filter(|(_, value)| value.name == name)
            .map(|(cgroup, _)| cgroup)
            .collect()
    }

    /// The processes that have a label of one of these cgroups.
    fn labelled(&self, cgroups: &BTreeSet<u64>) -> Vec<(u32, Label)> {
        let labels = self.labels.iter().flatten();
        labels
            .filter(|(_, label)| cgroups.contains(&label.cgroup))
            .collect()
    }

    /// Compares the maps with the cgroups and makes good what is not so: processes without a label get one,
    /// those outside of their cgroup are killed, and labels of processes that are gone go too. What stays so is a
    /// fault.
    pub(super) fn check(&mut self, faults: &mut Vec<Fault>) {
        let mut suspects = Suspects::new();
        let confined = std::mem::take(&mut self.confined);
        for (session, confined) in &confined {
            if let Some(detail) = self.check_session(session, confined, &mut suspects) {
                faults.push(Fault {
                    session: Some(session.clone()),
                    detail,
                });
            }
        }
        let standing: BTreeSet<u64> = confined
            .values()
            .filter(|confined| confined.exists())
            .map(|confined| confined.cgroup)
            .collect();
        let labels: Vec<(u32, Label)> = self.labels.iter().flatten().collect();
        for (pid, label) in labels {
            let Some(started) = self.start_of_labelled(pid, label) else {
                continue;
            };
            let holder = confined
                .iter()
                .find(|(_, confined)| confined.cgroup == label.cgroup);
            let Some((session, confined)) = holder else {
                // Of a session that has not been picked up yet.
                continue;
            };
            let confined = standing.contains(&label.cgroup).then_some(confined);
            if let Some(detail) = self.check_place((pid, started), confined, &mut suspects) {
                faults.push(Fault {
                    session: Some(session.clone()),
                    detail,
                });
            }
        }
        self.confined = confined;
        self.suspects = suspects;
    }

    fn check_session(
        &mut self,
        session: &SessionId,
        confined: &Confined,
        suspects: &mut Suspects,
    ) -> Option<String> {
        let value = confined.session(session).ok()?;
        if self.sessions.get(&confined.cgroup, 0).ok() != Some(value) {
            let mut detail = "the kernel's map had no entry of the session".to_owned();
            if let Err(error) = self.sessions.insert(confined.cgroup, value, 0) {
                detail = format!("{detail}, and takes none: {error}");
            }
            return Some(detail);
        }
        let mut detail = None;
        for process in self.unlabelled(confined) {
            if !self.stays(process, suspects) {
                continue;
            }
            detail = Some(format!("its process {} had no label", process.0));
            if let Err(error) = self.label(confined, process) {
                detail = Some(error.to_string());
            }
        }
        detail
    }

    /// When a process started that has a label. `None` where it is gone, and then its label is too, or cannot be looked
    /// at now.
    fn start_of_labelled(&mut self, pid: u32, label: Label) -> Option<u64> {
        let started = label.started / TICK * TICK;
        // One that cannot be looked at now keeps its label, and is looked at again.
        if pidfd::start_of_living(pid).ok()? == Some(started) {
            return Some(started);
        }
        // Not if it was given out again meanwhile.
        if self.labels.get(&pid, 0).ok() == Some(label) {
            let _ = self.labels.remove(&pid);
        }
        None
    }

    /// `confined` is the session's cgroup; `None` where it was removed, and whatever has its path now is another.
    fn check_place(
        &self,
        (pid, started): (u32, u64),
        confined: Option<&Confined>,
        suspects: &mut Suspects,
    ) -> Option<String> {
        // A process that ends may be in no cgroup.
        let path = cgroup::of_process(pid).ok()?;
        if confined.is_some_and(|confined| confined.holds(&path)) {
            return None;
        }
        tracing::warn!("process {pid} is in cgroup {path}, outside of its session's; killing it");
        let killed = pidfd::kill(pid, started);
        if let Err(error) = killed {
            return Some(format!(
                "its process {pid} is in cgroup {path} and cannot be killed: {error}"
            ));
        }
        self.stays((pid, started), suspects)
            .then(|| format!("its process {pid} is in cgroup {path} and does not end"))
    }

    /// Whether a process has been suspect for long enough; remembers it for the next check.
    fn stays(&self, process: (u32, u64), suspects: &mut Suspects) -> bool {
        let since = self.suspects.get(&process).copied();
        let since = since.unwrap_or_else(Instant::now);
        suspects.insert(process, since);
        since.elapsed() >= SETTLING
    }

    /// The processes in a cgroup and below that have no label: their numbers and starts.
    fn unlabelled(&self, confined: &Confined) -> Vec<(u32, u64)> {
        let mut found = Vec::new();
        for pid in confined.processes() {
            let Ok(Some(started)) = pidfd::start_of_living(pid) else {
                continue;
            };
            let label = self.labels.get(&pid, 0).ok();
            let labelled = label.is_some_and(|label| {
                label.cgroup == confined.cgroup && label.started / TICK == started / TICK
            });
            if !labelled {
                found.push((pid, started));
            }
        }
        found
    }

    fn label(&mut self, confined: &Confined, process: (u32, u64)) -> Result<(), TrackerError> {
        let label = Label {
            cgroup: confined.cgroup,
            started: process.1,
        };
        self.labels
            .insert(process.0, label, 0)
            .map_err(|error| refused("labelling a process", error))
    }
}

impl Confined {
    fn find(cgroup: BorrowedFd<'_>) -> Result<Self, TrackerError> {
        let not = |reason: String| TrackerError::Cgroup { reason };
        if !fstatfs(cgroup).is_ok_and(|at| at.filesystem_type() == CGROUP2_SUPER_MAGIC) {
            return Err(not("it is not one of version 2".to_owned()));
        }
        let failed = |error: io::Error| not(error.to_string());
        let path =
            fs::read_link(format!("/proc/self/fd/{}", cgroup.as_raw_fd())).map_err(failed)?;
        let directory = up(cgroup, ".").map_err(failed)?;
        let own = inode(cgroup).map_err(failed)?;
        let mut level = 0;
        let mut at = own;
        let mut here = up(cgroup, ".").map_err(failed)?;
        while at != ROOT {
            level += 1;
            if level > DEEPEST_LEVEL {
                return Err(not(format!(
                    "it is more than {DEEPEST_LEVEL} levels deep, or its hierarchy is not mounted from its root"
                )));
            }
            here = up(here.as_fd(), "..").map_err(failed)?;
            at = inode(here.as_fd()).map_err(failed)?;
        }
        if level == 0 {
            return Err(not("it is the root, which holds the whole host".to_owned()));
        }
        let names: Vec<_> = path.components().rev().take(level as usize).collect();
        let path: PathBuf = names.into_iter().rev().collect();
        Ok(Self {
            cgroup: own,
            level,
            name: Path::new("/").join(path).to_string_lossy().into_owned(),
            directory,
        })
    }

    fn session(&self, session: &SessionId) -> Result<TrackedSession, TrackerError> {
        Ok(TrackedSession {
            name: number_of(session).ok_or_else(|| TrackerError::Cgroup {
                reason: format!("the session's name {session} is not a number"),
            })?,
            level: self.level,
            reserved: 0,
        })
    }

    /// Whether it is still there. One that cannot be looked at is.
    fn exists(&self) -> bool {
        let file = self.path().join("cgroup.procs");
        fs::exists(file).unwrap_or(true)
    }

    /// Leads to its directory and to no other.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))
    }

    /// Whether a path of `/proc/PID/cgroup` is the session's cgroup or below it.
    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&self.name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with(' '))
    }

    /// Every process in it and below. A directory that cannot be read was removed meanwhile.
    fn processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut directories = vec![self.path()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    directories.push(entry.path());
                }
            }
            // A threaded cgroup's processes are in the file of the domain above it.
            let processes = fs::read_to_string(directory.join("cgroup.procs"));
            let processes = processes.unwrap_or_default();
            let processes = processes.lines().filter_map(|line| line.parse().ok());
            // A process outside of this pid namespace is 0.
            found.extend(processes.filter(|pid: &u32| *pid != 0));
        }
        found
    }
}

/// The key of a unix socket; `None` for what cannot be a path of one.
fn allowed(cgroup: u64, path: &Path) -> Option<AllowedSocket> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.len() >= UNIX_NAME_BYTES {
        return None;
    }
    let mut name = [0; _];
    for (word, part) in name.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole[..part.len()].copy_from_slice(part);
        *word = u64::from_ne_bytes(whole);
    }
    Some(AllowedSocket { cgroup, name })
}

fn inode(directory: impl AsFd) -> io::Result<u64> {
    Ok(File::from(directory.as_fd().try_clone_to_owned()?)
        .metadata()?
        .ino())
}

fn up(directory: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(directory, name, flags, Mode::empty())?)
}
