//! `cgroup/dev`: which devices the session may open.
//!
//! What ordinary work needs: the devices without hardware, and terminals. Everything else is refused:
//! network devices (tun, vhost) and memory lead out, disks hold everybody's files, and /dev/kvm, /dev/fuse,
//! GPUs (195, 226) and the rest are large drivers that no agent needs to read and write code. Devices are
//! never made (mknod), not even these.

use aya_ebpf::bindings::{BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_DEV_CHAR, bpf_cgroup_dev_ctx};
use aya_ebpf::macros::cgroup_device;
use aya_ebpf::programs::DeviceContext;
use guard_common::{Caller, Endpoint, RefusalCode};

use crate::caller::{ALLOW, Socket, caller, report};
use crate::maps::settings;
use crate::volatile::read;

/// Major numbers (Documentation/admin-guide/devices.txt).
const MEMORY: u32 = 1;
const TERMINALS: u32 = 5;
const PSEUDO_TERMINALS: core::ops::RangeInclusive<u32> = 136..=143;

#[cgroup_device]
pub(crate) fn device(context: DeviceContext) -> i32 {
    decide(context.device, caller)
}

/// The same for kernels that tell this hook nothing of the caller (before 6.1).
#[cgroup_device]
pub(crate) fn device_unattributed(context: DeviceContext) -> i32 {
    decide(context.device, || Caller {
        at: 0,
        pid: 0,
        uid: 0,
        comm: [0; 2],
    })
}

#[inline(always)]
fn decide(context: *mut bpf_cgroup_dev_ctx, caller: impl Fn() -> Caller) -> i32 {
    // The kind of device in the low half, what is done with it in the high one.
    let access = read!(context, access_type);
    let (kind, access) = (access & 0xffff, access >> 16);
    let (major, minor) = (read!(context, major), read!(context, minor));
    let code = if settings().is_none() {
        RefusalCode::Unset
    } else if kind == BPF_DEVCG_DEV_CHAR
        && access & BPF_DEVCG_ACC_MKNOD == 0
        && is_ordinary(major, minor)
    {
        return ALLOW;
    } else {
        RefusalCode::Device
    };
    let device = Socket {
        family: kind,
        kind: major,
        protocol: minor,
    };
    report(caller(), code, Endpoint::NONE, &device)
}

#[inline(always)]
fn is_ordinary(major: u32, minor: u32) -> bool {
    match major {
        // null, zero, full, random, urandom
        MEMORY => matches!(minor, 3 | 5 | 7 | 8 | 9),
        // tty, console, ptmx
        TERMINALS => minor <= 2,
        _ => PSEUDO_TERMINALS.contains(&major),
    }
}
