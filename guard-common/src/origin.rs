//! What a redirected connection was before the redirect.

use crate::{Caller, Endpoint};

/// Finds a redirected connection from the gateway's side of it.
///
/// Source ports belong to a network namespace and a family: the cookie keeps a nested namespace from
/// posing as the session's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OriginKey {
    /// The namespace's cookie, as `SO_NETNS_COOKIE` gives it.
    pub netns_cookie: u64,
    /// 4 or 6: the family on the wire. An IPv6 socket to an IPv4-mapped address is 4.
    pub family: u32,
    /// The client's port, in host byte order.
    pub port: u32,
}

/// What a redirected connection was before the redirect.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// Who connected.
    pub caller: Caller,
    /// Where it wanted to go.
    pub destination: Endpoint,
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    #[test]
    fn have_no_padding() {
        assert_eq!(size_of::<OriginKey>(), 16);
        assert_eq!(
            size_of::<Origin>(),
            size_of::<Caller>() + size_of::<Endpoint>()
        );
        assert_eq!(offset_of!(Origin, destination), 32);
    }
}
