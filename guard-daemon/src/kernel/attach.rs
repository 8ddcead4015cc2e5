//! Puts the programs of a session in place and takes them away.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aya::maps::{HashMap, Map, MapData, SkStorage};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use guard_common::{Settings, SocketMark};
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs, statfs};

use super::health::Links;
use super::origin::{Origins, take_map};
use super::refusal::Refusals;
use super::{HookSettings, Hooks, KernelError, Limit, Network, syscall, unix};

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

const DEVICE: &str = "device";
/// What stands in for it on kernels before 6.1.
const UNATTRIBUTED_DEVICE: &str = "device_unattributed";

/// What is pinned of a map.
const MARKS: &str = "map_socket_marks";

/// The map `SOCKET_MARKS` of a session.
pub(super) type Marks = SkStorage<MapData, u32>;

pub(super) fn attach(
    cgroup: BorrowedFd<'_>,
    pins: &Path,
    settings: &HookSettings,
) -> Result<Hooks, KernelError> {
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
    let attached = place(cgroup, pins, settings);
    if attached.is_err() {
        // The error at hand matters more than one in cleaning up, which the next start repeats.
        let _ = remove(pins);
    }
    attached
}

fn place(
    cgroup: BorrowedFd<'_>,
    pins: &Path,
    settings: &HookSettings,
) -> Result<Hooks, KernelError> {
    let told = Settings {
        gateway_port: settings.gateway_port,
        resolver_port: settings.resolver_port,
        network: match settings.network {
            Network::Own => Settings::OWN_NETWORK,
            Network::Shared { .. } => Settings::SHARED_NETWORK,
        },
    };
    let mut loaded = load(&told, settings.predecessor.as_deref())?;
    let mut links = Links::default();
    pin_maps(&loaded.programs, pins, &mut links)?;
    let marks = match &settings.network {
        Network::Own => None,
        Network::Shared { loopback_ports } => {
            allow(&mut loaded.programs, loopback_ports)?;
            Some(Mutex::new(marks(&mut loaded.programs)?))
        }
    };
    if let Some(allowed) = &settings.unix {
        loaded.link_unix(allowed, cgroup, pins, &mut links)?;
    }
    loaded.link(cgroup, pins, &mut links)?;
    Ok(Hooks {
        origins: Origins::new(&mut loaded.programs, settings.netns_cookie)?,
        refusals: Refusals::new(&mut loaded.programs)?,
        marks,
        links,
        limits: loaded.limits,
    })
}

pub(super) fn recognise(
    marks: Option<&Mutex<Marks>>,
    socket: BorrowedFd<'_>,
) -> Result<(), KernelError> {
    let Some(marks) = marks else {
        return Ok(());
    };
    let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
    marks
        .insert(&socket, SocketMark::Guard as u32, 0)
        .map_err(|error| refused("marking a socket as guard's", error))
}

fn marks(programs: &mut Ebpf) -> Result<Marks, KernelError> {
    let map = take_map(programs, "SOCKET_MARKS")?;
    SkStorage::try_from(map).map_err(|error| refused("opening the marks of sockets", error))
}

/// Fills in the loopback ports that may be reached, for good.
fn allow(programs: &mut Ebpf, ports: &[u16]) -> Result<(), KernelError> {
    let mut map = take_map(programs, "LOOPBACK_PORTS")?;
    let mut allowed: HashMap<&mut MapData, u32, u32> = HashMap::try_from(&mut map)
        .map_err(|error| refused("opening the loopback ports", error))?;
    for port in ports {
        allowed
            .insert(u32::from(*port), 1, 0)
            .map_err(|error| refused(format!("allowing loopback port {port}"), error))?;
    }
    let frozen = match &map {
        Map::HashMap(map) => syscall::freeze(map.fd().as_fd()),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
    };
    frozen.map_err(|error| refused("freezing the loopback ports", error))
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

/// The programs of a session in the kernel, not attached yet.
struct Loaded {
    programs: Ebpf,
    /// Those to attach, in order.
    names: Vec<(&'static str, u32)>,
    limits: Vec<Limit>,
}

/// Loads every program with its settings; the kernel's verifier checks them here.
fn load(settings: &Settings, predecessor: Option<&Path>) -> Result<Loaded, KernelError> {
    let mut loader = EbpfLoader::new();
    loader.override_global(Settings::GLOBAL, settings, true);
    let marks = predecessor.map(|pins| pins.join(MARKS));
    if let Some(marks) = marks.filter(|marks| marks.exists()) {
        loader.map_pin_path("SOCKET_MARKS", marks);
    }
    let programs = loader
        .load(OBJECT)
        .map_err(|error| refused("making the eBPF maps", error))?;
    let mut loaded = Loaded {
        programs,
        names: Vec::with_capacity(PROGRAMS.len()),
        limits: Vec::new(),
    };
    for (name, attach_type) in PROGRAMS {
        match loaded.load(name, attach_type) {
            Err(KernelError::Kernel { .. }) if name == DEVICE => {
                loaded.load(UNATTRIBUTED_DEVICE, attach_type)?;
                loaded.limits.push(Limit {
                    code: "device-caller",
                    detail: "devices are refused, but the record does not name the process: that \
                             needs Linux 6.1"
                        .to_owned(),
                });
            }
            other => other?,
        }
    }
    Ok(loaded)
}

impl Loaded {
    fn load(&mut self, name: &'static str, attach_type: u32) -> Result<(), KernelError> {
        match program(&mut self.programs, name)? {
            Program::CgroupDevice(program) => program.load(),
            Program::CgroupSkb(program) => program.load(),
            Program::CgroupSock(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::SockOps(program) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        }
        .map_err(|error| refused(format!("loading the program {name}"), error))?;
        self.names.push((name, attach_type));
        Ok(())
    }

    /// Attaches every program to the cgroup and pins each link.
    fn link(
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
    fn link_unix(
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
        for (name, attach_type) in unix::HOOKS {
            let program = unix::load(attach_type, allowed, refusals, lost, &mut self.limits)
                .map_err(|error| refused(format!("loading the program {name}"), error))?;
            let Some(program) = program else {
                continue;
            };
            let link = syscall::link(program.as_fd(), cgroup, attach_type)
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

fn pin_maps(programs: &Ebpf, pins: &Path, links: &mut Links) -> Result<(), KernelError> {
    for (name, map) in programs.maps() {
        // The settings' map (`.rodata`) lives as long as the programs; bpffs takes no dot in a name.
        if name.starts_with('.') {
            continue;
        }
        let pin = pins.join(format!("map_{}", name.to_lowercase()));
        map.pin(&pin)
            .map_err(|error| refused(format!("pinning the map {name}"), error))?;
        links.add_map(pin);
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
        let loaded = load(&Settings::default(), None).unwrap();
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
