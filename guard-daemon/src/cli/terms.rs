//! What `guard run` and `guard attach` are told alike: profile, credentials, the way out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::broker::Selection;
use crate::config::{UpstreamConfig, parse_connect_flag};
use crate::control::wire::Terms;
use crate::policy::Length;
use crate::sandbox::cgroup;
use crate::sandbox::environment;
use crate::sandbox::secrets;
use crate::sandbox::user::Invoker;
use crate::session::{Identity, SessionId};

/// The flags of a session.
#[derive(Debug, clap::Args)]
pub(super) struct SessionFlags {
    /// Profile by name, or a file (with a slash or ending in .toml) [default: default]
    #[arg(long, value_name = "NAME|PATH")]
    profile: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// End the session after this time, such as 30m or 1h30m [default: max_session]
    #[arg(long, value_name = "LENGTH", value_parser = Length::parse)]
    duration: Option<Length>,
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
}

impl SessionFlags {
    /// What the daemon is told of the session; `command` is what runs, for the record.
    pub(super) fn terms(&self, invoker: &Invoker, command: Vec<String>) -> anyhow::Result<Terms> {
        // A path is the launcher's, not the daemon's, to resolve.
        let is_path =
            |text: &str| text.contains('/') || Path::new(text).extension() == Some("toml".as_ref());
        let profile = match &self.profile {
            Some(path) if is_path(path) => {
                let path = absolute(Path::new(path))?.into_os_string().into_string();
                Some(path.map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?)
            }
            other => other.clone(),
        };
        let roots = self.upstream_roots.iter().map(|path| absolute(path));
        let terms = Terms {
            identity: Identity {
                uid: invoker.uid.as_raw(),
                user: invoker.name.clone(),
                loginuid: login_uid(),
                host: host()?,
                reason: self.reason.clone(),
                command,
                human: None,
                agent: None,
                labels: BTreeMap::new(),
            },
            profile,
            duration: self.duration.map(|length| length.duration().as_secs()),
            gid: invoker.gid.as_raw(),
            aws: self.selection(invoker)?,
            upstream: UpstreamConfig {
                connect: self
                    .upstream_connect
                    .iter()
                    .cloned()
                    .collect::<BTreeMap<_, _>>(),
                roots: roots.collect::<Result<_, _>>()?,
            },
            environment: environment::relevant(std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })),
        };
        secrets::forget_environment();
        Ok(terms)
    }

    /// As AWS tools choose: a profile named by flag, else keys in the environment, else AWS_PROFILE.
    fn selection(&self, invoker: &Invoker) -> anyhow::Result<Selection> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let keys = set("AWS_ACCESS_KEY_ID").is_some() && set("AWS_SECRET_ACCESS_KEY").is_some();
        let mut selection = Selection::from_environment(
            |name| set(name).filter(|_| !(keys && name == "AWS_PROFILE")),
            self.aws_profile.clone(),
            self.region.clone(),
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
}

/// A session in a session would give the agent a gateway of its own choice.
pub(super) fn refuse_nesting() -> anyhow::Result<()> {
    let group = cgroup::of_process(std::process::id()).unwrap_or_default();
    // In its cgroup namespace a session does not see its cgroup's name.
    let named = || SessionId::parse(&std::env::var(environment::SESSION).ok()?);
    if let Some(session) = cgroup::session_of(&group).or_else(named) {
        bail!("already inside guard session {session}; run the command without guard");
    }
    Ok(())
}

/// A path, made absolute without following links.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))
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
