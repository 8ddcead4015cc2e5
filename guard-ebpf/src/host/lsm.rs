//! The kernel's security hooks, where it runs BPF programs in them: what neither cgroups nor seccomp can see.
//!
//! All of them are for processes of sessions only, and refuse what reaches past the session: sockets, descriptors,
//! processes and signals of others, and what would undo the hooks themselves.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use guard_common::tracking::HostRefusal;

use crate::kernel::{offset, process_of, read};
use crate::label::{Session, current, label_of, label_of_current};
use crate::maps::CALLS;
use crate::peer::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, family_of, is_own, may_reach, may_use, sock_of,
};
use crate::report::refused;

const ALLOW: i32 = 0;
/// `-EPERM`
const REFUSE: i32 = -1;

const SOCK_RAW: u32 = 3;
const SOCK_PACKET: u32 = 10;
/// The bits of a socket's type that are no flags.
const SOCK_TYPE: u32 = 0xf;
const NETLINK_ROUTE: u32 = 0;

/// The kind of file in a mode, and a socket's.
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// The magic number of a bpffs.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Capabilities that undo the hooks or reach into the kernel: to load modules, to read and write memory and ports,
/// to start another kernel, to override security modules, to trace the host, and to load programs.
const CAPABILITIES: [u32; 7] = [16, 17, 22, 32, 33, 38, 39];

#[lsm(hook = "socket_create")]
pub(crate) fn socket_create(context: LsmContext) -> i32 {
    // (int family, int type, int protocol, int kern)
    let Some(session) = judged(0) else {
        return ALLOW;
    };
    let family: u32 = context.arg(0);
    let kind = context.arg::<u32>(1) & SOCK_TYPE;
    let protocol: u32 = context.arg(2);
    if context.arg::<u32>(3) != 0 {
        return ALLOW;
    }
    let may = match family as u16 {
        AF_UNIX => true,
        AF_INET | AF_INET6 => kind != SOCK_RAW && kind != SOCK_PACKET,
        AF_NETLINK => protocol == NETLINK_ROUTE,
        _ => false,
    };
    if may && session.holds_task(current()) {
        return ALLOW;
    }
    let refusal = if may {
        HostRefusal::Outside
    } else {
        HostRefusal::SocketFamily
    };
    refuse(&session, refusal, family)
}

#[lsm(hook = "socket_connect")]
pub(crate) fn socket_connect(context: LsmContext) -> i32 {
    // (struct socket *socket, struct sockaddr *address, int length)
    use_of(1, context.arg(0))
}

#[lsm(hook = "socket_bind")]
pub(crate) fn socket_bind(context: LsmContext) -> i32 {
    // (struct socket *socket, struct sockaddr *address, int length)
    use_of(2, context.arg(0))
}

#[lsm(hook = "socket_sendmsg")]
pub(crate) fn socket_sendmsg(context: LsmContext) -> i32 {
    // (struct socket *socket, struct msghdr *message, int size)
    use_of(3, context.arg(0))
}

#[lsm(hook = "socket_accept")]
pub(crate) fn socket_accept(context: LsmContext) -> i32 {
    // (struct socket *socket, struct socket *new)
    use_of(4, context.arg(0))
}

#[inline(always)]
fn use_of(hook: u32, socket: u64) -> i32 {
    let Some(session) = judged(hook) else {
        return ALLOW;
    };
    let sock = sock_of(socket);
    if may_use(&session, sock) {
        return ALLOW;
    }
    refuse(
        &session,
        HostRefusal::ForeignSocket,
        u32::from(family_of(sock)),
    )
}

/// Descriptors that come by a unix socket, by `pidfd_getfd` or by a seccomp listener.
#[lsm(hook = "file_receive")]
pub(crate) fn file_receive(context: LsmContext) -> i32 {
    // (struct file *file)
    let Some(session) = judged(5) else {
        return ALLOW;
    };
    let file: u64 = context.arg(0);
    let inode = read(file, offset!(file_inode)).unwrap_or(0);
    let mode: u16 = read(inode, offset!(inode_mode)).unwrap_or(S_IFSOCK);
    if mode & S_IFMT != S_IFSOCK {
        return ALLOW;
    }
    let sock = sock_of(read(file, offset!(file_private_data)).unwrap_or(0));
    if is_own(&session, sock) {
        return ALLOW;
    }
    refuse(
        &session,
        HostRefusal::ForeignDescriptor,
        u32::from(family_of(sock)),
    )
}

