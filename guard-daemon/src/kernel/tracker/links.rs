//! The links of the host-wide programs, held and pinned, and whether they still are.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use aya::programs::links::FdLink;

use super::load::refused;
use super::{Fault, TrackerError};
use crate::kernel::syscall::{link_info, open_pin};

/// The links of one generation. Held as well as pinned: removing a pin alone detaches nothing while the daemon lives.
#[derive(Debug)]
pub(super) struct Links {
    pins: PathBuf,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    pin: PathBuf,
    descriptor: OwnedFd,
    id: u32,
    /// One to a cgroup can be detached by whoever may call bpf(2).
    of_cgroup: bool,
}

impl Links {
    pub(super) fn new(pins: &Path) -> Self {
        Self {
            pins: pins.to_owned(),
            links: Vec::new(),
        }
    }

    /// Pins a link and keeps it.
    pub(super) fn add(
        &mut self,
        name: &str,
        link: FdLink,
        of_cgroup: bool,
    ) -> Result<(), TrackerError> {
        let pin = self.pins.join(format!("link_{name}"));
        let pinned = link
            .pin(&pin)
            .map_err(|error| refused(format!("pinning the link of {name}"), error))?;
        let opened = open_pin(&pin).and_then(|descriptor| {
            let id = link_info(descriptor.as_fd())?.id;
            Ok((descriptor, id))
        });
        let (descriptor, id) =
            opened.map_err(|error| refused(format!("examining the link of {name}"), error))?;
        drop(pinned);
        self.links.push(Link {
            pin,
            descriptor,
            id,
            of_cgroup,
        });
        Ok(())
    }

    /// Detaches the link of a program that turned out not to work.
    pub(super) fn remove(&mut self, name: &str) {
        let pin = self.pins.join(format!("link_{name}"));
        let _ = std::fs::remove_file(&pin);
        self.links.retain(|link| link.pin != pin);
    }

    pub(super) fn check(&self, faults: &mut Vec<Fault>) {
        for link in &self.links {
            if let Some(detail) = link.fault() {
                faults.push(Fault {
                    session: None,
                    detail,
                });
            }
        }
    }
}

impl Link {
    fn fault(&self) -> Option<String> {
        let pin = self.pin.display();
        match link_info(self.descriptor.as_fd()) {
            Ok(info) if self.of_cgroup && info.cgroup_id == 0 => {
                return Some(format!("the link {pin} was detached"));
            }
            Ok(_) => {}
            Err(error) => return Some(format!("the link {pin} cannot be examined: {error}")),
        }
        match open_pin(&self.pin).and_then(|pinned| link_info(pinned.as_fd())) {
            Ok(pinned) if pinned.id == self.id => None,
            Ok(_) => Some(format!("the pin {pin} is of another link")),
            // Without a descriptor to spare it cannot be opened, but looked for.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
                    && self.pin.symlink_metadata().is_ok() =>
            {
                None
            }
            Err(error) => Some(format!("the pin {pin} is gone: {error}")),
        }
    }
}
