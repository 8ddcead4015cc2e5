//! The control socket's server: one task per connection, one request at a time.
//!
//! A session hangs on the connection that started it: when that ends, for whatever reason, so does the
//! session.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::peer::{Peer, Permitted, Refusal};
use super::wire::{AttachSession, Reply, Request, StartSession, Status};
use super::{GROUP, LINE_BYTES, socket_path, text_of};
use crate::gateway::Gateway;
use crate::record::entry::{Entry, Event, Process};
use crate::service::sessions::{SessionError, Sessions};
use crate::session::SessionId;

/// Connections at a time, sessions' among them.
const CONNECTIONS: usize = 512;
/// How long a connection without a session may be silent, and a client may take to read a reply.
const SILENCE: Duration = Duration::from_secs(30);

/// What requests act on.
pub struct Server {
    /// Shared with the sessions.
    pub gateway: Arc<Gateway>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The daemon ends with its last session.
    pub embedded: bool,
}

/// Makes the socket, 0660 and of the group `guard` where the host has one, in the place of a left one.
/// The caller holds the lock on the runtime directory.
pub fn bind(runtime_dir: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{PermissionsExt, chown};

    let path = socket_path(runtime_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // With the daemon's umask, 022, only root can connect until the mode is set.
    let listener = UnixListener::bind(&path)?;
    // A user database that does not answer must not keep guard from starting: then only root may connect.
    if let Ok(Some(group)) = nix::unistd::Group::from_name(GROUP) {
        chown(&path, None, Some(group.gid.as_raw()))?;
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Server {
    /// Serves connections until dropped; those under way go on.
    pub async fn serve(self: Arc<Self>, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors or memory: connections that end give some back.
                    tracing::warn!("cannot accept a control connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("a control connection is closed: {CONNECTIONS} are open");
                continue;
            };
            let server = Arc::clone(&self);
            // Given back also when the conversation panics, or an embedded daemon would never end.
            let occupied = self.sessions.occupy();
            tokio::spawn(async move {
                let _occupied = occupied;
                let mut session = None;
                server.converse(stream, &mut session).await;
                if let Some(session) = session {
                    server.sessions.end(&session, "launcher-gone").await;
                }
                drop(place);
            });
        }
    }

    async fn converse(&self, stream: UnixStream, session: &mut Option<SessionId>) {
        let peer = Peer::of(&stream);
        let mut stream = BufReader::new(stream);
        let peer = match peer.and_then(|peer| self.examine(&peer).map(|_permitted| peer)) {
            Ok(peer) => peer,
            Err(refusal) => return self.refuse(&mut stream, &refusal).await,
        };
        loop {
            let silence = session.is_none().then_some(SILENCE);
            let line = match read_line(&mut stream, silence).await {
                Ok(Some(line)) => line,
                Ok(None) => return,
                Err(error) => {
                    let _ =
                        write(&mut stream, &Reply::error("bad-request", error.to_string())).await;
                    return;
                }
            };
            // Looked at again for every request: a process can be confined after it has connected.
            let peer = match self.examine(&peer) {
                Ok(peer) => peer,
                Err(refusal) => return self.refuse(&mut stream, &refusal).await,
            };
            let reply = match serde_json::from_slice(&line) {
                Ok(request) => self.answer(request, peer, session).await,
                Err(error) => Reply::error(
                    "bad-request",
                    format!("{error}; are daemon and command of the same version?"),
                ),
            };
            if write(&mut stream, &reply).await.is_err() {
                return;
            }
        }
    }

    fn examine(&self, peer: &Peer) -> Result<Permitted, Refusal> {
        peer.examine(|group, namespace| self.sessions.confines(group, namespace))
    }

    async fn answer(
        &self,
        request: Request,
        peer: Permitted,
        session: &mut Option<SessionId>,
    ) -> Reply {
        let approvals = &self.gateway.approvals;
        match request {
            Request::ApprovalList => Reply::Approvals {
                approvals: approvals.list(),
            },
            Request::ApprovalShow { id } => match approvals.show(&id) {
                Some(approval) => Reply::Approval { approval },
                None => no_approval(&id),
            },
            Request::ApprovalDecide {
                id,
                approve,
                reason,
            } => {
                if approvals.show(&id).is_none() {
                    return no_approval(&id);
                }
                let approver = tokio::task::spawn_blocking(move || peer.display()).await;
                let approver = approver.unwrap_or_else(|_| format!("uid {}", peer.uid));
                match approvals.decide(&id, approve, approver, reason).await {
                    Ok(approval) => Reply::Approval { approval },
                    Err(error) => Reply::error("failed", text_of(&error)),
                }
            }
            Request::Status => Reply::Status(Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                embedded: self.embedded,
                sessions: self.sessions.views(),
            }),
            Request::StartSession(start) => self.start(*start, peer, session).await,
            Request::ResumeSession { session: id } => self.resume(id, peer, session),
            Request::AttachSession(attach) => self.attach(*attach, peer).await,
            Request::DetachSession { session } => self.detach(&session, peer).await,
            Request::EndSession => match session.take() {
                Some(id) => {
                    self.sessions.end(&id, "exited").await;
                    Reply::SessionEnded
                }
                None => Reply::error("bad-request", "this connection has no session to end"),
            },
        }
    }

    async fn start(
        &self,
        start: StartSession,
        peer: Permitted,
        session: &mut Option<SessionId>,
    ) -> Reply {
        if !peer.is_root() {
            return Reply::error(
                "not-permitted",
                "only root can start a session; use: sudo guard run -- COMMAND",
            );
        }
        if session.is_some() {
            return Reply::error("bad-request", "this connection has a session already");
        }
        match self.sessions.start(start, peer.pid, peer.loginuid).await {
            Ok(started) => {
                *session = Some(started.session.clone());
                Reply::SessionStarted {
                    session: started.session,
                    environment: started.environment,
                    world: started.world,
                    limit: started.limit,
                    warnings: started.warnings,
                }
            }
            Err(error) => self.unstarted(&error).await,
        }
    }

    fn resume(&self, id: SessionId, peer: Permitted, session: &mut Option<SessionId>) -> Reply {
        if !peer.is_root() {
            return Reply::error("not-permitted", "only a session's launcher can resume it");
        }
        if session.is_some() {
            return Reply::error("bad-request", "this connection has a session already");
        }
        match self.sessions.claim(&id, peer.pid) {
            Ok(()) => {
                *session = Some(id);
                Reply::SessionResumed
            }
            Err(error @ SessionError::Unknown(_)) => Reply::error("not-found", text_of(&error)),
            Err(error) => Reply::error("failed", text_of(&error)),
        }
    }

    async fn attach(&self, attach: AttachSession, peer: Permitted) -> Reply {
        if !peer.is_root() {
            return Reply::error(
                "not-permitted",
                "only root can confine what runs already; use: sudo guard attach …",
            );
        }
        match self.sessions.attach(attach, peer.loginuid).await {
            Ok(attached) => Reply::SessionAttached {
                session: attached.session,
                environment: attached.environment,
                limit: attached.limit,
                limits: attached.limits,
                warnings: attached.warnings,
            },
            Err(error) => self.unstarted(&error).await,
        }
    }

    async fn detach(&self, session: &SessionId, peer: Permitted) -> Reply {
        if !peer.is_root() {
            return Reply::error(
                "not-permitted",
                "only root can let a tree go; use: sudo guard detach SESSION",
            );
        }
        match self.sessions.detach(session).await {
            Ok(()) => Reply::SessionDetached,
            Err(error @ SessionError::Unknown(_)) => Reply::error("not-found", text_of(&error)),
            Err(error) => Reply::error("failed", text_of(&error)),
        }
    }

    /// Tells and records why a session could not be started.
    async fn unstarted(&self, error: &SessionError) -> Reply {
        let detail = text_of(error);
        tracing::warn!("a session could not be started: {detail}");
        let (code, reply) = match error {
            SessionError::Profile(_) => ("profile", "bad-config"),
            SessionError::Identity(_) => ("identity", "identity"),
            _ => ("session", "failed"),
        };
        self.record_unstarted(code, detail.clone()).await;
        Reply::error(reply, detail)
    }

    /// A session that could not be started is on record, too.
    async fn record_unstarted(&self, code: &str, detail: String) {
        let event = Event::Refused {
            process: None,
            destination: None,
            host: None,
            code: code.to_owned(),
            detail,
        };
        if let Err(error) = self
            .gateway
            .journal
            .append(Entry {
                session: None,
                event,
            })
            .await
        {
            tracing::error!("a session that could not be started cannot be recorded: {error}");
        }
    }

    /// Journals who was refused, then tells them.
    async fn refuse(&self, stream: &mut BufReader<UnixStream>, refusal: &Refusal) {
        let (session, process) = match refusal {
            Refusal::Confined { session, peer } => (Some(session.clone()), Some(peer.clone())),
            _ => (None, None),
        };
        let entry = Entry {
            session,
            event: Event::Refused {
                process: process.map(|peer| Process {
                    pid: peer.pid,
                    uid: peer.uid,
                    comm: peer.comm,
                    exe: peer.exe,
                    ..Process::default()
                }),
                destination: None,
                host: None,
                code: "control-socket".to_owned(),
                detail: refusal.to_string(),
            },
        };
        if let Err(error) = self.gateway.journal.append(entry).await {
            tracing::error!("a refusal on the control socket is not in the journal: {error}");
        }
        let code = match refusal {
            Refusal::Confined { .. } => "confined",
            _ => "not-permitted",
        };
        let _ = write(stream, &Reply::error(code, refusal.to_string())).await;
    }
}

fn no_approval(id: &str) -> Reply {
    Reply::error(
        "not-found",
        format!("there is no approval {id:?}; list them: guard approval list"),
    )
}

/// The next line, without its newline; `None` at the end of the stream.
async fn read_line(
    stream: &mut BufReader<UnixStream>,
    silence: Option<Duration>,
) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = LINE_BYTES as u64 + 1;
    let mut limited = stream.take(limit);
    let read = limited.read_until(b'\n', &mut line);
    match silence {
        Some(patience) => timeout(patience, read).await.map_err(|_elapsed| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "no request came in time; connect again",
            )
        })??,
        None => read.await?,
    };
    match line.pop() {
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() >= LINE_BYTES => Err(io::Error::other(format!(
            "the request is larger than {LINE_BYTES} bytes; shorten it"
        ))),
        // The client is done, or went away in the middle of a line.
        _ => Ok(None),
    }
}

