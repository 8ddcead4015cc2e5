//! The ABI between guard's eBPF programs and its daemon, and nothing else.
//!
//! Both sides are built from this crate: `guard-ebpf` fills these types in the kernel, the daemon's
//! `kernel` module reads them. All of them are `repr(C)`, hold integers only and have no padding; the
//! tests of each file hold the layout. Feature `user` adds aya's `Pod`.
#![no_std]
#![allow(
    clippy::inline_always,
    reason = "eBPF programs may not call out where the verifier must follow"
)]

mod endpoint;
mod origin;
#[cfg(feature = "user")]
mod pod;
mod refusal;
mod settings;
pub mod tracking;

pub use endpoint::Endpoint;
pub use origin::{Origin, OriginKey};
pub use refusal::{Refusal, RefusalCode, UNIX_ADDRESS};
pub use settings::{Settings, SocketMark};

/// Bytes of a task's name, the final zero byte included (`TASK_COMM_LEN`, include/linux/sched.h).
pub const COMM_LENGTH: usize = 16;

/// A task's name, ended by a zero byte: its bytes in memory order, as words, because the eBPF compiler
/// copies bytes one at a time.
pub type Comm = [u64; COMM_LENGTH / 8];

/// The process that made a system call, as the hook saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caller {
    /// `CLOCK_BOOTTIME` nanoseconds of the call.
    pub at: u64,
    /// Thread group id, in the initial pid namespace.
    pub pid: u32,
    /// User id, in the initial user namespace.
    pub uid: u32,
    /// The task's name.
    pub comm: Comm,
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn caller_has_no_padding() {
        assert_eq!(size_of::<Caller>(), 8 + 4 + 4 + COMM_LENGTH);
        assert_eq!(offset_of!(Caller, pid), 8);
        assert_eq!(offset_of!(Caller, uid), 12);
        assert_eq!(offset_of!(Caller, comm), 16);
    }
}
