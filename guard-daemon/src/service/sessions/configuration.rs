//! The AWS configuration files of a session: what was in them at its start, and whether it still is.
//!
//! A confined tree that rewrote them must not choose what the next daemon runs (`credential_process`) or signs with.
//! The paths are the user's: whatever lies there by now, it is opened without an effect of its own, and nobody waits
//! for it for long.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::makedev;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// Bytes of a file; the resolver takes no more either.
const LARGEST: u64 = 1 << 20;

/// How long all of a session's files may take to be read: they may lie on a file system that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is in a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    /// There is no such file.
    Absent,
    /// Something with this SHA-256 digest, in hexadecimal.
    Digest(String),
    /// It cannot be told: no plain file, too large, unreadable, or not read in time.
    Unknown,
}

/// Files and what is in them.
pub(super) type Contents = BTreeMap<PathBuf, Content>;

/// Looks what is in the files now.
pub(super) async fn contents(files: Vec<PathBuf>) -> Contents {
    read_by(files, PATIENCE, content).await
}

/// The files that are not as they were, as far as can be told: what is not known to be the same counts as changed.
pub(super) async fn changed(before: &Contents) -> Vec<PathBuf> {
    let now = contents(before.keys().cloned().collect()).await;
    let is_same = |path: &PathBuf, content: &Content| {
        *content != Content::Unknown && now.get(path) == Some(content)
    };
    let changed = before.iter().filter(|(path, was)| !is_same(path, was));
    changed.map(|(path, _)| path.clone()).collect()
}

async fn read_by(files: Vec<PathBuf>, patience: Duration, look: fn(&Path) -> Content) -> Contents {
    let all: Contents = files
        .into_iter()
        .map(|path| (path, Content::Unknown))
        .collect();
    let mut read = all.clone();
    // A thread that hangs is left behind; it takes nothing of the daemon with it.
    let reading = tokio::task::spawn_blocking(move || {
        for (path, content) in &mut read {
            *content = look(path);
        }
        read
    });
    match timeout(patience, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(_)) | Err(_) => all,
    }
}

fn content(path: &Path) -> Content {
    match digest(path) {
        Ok(digest) => Content::Digest(digest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Absent,
        Err(_) => Content::Unknown,
    }
}

fn digest(path: &Path) -> io::Result<String> {
    if !path.is_absolute() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // Links of procfs (`/proc/self/cwd`) would lead this process elsewhere than the one that reads the configuration.
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let place = File::from(openat2(AT_FDCWD, path, how)?);
    let found = place.metadata()?;
    let is_null = found.file_type().is_char_device() && found.rdev() == makedev(1, 3);
    let mut bytes = Vec::new();
    // Nothing else is opened: a pipe blocks, a device may act (a watchdog starts).
    if found.is_file() {
        reopened(&place)?
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)?;
    } else if !is_null {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if bytes.len() as u64 > LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    Ok(hex::encode(digest))
}

/// The very file that a descriptor is open on, for reading; nothing that a path may lead to by now.
fn reopened(place: &File) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[tokio::test]
    async fn a_rewritten_configuration_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let absent = contents(vec![config.clone()]).await;
        assert_eq!(absent[&config], Content::Absent);
        assert!(changed(&absent).await.is_empty());
        fs::write(&config, "[default]\ncredential_process = evil\n").unwrap();
        assert_eq!(changed(&absent).await, std::slice::from_ref(&config));
        let written = contents(vec![config.clone()]).await;
        assert!(matches!(written[&config], Content::Digest(_)));
        assert!(changed(&written).await.is_empty());
        fs::remove_file(&config).unwrap();
        assert_eq!(changed(&written).await, [config]);
    }

    #[tokio::test]
    async fn what_is_no_plain_file_is_unknown_at_once_and_counts_as_changed() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        mkfifo(&at("pipe"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        symlink(at("pipe"), at("to-pipe")).unwrap();
        symlink("/dev/tty", at("device")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        symlink("loop", at("loop")).unwrap();
        fs::write(at("file"), "").unwrap();
        // Read by another process it would lead elsewhere.
        symlink("/proc/self/exe", at("magic")).unwrap();
        let large = File::create(at("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        let names = [
            "pipe",
            "to-pipe",
            "device",
            "socket",
            "directory",
            "loop",
            "file/below",
            "magic",
            "large",
        ];
        let mut files: Vec<PathBuf> = names.map(at).to_vec();
        files.push("relative".into());
        files.sort();
        let began = Instant::now();
        let all = contents(files.clone()).await;
        assert!(all.values().all(|it| *it == Content::Unknown), "{all:?}");
        assert_eq!(changed(&all).await, files);
        assert!(began.elapsed() < PATIENCE);
        let absent = files.iter().map(|path| (path.clone(), Content::Absent));
        assert_eq!(changed(&absent.collect()).await, files);
    }

    #[tokio::test]
    async fn the_null_device_is_an_empty_file() {
        let null = PathBuf::from("/dev/null");
        let home = tempfile::tempdir().unwrap();
        let empty = home.path().join("empty");
        fs::write(&empty, "").unwrap();
        let all = contents(vec![null.clone(), empty.clone()]).await;
        assert_eq!(all[&null], all[&empty]);
        assert!(changed(&all).await.is_empty());
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_is_not_waited_for() {
        let hangs = |_: &Path| {
            std::thread::sleep(Duration::from_millis(400));
            Content::Absent
        };
        let began = Instant::now();
        let all = read_by(vec!["/x".into()], Duration::from_millis(20), hangs).await;
        assert!(began.elapsed() < Duration::from_millis(300));
        assert_eq!(all[Path::new("/x")], Content::Unknown);
    }
}
