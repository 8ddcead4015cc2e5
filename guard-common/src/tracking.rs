//! What the host-wide programs know of sessions and processes, and what they report.

use crate::Comm;

/// Where the members of kernel structures are that the host-wide programs read, in bytes from the beginning
/// of their structure. The daemon reads them from the running kernel's BTF when it loads the object; they
/// are read-only data of it. `Offsets::ABSENT` is a member that this kernel does not have.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "each is structure_member of the kernel")]
pub struct Offsets {
    pub task_pid: u32,
    pub task_tgid: u32,
    pub task_group_leader: u32,
    pub task_real_parent: u32,
    pub task_start_boottime: u32,
    pub task_cgroups: u32,
    pub task_mm: u32,
    pub task_signal: u32,
    pub signal_live: u32,
    pub css_set_dfl_cgrp: u32,
    pub cgroup_level: u32,
    pub cgroup_kn: u32,
    pub cgroup_root: u32,
    pub cgroup_root_hierarchy_id: u32,
    /// `struct cgroup *ancestors[]`, Linux 6.1 and newer.
    pub cgroup_ancestors: u32,
    /// `u64 ancestor_ids[]`, before.
    pub cgroup_ancestor_ids: u32,
    pub kernfs_node_id: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub mm_exe_file: u32,
    pub file_path: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub inode_mode: u32,
    pub inode_sb: u32,
    pub super_block_magic: u32,
    pub path_dentry: u32,
    pub path_mnt: u32,
    pub dentry_parent: u32,
    /// Of `d_name.name`.
    pub dentry_name: u32,
    pub vfsmount_root: u32,
    /// Of the `struct vfsmount` in a `struct mount`.
    pub mount_vfsmount: u32,
    pub mount_parent: u32,
    pub mount_mountpoint: u32,
    pub socket_sk: u32,
    pub sock_family: u32,
    /// Of `sk_cgrp_data.cgroup`.
    pub sock_cgroup: u32,
    /// Of the `struct sock` in the kernel's context of `cgroup/connect` and its like.
    pub sock_addr_sk: u32,
    pub unix_sock_addr: u32,
    pub unix_address_name: u32,
    /// The daemon's process: the hooks count its calls, so that it sees that they run.
    pub tester: u32,
    /// 1 if the daemon has set them.
    pub set: u32,
}

impl Offsets {
    /// The name of the object's global variable that holds them.
    pub const GLOBAL: &'static str = "OFFSETS";
    /// A member that this kernel does not have.
    pub const ABSENT: u32 = u32::MAX;
    /// No member is known.
    pub const NONE: Self = Self {
        task_pid: Self::ABSENT,
        task_tgid: Self::ABSENT,
        task_group_leader: Self::ABSENT,
        task_real_parent: Self::ABSENT,
        task_start_boottime: Self::ABSENT,
        task_cgroups: Self::ABSENT,
        task_mm: Self::ABSENT,
        task_signal: Self::ABSENT,
        signal_live: Self::ABSENT,
        css_set_dfl_cgrp: Self::ABSENT,
        cgroup_level: Self::ABSENT,
        cgroup_kn: Self::ABSENT,
        cgroup_root: Self::ABSENT,
        cgroup_root_hierarchy_id: Self::ABSENT,
        cgroup_ancestors: Self::ABSENT,
        cgroup_ancestor_ids: Self::ABSENT,
        kernfs_node_id: Self::ABSENT,
        mm_arg_start: Self::ABSENT,
        mm_arg_end: Self::ABSENT,
        mm_exe_file: Self::ABSENT,
        file_path: Self::ABSENT,
        file_inode: Self::ABSENT,
        file_private_data: Self::ABSENT,
        inode_mode: Self::ABSENT,
        inode_sb: Self::ABSENT,
        super_block_magic: Self::ABSENT,
        path_dentry: Self::ABSENT,
        path_mnt: Self::ABSENT,
        dentry_parent: Self::ABSENT,
        dentry_name: Self::ABSENT,
        vfsmount_root: Self::ABSENT,
        mount_vfsmount: Self::ABSENT,
        mount_parent: Self::ABSENT,
        mount_mountpoint: Self::ABSENT,
        socket_sk: Self::ABSENT,
        sock_family: Self::ABSENT,
        sock_cgroup: Self::ABSENT,
        sock_addr_sk: Self::ABSENT,
        unix_sock_addr: Self::ABSENT,
        unix_address_name: Self::ABSENT,
        tester: 0,
        set: 0,
    };
}

