//! Who makes a system call, and reporting that it was refused.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_ktime_get_boot_ns};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use guard_common::{COMM_LENGTH, Caller, Comm, Endpoint, Refusal, RefusalCode};

use crate::maps::{LOST_REFUSALS, REFUSALS};

/// What a hook's return value means to the kernel.
pub(crate) const ALLOW: i32 = 1;
/// As `ALLOW`; the system call ends with `EPERM`, a packet is dropped.
pub(crate) const REFUSE: i32 = 0;

/// The socket that a refusal is about.
pub(crate) struct Socket {
    pub(crate) family: u32,
    pub(crate) kind: u32,
    pub(crate) protocol: u32,
}

/// The calling process. Only for hooks that run in a system call.
#[inline(always)]
pub(crate) fn caller() -> Caller {
    let mut comm = MaybeUninit::<Comm>::uninit();
    // SAFETY: the buffer has the length it is said to have.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LENGTH as u32) };
    Caller {
        // SAFETY: a helper without arguments.
        at: unsafe { bpf_ktime_get_boot_ns() },
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        uid: bpf_get_current_uid_gid() as u32,
        // SAFETY: the helper writes the whole buffer, zeros where it fails.
        comm: unsafe { comm.assume_init() },
    }
}

/// Reports what the calling process was refused, and gives what the hook returns.
#[inline(always)]
pub(crate) fn refuse(code: RefusalCode, destination: Endpoint, socket: &Socket) -> i32 {
    report(caller(), code, destination, socket)
}

/// The same with the caller given. A full ring buffer is counted.
#[inline(always)]
pub(crate) fn report(
    caller: Caller,
    code: RefusalCode,
    destination: Endpoint,
    socket: &Socket,
) -> i32 {
    let refusal = Refusal {
        caller,
        destination,
        code: code as u32,
        family: socket.family,
        kind: socket.kind,
        protocol: socket.protocol,
    };
    if REFUSALS.output::<Refusal>(&refusal, 0).is_err()
        && let Some(lost) = LOST_REFUSALS.get_ptr_mut(0)
    {
        // SAFETY: this CPU's own counter, from the map. A program that interrupts this one on the
        // same CPU may lose a count, never more.
        unsafe { *lost += 1 };
    }
    REFUSE
}