/// `ptrace`, `process_vm_readv`, `pidfd_getfd`, and what of `/proc` tells or changes another process' inside.
#[lsm(hook = "ptrace_access_check")]
pub(crate) fn ptrace_access_check(context: LsmContext) -> i32 {
    // (struct task_struct *task, unsigned int mode)
    to_process(6, context.arg(0), HostRefusal::Ptrace)
}

#[lsm(hook = "task_kill")]
pub(crate) fn task_kill(context: LsmContext) -> i32 {
    // (struct task_struct *task, struct kernel_siginfo *information, int signal, const struct cred *credentials)
    to_process(10, context.arg(0), HostRefusal::Signal)
}

#[inline(always)]
fn to_process(hook: u32, task: u64, refusal: HostRefusal) -> i32 {
    let Some(session) = judged(hook) else {
        return ALLOW;
    };
    if label_of(task).is_some_and(|other| other.cgroup == session.cgroup) {
        return ALLOW;
    }
    refuse(&session, refusal, process_of(task).unwrap_or(0))
}

#[lsm(hook = "bpf")]
pub(crate) fn bpf(_context: LsmContext) -> i32 {
    match judged(7) {
        Some(session) => refuse(&session, HostRefusal::Bpf, 0),
        None => ALLOW,
    }
}

#[lsm(hook = "unix_stream_connect")]
pub(crate) fn unix_stream_connect(context: LsmContext) -> i32 {
    // (struct sock *from, struct sock *to, struct sock *new)
    reach(8, context.arg(1))
}

#[lsm(hook = "unix_may_send")]
pub(crate) fn unix_may_send(context: LsmContext) -> i32 {
    // (struct socket *from, struct socket *to)
    let to: u64 = context.arg(1);
    reach(9, sock_of(to))
}

#[inline(always)]
fn reach(hook: u32, sock: u64) -> i32 {
    let Some(session) = judged(hook) else {
        return ALLOW;
    };
    if may_reach(&session, sock) {
        return ALLOW;
    }
    refuse(&session, HostRefusal::UnixSocket, 0)
}

#[lsm(hook = "capable")]
pub(crate) fn capable(context: LsmContext) -> i32 {
    // (const struct cred *credentials, struct user_namespace *namespace, int capability, unsigned int options)
    let capability: u32 = context.arg(2);
    let Some(session) = judged(11) else {
        return ALLOW;
    };
    if CAPABILITIES.contains(&capability) {
        return refuse(&session, HostRefusal::Capability, capability);
    }
    ALLOW
}

/// Pins are files of root's; nothing else keeps a session's root from them.
#[lsm(hook = "inode_unlink")]
pub(crate) fn inode_unlink(context: LsmContext) -> i32 {
    // (struct inode *directory, struct dentry *dentry)
    let Some(session) = judged(12) else {
        return ALLOW;
    };
    let super_block = read(context.arg(0), offset!(inode_sb)).unwrap_or(0);
    if read::<u64>(super_block, offset!(super_block_magic)) == Some(BPF_FS_MAGIC) {
        return refuse(&session, HostRefusal::Pin, 0);
    }
    ALLOW
}

/// The session of the running process, if it has one; counts the daemon's own calls.
#[inline(always)]
fn judged(hook: u32) -> Option<Session> {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    if process == offset!(tester) {
        if let Some(calls) = CALLS.get_ptr_mut(hook) {
            // SAFETY: a value of the map. Two threads of the daemon may lose a count; it is asked for more than none.
            unsafe { *calls += 1 };
        }
        return None;
    }
    label_of_current()
}

#[inline(always)]
fn refuse(session: &Session, refusal: HostRefusal, detail: u32) -> i32 {
    refused(session, refusal, detail);
    REFUSE
}
