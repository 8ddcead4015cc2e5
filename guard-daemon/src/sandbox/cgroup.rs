//! The sessions' cgroups: finds cgroup v2, makes one directory per session, empties and removes it.
//!
//! Layout: `<cgroup2 mount>/guard/<runtime directory's hash>/<session>`. The hash keeps daemons with
//! different runtime directories from taking each other's sessions for leftovers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::session::SessionId;

/// How long a killed tree may take to be gone.
const EMPTYING: Duration = Duration::from_secs(10);

/// Why a session's cgroup could not be made or taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The host has no cgroup v2.
    #[error(
        "no cgroup v2 hierarchy is mounted; mount one: mkdir -p /sys/fs/cgroup/unified && \
         mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    NoHierarchy,
    /// A file operation failed.
    #[error("{action} {path}: {source}; guard must run as root with cgroup v2 writable")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a cgroup that could be confined.
    #[error(
        "{path} is not a cgroup below {mount}; name one as `systemd-cgls` or /proc/PID/cgroup shows it, not the root"
    )]
    NotBelow {
        /// What was named.
        path: PathBuf,
        /// Where the hierarchy is.
        mount: PathBuf,
    },
    /// Processes did not stop.
    #[error(
        "the processes in {path} could not be frozen within {seconds} s; is one of them in the kernel for long?"
    )]
    NotFrozen {
        /// The cgroup.
        path: PathBuf,
        /// How long guard waited.
        seconds: u64,
    },
    /// Processes survived being killed.
    #[error(
        "processes in {path} are still there {seconds} s after they were killed; the next start of \
         guard tries again"
    )]
    NotEmpty {
        /// The cgroup.
        path: PathBuf,
        /// How long guard waited.
        seconds: u64,
    },
}

/// The part of the cgroup v2 tree that belongs to one runtime directory.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: PathBuf,
}

impl Hierarchy {
    /// Finds the cgroup v2 mount, also on hosts where it stands beside version 1.
    pub fn find(runtime_dir: &Path) -> Result<Self, CgroupError> {
        let mounts = fs::read("/proc/self/mounts")
            .map_err(failed("cannot read", Path::new("/proc/self/mounts")))?;
        let mount = unified_mount(&mounts).ok_or(CgroupError::NoHierarchy)?;
        let canonical = fs::canonicalize(runtime_dir)
            .map_err(failed("cannot resolve the runtime directory", runtime_dir))?;
        Ok(Self {
            root: mount.join("guard").join(short_hash(&canonical)),
        })
    }

    /// Makes the cgroup of a session; one that exists is an error.
    pub fn create(&self, session: &SessionId) -> Result<Cgroup, CgroupError> {
        let path = self.root.join(session.as_str());
        fs::create_dir_all(&self.root).map_err(failed("cannot make", &self.root))?;
        fs::create_dir(&path).map_err(failed("cannot make", &path))?;
        Ok(Cgroup { path, number: None })
    }

    /// The cgroup of a session, whether or not it exists.
    pub fn of(&self, session: &SessionId) -> Cgroup {
        Cgroup {
            path: self.root.join(session.as_str()),
            number: None,
        }
    }

    /// The sessions whose cgroups exist.
    pub fn sessions(&self) -> Result<Vec<SessionId>, CgroupError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed("cannot list", &self.root))?,
        };
        let mut sessions = Vec::new();
        for entry in entries {
            let name = entry
                .map_err(failed("cannot list", &self.root))?
                .file_name();
            sessions.extend(name.to_str().and_then(SessionId::parse));
        }
        Ok(sessions)
    }

    /// An existing cgroup by its directory, or by its path below the mount as `/proc/<pid>/cgroup` has it.
    /// The root of the hierarchy is refused: it holds everything.
    pub fn existing(&self, path: &Path) -> Result<Cgroup, CgroupError> {
        let mount = self.mount();
        let wanted = if path.starts_with(mount) {
            path.to_owned()
        } else {
            mount.join(path.strip_prefix("/").unwrap_or(path))
        };
        let directory = fs::canonicalize(&wanted).map_err(failed("there is no cgroup", &wanted))?;
        if directory.parent() == mount.parent() || !directory.starts_with(mount) {
            return Err(CgroupError::NotBelow {
                path: directory,
                mount: mount.to_owned(),
            });
        }
        // Something that is mounted in the hierarchy, or stands where it should be, is no cgroup.
        if !directory.join("cgroup.procs").is_file() {
            return Err(CgroupError::NotBelow {
                path: directory,
                mount: mount.to_owned(),
            });
        }
        let number = number_of(&directory).map_err(failed("cannot examine", &directory))?;
        Ok(Cgroup {
            path: directory,
            number: Some(number),
        })
    }

    /// The cgroup that `Cgroup::name` named, whether or not it exists. With a number, one made later in its place is
    /// another one.
    pub fn named(&self, name: &str, number: Option<u64>) -> Cgroup {
        Cgroup {
            path: self.mount().join(name.trim_start_matches('/')),
            number,
        }
    }

    /// The cgroup that has this number (its inode, and the kernel's id of it), where it can be seen from here. Looks
    /// at all there are.
    pub fn numbered(&self, number: u64) -> Option<Cgroup> {
        let mut ahead = vec![self.mount().to_owned()];
        while let Some(path) = ahead.pop() {
            if number_of(&path).is_ok_and(|found| found == number) {
                return Some(Cgroup {
                    path,
                    number: Some(number),
                });
            }
            ahead.extend(children(&path));
        }
        None
    }

    /// Where cgroup v2 is mounted.
    pub fn mount(&self) -> &Path {
        // `find` put two directories behind it.
        self.root.ancestors().nth(2).unwrap_or(&self.root)
    }

    /// Removes the directories above the sessions if nothing is left in them.
    pub fn remove_if_empty(&self) {
        let parents = self.root.ancestors().take(2);
        for directory in parents {
            if fs::remove_dir(directory).is_err() {
                return;
            }
        }
    }
}

