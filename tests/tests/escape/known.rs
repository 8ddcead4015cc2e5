//! What is open, and why: the suite fails for anything else that is, and for anything here that is not.

use std::fs;
use std::sync::LazyLock;

use guard_tests::escape::world::{Place, User};

/// Techniques that are open in one place for some users, for one reason.
pub(crate) struct Known {
    place: Place,
    users: &'static [User],
    /// Only where BPF LSM programs do not run.
    without_lsm: bool,
    /// Only where the kernel asks no cgroup hook about unix sockets.
    without_unix_hooks: bool,
    pub(crate) reason: &'static str,
    /// Else guard, which kills the session for it, is sometimes the quicker one.
    pub(crate) always: bool,
    techniques: &'static [&'static str],
}

const ALL: &[User] = &[User::Ordinary, User::Userns, User::Root];
const OWN_USER: &[User] = &[User::Ordinary, User::Root];
const ROOT: &[User] = &[User::Root];

const KNOWN: &[Known] = &[
    Known {
        place: Place::Run,
        users: ROOT,
        without_lsm: false,
        without_unix_hooks: false,
        reason: "root writes the host's files, as guard warns",
        always: true,
        techniques: &["profile", "unit", "program", "preload-file"],
    },
    Known {
        place: Place::Run,
        users: OWN_USER,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "a process outside offers it in a shared directory while the session runs",
        always: true,
        techniques: &["unix-late", "unix-replaced"],
    },
    Known {
        place: Place::Attach,
        users: ALL,
        without_lsm: true,
        without_unix_hooks: true,
        reason: "the kernel asks no cgroup hook about unix sockets; guard says so as the tree is attached",
        // Not everybody may reach each.
        always: false,
        techniques: &[
            "dns-system",
            "passed-abstract",
            "passed-connected",
            "passed-listener",
            "passed-tcp",
            "unix-abstract-dgram",
            "unix-abstract-seqpacket",
            "unix-abstract",
            "unix-acpid",
            "unix-containerd",
            "unix-crio",
            "unix-dbus-user",
            "unix-dbus",
            "unix-deep",
            "unix-descriptor",
            "unix-dgram-sendmmsg",
            "unix-dgram-sendto",
            "unix-dgram",
            "unix-docker",
            "unix-gpg-agent",
            "unix-hardlink",
            "unix-home",
            "unix-journal",
            "unix-late",
            "unix-libvirt",
            "unix-lxd",
            "unix-machined",
            "unix-mysql",
            "unix-notify",
            "unix-nscd",
            "unix-podman",
            "unix-postgres",
            "unix-process-directory",
            "unix-process-root",
            "unix-pulse",
            "unix-relative",
            "unix-renamed",
            "unix-replaced",
            "unix-resolved",
            "unix-seqpacket",
            "unix-shm",
            "unix-snapd",
            "unix-ssh-agent",
            "unix-symlink",
            "unix-syslog",
            "unix-systemd-user",
            "unix-systemd",
            "unix-tmux",
            "unix-vscode",
            "unix-wayland",
            "unix-x11",
            "umount-covers",
            "umount-own",
            "uring-unix",
        ],
    },
    Known {
        place: Place::Attach,
        users: ALL,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "the kernel asks no cgroup hook about families other than IP",
        always: true,
        techniques: &[
            "vsock-stream",
            "vsock-dgram",
            "vsock-seqpacket",
            "alg",
            "tipc",
            "smc",
            "key",
            "bluetooth",
            "rds",
            "can",
            "llc",
            "qrtr",
            "kcm",
            "pppox",
            "phonet",
            "nfc",
            "mctp",
            "ieee802154",
            "caif",
            "x25",
            "appletalk",
            "ax25",
            "netlink-rdma",
            "netlink-xfrm",
            "netlink-audit",
            "netlink-connector",
            "netlink-netfilter",
            "netlink-generic",
        ],
    },
    Known {
        place: Place::Attach,
        users: OWN_USER,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "the tree shares its user's processes; only LSM asks who takes or traces",
        always: true,
        techniques: &["taken", "opened", "traced", "written", "memory-file"],
    },
    Known {
        place: Place::Attach,
        users: ALL,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "the tree shares the host's processes; only LSM asks who talks to whom",
        always: true,
        techniques: &["signalled", "netlink-message"],
    },
    Known {
        place: Place::Attach,
        users: ALL,
        without_lsm: false,
        without_unix_hooks: false,
        reason: "the tree shares the host's IPC, keyrings and terminal",
        always: true,
        techniques: &[
            "sysv-queue",
            "sysv-memory",
            "posix-queue",
            "keyring-user",
            "terminal-input",
            "terminal-other",
        ],
    },
    Known {
        place: Place::Attach,
        users: OWN_USER,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "a program of root's gains CAP_NET_RAW: no_new_privs cannot be set from outside",
        always: true,
        techniques: &["setuid-packet", "file-capability"],
    },
    Known {
        place: Place::Attach,
        users: ROOT,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "root with all capabilities; attach refuses it unless told otherwise",
        always: true,
        techniques: &[
            "packet-raw",
            "packet-dgram",
            "packet-bypass",
            "packet-bound",
            "packet-ethertype",
            "packet-disguised",
            "xdp",
            "uring-packet",
            "i386-packet",
            "inherited-packet",
            "open-by-handle",
            "bpf-pin-open",
            "bpf-map-by-number",
            "bpf-map-create",
            "daemon-signal",
            "daemon-memory",
            "proc-init-memory",
            "proc-kcore",
            "module-load",
            "kexec",
            "io-ports",
        ],
    },
    Known {
        place: Place::Attach,
        users: ROOT,
        without_lsm: false,
        without_unix_hooks: false,
        reason: "root with all capabilities on the host's files and kernel; attach refuses it unless told otherwise",
        always: true,
        techniques: &[
            "mount-sysfs",
            "mount-bpffs",
            "mount-tracefs",
            "mount-debugfs",
            "sysctl-core-pattern",
            "sysctl-modprobe",
            "sysctl-binfmt",
            "sysctl-route",
            "sysctl-ping",
            "sysctl-forward",
            "sysctl-ptrace",
            "sysrq",
            "sys-uevent-helper",
            "sys-device",
            "perf-events",
            "userfaultfd",
            "kernel-log",
            "fanotify",
            "clock",
            "host-name",
            "cron",
            "profile",
            "unit",
            "program",
            "preload-file",
            "daemon-limits",
            "journal",
            "authority-key",
        ],
    },
    Known {
        place: Place::Attach,
        users: ROOT,
        without_lsm: true,
        without_unix_hooks: false,
        reason: "root with all capabilities; guard kills the session within a second",
        always: false,
        techniques: &["bpf-link-detach", "bpf-pin-remove"],
    },
];

/// Why a technique is open there.
pub(crate) fn known(technique: &str, place: Place, user: User) -> Option<&'static Known> {
    let matches = |known: &&Known| {
        known.place == place
            && known.users.contains(&user)
            && known.techniques.contains(&technique)
            && !(known.without_lsm && has_lsm())
            && !(known.without_unix_hooks && has_unix_hooks())
    };
    KNOWN.iter().find(matches)
}

/// Linux 6.7 brought the cgroup hooks on unix sockets.
fn has_unix_hooks() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 7),
        _ => false,
    }
}

/// Whether BPF is among the active security modules, and programs of that kind load.
pub(crate) fn has_lsm() -> bool {
    static ACTIVE: LazyLock<bool> = LazyLock::new(|| {
        let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        active.trim().split(',').any(|name| name == "bpf")
    });
    *ACTIVE
}
