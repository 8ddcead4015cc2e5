//! Socket families and protocols besides IP's own, most of which a kernel has no module for. To have the socket
//! counts: what is at its other end is this machine's hypervisor, radio or kernel.

use nix::errno::Errno;

use super::sys::socket;
use super::{NO_CAPABILITY, Outcome, Stop, Technique, technique};

const SECCOMP: &str = "seccomp: socket";
const OR: &[(&str, &str)] = &[NO_CAPABILITY];

macro_rules! families {
    ($($id:literal, $title:literal, $family:expr, $kind:expr, $protocol:expr, $run:expr, $attach:literal $($needs:ident)?;)*) => {
        &[$(technique($id, $title, |_| made($family, $kind, $protocol))
            .possession().closed($run, $attach).or(OR)$(.$needs())?),*]
    };
}

pub(super) const TABLE: &[Technique] = families! {
    "vsock-stream", "AF_VSOCK, stream", 40, 1, 0, SECCOMP, "";
    "vsock-dgram", "AF_VSOCK, datagram", 40, 2, 0, SECCOMP, "";
    "vsock-seqpacket", "AF_VSOCK, seqpacket", 40, 5, 0, SECCOMP, "";
    "alg", "AF_ALG", 38, 5, 0, SECCOMP, "";
    "tipc", "AF_TIPC", 30, 2, 0, SECCOMP, "";
    "sctp", "SCTP", 2, 1, 132, "sock_create", "sock_create";
    "sctp-many", "SCTP, one to many", 2, 5, 132, "sock_create", "sock_create";
    "dccp", "DCCP", 2, 6, 33, "sock_create", "sock_create";
    "smc", "AF_SMC", 43, 1, 0, SECCOMP, "";
    "smc-inet", "SMC as a protocol of AF_INET", 2, 1, 256, "sock_create", "sock_create";
    "key", "AF_KEY", 15, 3, 2, SECCOMP, "" root;
    "bluetooth", "AF_BLUETOOTH", 31, 3, 1, SECCOMP, "";
    "rds", "AF_RDS", 21, 5, 0, SECCOMP, "";
    "can", "AF_CAN", 29, 3, 1, SECCOMP, "";
    "llc", "AF_LLC", 26, 2, 0, SECCOMP, "";
    "qrtr", "AF_QIPCRTR", 42, 2, 0, SECCOMP, "";
    "kcm", "AF_KCM", 41, 2, 0, SECCOMP, "";
    "pppox", "AF_PPPOX", 24, 1, 0, SECCOMP, "";
    "l2tp", "L2TP over IP", 2, 2, 115, "sock_create", "sock_create";
    "phonet", "AF_PHONET", 35, 2, 0, SECCOMP, "";
    "nfc", "AF_NFC", 39, 5, 0, SECCOMP, "";
    "mctp", "AF_MCTP", 45, 2, 0, SECCOMP, "";
    "ieee802154", "AF_IEEE802154", 36, 2, 0, SECCOMP, "";
    "caif", "AF_CAIF", 37, 5, 0, SECCOMP, "";
    "x25", "AF_X25", 9, 5, 0, SECCOMP, "";
    "appletalk", "AF_APPLETALK", 5, 2, 0, SECCOMP, "";
    "ax25", "AF_AX25", 3, 2, 0, SECCOMP, "";
    "netlink-xfrm", "netlink: IPsec", 16, 3, 6, SECCOMP, "";
    "netlink-audit", "netlink: audit", 16, 3, 9, SECCOMP, "";
    "netlink-connector", "netlink: process events", 16, 3, 11, SECCOMP, "";
    "netlink-netfilter", "netlink: netfilter", 16, 3, 12, SECCOMP, "";
    "netlink-generic", "netlink: generic, which WireGuard and others are configured with", 16, 3, 16, SECCOMP, "";
    "netlink-rdma", "netlink: RDMA", 16, 3, 20, SECCOMP, "";
};

fn made(family: i32, kind: i32, protocol: i32) -> Outcome {
    match socket(family, kind, protocol) {
        Ok(_) => Ok("a socket".to_owned()),
        Err(Stop::Refused(
            _,
            Errno::EAFNOSUPPORT
            | Errno::ESOCKTNOSUPPORT
            | Errno::EPROTONOSUPPORT
            | Errno::ENODEV
            | Errno::EPROTOTYPE,
        )) => Err(Stop::Unavailable("the kernel does not have it".to_owned())),
        Err(stop) => Err(stop),
    }
}
