//! Packet sockets: frames of one's own making, which no cgroup hook sees.

use std::os::fd::AsRawFd;

use libc::{AF_INET, AF_PACKET, SOCK_DGRAM, SOCK_RAW};

use super::attempt::{target4, target6};
use super::sys::{Address, bind, device, option, send, send_to, socket};
use super::udp::sent;
use super::world::World;
use super::{Attempt, NO_CAPABILITY, Outcome, Technique, technique};

const SOL_PACKET: i32 = 263;
const PACKET_QDISC_BYPASS: i32 = 20;
const IPV4: u16 = 0x0800;
/// An Ethernet type for experiments (IEEE 802).
const EXPERIMENT: u16 = 0x88b5;
const OR: &[(&str, &str)] = &[NO_CAPABILITY, ("if_nametoindex", "network namespace")];

pub(super) const TABLE: &[Technique] = &[
    technique("packet-raw", "a whole frame", sent_by_packet)
        .root()
        .closed("seccomp: socket", "")
        .or(OR),
    technique("packet-dgram", "a packet without its frame", |a| {
        let fd = socket(AF_PACKET, SOCK_DGRAM, 0)?;
        send_to(&fd, &datagram4(a), 0, &link(IPV4)?)?;
        sent()
    })
    .root()
    .closed("seccomp: socket", "")
    .or(OR),
    technique("packet-bypass", "PACKET_QDISC_BYPASS", |a| {
        let fd = socket(AF_PACKET, SOCK_RAW, 0)?;
        option(&fd, SOL_PACKET, PACKET_QDISC_BYPASS, &1_i32)?;
        send_to(&fd, &frame(a), 0, &link(IPV4)?)?;
        sent()
    })
    .root()
    .closed("seccomp: socket", "")
    .or(OR),
    technique("packet-bound", "a bound packet socket, written to", |a| {
        let fd = socket(AF_PACKET, SOCK_RAW, 0)?;
        bind(&fd, &link(IPV4)?)?;
        send(&fd, &frame(a), 0)?;
        sent()
    })
    .root()
    .closed("seccomp: socket", "")
    .or(OR),
    technique("packet-ethertype", "a frame that is not IP", |a| {
        let fd = socket(AF_PACKET, SOCK_DGRAM, 0)?;
        send_to(&fd, a.marker().as_bytes(), 0, &link(EXPERIMENT)?)?;
        sent()
    })
    .root()
    .closed("seccomp: socket", "")
    .or(OR),
    technique(
        "packet-disguised",
        "socket(AF_INET, SOCK_PACKET), which the kernel turns into AF_PACKET",
        |a| {
            let fd = socket(AF_INET, 10, i32::from(IPV4.to_be()))?;
            // The old form of address: the device's name and the protocol.
            let mut old = [0_u8; 18];
            old[..2].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
            old[2..6].copy_from_slice(World::DEVICE.as_bytes());
            old[16..].copy_from_slice(&IPV4.to_be_bytes());
            send_to(&fd, &frame(a), 0, &Address::of(&old))?;
            sent()
        },
    )
    .root()
    .closed("seccomp: socket", "")
    .or(OR),
    technique("xdp", "an AF_XDP socket", |_| {
        let fd = socket(44, SOCK_RAW, 0)?;
        Ok(format!("descriptor {}", fd.as_raw_fd()))
    })
    .root()
    .possession()
    .closed("seccomp: socket", "")
    .or(&[NO_CAPABILITY]),
];

fn link(protocol: u16) -> super::sys::Result<Address> {
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = AF_PACKET as _;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = device()? as _;
    address.sll_halen = 6;
    address.sll_addr[..6].copy_from_slice(&[0xff; 6]);
    Ok(Address::of(&address))
}

fn frame(attempt: &Attempt<'_>) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(IPV4.to_be_bytes());
    frame.extend(datagram4(attempt));
    frame
}

/// An IPv4 packet with a UDP datagram with the mark.
pub(super) fn datagram4(attempt: &Attempt<'_>) -> Vec<u8> {
    let udp = udp(attempt);
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    packet.extend(World::HOST4);
    packet.extend(target4(attempt.number).octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(udp);
    packet
}

/// An IPv6 packet with the same.
pub(super) fn datagram6(attempt: &Attempt<'_>) -> Vec<u8> {
    let udp = udp(attempt);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((udp.len() as u16).to_be_bytes());
    packet.extend([17, 64]);
    packet.extend(crate::internet::HOST6.octets());
    packet.extend(target6(attempt.number).octets());
    packet.extend(udp);
    packet
}

fn udp(attempt: &Attempt<'_>) -> Vec<u8> {
    let marker = attempt.marker();
    let mut udp = vec![0x30, 0x39, 0, 9];
    udp.extend((8 + marker.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(marker.bytes());
    udp
}

/// The internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        odd => u32::from(odd[0]) << 8,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Sends a frame with the mark.
pub(super) fn send_frame(attempt: &Attempt<'_>, fd: &impl AsRawFd) -> Outcome {
    send_to(fd, &frame(attempt), 0, &link(IPV4)?)?;
    sent()
}

/// A frame with the mark by a packet socket of its own.
pub(super) fn sent_by_packet(attempt: &Attempt<'_>) -> Outcome {
    send_frame(attempt, &socket(AF_PACKET, SOCK_RAW, 0)?)
}
