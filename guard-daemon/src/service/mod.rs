//! The daemon: start, recovery after a crash, sessions' lives, shutdown.
//!
//! `run` is a daemon's whole life. `embedded` is how `guard run` gets one where none runs.

pub mod directories;
pub mod embedded;
mod recovery;
pub mod sessions;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::approval::Approvals;
use crate::config::Config;
use crate::control::server::{self, Server};
use crate::gateway::Gateway;
use crate::intercept::authority::{Authority, AuthorityError};
use crate::kernel::tracker::Tracker;
use crate::kernel::{self, KernelError};
use crate::record::journal::{Journal, JournalError};
use crate::sandbox::cgroup::{CgroupError, Hierarchy};
use directories::{DirectoryError, Locks};
use sessions::Sessions;

/// How long an embedded daemon stays without a connection after its last session.
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// How long it waits for its first session.
const IDLE_BEFORE: Duration = Duration::from_secs(30);

/// Why the daemon could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Not root.
    #[error("guard daemon must run as root; start it with: sudo systemctl start guard")]
    NotRoot,
    /// A directory or its lock.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The journal.
    #[error("the journal cannot be opened: {0}")]
    Journal(#[from] JournalError),
    /// The certificate authority.
    #[error("the certificate authority cannot be loaded: {0}")]
    Authority(#[from] AuthorityError),
    /// The kernel.
    #[error("the kernel's side cannot be set up: {0}")]
    Kernel(#[from] KernelError),
    /// The cgroup hierarchy.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The control socket.
    #[error("the control socket {path} cannot be made: {source}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something of the operating system.
    #[error("{step}: {source}")]
    System {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs a daemon until SIGTERM or SIGINT or, where it is embedded, until it is idle. SIGTERM leaves the
/// sessions of a daemon that is not embedded to the next one; otherwise they are ended before it returns.
pub fn run(config: Config, embedded: bool) -> Result<(), ServiceError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(ServiceError::NotRoot);
    }
    if let Err(error) = crate::seal::pin() {
        tracing::warn!(
            "guard's memory can be swapped ({error}); if this host has swap, encrypt it, or give guard CAP_IPC_LOCK or \
             an unlimited RLIMIT_MEMLOCK"
        );
    }
    if embedded {
        embedded::detach().map_err(system("cannot leave the launcher's session"))?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let locks = directories::prepare(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(system("cannot start the runtime"))?;
    let result = runtime.block_on(live(config, embedded, &locks));
    // A blocking call that hangs must not keep a stopped daemon alive.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn live(config: Config, embedded: bool, _locks: &Locks) -> Result<(), ServiceError> {
    let stop = Stop::listen().map_err(system("cannot listen to signals"))?;
    // The generator seeds itself at the first use, which takes long; not at the first connection's cost.
    let _ = aws_lc_rs::rand::fill(&mut [0; 32]);
    let config = Arc::new(config);
    let pins = sessions::pins(&config.runtime_dir);
    kernel::mount_private_bpffs(&pins)?;
    let hierarchy = Hierarchy::find(&config.runtime_dir)?;
    let journal = Journal::open(&config.state_dir.join("journal"))?;
    let tracker = start_tracker(&pins).await;
    let gateway = Arc::new(Gateway {
        authority: Arc::new(Authority::load_or_create(&config.state_dir.join("ca"))?),
        approvals: Approvals::new(journal.clone()),
        journal: journal.clone(),
        config: Arc::clone(&config),
        tracker: tracker.clone(),
    });

    let (occupied, occupancy) = watch::channel(0);
    let sessions = Arc::new(Sessions::new(
        Arc::clone(&gateway),
        hierarchy.clone(),
        occupied,
    ));
    recovery::recover(&config.runtime_dir, &hierarchy, &sessions).await;
    if let Some(tracker) = tracker {
        tokio::spawn(sessions::check_tracker(
            Arc::downgrade(&sessions),
            Arc::clone(&tracker),
        ));
        tokio::spawn(async move { tracker.record(&journal).await });
    }
    let server = Arc::new(Server {
        gateway,
        sessions: Arc::clone(&sessions),
        embedded,
    });
    let socket = crate::control::socket_path(&config.runtime_dir);
    let listener = server::bind(&config.runtime_dir).map_err(|source| ServiceError::Socket {
        path: socket.clone(),
        source,
    })?;
    sessions.reachable();
    let serving = tokio::spawn(server.serve(listener));
    announce(embedded).map_err(system("cannot announce that the daemon is ready"))?;
    tracing::info!(
        "guard {} serves {}",
        env!("CARGO_PKG_VERSION"),
        socket.display()
    );

    let stopped = tokio::select! {
        signal = stop.requested() => Some(signal),
        () = idle(occupancy), if embedded => None,
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // Removed first, so that nobody connects to a daemon that is about to end.
    let _ = std::fs::remove_file(&socket);
    serving.abort();
    match stopped {
        // A restart, or an upgrade: the next daemon picks them up.
        Some(Signal::Terminate) if !embedded => {
            tracing::info!("SIGTERM: leaving the sessions to the next daemon, closed until then");
            sessions.leave_all().await;
        }
        Some(signal) => {
            tracing::info!("{signal:?}: ending all sessions");
            sessions.end_all("daemon-stopped").await;
        }
        None => tracing::info!("idle: the embedded daemon ends"),
    }
    crate::gateway::settle(Duration::from_secs(5)).await;
    hierarchy.remove_if_empty();
    // One that could not be picked up or ended is not saved, but is still confined.
    if recovery::left(&config.runtime_dir, &hierarchy).is_empty()
        && let Err(error) = Tracker::remove(&pins.join(TRACKER))
    {
        tracing::warn!("{error}");
    }
    directories::unmount(&pins);
    Ok(())
}

/// The tracker's directory of pins.
const TRACKER: &str = "host";

/// Starts to track processes. A kernel that cannot is told of, here and in each session's limits.
async fn start_tracker(pins: &Path) -> Option<Arc<Tracker>> {
    let pins = pins.join(TRACKER);
    let started = tokio::task::spawn_blocking(move || Tracker::start(&pins)).await;
    match started.map_err(io::Error::from) {
        Ok(Ok(tracker)) => Some(Arc::new(tracker)),
        Ok(Err(error)) => {
            tracing::error!(
                "processes are not tracked: {}",
                crate::control::text_of(&error)
            );
            None
        }
        Err(error) => {
            tracing::error!("processes are not tracked: {error}");
            None
        }
    }
}

/// Tells whoever started the daemon that it serves.
fn announce(embedded: bool) -> io::Result<()> {
    if embedded {
        let mut stdout = io::stdout();
        stdout.write_all(embedded::READY.as_bytes())?;
        stdout.flush()?;
        // The launcher's pipe; it must not stay open for the daemon's life.
        let null = std::fs::File::options().write(true).open("/dev/null")?;
        nix::unistd::dup2_stdout(null)?;
        return Ok(());
    }
    sd_notify::notify(&[sd_notify::NotifyState::Ready])
}

/// Returns when an embedded daemon has nothing left to do.
async fn idle(mut open: watch::Receiver<usize>) {
    let mut patience = IDLE_BEFORE;
    loop {
        if *open.borrow_and_update() > 0 {
            patience = IDLE_AFTER;
            if open.changed().await.is_err() {
                return;
            }
        } else if timeout(patience, open.changed()).await.is_err() {
            return;
        }
    }
}

/// The signals that stop the daemon. SIGHUP is taken and does nothing: a daemon started from a terminal
/// outlives it.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    _hangup: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn requested(mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

/// What stopped the daemon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signal {
    Terminate,
    Interrupt,
}

fn system<E: Into<io::Error>>(step: &'static str) -> impl Fn(E) -> ServiceError {
    move |source| ServiceError::System {
        step,
        source: source.into(),
    }
}

/// Tries again until a fallible clean-up step works or has failed a few times.
async fn persist<E: std::fmt::Display>(what: &str, mut step: impl FnMut() -> Result<(), E>) {
    for attempt in 0..5 {
        match step() {
            Ok(()) => return,
            Err(error) if attempt == 4 => tracing::error!("{what}: {error}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_embedded_daemon_ends_only_without_connections() {
        let (connections, open) = watch::channel(0);
        connections.send_modify(|open| *open += 1);
        let ended = tokio::spawn(idle(open));
        sleep(IDLE_AFTER + Duration::from_millis(300)).await;
        assert!(!ended.is_finished(), "a connection is open");
        connections.send_modify(|open| *open -= 1);
        timeout(IDLE_AFTER * 2, ended).await.unwrap().unwrap();
    }
}
