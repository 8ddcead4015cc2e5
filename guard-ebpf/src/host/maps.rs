//! Every map of the host-wide programs, with its size and lifetime, and where kernel structures have what.
//!
//! All maps are pinned and live until a next daemon has replaced them. The sizes are bounds on what confined
//! trees can make the kernel hold.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use guard_common::tracking::{
    ALLOWED_SOCKETS, AllowedSocket, LSM_HOOKS, Label, Offsets, TRACKED_PROCESSES, TRACKED_SESSIONS,
    TrackedSession,
};

/// What the loader sets, once, before the object is loaded. Its name is `Offsets::GLOBAL`.
#[unsafe(no_mangle)]
static OFFSETS: Global<Offsets> = Global::new(Offsets::NONE);

/// The offsets, to read one of.
#[inline(always)]
pub(crate) fn offsets() -> *const Offsets {
    // `Global` is transparent; reading all of them at once would fill the stack.
    (&raw const OFFSETS).cast()
}

/// The sessions, by the identifier of their cgroup. From `confine` until `release`.
#[map]
pub(crate) static SESSIONS: HashMap<u64, TrackedSession> =
    HashMap::with_max_entries(TRACKED_SESSIONS, 0);

/// The processes of sessions, by process id. From entering the cgroup, or from the fork, until the process'
/// last thread ends. A label whose session is gone counts for nothing.
#[map]
pub(crate) static LABELS: HashMap<u32, Label> = HashMap::with_max_entries(TRACKED_PROCESSES, 0);

/// Records for the daemon: 4 MiB, a multiple of every page size, hold about 750 of the longest.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4 * 1024 * 1024, 0);

/// How many records found no room in `EVENTS`.
#[map]
pub(crate) static LOST_EVENTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The same for refusals, apart from those: who provokes refusals must not drown what is executed. 64 KiB, about
/// 650.
#[map]
pub(crate) static REFUSALS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// How many refusals found no room in `REFUSALS`.
#[map]
pub(crate) static LOST_REFUSALS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The unix sockets outside that sessions may reach. As long as the session.
#[map]
pub(crate) static ALLOWED: HashMap<AllowedSocket, u32> =
    HashMap::with_max_entries(ALLOWED_SOCKETS, 0);

/// How often each security hook ran for the daemon, in the order of `LSM_HOOKS`.
#[map]
pub(crate) static CALLS: Array<u64> = Array::with_max_entries(LSM_HOOKS.len() as u32, 0);
