//! Reads the origins that the programs file for the gateway.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use guard_common::{Comm, Endpoint, OriginKey};

use super::attach::refused;
use super::{KernelError, Origin};

/// The map `ORIGINS` of a session.
#[derive(Debug)]
pub(super) struct Origins {
    netns_cookie: u64,
    map: Mutex<HashMap<MapData, OriginKey, guard_common::Origin>>,
}

impl Origins {
    pub(super) fn new(programs: &mut Ebpf, netns_cookie: u64) -> Result<Self, KernelError> {
        let map = take_map(programs, "ORIGINS")?;
        let map = HashMap::try_from(map).map_err(|error| refused("opening the origins", error))?;
        Ok(Self {
            netns_cookie,
            map: Mutex::new(map),
        })
    }

    /// Takes an origin out. Two calls at a time cannot both have it: only one removes it.
    pub(super) fn take(&self, client: SocketAddr) -> Option<Origin> {
        let key = key(self.netns_cookie, client);
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = map.get(&key, 0).ok()?;
        map.remove(&key).ok()?;
        drop(map);
        Some(Origin {
            destination: address(&origin.destination),
            pid: origin.caller.pid,
            uid: origin.caller.uid,
            comm: comm(origin.caller.comm),
            at: origin.caller.at,
        })
    }
}

/// Takes a map out of the loaded object.
pub(super) fn take_map(programs: &mut Ebpf, name: &str) -> Result<aya::maps::Map, KernelError> {
    programs.take_map(name).ok_or_else(|| KernelError::Kernel {
        step: format!("finding the map {name} in guard's eBPF object"),
        source: "the object and the daemon are of different builds; run `cargo xtask ebpf`".into(),
    })
}

/// The address of an endpoint, IPv4 where it is IPv4.
pub(super) fn address(endpoint: &Endpoint) -> SocketAddr {
    let mut octets = [0; 16];
    for (octets, word) in octets.chunks_exact_mut(4).zip(endpoint.address) {
        octets.copy_from_slice(&word.to_ne_bytes());
    }
    // The programs write 16-bit ports; a larger number would be no port at all.
    let port = u16::try_from(endpoint.port).unwrap_or(0);
    SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), port)
}

/// A task's name, up to its zero byte.
pub(super) fn comm(comm: Comm) -> String {
    let bytes: Vec<u8> = comm.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

fn key(netns_cookie: u64, client: SocketAddr) -> OriginKey {
    let family = match client.ip().to_canonical() {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 6,
    };
    OriginKey {
        netns_cookie,
        family,
        port: client.port().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_canonical() {
        let word = |text: &str| {
            let IpAddr::V4(v4) = text.parse().unwrap() else {
                unreachable!()
            };
            u32::from_ne_bytes(v4.octets())
        };
        let v4 = Endpoint::v4(word("192.0.2.1"), 443);
        assert_eq!(address(&v4), SocketAddr::from(([192, 0, 2, 1], 443)));
        let v6 = Endpoint::v6([0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()], 53);
        assert_eq!(address(&v6).to_string(), "[2001:db8::1]:53");
    }

    #[test]
    fn names_end_at_the_zero_byte() {
        let words = |bytes: &[u8; 16]| {
            let (one, two) = bytes.split_at(8);
            [one, two].map(|half| u64::from_ne_bytes(half.try_into().unwrap()))
        };
        assert_eq!(comm(words(b"curl\0rest\0\0\0\0\0\0\0")), "curl");
        assert_eq!(comm(words(b"0123456789abcdef")), "0123456789abcdef");
        assert_eq!(
            comm(words(b"\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")),
            "\u{fffd}"
        );
    }

    #[test]
    fn the_family_is_the_one_on_the_wire() {
        for (client, family) in [
            ("127.0.0.1:9", 4),
            ("[::ffff:127.0.0.1]:9", 4),
            ("[::1]:9", 6),
        ] {
            let expected = OriginKey {
                netns_cookie: 7,
                family,
                port: 9,
            };
            assert_eq!(key(7, client.parse().unwrap()), expected, "{client}");
        }
    }
}
