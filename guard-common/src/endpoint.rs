//! An address and a port, in one form for both families.

/// An address and a port. IPv4 is held as its IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2), so that
/// one form serves both families and sockets that use one for the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Four words, each in network byte order, as `bpf_sock_addr.user_ip6` has them.
    pub address: [u32; 4],
    /// In host byte order, 65535 at the most.
    pub port: u32,
    /// Zero.
    pub reserved: u32,
}

/// The third word of an IPv4-mapped address.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Endpoint {
    /// No address: `[::]:0`.
    pub const NONE: Self = Self {
        address: [0; 4],
        port: 0,
        reserved: 0,
    };

    /// From an IPv4 address in network byte order.
    #[inline(always)]
    pub const fn v4(address: u32, port: u16) -> Self {
        Self::v6([0, 0, MAPPED, address], port)
    }

    /// From the four words of an IPv6 address, each in network byte order.
    #[inline(always)]
    pub const fn v6(address: [u32; 4], port: u16) -> Self {
        Self {
            address,
            port: port as u32,
            reserved: 0,
        }
    }

    /// Whether the address is IPv4, on an IPv4 socket or an IPv6 one.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.address[0] == 0 && self.address[1] == 0 && self.address[2] == MAPPED
    }

    /// Whether Linux delivers to this host's loopback: 127.0.0.0/8, ::1, and the unspecified addresses,
    /// which `connect` and `sendto` take for loopback (net/ipv4/route.c, net/ipv6/tcp_ipv6.c).
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        if self.is_v4() {
            let address = self.address[3];
            return address == 0 || address.to_ne_bytes()[0] == 127;
        }
        let last = self.address[3];
        self.address[0] == 0
            && self.address[1] == 0
            && self.address[2] == 0
            && (last == 0 || last == 1_u32.to_be())
    }

    /// Where Linux connects to for this address: 127.0.0.1 or ::1 for an unspecified one. A socket that is
    /// bound to an address connects to that instead.
    #[inline(always)]
    pub const fn or_loopback(self) -> Self {
        if self.address[3] != 0 || !self.is_loopback() {
            return self;
        }
        let mut address = self.address;
        address[3] = if self.is_v4() { 0x7f00_0001_u32 } else { 1 }.to_be();
        Self { address, ..self }
    }
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};
    use core::net::Ipv6Addr;

    use super::*;

    fn endpoint(address: &str) -> Endpoint {
        if let Ok(v4) = address.parse::<core::net::Ipv4Addr>() {
            return Endpoint::v4(u32::from_ne_bytes(v4.octets()), 1);
        }
        let octets = address.parse::<Ipv6Addr>().unwrap().octets();
        let word =
            |n: usize| u32::from_ne_bytes([octets[n], octets[n + 1], octets[n + 2], octets[n + 3]]);
        Endpoint::v6([word(0), word(4), word(8), word(12)], 1)
    }

    #[test]
    fn has_no_padding() {
        assert_eq!(size_of::<Endpoint>(), 24);
        assert_eq!(offset_of!(Endpoint, port), 16);
        assert_eq!(offset_of!(Endpoint, reserved), 20);
    }

    #[test]
    fn loopback_is_what_linux_takes_for_it() {
        for address in [
            "127.0.0.1",
            "127.255.255.255",
            "0.0.0.0",
            "::1",
            "::",
            "::ffff:127.9.9.9",
        ] {
            assert!(endpoint(address).is_loopback(), "{address}");
        }
        for address in [
            "128.0.0.1",
            "0.0.0.1",
            "1.0.0.127",
            "192.0.2.1",
            "::2",
            "::127.0.0.1",
            "1::1",
            "::ffff:192.0.2.1",
        ] {
            assert!(!endpoint(address).is_loopback(), "{address}");
        }
    }

    #[test]
    fn unspecified_is_loopback_proper() {
        for (address, there) in [
            ("0.0.0.0", "127.0.0.1"),
            ("::", "::1"),
            ("127.0.0.0", "127.0.0.0"),
            ("::1", "::1"),
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::", "2001:db8::"),
        ] {
            assert_eq!(
                endpoint(address).or_loopback(),
                endpoint(there),
                "{address}"
            );
        }
    }

    #[test]
    fn mapped_and_plain_are_one() {
        assert_eq!(endpoint("192.0.2.1"), endpoint("::ffff:192.0.2.1"));
        assert!(endpoint("192.0.2.1").is_v4());
        assert!(!endpoint("::c000:201").is_v4());
    }
}
