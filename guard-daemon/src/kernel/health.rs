//! Whether the hooks of a session are still where they were put.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::syscall::{link_info, open_pin, pin};

/// Something of the hooks is gone: the tree may be out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Tampered {
    /// A program does not run any more.
    #[error("the hook {hook} was detached from the session's cgroup; end the session")]
    Detached {
        /// The program's name.
        hook: &'static str,
    },
    /// It runs as long as this daemon does.
    #[error("the pin {} is gone; end the session", path.display())]
    Unpinned {
        /// The pin.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something else was put in its place.
    #[error("the pin {} is of another link; end the session", path.display())]
    Replaced {
        /// The pin.
        path: PathBuf,
    },
    /// The kernel does not say.
    #[error("the hook {hook} cannot be examined; end the session")]
    Unknown {
        /// The program's name.
        hook: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The numbers of the cgroups that the links pinned under `pins` are attached to. One that is gone has none, nor has
/// a link that was detached.
pub(super) fn cgroups(pins: &Path) -> io::Result<BTreeSet<u64>> {
    let mut cgroups = BTreeSet::new();
    for entry in fs::read_dir(pins)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(LINK.as_bytes())
        {
            let link = open_pin(&entry.path())?;
            cgroups.insert(link_info(link.as_fd())?.cgroup_id);
        }
    }
    cgroups.remove(&0);
    Ok(cgroups)
}

/// How the names of the links' pins begin.
const LINK: &str = "link_";

/// The links of a session. Held as well as pinned: removing a pin alone detaches nothing while the daemon
/// lives.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Vec<Link>,
    maps: Vec<PathBuf>,
}

#[derive(Debug)]
struct Link {
    hook: &'static str,
    pin: PathBuf,
    descriptor: OwnedFd,
    id: u32,
}

impl Links {
    /// Pins a link and keeps it.
    pub(super) fn add(
        &mut self,
        hook: &'static str,
        descriptor: OwnedFd,
        pins: &Path,
    ) -> io::Result<()> {
        let path = pins.join(format!("{LINK}{hook}"));
        pin(descriptor.as_fd(), &path)?;
        let id = link_info(descriptor.as_fd())?.id;
        self.links.push(Link {
            hook,
            pin: path,
            descriptor,
            id,
        });
        Ok(())
    }

    /// Remembers a map that was just pinned.
    pub(super) fn add_map(&mut self, pin: PathBuf) {
        self.maps.push(pin);
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.links.iter().map(|link| link.hook).collect()
    }

    pub(super) fn check(&self) -> Result<(), Tampered> {
        self.links.iter().try_for_each(Link::check)?;
        for pin in &self.maps {
            pin.symlink_metadata()
                .map_err(|source| Tampered::Unpinned {
                    path: pin.clone(),
                    source,
                })?;
        }
        Ok(())
    }
}

impl Link {
    fn check(&self) -> Result<(), Tampered> {
        let unknown = |source| Tampered::Unknown {
            hook: self.hook,
            source,
        };
        if link_info(self.descriptor.as_fd())
            .map_err(unknown)?
            .cgroup_id
            == 0
        {
            return Err(Tampered::Detached { hook: self.hook });
        }
        let pinned = match open_pin(&self.pin) {
            Ok(pinned) => pinned,
            // Out of descriptors or memory, which says nothing of the pin; it is looked at again.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)
                ) =>
            {
                return Ok(());
            }
            Err(source) => {
                return Err(Tampered::Unpinned {
                    path: self.pin.clone(),
                    source,
                });
            }
        };
        // What is pinned there may be no link at all.
        if link_info(pinned.as_fd()).is_ok_and(|pinned| pinned.id == self.id) {
            Ok(())
        } else {
            Err(Tampered::Replaced {
                path: self.pin.clone(),
            })
        }
    }
}
