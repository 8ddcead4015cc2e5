//! The launcher's side of a confined command: forks its processes, lets it go once it is confined, waits
//! for it.
//!
//! The caller talks to the daemon between `Isolated::fork` (the command waits, in namespaces of its own)
//! and `Isolated::release` (it runs). A launcher that dies takes the session with it: what the processes
//! wait for is a message on a socket pair, and they take the end of the stream for an order to leave; the
//! first process also dies of its parent's death, and with it everything in its pid namespace.

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::statfs::statfs;
use nix::unistd::{ForkResult, Pid, fork};

use super::child::{self, Namespaces, Order, Plan};
use super::environment::Changes;
use super::filter::{FilterError, Programs};
use super::mounts::{self, Host, World};
use super::report::{Report, Stage};
use super::user::Invoker;
use super::wait::Terminal;
use super::{cgroup, init, streams, wait};
use crate::session::SessionId;

pub use super::wait::{End, Tether, die_of};

/// Why the command could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// An argument cannot be handed to a program.
    #[error("an argument of the command holds a NUL byte, which no program can be given")]
    NulByte,
    /// A standard stream leads out of the session.
    #[error("{name} is {what}; put a pipe between: cat | guard run -- COMMAND | cat")]
    Stream {
        /// Which one.
        name: &'static str,
        /// What it is.
        what: &'static str,
    },
    /// The working directory is one that no session sees.
    #[error(
        "the working directory {path} is on a {kind} file system, which no session sees; \
             start guard run in another"
    )]
    Directory {
        /// Its path.
        path: PathBuf,
        /// The file system's type.
        kind: &'static str,
    },
    /// The system call filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The launcher has more than one thread.
    #[error(
        "guard's launcher has {0} threads where one is needed to fork safely; please report this"
    )]
    Threads(usize),
    /// A step in the launcher failed.
    #[error("{step}: {source}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A step in the forked process failed.
    #[error("{stage}{colon}{detail}: {source}; {advice}", advice = stage.advice(),
            colon = if detail.is_empty() { "" } else { ": " })]
    Child {
        /// What was tried.
        stage: Stage,
        /// On what; may be empty.
        detail: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command is not there.
    #[error("{command}: command not found; sudo resets PATH, so name it by its full path")]
    NotFound {
        /// As given.
        command: String,
    },
    /// The command is there and cannot be run.
    #[error("{command}: {source}")]
    NotExecutable {
        /// As given.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon said that the command is confined, and it is not.
    #[error(
        "the command is not in the cgroup of session {session}, so it was not started; is another daemon moving processes?"
    )]
    NotConfined {
        /// The session.
        session: SessionId,
    },
}

/// The session's processes before it runs: the first one of its namespaces, and one that waits to become
/// the command.
#[derive(Debug)]
pub struct Isolated {
    // In this order: the first process cannot end while the command is not reaped.
    command: Forked,
    init: Forked,
    name: String,
    terminal: Terminal,
}

