//! Where AWS tools keep keys and tokens: out of a session's reach, also where other mounts show the same files.
//!
//! Directories become private and empty, files are covered by an empty one. guard's own resolver reads them outside
//! of the session. `sandbox.show` gives single ones back.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::super::report::{Report, Stage, at, on};
use super::links;
use super::private::Directories;
use super::show::{self, as_user};
use super::syscalls;
use super::table::{self, Mount};
use super::{Host, tmpfs};
use crate::policy::Reach;

/// The AWS CLI's and every SDK's directory: configuration, keys, caches of IAM Identity Center and of logins.
const USUAL: &str = ".aws";

/// What else lies in home directories: aws-vault, aws-sso-cli, Granted, Leapp, okta-aws-cli, Elastic Beanstalk,
/// the ECS CLI, Amazon Q, s3fs, s3cmd, boto 2, rclone, the MinIO client, S3QL, aws-iam-authenticator.
const IN_HOME: [&str; 19] = [
    USUAL,
    ".awsvault",
    ".aws-sso",
    ".config/aws-sso",
    ".granted",
    ".Leapp",
    ".okta/awscli-access-token.json",
    ".elasticbeanstalk",
    ".ecs",
    ".local/share/amazon-q",
    ".passwd-s3fs",
    ".s3cfg",
    ".boto",
    ".config/rclone",
    ".rclone.conf",
    ".mc",
    ".mcli",
    ".s3ql",
    ".kube/cache/aws-iam-authenticator",
];

/// What belongs to the host: boto 2, s3fs, the Systems Manager agent, the ECS agent.
const OF_HOST: [&str; 4] = [
    "/etc/boto.cfg",
    "/etc/passwd-s3fs",
    "/var/lib/amazon/ssm",
    "/var/lib/ecs/data",
];

/// Variables that name a file or directory with keys or tokens. SDKs; those for Java and boto 2; rclone; s3cmd;
/// aws-iam-authenticator; aws-vault.
const NAMING: [&str; 13] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_CREDENTIAL_PROFILES_FILE",
    "AWS_CREDENTIAL_FILE",
    "BOTO_CONFIG",
    "RCLONE_CONFIG",
    "S3CMD_CONFIG",
    "AWS_IAM_AUTHENTICATOR_CACHE_FILE",
    "AWS_VAULT_FILE_DIR",
    "GUARD_IDENTITY_TOKEN_FILE",
];

/// Bytes of a configuration file that are looked at; as the resolver's.
const LARGEST: u64 = 1 << 20;

/// Homes that are looked into for root.
const MOST_HOMES: usize = 1024;

/// The paths that the launcher's environment names. Relative ones start at the working directory.
pub(in crate::sandbox) fn named(
    variable: impl Fn(&str) -> Option<PathBuf>,
    directory: &Path,
) -> Vec<PathBuf> {
    let home = variable("HOME");
    let whole = |path: PathBuf| match (path.strip_prefix("~"), &home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => directory.join(path),
    };
    let named = NAMING.iter().filter_map(|name| variable(name)).map(whole);
    let own = variable("XDG_CONFIG_HOME").into_iter();
    let own = own.flat_map(|path| ["aws-sso", "rclone"].map(|name| path.join(name)));
    let usual = home.iter().flat_map(|home| within(home));
    named.chain(own).chain(usual).collect()
}

fn within(home: &Path) -> [PathBuf; IN_HOME.len()] {
    IN_HOME.map(|name| home.join(name))
}

