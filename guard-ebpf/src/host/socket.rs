//! `cgroup/sock_create`, `cgroup/connect`, `sendmsg` and `bind` at the root of the cgroups: what a session's hooks do
//! not see.
//!
//! A session's hooks run for sockets that were made in its cgroup. These run for all: a process of a session gets no
//! socket while it is outside of the cgroup, which is for a moment at the most, and connects none that was made
//! elsewhere, however it came by it.

use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SockAddrContext, SockContext};
use guard_common::tracking::HostRefusal;

use crate::kernel::{offset, read};
use crate::label::{Session, current, label_of_current};
use crate::peer::is_own;
use crate::report::refused;

/// What a hook's return value means to the kernel.
const ALLOW: i32 = 1;
/// The system call ends with `EPERM`.
const REFUSE: i32 = 0;

#[cgroup_sock(sock_create)]
pub(crate) fn root_sock_create(_context: SockContext) -> i32 {
    match label_of_current() {
        Some(session) if is_outside(&session) => REFUSE,
        _ => ALLOW,
    }
}

#[cgroup_sock_addr(connect4)]
pub(crate) fn root_connect4(context: SockAddrContext) -> i32 {
    judge(&context)
}

#[cgroup_sock_addr(connect6)]
pub(crate) fn root_connect6(context: SockAddrContext) -> i32 {
    judge(&context)
}

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn root_sendmsg4(context: SockAddrContext) -> i32 {
    judge(&context)
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn root_sendmsg6(context: SockAddrContext) -> i32 {
    judge(&context)
}

#[cgroup_sock_addr(bind4)]
pub(crate) fn root_bind4(context: SockAddrContext) -> i32 {
    judge(&context)
}

#[cgroup_sock_addr(bind6)]
pub(crate) fn root_bind6(context: SockAddrContext) -> i32 {
    judge(&context)
}

#[inline(always)]
fn judge(context: &SockAddrContext) -> i32 {
    let Some(session) = label_of_current() else {
        return ALLOW;
    };
    if is_outside(&session) {
        return REFUSE;
    }
    // The kernel's own context, not the one that programs see: of that one's socket no member may be read.
    let sock = read(context.sock_addr as u64, offset!(sock_addr_sk)).unwrap_or(0);
    if is_own(&session, sock) {
        return ALLOW;
    }
    refused(&session, HostRefusal::ForeignSocket, 0);
    REFUSE
}

/// Whether the running task is outside of its session's cgroup, which is reported.
#[inline(always)]
fn is_outside(session: &Session) -> bool {
    let outside = !session.holds_task(current());
    if outside {
        refused(session, HostRefusal::Outside, 0);
    }
    outside
}
