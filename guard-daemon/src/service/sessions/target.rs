//! What `guard attach` is pointed at: which cgroup, whether it may be confined, whose network it has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::SessionError;
use super::saved::Place;
use crate::control::wire::Target;
use crate::sandbox::cgroup::{self, Cgroup, Hierarchy};
use crate::sandbox::network;
use crate::session::SessionId;

/// Passes over the process table to find all descendants of a process: it may fork meanwhile.
const PASSES: usize = 100;

/// `CAP_NET_ADMIN`, `CAP_SYS_ADMIN` and `CAP_BPF` (linux/capability.h): with any of them programs are detached.
const DETACHING: u64 = 1 << 12 | 1 << 21 | 1 << 39;

/// The tree of a target, not yet changed.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) place: Place,
    pub(super) cgroup: Cgroup,
    /// To be moved into the cgroup, with its descendants.
    pub(super) moving: Option<u32>,
}

impl Tree {
    /// Finds the tree. A cgroup of guard's, or one that holds guard or the host's first process, is refused.
    pub(super) fn find(
        target: &Target,
        id: &SessionId,
        hierarchy: &Hierarchy,
    ) -> Result<Self, SessionError> {
        let refuse = |problem: String| Err(SessionError::Target(problem));
        let tree = match target {
            Target::Cgroup(path) => {
                let cgroup = hierarchy.existing(path)?;
                Self {
                    place: Place::Attached {
                        cgroup: cgroup.name(hierarchy),
                        number: cgroup.number(),
                    },
                    cgroup,
                    moving: None,
                }
            }
            Target::Process(pid) => {
                let from = cgroup::of_process(*pid).map_err(|error| {
                    SessionError::Target(format!("process {pid} cannot be confined: {error}"))
                })?;
                Self {
                    place: Place::Moved { from },
                    cgroup: hierarchy.of(id),
                    moving: Some(*pid),
                }
            }
        };
        let members = tree.members();
        if members.is_empty() {
            return refuse(
                "nothing runs there; start it first, or attach from within it as it starts \
                 (ExecStartPre=+guard attach --unit %n)"
                    .to_owned(),
            );
        }
        let daemon = std::process::id();
        if members.contains(&daemon) || members.contains(&1) {
            return refuse(format!(
                "process {} is in it, which guard needs itself; name a smaller cgroup",
                if members.contains(&1) { 1 } else { daemon }
            ));
        }
        let name = tree.cgroup.name(hierarchy);
        if tree.moving.is_none() && name.split('/').nth(1) == Some("guard") {
            return refuse(format!("{name} is guard's own; end its sessions instead"));
        }
        Ok(tree)
    }

    /// The processes of the tree as it is now.
    pub(super) fn members(&self) -> BTreeSet<u32> {
        match self.moving {
            Some(pid) => descendants(pid),
            None => self.cgroup.processes().into_iter().collect(),
        }
    }

    /// The processes that would be moved, and the cgroups that they are in.
    pub(super) fn moved(&self) -> Vec<(u32, String)> {
        let Some(pid) = self.moving else {
            return Vec::new();
        };
        let members = descendants(pid).into_iter();
        // One that has just ended is in none.
        members
            .filter_map(|pid| Some((pid, cgroup::of_process(pid).ok()?)))
            .collect()
    }

    /// Moves the tree into its cgroup, until nothing of it is left outside. The cgroup is frozen, so nothing
    /// in it runs, but a parent that is still outside may fork.
    pub(super) fn gather(&self) -> Result<(), SessionError> {
        if self.moving.is_none() {
            return Ok(());
        }
        for _ in 0..PASSES {
            let inside: BTreeSet<u32> = self.cgroup.processes().into_iter().collect();
            let outside: Vec<u32> = self.members().difference(&inside).copied().collect();
            if outside.is_empty() {
                return Ok(());
            }
            for pid in outside {
                match self.cgroup.admit(pid) {
                    Err(error) if Path::new(&format!("/proc/{pid}")).exists() => {
                        return Err(error.into());
                    }
                    _ => {}
                }
            }
        }
        Err(SessionError::Target(
            "the tree forks faster than it can be confined; confine its cgroup instead".to_owned(),
        ))
    }

    /// The network namespace that all of the tree has, by a process in it.
    pub(super) fn network(&self) -> Result<u32, SessionError> {
        let mut found: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        for pid in self.members() {
            // One that has just ended has none.
            if let Ok(identity) = network::Identity::of_process(pid) {
                found.entry(identity.key()).or_insert(pid);
            }
        }
        let mut pids = found.into_values();
        match (pids.next(), pids.next()) {
            (Some(pid), None) => Ok(pid),
            (None, _) => Err(SessionError::Target(
                "all of its processes have ended".to_owned(),
            )),
            (Some(one), Some(other)) => Err(SessionError::Target(format!(
                "its processes {one} and {other} have different network namespaces; attach to each of them by a cgroup of \
                 its own"
            ))),
        }
    }

    /// The first process that could detach the hooks.
    pub(super) fn privileged(&self) -> Option<(u32, String)> {
        let own = fs::read_link("/proc/self/ns/user").ok();
        self.members().into_iter().find_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
            let effective = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
            let bounding = u64::from_str_radix(field("CapBnd:")?.trim(), 16).ok()?;
            // Root of another user namespace has none of them here.
            let here = fs::read_link(format!("/proc/{pid}/ns/user")).ok() == own;
            let root = field("Uid:")?.split_whitespace().any(|uid| uid == "0");
            let could = effective | if root { bounding } else { 0 };
            let name = field("Name:")?.trim().to_owned();
            (here && could & DETACHING != 0).then_some((pid, name))
        })
    }
}

/// A process and everything below it.
fn descendants(root: u32) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        if Path::new(&format!("/proc/{pid}")).exists() && found.insert(pid) {
            open.extend(children.remove(&pid).unwrap_or_default());
        }
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2 is the process' own name and may hold anything.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_tree_is_a_process_and_all_below_it() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & sleep 60 & echo; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let tree = descendants(child.id());
        let own = descendants(std::process::id());
        for pid in &tree {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(i32::try_from(*pid).unwrap()),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        child.wait().unwrap();
        assert_eq!(tree.len(), 3, "{tree:?}");
        assert!(tree.contains(&child.id()) && own.is_superset(&tree));
        assert!(descendants(child.id()).is_empty());
    }

    #[test]
    fn what_guard_needs_itself_is_not_confined() {
        let runtime = tempfile::tempdir().unwrap();
        let Ok(hierarchy) = Hierarchy::find(runtime.path()) else {
            crate::skip::skip(module_path!(), "no cgroup v2 on this host");
            return;
        };
        let id = SessionId::random();
        for target in [
            Target::Process(std::process::id()),
            Target::Process(1),
            Target::Process(0),
            Target::Cgroup("/".into()),
            Target::Cgroup(hierarchy.mount().to_owned()),
            Target::Cgroup("/no/such/cgroup".into()),
            Target::Cgroup("/../../etc".into()),
        ] {
            let found = Tree::find(&target, &id, &hierarchy);
            assert!(found.is_err(), "{target:?}: {found:?}");
        }
    }
}
