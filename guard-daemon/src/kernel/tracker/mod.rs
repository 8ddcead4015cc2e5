//! Which process belongs to which session, from the kernel: the host-wide eBPF programs.
//!
//! One per daemon. A process is labelled with its session when it comes into the session's cgroup, and its
//! children are; the label stays until it ends. One that is outside of the cgroup all the same is killed: by the
//! kernel before its next instruction where it moved itself, by this module at once where another process moved it.
//! Everything is pinned, so it goes on without the daemon; the next one takes over without a gap.
//!
//! What the programs report is read on a thread of its own, into a table of processes with what they executed and
//! who their parents are.

mod btf;
mod event;
mod links;
mod load;
mod members;
mod offsets;
mod pidfd;
mod reader;
mod root;
mod security;
mod table;

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

pub use event::TrackedEvent;

use super::process;
use crate::record::entry::Process;
use crate::record::journal::Journal;
use crate::session::SessionId;
use links::Links;
use load::Loaded;
use members::Members;
use reader::Reader;

/// Events that wait to be taken; more are counted.
const QUEUE: usize = 4096;
/// Events that are put into the journal at once.
const TOGETHER: usize = 256;
/// How often lost and skipped reports are looked for while none come.
const IDLE: u16 = 1000;

/// How long processes that were killed may take to be gone.
const ENDING: Duration = Duration::from_secs(10);
/// Looks in a row that find no process of a session. One alone may miss those that fork and end all the while: a walk
/// through the kernel's map does not see what comes in behind it.
const SURE: u32 = 32;

/// The host-wide programs. Dropping it detaches nothing: the links are pinned.
pub struct Tracker {
    shared: Arc<Shared>,
    events: tokio::sync::Mutex<mpsc::Receiver<TrackedEvent>>,
    links: Links,
    enforced: Vec<String>,
    limits: Vec<String>,
    thread: Option<(UnixStream, JoinHandle<()>)>,
}

struct Shared {
    reader: Mutex<Reader>,
    members: Mutex<Members>,
}

/// A process of a session.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its session.
    pub session: SessionId,
    /// The process, with what it executed last.
    pub process: Process,
}

/// Something that is not as the tracker left it. Each has been made good, where it could be.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The session it is about; `None` for the host.
    pub session: Option<SessionId>,
    /// What is wrong.
    pub detail: String,
}

