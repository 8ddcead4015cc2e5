//! The members that the host-wide programs read, by the kernel's names.

use guard_common::tracking::Offsets;

use super::btf::Btf;

/// The offsets of this kernel, or which members it lacks that nothing works without.
pub(super) fn offsets(btf: &Btf) -> Result<Offsets, String> {
    let mut missing = Vec::new();
    let mut required = |structure: &str, member: &str| {
        btf.offset(structure, member).unwrap_or_else(|| {
            missing.push(format!("{structure}.{member}"));
            Offsets::ABSENT
        })
    };
    let mut offsets = Offsets {
        task_pid: required("task_struct", "pid"),
        task_tgid: required("task_struct", "tgid"),
        task_group_leader: required("task_struct", "group_leader"),
        task_real_parent: required("task_struct", "real_parent"),
        task_start_boottime: required("task_struct", "start_boottime"),
        task_cgroups: required("task_struct", "cgroups"),
        task_mm: required("task_struct", "mm"),
        task_signal: required("task_struct", "signal"),
        signal_live: required("signal_struct", "live"),
        css_set_dfl_cgrp: required("css_set", "dfl_cgrp"),
        cgroup_level: required("cgroup", "level"),
        cgroup_kn: required("cgroup", "kn"),
        cgroup_root: required("cgroup", "root"),
        cgroup_root_hierarchy_id: required("cgroup_root", "hierarchy_id"),
        kernfs_node_id: required("kernfs_node", "id"),
        set: 1,
        ..Offsets::NONE
    };
    let optional =
        |structure: &str, member: &str| btf.offset(structure, member).unwrap_or(Offsets::ABSENT);
    offsets.cgroup_ancestors = optional("cgroup", "ancestors");
    offsets.cgroup_ancestor_ids = optional("cgroup", "ancestor_ids");
    if offsets.cgroup_ancestors == Offsets::ABSENT && offsets.cgroup_ancestor_ids == Offsets::ABSENT
    {
        missing.push("cgroup.ancestors".to_owned());
    }
    offsets.mm_arg_start = optional("mm_struct", "arg_start");
    offsets.mm_arg_end = optional("mm_struct", "arg_end");
    offsets.mm_exe_file = optional("mm_struct", "exe_file");
    offsets.file_path = optional("file", "f_path");
    offsets.file_inode = optional("file", "f_inode");
    offsets.file_private_data = optional("file", "private_data");
    offsets.inode_mode = optional("inode", "i_mode");
    offsets.inode_sb = optional("inode", "i_sb");
    offsets.super_block_magic = optional("super_block", "s_magic");
    offsets.path_dentry = optional("path", "dentry");
    offsets.path_mnt = optional("path", "mnt");
    offsets.dentry_parent = optional("dentry", "d_parent");
    offsets.dentry_name = optional("dentry", "d_name.name");
    offsets.vfsmount_root = optional("vfsmount", "mnt_root");
    offsets.mount_vfsmount = optional("mount", "mnt");
    offsets.mount_parent = optional("mount", "mnt_parent");
    offsets.mount_mountpoint = optional("mount", "mnt_mountpoint");
    offsets.socket_sk = optional("socket", "sk");
    offsets.sock_family = optional("sock", "__sk_common.skc_family");
    offsets.sock_cgroup = optional("sock", "sk_cgrp_data.cgroup");
    offsets.sock_addr_sk = optional("bpf_sock_addr_kern", "sk");
    offsets.unix_sock_addr = optional("unix_sock", "addr");
    offsets.unix_address_name = optional("unix_address", "name");
    if missing.is_empty() {
        Ok(offsets)
    } else {
        Err(missing.join(", "))
    }
}

/// Whether the programs can read what a process executes.
pub(super) fn tell_executions(offsets: &Offsets) -> bool {
    [
        offsets.mm_arg_start,
        offsets.mm_arg_end,
        offsets.mm_exe_file,
        offsets.file_path,
        offsets.path_dentry,
        offsets.path_mnt,
        offsets.dentry_parent,
        offsets.dentry_name,
        offsets.vfsmount_root,
        offsets.mount_vfsmount,
        offsets.mount_parent,
        offsets.mount_mountpoint,
    ]
    .iter()
    .all(|offset| *offset != Offsets::ABSENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_them() {
        let btf = match Btf::of_kernel() {
            Ok(btf) => btf,
            Err(reason) => {
                crate::skip::skip(module_path!(), reason);
                return;
            }
        };
        let offsets = offsets(&btf).unwrap();
        assert!(tell_executions(&offsets), "{offsets:?}");
        assert_ne!(offsets.sock_cgroup, Offsets::ABSENT);
        assert_ne!(offsets.unix_address_name, Offsets::ABSENT);
        assert_eq!(offsets.set, 1);
    }
}
