//! `cgroup_skb`: what leaves and reaches the session's sockets, whichever way they came about.
//!
//! The net under the other hooks: only packets on the loopback device pass. The device counts and not
//! the address, because a socket bound to another device sends loopback addresses out of it. These
//! hooks also run outside of system calls, so they report nothing: the current process may be any.

use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;

use crate::caller::{ALLOW, REFUSE};
use crate::maps::settings;
use crate::volatile::read;

/// `LOOPBACK_IFINDEX` (include/net/flow.h): the first device of every network namespace.
const LOOPBACK: u32 = 1;

#[cgroup_skb(egress)]
pub(crate) fn egress(context: SkBuffContext) -> i32 {
    on_loopback(&context)
}

#[cgroup_skb(ingress)]
pub(crate) fn ingress(context: SkBuffContext) -> i32 {
    on_loopback(&context)
}

#[inline(always)]
fn on_loopback(context: &SkBuffContext) -> i32 {
    if settings().is_some() && read!(context.skb.skb, ifindex) == LOOPBACK {
        ALLOW
    } else {
        REFUSE
    }
}