/// Why processes could not be tracked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackerError {
    /// The kernel does not say where its structures have what.
    #[error(
        "this kernel cannot be tracked: {reason}; guard needs Linux 5.15 or newer with CONFIG_DEBUG_INFO_BTF"
    )]
    Unsupported {
        /// What is missing.
        reason: String,
    },
    /// The pins would not outlive the daemon, or the place for them could not be made.
    #[error("{path}: {problem}")]
    Pins {
        /// The directory.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
        /// What the kernel said, where it said something.
        #[source]
        source: Option<io::Error>,
    },
    /// The kernel refused.
    #[error("{step} failed; run guard as root with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN")]
    Kernel {
        /// What was being done.
        step: String,
        /// What the kernel said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cgroup cannot be a session's.
    #[error("the session's cgroup cannot be tracked: {reason}")]
    Cgroup {
        /// Why not.
        reason: String,
    },
    /// No thread to read reports on.
    #[error("the reports of the kernel cannot be read: {0}")]
    Thread(#[from] io::Error),
}

impl Tracker {
    /// Loads and attaches the programs, pinned under `pins` (made; on a bpffs), takes over what programs of an
    /// earlier daemon there know, and removes those. Blocks for the verifier: some 100 ms.
    pub fn start(pins: &Path) -> Result<Self, TrackerError> {
        let Loaded {
            sessions,
            labels,
            allowed,
            events,
            refusals,
            links,
            enforced,
            limits,
        } = load::load(pins)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            reader: Mutex::new(Reader::new(events, refusals, sender)),
            members: Mutex::new(Members::new(sessions, labels, allowed)),
        });
        let thread = read_on_thread(Arc::clone(&shared))?;
        Ok(Self {
            shared,
            events: tokio::sync::Mutex::new(receiver),
            links,
            enforced,
            limits,
            thread: Some(thread),
        })
    }

    /// Makes the processes that come into a cgroup (of version 2) the session's, and with `existing` those that
    /// are in it already. What has been confined stays so until `release`, also without a daemon; a next daemon
    /// confines its sessions again, with `existing`.
    pub fn confine(
        &self,
        session: &SessionId,
        cgroup: BorrowedFd<'_>,
        existing: bool,
    ) -> Result<(), TrackerError> {
        let Some(number) = event::number_of(session) else {
            return Err(TrackerError::Cgroup {
                reason: format!("{session} is not a session's name"),
            });
        };
        let labelled = self.shared.members().confine(session, cgroup, existing)?;
        let mut reader = self.shared.reader();
        for (pid, started) in labelled {
            if let Some(known) = reader::outlined(pid, number, started) {
                reader.table.insert(pid, known);
            }
        }
        Ok(())
    }

    /// Kills the processes of a session wherever they are, also of one that an earlier daemon confined, and waits until
    /// they are gone. Blocks, up to ten seconds.
    ///
    /// # Errors
    /// Where one is not gone by then, and why.
    pub fn expel(&self, session: &SessionId) -> io::Result<()> {
        let deadline = Instant::now() + ENDING;
        let mut none = 0;
        while none < SURE {
            match self.shared.members().expel(session) {
                Ok(0) => {
                    none += 1;
                    continue;
                }
                Ok(left) if Instant::now() >= deadline => {
                    let text = format!("{left} of its processes were killed and do not end");
                    return Err(io::Error::other(text));
                }
                Err((pid, error)) if Instant::now() >= deadline => {
                    let text = format!("its process {pid} cannot be killed: {error}");
                    return Err(io::Error::other(text));
                }
                Ok(_) | Err(_) => none = 0,
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets the processes of a session go: they may leave its cgroup. One that is not confined is fine.
    pub fn release(&self, session: &SessionId) {
        self.shared.members().release(session);
        if let Some(number) = event::number_of(session) {
            let mut reader = self.shared.reader();
            reader.drain();
            reader.forget(number);
        }
    }

    /// The process of a session that has this number, or had it last; up to now, so that one is known before it
    /// can have made a connection. Those that ended are known for a while.
    pub fn process(&self, pid: u32) -> Option<Record> {
        let mut reader = self.shared.reader();
        reader.drain();
        let known = reader.table.get(pid)?;
        Some(Record {
            session: event::session_of(known.session)?,
            process: known.process(pid),
        })
    }

    /// Describes process `pid`, which called the kernel at `at` as `kernel::process::describe` does, from what the
    /// kernel reported of it where it did: also once it has ended. Reads `/proc` for others.
    pub fn describe(&self, pid: u32, uid: u32, comm: &str, at: u64) -> Process {
        match self.process(pid) {
            Some(Record { process, .. })
                if process.started.is_some_and(|started| started <= at) =>
            {
                Process {
                    uid,
                    comm: comm.to_owned(),
                    argv: process
                        .argv
                        .or_else(|| process::describe(pid, uid, comm, at).argv),
                    ..process
                }
            }
            _ => process::describe(pid, uid, comm, at),
        }
    }

    /// Waits for the next event.
    pub async fn next(&self) -> TrackedEvent {
        match self.events.lock().await.recv().await {
            Some(event) => event,
            // The reader lives as long as `self`.
            None => std::future::pending().await,
        }
    }

    /// Puts every event into the journal, in order, for ever. Nobody waits for the entries.
    pub async fn record(&self, journal: &Journal) {
        let mut events = Vec::with_capacity(TOGETHER);
        loop {
            self.events
                .lock()
                .await
                .recv_many(&mut events, TOGETHER)
                .await;
            // Together, so that they share their way to the disk.
            let mut appends: Vec<_> = events
                .drain(..)
                .map(|event| Box::pin(journal.append(event.entry())))
                .collect();
            poll_fn(|context| {
                appends.retain_mut(|append| match append.as_mut().poll(context) {
                    Poll::Pending => true,
                    Poll::Ready(Ok(_)) => false,
                    Poll::Ready(Err(error)) => {
                        tracing::error!(
                            "what a session's process did is not in the journal: {error}"
                        );
                        false
                    }
                });
                if appends.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    }

    /// Whether everything is as it was put: links attached and pinned, sessions and labels in the maps, and every
    /// labelled process where it belongs. To be asked every second, as what is not so once may be on its way; a fault
    /// about the host means that no session is held any more.
    pub fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.links.check(&mut faults);
        if self
            .thread
            .as_ref()
            .is_none_or(|(_, thread)| thread.is_finished())
        {
            faults.push(Fault {
                session: None,
                detail: "the thread that reads the kernel's reports has ended".to_owned(),
            });
        }
        self.shared.reader().drain();
        self.shared.members().check(&mut faults);
        faults
    }

    /// Lets a confined session reach unix sockets of processes outside, by the paths that they are bound to (107 bytes
    /// at the most). Only the security hooks ask for it.
    pub fn allow_unix(&self, session: &SessionId, paths: &[PathBuf]) -> Result<(), TrackerError> {
        self.shared.members().allow(session, paths)
    }

    /// What it enforces, for `guard status`: `process-tracking`, `sticky-membership`, `foreign-sockets` where the hooks
    /// at the root of the cgroups stand, `security-hooks` where all of the kernel's security hooks run guard's
    /// programs, otherwise `security-hook:NAME` for those that do.
    pub fn enforced(&self) -> Vec<String> {
        self.enforced.clone()
    }

    /// What it cannot enforce on this kernel, a sentence each.
    pub fn limits(&self) -> Vec<String> {
        self.limits.clone()
    }

    /// Unpins everything under `pins` and removes it: for a host where no session is left. Nothing there is
    /// success. The programs detach with the last handle.
    pub fn remove(pins: &Path) -> Result<(), TrackerError> {
        load::remove_all(pins)
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn reader(&self) -> MutexGuard<'_, Reader> {
        // Whole whatever a panicking thread did: each event is applied at once.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads reports until the stream that it returns is closed.
fn read_on_thread(shared: Arc<Shared>) -> io::Result<(UnixStream, JoinHandle<()>)> {
    let (stop, stopped) = UnixStream::pair()?;
    let (events, refusals) = {
        let reader = shared.reader();
        let clone = |ring: &load::Ring| ring.records.as_fd().try_clone_to_owned();
        (clone(&reader.events)?, clone(&reader.refusals)?)
    };
    let thread = thread::Builder::new()
        .name("tracker".to_owned())
        .spawn(move || {
            loop {
                let mut waiting = [
                    PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
                    PollFd::new(events.as_fd(), PollFlags::POLLIN),
                    PollFd::new(refusals.as_fd(), PollFlags::POLLIN),
                ];
                // An interrupted or failed wait is a short one.
                let _ = poll(&mut waiting, PollTimeout::from(IDLE));
                if waiting[0].any().unwrap_or(false) {
                    return;
                }
                shared.reader().drain();
            }
        })?;
    Ok((stop, thread))
}