/// A session, by the identifier of its cgroup (the inode number of the cgroup's directory).
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TrackedSession {
    /// The session's name, its hexadecimal digits as a number.
    pub name: u64,
    /// How far the cgroup is below the root of the hierarchy: 1 for its child.
    pub level: u32,
    /// Nothing yet; zero.
    pub reserved: u32,
}

/// What sticks to a process of a session, by its process id, until it ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Label {
    /// The session's cgroup.
    pub cgroup: u64,
    /// `CLOCK_BOOTTIME` nanoseconds of the process' start: with another one, in clock ticks, it is another
    /// process.
    pub started: u64,
}

/// Nanoseconds of the kernel's clock tick (`USER_HZ` is 100): as exact as /proc tells when a process started.
pub const TICK: u64 = 10_000_000;

/// Sessions at a time.
pub const TRACKED_SESSIONS: u32 = 1024;
/// Processes of sessions at a time. A process that cannot be labelled any more is killed.
pub const TRACKED_PROCESSES: u32 = 32_768;
/// The deepest level that a session's cgroup may have.
pub const DEEPEST_LEVEL: u32 = 24;

/// What a record of the ring buffer is about. The numbers are the ABI; zero is none of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum TrackingKind {
    /// A process of a session made another one.
    Forked = 1,
    /// A process executed a program.
    Executed = 2,
    /// A process ended.
    Exited = 3,
    /// A process came into a session from outside.
    Entered = 4,
    /// A process is outside of its session's cgroup. `actor` moved it there and was killed if it belongs to a
    /// session; the process itself must be killed if it is another one.
    Left = 5,
    /// A process found no room in the table of labels and must be killed.
    Unlabelled = 6,
    /// Something was refused to a process; `code` says what.
    Refused = 7,
}

impl TrackingKind {
    /// The kind of a number of the ABI.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Forked),
            2 => Some(Self::Executed),
            3 => Some(Self::Exited),
            4 => Some(Self::Entered),
            5 => Some(Self::Left),
            6 => Some(Self::Unlabelled),
            7 => Some(Self::Refused),
            _ => None,
        }
    }
}

/// What was refused to a process of a session. The numbers are the ABI; zero is none of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum HostRefusal {
    /// A socket of a family or type that leads past the gateway.
    SocketFamily = 1,
    /// The use of a socket that was made outside of the session.
    ForeignSocket = 2,
    /// Anything with sockets, as the process itself is outside of its session's cgroup.
    Outside = 3,
    /// A socket from outside that was handed over.
    ForeignDescriptor = 4,
    /// Looking into a process outside of the session.
    Ptrace = 5,
    /// `bpf(2)`.
    Bpf = 6,
    /// A unix socket of a process outside of the session.
    UnixSocket = 7,
    /// A signal to a process outside of the session.
    Signal = 8,
    /// A capability that reaches past the session.
    Capability = 9,
    /// Removing a pin.
    Pin = 10,
}

impl HostRefusal {
    /// The refusal of a number of the ABI.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::SocketFamily),
            2 => Some(Self::ForeignSocket),
            3 => Some(Self::Outside),
            4 => Some(Self::ForeignDescriptor),
            5 => Some(Self::Ptrace),
            6 => Some(Self::Bpf),
            7 => Some(Self::UnixSocket),
            8 => Some(Self::Signal),
            9 => Some(Self::Capability),
            10 => Some(Self::Pin),
            _ => None,
        }
    }
}

/// The security hooks that have programs, by their number in the map of calls; the programs have these names.
pub const LSM_HOOKS: [&str; 13] = [
    "socket_create",
    "socket_connect",
    "socket_bind",
    "socket_sendmsg",
    "socket_accept",
    "file_receive",
    "ptrace_access_check",
    "bpf",
    "unix_stream_connect",
    "unix_may_send",
    "task_kill",
    "capable",
    "inode_unlink",
];

/// Bytes of a unix socket's path, a zero byte at its end included (`sun_path`).
pub const UNIX_NAME_BYTES: usize = 108;

