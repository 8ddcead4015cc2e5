//! Synthetic addresses: the resolver answers each allowed name with an address of its own, so that a
//! question never leaves this host and a connection tells which name it is for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock};

/// A session's table of names and their synthetic addresses (198.18.0.0/15, RFC 2544), bounded.
///
/// An address is never taken back or given to another name: a client may hold it as long as the session.
#[derive(Debug, Default)]
pub struct Names {
    /// Where the addresses begin, as a distance from `FIRST`.
    start: u32,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    places: HashMap<Arc<str>, u32>,
    /// By place, counted from the table's start.
    names: Vec<Arc<str>>,
}

impl Names {
    /// The table of a session that an earlier daemon served before, `generation` times. The addresses begin
    /// elsewhere each time, so that one which a client still holds from before stands for no other name
    /// but after many times.
    pub fn of_generation(generation: u32) -> Self {
        Self {
            start: generation.wrapping_mul(GENERATION) % ADDRESSES,
            table: RwLock::default(),
        }
    }

    /// The address of a name (lower case, no final dot), given out on first use; `None` when the table
    /// is full.
    pub fn address_of(&self, name: &str) -> Option<IpAddr> {
        let known = |table: &Table| table.places.get(name).copied();
        let read = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known(&read) {
            return Some(self.address(place));
        }
        drop(read);

        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known(&table) {
            return Some(self.address(place));
        }
        let place = u32::try_from(table.names.len())
            .ok()
            .filter(|p| *p < MAX_NAMES)?;
        let name: Arc<str> = name.into();
        table.places.insert(name.clone(), place);
        table.names.push(name);
        Some(self.address(place))
    }

    /// The name an address stands for.
    pub fn name_of(&self, address: IpAddr) -> Option<String> {
        let IpAddr::V4(address) = address.to_canonical() else {
            return None;
        };
        let distance = u32::from(address)
            .checked_sub(FIRST)
            .filter(|distance| *distance < ADDRESSES)?;
        let place = (distance + ADDRESSES - self.start) % ADDRESSES;
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table
            .names
            .get(usize::try_from(place).ok()?)
            .map(|name| name.as_ref().to_owned())
    }

    fn address(&self, place: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(FIRST + (self.start + place) % ADDRESSES))
    }
}

/// 198.18.0.1: the range's first address but for the network's own.
const FIRST: u32 = 0xC612_0001;

/// Addresses of 198.18.0.0/15 but for its first and its last.
const ADDRESSES: u32 = 131_070;

/// How far the addresses of one generation begin behind those of the one before.
const GENERATION: u32 = 4_099;

/// Names a session can have looked up; an allow list with a wildcard could otherwise be filled for ever.
const MAX_NAMES: u32 = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_address_and_the_address_its_name() {
        let names = Names::default();
        let first = names.address_of("s3.amazonaws.com").unwrap();
        let second = names.address_of("pypi.org").unwrap();
        assert_eq!(first, "198.18.0.1".parse::<IpAddr>().unwrap());
        assert_ne!(first, second);
        assert_eq!(names.address_of("s3.amazonaws.com"), Some(first));
        assert_eq!(names.name_of(first).as_deref(), Some("s3.amazonaws.com"));
        assert_eq!(names.name_of(second).as_deref(), Some("pypi.org"));
    }

    #[test]
    fn a_later_generation_gives_an_earlier_ones_addresses_to_no_name() {
        let before = Names::default();
        let held = before.address_of("s3.amazonaws.com").unwrap();
        for generation in 1..=1_000 {
            let after = Names::of_generation(generation);
            let address = after.address_of("pypi.org").unwrap();
            assert_eq!(after.name_of(address).as_deref(), Some("pypi.org"));
            assert_eq!(after.name_of(held), None, "{generation}");
            let IpAddr::V4(address) = address else {
                panic!("{address}")
            };
            assert!(matches!(address.octets(), [198, 18 | 19, ..]), "{address}");
        }
    }

    #[test]
    fn an_address_that_was_not_given_out_has_no_name() {
        let names = Names::default();
        names.address_of("pypi.org").unwrap();
        for address in [
            "198.18.0.0",
            "198.18.0.2",
            "198.17.255.255",
            "1.1.1.1",
            "::1",
            "::",
        ] {
            assert_eq!(names.name_of(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn an_ipv4_mapped_address_means_the_same() {
        let names = Names::default();
        names.address_of("pypi.org").unwrap();
        let mapped = "::ffff:198.18.0.1".parse().unwrap();
        assert_eq!(names.name_of(mapped).as_deref(), Some("pypi.org"));
    }

    #[test]
    fn the_table_is_bounded_and_stays_inside_its_range() {
        let names = Names::default();
        for n in 0..MAX_NAMES {
            let IpAddr::V4(address) = names.address_of(&format!("h{n}.example")).unwrap() else {
                panic!("not IPv4");
            };
            assert!(
                address.octets()[0] == 198 && address.octets()[1] & 0xfe == 18,
                "{address}"
            );
        }
        assert_eq!(names.address_of("one-too-many.example"), None);
        assert!(
            names.address_of("h0.example").is_some(),
            "known names go on working"
        );
    }

    #[test]
    fn concurrent_questions_for_one_name_get_one_address() {
        let names = Names::default();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = || scope.spawn(|| names.address_of("pypi.org").unwrap());
            let asked: Vec<_> = (0..8).map(|_| ask()).collect();
            asked
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(answers.iter().all(|a| *a == answers[0]));
    }
}
