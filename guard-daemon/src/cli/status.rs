//! `guard status`: the daemon and its sessions.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;

use super::terminal::printable;
use super::{Exit, Global};
use crate::control::client::Client;
use crate::control::wire::{Reply, Request, Status};

/// Prints the daemon's state.
pub(super) fn run(global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let mut client = Client::connect(&config.runtime_dir)?;
    match client.request(&Request::Status)? {
        Reply::Status(status) => {
            std::io::stdout().write_all(render(&status).as_bytes())?;
            Ok(Exit::Success.into())
        }
        Reply::Error { message, .. } => bail!(message),
        _ => bail!(
            "the daemon answers another question; are daemon and command of the same version?"
        ),
    }
}

fn render(status: &Status) -> String {
    let kind = if status.embedded {
        "embedded in guard run"
    } else {
        "daemon"
    };
    let mut text = format!("guard {} ({kind}, pid {})\n", status.version, status.pid);
    if status.sessions.is_empty() {
        text.push_str("no sessions\n");
    }
    for session in &status.sessions {
        let identity = &session.identity;
        let _ = writeln!(
            text,
            "session {id}  user {user}  profile {profile}  {kind}  {age} s\n  \
             command: {command}\n  cgroup: {cgroup}\n  enforced: {enforced}",
            id = session.id,
            user = printable(&identity.user),
            profile = printable(&session.profile),
            kind = session
                .pid
                .map_or_else(|| "attached".to_owned(), |pid| format!("pid {pid}")),
            cgroup = printable(&session.cgroup),
            age = session.age_seconds,
            command = printable(&identity.command.join(" ")),
            enforced = session.enforced.join(", "),
        );
        match &session.limit {
            None => {}
            Some(limit) if !limit.is_over() => {
                let _ = writeln!(text, "  ends at {}", limit.describe());
            }
            Some(limit) => {
                let after = if session.pid.is_some() {
                    "its processes are about to end".to_owned()
                } else {
                    format!("its tree stays confined until: guard detach {}", session.id)
                };
                let _ = writeln!(text, "  ended at its time ({}); {after}", limit.describe());
            }
        }
        for limit in &session.limits {
            let _ = writeln!(text, "  not enforced: {limit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::SessionView;
    use crate::session::{Identity, SessionId};

    #[test]
    fn shows_sessions_without_control_characters() {
        let session = SessionView {
            id: SessionId::parse("0123456789abcdef").unwrap(),
            identity: Identity {
                uid: 1000,
                user: "ana".to_owned(),
                loginuid: None,
                host: "h".to_owned(),
                reason: None,
                command: vec!["sh".to_owned(), "\u{1b}[2J".to_owned()],
                human: None,
                agent: None,
                labels: std::collections::BTreeMap::new(),
            },
            profile: "standard".to_owned(),
            pid: Some(7),
            cgroup: "/guard/0a1b2c3d/0123456789abcdef".to_owned(),
            age_seconds: 3,
            limit: None,
            enforced: vec!["connect4".to_owned()],
            limits: vec!["unix sockets".to_owned()],
        };
        let text = render(&Status {
            version: "1".to_owned(),
            pid: 2,
            embedded: true,
            sessions: vec![session],
        });
        assert!(
            text.contains("session 0123456789abcdef  user ana"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