/// A session's cgroup.
#[derive(Clone, Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Which one it is of those that have the path in the course of time; `None` where only guard makes any there.
    number: Option<u64>,
}

impl Cgroup {
    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its number, where it is known.
    pub fn number(&self) -> Option<u64> {
        self.number
    }

    /// Whether it exists; one that cannot be looked at does. A service that is started again may have another cgroup
    /// at the same path.
    pub fn exists(&self) -> bool {
        match number_of(&self.path) {
            Ok(found) => self.number.is_none_or(|number| number == found),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// A descriptor of its directory, for attaching programs.
    pub fn open(&self) -> Result<OwnedFd, CgroupError> {
        let directory = File::open(&self.path).map_err(failed("cannot open", &self.path))?;
        let metadata = directory
            .metadata()
            .map_err(failed("cannot examine", &self.path))?;
        if self.number.is_some_and(|number| number != metadata.ino()) {
            let replaced = io::Error::new(io::ErrorKind::NotFound, "it was removed and made anew");
            return Err(failed("cannot open", &self.path)(replaced));
        }
        Ok(directory.into())
    }

    /// Moves a process, with all its threads, into it.
    pub fn admit(&self, pid: u32) -> Result<(), CgroupError> {
        write(&self.path.join("cgroup.procs"), &pid.to_string())
    }

    /// Its path as `/proc/<pid>/cgroup` shows it to the host.
    pub fn name(&self, hierarchy: &Hierarchy) -> String {
        let below = self.path.strip_prefix(hierarchy.mount());
        format!("/{}", below.unwrap_or(&self.path).display())
    }

    /// The processes in it and below it.
    pub fn processes(&self) -> Vec<u32> {
        let mut processes = Vec::new();
        if !self.exists() {
            return processes;
        }
        let mut groups = vec![self.path.clone()];
        while let Some(group) = groups.pop() {
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            // 0 stands for a process that this pid namespace cannot see.
            let numbers = members.lines().filter_map(|line| line.parse().ok());
            processes.extend(numbers.filter(|&pid: &u32| pid != 0));
            groups.extend(children(&group));
        }
        processes
    }

    /// Whether a process is in it or below it; `false` also where it does not exist.
    pub fn is_populated(&self) -> bool {
        if !self.exists() {
            return false;
        }
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Stops every process in it and below until `thaw`, and waits until they have stopped. Blocks, up to
    /// ten seconds. A kernel without the freezer (before 5.2) is an error.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        write(&self.path.join("cgroup.freeze"), "1")?;
        let deadline = Instant::now() + EMPTYING;
        loop {
            let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
            if events.lines().any(|line| line == "frozen 1") {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(CgroupError::NotFrozen {
                    path: self.path.clone(),
                    seconds: EMPTYING.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets its processes go on. One that does not exist is fine.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        if !self.exists() {
            return Ok(());
        }
        write(&self.path.join("cgroup.freeze"), "0")
    }

    /// Kills every process in it and below, waits until they are gone, and leaves the directory. Blocks, up
    /// to ten seconds. One that does not exist is fine.
    pub fn kill_and_wait(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + EMPTYING;
        while self.exists() {
            kill_all(&self.path)?;
            if !self.is_populated() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.not_empty());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills every process in it and below, waits until they are gone, and removes it. Blocks, up to
    /// ten seconds. One that does not exist is fine.
    pub fn destroy(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + EMPTYING;
        let mut pause = Duration::from_millis(1);
        loop {
            if !self.exists() {
                return Ok(());
            }
            kill_all(&self.path)?;
            if remove_tree(&self.path) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(self.not_empty());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn not_empty(&self) -> CgroupError {
        CgroupError::NotEmpty {
            path: self.path.clone(),
            seconds: EMPTYING.as_secs(),
        }
    }
}

/// The number of the cgroup at a path, which is its inode.
fn number_of(path: &Path) -> io::Result<u64> {
    Ok(fs::symlink_metadata(path)?.ino())
}

/// The cgroup v2 path of a process as `/proc/<pid>/cgroup` gives it.
pub fn of_process(pid: u32) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    unified_path(&text).map(str::to_owned).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the process is in no cgroup of version 2",
        )
    })
}

/// The session whose cgroup (or a cgroup below it) a path in the form of `of_process` lies in.
pub fn session_of(path: &str) -> Option<SessionId> {
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        let mut ahead = parts.clone();
        if part == "guard"
            && ahead.next().is_some_and(is_short_hash)
            && let Some(session) = ahead.next().and_then(SessionId::parse)
        {
            return Some(session);
        }
    }
    None
}

/// The path in the line of `/proc/<pid>/cgroup` that is about version 2.
fn unified_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The first cgroup2 mount in the text of `/proc/self/mounts`.
fn unified_mount(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|&b| b == b'\n').find_map(|line| {
        let mut fields = line.split(|&b| b == b' ');
        let (_source, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == b"cgroup2").then(|| PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
    })
}

/// Undoes the octal escapes (`\040`) of the mounts file.
pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let (
            b'\\',
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ],
        ) = (first, tail)
        {
            text.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = after;
        } else {
            text.push(*first);
            rest = tail;
        }
    }
    text
}

/// Eight hexadecimal digits that stand for a directory.
fn short_hash(path: &Path) -> String {
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA256,
        path.as_os_str().as_encoded_bytes(),
    );
    hex::encode(&digest.as_ref()[..4])
}

