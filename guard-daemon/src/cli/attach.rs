//! `guard attach` and `guard detach`: confine a tree that runs already, and let it go.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use super::terms::{SessionFlags, absolute, refuse_nesting};
use super::{Exit, Global, say};
use crate::control::client::Client;
use crate::control::wire::{AttachSession, Reply, Request, Target};
use crate::sandbox::user::Invoker;
use crate::service::embedded;
use crate::session::SessionId;

/// What `guard attach` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: TargetFlags,
    /// Confine processes with root's capabilities, too, which could detach the hooks
    #[arg(long)]
    allow_root: bool,
    #[command(flatten)]
    session: SessionFlags,
}

/// What is confined.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct TargetFlags {
    /// Everything in this cgroup: its directory, or its path as /proc/PID/cgroup shows it
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// The processes of this systemd unit
    #[arg(long, value_name = "NAME")]
    unit: Option<String>,
    /// This process and its descendants
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// What `guard detach` is told.
#[derive(Debug, clap::Args)]
pub(super) struct DetachArguments {
    /// The session, as `guard status` lists it
    #[arg(value_name = "SESSION", value_parser = session_id)]
    session: SessionId,
}

/// Confines; prints the session, then what is open.
pub(super) fn attach(arguments: &Arguments, global: &Global) -> anyhow::Result<ExitCode> {
    refuse_nesting()?;
    let invoker = Invoker::find()?;
    let config = global.load()?;
    let config_file = global.config.as_deref().map(absolute).transpose()?;
    let (target, command) = arguments.target.resolve()?;
    let starter = arguments.session.starter(&invoker, command)?;
    let terms = arguments.session.terms(&invoker)?;
    let (mut client, _daemon) = embedded::connect(&config, config_file.as_deref())?;
    let request = AttachSession {
        target,
        allow_root: arguments.allow_root,
        starter,
        terms,
    };
    match client.request(&Request::AttachSession(Box::new(request)))? {
        Reply::SessionAttached {
            session,
            environment,
            limit,
            limits,
            warnings,
        } => {
            let mut out = std::io::stdout();
            writeln!(out, "session {session}")?;
            writeln!(
                out,
                "new programs of the tree trust guard after: . {}",
                environment.display()
            )?;
            if let Some(limit) = limit {
                writeln!(
                    out,
                    "ends at {}; the tree stays confined then",
                    limit.describe()
                )?;
            }
            for limit in limits {
                writeln!(out, "not enforced: {limit}")?;
            }
            for warning in warnings {
                say(&warning);
            }
            Ok(Exit::Success.into())
        }
        Reply::Error { code, message } if code == "bad-config" => {
            bail!(super::run::BadConfig(message))
        }
        Reply::Error { message, .. } => bail!(message),
        _ => bail!(
            "the daemon answers another question; are daemon and command of the same version?"
        ),
    }
}

/// Lets go.
pub(super) fn detach(arguments: &DetachArguments, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let mut client = Client::connect(&config.runtime_dir)?;
    let session = arguments.session.clone();
    match client.request(&Request::DetachSession { session })? {
        Reply::SessionDetached => Ok(Exit::Success.into()),
        Reply::Error { message, .. } => bail!(message),
        _ => bail!(
            "the daemon answers another question; are daemon and command of the same version?"
        ),
    }
}

impl TargetFlags {
    /// The target, and what runs there as the record names it.
    fn resolve(&self) -> anyhow::Result<(Target, Vec<String>)> {
        if let Some(path) = &self.cgroup {
            let name = format!("cgroup {}", path.display());
            return Ok((Target::Cgroup(path.clone()), vec![name]));
        }
        if let Some(unit) = &self.unit {
            let path = cgroup_of_unit(unit)?;
            return Ok((Target::Cgroup(path), vec![format!("unit {unit}")]));
        }
        let pid = self.pid.context("name a cgroup, a unit or a process")?;
        Ok((Target::Process(pid), command_of(pid)?))
    }
}

/// Asks systemd, which knows units by all their names.
fn cgroup_of_unit(unit: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new("systemctl")
        .args(["show", "--property=ControlGroup", "--value", "--", unit])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("systemctl does not run here; name the unit's cgroup with --cgroup")?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || path.is_empty() {
        bail!("systemd knows no cgroup of {unit}; is it running? see: systemctl status {unit}");
    }
    Ok(path.into())
}

fn command_of(pid: u32) -> anyhow::Result<Vec<String>> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline"))
        .with_context(|| format!("there is no process {pid}"))?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    let arguments = line.split(|byte| *byte == 0);
    let arguments = arguments.map(|argument| String::from_utf8_lossy(argument).into_owned());
    Ok(arguments.take(64).collect())
}

fn session_id(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text)
        .ok_or_else(|| "a session has 16 hexadecimal digits; list them: guard status".to_owned())
}
