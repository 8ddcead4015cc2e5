//! A network namespace that plays the internet, and sees everything that reaches it.
//!
//! `Internet::connect` is called in the network namespace that plays the host. It gives that an interface `eth0`
//! whose other end is in the internet, where every address answers.

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{MsgFlags, recv};

use crate::escape::{allowed_address, now, wiretap};

/// The host's addresses on the wire.
pub const HOST4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The host's address on the wire.
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
/// The other end: the way out, and the host's resolver.
pub const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The other end.
pub const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

/// Ports where something listens, on every address.
const PORTS: [u16; 8] = [22, 25, 53, 80, 443, 853, 1080, 8443];
/// How often the internet knocks at the host's ports.
const KNOCK: Duration = Duration::from_millis(120);

/// A frame that reached the internet.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// The internet, until it is dropped.
#[derive(Debug)]
pub struct Internet {
    frames: Arc<Mutex<Vec<Frame>>>,
    ports: Arc<Mutex<Vec<u16>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Internet {
    /// Makes it, and connects the caller's network namespace with it.
    pub fn connect() -> Result<Self> {
        let frames = Arc::default();
        let ports = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let thread = {
            let (frames, ports, over) =
                (Arc::clone(&frames), Arc::clone(&ports), Arc::clone(&over));
            thread::spawn(move || {
                let made = unshare(CloneFlags::CLONE_NEWNET)
                    .map(|()| nix::unistd::gettid())
                    .context("a network namespace could not be made");
                let _ = tell.send(made);
                let ready = gone
                    .recv()
                    .context("the wire was not made")
                    .and_then(|()| prepare());
                let sniffer = ready.and_then(|()| wiretap("wire0").context("no packet socket"));
                match sniffer {
                    Ok(sniffer) => {
                        let _ = tell.send(Ok(nix::unistd::gettid()));
                        live(&sniffer, &frames, &ports, &over);
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error));
                    }
                }
            })
        };
        let internet = Self {
            frames,
            ports,
            over,
            thread: Some(thread),
        };
        let tid = told.recv()??;
        ip("link set lo up")?;
        ip(&format!(
            "link add eth0 type veth peer name wire0 netns {tid}"
        ))?;
        ip(&format!("addr add {HOST4}/24 brd + dev eth0"))?;
        ip(&format!("addr add {HOST6}/64 dev eth0 nodad"))?;
        ip("link set eth0 up")?;
        go.send(())?;
        told.recv()??;
        ip(&format!("route add default via {ROUTER4}"))?;
        ip(&format!("-6 route add default via {ROUTER6}"))?;
        Ok(internet)
    }

    /// Everything that arrived since the last call, but what a host says without being asked.
    pub fn take(&self) -> Vec<Frame> {
        let frames = std::mem::take(&mut *self.frames.lock().expect("frames"));
        frames
            .into_iter()
            .filter(|frame| !is_noise(&frame.bytes))
            .collect()
    }

    /// Knocks at these ports of the host from now on, by TCP and UDP.
    pub fn knock(&self, ports: Vec<u16>) {
        *self.ports.lock().expect("ports") = ports;
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs `ip` in the caller's namespace.
pub fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    ensure!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// In the internet: every address is its own.
fn prepare() -> Result<()> {
    ip("link set lo up")?;
    ip(&format!("addr add {ROUTER4}/24 dev wire0"))?;
    ip(&format!("addr add {ROUTER6}/64 dev wire0 nodad"))?;
    ip("link set wire0 up")?;
    ip("route add local default dev lo")?;
    ip("-6 route add local default dev lo")?;
    let _ = std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3");
    Ok(())
}

/// Serves and watches until it is over.
fn live(
    sniffer: &OwnedFd,
    frames: &Mutex<Vec<Frame>>,
    ports: &Arc<Mutex<Vec<u16>>>,
    over: &Arc<AtomicBool>,
) {
    for port in PORTS {
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
            let over = Arc::clone(over);
            thread::spawn(move || serve(&listener, &over));
        }
    }
    if let Ok(resolver) = UdpSocket::bind((ROUTER4, 53)) {
        let over = Arc::clone(over);
        thread::spawn(move || resolve(&resolver, &over));
    }
    {
        let (ports, over) = (Arc::clone(ports), Arc::clone(over));
        thread::spawn(move || knock(&ports, &over));
    }
    let mut buffer = vec![0; 1 << 16];
    while !over.load(Ordering::Acquire) {
        if let Ok(size) = recv(sniffer.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            frames.lock().expect("frames").push(Frame {
                at: now(),
                bytes: buffer[..size].to_vec(),
            });
        }
    }
}

