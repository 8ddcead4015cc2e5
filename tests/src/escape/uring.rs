//! io_uring: the same calls, made by the kernel from a shared queue, past seccomp.

use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{AF_INET, AF_PACKET, AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
use nix::errno::Errno;

use super::sys::{Address, Result, call, descriptor, pause, socket, with_message};
use super::udp::sent;
use super::{Stop, Technique, technique};

const SECCOMP: &str = "seccomp: io_uring_setup";
const OR: &[(&str, &str)] = &[
    ("uring: EPERM", "sendmsg4/6"),
    ("uring: ENODEV", "network namespace"),
    ("sent", "connect4/6: to the gateway"),
];

pub(super) const TABLE: &[Technique] = &[
    technique("uring-tcp", "SOCKET, CONNECT, SEND", |a| {
        let mut ring = Ring::new(0)?;
        let fd = ring.socket(AF_INET, SOCK_STREAM)?;
        ring.connect(fd, &Address::ip(a.v4(80)))?;
        ring.send(fd, a.marker().as_bytes())?;
        pause(50);
        sent()
    })
    .closed(SECCOMP, "connect4/6: to the gateway")
    .or(OR),
    technique("uring-udp", "SENDMSG", |a| {
        let mut ring = Ring::new(0)?;
        let fd = ring.socket(AF_INET, SOCK_DGRAM)?;
        ring.send_message(fd, a.marker().as_bytes(), &Address::ip(a.v4(9)))?;
        sent()
    })
    .closed(SECCOMP, "sendmsg4/6")
    .or(OR),
    technique(
        "uring-udp-async",
        "SENDMSG by a worker thread of the kernel",
        |a| {
            let mut ring = Ring::new(0)?;
            let fd = ring.socket(AF_INET, SOCK_DGRAM)?;
            ring.flags = 1 << 4;
            ring.send_message(fd, a.marker().as_bytes(), &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed(SECCOMP, "sendmsg4/6")
    .or(OR),
    technique(
        "uring-poller",
        "SENDMSG by the kernel's polling thread (IORING_SETUP_SQPOLL)",
        |a| {
            let mut ring = Ring::new(2)?;
            let fd = ring.socket(AF_INET, SOCK_DGRAM)?;
            ring.send_message(fd, a.marker().as_bytes(), &Address::ip(a.v4(9)))?;
            sent()
        },
    )
    .closed(SECCOMP, "sendmsg4/6")
    .or(OR),
    technique("uring-packet", "SOCKET makes a packet socket", |a| {
        let mut ring = Ring::new(0)?;
        let fd = ring.socket(AF_PACKET, SOCK_RAW)?;
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        super::packet::send_frame(a, &fd)
    })
    .root()
    .closed(SECCOMP, "")
    .or(&[("uring: EPERM", "capabilities")]),
    technique(
        "uring-unix",
        "CONNECT to a process outside by a unix socket",
        |a| {
            let mut ring = Ring::new(0)?;
            let fd = ring.socket(AF_UNIX, SOCK_STREAM)?;
            ring.connect(fd, &Address::unix(&a.world.home.join("stream.sock")))?;
            ring.send(fd, a.marker().as_bytes())?;
            pause(100);
            sent()
        },
    )
    .closed(SECCOMP, "connect_unix")
    .or(OR),
    technique(
        "uring-device",
        "URING_CMD sets SO_BINDTODEVICE on a socket",
        |a| {
            let mut ring = Ring::new(0)?;
            let fd = ring.socket(AF_INET, SOCK_STREAM)?;
            ring.bind_to_device(fd)?;
            ring.connect(fd, &Address::ip(a.v4(80)))?;
            pause(50);
            sent()
        },
    )
    .closed(SECCOMP, "egress")
    .or(OR),
];

/// A ring of eight entries, used one at a time.
struct Ring {
    fd: OwnedFd,
    parameters: Parameters,
    rings: *mut u8,
    entries: *mut Entry,
    flags: u8,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    submissions: u32,
    completions: u32,
    flags: u32,
    thread_cpu: u32,
    thread_idle: u32,
    features: u32,
    queue: u32,
    reserved: [u32; 3],
    submission: Offsets,
    completion: Offsets,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`: the same size, the same first fields.
#[repr(C)]
#[derive(Clone, Copy)]
struct Offsets {
    head: u32,
    tail: u32,
    mask: u32,
    entries: u32,
    /// Of submissions: flags. Of completions: overflow.
    fifth: u32,
    /// Of submissions: dropped. Of completions: the entries themselves.
    sixth: u32,
    /// Of submissions: the array of indices.
    seventh: u32,
    reserved: u32,
    address: u64,
}

/// `struct io_uring_sqe`.
#[repr(C)]
struct Entry {
    operation: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user: u64,
    rest: [u32; 2],
    last: [u64; 2],
}

const SUBMISSION_RING: i64 = 0;
const ENTRIES: i64 = 0x1000_0000;

impl Ring {
    fn new(flags: u32) -> Result<Self> {
        let mut parameters: Parameters = unsafe { zeroed() };
        parameters.flags = flags;
        parameters.thread_idle = 1000;
        let fd = descriptor("io_uring_setup", unsafe {
            libc::syscall(libc::SYS_io_uring_setup, 8, &raw mut parameters)
        })?;
        let map = |length: usize, offset: i64| {
            call("mmap", unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    length,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_POPULATE,
                    fd.as_raw_fd(),
                    offset,
                )
            } as i64)
        };
        let indices = parameters.submission.seventh as usize + parameters.submissions as usize * 4;
        let results = parameters.completion.sixth as usize + parameters.completions as usize * 16;
        let rings = map(indices.max(results), SUBMISSION_RING)? as *mut u8;
        let entries = map(
            parameters.submissions as usize * size_of::<Entry>(),
            ENTRIES,
        )?;
        Ok(Self {
            fd,
            parameters,
            rings,
            entries: entries as *mut Entry,
            flags: 0,
        })
    }

    fn at(&self, offset: u32) -> &AtomicU32 {
        unsafe { &*self.rings.add(offset as usize).cast::<AtomicU32>() }
    }

    /// Submits one entry and waits for its result.
    fn run(&mut self, mut entry: Entry) -> Result<i32> {
        entry.flags = self.flags;
        let Parameters {
            submission,
            completion,
            ..
        } = self.parameters;
        let tail = self.at(submission.tail).load(Ordering::Acquire);
        let index = tail & self.at(submission.mask).load(Ordering::Relaxed);
        unsafe { self.entries.add(index as usize).write(entry) };
        self.at(submission.seventh + index * 4)
            .store(index, Ordering::Relaxed);
        self.at(submission.tail).store(tail + 1, Ordering::Release);
        // Wait for one result, wake the polling thread.
        call("io_uring_enter", unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.fd.as_raw_fd(), 1, 1, 3, 0, 0)
        })?;
        let head = self.at(completion.head).load(Ordering::Acquire);
        let index = head & self.at(completion.mask).load(Ordering::Relaxed);
        let place = completion.sixth + index * 16 + 8;
        let result = self.at(place).load(Ordering::Acquire) as i32;
        self.at(completion.head).store(head + 1, Ordering::Release);
        if result < 0 {
            return Err(Stop::Refused("uring", Errno::from_raw(-result)));
        }
        Ok(result)
    }

    fn socket(&mut self, family: i32, kind: i32) -> Result<i32> {
        let mut entry = entry(45, family);
        entry.offset = kind as u64;
        match self.run(entry) {
            // Linux before 5.19 does not have the operation.
            Err(Stop::Refused(_, Errno::EINVAL)) => {
                socket(family, kind, 0).map(IntoRawFd::into_raw_fd)
            }
            other => other,
        }
    }

    fn connect(&mut self, fd: i32, address: &Address) -> Result<()> {
        let mut entry = entry(16, fd);
        (entry.address, entry.offset) = address.numbers();
        self.run(entry).map(drop)
    }

    fn send(&mut self, fd: i32, bytes: &[u8]) -> Result<()> {
        let mut entry = entry(26, fd);
        entry.address = bytes.as_ptr() as u64;
        entry.length = bytes.len() as u32;
        entry.operation_flags = libc::MSG_NOSIGNAL as u32;
        self.run(entry).map(drop)
    }

    fn send_message(&mut self, fd: i32, bytes: &[u8], to: &Address) -> Result<()> {
        with_message(bytes, Some(to), None, |message| {
            let mut entry = entry(9, fd);
            entry.address = message as u64;
            entry.length = 1;
            self.run(entry).map(drop)
        })
    }

    fn bind_to_device(&mut self, fd: i32) -> Result<()> {
        let device = super::world::World::DEVICE.as_bytes();
        let mut entry = entry(46, fd);
        // SOCKET_URING_OP_SETSOCKOPT; level and option; length and value.
        entry.offset = 3;
        entry.address = libc::SOL_SOCKET as u64 | (libc::SO_BINDTODEVICE as u64) << 32;
        entry.rest[1] = device.len() as u32;
        entry.last[0] = device.as_ptr() as u64;
        match self.run(entry) {
            Err(Stop::Refused(_, Errno::EOPNOTSUPP | Errno::EINVAL)) => Err(Stop::Unavailable(
                "the kernel's io_uring cannot set socket options".to_owned(),
            )),
            other => other.map(drop),
        }
    }
}

fn entry(operation: u8, fd: i32) -> Entry {
    let mut entry: Entry = unsafe { zeroed() };
    entry.operation = operation;
    entry.fd = fd;
    entry
}
