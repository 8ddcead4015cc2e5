//! Loads the programs of a session and attaches them to its cgroup.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use guard_common::Settings;

use super::attach::refused;
use super::health::Links;
use super::{KernelError, Limit, syscall, unix};

/// The committed object; `cargo xtask ebpf --check` proves that it is the sources'.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../guard-ebpf/guard.bpf.o");

/// Every program with its attach type (`enum bpf_attach_type`), in the order of attaching: what denies first,
/// what redirects last, so that nothing is ever redirected past a hook that is not there yet.
const PROGRAMS: [(&str, u32); 16] = [
    ("egress", 1),
    ("ingress", 0),
    (DEVICE, 6),
    ("sock_create", 2),
    ("bind4", 8),
    ("bind6", 9),
    ("sock_release", 34),
    ("sock_ops", 3),
    ("getpeername4", 29),
    ("getpeername6", 30),
    ("recvmsg4", 19),
    ("recvmsg6", 20),
    ("sendmsg4", 14),
    ("sendmsg6", 15),
    ("connect4", 10),
    ("connect6", 11),
];

/// The one that is needed in a shared network namespace only.
const SETSOCKOPT: (&str, u32) = ("setsockopt", 22);

const DEVICE: &str = "device";
/// What stands in for it on kernels before 6.1.
const UNATTRIBUTED_DEVICE: &str = "device_unattributed";

/// The pin of the sockets' marks.
const MARKS: &str = "map_socket_marks";

/// The programs of a session in the kernel, not attached yet.
pub(super) struct Loaded {
    pub(super) programs: Ebpf,
    /// Those to attach, in order.
    names: Vec<(&'static str, u32)>,
    pub(super) limits: Vec<Limit>,
}

impl Loaded {
    /// Loads every program with its settings; the kernel's verifier checks them here.
    pub(super) fn new(settings: Settings, predecessor: Option<&Path>) -> Result<Self, KernelError> {
        let mut loading = EbpfLoader::new();
        loading.override_global(Settings::GLOBAL, &settings, true);
        let marks = predecessor.map(|pins| pins.join(MARKS));
        if let Some(marks) = marks.filter(|marks| marks.exists()) {
            loading.map_pin_path("SOCKET_MARKS", marks);
        }
        let programs = loading
            .load(OBJECT)
            .map_err(|error| refused("making the eBPF maps", error))?;
        let mut loaded = Self {
            programs,
            names: Vec::with_capacity(PROGRAMS.len() + 1),
            limits: Vec::new(),
        };
        if settings.is_shared() {
            loaded.load(SETSOCKOPT.0, SETSOCKOPT.1)?;
        }
        for (name, attach_type) in PROGRAMS {
            match loaded.load(name, attach_type) {
                Err(KernelError::Kernel { .. }) if name == DEVICE => {
                    loaded.load(UNATTRIBUTED_DEVICE, attach_type)?;
                    loaded.limits.push(Limit {
                        code: "device-caller",
                        detail: "devices are refused, but the record does not name the process: \
                                 that needs Linux 6.1"
                            .to_owned(),
                    });
                }
                other => other?,
            }
        }
        Ok(loaded)
    }

