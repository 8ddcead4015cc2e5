//! Which session a process belongs to.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_send_signal};
use guard_common::tracking::{DEEPEST_LEVEL, Label, TICK};

use crate::kernel::{ancestor, cgroup_of, level_of, process_of, started};
use crate::maps::{LABELS, SESSIONS};

const SIGKILL: u32 = 9;

/// A session.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    pub(crate) cgroup: u64,
    pub(crate) level: u32,
    pub(crate) name: u64,
}

impl Session {
    /// Whether a cgroup is the session's or below it. One that cannot be read is not.
    #[inline(always)]
    pub(crate) fn holds(&self, cgroup: u64) -> bool {
        let deep_enough = level_of(cgroup).is_some_and(|level| level >= self.level);
        deep_enough && ancestor(cgroup, self.level) == Some(self.cgroup)
    }

    /// Whether a task is where the session's hooks hold it.
    #[inline(always)]
    pub(crate) fn holds_task(&self, task: u64) -> bool {
        cgroup_of(task).is_some_and(|cgroup| self.holds(cgroup))
    }
}

/// The running task.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_task() }
}

/// The session that a task's process is labelled with.
#[inline(always)]
pub(crate) fn label_of(task: u64) -> Option<Session> {
    let label = LABELS.get_ptr(process_of(task)?)?;
    // SAFETY: a value of the map; entries are written whole and then left alone.
    let Label {
        cgroup,
        started: at,
    } = unsafe { *label };
    if started(task)? / TICK != at / TICK {
        // The process that had this number.
        return None;
    }
    session(cgroup)
}

/// The session that the running process is labelled with. Nearly every process of a host has none, and most hooks
/// ask this first.
#[inline(always)]
pub(crate) fn label_of_current() -> Option<Session> {
    LABELS.get_ptr((bpf_get_current_pid_tgid() >> 32) as u32)?;
    label_of(current())
}

/// The session of a cgroup, by identifier.
#[inline(always)]
fn session(cgroup: u64) -> Option<Session> {
    let session = SESSIONS.get_ptr(cgroup)?;
    // SAFETY: as above.
    let session = unsafe { *session };
    Some(Session {
        cgroup,
        level: session.level,
        name: session.name,
    })
}

/// The session that a cgroup belongs to: its own, or that of the nearest one above the root.
#[inline(always)]
pub(crate) fn session_above(cgroup: u64) -> Option<Session> {
    let deepest = level_of(cgroup)?;
    for level in 1..=DEEPEST_LEVEL {
        if level > deepest {
            break;
        }
        if let Some(found) = session(ancestor(cgroup, level)?) {
            return Some(found);
        }
    }
    None
}

/// Labels the process of a task.
#[inline(always)]
pub(crate) fn label(task: u64, session: &Session) -> bool {
    let (Some(pid), Some(started)) = (process_of(task), started(task)) else {
        return false;
    };
    let label = Label {
        cgroup: session.cgroup,
        started,
    };
    LABELS.insert(pid, label, 0).is_ok()
}

/// Kills the running process before it is back in user space.
#[inline(always)]
pub(crate) fn kill_current() {
    // SAFETY: a helper that takes a number. It refuses for kernel threads and for init, which cannot be
    // confined, and for tasks that are ending.
    unsafe { bpf_send_signal(SIGKILL) };
}
