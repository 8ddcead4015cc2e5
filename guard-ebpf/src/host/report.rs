//! Records for the daemon.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_ktime_get_boot_ns};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::maps::PerCpuArray;
use guard_common::tracking::{HostRefusal, TrackingEvent, TrackingKind};
use guard_common::{COMM_LENGTH, Comm};

use crate::kernel::{process_of, started};
use crate::label::{Session, current};
use crate::maps::{EVENTS, LOST_EVENTS, LOST_REFUSALS, REFUSALS};

/// A record's head, about a task's process.
#[inline(always)]
pub(crate) fn head(kind: TrackingKind, session: &Session, task: u64) -> TrackingEvent {
    let mut comm = MaybeUninit::<Comm>::uninit();
    // SAFETY: the buffer has the length it is said to have.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LENGTH as u32) };
    TrackingEvent {
        // SAFETY: a helper without arguments.
        at: unsafe { bpf_ktime_get_boot_ns() },
        session: session.name,
        started: started(task).unwrap_or(0),
        parent_started: 0,
        // SAFETY: the helper writes the whole buffer, zeros where it fails.
        comm: unsafe { comm.assume_init() },
        kind: kind as u32,
        pid: process_of(task).unwrap_or(0),
        parent: 0,
        uid: bpf_get_current_uid_gid() as u32,
        actor: (bpf_get_current_pid_tgid() >> 32) as u32,
        code: 0,
        detail: 0,
        reserved: 0,
        path_length: 0,
        arguments_length: 0,
    }
}

/// Reports a head alone.
#[inline(always)]
pub(crate) fn report(event: &TrackingEvent) {
    if EVENTS.output::<TrackingEvent>(event, 0).is_err() {
        lost();
    }
}

/// Reports that something was refused to the running process.
#[inline(always)]
pub(crate) fn refused(session: &Session, refusal: HostRefusal, detail: u32) {
    let mut event = head(TrackingKind::Refused, session, current());
    event.code = refusal as u32;
    event.detail = detail;
    if REFUSALS.output::<TrackingEvent>(&event, 0).is_err() {
        count(&LOST_REFUSALS);
    }
}

/// Counts a record that found no room.
#[inline(always)]
pub(crate) fn lost() {
    count(&LOST_EVENTS);
}

#[inline(always)]
fn count(lost: &PerCpuArray<u64>) {
    if let Some(lost) = lost.get_ptr_mut(0) {
        // SAFETY: this CPU's own counter, from the map. A program that interrupts this one on the same CPU may
        // lose a count, never more.
        unsafe { *lost += 1 };
    }
}