    fn load(&mut self, name: &'static str, attach_type: u32) -> Result<(), KernelError> {
        match program(&mut self.programs, name)? {
            Program::CgroupDevice(program) => program.load(),
            Program::CgroupSkb(program) => program.load(),
            Program::CgroupSock(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::CgroupSockopt(program) => program.load(),
            Program::SockOps(program) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
        .map_err(|error| refused(format!("loading the program {name}"), error))?;
        self.names.push((name, attach_type));
        Ok(())
    }

    /// Attaches every program to the cgroup and pins each link.
    pub(super) fn link(
        &mut self,
        cgroup: BorrowedFd<'_>,
        pins: &Path,
        links: &mut Links,
    ) -> Result<(), KernelError> {
        for (name, attach_type) in &self.names {
            let descriptor = self
                .attach_one(name, *attach_type, cgroup)
                .map_err(|error| refused(format!("attaching the program {name}"), error))?;
            links
                .add(name, descriptor, pins)
                .map_err(|error| refused(format!("pinning the link of {name}"), error))?;
        }
        Ok(())
    }

    /// The same for the hooks on unix sockets, as far as the kernel has them.
    pub(super) fn link_unix(
        &mut self,
        allowed: &[PathBuf],
        cgroup: BorrowedFd<'_>,
        pins: &Path,
        links: &mut Links,
    ) -> Result<(), KernelError> {
        let map = |name: &str| {
            let map = self.programs.map(name);
            let map = map.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
            map.and_then(unix::descriptor)
                .map_err(|error| refused(format!("opening the map {name}"), error))
        };
        let (refusals, lost) = (map("REFUSALS")?, map("LOST_REFUSALS")?);
        let programs = unix::load(allowed, refusals, lost, &mut self.limits)
            .map_err(|error| refused("loading the programs on unix sockets", error))?;
        for loaded in programs {
            let name = loaded.name;
            let link = syscall::link(loaded.program.as_fd(), cgroup, loaded.attach_type)
                .map_err(|error| refused(format!("attaching the program {name}"), error))?;
            links
                .add(name, link, pins)
                .map_err(|error| refused(format!("pinning the link of {name}"), error))?;
        }
        Ok(())
    }

    fn attach_one(
        &self,
        name: &str,
        attach_type: u32,
        cgroup: BorrowedFd<'_>,
    ) -> io::Result<OwnedFd> {
        let program = self.programs.program(name);
        let program = program.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let descriptor = program.fd().map_err(io::Error::other)?;
        syscall::link(descriptor.as_fd(), cgroup, attach_type)
    }
}

fn program<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, KernelError> {
    programs
        .program_mut(name)
        .ok_or_else(|| KernelError::Kernel {
            step: format!("finding the program {name} in guard's eBPF object"),
            source: "the object and the daemon are of different builds; run `cargo xtask ebpf`"
                .into(),
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    struct Cgroup(PathBuf);

    impl Drop for Cgroup {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }

    /// What a missing or zero setting means: invariant 5 of the design.
    #[test]
    fn without_settings_everything_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            crate::skip::skip(module_path!(), "loading eBPF programs needs root");
            return;
        }
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let unified = mounts.find(|fields| fields[2] == "cgroup2").unwrap();
        let name = format!("guard-test-{}-unset", std::process::id());
        let cgroup = Cgroup(Path::new(unified[1]).join(name));
        fs::create_dir(&cgroup.0).unwrap();
        // Sockets made before the hooks meet those that `sock_create` would keep them from.
        let script = "
from socket import *
import errno, os, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))
tcp, tcp6, udp, udp6 = socket(), socket(AF_INET6), socket(type=SOCK_DGRAM), socket(AF_INET6, SOCK_DGRAM)
bound = socket(type=SOCK_DGRAM); bound.bind(('127.0.0.1', 0)); bound.connect(bound.getsockname())
print('ready', flush=True); sys.stdin.read()
def tell(call, *arguments):
    try: call(*arguments); print('done')
    except OSError as e: print(errno.errorcode[e.errno])
tell(socket); tell(socket, AF_INET6); tell(socket, AF_INET, SOCK_DGRAM)
tell(tcp.connect, ('127.0.0.1', 9)); tell(tcp6.connect, ('::1', 9))
tell(udp.connect, ('127.0.0.1', 53)); tell(udp6.connect, ('::1', 9))
tell(udp.sendto, b'x', ('127.0.0.1', 9)); tell(udp6.sendto, b'x', ('::1', 53))
tell(tcp.bind, ('127.0.0.1', 0)); tell(tcp6.bind, ('::1', 0))
tell(bound.send, b'x'); tell(open, '/dev/null')
";
        let mut python = Command::new("python3")
            .args(["-c", script])
            .arg(&cgroup.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        python
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut ready)
            .unwrap();
        let directory = fs::File::open(&cgroup.0).unwrap();
        let loaded = Loaded::new(Settings::default(), None).unwrap();
        let attach = |(name, attach_type)| {
            let attached = loaded.attach_one(name, attach_type, directory.as_fd());
            attached.unwrap()
        };
        let links: Vec<OwnedFd> = PROGRAMS.into_iter().map(attach).collect();
        let output = python.wait_with_output().unwrap();
        drop(links);
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output, "EPERM\n".repeat(13));
    }
}
