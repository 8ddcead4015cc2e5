//! Everything a session leaves on the host, and how it goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::saved::{Place, Saved};
use crate::kernel::Hooks;
use crate::sandbox::cgroup::{Cgroup, CgroupError, Hierarchy};
use crate::service::persist;
use crate::session::SessionId;

/// Why it is not known where a session's tree is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unplaced {
    /// The pins do not tell.
    #[error("its hooks cannot be examined: {0}")]
    Pins(#[from] io::Error),
    /// The cgroup is none that this host shows.
    #[error("the cgroup of its hooks, number {0}, is not to be seen from here")]
    Unseen(u64),
    /// More cgroups than a session has.
    #[error("its hooks are on {0} cgroups")]
    Several(usize),
}

/// Everything that a session leaves on the host.
#[derive(Clone, Debug)]
pub(in crate::service) struct Remains {
    id: SessionId,
    cgroup: Cgroup,
    /// The cgroup was there before the session, and stays.
    borrowed: bool,
    runtime_dir: PathBuf,
}

impl Remains {
    /// What a session that `guard run` started has, as far as it exists.
    pub(in crate::service) fn of(
        id: &SessionId,
        runtime_dir: &Path,
        hierarchy: &Hierarchy,
    ) -> Self {
        Self {
            id: id.clone(),
            cgroup: hierarchy.of(id),
            borrowed: false,
            runtime_dir: runtime_dir.to_owned(),
        }
    }

    /// What a session has that stands at `place`.
    pub(super) fn at(
        place: &Place,
        id: &SessionId,
        runtime_dir: &Path,
        hierarchy: &Hierarchy,
    ) -> Self {
        match place {
            Place::Launched { .. } | Place::Moved { .. } => Self::of(id, runtime_dir, hierarchy),
            Place::Attached { cgroup, number } => Self {
                cgroup: hierarchy.named(cgroup, *number),
                borrowed: true,
                ..Self::of(id, runtime_dir, hierarchy)
            },
        }
    }

    /// What a session has whose place nothing tells but its hooks. Where there are none, and so nothing is confined,
    /// that of `guard run`. Blocks: looks at all cgroups.
    pub(super) fn sought(
        id: &SessionId,
        runtime_dir: &Path,
        hierarchy: &Hierarchy,
    ) -> Result<Self, Unplaced> {
        let own = Self::of(id, runtime_dir, hierarchy);
        let mut held = BTreeSet::new();
        for pins in own.pinned()?.values() {
            held.extend(Hooks::cgroups(pins)?);
        }
        let number = match (held.first(), held.len()) {
            (None, _) => return Ok(own),
            (Some(number), 1) => *number,
            (Some(_), several) => return Err(Unplaced::Several(several)),
        };
        let cgroup = hierarchy.numbered(number);
        let cgroup = cgroup.ok_or(Unplaced::Unseen(number))?;
        if cgroup.path() == own.cgroup.path() {
            return Ok(own);
        }
        Ok(Self {
            cgroup,
            borrowed: true,
            ..own
        })
    }

    /// The tree's cgroup.
    pub(super) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// The directory of the files that the session is handed.
    pub(super) fn files(&self) -> PathBuf {
        files(&self.runtime_dir).join(self.id.as_str())
    }

    /// The directory of the pins that a daemon puts up. A bpffs takes no dot in a name.
    pub(super) fn pins(&self, generation: u32) -> PathBuf {
        pins(&self.runtime_dir).join(format!("{}-{generation}", self.id))
    }

    /// The directories of pins that exist, by the generation that put them up.
    pub(super) fn pinned(&self) -> io::Result<BTreeMap<u32, PathBuf>> {
        let entries = match std::fs::read_dir(pins(&self.runtime_dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut own = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            if let Some((id, generation)) = generation_of_pins(&path)
                && id == self.id
            {
                own.insert(generation, path);
            }
        }
        Ok(own)
    }

    /// Kills the tree and waits until it is gone; removes the cgroup unless it is borrowed. Tells whether
    /// nothing of it is left.
    pub(super) async fn kill(&self) -> bool {
        let (cgroup, borrowed) = (self.cgroup.clone(), self.borrowed);
        let killed = tokio::task::spawn_blocking(move || {
            if borrowed {
                // Where an earlier daemon ended as it had it frozen, what its owner starts there next would not run.
                cgroup.kill_and_wait().and_then(|()| cgroup.thaw())
            } else {
                cgroup.destroy()
            }
        })
        .await;
        match killed {
            Ok(Ok(())) => true,
            Ok(Err(error)) => self.complain(&error),
            Err(error) => self.complain(&error),
        }
    }

    /// Sends the processes back to the cgroup that they came from, the first of these, and removes the session's own.
    /// Where that is gone by now, or takes none any more, the next one must do.
    pub(super) fn send_back(&self, to: &[Cgroup]) -> Result<(), CgroupError> {
        let mut to = to.iter();
        let mut at = to.next();
        // A process may fork meanwhile; its child is here until nothing is.
        for _ in 0..1_000 {
            let processes = self.cgroup.processes();
            let Some(home) = at.filter(|_| !processes.is_empty()) else {
                break;
            };
            for pid in processes {
                match home.admit(pid) {
                    Err(error) if Path::new(&format!("/proc/{pid}")).exists() => {
                        tracing::warn!("session {}: {error}", self.id);
                        at = to.next();
                        if at.is_none() {
                            return Err(error);
                        }
                        break;
                    }
                    _ => {}
                }
            }
        }
        self.cgroup.destroy()
    }

    /// Takes away all but the tree: hooks, files, what is saved.
    pub(super) async fn forget(&self) {
        let id = &self.id;
        let pinned = match self.pinned() {
            Ok(pinned) => pinned,
            Err(error) => {
                self.complain(&error);
                BTreeMap::new()
            }
        };
        for pins in pinned.into_values() {
            persist(&format!("session {id}: its pins stay"), || {
                Hooks::remove(&pins)
            })
            .await;
        }
        let files = self.files();
        persist(
            &format!("session {id}: its files stay"),
            || match std::fs::remove_dir_all(&files) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        )
        .await;
        persist(&format!("session {id}: it stays saved"), || {
            Saved::remove(&self.runtime_dir, id)
        })
        .await;
    }

    fn complain(&self, error: &dyn std::fmt::Display) -> bool {
        tracing::error!("session {}: {error}", self.id);
        false
    }
}

/// The bpffs of a runtime directory; a directory per session and generation in it.
pub(in crate::service) fn pins(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("bpf")
}

/// The directory of the files that sessions are handed; a directory per session in it.
pub(in crate::service) fn files(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("sessions")
}

/// The session that a directory of pins belongs to.
pub(in crate::service) fn session_of_pins(path: &Path) -> Option<SessionId> {
    generation_of_pins(path).map(|(id, _)| id)
}

fn generation_of_pins(path: &Path) -> Option<(SessionId, u32)> {
    let name = path.file_name()?.to_str()?;
    let (id, generation) = name.split_once('-')?;
    Some((SessionId::parse(id)?, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_known_by_session_and_generation() {
        let id = SessionId::random();
        let of = |name: &str| session_of_pins(Path::new(name));
        assert_eq!(of(&format!("/run/guard/bpf/{id}-0")), Some(id.clone()));
        assert_eq!(of(&format!("{id}-17")), Some(id.clone()));
        for name in [id.as_str(), "host-0", &format!("{id}-x"), &format!("{id}-")] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