/// Every path that may hold keys, whether it is there or not; before anything is covered, as files that name others
/// are read, and links followed. Makes the user's own `~/.aws` where it is missing: what is put there later must be
/// hidden, too.
pub(super) fn find(host: &Host, reach: &Reach) -> Result<Vec<PathBuf>, Report> {
    let invoker = &host.invoker;
    let mut paths: BTreeSet<PathBuf> = OF_HOST.iter().map(PathBuf::from).collect();
    paths.extend(host.stores.iter().cloned());
    paths.extend(invoker.home.iter().flat_map(|home| within(home)));
    if invoker.uid.is_root() {
        let homes = homes().into_iter().take(MOST_HOMES);
        paths.extend(homes.flat_map(|home| within(&home)));
    }
    let (tokens, targets) = as_user(invoker, || {
        let usual = host.stores.iter().filter(|path| path.ends_with(USUAL));
        let homes = usual.filter_map(|path| path.parent());
        for home in homes.chain(invoker.home.as_deref()) {
            make(home, invoker.uid.as_raw());
        }
        let files = |path: &PathBuf| [path.clone(), path.join("config"), path.join("credentials")];
        let texts = paths.iter().flat_map(files).filter_map(|path| text(&path));
        let tokens: Vec<PathBuf> = texts.flat_map(|text| token_files(&text)).collect();
        let targets = links::targets(&paths, &reach.show, invoker.uid.as_raw());
        (tokens, targets)
    })?;
    paths.extend(targets?);
    paths.extend(tokens.into_iter().map(|path| host.directory.join(path)));
    Ok(paths.into_iter().collect())
}

/// Where accounts of this host have their homes.
fn homes() -> BTreeSet<PathBuf> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let accounts = accounts.lines().filter_map(|line| line.split(':').nth(5));
    let accounts = accounts.map(PathBuf::from);
    let entries = fs::read_dir("/home").into_iter().flatten().flatten();
    let all = accounts.chain(entries.map(|entry| entry.path()));
    all.filter(|home| home.is_absolute()).collect()
}

/// With the user's rights. That it cannot be made is no matter: then nobody else makes it with the same rights.
fn make(home: &Path, uid: u32) {
    if fs::metadata(home).is_ok_and(|found| found.is_dir() && found.uid() == uid) {
        let _ = fs::DirBuilder::new().mode(0o700).create(home.join(USUAL));
    }
}

/// A file's text; `None` where there is none to be read without waiting.
fn text(path: &Path) -> Option<Vec<u8>> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).ok()?;
    file.take(LARGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The web identity tokens that profiles name.
fn token_files(text: &[u8]) -> Vec<PathBuf> {
    let value = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let (name, value) = line.split_once('=')?;
        let is_token = name.trim().eq_ignore_ascii_case("web_identity_token_file");
        is_token.then(|| PathBuf::from(value.trim()))
    };
    text.split(|&b| b == b'\n').filter_map(value).collect()
}

/// Something that is there and is to be hidden.
struct Store {
    path: PathBuf,
    file: OwnedFd,
    found: FileStat,
}

impl Store {
    fn is_directory(&self) -> bool {
        SFlag::from_bits_truncate(self.found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
    }

    fn is_same(&self, other: &FileStat) -> bool {
        (self.found.st_dev, self.found.st_ino) == (other.st_dev, other.st_ino)
    }

    fn of(file: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            path: fs::read_link(handle(&file))?,
            found: fstat(&file)?,
            file,
        })
    }

    /// Puts something empty over it.
    fn cover(&self, empty: &OwnedFd) -> io::Result<()> {
        let kind = SFlag::from_bits_truncate(self.found.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFDIR {
            let FileStat {
                st_mode: mode,
                st_uid: uid,
                st_gid: gid,
                ..
            } = self.found;
            // By the descriptor, as a path could lead elsewhere by now.
            let options = format!("mode={:o},uid={uid},gid={gid}", mode & 0o7777);
            return Ok(tmpfs(&handle(&self.file), &options)?);
        }
        if kind != SFlag::S_IFREG {
            return Ok(());
        }
        let cover = syscalls::copy(empty, false)?;
        cover.restrict(libc::MOUNT_ATTR_RDONLY)?;
        cover.attach(&self.file)
    }
}

