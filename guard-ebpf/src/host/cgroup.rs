//! `cgroup_attach_task`: processes that come into a session, and those that leave it.
//!
//! It runs in the task that moves another one, or itself, once the move is done. A task that moved itself dies
//! before its next instruction in user space. A signal can be sent to the running task only, so a task that
//! another one moved is the daemon's to kill.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use guard_common::tracking::TrackingKind;

use crate::kernel::{is_unified, offset, process_of, read, started};
use crate::label::{Session, current, kill_current, label, label_of, session_above};
use crate::report::{head, report};

#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(context: RawTracePointContext) -> i32 {
    // (struct cgroup *to, const char *path, struct task_struct *task, bool threadgroup)
    moved(context.arg(0), context.arg(2));
    0
}

#[inline(always)]
fn moved(to: u64, task: u64) {
    if !is_unified(to) {
        return;
    }
    // Not where the task is: that is the process' first one, which stays behind if it has ended.
    match label_of(task) {
        Some(session) if session.holds(to) => {}
        Some(session) => left(task, &session),
        None => {
            if let Some(session) = session_above(to) {
                entered(task, &session);
            }
        }
    }
}

/// Kills what left, or has the daemon do it, and who moved it if that is a session's too.
#[inline(always)]
pub(crate) fn left(task: u64, session: &Session) {
    report(&head(TrackingKind::Left, session, task));
    let own = process_of(task) == Some((bpf_get_current_pid_tgid() >> 32) as u32);
    if own || label_of(current()).is_some() {
        kill_current();
    }
}

/// Labels what came in.
#[inline(always)]
pub(crate) fn entered(task: u64, session: &Session) {
    let kind = if label(task, session) {
        TrackingKind::Entered
    } else {
        TrackingKind::Unlabelled
    };
    let mut event = head(kind, session, task);
    let parent = read(task, offset!(task_real_parent)).unwrap_or(0);
    event.parent = process_of(parent).unwrap_or(0);
    event.parent_started = started(parent).unwrap_or(0);
    report(&event);
}
