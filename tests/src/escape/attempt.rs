//! One attempt: where it aims, how it marks what it sends, how it ends.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::errno::Errno;

use super::world::{Outside, Place, Session, User, World};

/// One technique, tried once.
pub struct Attempt<'a> {
    pub world: &'a World,
    pub number: u16,
    pub session: Option<&'a Session>,
}

/// What a technique says: what it managed, or where it ended.
pub type Outcome = Result<String, Stop>;

/// Where a technique ended.
#[derive(Debug)]
pub enum Stop {
    /// A call failed.
    Refused(&'static str, Errno),
    /// Nothing refused it, but it did not get there.
    Nothing(String),
    /// This host does not have what it needs.
    Unavailable(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(call, errno) => write!(f, "{call}: {errno:?}"),
            Self::Nothing(text) | Self::Unavailable(text) => f.write_str(text),
        }
    }
}

impl Stop {
    /// That a call failed, as the standard library tells it.
    pub fn io(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.raw_os_error() {
            Some(number) => Self::Refused(call, Errno::from_raw(number)),
            None => Self::Nothing(format!("{call}: {error}")),
        }
    }

    /// That a call failed, as nix tells it.
    pub fn errno(call: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Refused(call, errno)
    }
}

impl Attempt<'_> {
    /// What everything it sends carries.
    pub fn marker(&self) -> String {
        marker(self.number, &self.world.nonce)
    }

    /// Its target in the internet.
    pub fn v4(&self, port: u16) -> SocketAddr {
        (target4(self.number), port).into()
    }

    /// Its target in the internet.
    pub fn v6(&self, port: u16) -> SocketAddr {
        (target6(self.number), port).into()
    }

    /// Its target as an IPv4-mapped IPv6 address.
    pub fn mapped(&self, port: u16) -> SocketAddr {
        (target4(self.number).to_ipv6_mapped(), port).into()
    }

    /// Its target as a hop of a source route to somewhere else.
    pub fn hop4(&self) -> Ipv4Addr {
        target4(self.number)
    }

    /// A multicast group of its own, IPv4.
    pub fn group4(&self) -> Ipv4Addr {
        let [high, low] = self.number.to_be_bytes();
        Ipv4Addr::new(239, pass(&self.world.nonce), high, low)
    }

    /// A multicast group of its own, IPv6.
    pub fn group6(&self) -> Ipv6Addr {
        let pass = u16::from(pass(&self.world.nonce));
        Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, pass, self.number)
    }

    /// The process outside.
    pub fn outside(&self) -> Result<&Outside, Stop> {
        let absent = || Stop::Unavailable("there is no process outside".to_owned());
        self.world.outside.as_ref().ok_or_else(absent)
    }

    /// The session to attack: outside, another one that runs.
    pub fn session(&self) -> Result<&Session, Stop> {
        let absent = || Stop::Unavailable("there is no session".to_owned());
        self.session.ok_or_else(absent)
    }

    /// Whether a failure says only that this host refuses it to root, confined or not.
    pub fn of_host(&self, stop: Stop) -> Stop {
        if self.world.place == Place::Outside && self.world.user == User::Root {
            return Stop::Unavailable(format!("{stop}, on this host"));
        }
        stop
    }

    /// A port that no other technique uses.
    pub fn port(&self) -> u16 {
        port(self.number)
    }
}

/// The mark of a technique: `ESC007-0a1b2c`.
pub(super) fn marker(number: u16, nonce: &str) -> String {
    format!("ESC{number:03}-{nonce}")
}

/// The number in the first mark of some bytes; DNS may have changed the case.
pub fn marked(bytes: &[u8], nonce: &str) -> Option<u16> {
    bytes.windows(7 + nonce.len()).find_map(|window| {
        let text = std::str::from_utf8(window).ok()?.to_ascii_lowercase();
        let (number, rest) = text.strip_prefix("esc")?.split_once('-')?;
        (rest == nonce).then(|| number.parse().ok()).flatten()
    })
}

/// What tells the groups of one pass from those of another: the kernel reports that a group was left a second and
/// more after its socket is gone.
pub fn pass(nonce: &str) -> u8 {
    u8::from_str_radix(nonce.get(..2).unwrap_or_default(), 16).unwrap_or_default()
}

/// The port of a technique that listens.
pub fn port(number: u16) -> u16 {
    20_000 + number
}

/// The number of packets that are nobody's doing.
pub const NOBODY: u16 = 511;

/// A technique's address in the internet: two documentation ranges (RFC 5737), for numbers up to `NOBODY`.
pub(super) fn target4(number: u16) -> Ipv4Addr {
    match number.to_be_bytes() {
        [0, low] => Ipv4Addr::new(203, 0, 113, low),
        [_, low] => Ipv4Addr::new(198, 51, 100, low),
    }
}

/// A technique's address in the internet.
pub(super) fn target6(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number)
}
