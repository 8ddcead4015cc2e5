//! The daemon's end of a resolver process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_credential_types::Credentials;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::wire::{Asked, Handed, LINE_BYTES, Reply};
use super::{BrokerError, Owner, Program, Selection, resolver};

/// How long the resolver may take to read the configuration.
const START: Duration = Duration::from_secs(10);
/// How long the resolver may take for credentials; it gives up before that itself.
const FETCH: Duration = Duration::from_secs(30);

/// How long the resolver may take to end, in milliseconds between two looks.
const ENDING: [u64; 9] = [1, 1, 2, 4, 8, 16, 32, 64, 128];

/// How a resolver is started.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: BTreeMap<String, OsString>,
    /// Told once it runs.
    pub(super) handed: Handed,
    pub(super) owner: Owner,
}

impl Launch {
    /// This very program, with the environment that `selection` means, as `owner`.
    pub(super) fn own(selection: &Selection, owner: Owner) -> Self {
        Self {
            // Works also when the file was replaced by an update, or is out of the owner's reach.
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec![resolver::ARGUMENT.into()],
            environment: selection.environment(),
            handed: selection.handed(),
            owner,
        }
    }
}

/// A running resolver; it ends when this is dropped.
pub(super) struct Link {
    requests: Sender,
    replies: BufReader<Receiver>,
    last: u64,
    ended: watch::Receiver<()>,
    region: Option<String>,
    programs: Vec<Program>,
    /// The last to be dropped: with its pipes closed it ends by itself, after what it runs.
    _process: Process,
}

/// A resolver's process.
struct Process(Child);

impl Link {
    /// Starts a resolver and waits until it has read its configuration. Once nobody holds the other end of `ended`, it
    /// waits for no more answers.
    pub(super) async fn start(
        launch: Launch,
        ended: watch::Receiver<()>,
    ) -> Result<Self, BrokerError> {
        let failed = |error: std::io::Error| BrokerError::Start(error.to_string());
        let mut child = Command::new(&launch.program)
            .args(&launch.arguments)
            .env_clear()
            .envs(&launch.environment)
            .current_dir(resolver::DIRECTORY)
            .uid(launch.owner.uid)
            .gid(launch.owner.gid)
            // Signals for the terminal's foreground group are the confined command's.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let process = Process(child);
        let (stdin, stdout) = pipes.ok_or_else(|| BrokerError::Start("no pipes".to_owned()))?;
        let mut link = Self {
            requests: Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(failed)?,
            replies: BufReader::new(
                Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(failed)?,
            ),
            last: 0,
            ended,
            region: None,
            programs: Vec::new(),
            _process: process,
        };
        let mut first = Zeroizing::new(serde_json::to_vec(&launch.handed).unwrap_or_default());
        first.push(b'\n');
        // One that has ended at once says why.
        let _ = timeout(START, link.requests.write_all(&first)).await;
        match timeout(START, link.reply()).await {
            Ok(Ok(Reply::Ready { region, programs })) => {
                link.region = region;
                link.programs = programs;
                Ok(link)
            }
            Ok(Ok(Reply::Refused { text })) => Err(BrokerError::Configuration(text)),
            Ok(Ok(_)) => Err(BrokerError::Start(
                "it answered before it was asked".to_owned(),
            )),
            Ok(Err(_)) => Err(BrokerError::Start("it ended at once".to_owned())),
            Err(_) => Err(BrokerError::Start("it did not answer in 10 s".to_owned())),
        }
    }

    /// The region of the profile.
    pub(super) fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The programs that it runs, as they were when the session started.
    pub(super) fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Asks for credentials; the inner error is the source's own.
    pub(super) async fn fetch(&mut self) -> Result<Result<Credentials, String>, BrokerError> {
        Ok(match self.ask().await? {
            Reply::Credentials { credentials, .. } => Ok((&credentials).into()),
            reply => Err(failure(reply)),
        })
    }

    /// Asks for an OpenID Connect token, where it was started for that; the inner error is the source's own.
    pub(super) async fn token(&mut self) -> Result<Result<Zeroizing<String>, String>, BrokerError> {
        Ok(match self.ask().await? {
            Reply::Token { mut token, .. } => Ok(Zeroizing::new(std::mem::take(&mut token.0))),
            reply => Err(failure(reply)),
        })
    }

    async fn ask(&mut self) -> Result<Reply, BrokerError> {
        let mut ended = self.ended.clone();
        self.last += 1;
        let asked = self.last;
        let mut line = serde_json::to_vec(&Asked { number: asked })
            .map_err(|error| BrokerError::Start(error.to_string()))?;
        line.push(b'\n');
        let exchange = async {
            self.requests
                .write_all(&line)
                .await
                .map_err(|_closed| BrokerError::Ended)?;
            loop {
                let reply = self.reply().await?;
                // The late answer to a request that timed out is nobody's.
                if let Reply::Credentials { number, .. }
                | Reply::Token { number, .. }
                | Reply::Failed { number, .. } = &reply
                    && *number == asked
                {
                    return Ok(reply);
                }
            }
        };
        let answered = tokio::select! {
            answered = timeout(FETCH, exchange) => answered,
            _ = ended.changed() => return Err(BrokerError::Ended),
        };
        match answered {
            Ok(answer) => answer,
            Err(_) => Ok(Reply::Failed {
                number: asked,
                text: "it did not answer in 30 s".to_owned(),
            }),
        }
    }

    async fn reply(&mut self) -> Result<Reply, BrokerError> {
        loop {
            let mut line = Zeroizing::new(Vec::new());
            let mut bounded = (&mut self.replies).take(LINE_BYTES as u64);
            let read = bounded
                .read_until(b'\n', &mut line)
                .await
                .map_err(|_closed| BrokerError::Ended)?;
            if read == 0 || line.last() != Some(&b'\n') {
                return Err(BrokerError::Ended);
            }
            // The test harness, as a resolver, prints lines of its own.
            if let Ok(reply) = serde_json::from_slice(&line) {
                return Ok(reply);
            }
        }
    }
}

fn failure(reply: Reply) -> String {
    match reply {
        Reply::Failed { text, .. } => text,
        _ => "it answered something else".to_owned(),
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for wait in ENDING {
            // An error means that it has ended.
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(wait));
        }
        // A killed process is reaped at once.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
