//! The mount table of this process's mount namespace, from its own /proc.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::super::cgroup::unescape;

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Mount {
    pub(super) id: u64,
    /// The device of its file system.
    pub(super) device: u64,
    /// What of the file system it shows.
    pub(super) root: PathBuf,
    /// Where it stands.
    pub(super) path: PathBuf,
    /// The type of its file system.
    pub(super) kind: Vec<u8>,
}

/// Reads the table, in the order in which the mounts were made below each other.
pub(super) fn read() -> io::Result<Vec<Mount>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table
        .split(|&b| b == b'\n')
        .filter_map(Mount::read)
        .collect())
}

/// The number of the mount that a descriptor is open in.
pub(super) fn mount_of(opened: impl AsFd) -> io::Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", opened.as_fd().as_raw_fd());
    let text = fs::read_to_string(path)?;
    let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    number
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| Errno::ENODATA.into())
}

impl Mount {
    fn read(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&b| b == b' ');
        let text = |field: Option<&[u8]>| Some(std::str::from_utf8(field?).ok()?.to_owned());
        let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescape(field)));
        let id = text(fields.next())?.parse().ok()?;
        let device = text(fields.nth(1))?;
        let (major, minor) = device.split_once(':')?;
        let root = path(fields.next()?);
        let point = path(fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?.to_vec();
        Some(Self {
            id,
            device: libc::makedev(major.parse().ok()?, minor.parse().ok()?),
            root,
            path: point,
            kind,
        })
    }

    /// Where this mount shows what `other` shows at `path`: the same place, or all of this mount where it shows
    /// something below that place.
    pub(super) fn alias(&self, other: &Self, path: &Path) -> Option<PathBuf> {
        if self.id == other.id || self.device != other.device {
            return None;
        }
        let inner = other.root.join(path.strip_prefix(&other.path).ok()?);
        match inner.strip_prefix(&self.root) {
            // Joined with nothing, a path would get a slash at its end.
            Ok(rest) if rest.as_os_str().is_empty() => Some(self.path.clone()),
            Ok(rest) => Some(self.path.join(rest)),
            Err(_) => self.root.starts_with(&inner).then(|| self.path.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_of_mountinfo() {
        let line = b"41 31 0:38 /r /sys/fs/a\\040b rw,relatime shared:9 master:1 - cgroup2 none rw";
        let expected = Mount {
            id: 41,
            device: 38,
            root: "/r".into(),
            path: "/sys/fs/a b".into(),
            kind: b"cgroup2".to_vec(),
        };
        assert_eq!(Mount::read(line), Some(expected));
        let plain = b"23 27 0:22 / /sys rw,relatime - sysfs sysfs rw";
        assert_eq!(Mount::read(plain).unwrap().kind, b"sysfs");
        assert_eq!(Mount::read(b""), None);
        assert_eq!(Mount::read(b"1 2 3 /"), None);
    }

    #[test]
    fn finds_the_mount_of_a_descriptor() {
        let file = fs::File::open("/proc/self/status").unwrap();
        let id = mount_of(&file).unwrap();
        let found = read().unwrap().into_iter().find(|mount| mount.id == id);
        assert_eq!(found.unwrap().kind, b"proc");
    }

    #[test]
    fn other_mounts_show_the_same_place() {
        let mount = |id, device, root: &str, path: &str| Mount {
            id,
            device,
            root: root.into(),
            path: path.into(),
            kind: b"ext4".to_vec(),
        };
        let home = mount(1, 7, "/", "/home");
        let at = |other: Mount| other.alias(&home, Path::new("/home/u/.aws"));
        let shown = |path: &str| Some(PathBuf::from(path));
        assert_eq!(at(mount(2, 7, "/", "/mnt")), shown("/mnt/u/.aws"));
        assert_eq!(at(mount(2, 7, "/u", "/srv")), shown("/srv/.aws"));
        assert_eq!(at(mount(2, 7, "/u/.aws", "/keys")), shown("/keys"));
        assert_eq!(at(mount(2, 7, "/u/.aws/sso", "/sso")), shown("/sso"));
        assert_eq!(at(mount(2, 7, "/v", "/v")), None);
        assert_eq!(at(mount(2, 8, "/", "/mnt")), None);
        assert_eq!(at(mount(1, 7, "/", "/home")), None);
    }
}
