//! The mount namespace of a session, made by its first process: what of the host's files it sees.
//!
//! Everything is there as on the host, but: /proc, /sys and /dev are its own, directories for temporary
//! files and for sockets are private (`private`), single files in them are shown again (`show`), guard's
//! own directories, kernel file systems (`kernel`), unix sockets (`sockets`) and AWS keys (`stores`, `links`) are hidden.
//!
//! But for an empty `~/.aws`, nothing of the host is changed: the namespace is a copy, and nothing is passed on from or to it.

mod devices;
mod kernel;
mod links;
mod private;
mod show;
pub(super) mod sockets;
pub(super) mod stores;
mod syscalls;
mod table;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statfs::Statfs;
use nix::unistd::Gid;
use serde::{Deserialize, Serialize};

use super::report::{Report, Stage, at, on};
use super::user::Invoker;
use crate::policy::Reach;

/// What a session is to see of the host; the daemon knows it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// What its profile shows of the host.
    pub reach: Reach,
    /// The directory of the files that it is handed, which it reads.
    pub files: PathBuf,
    /// guard's own directories, which it does not see.
    pub hidden: Vec<PathBuf>,
}

/// What the launcher found on the host before it forked.
pub(super) struct Host {
    /// Who the command runs as.
    pub(super) invoker: Invoker,
    /// The working directory.
    pub(super) directory: PathBuf,
    /// The command's file.
    pub(super) executable: Option<PathBuf>,
    /// Directories that the environment names for temporary files.
    pub(super) temporary: Vec<PathBuf>,
    /// Where its environment says that AWS keys are.
    pub(super) stores: Vec<PathBuf>,
    /// Terminals among the standard streams.
    pub(super) terminals: Vec<PathBuf>,
    /// The group that terminals belong to.
    pub(super) terminal_group: Option<Gid>,
}

/// What init is told once the daemon has confined it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Order {
    /// What the session is to see.
    pub(super) world: World,
    /// The unix sockets that are bound to paths by now, as bytes: they need not be text.
    pub(super) sockets: Vec<Vec<u8>>,
}

/// The user's own directory in the session's /run: `XDG_RUNTIME_DIR`.
pub(super) fn runtime_directory(invoker: &Invoker) -> PathBuf {
    private::runtime(invoker)
}

/// The name of a file system's type if no session sees such file systems.
pub(super) fn hidden_kind_of(found: &Statfs) -> Option<&'static str> {
    kernel::hidden_kind(found)
}

pub(super) use kernel::number as magic_number;

const SAFE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// Makes this process's mount namespace, which must be its own already, the session's.
pub(super) fn build(order: &Order, host: &Host) -> Result<(), Report> {
    let Order { world, sockets } = order;
    let nothing = None::<&str>;
    let alone = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(nothing, "/", nothing, alone, nothing).map_err(at(Stage::Private))?;
    kernel::own_proc()?;
    let devices = devices::Devices::take(&host.terminals)?;
    // From here on no file of the host is a device or gives privileges.
    syscalls::restrict(Path::new("/"), SAFE, true).map_err(at(Stage::Private))?;
    let files = handed(&world.files)?;
    let directories = private::find(&host.invoker, world.reach.temporary)?;
    let stores = stores::find(host, &world.reach)?;
    let empty = world.files.join(super::trust::EMPTY);
    let empty = open(&empty, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(on(Stage::Stores, &empty))?;
    let shown = show::take(world, host, &directories)?;

    kernel::own_sysfs()?;
    devices.place(host.terminal_group, world.reach.temporary)?;
    private::cover(&directories, &host.invoker)?;
    shown.place()?;
    private::make_temporary(&host.temporary, &directories, &host.invoker)?;
    hide(&world.hidden)?;
    place_files(&files, &world.files)?;
    seal(&world.hidden)?;
    kernel::remove_file_systems(&directories)?;
    kernel::protect_settings()?;
    if host.invoker.uid.is_root() {
        protect_schedules()?;
    }
    sockets::cover(sockets, &host.invoker, shown.allowed())?;
    stores::cover(&stores, &world.reach, host, &empty)
}

/// The session's own files, before guard's directories are covered.
fn handed(directory: &Path) -> Result<syscalls::Detached, Report> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let failed = on(Stage::Hide, directory);
    let opened = open(directory, flags, Mode::empty()).map_err(&failed)?;
    let files = syscalls::copy(opened, false).map_err(on(Stage::Hide, directory))?;
    let attributes = SAFE | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC;
    files
        .restrict(attributes)
        .map_err(on(Stage::Hide, directory))?;
    Ok(files)
}

/// Covers directories with empty ones.
fn hide(directories: &[PathBuf]) -> Result<(), Report> {
    for directory in directories {
        if directory.is_dir() {
            tmpfs(directory, "mode=0755,size=64k").map_err(on(Stage::Hide, directory))?;
        }
    }
    Ok(())
}

fn place_files(files: &syscalls::Detached, directory: &Path) -> Result<(), Report> {
    let failed = on(Stage::Hide, directory);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(&failed)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let place = open(directory, flags, Mode::empty()).map_err(on(Stage::Hide, directory))?;
    files.attach(place).map_err(failed)
}

/// Lets nothing be written into the covers.
fn seal(directories: &[PathBuf]) -> Result<(), Report> {
    for directory in directories {
        // In a private directory there may be none, and then nothing is mounted at it.
        let is_mount = |path: &Path| {
            let parent = path.parent().and_then(|parent| parent.metadata().ok());
            path.metadata()
                .is_ok_and(|own| parent.is_some_and(|parent| parent.dev() != own.dev()))
        };
        if is_mount(directory) {
            syscalls::restrict(directory, libc::MOUNT_ATTR_RDONLY, false)
                .map_err(on(Stage::Hide, directory))?;
        }
    }
    Ok(())
}

/// What root's scheduler runs is outside the session; nothing may be put there from within.
fn protect_schedules() -> Result<(), Report> {
    let schedules = [
        "/etc/anacrontab",
        "/etc/at.allow",
        "/etc/at.deny",
        "/etc/cron.allow",
        "/etc/cron.d",
        "/etc/cron.daily",
        "/etc/cron.deny",
        "/etc/cron.hourly",
        "/etc/cron.monthly",
        "/etc/cron.weekly",
        "/etc/cron.yearly",
        "/etc/crontab",
        "/etc/periodic",
        "/var/spool/at",
        "/var/spool/anacron",
        "/var/spool/cron",
    ];
    for path in schedules
        .map(Path::new)
        .into_iter()
        .filter(|path| path.exists())
    {
        read_only(path).map_err(on(Stage::ReadOnly, path))?;
    }
    Ok(())
}

/// Makes a file or directory of the host read-only.
fn read_only(path: &Path) -> std::io::Result<()> {
    let place = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let copy = syscalls::copy(&place, true)?;
    copy.restrict(libc::MOUNT_ATTR_RDONLY)?;
    copy.attach(&place)
}

/// Covers a directory with an empty file system in memory; `options` as tmpfs takes them.
fn tmpfs(directory: &Path, options: &str) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        directory,
        Some("tmpfs"),
        flags,
        Some(options),
    )
}
