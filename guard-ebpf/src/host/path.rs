//! The path of the file that a process executes, as the kernel's name cache has it.
//!
//! `bpf_d_path` may not be called from these programs. The path is the file's own, whatever name, link or
//! descriptor it was executed by, up to the root of its mount namespace.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use guard_common::tracking::{Offsets, PATH_BYTES};

use crate::kernel::{offset, read};

/// Names and mounts that a path may have; a longer one is cut at its beginning.
const STEPS: u32 = 40;
/// Bytes of a name and its zero byte (`NAME_MAX`).
const NAME_BYTES: u32 = 256;
/// A further name begins below this.
const BEGIN: u32 = 1024;

const _: () = assert!((BEGIN + NAME_BYTES) as usize <= PATH_BYTES);

/// Writes the names from the file up to the root to `to`, which has `PATH_BYTES`, each ended by a zero byte, and
/// their length to `length`. A path that is cut has a second zero byte in the end.
///
/// The length is kept in memory, where the verifier knows nothing of it: it would follow each of its values through
/// every step otherwise.
#[inline(always)]
pub(crate) fn write_path(task: u64, to: *mut u8, length: *mut u32) {
    set(length, 0);
    let members = [
        offset!(path_dentry),
        offset!(path_mnt),
        offset!(dentry_parent),
        offset!(dentry_name),
        offset!(vfsmount_root),
        offset!(mount_vfsmount),
        offset!(mount_parent),
        offset!(mount_mountpoint),
        offset!(file_path),
    ];
    if members.contains(&Offsets::ABSENT) {
        return;
    }
    let mm = read(task, offset!(task_mm)).unwrap_or(0);
    let file: u64 = read(mm, offset!(mm_exe_file)).unwrap_or(0);
    if file == 0 {
        return;
    }
    let mut dentry = peek(file, offset!(file_path) + offset!(path_dentry));
    let mut mount = peek(file, offset!(file_path) + offset!(path_mnt));
    for _ in 0..STEPS {
        let root = peek(mount, offset!(vfsmount_root));
        let parent = peek(dentry, offset!(dentry_parent));
        if parent == 0 || root == 0 {
            // Not readable: nothing that is only a part of it may pass for the path.
            set(length, 0);
            return;
        }
        if dentry == root || dentry == parent {
            let outer = mount.wrapping_sub(u64::from(offset!(mount_vfsmount)));
            let above = peek(outer, offset!(mount_parent));
            if above == outer || above == 0 {
                if get(length) == 0 {
                    // A file that is in no directory (memfd_create).
                    write_name(dentry, to, length);
                }
                return;
            }
            dentry = peek(outer, offset!(mount_mountpoint));
            mount = above.wrapping_add(u64::from(offset!(mount_vfsmount)));
            continue;
        }
        if get(length) >= BEGIN {
            break;
        }
        write_name(dentry, to, length);
        dentry = parent;
    }
    let at = get(length);
    if at < BEGIN + NAME_BYTES {
        // SAFETY: within PATH_BYTES.
        unsafe { *to.add(at as usize) = 0 };
        set(length, at + 1);
    }
}

/// Writes a name and its zero byte behind what is there, if there is room.
#[inline(always)]
fn write_name(dentry: u64, to: *mut u8, length: *mut u32) {
    let at = get(length);
    if at >= BEGIN {
        return;
    }
    let name = peek(dentry, offset!(dentry_name)) as *const _;
    // SAFETY: `at` is below BEGIN, so NAME_BYTES are left there; the helper checks the source.
    let written =
        unsafe { bpf_probe_read_kernel_str(to.add(at as usize).cast(), NAME_BYTES, name) };
    if written > 0 {
        set(length, at.wrapping_add(written as u32));
    }
}

/// As `read`, for a member that is there: 0 where nothing is mapped. Without a branch, for the loop's sake.
#[inline(always)]
fn peek(structure: u64, offset: u32) -> u64 {
    let mut value = 0_u64;
    let address = structure.wrapping_add(u64::from(offset));
    // SAFETY: the helper checks the address, and writes zeros where it cannot be read.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 8, address as *const _) };
    value
}

#[inline(always)]
fn get(length: *mut u32) -> u32 {
    // SAFETY: within the reserved record.
    unsafe { length.read_volatile() }
}

#[inline(always)]
fn set(length: *mut u32, value: u32) {
    // SAFETY: as above.
    unsafe { length.write_volatile(value) };
}
