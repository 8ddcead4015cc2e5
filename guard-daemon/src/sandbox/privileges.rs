//! What a confined process may never have: capabilities that lead out, new privileges, the user's
//! keyrings, core dumps.

use std::io;

use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{setgroups, setresgid, setresuid};

use super::report::{Report, Stage, at};
use super::user::Invoker;

/// Capabilities that root in a session keeps, by their numbers in linux/capability.h: what installing
/// packages and serving takes. Everything else, also what newer kernels add, reaches the network past the
/// hooks, the kernel, devices or other processes. `DAC_READ_SEARCH` is not among them, as it opens files
/// by handle, outside every mount.
const KEPT: [u32; 10] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    31, // SETFCAP
];

/// Capability numbers fit into 64 bits (capability.h).
const CAPABILITIES: u32 = 64;

/// Becomes the user, without capabilities that lead out and without a way to new ones. What is left to
/// do is `filter`'s.
pub(super) fn drop_all(invoker: &Invoker) -> Result<(), Report> {
    shrink_bounding_set().map_err(at(Stage::Capabilities))?;
    let Invoker {
        uid, gid, groups, ..
    } = invoker;
    setgroups(groups)
        .and_then(|()| setresgid(*gid, *gid, *gid))
        .and_then(|()| setresuid(*uid, *uid, *uid))
        .map_err(at(Stage::User))?;
    drop_held_capabilities().map_err(at(Stage::Capabilities))?;
    set_no_new_privs().map_err(at(Stage::Privileges))
}

/// Joins a new session keyring, so that the one of the login and what hangs on it is out of reach. A
/// kernel without keyrings has none to leave.
pub(super) fn leave_keyrings() -> io::Result<()> {
    // SAFETY: no name is given, so the kernel reads no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING),
            std::ptr::null::<libc::c_char>(),
        )
    };
    match checked(result) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other,
    }
}

/// Has the kernel dump no core of any process of the session: dumps go to a program outside where
/// `core_pattern` names one. Of all limits only 1 byte stops those, too (core(5): a limit of 0 does
/// not); `filter` keeps the limit as it is.
pub(super) fn forbid_core_dumps() -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: 1,
        rlim_max: 1,
    };
    // SAFETY: the structure outlives the call, which reads it.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) }.into())
}

fn shrink_bounding_set() -> io::Result<()> {
    for capability in (0..CAPABILITIES).filter(|capability| !KEPT.contains(capability)) {
        // SAFETY: prctl with integers only.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability)) };
        match checked(libc::c_long::from(result)) {
            // The kernel knows no capability of this number. All do up to 37, AUDIT_READ.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && capability > 37 => {}
            other => other?,
        }
    }
    Ok(())
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 capabilities in two halves.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

fn drop_held_capabilities() -> io::Result<()> {
    // SAFETY: prctl with integers only.
    let cleared = unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::c_ulong::try_from(libc::PR_CAP_AMBIENT_CLEAR_ALL).unwrap_or_default(),
            0,
            0,
            0,
        )
    };
    checked(libc::c_long::from(cleared))?;
    let mut header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let mut halves = [CapabilityData::default(); 2];
    // SAFETY: header and data have the kernel's layout for this version and outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
    for (half, first) in halves.iter_mut().zip([0, 32]) {
        let kept = KEPT
            .iter()
            .filter_map(|capability| capability.checked_sub(first))
            .filter(|&bit| bit < 32)
            .fold(0, |mask: u32, bit| mask | 1 << bit);
        half.effective &= kept;
        half.permitted &= kept;
        half.inheritable = 0;
    }
    // SAFETY: as above; the kernel only reads.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) })
}

/// The error of a system call that returns -1.
pub(super) fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