/// A path that leads to what a descriptor is open on.
fn handle(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Hides those of the paths that are there, in the session's finished world. `empty` is an empty file.
pub(super) fn cover(
    paths: &[PathBuf],
    reach: &Reach,
    host: &Host,
    empty: &OwnedFd,
) -> Result<(), Report> {
    let opened = as_user(&host.invoker, || {
        let open = |path: &PathBuf| (path.clone(), reachable(path));
        let shown = reach.show.iter().filter_map(|path| reachable(path).ok()?);
        let shown: Vec<_> = shown.filter_map(|file| fstat(file).ok()).collect();
        (paths.iter().map(open).collect::<Vec<_>>(), shown)
    })?;
    let (opened, shown) = opened;
    let mut stores = Vec::new();
    for (path, file) in opened {
        let Some(file) = file.map_err(on(Stage::Stores, &path))? else {
            continue;
        };
        let store = Store::of(file).map_err(on(Stage::Stores, &path))?;
        if !shown.iter().any(|it| store.is_same(it)) {
            stores.push(store);
        }
    }
    let directories = stores.iter().filter(|store| store.is_directory());
    let directories = Directories::only(directories.map(|store| store.path.clone()));
    let kept = show::take_named(&reach.show, &host.invoker, &directories)?;
    let mounts = table::read().map_err(at(Stage::Stores))?;
    let mut all = Vec::new();
    for store in stores {
        let others = aliases(&store, &mounts).map_err(on(Stage::Stores, &store.path))?;
        all.push(store);
        all.extend(others);
    }
    for store in &all {
        store.cover(empty).map_err(on(Stage::Stores, &store.path))?;
    }
    kept.place()
}

/// Opens what a path leads to, with the user's rights: what the user cannot get to, the session cannot either.
fn reachable(path: &Path) -> nix::Result<Option<OwnedFd>> {
    match open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::ENAMETOOLONG,
        ) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The same files, or some of them, where other mounts show them.
fn aliases(store: &Store, mounts: &[Mount]) -> io::Result<Vec<Store>> {
    let id = table::mount_of(&store.file)?;
    let Some(own) = mounts.iter().find(|mount| mount.id == id) else {
        return Err(Errno::ENODATA.into());
    };
    let mut found = Vec::new();
    for mount in mounts {
        let Some(path) = mount.alias(own, &store.path) else {
            continue;
        };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = match open(&path, flags, Mode::empty()) {
            Ok(file) => file,
            // Another mount stands in front of it.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if table::mount_of(&file)? == mount.id {
            found.push(Store::of(file)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_name_files_relative_to_where_guard_was_started() {
        let variables = [
            ("HOME", "/h"),
            ("AWS_CONFIG_FILE", "~/c"),
            ("AWS_SHARED_CREDENTIALS_FILE", "keys"),
            ("XDG_CONFIG_HOME", "/x"),
        ];
        let set = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let named = named(set, Path::new("/d"));
        for path in ["/h/c", "/d/keys", "/x/rclone", "/h/.aws", "/h/.s3cfg"] {
            assert!(named.contains(&path.into()), "{path}: {named:?}");
        }
    }

    #[test]
    fn profiles_name_tokens() {
        let text = b"[profile a]\nrole_arn = x\nweb_identity_token_file = /t/one\n\
            [b]\nWeb_Identity_Token_File=two \n# web_identity_token = 3\n\xff = 4\n";
        assert_eq!(token_files(text), [PathBuf::from("/t/one"), "two".into()]);
    }

    #[test]
    fn a_missing_directory_is_made_in_the_users_own_home_alone() {
        let home = tempfile::tempdir().unwrap();
        let uid = fs::metadata(home.path()).unwrap().uid();
        make(home.path(), uid + 1);
        assert!(!home.path().join(USUAL).exists());
        make(home.path(), uid);
        make(home.path(), uid);
        let mode = fs::metadata(home.path().join(USUAL)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o700);
    }
}
