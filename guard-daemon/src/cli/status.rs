//! `guard status`: the daemon and its sessions.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;

use super::{Exit, Global};
use crate::control::client::Client;
use crate::control::wire::{Reply, Request, Status};
use crate::session::Identity;
use crate::visible::{printable, quoted};

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
             command: {command}\n{who}  cgroup: {cgroup}\n  enforced: {enforced}",
            id = session.id,
            user = printable(&identity.user),
            profile = printable(&session.profile),
            kind = session
                .pid
                .map_or_else(|| "attached".to_owned(), |pid| format!("pid {pid}")),
            cgroup = printable(&session.cgroup),
            age = session.age_seconds,
            command = words(&identity.command),
            who = who(identity),
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

/// Whom the session is for, as far as that was said, one line each.
fn who(identity: &Identity) -> String {
    let human = identity.human.as_ref().map(|human| {
        let (subject, issuer) = (quoted(&human.subject), quoted(&human.issuer));
        match &human.email {
            Some(email) => format!("{} (subject {subject} at {issuer})", quoted(email)),
            None => format!("subject {subject} at {issuer}"),
        }
    });
    let agent = identity.agent.as_ref().map(|agent| {
        let parts = [
            Some(&agent.name),
            agent.version.as_ref(),
            agent.instance.as_ref(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().cloned().collect();
        words(&parts)
    });
    let reason = identity.reason.as_deref().map(quoted);
    let labels = identity
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let labels: Vec<String> = labels.collect();
    let labels = (!labels.is_empty()).then(|| words(&labels));
    let lines = [
        ("human", human),
        ("agent", agent),
        ("reason", reason),
        ("labels", labels),
    ];
    lines
        .into_iter()
        .filter_map(|(name, line)| line.map(|line| format!("  {name}: {line}\n")))
        .collect()
}

/// Words as a shell takes them.
fn words(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::wire::SessionView;
    use crate::session::{Agent, Human, SessionId};

    #[test]
    fn shows_sessions_without_control_characters() {
        let session = SessionView {
            id: SessionId::parse("0123456789abcdef").unwrap(),
            identity: Identity {
                uid: 1000,
                user: "ana".to_owned(),
                loginuid: None,
                host: "h".to_owned(),
                reason: Some("a b".to_owned()),
                command: vec!["sh".to_owned(), "\u{1b}[2J".to_owned()],
                human: Some(Human {
                    issuer: "https://sso.example".to_owned(),
                    subject: "00u1 ada".to_owned(),
                    email: None,
                }),
                agent: Some(Agent {
                    name: "claude".to_owned(),
                    version: Some("2.1".to_owned()),
                    instance: None,
                }),
                labels: [("team".to_owned(), "it's data".to_owned())].into(),
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
        let who = "  command: sh '\\u{1b}[2J'\n  \
            human: subject '00u1 ada' at https://sso.example\n  \
            agent: claude 2.1\n  reason: 'a b'\n  labels: 'team=it'\\''s data'\n  cgroup";
        assert!(text.contains(who), "{text}");
    }
}
