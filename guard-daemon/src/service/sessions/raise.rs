//! Puts up what holds a session's tree: the sockets that serve it and the hooks that lead it there.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::SessionError;
use crate::intercept::Wires;
use crate::kernel::{HookSettings, Hooks, Network, netns_cookie};
use crate::policy::Reach;
use crate::sandbox::cgroup::Cgroup;
use crate::sandbox::network::{Namespace, Ports};

/// What of a session is up before its tree runs.
pub(super) struct Raised {
    pub(super) wires: Wires,
    pub(super) hooks: Hooks,
}

/// Opens the session's sockets in its network namespace and attaches its hooks, in the place of those of an
/// earlier daemon, if there are any. Where the kernel's security hooks run, they tell the tree's own unix sockets
/// from others; the hooks of cgroups could only refuse both. Blocks, some 100 ms.
pub(super) fn raise(
    namespace: &Namespace,
    cgroup: &Cgroup,
    pins: &Path,
    reach: &Reach,
    predecessor: Option<PathBuf>,
    security_hooks: bool,
) -> Result<Raised, SessionError> {
    let launched = namespace.is_launched();
    let ports = if launched {
        Ports::LAUNCHED
    } else {
        Ports::Free
    };
    let wires = namespace.open_wires(ports, reach)?;
    let settings = HookSettings {
        gateway_port: wires.gateway_port(),
        resolver_port: wires.resolver_port(),
        network: if launched {
            Network::Own
        } else {
            // Those that the profile lists lead through guard, too, so that each connection is recorded: by the
            // gateway where loopback is the host's own, by listeners in other namespaces.
            Network::Shared {
                loopback_ports: Vec::new(),
            }
        },
        netns_cookie: cookie(&wires)?,
        predecessor,
        unix: (!launched && !security_hooks).then(|| reach.unix.clone()),
    };
    let directory = cgroup.open()?;
    let hooks = Hooks::attach(directory.as_fd(), pins, &settings)?;
    for socket in wires.tcp.iter().chain(&wires.loopback) {
        hooks.recognise(socket.as_fd())?;
    }
    for socket in &wires.udp {
        hooks.recognise(socket.as_fd())?;
    }
    Ok(Raised { wires, hooks })
}

/// The cookie of the namespace that the wires were opened in.
fn cookie(wires: &Wires) -> Result<u64, SessionError> {
    let listener = wires
        .tcp
        .first()
        .ok_or_else(|| std::io::Error::other("no listener was opened"));
    listener
        .and_then(|listener| netns_cookie(listener.as_fd()))
        .map_err(SessionError::Cookie)
}
