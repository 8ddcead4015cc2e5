//! `sched_process_fork`, `sched_process_exec`, `sched_process_exit`: the processes of sessions.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use guard_common::tracking::{ARGUMENTS_BYTES, PATH_BYTES, TrackingEvent, TrackingKind};

use crate::cgroup::{entered, left};
use crate::kernel::{cgroup_of, offset, process_of, read, started};
use crate::label::{Session, kill_current, label, label_of, session_above};
use crate::maps::{EVENTS, LABELS};
use crate::path::write_path;
use crate::report::{head, lost, report};

/// The child's label. It does not run yet, and its cgroup is final: `clone3` may have put it into another
/// one than its parent's, without `cgroup_attach_task`.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn sched_process_fork(context: RawTracePointContext) -> i32 {
    // (struct task_struct *parent, struct task_struct *child)
    let _ = forked(context.arg(0), context.arg(1));
    0
}

#[inline(always)]
fn forked(parent: u64, child: u64) -> Option<()> {
    let inherited = label_of(parent);
    let cgroup = cgroup_of(child)?;
    let session = match inherited {
        Some(session) => session,
        None => session_above(cgroup)?,
    };
    let is_process = process_of(child)? == read::<u32>(child, offset!(task_pid))?;
    if is_process {
        let labelled = label(child, &session);
        let kind = if labelled {
            TrackingKind::Forked
        } else {
            TrackingKind::Unlabelled
        };
        let mut event = head(kind, &session, child);
        event.parent = process_of(parent)?;
        event.parent_started = started(parent)?;
        report(&event);
        if !labelled && inherited.is_some() {
            // A tree that fills the table ends itself; the daemon kills the child.
            kill_current();
        }
    }
    if !session.holds(cgroup) {
        left(child, &session);
    }
    Some(())
}

/// The end of a process: its last thread's.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn sched_process_exit(context: RawTracePointContext) -> i32 {
    // (struct task_struct *task, …)
    let _ = exited(context.arg(0));
    0
}

#[inline(always)]
fn exited(task: u64) -> Option<()> {
    let pid = process_of(task)?;
    LABELS.get_ptr(pid)?;
    // Counted down before this.
    let live: i32 = read(read(task, offset!(task_signal))?, offset!(signal_live))?;
    if live != 0 {
        return None;
    }
    let session = label_of(task);
    let _ = LABELS.remove(pid);
    report(&head(TrackingKind::Exited, &session?, task));
    Some(())
}

/// What a process executes, from the kernel: its file's path, and the arguments where they have just been put.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn sched_process_exec(context: RawTracePointContext) -> i32 {
    // (struct task_struct *task, pid_t old_pid, struct linux_binprm *program)
    let _ = executed(context.arg(0));
    0
}

#[inline(always)]
fn executed(task: u64) -> Option<()> {
    let session = match label_of(task) {
        Some(session) => session,
        None => {
            let session = session_above(cgroup_of(task)?)?;
            entered(task, &session);
            session
        }
    };
    if !session.holds_task(task) {
        left(task, &session);
    }
    report_execution(task, &session);
    Some(())
}

/// A record with its path and arguments.
#[repr(C)]
struct Execution {
    head: TrackingEvent,
    path: [u8; PATH_BYTES],
    arguments: [u8; ARGUMENTS_BYTES],
}

#[inline(always)]
fn report_execution(task: u64, session: &Session) {
    let Some(mut entry) = EVENTS.reserve::<Execution>(0) else {
        lost();
        return;
    };
    let record = entry.as_mut_ptr();
    let mut event = head(TrackingKind::Executed, session, task);
    // SAFETY: within the reserved record, which nothing else sees before it is submitted.
    let (to, path, arguments) = unsafe {
        (
            &raw mut (*record).head,
            &raw mut (*record).path,
            &raw mut (*record).arguments,
        )
    };
    event.arguments_length = write_arguments(task, arguments.cast());
    // SAFETY: as above.
    let length = unsafe {
        to.write(event);
        &raw mut (*to).path_length
    };
    write_path(task, path.cast(), length);
    entry.submit(0);
}

/// Writes up to `ARGUMENTS_BYTES` of the arguments and returns how many.
#[inline(always)]
fn write_arguments(task: u64, to: *mut u8) -> u32 {
    let mm = read(task, offset!(task_mm)).unwrap_or(0);
    let start: u64 = read(mm, offset!(mm_arg_start)).unwrap_or(0);
    let end: u64 = read(mm, offset!(mm_arg_end)).unwrap_or(0);
    let length = end.saturating_sub(start);
    let length = if length > ARGUMENTS_BYTES as u64 {
        ARGUMENTS_BYTES as u64
    } else {
        length
    };
    // SAFETY: the record has ARGUMENTS_BYTES there; the helper checks the source.
    let result = unsafe { bpf_probe_read_user(to.cast(), length as u32, start as *const _) };
    if result == 0 { length as u32 } else { 0 }
}
