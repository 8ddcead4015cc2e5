//! The launcher's side of a confined command: forks it, lets it go once it is confined, waits for it.
//!
//! The caller talks to the daemon between `Isolated::fork` (the command waits, in a network namespace
//! of its own) and `Isolated::release` (it runs). A launcher that dies in between takes the command
//! with it: what the command waits for is a message on a socket pair, and it takes the end of the
//! stream for an order to leave.

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, Pid, fork};

use super::child::{self, Plan, Report, Stage};
use super::environment::Changes;
use super::user::Invoker;
use super::{cgroup, wait};
use crate::session::SessionId;

pub use super::wait::{End, Tether, die_of};

/// Why the command could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// An argument cannot be handed to a program.
    #[error("an argument of the command holds a NUL byte, which no program can be given")]
    NulByte,
    /// A standard stream is a connection that no hook could see.
    #[error(
        "{name} is a network connection made outside the session, a way past the gateway; \
         put a pipe between: cat | guard run -- COMMAND | cat"
    )]
    NetworkStream {
        /// Which one.
        name: &'static str,
    },
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
    #[error(
        "{stage}: {source}; guard run needs root with all capabilities, outside containers that drop them"
    )]
    Child {
        /// What was tried.
        stage: Stage,
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

/// A forked process that has its own network namespace and waits to become the command.
#[derive(Debug)]
pub struct Isolated {
    pid: Pid,
    channel: UnixStream,
    command: String,
    reaped: bool,
}

impl Isolated {
    /// Forks. From here on this process receives signals only in `wait`.
    pub fn fork(command: &[OsString], invoker: &Invoker) -> Result<Self, LaunchError> {
        check_standard_streams()?;
        let threads = fs::read_dir("/proc/self/task")
            .map_err(system("cannot read /proc/self/task"))?
            .count();
        if threads != 1 {
            return Err(LaunchError::Threads(threads));
        }
        let arguments: Vec<CString> = command
            .iter()
            .map(|argument| CString::new(argument.clone().into_vec()))
            .collect::<Result<_, _>>()
            .map_err(|_nul| LaunchError::NulByte)?;
        let (ours, theirs) = UnixStream::pair().map_err(system("cannot make a socket pair"))?;
        let mut inherited = SigSet::empty();
        sigprocmask(
            SigmaskHow::SIG_SETMASK,
            Some(&wait::received()),
            Some(&mut inherited),
        )
        .map_err(system("cannot block signals"))?;
        wait::reap_children().map_err(system("cannot reset SIGCHLD"))?;
        let plan = Plan {
            arguments,
            invoker: invoker.clone(),
            mask: inherited,
        };
        // SAFETY: this process has one thread, as was just checked, so the child may do anything.
        match unsafe { fork() }.map_err(system("cannot fork"))? {
            ForkResult::Child => {
                drop(ours);
                child::run(&plan, theirs)
            }
            ForkResult::Parent { child } => {
                drop(theirs);
                let mut isolated = Self {
                    pid: child,
                    channel: ours,
                    command: command[0].to_string_lossy().into_owned(),
                    reaped: false,
                };
                match isolated.report()? {
                    Some(Report {
                        stage: Stage::Isolated,
                        ..
                    }) => Ok(isolated),
                    Some(report) => Err(isolated.failed(report)),
                    None => Err(LaunchError::System {
                        step: "the forked process ended before it was isolated",
                        source: io::ErrorKind::UnexpectedEof.into(),
                    }),
                }
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Lets it become the command, in the changed environment, after a look whether it is confined.
    pub fn release(
        mut self,
        session: &SessionId,
        changes: &Changes,
    ) -> Result<Running, LaunchError> {
        let path = cgroup::of_process(self.pid()).map_err(system("cannot read its cgroup"))?;
        if cgroup::session_of(&path).as_ref() != Some(session) {
            return Err(LaunchError::NotConfined {
                session: session.clone(),
            });
        }
        let message = serde_json::to_vec(changes).map_err(|error| LaunchError::System {
            step: "cannot encode the environment",
            source: error.into(),
        })?;
        self.channel
            .write_all(&message)
            .and_then(|()| self.channel.shutdown(Shutdown::Write))
            .map_err(system("cannot talk to the forked process"))?;
        match self.report()? {
            // The stream ends when exec closes it.
            None => {
                self.reaped = true;
                Ok(Running { pid: self.pid })
            }
            Some(report) => Err(self.failed(report)),
        }
    }

    /// What the process says next; `None` where it has nothing more to say.
    fn report(&mut self) -> Result<Option<Report>, LaunchError> {
        let mut message = [0; Report::BYTES];
        match self.channel.read_exact(&mut message) {
            Ok(()) => Ok(Some(Report::decode(message))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(system("cannot hear from the forked process")(error)),
        }
    }

    fn failed(&self, report: Report) -> LaunchError {
        let source = io::Error::from_raw_os_error(report.errno);
        let command = self.command.clone();
        match (report.stage, report.errno) {
            (Stage::Exec, libc::ENOENT) => LaunchError::NotFound { command },
            (Stage::Exec, _) => LaunchError::NotExecutable { command, source },
            (stage, _) => LaunchError::Child { stage, source },
        }
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.channel.shutdown(Shutdown::Both);
            let _ = nix::sys::wait::waitpid(self.pid, None);
        }
    }
}

/// The running command.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
}

impl Running {
    /// Waits for the command's end and stands between it and the shell until then: signals sent to us
    /// are sent on, its stops are ours. `tether` is what the session hangs on.
    pub fn wait(&self, tether: &mut impl Tether) -> Result<End, LaunchError> {
        wait::supervise(self.pid, tether).map_err(system("cannot wait for the command"))
    }
}

fn system<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> LaunchError {
    move |source| LaunchError::System {
        step,
        source: source.into(),
    }
}

/// Standard input, output and error are inherited. A network socket among them was made outside the
/// session's cgroup and namespace, where no hook applies to it.
fn check_standard_streams() -> Result<(), LaunchError> {
    for (descriptor, name) in [
        (0, "standard input"),
        (1, "standard output"),
        (2, "standard error"),
    ] {
        match socket_family(descriptor) {
            None | Some(libc::AF_UNIX) => {}
            Some(_) => return Err(LaunchError::NetworkStream { name }),
        }
    }
    Ok(())
}

/// The address family of a descriptor that is a socket.
fn socket_family(descriptor: RawFd) -> Option<libc::c_int> {
    let mut family: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(size_of_val(&family)).ok()?;
    // SAFETY: `family` and `size` outlive the call, which writes at most `size` bytes.
    let result = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut family).cast(),
            &raw mut size,
        )
    };
    (result == 0).then_some(family)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn tells_network_sockets_from_other_descriptors() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (unix, _peer) = UnixStream::pair().unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        assert_eq!(socket_family(udp.as_raw_fd()), Some(libc::AF_INET));
        assert_eq!(socket_family(unix.as_raw_fd()), Some(libc::AF_UNIX));
        assert_eq!(socket_family(file.as_raw_fd()), None);
    }

    #[test]
    fn reports_survive_the_channel() {
        for stage in Stage::ALL {
            let report = Report {
                stage,
                errno: libc::EACCES,
            };
            assert_eq!(Report::decode(report.encode()), report);
        }
        let garbage = Report::decode([250, 0, 0, 0, 0]);
        assert_eq!(garbage.stage, Stage::Unknown);
    }
}
