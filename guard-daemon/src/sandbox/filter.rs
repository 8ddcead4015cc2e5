//! The system call filter of a session: what leads out of it, or only widens the kernel's surface, is
//! refused. Everything else is allowed: the filter is a second wall, not the first.
//!
//! Three programs by what a refusal looks like (`Programs`). Before the first stands a check that
//! `seccompiler` cannot express: numbers of foreign ABIs kill, numbers the list was not made for do not
//! exist.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

#[cfg(target_arch = "x86_64")]
const ARCH: (TargetArch, u32) = (TargetArch::x86_64, 0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: (TargetArch, u32) = (TargetArch::aarch64, 0xc000_00b7);

/// The highest number of a system call that was looked at when the lists below were made: Linux 6.17's
/// `file_setattr`. What newer kernels add does not exist in a session.
const HIGHEST: u32 = 469;

/// `__X32_SYSCALL_BIT`: numbers from here are the x32 ABI's, the same calls under other names.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Refused whatever the arguments. By group: other processes' memory and descriptors; mounts and
/// namespaces; programs and events in the kernel; keys; files by handle; the kernel's own code, time,
/// log and accounting; hardware.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    OPEN_TREE_ATTR,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_nfsservctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// `open_tree_attr`, of Linux 6.15; the same number everywhere.
const OPEN_TREE_ATTR: libc::c_long = 467;

#[cfg(target_arch = "x86_64")]
const SETRLIMIT: libc::c_long = libc::SYS_setrlimit;
/// The C library's crate does not name it there.
#[cfg(target_arch = "aarch64")]
const SETRLIMIT: libc::c_long = 164;

/// Do not exist in a session, so that programs use what does: `io_uring` runs calls that no filter sees,
/// and `clone3` has its flags in memory that no filter can read.
const ABSENT: [libc::c_long; 4] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_clone3,
];

/// Flags of clone(2) and unshare(2) that make namespaces. User namespaces are among them: their root has
/// every capability inside, and with it the kernel's most attacked interfaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// `CLONE_NEWTIME`; only unshare(2) takes it, for clone(2) the bit is part of a signal's number.
const NEW_TIME: u64 = 0x80;

/// personality(2) values that are asked for in earnest: Linux, 32-bit addresses on 64-bit machines, both
/// with and without the old `uname`, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// ioctls that type into terminals. The kernel takes 32 bits of the number, so 32 are compared.
const TYPING: [u64; 2] = [0x5412, 0x541c];

/// Why the filter could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the system call filter cannot be made: {0}; please report this")]
pub struct FilterError(#[from] BackendError);

/// The filter, ready to be installed.
#[derive(Clone)]
pub(super) struct Programs([BpfProgram; 3]);

impl Programs {
    /// Compiles the filter. Refused calls fail with EPERM; sockets of other families with EAFNOSUPPORT,
    /// which tools that only try (PAM and useradd with audit) take as what it is; the limit for core
    /// dumps stays as it is, and who sets it (gpg) is told that it was set.
    pub(super) fn compile() -> Result<Self, FilterError> {
        let mut refused = program(refused()?, libc::EPERM)?;
        let mut whole = guard_of_numbers();
        whole.append(&mut refused);
        Ok(Self([
            whole,
            program(sockets()?, libc::EAFNOSUPPORT)?,
            program(core_limits()?, 0)?,
        ]))
    }

    /// Installs it in this process for good. Needs no_new_privs.
    pub(super) fn install(&self) -> std::io::Result<()> {
        for program in &self.0 {
            seccompiler::apply_filter(program).map_err(std::io::Error::other)?;
        }
        Ok(())
    }
}

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

fn program(rules: Rules, errno: libc::c_int) -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        ARCH.0,
    )?;
    filter.try_into()
}

fn refused() -> Result<Rules, BackendError> {
    let mut rules: Rules = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let new_namespace = |bit| condition(0, SeccompCmpOp::MaskedEq(bit), bit);
    for (call, time) in [(libc::SYS_clone, None), (libc::SYS_unshare, Some(NEW_TIME))] {
        let any = NAMESPACES
            .iter()
            .map(|&flag| u64::from(flag.cast_unsigned()))
            .chain(time)
            .map(|bit| SeccompRule::new(vec![new_namespace(bit)?]))
            .collect::<Result<_, _>>()?;
        rules.insert(call, any);
    }
    let unusual = PERSONALITIES
        .iter()
        .map(|&value| condition(0, SeccompCmpOp::Ne, value))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_personality, vec![SeccompRule::new(unusual)?]);
    let typing = TYPING
        .iter()
        .map(|&number| SeccompRule::new(vec![condition(1, SeccompCmpOp::Eq, number)?]))
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_ioctl, typing);
    Ok(rules)
}

/// Families that reach nothing but what the hooks and the mount namespace govern; of netlink only routes,
/// which libcs ask for addresses.
fn sockets() -> Result<Rules, BackendError> {
    let family =
        |family: libc::c_int, operator| condition(0, operator, u64::from(family.cast_unsigned()));
    let others = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ]
    .into_iter()
    .map(|known| family(known, SeccompCmpOp::Ne))
    .collect::<Result<_, _>>()?;
    let no_routes = vec![
        family(libc::AF_NETLINK, SeccompCmpOp::Eq)?,
        condition(
            2,
            SeccompCmpOp::Ne,
            u64::from(libc::NETLINK_ROUTE.cast_unsigned()),
        )?,
    ];
    let pair = vec![family(libc::AF_UNIX, SeccompCmpOp::Ne)?];
    Ok(Rules::from([
        (
            libc::SYS_socket,
            vec![SeccompRule::new(others)?, SeccompRule::new(no_routes)?],
        ),
        (libc::SYS_socketpair, vec![SeccompRule::new(pair)?]),
    ]))
}

/// A limit of 0 would let a dump through to a program outside (`privileges::forbid_core_dumps`).
fn core_limits() -> Result<Rules, BackendError> {
    let core = u64::from(libc::RLIMIT_CORE);
    let sets = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?;
    Ok(Rules::from([
        (
            SETRLIMIT,
            vec![SeccompRule::new(vec![condition(
                0,
                SeccompCmpOp::Eq,
                core,
            )?])?],
        ),
        (
            libc::SYS_prlimit64,
            vec![SeccompRule::new(vec![
                condition(1, SeccompCmpOp::Eq, core)?,
                sets,
            ])?],
        ),
    ]))
}

/// Compares the low half of an argument, as the kernel takes it from an `int`.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

// linux/bpf_common.h and linux/seccomp.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
#[cfg(target_arch = "x86_64")]
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

/// Goes on to what follows it for numbers of this machine's own ABI that the lists were made for.
fn guard_of_numbers() -> BpfProgram {
    let statement = |code, k| sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let jump = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let kill = statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS);
    let absent = statement(
        RETURN,
        libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
    );
    let mut program = vec![
        statement(LOAD, ARCH_AT),
        jump(EQUAL, ARCH.1, 1, 0),
        kill.clone(),
        statement(LOAD, NUMBER_AT),
    ];
    #[cfg(target_arch = "x86_64")]
    program.extend([jump(AT_LEAST, X32, 0, 1), kill]);
    program.extend([jump(GREATER, HIGHEST, 0, 1), absent.clone()]);
    for call in ABSENT {
        let number = u32::try_from(call).unwrap_or(u32::MAX);
        program.extend([jump(EQUAL, number, 0, 1), absent.clone()]);
    }
    program
}
