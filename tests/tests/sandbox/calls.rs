//! The system call filter, by real calls.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use super::{World, for_all, said};

/// `calls` prints, per line, a name and what the call gave: a number, or an error by name.
const PRELUDE: &str = r"
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_ulong(a) for a in arguments])
    return errno.errorcode[ctypes.get_errno()] if result == -1 else str(result)
";

fn script(body: &str) -> String {
    format!("{PRELUDE}{body}")
}

#[test]
#[cfg(target_arch = "x86_64")]
fn what_leads_out_is_refused() {
    let body = r#"
refused = dict(ptrace=101, process_vm_readv=310, process_vm_writev=311, kcmp=312, pidfd_getfd=438,
    process_madvise=440, mount=165, umount2=166, pivot_root=155, chroot=161, open_tree=428,
    open_tree_attr=467, move_mount=429, fsopen=430, fsconfig=431, fsmount=432, fspick=433,
    mount_setattr=442, setns=308, bpf=321, perf_event_open=298, userfaultfd=323, fanotify_init=300,
    add_key=248, request_key=249, keyctl=250, open_by_handle_at=304, init_module=175,
    finit_module=313, delete_module=176, kexec_load=246, kexec_file_load=320, reboot=169,
    settimeofday=164, clock_settime=227, clock_adjtime=305, adjtimex=159, syslog=103, acct=163,
    quotactl=179, quotactl_fd=443, lookup_dcookie=212, nfsservctl=180, swapon=167, swapoff=168,
    vhangup=153, iopl=172, ioperm=173, uselib=134, _sysctl=156)
for name, number in refused.items():
    answer = call(number, 0, 0, 0, 0, 0)
    if answer != "EPERM":
        print(name, answer)
for name, number in dict(io_uring_setup=425, io_uring_enter=426, io_uring_register=427, clone3=435,
        newer=470, much_newer=0x3fffffff).items():
    answer = call(number, 0, 0, 0, 0, 0)
    if answer != "ENOSYS":
        print(name, answer)
for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
    for high in (0, 0x8000000000000000):
        for name, number, more in (("clone", 56, 17), ("unshare", 272, 0)):
            answer = call(number, bit | more | high)
            if answer != "EPERM":
                print(name, hex(bit), answer)
if call(272, 0x80) != "EPERM":
    print("unshare time")
print(call(272, 0x400), call(135, 0xffffffff), call(135, 0x40000), call(135, 3 << 32))
"#;
    for_all("name = \"p\"", |world| {
        assert_eq!(world.python(&script(body)), "0 0 EPERM 0");
    });
}

#[test]
#[cfg(target_arch = "x86_64")]
fn other_families_of_sockets_do_not_exist() {
    let body = r#"
for family in list(range(0, 50)) + [1 << 31]:
    for kind in (1, 2, 3, 5, 0x80000 | 2):
        answer = call(41, family, kind, 0)
        if family in (1, 2, 10, 16):
            continue
        if answer != "EAFNOSUPPORT":
            print(family, kind, answer)
for protocol in range(1, 30):
    for high in (0, 1 << 32):
        answer = call(41, 16 | high, 3, protocol | high)
        if answer != "EAFNOSUPPORT":
            print("netlink", protocol, answer)
for family in (2, 10, 16, 30):
    if call(53, family, 1, 0, 0) != "EAFNOSUPPORT":
        print("pair", family)
import socket
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
socket.socketpair()
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
print(socket.getaddrinfo("127.0.0.1", 1)[0][4])
"#;
    for_all("name = \"p\"", |world| {
        assert_eq!(world.python(&script(body)), "('127.0.0.1', 1)");
    });
}

#[test]
#[cfg(target_arch = "x86_64")]
fn foreign_abis_kill() {
    // getpid as x32 knows it, the same with a number beyond all, and as i386 knows it.
    let x32 = script("call(0x40000000 + 39)");
    let far = script("call(0x7fffffff)");
    let i386 = "
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex('b814000000cd80c3'))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
";
    for_all("name = \"p\"", |world| {
        for body in [x32.as_str(), far.as_str(), i386] {
            let output = world
                .run(&["/usr/bin/python3", "-c", body])
                .output()
                .unwrap();
            assert_eq!(
                output.status.signal(),
                Some(Signal::SIGSYS as i32),
                "{body}: {output:?}"
            );
        }
    });
}

#[test]
fn nobody_types_into_terminals() {
    let body = r"
import fcntl, os, pty, sys
master, slave = pty.openpty()
for number in (0x5412, 0x541c):
    for high in (0, 1 << 32):
        print(call(16, slave, number | high, 0))
fcntl.ioctl(slave, 0x5413, bytes(8))
";
    let world = World::new(65534, "name = \"p\"");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(world.python(&script(body)), "EPERM\nEPERM\nEPERM\nEPERM");
    }
}

#[test]
fn core_dumps_stay_impossible() {
    let body = "
import resource
r = resource
print(r.getrlimit(r.RLIMIT_CORE))
r.setrlimit(r.RLIMIT_CORE, (0, 0))
r.prlimit(0, r.RLIMIT_CORE, (0, 0))
r.prlimit(0, r.RLIMIT_NOFILE, (64, 64))
print(r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE))
";
    for_all("name = \"p\"", |world| {
        assert_eq!(world.python(body), "(1, 1)\n(1, 1) (64, 64)");
    });
}

#[test]
fn capabilities_are_those_that_installing_takes() {
    let world = World::new(0, "name = \"p\"");
    let held = world.says("grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u");
    assert_eq!(held, "00000000800005fb");
    let user = World::new(65534, "name = \"p\"");
    let held = user.says("grep -E '^Cap' /proc/self/status | cut -f2 | sort -u");
    assert_eq!(held, "0000000000000000\n00000000800005fb");
    // Nothing that has set-user-id gives any.
    let output = user.shell("cp /usr/bin/id . && chmod u+s id && ./id -u");
    assert_eq!(said(&output), "65534");
}

#[test]
fn the_keyring_is_a_new_one() {
    for_all("name = \"p\"", |world| {
        assert_eq!(world.says("cat /proc/keys | wc -c"), "0");
    });
}
