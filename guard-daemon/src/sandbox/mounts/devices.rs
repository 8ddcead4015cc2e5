//! The session's own /dev: the devices that programs count on, its own terminals, and no disks, no
//! memory, no tun.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::Gid;

use super::super::report::{Report, Stage, on};
use super::private::SHARED_MEMORY;
use super::syscalls::{self, Detached};
use super::tmpfs;
use crate::policy::Temporary;

/// Devices that every program may use: with the terminals, all that the hook on devices lets be opened
/// (guard-ebpf/src/device.rs).
const TAKEN: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The highest number of a host's pseudo-terminal that gets its own name in the session.
const MOST_TERMINALS: u32 = 256;

/// What of the host's /dev the session has.
pub(super) struct Devices {
    taken: Vec<Taken>,
    terminals: Vec<Taken>,
    shared_memory: Option<Detached>,
}

struct Taken {
    path: PathBuf,
    is_directory: bool,
    mount: Detached,
}

impl Devices {
    /// Takes them, before the host's /dev is covered. `terminals` are those of the standard streams.
    pub(super) fn take(terminals: &[PathBuf]) -> Result<Self, Report> {
        let directory = Path::new("/dev");
        let mut fixed = TAKEN.iter().map(|name| directory.join(name));
        let all = |paths: &mut dyn Iterator<Item = PathBuf>| {
            paths
                .filter_map(|path| take(path).transpose())
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            taken: all(&mut fixed)?,
            terminals: all(&mut terminals.iter().cloned())?,
            shared_memory: take(SHARED_MEMORY.into())?.map(|taken| taken.mount),
        })
    }

    /// Covers /dev and fills it. `terminal_group` gets the session's terminals, as the host's has its own.
    pub(super) fn place(
        &self,
        terminal_group: Option<Gid>,
        temporary: Temporary,
    ) -> Result<(), Report> {
        let directory = Path::new("/dev");
        tmpfs(directory, "mode=0755,size=64k").map_err(on(Stage::Devices, directory))?;
        for taken in &self.taken {
            put(taken).map_err(on(Stage::Devices, &taken.path))?;
        }
        own_terminals(terminal_group)
            .and_then(|()| own_queues())
            .and_then(|()| links())
            .map_err(on(Stage::Devices, directory))?;
        for terminal in &self.terminals {
            put_terminal(terminal).map_err(on(Stage::Devices, &terminal.path))?;
        }
        let memory = Path::new(SHARED_MEMORY);
        fs::create_dir(memory).map_err(on(Stage::Devices, memory))?;
        if let (Temporary::Shared, Some(shared)) = (temporary, &self.shared_memory) {
            place(shared, memory)
                .and_then(|()| syscalls::restrict(memory, super::SAFE, true))
                .map_err(on(Stage::Devices, memory))?;
        }
        syscalls::restrict(directory, libc::MOUNT_ATTR_RDONLY, false)
            .map_err(on(Stage::Devices, directory))
    }
}

/// `None` where the host does not have it.
fn take(path: PathBuf) -> Result<Option<Taken>, Report> {
    let opened = match open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENXIO) => return Ok(None),
        other => other.map_err(on(Stage::Devices, &path))?,
    };
    let failed = on(Stage::Devices, &path);
    let is_directory =
        fstat(&opened).map_err(on(Stage::Devices, &path))?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let mount = syscalls::copy(&opened, false).map_err(failed)?;
    Ok(Some(Taken {
        path,
        is_directory,
        mount,
    }))
}

fn put(taken: &Taken) -> io::Result<()> {
    if taken.is_directory {
        fs::create_dir(&taken.path)?;
    } else {
        fs::File::create(&taken.path)?;
    }
    place(&taken.mount, &taken.path)
}

fn place(mount: &Detached, path: &Path) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    mount.attach(open(path, flags, Mode::empty())?)
}

/// A file system of pseudo-terminals: those of the host cannot be opened.
fn own_terminals(group: Option<Gid>) -> io::Result<()> {
    let group = group.map_or_else(String::new, |group| format!(",gid={group}"));
    let options = format!("newinstance,ptmxmode=0666,mode=0620{group}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    fs::create_dir("/dev/pts")?;
    mount(
        Some("devpts"),
        "/dev/pts",
        Some("devpts"),
        flags,
        Some(options.as_str()),
    )?;
    symlink("pts/ptmx", "/dev/ptmx")
}

/// POSIX message queues of the session's own IPC namespace.
fn own_queues() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    fs::create_dir("/dev/mqueue")?;
    match mount(
        Some("mqueue"),
        "/dev/mqueue",
        Some("mqueue"),
        flags,
        None::<&str>,
    ) {
        // A kernel without them.
        Err(Errno::ENODEV) => Ok(()),
        other => Ok(other?),
    }
}

fn links() -> io::Result<()> {
    symlink("/proc/self/fd", "/dev/fd")?;
    for (number, name) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
        symlink(
            format!("/proc/self/fd/{number}"),
            Path::new("/dev").join(name),
        )?;
    }
    Ok(())
}

/// Puts a terminal of the host where ttyname(3) looks for it. Programs find it by number, so the number
/// is taken in the session's own file system first.
fn put_terminal(terminal: &Taken) -> io::Result<()> {
    let number = terminal
        .path
        .strip_prefix("/dev/pts")
        .ok()
        .and_then(|name| name.to_str()?.parse::<u32>().ok());
    match number {
        Some(number) if number <= MOST_TERMINALS => {
            let master = reserve(number)?;
            place(&terminal.mount, &terminal.path)?;
            // Held for this process's life, which is the session's: the number must not be given away.
            let _ = master.into_raw_fd();
            Ok(())
        }
        // glibc also finds it here.
        Some(_) => {
            let path = Path::new("/dev/console");
            if path.exists() {
                return Ok(());
            }
            fs::File::create(path)?;
            place(&terminal.mount, path)
        }
        None if terminal.path.parent() == Some(Path::new("/dev")) && !terminal.path.exists() => {
            put(terminal)
        }
        None => Ok(()),
    }
}

/// Opens pseudo-terminals until one has the number.
fn reserve(number: u32) -> io::Result<OwnedFd> {
    let mut others = Vec::new();
    loop {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = open("/dev/pts/ptmx", flags, Mode::empty())?;
        let mut given: libc::c_uint = 0;
        // SAFETY: the ioctl writes an unsigned int, which outlives the call.
        if unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut given) } < 0 {
            return Err(io::Error::last_os_error());
        }
        if given == number {
            return Ok(master);
        }
        if given > number {
            return Err(Errno::EBUSY.into());
        }
        others.push(master);
    }
}
