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
    /// 1 if the session has a network namespace of its own. Anything else refuses everything.
    pub own_network: u32,
}

impl Settings {
    /// The name of the object's global variable that holds them.
    pub const GLOBAL: &'static str = "SETTINGS";

    /// Whether the programs may let anything through.
    #[inline(always)]
    pub const fn are_set(&self) -> bool {
        self.gateway_port != 0 && self.resolver_port != 0 && self.own_network == 1
    }
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn has_no_padding() {
        assert_eq!(size_of::<Settings>(), 8);
        assert_eq!(offset_of!(Settings, own_network), 4);
    }

    #[test]
    fn any_missing_part_refuses() {
        let whole = Settings {
            gateway_port: 1,
            resolver_port: 2,
            own_network: 1,
        };
        assert!(whole.are_set());
        for part in [
            Settings::default(),
            Settings {
                gateway_port: 0,
                ..whole
            },
            Settings {
                resolver_port: 0,
                ..whole
            },
            Settings {
                own_network: 0,
                ..whole
            },
            Settings {
                own_network: 2,
                ..whole
            },
        ] {
            assert!(!part.are_set(), "{part:?}");
        }
    }
}
