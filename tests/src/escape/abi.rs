//! The same calls by the numbers of other ABIs, which a filter of system calls may not know.

use std::net::Ipv4Addr;

use nix::errno::Errno;

use super::sys::{Result, pause};
use super::udp::sent;
use super::{Attempt, Stop, Technique, technique};

const SECCOMP: &str = "seccomp: foreign ABI";

pub(super) const TABLE: &[Technique] = &[
    technique("i386-udp", "int 0x80: socket, sendto", |a| {
        let low = Low::new(a, a.v4(9))?;
        let fd = int80(359, [2, 2, 0, 0, 0, 0])?;
        int80(369, [fd, low.at(64), low.mark, 0, low.at(0), 16])?;
        sent()
    })
    .closed(SECCOMP, "sendmsg4/6"),
    technique(
        "i386-socketcall",
        "int 0x80: socketcall for all of it",
        |a| {
            let low = Low::new(a, a.v4(9))?;
            low.words(128, [2, 2, 0, 0, 0, 0]);
            let fd = int80(102, [1, low.at(128), 0, 0, 0, 0])?;
            low.words(128, [fd, low.at(64), low.mark, 0, low.at(0), 16]);
            int80(102, [11, low.at(128), 0, 0, 0, 0])?;
            sent()
        },
    )
    .closed(SECCOMP, "sendmsg4/6"),
    technique("i386-tcp", "int 0x80: socketcall for TCP", |a| {
        let low = Low::new(a, a.v4(80))?;
        low.words(128, [2, 1, 0, 0, 0, 0]);
        let fd = int80(102, [1, low.at(128), 0, 0, 0, 0])?;
        low.words(128, [fd, low.at(0), 16, 0, 0, 0]);
        int80(102, [3, low.at(128), 0, 0, 0, 0])?;
        low.words(128, [fd, low.at(64), low.mark, 0, 0, 0]);
        int80(102, [9, low.at(128), 0, 0, 0, 0])?;
        pause(50);
        sent()
    })
    .closed(SECCOMP, "connect4/6: to the gateway"),
    technique("i386-packet", "int 0x80: a packet socket", |a| {
        use std::os::fd::FromRawFd;

        let fd = int80(359, [17, 3, 0, 0, 0, 0])?;
        super::packet::send_frame(a, &unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as _) })
    })
    .root()
    .closed(SECCOMP, ""),
    technique("x32-udp", "the numbers of x32", |a| {
        let fd = x32(41, [2_u32, 2, 0, 0, 0, 0])?;
        let low = Low::new(a, a.v4(9))?;
        x32(44, [fd, low.at(64), low.mark, 0, low.at(0), 16])?;
        sent()
    })
    .closed(SECCOMP, "sendmsg4/6"),
];

/// A page below 4 GiB: the address at 0, the mark at 64, arguments at 128.
struct Low {
    page: u32,
    mark: u32,
}

impl Low {
    fn new(attempt: &Attempt<'_>, to: std::net::SocketAddr) -> Result<Self> {
        let page = super::sys::call("mmap", unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
                -1,
                0,
            ) as i64
        })?;
        let low = Self {
            page: page as u32,
            mark: attempt.marker().len() as u32,
        };
        let ip = match to.ip() {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let mut address = 2_u16.to_ne_bytes().to_vec();
        address.extend(to.port().to_be_bytes());
        address.extend(ip.octets());
        low.put(0, &address);
        low.put(64, attempt.marker().as_bytes());
        Ok(low)
    }

    fn at(&self, offset: u32) -> u32 {
        self.page + offset
    }

    fn put(&self, offset: u32, bytes: &[u8]) {
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.at(offset) as usize as *mut u8,
                bytes.len(),
            );
        }
    }

    fn words(&self, offset: u32, words: [u32; 6]) {
        for (word, place) in words.iter().zip((offset..).step_by(4)) {
            self.put(place, &word.to_ne_bytes());
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn int80(number: u32, [b, c, d, si, di, bp]: [u32; 6]) -> Result<u32> {
    let returned: i32;
    unsafe {
        std::arch::asm!(
            "push rbx",
            "push rbp",
            "mov ebx, r8d",
            "mov ebp, r9d",
            "int 0x80",
            "pop rbp",
            "pop rbx",
            inlateout("eax") number => returned,
            in("ecx") c,
            in("edx") d,
            in("esi") si,
            in("edi") di,
            inout("r8") u64::from(b) => _,
            inout("r9") u64::from(bp) => _,
            out("r10") _,
            out("r11") _,
        );
    }
    checked("int 0x80", i64::from(returned)).map(|number| number as u32)
}

#[cfg(not(target_arch = "x86_64"))]
fn int80(_: u32, _: [u32; 6]) -> Result<u32> {
    Err(Stop::Unavailable("this is not x86-64".to_owned()))
}

fn x32(number: i64, arguments: [impl Into<u64>; 6]) -> Result<u32> {
    let with: [u64; 6] = arguments.map(Into::into);
    let number = number | 0x4000_0000;
    let returned =
        unsafe { libc::syscall(number, with[0], with[1], with[2], with[3], with[4], with[5]) };
    let returned = if returned == -1 {
        -i64::from(Errno::last_raw())
    } else {
        returned
    };
    checked("x32", returned).map(|number| number as u32)
}

fn checked(call: &'static str, returned: i64) -> Result<i64> {
    match returned {
        -38 => Err(Stop::Unavailable(
            "the kernel does not have this ABI".to_owned(),
        )),
        -4095..=-1 => Err(Stop::Refused(call, Errno::from_raw(-returned as i32))),
        number => Ok(number),
    }
}
