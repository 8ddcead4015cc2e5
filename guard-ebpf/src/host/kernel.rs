//! Reads of kernel structures. Where a member is comes from the running kernel's BTF, through `Offsets`.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use guard_common::tracking::Offsets;

/// The offset of a member.
macro_rules! offset {
    ($member:ident) => {
        // SAFETY: read-only data of this object; volatile, as the loader writes it after the compiler.
        unsafe { core::ptr::read_volatile(&raw const (*crate::maps::offsets()).$member) }
    };
}
pub(crate) use offset;

/// Reads what stands `offset` bytes behind the address of a structure; `None` where either is absent, and where
/// nothing is mapped there.
#[inline(always)]
pub(crate) fn read<T: Copy>(structure: u64, offset: u32) -> Option<T> {
    if structure == 0 || offset == Offsets::ABSENT {
        return None;
    }
    let address = structure.wrapping_add(u64::from(offset)) as *const T;
    // SAFETY: the helper checks the address and fails where it cannot be read.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}

/// The process id of a task.
#[inline(always)]
pub(crate) fn process_of(task: u64) -> Option<u32> {
    read(task, offset!(task_tgid))
}

/// When a task's process started, in nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub(crate) fn started(task: u64) -> Option<u64> {
    read(
        read(task, offset!(task_group_leader))?,
        offset!(task_start_boottime),
    )
}

/// A task's cgroup of version 2.
#[inline(always)]
pub(crate) fn cgroup_of(task: u64) -> Option<u64> {
    read(
        read(task, offset!(task_cgroups))?,
        offset!(css_set_dfl_cgrp),
    )
}

/// Whether a cgroup is of version 2: that hierarchy has number 0.
#[inline(always)]
pub(crate) fn is_unified(cgroup: u64) -> bool {
    let root = read(cgroup, offset!(cgroup_root)).unwrap_or(0);
    read::<u32>(root, offset!(cgroup_root_hierarchy_id)) == Some(0)
}

/// How far a cgroup is below the root.
#[inline(always)]
pub(crate) fn level_of(cgroup: u64) -> Option<u32> {
    read(cgroup, offset!(cgroup_level))
}

/// The identifier of the cgroup at `level` above `cgroup`, or of itself. `level` must not be deeper.
#[inline(always)]
pub(crate) fn ancestor(cgroup: u64, level: u32) -> Option<u64> {
    let ancestors = offset!(cgroup_ancestors);
    if ancestors == Offsets::ABSENT {
        let identifiers = offset!(cgroup_ancestor_ids);
        if identifiers == Offsets::ABSENT {
            return None;
        }
        return read(cgroup, identifiers + level * 8);
    }
    let ancestor = read(cgroup, ancestors + level * 8)?;
    read(read(ancestor, offset!(cgroup_kn))?, offset!(kernfs_node_id))
}
