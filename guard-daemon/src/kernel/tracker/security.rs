//! The programs in the kernel's security hooks (BPF LSM), where they run.
//!
//! A kernel may take such programs and never call them (`bpf` is not in its `lsm=` list), so each hook has to show
//! that it runs: the daemon does something that passes by it, and looks whether the program counted that.

#![allow(unsafe_code, reason = "a descriptor is received as a bare number")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use aya::maps::{Array, MapData};
use aya::programs::Program;
use aya::programs::links::FdLink;
use aya::{Btf, Ebpf};
use guard_common::tracking::{LSM_HOOKS, Offsets};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, recvmsg, sendmsg};

use super::TrackerError;
use super::links::Links;
use super::load::{map_pin, other_build, program, refused};
use crate::control::text_of;
use crate::kernel::syscall::{open_pin, pin};

/// Characters of a reason.
const REASON: usize = 200;

/// Attaches the programs and has each show that it runs; returns the hooks that do, and why others do not. `pins`
/// has the object's maps.
pub(super) fn attach(
    object: &mut Ebpf,
    offsets: &Offsets,
    calls: &Array<MapData, u64>,
    pins: &Path,
    links: &mut Links,
) -> (Vec<&'static str>, Vec<String>) {
    let needed = [
        offsets.socket_sk,
        offsets.sock_family,
        offsets.sock_cgroup,
        offsets.file_inode,
        offsets.file_private_data,
        offsets.inode_mode,
        offsets.inode_sb,
        offsets.super_block_magic,
        offsets.unix_sock_addr,
        offsets.unix_address_name,
    ];
    if needed.contains(&Offsets::ABSENT) {
        let limit = "BPF security hooks are not used: this kernel does not tell where a socket's members are";
        return (Vec::new(), vec![limit.to_owned()]);
    }
    let btf = match Btf::from_sys_fs() {
        Ok(btf) => btf,
        Err(error) => {
            let limit = format!("BPF security hooks are not used: {error}");
            return (Vec::new(), vec![limit]);
        }
    };
    let mut attached = Vec::new();
    let mut limits = Vec::new();
    for name in LSM_HOOKS {
        match attach_one(object, name, &btf, links) {
            Ok(()) => attached.push(name),
            Err(error) if attached.is_empty() => {
                // One tells for all.
                let limit = format!(
                    "this kernel takes no BPF security hooks: {}",
                    reason(&error)
                );
                return (Vec::new(), vec![limit]);
            }
            Err(error) => limits.push(format!(
                "the security hook {name} is not used: {}",
                reason(&error)
            )),
        }
    }
    if let Err(error) = pass_by(calls, pins) {
        tracing::warn!("the test of the security hooks did not get through: {error}");
    }
    let (running, idle): (Vec<_>, Vec<_>) = attached.into_iter().partition(|name| {
        let number = LSM_HOOKS.iter().position(|hook| hook == name);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.is_some_and(|number| calls.get(&number, 0).is_ok_and(|calls| calls > 0))
    });
    if running.is_empty() {
        for name in idle {
            links.remove(name);
        }
        limits.push(
            "this kernel does not run BPF security hooks; boot with bpf in its lsm= list"
                .to_owned(),
        );
    } else {
        limits.extend(idle.iter().map(|name| {
            format!("the security hook {name} does not run: another module may answer before it")
        }));
    }
    (running, limits)
}

fn attach_one(
    object: &mut Ebpf,
    name: &str,
    btf: &Btf,
    links: &mut Links,
) -> Result<(), TrackerError> {
    let Program::Lsm(program) = program(object, name)? else {
        return Err(other_build(name));
    };
    program
        .load(name, btf)
        .map_err(|error| refused(format!("loading the program {name}"), error))?;
    let link = program
        .attach()
        .and_then(|id| program.take_link(id))
        .map_err(|error| refused(format!("attaching to {name}"), error))?;
    links.add(name, FdLink::from(link), false)
}

/// Does something that passes by each of the hooks.
fn pass_by(calls: &Array<MapData, u64>, pins: &Path) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(crate::session::SessionId::random().as_str())?;
    let listener = UnixListener::bind_addr(&address)?;
    let client = UnixStream::connect_addr(&address)?;
    let (server, _) = listener.accept()?;

    let descriptors = [client.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<UnixAddr>(
        client.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &message,
        MsgFlags::empty(),
        None,
    )?;
    receive(&server)?;

    let datagram = UnixDatagram::unbound()?;
    let named = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(
        crate::session::SessionId::random().as_str(),
    )?)?;
    datagram.connect_addr(&named.local_addr()?)?;

    // bpf(2), with and without a question for capabilities.
    let _ = calls.get(&0, 0);
    let _ = aya::programs::loaded_programs().next();
    let probe = pins.join("probe");
    pin(open_pin(&pins.join(map_pin("CALLS")))?.as_fd(), &probe)?;
    std::fs::remove_file(probe)?;

    // Of another process; the answer does not matter.
    let _ = std::fs::read_link("/proc/1/exe");
    nix::sys::signal::kill(nix::unistd::getpid(), None)?;
    Ok(())
}

/// Receives a descriptor, and closes it.
fn receive(from: &UnixStream) -> io::Result<()> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let received = recvmsg::<UnixAddr>(
        from.as_raw_fd(),
        &mut parts,
        Some(&mut room),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    for message in received.cmsgs()? {
        if let nix::sys::socket::ControlMessageOwned::ScmRights(descriptors) = message {
            for descriptor in descriptors {
                // SAFETY: the kernel has just made it for this process, and nobody else knows it.
                drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
    Ok(())
}

/// Why something failed, in a few words: what is said above it is known, and a verifier's log has thousands of lines.
pub(super) fn reason(error: &TrackerError) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    tracing::debug!("{}", text_of(error));
    deepest.to_string().chars().take(REASON).collect()
}
