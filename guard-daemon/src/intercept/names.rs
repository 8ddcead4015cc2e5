//! Synthetic addresses: the resolver answers each allowed name with an address of its own, so that a
//! question never leaves this host and a connection tells which name it is for.

use std::net::IpAddr;

/// A session's table of names and their synthetic addresses (198.18.0.0/15, RFC 2544), bounded.
#[derive(Debug, Default)]
pub struct Names {}

impl Names {
    /// The address of a name, given out on first use; `None` when the table is full.
    pub fn address_of(&self, _name: &str) -> Option<IpAddr> {
        unimplemented!("contract")
    }

    /// The name an address stands for.
    pub fn name_of(&self, _address: IpAddr) -> Option<String> {
        unimplemented!("contract")
    }
}
