//! Reads what the programs refused from their ring buffer.
#![allow(
    unsafe_code,
    reason = "tokio asks for the promise that a descriptor stays open"
)]

use std::future::pending;
use std::net::SocketAddr;

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use guard_common::{RefusalCode, UNIX_ADDRESS};
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::attach::refused;
use super::origin::{address, comm, take_map};
use super::{KernelError, Refusal};

/// The maps `REFUSALS` and `LOST_REFUSALS` of a session.
#[derive(Debug)]
pub(super) struct Refusals(Mutex<Reader>);

struct Reader {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    /// How many lost reports were already told of.
    told: u64,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}

impl Refusals {
    /// Must be called within a tokio runtime.
    pub(super) fn new(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let ring = RingBuf::try_from(take_map(programs, "REFUSALS")?)
            .map_err(|error| refused("opening the ring buffer", error))?;
        let lost = PerCpuArray::try_from(take_map(programs, "LOST_REFUSALS")?)
            .map_err(|error| refused("opening the counter of lost reports", error))?;
        // SAFETY: the ring buffer owns its descriptor, always gives the same one, and closes it only
        // when the `AsyncFd` that owns it is dropped and has deregistered it.
        let ring = unsafe { AsyncFd::register(ring) }
            .map_err(|error| refused("watching the ring buffer", error))?;
        Ok(Self(Mutex::new(Reader {
            ring,
            lost,
            told: 0,
        })))
    }

    /// Waits for the next refusal. Nothing is lost if the future is dropped.
    pub(super) async fn next(&self) -> Refusal {
        let mut reader = self.0.lock().await;
        loop {
            if let Some(refusal) = reader.read() {
                return refusal;
            }
            match reader.ring.readable_mut().await {
                // The kernel may have written since `read`: then it also woke us again, and this
                // clears nothing (tokio compares the ticks).
                Ok(mut ready) => {
                    if let Some(record) = ready.get_inner_mut().next() {
                        return refusal(&record);
                    }
                    ready.clear_ready();
                }
                // The runtime is shutting down.
                Err(_) => pending().await,
            }
        }
    }
}

impl Reader {
    fn read(&mut self) -> Option<Refusal> {
        if let Some(record) = self.ring.get_mut().next() {
            return Some(refusal(&record));
        }
        let lost: u64 = self.lost.get(&0, 0).ok()?.iter().sum();
        let new = lost.checked_sub(self.told).filter(|new| *new > 0)?;
        self.told = lost;
        Some(Refusal {
            code: "lost-reports",
            detail: format!("{new} more refusals came faster than they could be recorded"),
            destination: None,
            pid: 0,
            uid: 0,
            comm: String::new(),
            at: 0,
        })
    }
}

fn refusal(record: &[u8]) -> Refusal {
    let (record, path) = match record.len().checked_sub(UNIX_ADDRESS) {
        Some(length) if length == size_of::<guard_common::Refusal>() => record.split_at(length),
        _ => (record, &[][..]),
    };
    let Some(record) = guard_common::Refusal::from_bytes(record) else {
        // Only another build of the programs could write this; it is still a refusal.
        return Refusal {
            code: "unknown",
            detail: "a hook refused something and its report cannot be read".to_owned(),
            destination: None,
            pid: 0,
            uid: 0,
            comm: String::new(),
            at: 0,
        };
    };
    let destination = Some(address(&record.destination)).filter(|to| !to.ip().is_unspecified());
    let (code, detail) = match RefusalCode::from_number(record.code) {
        Some(RefusalCode::Unix) => ("unix", unix(path)),
        _ => explain(&record, destination),
    };
    Refusal {
        code,
        detail,
        destination,
        pid: record.caller.pid,
        uid: record.caller.uid,
        comm: comm(record.caller.comm),
        at: record.caller.at,
    }
}

fn explain(
    record: &guard_common::Refusal,
    destination: Option<SocketAddr>,
) -> (&'static str, String) {
    let to = destination.map_or_else(|| "an address".to_owned(), |to| to.to_string());
    match RefusalCode::from_number(record.code) {
        Some(RefusalCode::Udp) => (
            "udp",
            format!("UDP to {to}: only DNS and loopback that is the session's take datagrams"),
        ),
        Some(RefusalCode::SocketFamily) => (
            "socket-family",
            format!(
                "a socket for {}: only plain TCP and UDP are let through",
                socket_name(record.kind, record.protocol)
            ),
        ),
        Some(RefusalCode::ReservedPort) => (
            "reserved-port",
            format!("binding port {}, which is guard's", record.destination.port),
        ),
        Some(RefusalCode::Unset) => (
            "unset",
            "the hooks have no settings, so they refuse everything".to_owned(),
        ),
        Some(RefusalCode::Device) => ("device", device(record)),
        Some(RefusalCode::Unix) | None => (
            "unknown",
            format!("a hook refused something with code {}", record.code),
        ),
    }
}

