//! Reads the kernel's reports: keeps the table of processes, kills what must be killed, and passes on what the
//! journal is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guard_common::Comm;
use guard_common::tracking::{TrackingEvent, TrackingKind};
use tokio::sync::mpsc;

use super::event::{self, TrackedEvent, session_of};
use super::load::Ring;
use super::pidfd;
use super::table::{Known, PARENTS, Table};
use crate::kernel::process;
use crate::record::entry::Process;

/// Executed programs that a session has in the journal at once, and per second after that.
const EXECUTED: Rate = Rate {
    burst: 400,
    per_second: 100,
};
/// The same for refusals.
const REFUSED: Rate = Rate {
    burst: 100,
    per_second: 20,
};

/// Records read at once.
const AT_ONCE: usize = 16_384;

/// The kernel's reports, and what became of them.
pub(super) struct Reader {
    pub(super) events: Ring,
    pub(super) refusals: Ring,
    pub(super) table: Table,
    /// How many lost reports were told of.
    told: u64,
    /// By session: executed programs, refusals.
    paces: HashMap<u64, (Pace, Pace)>,
    sender: mpsc::Sender<TrackedEvent>,
    /// Events that found no room in the channel.
    dropped: u64,
}

/// How much a session may have in the journal.
#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    per_second: u32,
}

/// How much of one kind a session may still have in the journal.
struct Pace {
    rate: Rate,
    left: u32,
    since: Instant,
    skipped: u64,
}

impl Reader {
    pub(super) fn new(events: Ring, refusals: Ring, sender: mpsc::Sender<TrackedEvent>) -> Self {
        Self {
            events,
            refusals,
            table: Table::default(),
            told: 0,
            paces: HashMap::new(),
            sender,
            dropped: 0,
        }
    }

    /// Reads what there is, or the most at once that is sensible.
    pub(super) fn drain(&mut self) {
        for _ in 0..AT_ONCE {
            // Copied, so that the room in the ring buffer is free again before anything else is done.
            let Some(record) = self.next() else {
                break;
            };
            let Some(event) = TrackingEvent::from_bytes(&record) else {
                continue;
            };
            if let Some(told) = self.apply(&event, &record) {
                self.tell(event.session, told);
            }
        }
        self.catch_up();
    }

    /// The next record. Refusals come last: the table is what they are told with.
    fn next(&mut self) -> Option<Vec<u8>> {
        let record = self.events.records.next().map(|record| record.to_vec());
        record.or_else(|| self.refusals.records.next().map(|record| record.to_vec()))
    }

    /// Forgets a session.
    pub(super) fn forget(&mut self, session: u64) {
        self.table.retain(|_, known| known.session != session);
        self.paces.remove(&session);
    }

    fn apply(&mut self, event: &TrackingEvent, record: &[u8]) -> Option<TrackedEvent> {
        let session = session_of(event.session)?;
        let kind = TrackingKind::from_number(event.kind)?;
        let table = &mut self.table;
        match kind {
            TrackingKind::Forked => {
                table.forked(event.pid, (event.parent, event.parent_started), seen(event));
                None
            }
            TrackingKind::Entered => {
                let known = outlined(event.pid, event.session, event.started);
                let known = known.unwrap_or_else(|| Known {
                    parents: parents(event),
                    ..seen(event)
                });
                table.insert(event.pid, known);
                None
            }
            TrackingKind::Exited => {
                table.ended(event.pid, event.started);
                None
            }
            TrackingKind::Executed => {
                let known = table.find(event.pid, event.started);
                let parents = known.map(|known| std::mem::take(&mut known.parents));
                let known = Known {
                    exe: event::path(event, record).map(Arc::from),
                    argv: event::argv(event, record).map(Arc::from),
                    parents: parents.unwrap_or_default(),
                    ..seen(event)
                };
                let process = known.process(event.pid);
                table.insert(event.pid, known);
                Some(TrackedEvent::Executed { session, process })
            }
            TrackingKind::Left | TrackingKind::Unlabelled => {
                let killed = pidfd::kill(event.pid, event.started);
                if let Err(error) = &killed {
                    tracing::error!(
                        "session {session}: process {} outside of it cannot be killed: {error}",
                        event.pid
                    );
                }
                let (code, detail) = fate(kind, event);
                Some(TrackedEvent::Refused {
                    session,
                    process: Some(process_of(table, event)),
                    code,
                    detail,
                })
            }
            TrackingKind::Refused => {
                let (code, detail) = event::refusal(event);
                Some(TrackedEvent::Refused {
                    session,
                    process: Some(process_of(table, event)),
                    code,
                    detail,
                })
            }
        }
    }

    /// Passes an event on, within its session's pace.
    fn tell(&mut self, session: u64, event: TrackedEvent) {
        let (executed, refused) = self
            .paces
            .entry(session)
            .or_insert_with(|| (Pace::full(EXECUTED), Pace::full(REFUSED)));
        let pace = match event {
            TrackedEvent::Executed { .. } => executed,
            _ => refused,
        };
        if pace.take() {
            self.send(event);
        }
    }

