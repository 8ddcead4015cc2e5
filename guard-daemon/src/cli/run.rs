//! `guard run`: starts a command confined, and ends as it does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{Global, say};
use crate::broker::Selection;
use crate::config::{UpstreamConfig, parse_connect_flag};
use crate::control::client::Client;
use crate::control::wire::{Reply, Request, StartSession};
use crate::sandbox::cgroup;
use crate::sandbox::environment::{self, Changes};
use crate::sandbox::launch::{self, End, Isolated};
use crate::sandbox::mounts::World;
use crate::sandbox::user::Invoker;
use crate::service::embedded;
use crate::session::{Identity, SessionId};

/// What `guard run` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Profile by name, or a file (with a slash or ending in .toml) [default: default]
    #[arg(long, value_name = "NAME|PATH")]
    profile: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Profile of the AWS configuration whose credentials leave this host [env: AWS_PROFILE]
    #[arg(long, value_name = "NAME")]
    aws_profile: Option<String>,
    /// AWS region [env: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Dial HOST:PORT for hosts that match PATTERN (repeatable)
    #[arg(long, value_name = "PATTERN=HOST:PORT", value_parser = parse_connect_flag)]
    upstream_connect: Vec<(String, String)>,
    /// Trust the roots in this PEM file on the way out, too (repeatable)
    #[arg(long, value_name = "PEM")]
    upstream_roots: Vec<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// The daemon does not take the profile.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadConfig(String);

/// Runs the command. Does not return when the command dies of a signal.
pub(super) fn run(arguments: &Arguments, global: &Global) -> anyhow::Result<ExitCode> {
    refuse_nesting()?;
    let invoker = Invoker::find()?;
    let config = global.load()?;
    let config_file = global.config.as_deref().map(absolute).transpose()?;
    let request = request(arguments, &invoker)?;
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

    let isolated = Isolated::fork(&arguments.command, &invoker)?;
    let start = StartSession {
        pid: isolated.pid(),
        init: isolated.init(),
        ..request
    };
    let (session, changes, world) = start_session(&mut client, start)?;
    let running = match isolated.release(&session, changes, world) {
        Ok(running) => running,
        Err(error) => {
            end_session(&mut client, &session);
            return Err(error.into());
        }
    };
    let gone = || {
        say(&format!(
            "the daemon is gone; session {session} has no network any more, end the command and start it again"
        ));
    };
    let end = running.wait(client.connection(), gone)?;
    end_session(&mut client, &session);
    // Closed before dying of a signal, which runs no destructors.
    drop(client);
    Ok(match end {
        End::Exited(code) => code.into(),
        End::Signalled(number) => launch::die_of(number).into(),
    })
}

/// A session in a session would give the agent a gateway of its own choice.
fn refuse_nesting() -> anyhow::Result<()> {
    let group = cgroup::of_process(std::process::id()).unwrap_or_default();
    // In its cgroup namespace a session does not see its cgroup's name.
    let named = || SessionId::parse(&std::env::var(environment::SESSION).ok()?);
    if let Some(session) = cgroup::session_of(&group).or_else(named) {
        bail!("already inside guard session {session}; run the command without guard run");
    }
    Ok(())
}

/// Everything the daemon is told but the processes, which do not exist yet.
fn request(arguments: &Arguments, invoker: &Invoker) -> anyhow::Result<StartSession> {
    // A path is the launcher's, not the daemon's, to resolve.
    let is_path =
        |text: &str| text.contains('/') || Path::new(text).extension() == Some("toml".as_ref());
    let profile = match &arguments.profile {
        Some(path) if is_path(path) => {
            let path = absolute(Path::new(path))?.into_os_string().into_string();
            Some(path.map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?)
        }
        other => other.clone(),
    };
    let roots = arguments.upstream_roots.iter().map(|path| absolute(path));
    Ok(StartSession {
        pid: 0,
        init: 0,
        identity: Identity {
            uid: invoker.uid.as_raw(),
            user: invoker.name.clone(),
            loginuid: login_uid(),
            host: host()?,
            reason: arguments.reason.clone(),
            command: arguments
                .command
                .iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
        },
        profile,
        gid: invoker.gid.as_raw(),
        aws: selection(arguments, invoker)?,
        upstream: UpstreamConfig {
            connect: arguments
                .upstream_connect
                .iter()
                .cloned()
                .collect::<BTreeMap<_, _>>(),
            roots: roots.collect::<Result<_, _>>()?,
        },
        environment: environment::relevant(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        })),
    })
}

/// As AWS tools choose: a profile named by flag, else keys in the environment, else AWS_PROFILE.
fn selection(arguments: &Arguments, invoker: &Invoker) -> anyhow::Result<Selection> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let keys = set("AWS_ACCESS_KEY_ID").is_some() && set("AWS_SECRET_ACCESS_KEY").is_some();
    let mut selection = Selection::from_environment(
        |name| set(name).filter(|_| !(keys && name == "AWS_PROFILE")),
        arguments.aws_profile.clone(),
        arguments.region.clone(),
        invoker
            .home
            .clone()
            .or_else(|| set("HOME").map(PathBuf::from)),
    );
    // Relative to the launcher, not to the daemon.
    for path in [&mut selection.config_file, &mut selection.credentials_file]
        .into_iter()
        .flatten()
    {
        *path = absolute(path)?;
    }
    Ok(selection)
}

fn start_session(
    client: &mut Client,
    start: StartSession,
) -> anyhow::Result<(SessionId, Changes, World)> {
    match client.request(&Request::StartSession(Box::new(start)))? {
        Reply::SessionStarted {
            session,
            environment,
            world,
            warnings,
        } => {
            for warning in warnings {
                say(&warning);
            }
            Ok((session, environment, world))
        }
        Reply::Error { code, message } if code == "bad-config" => bail!(BadConfig(message)),
        Reply::Error { message, .. } => bail!(message),
        _ => bail!(
            "the daemon answers another question; are daemon and command of the same version?"
        ),
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

fn host() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("cannot read the host's name")?;
    Ok(name.trim().to_owned())
}

/// The uid that logged in, where the kernel knows (pam_loginuid).
fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|&uid| uid != u32::MAX)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))
}
