//! Puts the programs of a session in place and takes them away.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, SkStorage};
use guard_common::{Settings, SocketMark};
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs, statfs};

use super::health::Links;
use super::load::Loaded;
use super::origin::{Origins, take_map};
use super::refusal::Refusals;
use super::{HookSettings, Hooks, KernelError, Network, syscall};

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
    let mut loaded = Loaded::new(told, settings.predecessor.as_deref())?;
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
        let path = entry.map_err(failed)?.path();
        // The kernel detaches some time after the last pin is gone, and not while somebody holds the link. What
        // is pinned here may also be a map, or a link whose cgroup is gone.
        if let Ok(link) = syscall::open_pin(&path) {
            let _ = syscall::detach(link.as_fd());
        }
        fs::remove_file(path).map_err(failed)?;
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
            // The verifier says EACCES to programs that it does not take.
            return error.raw_os_error() == Some(libc::EPERM);
        }
        cause = error.source();
    }
    false
}