fn is_short_hash(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Kills all processes of a cgroup and those below.
fn kill_all(path: &Path) -> Result<(), CgroupError> {
    let kill = path.join("cgroup.kill");
    match write(&kill, "1") {
        Err(CgroupError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            // Linux before 5.14, or the directory is gone. Fork can outrun one pass: the caller loops.
            kill_each(path);
            Ok(())
        }
        other => other,
    }
}

fn kill_each(path: &Path) {
    let members = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| line.parse::<i32>().ok()) {
        // 0 stands for a process that this pid namespace cannot see, and to kill() for our own group.
        if pid > 0 {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
    for child in children(path) {
        kill_each(&child);
    }
}

/// Removes a cgroup and those below it; `false` while something is still in one.
fn remove_tree(path: &Path) -> bool {
    let below = children(path).iter().all(|child| remove_tree(child));
    below
        && match fs::remove_dir(path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed("cannot write", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_unified_mount_beside_version_one() {
        let hybrid = b"tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        let pure = b"proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let odd = b"none /mnt/a\\040b\\134c cgroup2 rw 0 0\n";
        let first = b"cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2\n\n";
        assert_eq!(unified_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(unified_mount(pure), Some("/sys/fs/cgroup".into()));
        assert_eq!(unified_mount(odd), Some("/mnt/a b\\c".into()));
        assert_eq!(unified_mount(first), None);
    }

    #[test]
    fn finds_a_cgroup_by_its_number() {
        let home = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy {
            root: home.path().join("guard/0a1b2c3d"),
        };
        let below = home.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let number = fs::metadata(&below).unwrap().ino();
        let found = hierarchy.numbered(number).unwrap();
        assert_eq!(found.path(), below);
        assert!(hierarchy.numbered(u64::MAX).is_none());
    }

    #[test]
    fn reads_the_unified_line_of_a_process() {
        let text = "9:name=systemd:/\n4:memory:/x\n0::/guard/0a1b2c3d/0123456789abcdef\n";
        assert_eq!(unified_path(text), Some("/guard/0a1b2c3d/0123456789abcdef"));
        assert_eq!(unified_path("4:memory:/x\n"), None);
    }

    #[test]
    fn knows_a_session_by_its_cgroup() {
        let id = "0123456789abcdef";
        for (path, inside) in [
            (format!("/guard/0a1b2c3d/{id}"), true),
            (format!("/guard/0a1b2c3d/{id}/deeper/still"), true),
            (format!("/outer/guard/0a1b2c3d/{id}"), true),
            (format!("/guard/guard/0a1b2c3d/{id}"), true),
            ("/guard/0a1b2c3d".to_owned(), false),
            (format!("/guard/{id}"), false),
            (format!("/user.slice/0a1b2c3d/{id}"), false),
            ("/".to_owned(), false),
        ] {
            assert_eq!(session_of(&path).is_some(), inside, "{path}");
        }
    }

    #[test]
    fn runtime_directories_do_not_share_cgroups() {
        let (a, b) = (
            short_hash(Path::new("/run/guard")),
            short_hash(Path::new("/tmp/x")),
        );
        assert!(is_short_hash(&a) && is_short_hash(&b));
        assert_ne!(a, b);
    }
}