impl Isolated {
    /// Forks both, which first `forget` what of the launcher's memory is not for them. From here on this process
    /// receives signals only in `wait`.
    pub fn fork(
        command: &[OsString],
        invoker: &Invoker,
        forget: &dyn Fn(),
    ) -> Result<Self, LaunchError> {
        streams::check()?;
        let threads = fs::read_dir("/proc/self/task")
            .map_err(system("cannot read /proc/self/task"))?
            .count();
        if threads != 1 {
            return Err(LaunchError::Threads(threads));
        }
        let terminal = Terminal::find();
        let mut plan = plan(command, invoker)?;
        sigprocmask(
            SigmaskHow::SIG_SETMASK,
            Some(&wait::received()),
            Some(&mut plan.mask),
        )
        .map_err(system("cannot block signals"))?;
        wait::reap_children().map_err(system("cannot reset SIGCHLD"))?;
        let own = fs::File::open("/proc/self/ns/pid").map_err(system(
            "cannot open the launcher's pid namespace; is /proc mounted?",
        ))?;
        unshare(CloneFlags::CLONE_NEWPID).map_err(system(
            "cannot make a pid namespace (guard run needs root with all capabilities, outside containers that drop them)",
        ))?;
        let init = Forked::fork(|channel| {
            forget();
            init::run(&plan, channel)
        })?
        .isolated()?;
        let namespaces = Namespaces::of(init.number()).map_err(system(
            "cannot open the session's namespaces; is /proc mounted?",
        ))?;
        let inherited = init.channel.as_raw_fd();
        let waiting = Forked::fork(|channel| {
            forget();
            // The first process takes its end for the launcher's.
            // SAFETY: the descriptor is open in this copy of the process, which never uses it again.
            drop(unsafe { OwnedFd::from_raw_fd(inherited) });
            child::run(&plan, &namespaces, channel)
        })?
        .isolated()?;
        // A daemon that is started while the session waits for one must not be born into the session.
        setns(own, CloneFlags::CLONE_NEWPID)
            .map_err(system("cannot return to the launcher's pid namespace (guard run needs root of the host, not of a user namespace)"))?;
        Ok(Self {
            init,
            command: waiting,
            name: command[0].to_string_lossy().into_owned(),
            terminal,
        })
    }

    /// The process that will become the command.
    pub fn pid(&self) -> u32 {
        self.command.number()
    }

    /// The first process of the session's pid namespace.
    pub fn init(&self) -> u32 {
        self.init.number()
    }

    /// Has the first process prepare the world, then lets the other become the command, in the changed
    /// environment, after a look whether both are confined.
    pub fn release(
        mut self,
        session: &SessionId,
        changes: Changes,
        world: World,
    ) -> Result<Running, LaunchError> {
        for process in [&self.init, &self.command] {
            let path =
                cgroup::of_process(process.number()).map_err(system("cannot read its cgroup"))?;
            if cgroup::session_of(&path).as_ref() != Some(session) {
                return Err(LaunchError::NotConfined {
                    session: session.clone(),
                });
            }
        }
        let order = mounts::Order {
            world,
            sockets: mounts::sockets::bound()
                .into_iter()
                .map(|path| path.into_os_string().into_vec())
                .collect(),
        };
        self.init.send(&order)?;
        match self.init.report()? {
            Some(report) if report.stage == Stage::Mounted => {}
            Some(report) => return Err(self.failed(report)),
            None => return Err(ended()),
        }
        self.command.send(&Order {
            changes,
            reach: order.world.reach,
        })?;
        match self.command.report()? {
            // The stream ends when exec closes it.
            None => Ok(Running {
                command: self.command,
                init: self.init,
                terminal: self.terminal,
            }),
            Some(report) => Err(self.failed(report)),
        }
    }

    fn failed(&self, report: Report) -> LaunchError {
        let Report {
            stage,
            errno,
            detail,
        } = report;
        let source = io::Error::from_raw_os_error(errno);
        let command = self.name.clone();
        match (stage, errno) {
            (Stage::Exec, libc::ENOENT) => LaunchError::NotFound { command },
            (Stage::Exec, _) => LaunchError::NotExecutable { command, source },
            _ => LaunchError::Child {
                stage,
                detail,
                source,
            },
        }
    }
}