/// Accepts, reads and forgets.
fn serve(listener: &TcpListener, over: &AtomicBool) {
    let _ = listener.set_nonblocking(true);
    while !over.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                let _ = stream.set_nonblocking(false);
                let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut (&mut stream).take(1 << 20), &mut std::io::sink());
                });
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Answers every question with the address of the host that policy allows.
fn resolve(resolver: &UdpSocket, over: &AtomicBool) {
    let _ = resolver.set_read_timeout(Some(Duration::from_millis(100)));
    let mut question = [0; 512];
    while !over.load(Ordering::Acquire) {
        let Ok((size, from)) = resolver.recv_from(&mut question) else {
            continue;
        };
        if size < 17 {
            continue;
        }
        let name_end = question[12..size]
            .iter()
            .position(|&byte| byte == 0)
            .map_or(size, |end| 12 + end + 5);
        let mut answer = question[..name_end.min(size)].to_vec();
        let is_a = answer[answer.len() - 4..] == [0, 1, 0, 1];
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
        if is_a {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(allowed_address().octets());
        }
        let _ = resolver.send_to(&answer, from);
    }
}

/// Knocks at the host's ports, and reads what comes back.
fn knock(ports: &Mutex<Vec<u16>>, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        for port in ports.lock().expect("ports").clone() {
            let addresses: [SocketAddr; 2] = [(HOST4, port).into(), (HOST6, port).into()];
            for address in addresses {
                thread::spawn(move || {
                    if let Ok(mut stream) =
                        TcpStream::connect_timeout(&address, Duration::from_millis(300))
                    {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
                        let _ = stream.read(&mut [0; 64]);
                    }
                });
                if let Ok(socket) = UdpSocket::bind((ROUTER4, 0)) {
                    let _ = socket.send_to(b"knock", address);
                }
            }
        }
        thread::sleep(KNOCK);
    }
}

/// What a host sends without being asked by its processes: its neighbours' addresses, refusals of knocks.
fn is_noise(frame: &[u8]) -> bool {
    const ARP: u16 = 0x0806;
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;

    let Some((header, packet)) = frame.split_at_checked(14) else {
        return true;
    };
    match u16::from_be_bytes([header[12], header[13]]) {
        ARP => true,
        IPV4 => {
            let offset = usize::from(packet[0] & 15) * 4;
            match (packet[9], packet.get(offset..)) {
                // A port that nobody listens on.
                (1, Some([3, ..])) => true,
                (6, Some(tcp)) if tcp.len() > 13 => tcp[13] & 4 != 0,
                _ => false,
            }
        }
        IPV6 => {
            let (next, rest) = match packet[6] {
                // Hop-by-hop options, as reports of groups have.
                0 => (
                    packet.get(40).copied().unwrap_or_default(),
                    packet.get(48..),
                ),
                next => (next, packet.get(40..)),
            };
            match (next, rest) {
                (58, Some([1 | 133..=137, ..])) => true,
                (58, Some(report @ [131 | 132 | 143, ..])) => !reports_ours(report),
                (6, Some(tcp)) if tcp.len() > 13 => tcp[13] & 4 != 0,
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether a report of groups names one of a technique's, `ff15::PASS:NUMBER`.
fn reports_ours(report: &[u8]) -> bool {
    const OURS: [u8; 13] = [0xff, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    report.windows(OURS.len()).any(|part| part == OURS)
}
