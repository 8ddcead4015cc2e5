//! The processes of sessions as the kernel reported them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use guard_common::tracking::TICK;

use crate::record::entry::{Parent, Process};

/// Parents that are kept with a process.
pub(super) const PARENTS: usize = 8;
/// Processes that have ended and are still known.
const ENDED: usize = 4096;

/// A process.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) session: u64,
    pub(super) started: u64,
    pub(super) uid: u32,
    pub(super) comm: String,
    pub(super) exe: Option<Arc<str>>,
    pub(super) argv: Option<Arc<[String]>>,
    pub(super) parents: Vec<(u32, Option<Arc<str>>)>,
}

impl Known {
    /// As the journal has it.
    pub(super) fn process(&self, pid: u32) -> Process {
        Process {
            pid,
            uid: self.uid,
            comm: self.comm.clone(),
            exe: self.exe.as_deref().map(str::to_owned),
            argv: self.argv.as_deref().map(<[String]>::to_vec),
            started: Some(floor(self.started)),
            parents: self
                .parents
                .iter()
                .map(|(pid, exe)| Parent {
                    pid: *pid,
                    exe: exe.as_deref().map(str::to_owned),
                })
                .collect(),
        }
    }
}

/// A start as the journal has it: rounded down to a clock tick, as /proc tells it.
pub(super) fn floor(started: u64) -> u64 {
    started / TICK * TICK
}

/// The processes that run, and those that ended last. Bounded: the kernel labels no more than
/// `TRACKED_PROCESSES` at a time.
#[derive(Debug, Default)]
pub(super) struct Table {
    known: HashMap<u32, Known>,
    /// Number and start of the ended ones, oldest first.
    ended: VecDeque<(u32, u64)>,
}

impl Table {
    /// The process that has a number, or had it last.
    pub(super) fn get(&self, pid: u32) -> Option<&Known> {
        self.known.get(&pid)
    }

    /// The process with a number and a start.
    pub(super) fn find(&mut self, pid: u32, started: u64) -> Option<&mut Known> {
        let known = self.known.get_mut(&pid)?;
        (floor(known.started) == floor(started)).then_some(known)
    }

    /// A process that is new, or replaces what is known of it.
    pub(super) fn insert(&mut self, pid: u32, known: Known) {
        self.known.insert(pid, known);
    }

    /// What a process is that another one has just made: the same program, until it executes another one.
    pub(super) fn forked(&mut self, pid: u32, parent: (u32, u64), child: Known) {
        let mut child = child;
        if let Some(known) = self.find(parent.0, parent.1) {
            child.exe.clone_from(&known.exe);
            child.argv.clone_from(&known.argv);
            child.parents = std::iter::once((parent.0, known.exe.clone()))
                .chain(known.parents.iter().cloned())
                .take(PARENTS)
                .collect();
        } else {
            child.parents = vec![(parent.0, None)];
        }
        self.insert(pid, child);
    }

    /// Remembers that a process has ended, and forgets the one that ended longest ago.
    pub(super) fn ended(&mut self, pid: u32, started: u64) {
        if self.find(pid, started).is_none() {
            return;
        }
        self.ended.push_back((pid, started));
        if self.ended.len() > ENDED
            && let Some((pid, started)) = self.ended.pop_front()
            && self.find(pid, started).is_some()
        {
            self.known.remove(&pid);
        }
    }

    /// Forgets the processes of a session, and those of which `gone` says that they are gone.
    pub(super) fn retain(&mut self, keep: impl Fn(u32, &Known) -> bool) {
        self.known.retain(|pid, known| keep(*pid, known));
        let known = &self.known;
        self.ended.retain(|(pid, started)| {
            known
                .get(pid)
                .is_some_and(|known| floor(known.started) == floor(*started))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(started: u64) -> Known {
        Known {
            session: 1,
            started,
            uid: 0,
            comm: "sh".to_owned(),
            exe: None,
            argv: None,
            parents: Vec::new(),
        }
    }

    fn executed(started: u64, exe: &str) -> Known {
        Known {
            exe: Some(exe.into()),
            argv: Some(vec![exe.to_owned()].into()),
            ..known(started)
        }
    }

    #[test]
    fn a_child_is_its_parents_program_and_knows_eight_parents() {
        let mut table = Table::default();
        table.insert(100, executed(TICK, "/bin/sh"));
        for pid in 101..=110_u32 {
            let started = u64::from(pid - 99) * TICK;
            table.forked(pid, (pid - 1, started - TICK), known(started));
        }
        let last = table.get(110).unwrap().process(110);
        assert_eq!(last.exe.as_deref(), Some("/bin/sh"));
        let parents: Vec<u32> = last.parents.iter().map(|parent| parent.pid).collect();
        assert_eq!(parents, [109, 108, 107, 106, 105, 104, 103, 102]);
        assert_eq!(last.started, Some(11 * TICK));
    }

    #[test]
    fn a_later_process_with_the_number_is_another_one() {
        let mut table = Table::default();
        table.insert(7, executed(TICK, "/bin/old"));
        assert!(table.find(7, 2 * TICK).is_none());
        table.forked(8, (7, 9 * TICK), known(10 * TICK));
        let child = table.get(8).unwrap().process(8);
        assert_eq!((child.exe, child.parents.len()), (None, 1));
    }

    #[test]
    fn ended_ones_are_kept_a_while_and_bounded() {
        let mut table = Table::default();
        for pid in 0..2 * u32::try_from(ENDED).unwrap() {
            table.insert(pid, known(TICK));
            table.ended(pid, TICK);
        }
        assert_eq!(table.known.len(), ENDED);
        assert!(table.get(0).is_none());
        assert!(table.get(2 * u32::try_from(ENDED).unwrap() - 1).is_some());
        // A number that is given out again is not forgotten with its predecessor.
        table.insert(5000, known(3 * TICK));
        for pid in 10_000..10_000 + u32::try_from(ENDED).unwrap() {
            table.insert(pid, known(TICK));
            table.ended(pid, TICK);
        }
        assert!(table.get(5000).is_some());
    }
}