async fn write(stream: &mut BufReader<UnixStream>, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    timeout(SILENCE, stream.get_mut().write_all(&line))
        .await
        .map_err(|_elapsed| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(bytes: &[u8]) -> Vec<Result<Option<usize>, io::ErrorKind>> {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let bytes = bytes.to_vec();
        let writer = tokio::spawn(async move {
            // Fails when the reader has seen enough and hangs up.
            let _ = ours.write_all(&bytes).await;
        });
        let mut reader = BufReader::new(theirs);
        let mut lines = Vec::new();
        loop {
            let line = read_line(&mut reader, Some(Duration::from_secs(5))).await;
            let line = line.map(|line| line.map(|l| l.len())).map_err(|e| e.kind());
            let ended = !matches!(line, Ok(Some(_)));
            lines.push(line);
            if ended {
                break;
            }
        }
        drop(reader);
        writer.await.unwrap();
        lines
    }

    #[tokio::test]
    async fn lines_are_bounded() {
        assert_eq!(lines_of(b"").await, [Ok(None)]);
        assert_eq!(
            lines_of(b"{}\n\nabc").await,
            [Ok(Some(2)), Ok(Some(0)), Ok(None)]
        );
        let mut longest = vec![b'x'; LINE_BYTES];
        longest.push(b'\n');
        assert_eq!(lines_of(&longest).await, [Ok(Some(LINE_BYTES)), Ok(None)]);
        let longer = vec![b'x'; LINE_BYTES + 1];
        assert_eq!(lines_of(&longer).await, [Err(io::ErrorKind::Other)]);
    }

    #[tokio::test]
    async fn silence_ends_a_connection() {
        let (_ours, theirs) = UnixStream::pair().unwrap();
        let mut reader = BufReader::new(theirs);
        let line = read_line(&mut reader, Some(Duration::from_millis(10))).await;
        assert_eq!(line.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
