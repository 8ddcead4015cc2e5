//! Every map of a session, with its size and lifetime, and its settings.
//!
//! All of them are pinned in the session's directory of guard's bpffs and live until the session is
//! removed. The sizes are bounds on what the confined tree can make the kernel hold.

use aya_ebpf::Global;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{HashMap, LruHashMap, PerCpuArray, RingBuf};
use guard_common::{Endpoint, Origin, OriginKey, Settings};

use crate::marks::Marks;

/// What the loader sets, once, before the object is loaded. Its name is `Settings::GLOBAL`.
#[unsafe(no_mangle)]
static SETTINGS: Global<Settings> = Global::new(Settings {
    gateway_port: 0,
    resolver_port: 0,
    network: 0,
});

/// The settings, if they are set.
#[inline(always)]
pub(crate) fn settings() -> Option<Settings> {
    let settings = SETTINGS.load();
    settings.are_set().then_some(settings)
}

/// Connections, and sockets with a resolver, that are remembered at a time. What is evicted fails
/// closed: the gateway resets a connection whose origin it does not find, and a peer's or a server's
/// address is shown as it is, 127.0.0.1 or ::1.
const REMEMBERED: u32 = 16_384;

/// Where a redirected TCP socket wanted to go, by socket cookie. From `connect` until the socket is
/// released or connects elsewhere.
#[map]
pub(crate) static ORIGINS_BY_SOCKET: LruHashMap<u64, Origin> =
    LruHashMap::with_max_entries(REMEMBERED, 0);

/// The same for the gateway, which knows the client's port only. From just before the SYN until the
/// gateway takes it out, or the port connects again.
#[map]
pub(crate) static ORIGINS: LruHashMap<OriginKey, Origin> =
    LruHashMap::with_max_entries(REMEMBERED, 0);

/// The DNS server that a UDP socket last wanted, by socket cookie. From `connect` or `sendto` until the
/// socket is released or connects elsewhere.
#[map]
pub(crate) static DNS_SERVERS: LruHashMap<u64, Endpoint> =
    LruHashMap::with_max_entries(REMEMBERED, 0);

/// `Refusal` records for the daemon: 64 KiB, a multiple of every page size, hold about 800.
#[map]
pub(crate) static REFUSALS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// How many records found no room in `REFUSALS`.
#[map]
pub(crate) static LOST_REFUSALS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Loopback ports of others that a session in a shared network namespace may reach. Filled by the loader,
/// which allows as many as fit.
#[map]
pub(crate) static LOOPBACK_PORTS: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);

/// A `SocketMark` per socket, in a shared network namespace. An entry lives as long as its socket, and
/// accepted sockets have their listener's; the kernel holds it with the socket's other memory.
#[btf_map]
pub(crate) static SOCKET_MARKS: Marks = Marks::new();
