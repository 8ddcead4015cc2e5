//! The hooks at the root of the cgroups.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::{CgroupAttachMode, Program, ProgramError};
use guard_common::tracking::Offsets;

use super::TrackerError;
use super::links::Links;
use super::load::{other_build, program, refused};
use super::members::ROOT;

/// The programs, what refuses more first.
const PROGRAMS: [&str; 7] = [
    "root_sock_create",
    "root_bind4",
    "root_bind6",
    "root_sendmsg4",
    "root_sendmsg6",
    "root_connect4",
    "root_connect6",
];

/// Attaches them. The error tells why the host is without them.
pub(super) fn attach(
    object: &mut Ebpf,
    offsets: &Offsets,
    links: &mut Links,
) -> Result<(), TrackerError> {
    if [offsets.sock_cgroup, offsets.sock_addr_sk].contains(&Offsets::ABSENT) {
        return Err(TrackerError::Unsupported {
            reason: "it does not tell which cgroup a socket was made in".to_owned(),
        });
    }
    let root = root().map_err(|error| refused("opening the root of the cgroups", error))?;
    for name in PROGRAMS {
        match program(object, name)? {
            Program::CgroupSock(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            _ => return Err(other_build(name)),
        }
        .map_err(|error| refused(format!("loading the program {name}"), error))?;
    }
    for name in PROGRAMS {
        let attached = attach_one(program(object, name)?, &root);
        let link = attached.map_err(|error| refused(format!("attaching {name}"), error))?;
        links.add(name, link, true)?;
    }
    Ok(())
}

/// Takes them away again.
pub(super) fn detach(links: &mut Links) {
    for name in PROGRAMS {
        links.remove(name);
    }
}

fn attach_one(program: &mut Program, root: &File) -> Result<FdLink, ProgramError> {
    // Links are always "multi" in the kernel; a flag that says so is refused (`cgroup_bpf_link_attach`).
    let mode = CgroupAttachMode::Single;
    let not_a_link = |_| ProgramError::UnexpectedProgramType;
    match program {
        Program::CgroupSock(program) => {
            let id = program.attach(root.as_fd(), mode)?;
            program.take_link(id)?.try_into().map_err(not_a_link)
        }
        Program::CgroupSockAddr(program) => {
            let id = program.attach(root.as_fd(), mode)?;
            program.take_link(id)?.try_into().map_err(not_a_link)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// The root of the hierarchy, where it is mounted whole.
fn root() -> io::Result<File> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    for mount in mounts.lines() {
        let mut fields = mount.split(' ').skip(1);
        if let (Some(point), Some("cgroup2")) = (fields.next(), fields.next()) {
            let directory = File::open(point.replace("\\040", " "))?;
            if directory.metadata()?.ino() == ROOT {
                return Ok(directory);
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "no mount of cgroup version 2 shows its root",
    ))
}
