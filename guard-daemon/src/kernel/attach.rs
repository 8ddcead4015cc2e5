//! Puts the programs of a session in place and takes them away.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use guard_common::Settings;
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs, statfs};

use super::origin::Origins;
use super::refusal::Refusals;
use super::{HookSettings, Hooks, KernelError};

/// The committed object; `cargo xtask ebpf --check` proves that it is the sources'.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../guard-ebpf/guard.bpf.o");

/// Every program, in the order of attaching: what denies first, what redirects last, so that nothing is
/// ever redirected past a hook that is not there yet.
const PROGRAMS: [&str; 15] = [
    "egress",
    "ingress",
    "sock_create",
    "bind4",
    "bind6",
    "sock_release",
    "sock_ops",
    "getpeername4",
    "getpeername6",
    "recvmsg4",
    "recvmsg6",
    "sendmsg4",
    "sendmsg6",
    "connect4",
    "connect6",
];

pub(super) fn attach(
    cgroup: BorrowedFd<'_>,
    pins: &Path,
    settings: HookSettings,
) -> Result<Hooks, KernelError> {
    if !settings.own_network {
        return Err(KernelError::SharedNetwork);
    }
    if settings.gateway_port == 0 || settings.resolver_port == 0 {
        return Err(KernelError::NoPort);
    }
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(KernelError::NoRuntime);
    }
    if !fstatfs(cgroup).is_ok_and(|at| at.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Err(KernelError::NotCgroup2);
    }
    make(pins)?;
    let attached = load(&settings).and_then(|mut programs| {
        let links = link(&mut programs, cgroup, pins)?;
        pin_maps(&programs, pins)?;
        Ok(Hooks {
            origins: Origins::new(&mut programs, settings.netns_cookie)?,
            refusals: Refusals::new(&mut programs)?,
            _links: links,
        })
    });
    if attached.is_err() {
        // The error at hand matters more than one in cleaning up, which the next start repeats.
        let _ = remove(pins);
    }
    attached
}

pub(super) fn remove(pins: &Path) -> Result<(), KernelError> {
    let failed = |source: io::Error| KernelError::Pins {
        path: pins.to_owned(),
        problem: "cannot be removed; remove the directory and its files as root".to_owned(),
        source: Some(source),
    };
    let entries = match fs::read_dir(pins) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    fs::remove_dir(pins).map_err(failed)
}

/// Makes the directory of the pins; it must be new, so that no other session's are mixed with them.
fn make(pins: &Path) -> Result<(), KernelError> {
    let failed = |problem: &str, source| KernelError::Pins {
        path: pins.to_owned(),
        problem: problem.to_owned(),
        source,
    };
    fs::DirBuilder::new()
        .mode(0o700)
        .create(pins)
        .map_err(|error| failed("cannot be made for the session's pins", Some(error)))?;
    if !statfs(pins).is_ok_and(|at| at.filesystem_type() == BPF_FS_MAGIC) {
        let _ = fs::remove_dir(pins);
        let problem = "is not on a bpffs, so hooks would not outlive guard; mount one there";
        return Err(failed(problem, None));
    }
    Ok(())
}

/// Loads every program with its settings; the kernel's verifier checks them here.
fn load(settings: &HookSettings) -> Result<Ebpf, KernelError> {
    let settings = Settings {
        gateway_port: settings.gateway_port,
        resolver_port: settings.resolver_port,
        own_network: u32::from(settings.own_network),
    };
    let mut programs = EbpfLoader::new()
        .override_global(Settings::GLOBAL, &settings, true)
        .load(OBJECT)
        .map_err(|error| refused("making the eBPF maps", error))?;
    for name in PROGRAMS {
        let step = || format!("loading the program {name}");
        match program(&mut programs, name)? {
            Program::CgroupSkb(program) => program.load(),
            Program::CgroupSock(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::SockOps(program) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
        .map_err(|error| refused(step(), error))?;
    }
    Ok(programs)
}

/// Attaches every program to the cgroup and pins each link.
fn link(
    programs: &mut Ebpf,
    cgroup: BorrowedFd<'_>,
    pins: &Path,
) -> Result<Vec<PinnedLink>, KernelError> {
    let mut links = Vec::with_capacity(PROGRAMS.len());
    for name in PROGRAMS {
        let link = attach_one(program(programs, name)?, cgroup)
            .map_err(|error| refused(format!("attaching the program {name}"), error))?;
        let pinned = link
            .pin(pins.join(format!("link_{name}")))
            .map_err(|error| refused(format!("pinning the link of {name}"), error))?;
        links.push(pinned);
    }
    Ok(links)
}

fn attach_one(program: &mut Program, cgroup: BorrowedFd<'_>) -> Result<FdLink, AttachError> {
    // Links are always "multi" in the kernel; a flag that says so is refused (`cgroup_bpf_link_attach`).
    let mode = CgroupAttachMode::Single;
    Ok(match program {
        Program::CgroupSkb(program) => {
            let direction = *program.expected_attach_type();
            let direction = direction.unwrap_or(CgroupSkbAttachType::Egress);
            let id = program.attach(cgroup, direction, mode)?;
            program.take_link(id)?.try_into()?
        }
        Program::CgroupSock(program) => {
            let id = program.attach(cgroup, mode)?;
            program.take_link(id)?.try_into()?
        }
        Program::CgroupSockAddr(program) => {
            let id = program.attach(cgroup, mode)?;
            program.take_link(id)?.try_into()?
        }
        Program::SockOps(program) => {
            let id = program.attach(cgroup, mode)?;
            program.take_link(id)?.try_into()?
        }
        _ => return Err(ProgramError::UnexpectedProgramType.into()),
    })
}

#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Link(#[from] LinkError),
}

fn pin_maps(programs: &Ebpf, pins: &Path) -> Result<(), KernelError> {
    for (name, map) in programs.maps() {
        // The settings' map (`.rodata`) lives as long as the programs; bpffs takes no dot in a name.
        if name.starts_with('.') {
            continue;
        }
        map.pin(pins.join(format!("map_{}", name.to_lowercase())))
            .map_err(|error| refused(format!("pinning the map {name}"), error))?;
    }
    Ok(())
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

/// Tells want of privilege from want of a feature.
pub(super) fn refused(
    step: impl Into<String>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> KernelError {
    let step = step.into();
    let source = Box::new(error);
    if is_permission(source.as_ref()) {
        KernelError::NotPermitted { step, source }
    } else {
        KernelError::Kernel { step, source }
    }
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::PermissionDenied;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::path::PathBuf;
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
        let unset = HookSettings {
            gateway_port: 0,
            resolver_port: 0,
            own_network: false,
            netns_cookie: 0,
        };
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
tell(bound.send, b'x')
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
        let mut programs = load(&unset).unwrap();
        let links: Vec<FdLink> = PROGRAMS
            .into_iter()
            .map(|name| {
                attach_one(program(&mut programs, name).unwrap(), directory.as_fd()).unwrap()
            })
            .collect();
        let output = python.wait_with_output().unwrap();
        drop(links);
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output, "EPERM\n".repeat(12));
    }
}
