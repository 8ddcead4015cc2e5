//! Who is at the other end of a control connection, and whether it is confined.
//!
//! The kernel says which process connected. Everything else is read from `/proc` while a descriptor of
//! that very process is held, and believed only if the process still lives afterwards: its number cannot
//! have been given to another in between.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Group, User};

use super::GROUP;
use crate::sandbox::{cgroup, network, process_handle};
use crate::session::SessionId;

/// Why a peer is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It belongs to a confined tree.
    #[error(
        "this process is confined in guard session {session}, which cannot use guard's control socket; ask the person who started it"
    )]
    Confined {
        /// The session, as far as it is known.
        session: SessionId,
        /// What connected.
        peer: Description,
    },
    /// It is neither root nor in the group.
    #[error(
        "user {uid} is neither root nor a member of the group {GROUP}; use sudo, or have root run: usermod -aG {GROUP} NAME"
    )]
    NotPermitted {
        /// The user.
        uid: u32,
    },
    /// It could not be looked at. Refused, as it might be confined.
    #[error(
        "the process that connected could not be examined: {0}; connect from a process that stays, in this host's pid namespace"
    )]
    Unknown(io::Error),
}

/// A process, for the journal.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) comm: String,
    pub(super) exe: Option<String>,
}

/// A peer that may use the socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permitted {
    pub(super) pid: u32,
    pub(super) uid: u32,
    /// The user that logged in, where the kernel knows (pam_loginuid).
    pub(super) loginuid: Option<u32>,
}

impl Permitted {
    pub(super) fn is_root(self) -> bool {
        self.uid == 0
    }

    /// `name (uid N)`, as the journal names approvers.
    pub(super) fn display(self) -> String {
        let name = User::from_uid(self.uid.into()).ok().flatten();
        let name = name.map_or_else(|| "unknown".to_owned(), |user| user.name);
        format!("{name} (uid {})", self.uid)
    }
}

/// The process that connected.
#[derive(Debug)]
pub(super) struct Peer {
    pid: u32,
    uid: u32,
    handle: OwnedFd,
}

impl Peer {
    /// Asks the kernel who connected.
    pub(super) fn of(socket: &impl AsFd) -> Result<Self, Refusal> {
        let unknown = |errno: Errno| Refusal::Unknown(errno.into());
        let credentials = getsockopt(socket, sockopt::PeerCredentials).map_err(unknown)?;
        let pid = u32::try_from(credentials.pid()).unwrap_or_default();
        if pid == 0 {
            return Err(Refusal::Unknown(io::Error::other(
                "it is in another pid namespace",
            )));
        }
        let handle = match getsockopt(socket, sockopt::PeerPidfd) {
            // Linux before 6.5: the number may have been reused since it connected, for as long as the
            // connection waited to be accepted.
            Err(Errno::ENOPROTOOPT) => process_handle(pid).map_err(Refusal::Unknown)?,
            other => other.map_err(unknown)?,
        };
        Ok(Self {
            pid,
            uid: credentials.uid(),
            handle,
        })
    }

    /// Decides whether it may use the socket. `session_of` tells the live session of a cgroup and a network
    /// namespace.
    pub(super) fn examine(
        &self,
        session_of: impl FnOnce(&str, network::Identity) -> Option<SessionId>,
    ) -> Result<Permitted, Refusal> {
        let pid = self.pid;
        let group = cgroup::of_process(pid).map_err(Refusal::Unknown)?;
        let namespace = network::Identity::of_process(pid).map_err(Refusal::Unknown)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Refusal::Unknown)?;
        // A kernel without audit has no such file.
        let loginuid = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok();
        let description = self.describe(&status);
        if !self.lives().map_err(Refusal::Unknown)? {
            return Err(Refusal::Unknown(io::Error::other("it has ended")));
        }
        let confined = cgroup::session_of(&group).or_else(|| session_of(&group, namespace));
        if let Some(session) = confined {
            return Err(Refusal::Confined {
                session,
                peer: description,
            });
        }
        if self.uid != 0 && !in_group(&status) {
            return Err(Refusal::NotPermitted { uid: self.uid });
        }
        Ok(Permitted {
            pid,
            uid: self.uid,
            loginuid: loginuid.and_then(|text| login_uid(&text)),
        })
    }

    fn describe(&self, status: &str) -> Description {
        Description {
            pid: self.pid,
            uid: self.uid,
            comm: field(status, "Name:").unwrap_or_default().to_owned(),
            exe: fs::read_link(format!("/proc/{}/exe", self.pid))
                .ok()
                .map(|path| path.to_string_lossy().into_owned()),
        }
    }

    /// A pidfd is readable once its process has ended.
    fn lives(&self) -> io::Result<bool> {
        let mut handle = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut handle, PollTimeout::ZERO)? == 0)
    }
}

/// The user in the text of `/proc/<pid>/loginuid`; the kernel's highest number stands for none.
fn login_uid(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|&uid| uid != u32::MAX)
}

/// Whether the text of `/proc/<pid>/status` shows the group `guard` among a process's groups.
fn in_group(status: &str) -> bool {
    let group = Group::from_name(GROUP).ok().flatten();
    group.is_some_and(|group| groups(status).any(|gid| gid == group.gid.as_raw()))
}

/// The effective and supplementary groups in the text of `/proc/<pid>/status`.
fn groups(status: &str) -> impl Iterator<Item = u32> {
    // Gid: real, effective, saved, file system.
    let effective = field(status, "Gid:").and_then(|gids| gids.split_whitespace().nth(1));
    let supplementary = field(status, "Groups:")
        .unwrap_or_default()
        .split_whitespace();
    effective
        .into_iter()
        .chain(supplementary)
        .filter_map(|gid| gid.parse().ok())
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    // The first line wins: a process's name, the only text it chooses, cannot hold a raw newline here.
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    #[test]
    fn reads_groups_and_name_of_a_process() {
        let status = "Name:\tGroups: 27\nUmask:\t0022\nUid:\t5\t5\t5\t5\nGid:\t1\t2\t3\t4\nGroups:\t20 30 \n";
        assert_eq!(groups(status).collect::<Vec<_>>(), [2, 20, 30]);
        assert_eq!(field(status, "Name:"), Some("Groups: 27"));
        assert_eq!(groups("Name:\tx\n").count(), 0);
        assert_eq!(login_uid("1000"), Some(1000));
        assert_eq!(login_uid("4294967295"), None);
    }

    #[test]
    fn knows_the_process_at_the_other_end() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(peer.lives().unwrap());
        let own = network::Identity::of_process(peer.pid).unwrap();
        let session = SessionId::random();
        let within = |_: &str, namespace| (namespace == own).then(|| session.clone());
        let refusal = peer.examine(within).unwrap_err();
        assert!(
            matches!(&refusal, Refusal::Confined { session: s, .. } if *s == session),
            "a process in a session's network namespace is confined: {refusal}"
        );
        if peer.uid == 0 {
            assert!(
                peer.examine(|_, _| None)
                    .unwrap()
                    .display()
                    .ends_with("(uid 0)")
            );
        }
    }

    #[test]
    fn a_process_that_ended_is_not_believed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let peer = Peer {
            pid: child.id(),
            uid: 0,
            handle: process_handle(child.id()).unwrap(),
        };
        assert!(peer.lives().unwrap());
        child.kill().unwrap();
        // Not reaped yet, so that its number is still taken.
        while peer.lives().unwrap() {
            std::thread::yield_now();
        }
        assert!(matches!(
            peer.examine(|_, _| None),
            Err(Refusal::Unknown(_))
        ));
        child.wait().unwrap();
    }
}