/// Tells which unix socket it was: the path in a `sockaddr_un`, or the name after a zero byte.
fn unix(address: &[u8]) -> String {
    let path = address.get(2..).unwrap_or_default();
    let trimmed = |bytes: &[u8]| {
        let length = bytes.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&bytes[..length.unwrap_or(bytes.len())]).into_owned()
    };
    let socket = match path {
        [0, name @ ..] if name.iter().any(|byte| *byte != 0) => {
            format!("the abstract unix socket @{}", trimmed(name))
        }
        [] | [0, ..] => "a unix socket".to_owned(),
        path => format!("the unix socket {}", trimmed(path)),
    };
    format!("{socket}: only those in allow_unix are let through")
}

/// Tells which device it was, with the name of one that programs ask for.
fn device(record: &guard_common::Refusal) -> String {
    const BLOCK: u32 = 1;
    let kind = if record.family == BLOCK {
        "block"
    } else {
        "character"
    };
    let name = match (record.family, record.kind, record.protocol) {
        (BLOCK, ..) => "",
        (_, 1, 1 | 2 | 4) => " (the host's memory)",
        (_, 1, 11) => " (/dev/kmsg)",
        (_, 10, 200) => " (/dev/net/tun)",
        (_, 10, 229) => " (/dev/fuse)",
        (_, 10, 232) => " (/dev/kvm)",
        (_, 10, 237) => " (/dev/loop-control)",
        (_, 10, 238) => " (/dev/vhost-net)",
        (_, 10, 241) => " (/dev/vhost-vsock)",
        (_, 195 | 226, _) => " (a GPU)",
        _ => "",
    };
    format!(
        "the {kind} device {}:{}{name}: a session has the plain devices and terminals only",
        record.kind, record.protocol
    )
}

/// Names a socket by type and protocol (include/linux/net.h, include/uapi/linux/in.h).
fn socket_name(kind: u32, protocol: u32) -> String {
    const SOCK_RAW: u32 = 3;
    let name = match protocol {
        1 | 58 => "ICMP",
        33 => "DCCP",
        132 => "SCTP",
        136 => "UDP-Lite",
        262 => "MPTCP",
        _ => "",
    };
    match (kind, name) {
        (SOCK_RAW, "") => format!("raw packets of protocol {protocol}"),
        (SOCK_RAW, name) => format!("raw {name} packets"),
        (_, "") => format!("type {kind}, protocol {protocol}"),
        (_, name) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use guard_common::{Caller, Endpoint};

    use super::*;

    fn record(code: u32, kind: u32, protocol: u32, destination: Endpoint) -> guard_common::Refusal {
        let caller = Caller {
            at: 1,
            pid: 2,
            uid: 3,
            comm: [0; _],
        };
        guard_common::Refusal {
            caller,
            destination,
            code,
            family: 2,
            kind,
            protocol,
        }
    }

    #[test]
    fn every_code_is_explained() {
        let there = Endpoint::v4(u32::from_ne_bytes([192, 0, 2, 1]), 443);
        let cases = [
            (record(1, 2, 17, there), "udp", "192.0.2.1:443"),
            (record(2, 1, 262, Endpoint::NONE), "socket-family", "MPTCP"),
            (record(2, 3, 1, Endpoint::NONE), "socket-family", "raw ICMP"),
            (
                record(2, 3, 255, Endpoint::NONE),
                "socket-family",
                "protocol 255",
            ),
            (record(2, 2, 1, Endpoint::NONE), "socket-family", "ICMP"),
            (record(3, 1, 6, there), "reserved-port", "443"),
            (record(4, 1, 6, there), "unset", "no settings"),
            (record(5, 10, 200, Endpoint::NONE), "device", "/dev/net/tun"),
            (
                record(5, 8, 0, Endpoint::NONE),
                "device",
                "character device 8:0",
            ),
            (record(9, 1, 6, there), "unknown", "9"),
        ];
        for (record, code, word) in cases {
            let destination = Some(address(&record.destination));
            let (actual, detail) = explain(&record, destination);
            assert_eq!(actual, code);
            assert!(detail.contains(word), "{detail}");
        }
    }

    #[test]
    fn unix_sockets_are_named() {
        let named = |path: &[u8]| {
            let mut bytes = vec![0; size_of::<guard_common::Refusal>() + UNIX_ADDRESS];
            bytes[56] = 6;
            bytes[72] = 1;
            bytes[74..74 + path.len()].copy_from_slice(path);
            let refusal = refusal(&bytes);
            assert_eq!(refusal.code, "unix");
            refusal.detail
        };
        assert!(named(b"/run/docker.sock\0rest").starts_with("the unix socket /run/docker.sock:"));
        assert!(named(b"\0name").starts_with("the abstract unix socket @name:"));
        assert!(named(b"").starts_with("a unix socket:"));
    }

    #[test]
    fn an_unreadable_record_is_still_a_refusal() {
        assert_eq!(refusal(&[0; 3]).code, "unknown");
    }
}
