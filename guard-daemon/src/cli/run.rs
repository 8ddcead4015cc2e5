//! `guard run`: starts a command confined, and ends as it does.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;

use super::terms::{SessionFlags, absolute, refuse_nesting};
use super::{Exit, Global, say};
use crate::config::Config;
use crate::control::client::Client;
use crate::control::wire::{Reply, Request, StartSession};
use crate::policy::Length;
use crate::sandbox::environment::Changes;
use crate::sandbox::launch::{self, End, Isolated, Tether};
use crate::sandbox::mounts::World;
use crate::sandbox::user::Invoker;
use crate::service::embedded;
use crate::session::SessionId;
use crate::term::Limit;

/// What `guard run` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    session: SessionFlags,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// The daemon does not take the profile.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadConfig(pub(super) String);

/// Runs the command. Does not return when the command dies of a signal.
pub(super) fn run(arguments: &Arguments, global: &Global) -> anyhow::Result<ExitCode> {
    refuse_nesting()?;
    let invoker = Invoker::find()?;
    let config = global.load()?;
    let config_file = global.config.as_deref().map(absolute).transpose()?;
    let command = arguments.command.iter();
    let command = command.map(|argument| argument.to_string_lossy().into_owned());
    let starter = arguments.session.starter(&invoker, command.collect())?;
    let told = RefCell::new(Some((starter, arguments.session.terms(&invoker)?)));
    if invoker.uid.is_root() {
        say(
            "the command runs as root: its network is confined, but it can change this host and read guard's \
             files; start it as an ordinary user, with sudo",
        );
    }
    let (mut client, daemon) = embedded::connect(&config, config_file.as_deref())?;
    if daemon.version != env!("CARGO_PKG_VERSION") {
        say(&format!(
            "the daemon is of version {}, this is {}; restart it: sudo systemctl restart guard",
            daemon.version,
            env!("CARGO_PKG_VERSION"),
        ));
    }

    let isolated = Isolated::fork(&arguments.command, &invoker, &|| drop(told.take()))?;
    let Some((starter, terms)) = told.take() else {
        bail!("the session's terms are gone; please report this");
    };
    let start = StartSession {
        pid: isolated.pid(),
        init: isolated.init(),
        starter,
        terms,
    };
    let (session, changes, world, limit) = start_session(&mut client, start)?;
    let running = match isolated.release(&session, changes, world) {
        Ok(running) => running,
        Err(error) => {
            end_session(&mut client, &session);
            return Err(error.into());
        }
    };
    let mut hold = Hold {
        session,
        config: &config,
        config_file: config_file.as_deref(),
        embedded: daemon.embedded,
        client: Some(client),
        limit,
        said: 0,
    };
    let end = running.wait(&mut hold)?;
    // Ended, and its connection closed, before dying of a signal, which runs no destructors.
    let over = limit.filter(Limit::is_over);
    let session = hold.session.clone();
    hold.end();
    if let Some(limit) = over {
        say(&format!(
            "session {session} ended at its time ({})",
            limit.describe()
        ));
        return Ok(Exit::Expired.into());
    }
    Ok(match end {
        End::Exited(code) => code.into(),
        End::Signalled(number) => launch::die_of(number).into(),
    })
}

fn start_session(
    client: &mut Client,
    start: StartSession,
) -> anyhow::Result<(SessionId, Changes, World, Option<Limit>)> {
    match client.request(&Request::StartSession(Box::new(start)))? {
        Reply::SessionStarted {
            session,
            environment,
            world,
            limit,
            warnings,
        } => {
            for warning in warnings {
                say(&warning);
            }
            Ok((session, environment, world, limit))
        }
        Reply::Error { code, message } if code == "bad-config" => bail!(BadConfig(message)),
        Reply::Error { message, .. } => bail!(message),
        _ => bail!(
            "the daemon answers another question; are daemon and command of the same version?"
        ),
    }
}

/// The session's hold on a daemon. When the daemon is gone the session has no network, until the next one
/// picks it up.
struct Hold<'a> {
    session: SessionId,
    config: &'a Config,
    config_file: Option<&'a Path>,
    /// The daemon was started by a `guard run`, so another may have to be.
    embedded: bool,
    client: Option<Client>,
    limit: Option<Limit>,
    /// How many of `NOTICES` were given.
    said: usize,
}

/// How long before its end a session's person is told, if it is longer than that; and of the end itself.
const NOTICES: [Duration; 3] = [
    Duration::from_mins(5),
    Duration::from_mins(1),
    Duration::ZERO,
];
/// The longest that the launcher goes without a look at the clock: it may have slept.
const LOOK: Duration = Duration::from_secs(30);

impl Tether for Hold<'_> {
    fn connection(&self) -> Option<BorrowedFd<'_>> {
        self.client.as_ref().map(Client::connection)
    }

    fn tick(&mut self) -> Option<Duration> {
        let limit = self.limit?;
        self.notice(&limit)
    }

    fn lost(&mut self) {
        self.client = None;
        say(&format!(
            "the daemon is gone; session {} has no network until the next one picks it up",
            self.session
        ));
    }

    fn retry(&mut self) -> bool {
        let client = if self.embedded {
            match embedded::connect(self.config, self.config_file) {
                Ok((client, _)) => Ok(client),
                Err(error) => {
                    say(&format!("no other daemon can be started: {error}"));
                    return false;
                }
            }
        } else {
            Client::connect(&self.config.runtime_dir)
        };
        // Until it is there, or has started.
        let Ok(mut client) = client else {
            return true;
        };
        let session = self.session.clone();
        match client.request(&Request::ResumeSession { session }) {
            Ok(Reply::SessionResumed) => {
                say(&format!(
                    "session {} goes on with the next daemon",
                    self.session
                ));
                self.client = Some(client);
                false
            }
            // It may be about to end, or to start.
            Err(_) => true,
            Ok(Reply::Error { message, .. }) => {
                say(&format!(
                    "session {} does not go on: {message}",
                    self.session
                ));
                false
            }
            Ok(_) => false,
        }
    }
}

impl Hold<'_> {
    /// Tells of the session's end what is due; how long until something is.
    fn notice(&mut self, limit: &Limit) -> Option<Duration> {
        let left = limit.left();
        let mut due = None;
        while let Some(&before) = NOTICES.get(self.said) {
            let until = left.saturating_sub(before);
            if !until.is_zero() {
                return self.tell(due, Some(until));
            }
            self.said += 1;
            due = (before < limit.length().duration()).then_some(before);
        }
        self.tell(due, None)
    }

    fn tell(&self, due: Option<Duration>, next: Option<Duration>) -> Option<Duration> {
        let session = &self.session;
        match due {
            Some(Duration::ZERO) => say(&format!(
                "the time of session {session} is over; its processes have 10 s to end"
            )),
            Some(before) => say(&format!(
                "session {session} ends in {}",
                Length::seconds(before.as_secs())
            )),
            None => {}
        }
        next.map(|next| next.min(LOOK))
    }

    fn end(mut self) {
        if let Some(client) = &mut self.client {
            end_session(client, &self.session);
        }
    }
}

/// Waits until nothing of the session is left. A daemon that is gone leaves that to the next one.
fn end_session(client: &mut Client, session: &SessionId) {
    match client.request(&Request::EndSession) {
        Ok(Reply::SessionEnded) => {}
        Ok(_) | Err(_) => say(&format!(
            "session {session} could not be cleaned up; the next start of guard does it"
        )),
    }
}
