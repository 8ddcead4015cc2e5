//! What of bpf(2) aya does not wrap.
#![allow(unsafe_code, reason = "no crate wraps these commands of bpf(2)")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Commands (include/uapi/linux/bpf.h).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_MAP_FREEZE: libc::c_int = 22;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_DETACH: libc::c_int = 34;

/// What the kernel says about a link to a cgroup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LinkInfo {
    /// The link's number, never used again while the host runs.
    pub(super) id: u32,
    /// The cgroup's number; zero once the link is detached or the cgroup is gone.
    pub(super) cgroup_id: u64,
}

/// Loads a program for a hook on a cgroup; the kernel's verifier checks it.
pub(super) fn load(kind: u32, attach_type: u32, program: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        kind: u32,
        length: u32,
        program: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
        name: [u8; 16],
        device: u32,
        attach_type: u32,
    }
    let mut attributes = Attributes {
        kind,
        length: u32::try_from(program.len()).map_err(io::Error::other)?,
        program: program.as_ptr() as u64,
        // Some helpers are for GPL programs only; these are interfaces of the kernel and no part of it.
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"guard\0\0\0\0\0\0\0\0\0\0\0",
        device: 0,
        attach_type,
    };
    descriptor(bpf(BPF_PROG_LOAD, &mut attributes)?)
}

/// Attaches a program to a cgroup. It is detached with the last descriptor and pin of the link.
pub(super) fn link(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        target: u32,
        attach_type: u32,
        flags: u32,
    }
    // Links are always "multi" in the kernel; a flag that says so is refused (`cgroup_bpf_link_attach`).
    let mut attributes = Attributes {
        program: number(program),
        target: number(cgroup),
        attach_type,
        flags: 0,
    };
    descriptor(bpf(BPF_LINK_CREATE, &mut attributes)?)
}

/// Detaches a link's program at once, whoever holds the link.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        link: u32,
    }
    let mut attributes = Attributes { link: number(link) };
    bpf(BPF_LINK_DETACH, &mut attributes).map(|_| ())
}

/// What `BPF_OBJ_PIN` and `BPF_OBJ_GET` read.
#[repr(C)]
struct Pin {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// Pins an object at `path`, on a bpffs.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin {
        path: path.as_ptr() as u64,
        descriptor: number(object),
        flags: 0,
    };
    bpf(BPF_OBJ_PIN, &mut attributes).map(|_| ())
}

/// Opens what is pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin {
        path: path.as_ptr() as u64,
        descriptor: 0,
        flags: 0,
    };
    descriptor(bpf(BPF_OBJ_GET, &mut attributes)?)
}

/// Describes a link to a cgroup.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    /// The beginning of `bpf_link_info`, as far as a link to a cgroup fills it.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        kind: u32,
        id: u32,
        program: u32,
        reserved: u32,
        cgroup_id: u64,
        attach_type: u32,
        padding: u32,
    }
    #[repr(C)]
    struct Attributes {
        descriptor: u32,
        length: u32,
        info: u64,
    }
    let mut info = Info::default();
    let mut attributes = Attributes {
        descriptor: number(link),
        length: u32::try_from(size_of::<Info>()).map_err(io::Error::other)?,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(LinkInfo {
        id: info.id,
        cgroup_id: info.cgroup_id,
    })
}

/// Lets nobody change a map from user space any more.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        descriptor: u32,
    }
    let mut attributes = Attributes {
        descriptor: number(map),
    };
    bpf(BPF_MAP_FREEZE, &mut attributes).map(|_| ())
}

/// A descriptor's number as the kernel's structures have it.
fn number(descriptor: BorrowedFd<'_>) -> u32 {
    // Borrowed descriptors are never negative.
    descriptor.as_raw_fd().cast_unsigned()
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let number = i32::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel just made it for us, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Calls bpf(2). `T` is the part of `union bpf_attr` that the command reads.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes no more of `attributes` than its size; pointers in it are to
    // what the caller holds.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