/// A unix socket outside that a session may reach: a key of the map of those.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AllowedSocket {
    /// The session's cgroup.
    pub cgroup: u64,
    /// The name that the socket is bound to, with zeros behind it; as words, as `Comm` is.
    pub name: [u64; UNIX_NAME_BYTES.div_ceil(8)],
}

/// Unix sockets that all sessions together may reach.
pub const ALLOWED_SOCKETS: u32 = 4096;

/// The head of every record of the ring buffer. An executed program's path and arguments follow it, a path's
/// names in the order from the file up to the root, each ended by a zero byte.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TrackingEvent {
    /// `CLOCK_BOOTTIME` nanoseconds of the event.
    pub at: u64,
    /// The session's name.
    pub session: u64,
    /// When the process started.
    pub started: u64,
    /// When its parent started, where `parent` is known.
    pub parent_started: u64,
    /// The name of the task that ran the hook.
    pub comm: Comm,
    /// A `TrackingKind`.
    pub kind: u32,
    /// The process.
    pub pid: u32,
    /// Its parent, where the event is about one; otherwise 0.
    pub parent: u32,
    /// User id of the task that ran the hook, in the initial user namespace.
    pub uid: u32,
    /// The process that ran the hook.
    pub actor: u32,
    /// A `HostRefusal`.
    pub code: u32,
    /// What the refusal is about: a family, a capability or a process.
    pub detail: u32,
    /// Nothing; zero.
    pub reserved: u32,
    /// Bytes of the path.
    pub path_length: u32,
    /// Bytes of the arguments.
    pub arguments_length: u32,
}

/// Where an executed program's path begins.
pub const PATH_OFFSET: usize = size_of::<TrackingEvent>();
/// Bytes for its path.
pub const PATH_BYTES: usize = 1280;
/// Where its arguments begin.
pub const ARGUMENTS_OFFSET: usize = PATH_OFFSET + PATH_BYTES;
/// Bytes for its arguments.
pub const ARGUMENTS_BYTES: usize = 4096;

impl TrackingEvent {
    /// Reads the head of a record of the ring buffer; `None` if it is too short.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
        };
        let long = |at: usize| -> Option<u64> {
            Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        Some(Self {
            at: long(0)?,
            session: long(8)?,
            started: long(16)?,
            parent_started: long(24)?,
            comm: [long(32)?, long(40)?],
            kind: word(48)?,
            pid: word(52)?,
            parent: word(56)?,
            uid: word(60)?,
            actor: word(64)?,
            code: word(68)?,
            detail: word(72)?,
            reserved: word(76)?,
            path_length: word(80)?,
            arguments_length: word(84)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn nothing_has_padding() {
        assert_eq!(size_of::<Offsets>(), 42 * 4);
        assert_eq!(size_of::<TrackedSession>(), 16);
        assert_eq!(size_of::<Label>(), 16);
        assert_eq!(size_of::<AllowedSocket>(), 120);
        assert_eq!(size_of::<TrackingEvent>(), 88);
        assert_eq!(offset_of!(TrackingEvent, comm), 32);
        assert_eq!(offset_of!(TrackingEvent, kind), 48);
        assert_eq!(offset_of!(TrackingEvent, arguments_length), 84);
    }

    #[test]
    fn reads_what_it_has_and_no_less() {
        let mut bytes = [0_u8; 88];
        for at in 0..22_u8 {
            bytes[usize::from(at) * 4] = at + 1;
        }
        let event = TrackingEvent::from_bytes(&bytes).unwrap();
        assert_eq!((event.kind, event.pid, event.parent), (13, 14, 15));
        assert_eq!((event.path_length, event.arguments_length), (21, 22));
        assert_eq!(event.session & 0xff, 3);
        assert_eq!(TrackingEvent::from_bytes(&bytes[..87]), None);
    }

    #[test]
    fn kinds_round_trip_and_zero_is_none() {
        for number in 1..=7 {
            assert_eq!(
                TrackingKind::from_number(number).map(|kind| kind as u32),
                Some(number)
            );
        }
        for number in 1..=10 {
            assert_eq!(
                HostRefusal::from_number(number).map(|refusal| refusal as u32),
                Some(number)
            );
        }
        assert_eq!(HostRefusal::from_number(0), None);
        assert_eq!(HostRefusal::from_number(11), None);
        assert_eq!(TrackingKind::from_number(0), None);
        assert_eq!(TrackingKind::from_number(8), None);
    }
}