/// What both processes need to know.
fn plan(command: &[OsString], invoker: &Invoker) -> Result<Plan, LaunchError> {
    let arguments: Vec<CString> = command
        .iter()
        .map(|argument| CString::new(argument.clone().into_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_nul| LaunchError::NulByte)?;
    let directory = std::env::current_dir().map_err(system(
        "the working directory cannot be told (start guard run in another)",
    ))?;
    let no_look = system("cannot look at the working directory");
    let found = Path::new(".").metadata().map_err(&no_look)?;
    let kind = statfs(".").map_err(system("cannot look at the working directory"))?;
    if let Some(kind) = mounts::hidden_kind_of(&kind) {
        return Err(LaunchError::Directory {
            path: directory,
            kind,
        });
    }
    let temporary = ["TMPDIR", "TMP", "TEMP"]
        .iter()
        .filter_map(|name| std::env::var_os(name).map(PathBuf::from))
        .filter(|path| path.is_absolute() && path.is_dir())
        .collect();
    Ok(Plan {
        arguments,
        host: Host {
            invoker: invoker.clone(),
            executable: executable(&command[0], &directory),
            stores: mounts::stores::named(
                |name| {
                    std::env::var_os(name)
                        .filter(|it| !it.is_empty())
                        .map(PathBuf::from)
                },
                &directory,
            ),
            directory,
            temporary,
            terminals: streams::terminals(),
            terminal_group: nix::unistd::Group::from_name("tty")
                .ok()
                .flatten()
                .map(|group| group.gid),
        },
        filter: Programs::compile()?,
        mask: SigSet::empty(),
        directory: (found.dev(), found.ino()),
    })
}

/// The file that a command's name stands for, as exec will find it.
fn executable(command: &OsString, directory: &Path) -> Option<PathBuf> {
    let named = Path::new(command);
    if command.as_encoded_bytes().contains(&b'/') {
        return Some(directory.join(named));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|place| directory.join(place).join(named))
        .find(|file| file.is_file())
}

/// A forked process and the channel to it. Ends with this value.
#[derive(Debug)]
struct Forked {
    pid: Pid,
    channel: UnixStream,
    reaped: bool,
}

impl Forked {
    /// Forks a process that only runs `work`. This process has one thread, so the copy may do anything.
    fn fork(work: impl FnOnce(UnixStream)) -> Result<Self, LaunchError> {
        let (ours, theirs) = UnixStream::pair().map_err(system("cannot make a socket pair"))?;
        // SAFETY: `Isolated::fork` has seen that there is one thread.
        match unsafe { fork() }.map_err(system("cannot fork"))? {
            ForkResult::Child => {
                drop(ours);
                work(theirs);
                // SAFETY: as at the end of `init::run`; both kinds of work end the process themselves.
                unsafe { libc::_exit(125) }
            }
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                channel: ours,
                reaped: false,
            }),
        }
    }

    fn number(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Waits until it waits.
    fn isolated(mut self) -> Result<Self, LaunchError> {
        match self.report()? {
            Some(report) if report.stage == Stage::Isolated => Ok(self),
            Some(report) => Err(LaunchError::Child {
                stage: report.stage,
                detail: report.detail,
                source: io::Error::from_raw_os_error(report.errno),
            }),
            None => Err(ended()),
        }
    }

    /// Gives it its order, the only thing that it is ever told.
    fn send(&mut self, order: &impl serde::Serialize) -> Result<(), LaunchError> {
        let message = serde_json::to_vec(order).map_err(|error| LaunchError::System {
            step: "cannot encode the order",
            source: error.into(),
        })?;
        self.channel
            .write_all(&message)
            .and_then(|()| self.channel.shutdown(Shutdown::Write))
            .map_err(system("cannot talk to the forked process"))
    }

    /// What the process says next; `None` where it has nothing more to say.
    fn report(&mut self) -> Result<Option<Report>, LaunchError> {
        Report::read(&mut self.channel).map_err(system("cannot hear from the forked process"))
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(self.pid, None);
        }
    }
}

fn ended() -> LaunchError {
    LaunchError::System {
        step: "the forked process ended early",
        source: io::ErrorKind::UnexpectedEof.into(),
    }
}

/// The running session.
#[derive(Debug)]
pub struct Running {
    // In this order, as in `Isolated`.
    command: Forked,
    init: Forked,
    terminal: Terminal,
}

impl Running {
    /// Waits for the command's end and stands between it and the shell until then: signals sent to us
    /// are sent on, its stops are ours. Then ends what it left running. `tether` is what
    /// the session hangs on.
    pub fn wait(mut self, tether: &mut impl Tether) -> Result<End, LaunchError> {
        let end = wait::supervise(self.command.pid, tether)
            .map_err(system("cannot wait for the command"))?;
        self.command.reaped = true;
        drop(self.init);
        self.terminal.take_back();
        Ok(end)
    }
}

fn system<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> LaunchError {
    move |source| LaunchError::System {
        step,
        source: source.into(),
    }
}
