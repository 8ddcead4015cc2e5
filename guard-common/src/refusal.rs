//! What the hooks report when they refuse something.

use crate::{Caller, Endpoint};

/// Why a hook refused. The numbers are the ABI; zero is none of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum RefusalCode {
    /// A datagram that is neither DNS nor loopback.
    Udp = 1,
    /// A socket that is neither TCP nor UDP.
    SocketFamily = 2,
    /// Binding a port that is the gateway's or the resolver's.
    ReservedPort = 3,
    /// The programs run without settings: everything is refused.
    Unset = 4,
    /// Opening or making a device. `family` has 1 for a block device and 2 for a character device, `kind`
    /// the major number, `protocol` the minor one.
    Device = 5,
    /// A unix socket. The record is followed by `UNIX_ADDRESS` bytes of its `sockaddr_un`, zeros after the path
    /// or where it is not known.
    Unix = 6,
}

/// What follows a `Refusal` with `RefusalCode::Unix`, in bytes.
pub const UNIX_ADDRESS: usize = 112;

impl RefusalCode {
    /// The code of a number of the ABI.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Udp),
            2 => Some(Self::SocketFamily),
            3 => Some(Self::ReservedPort),
            4 => Some(Self::Unset),
            5 => Some(Self::Device),
            6 => Some(Self::Unix),
            _ => None,
        }
    }
}

/// Something a hook refused: one record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Who was refused.
    pub caller: Caller,
    /// Where it wanted to go; `Endpoint::NONE` where the hook does not know.
    pub destination: Endpoint,
    /// A `RefusalCode`.
    pub code: u32,
    /// The socket's family (`AF_INET`, `AF_INET6`).
    pub family: u32,
    /// The socket's type (`SOCK_STREAM`, …).
    pub kind: u32,
    /// The socket's protocol (`IPPROTO_TCP`, …).
    pub protocol: u32,
}

impl Refusal {
    /// Reads a record of the ring buffer; `None` if it has another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let long = |at: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        Some(Self {
            caller: Caller {
                at: long(0)?,
                pid: word(8)?,
                uid: word(12)?,
                comm: [long(16)?, long(24)?],
            },
            destination: Endpoint::v6(
                [word(32)?, word(36)?, word(40)?, word(44)?],
                u16::try_from(word(48)?).ok()?,
            ),
            code: word(56)?,
            family: word(60)?,
            kind: word(64)?,
            protocol: word(68)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn has_the_layout_that_from_bytes_reads() {
        assert_eq!(size_of::<Refusal>(), 72);
        assert_eq!(offset_of!(Refusal, destination), 32);
        assert_eq!(offset_of!(Refusal, code), 56);
        assert_eq!(offset_of!(Refusal, family), 60);
        assert_eq!(offset_of!(Refusal, kind), 64);
        assert_eq!(offset_of!(Refusal, protocol), 68);
    }

    #[test]
    fn reads_every_field_and_no_other_length() {
        let mut bytes = [0_u8; 72];
        for (at, value) in [
            (8, 11_u32),
            (12, 12),
            (32, 21),
            (36, 22),
            (40, 23),
            (44, 24),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        for (at, value) in [(56, 1_u32), (60, 2), (64, 3), (68, 4)] {
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        bytes[..8].copy_from_slice(&10_u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&13_u64.to_ne_bytes());
        bytes[24..32].copy_from_slice(&14_u64.to_ne_bytes());
        bytes[48..52].copy_from_slice(&25_u32.to_ne_bytes());
        let expected = Refusal {
            caller: Caller {
                at: 10,
                pid: 11,
                uid: 12,
                comm: [13, 14],
            },
            destination: Endpoint::v6([21, 22, 23, 24], 25),
            code: 1,
            family: 2,
            kind: 3,
            protocol: 4,
        };
        assert_eq!(Refusal::from_bytes(&bytes), Some(expected));
        assert_eq!(Refusal::from_bytes(&bytes[..71]), None);
        assert_eq!(Refusal::from_bytes(&[0; 73]), None);
    }

    #[test]
    fn codes_round_trip_and_zero_is_none() {
        for code in [
            RefusalCode::Udp,
            RefusalCode::SocketFamily,
            RefusalCode::ReservedPort,
            RefusalCode::Unset,
            RefusalCode::Device,
            RefusalCode::Unix,
        ] {
            assert_eq!(RefusalCode::from_number(code as u32), Some(code));
        }
        assert_eq!(RefusalCode::from_number(0), None);
        assert_eq!(RefusalCode::from_number(7), None);
    }
}
