//! What the programs of one session are told when they are loaded.

/// What the programs of one session are told. It is read-only data of the object, frozen at load: one
/// object is loaded per session. Zero, the object's own value, means that everything is refused.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// The gateway's TCP port on 127.0.0.1 and ::1 of the session's network namespace.
    pub gateway_port: u16,
    /// The resolver's UDP port there.
    pub resolver_port: u16,
    /// `OWN_NETWORK` or `SHARED_NETWORK`. Anything else refuses everything.
    pub network: u32,
}

impl Settings {
    /// The name of the object's global variable that holds them.
    pub const GLOBAL: &'static str = "SETTINGS";

    /// The session has its network namespace to itself: loopback in it is its own.
    pub const OWN_NETWORK: u32 = 1;

    /// Others are in the session's network namespace: of its loopback, only sockets with a `SocketMark`
    /// and the ports in `LOOPBACK_PORTS` are reached.
    pub const SHARED_NETWORK: u32 = 2;

    /// Whether the programs may let anything through.
    #[inline(always)]
    pub const fn are_set(&self) -> bool {
        self.gateway_port != 0
            && self.resolver_port != 0
            && (self.network == Self::OWN_NETWORK || self.network == Self::SHARED_NETWORK)
    }

    /// Whether others are in the session's network namespace.
    #[inline(always)]
    pub const fn is_shared(&self) -> bool {
        self.network != Self::OWN_NETWORK
    }
}

/// Whose a socket is, in a network namespace that the session shares. The numbers are the ABI; a socket
/// without a mark is somebody else's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum SocketMark {
    /// Made in the session, and never connected: a server's, or accepted by one.
    Session = 1,
    /// Made in the session; has connected, or tried to.
    Connected = 2,
    /// The gateway's or the resolver's.
    Guard = 3,
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn has_no_padding() {
        assert_eq!(size_of::<Settings>(), 8);
        assert_eq!(offset_of!(Settings, network), 4);
    }

    #[test]
    fn any_missing_part_refuses() {
        let whole = Settings {
            gateway_port: 1,
            resolver_port: 2,
            network: Settings::OWN_NETWORK,
        };
        let shared = Settings {
            network: Settings::SHARED_NETWORK,
            ..whole
        };
        assert!(whole.are_set() && !whole.is_shared());
        assert!(shared.are_set() && shared.is_shared());
        for part in [
            Settings::default(),
            Settings {
                gateway_port: 0,
                ..whole
            },
            Settings {
                resolver_port: 0,
                ..shared
            },
            Settings {
                network: 0,
                ..whole
            },
            Settings {
                network: 3,
                ..whole
            },
        ] {
            assert!(!part.are_set(), "{part:?}");
        }
    }
}
