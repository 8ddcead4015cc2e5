//! `guard run`: starts a command confined, and ends as it does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{Global, say};
use crate::broker::{Keys, Selection};
use crate::config::UpstreamConfig;
use crate::control::client::Client;
use crate::control::wire::{Reply, Request, StartSession};
use crate::sandbox::environment::{self, Changes};
use crate::sandbox::launch::{self, End, Isolated};
use crate::sandbox::user::Invoker;
use crate::sandbox::cgroup;
use crate::service::embedded;
use crate::session::{Identity, SessionId};

/// The profile of sessions that name none.
const PROFILE: &str = "standard";

/// What `guard run` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Profile by name, or a file [default: standard]
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
    #[arg(long, value_name = "PATTERN=HOST:PORT", value_parser = connect_rule)]
    upstream_connect: Vec<(String, String)>,
    /// Trust the roots in this PEM file on the way out, too (repeatable)
    #[arg(long, value_name = "PEM")]
    upstream_roots: Vec<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// Runs the command. Does not return when the command dies of a signal.
pub(super) fn run(arguments: &Arguments, global: &Global) -> anyhow::Result<ExitCode> {
    refuse_nesting()?;
    let invoker = Invoker::find()?;
    let config = global.load()?;
    let config_file = global.config.as_deref().map(absolute).transpose()?;
    let request = request(arguments, &invoker)?;
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
        ..request
    };
    let (session, changes) = start_session(&mut client, start)?;
    let running = match isolated.release(&session, &changes) {
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
    if let Some(session) = cgroup::session_of(&group) {
        bail!("already inside guard session {session}; run the command without guard run");
    }
    Ok(())
}

/// Everything the daemon is told but the process, which does not exist yet.
fn request(arguments: &Arguments, invoker: &Invoker) -> anyhow::Result<StartSession> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let profile = match &arguments.profile {
        None => PROFILE.to_owned(),
        // A name has no slash; a path is the launcher's, not the daemon's, to resolve.
        Some(path) if path.contains('/') => absolute(Path::new(path))?
            .into_os_string()
            .into_string()
            .map_err(|path| anyhow::anyhow!("the profile's path {} is not UTF-8", path.display()))?,
        Some(name) => name.clone(),
    };
    let roots = arguments.upstream_roots.iter().map(|path| absolute(path));
    Ok(StartSession {
        pid: 0,
        identity: Identity {
            uid: invoker.uid.as_raw(),
            user: invoker.name.clone(),
            loginuid: login_uid(),
            host: nix::unistd::gethostname()?.to_string_lossy().into_owned(),
            reason: arguments.reason.clone(),
            command: arguments
                .command
                .iter()
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
        },
        profile,
        aws: selection(arguments, invoker, variable),
        upstream: UpstreamConfig {
            connect: arguments.upstream_connect.iter().cloned().collect::<BTreeMap<_, _>>(),
            roots: roots.collect::<Result<_, _>>()?,
        },
        environment: environment::relevant(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        })),
    })
}

/// As AWS tools choose: a profile named by flag, else keys in the environment, else AWS_PROFILE.
fn selection(
    arguments: &Arguments,
    invoker: &Invoker,
    variable: impl Fn(&str) -> Option<String>,
) -> Selection {
    let keys = || {
        Some(Keys {
            access_key_id: variable("AWS_ACCESS_KEY_ID")?,
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
            session_token: variable("AWS_SESSION_TOKEN"),
        })
    };
    let keys = if arguments.aws_profile.is_none() { keys() } else { None };
    let profile = match (&arguments.aws_profile, &keys) {
        (Some(profile), _) => Some(profile.clone()),
        (None, Some(_)) => None,
        (None, None) => variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE")),
    };
    // Relative to the launcher, not to the daemon.
    let file = |name| variable(name).and_then(|path| absolute(Path::new(&path)).ok());
    let region = arguments.region.clone();
    Selection {
        profile,
        region: region
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION")),
        home: invoker.home.clone().or_else(|| variable("HOME").map(PathBuf::from)),
        config_file: file("AWS_CONFIG_FILE"),
        credentials_file: file("AWS_SHARED_CREDENTIALS_FILE"),
        keys,
    }
}

fn start_session(
    client: &mut Client,
    start: StartSession,
) -> anyhow::Result<(SessionId, Changes)> {
    match client.request(&Request::StartSession(Box::new(start)))? {
        Reply::SessionStarted { session, environment, warnings } => {
            for warning in warnings {
                say(&warning);
            }
            Ok((session, environment))
        }
        Reply::Error { message, .. } => bail!(message),
        _ => bail!("the daemon answers another question; are daemon and command of the same version?"),
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

/// The uid that logged in, where the kernel knows (pam_loginuid).
fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|&uid| uid != u32::MAX)
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))
}

fn connect_rule(text: &str) -> Result<(String, String), String> {
    let rule = text.split_once('=').filter(|(pattern, target)| {
        let port = target.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        !pattern.is_empty() && matches!(port, Some((host, Ok(1..))) if !host.is_empty())
    });
    rule.map(|(pattern, target)| (pattern.to_owned(), target.to_owned()))
        .ok_or_else(|| "expected PATTERN=HOST:PORT, as in *.amazonaws.com=127.0.0.1:5443".to_owned())
}

#[cfg(test)]
mod tests {
    use nix::unistd::{Gid, Uid};

    use super::*;

    fn arguments(aws_profile: Option<&str>) -> Arguments {
        Arguments {
            profile: None,
            reason: None,
            aws_profile: aws_profile.map(str::to_owned),
            region: None,
            upstream_connect: Vec::new(),
            upstream_roots: Vec::new(),
            command: vec!["true".into()],
        }
    }

    fn invoker() -> Invoker {
        Invoker {
            uid: Uid::from_raw(1000),
            gid: Gid::from_raw(1000),
            groups: Vec::new(),
            name: "ana".to_owned(),
            home: Some("/home/ana".into()),
            shell: None,
            through_sudo: true,
        }
    }

    fn selected(flag: Option<&str>, variables: &[(&str, &str)]) -> Selection {
        selection(&arguments(flag), &invoker(), |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn credentials_are_chosen_as_aws_tools_choose() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let both = [keys[0], keys[1], ("AWS_PROFILE", "p")];
        let flagged = selected(Some("f"), &both);
        assert_eq!((flagged.profile.as_deref(), flagged.keys.is_some()), (Some("f"), false));
        let from_keys = selected(None, &both);
        assert_eq!((from_keys.profile, from_keys.keys.is_some()), (None, true));
        let named = selected(None, &[("AWS_PROFILE", "p"), ("AWS_REGION", "r")]);
        assert_eq!(named.profile.as_deref(), Some("p"));
        assert_eq!(named.region.as_deref(), Some("r"));
        assert_eq!(named.home, Some("/home/ana".into()));
        // Half a pair of keys is none.
        assert!(selected(None, &keys[..1]).keys.is_none());
    }

    #[test]
    fn connect_rules_are_checked() {
        let rule = connect_rule("*.amazonaws.com=127.0.0.1:5443").unwrap();
        assert_eq!(rule, ("*.amazonaws.com".to_owned(), "127.0.0.1:5443".to_owned()));
        assert!(connect_rule("a=[::1]:443").is_ok());
        for bad in ["", "a", "a=", "=h:1", "a=h", "a=h:", "a=:1", "a=h:0", "a=h:65536"] {
            assert!(connect_rule(bad).is_err(), "{bad}");
        }
    }
}