    fn send(&mut self, event: TrackedEvent) {
        if self.sender.try_send(event).is_err() {
            self.dropped += 1;
        }
    }

    /// Tells what was skipped and lost, once there is room to tell it.
    fn catch_up(&mut self) {
        let mut skipped = Vec::new();
        for (number, (executed, refused)) in &mut self.paces {
            let Some(session) = session_of(*number) else {
                continue;
            };
            if let Some(count) = executed.caught_up() {
                let session = session.clone();
                skipped.push(TrackedEvent::Unrecorded { session, count });
            }
            if let Some(count) = refused.caught_up() {
                skipped.push(TrackedEvent::Refused {
                    session,
                    process: None,
                    code: "lost-reports",
                    detail: format!(
                        "{count} more refusals came faster than they could be recorded"
                    ),
                });
            }
        }
        for event in skipped {
            self.send(event);
        }
        let lost = lost(&self.events) + lost(&self.refusals);
        let count = lost.saturating_sub(self.told) + self.dropped;
        if count > 0 && self.sender.try_send(TrackedEvent::Lost { count }).is_ok() {
            self.told = lost;
            self.dropped = 0;
        }
    }
}

/// How many records found no room in a ring buffer.
fn lost(ring: &Ring) -> u64 {
    ring.lost.get(&0, 0).map_or(0, |lost| lost.iter().sum())
}

impl Pace {
    fn full(rate: Rate) -> Self {
        Self {
            rate,
            left: rate.burst,
            since: Instant::now(),
            skipped: 0,
        }
    }

    /// Takes one, or counts it as skipped.
    fn take(&mut self) -> bool {
        self.refill();
        let taken = self.left.checked_sub(1);
        match taken {
            Some(left) => self.left = left,
            None => self.skipped += 1,
        }
        taken.is_some()
    }

    /// How many were skipped, once there is room again.
    fn caught_up(&mut self) -> Option<u64> {
        if self.skipped == 0 {
            return None;
        }
        self.refill();
        (self.left > 0).then(|| std::mem::take(&mut self.skipped))
    }

    fn refill(&mut self) {
        let passed = self.since.elapsed();
        if passed >= Duration::from_secs(1) {
            let seconds = u32::try_from(passed.as_secs()).unwrap_or(u32::MAX);
            self.left = self
                .left
                .saturating_add(seconds.saturating_mul(self.rate.per_second))
                .min(self.rate.burst);
            self.since = Instant::now();
        }
    }
}

/// The process that an event is about.
fn process_of(table: &mut Table, event: &TrackingEvent) -> Process {
    match table.find(event.pid, event.started) {
        Some(known) => known.process(event.pid),
        None => seen(event).process(event.pid),
    }
}

/// What an event alone tells of its process.
fn seen(event: &TrackingEvent) -> Known {
    Known {
        session: event.session,
        started: event.started,
        uid: event.uid,
        comm: comm(event.comm),
        exe: None,
        argv: None,
        parents: Vec::new(),
    }
}

/// What /proc tells of a process that came from outside; `None` if it is gone.
pub(super) fn outlined(pid: u32, session: u64, started: u64) -> Option<Known> {
    let process = process::outline(pid)?;
    let at = process.started?;
    (super::table::floor(started) == at).then(|| Known {
        session,
        started,
        uid: owner(pid).unwrap_or(u32::MAX),
        comm: process.comm,
        exe: process.exe.map(Arc::from),
        argv: None,
        parents: process
            .parents
            .into_iter()
            .map(|parent| (parent.pid, parent.exe.map(Arc::from)))
            .collect(),
    })
}

/// The parents of a process that is gone, from the one that its event names.
fn parents(event: &TrackingEvent) -> Vec<(u32, Option<Arc<str>>)> {
    let Some(parent) = outlined(event.parent, event.session, event.parent_started) else {
        return Vec::new();
    };
    std::iter::once((event.parent, parent.exe))
        .chain(parent.parents)
        .take(PARENTS)
        .collect()
}

fn owner(pid: u32) -> Option<u32> {
    let directory = std::fs::metadata(format!("/proc/{pid}")).ok()?;
    Some(std::os::unix::fs::MetadataExt::uid(&directory))
}

fn fate(kind: TrackingKind, event: &TrackingEvent) -> (&'static str, String) {
    if kind == TrackingKind::Unlabelled {
        let detail = "the host's table of confined processes is full, so the process was killed";
        return ("process-limit", detail.to_owned());
    }
    let mover = if event.actor == event.pid {
        "it moved itself".to_owned()
    } else {
        format!("process {} put it there", event.actor)
    };
    (
        "left-cgroup",
        format!("the process was outside of its session's cgroup ({mover}), so it was killed"),
    )
}

fn comm(comm: Comm) -> String {
    let bytes: Vec<u8> = comm.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
