//! What the host-wide programs report, for the journal.

use guard_common::tracking::{
    ARGUMENTS_BYTES, ARGUMENTS_OFFSET, HostRefusal, PATH_BYTES, PATH_OFFSET, TrackingEvent,
};

use super::super::process::arguments;
use crate::record::entry::{Entry, Event, Process};
use crate::session::SessionId;

/// Something that a session's processes did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TrackedEvent {
    /// A process executed a program.
    Executed {
        /// Its session.
        session: SessionId,
        /// The process as it is now.
        process: Process,
    },
    /// Programs were executed too fast to tell of each.
    Unrecorded {
        /// The session.
        session: SessionId,
        /// How many.
        count: u64,
    },
    /// A process was killed, or something was refused to it.
    Refused {
        /// Its session.
        session: SessionId,
        /// The process; `None` for what stands for several.
        process: Option<Process>,
        /// A stable code, as in `record::entry::Event::Refused`: `left-cgroup`, `process-limit`, those of
        /// `refusal`, or `lost-reports`.
        code: &'static str,
        /// One sentence for people.
        detail: String,
    },
    /// Reports of the kernel that found no room; `Tracker::check` makes up for what they would have told.
    Lost {
        /// How many.
        count: u64,
    },
}

impl TrackedEvent {
    /// Its journal entry.
    pub fn entry(self) -> Entry {
        match self {
            Self::Executed { session, process } => Entry {
                session: Some(session),
                event: Event::ProcessExecuted { process },
            },
            Self::Unrecorded { session, count } => Entry {
                session: Some(session),
                event: Event::ProcessesUnrecorded { count },
            },
            Self::Refused {
                session,
                process,
                code,
                detail,
            } => Entry {
                session: Some(session),
                event: Event::Refused {
                    process,
                    destination: None,
                    host: None,
                    code: code.to_owned(),
                    detail,
                },
            },
            Self::Lost { count } => Entry {
                session: None,
                event: Event::ProcessesUnrecorded { count },
            },
        }
    }
}

/// The code and the sentence of a refusal.
pub(super) fn refusal(event: &TrackingEvent) -> (&'static str, String) {
    let detail = event.detail;
    match HostRefusal::from_number(event.code) {
        Some(HostRefusal::SocketFamily) => (
            "socket-family",
            format!("a socket of family {detail}, or a raw one: only plain TCP and UDP, unix and routing sockets are let through"),
        ),
        Some(HostRefusal::ForeignSocket) => (
            "foreign-socket",
            "the use of a socket that was made outside of the session".to_owned(),
        ),
        Some(HostRefusal::Outside) => (
            "left-cgroup",
            "a socket for a process outside of its session's cgroup, which is being killed".to_owned(),
        ),
        Some(HostRefusal::ForeignDescriptor) => (
            "foreign-socket",
            format!("a socket of family {detail} from outside of the session, handed over"),
        ),
        Some(HostRefusal::Ptrace) => (
            "foreign-process",
            format!("a look into process {detail}, which is not the session's"),
        ),
        Some(HostRefusal::Signal) => (
            "foreign-process",
            format!("a signal to process {detail}, which is not the session's"),
        ),
        Some(HostRefusal::Bpf) => ("bpf", "a call of bpf(2)".to_owned()),
        Some(HostRefusal::UnixSocket) => (
            "unix-socket",
            "a unix socket of a process outside of the session, which the profile's allow_unix does not list".to_owned(),
        ),
        Some(HostRefusal::Capability) => (
            "capability",
            format!("the use of capability {detail}, which reaches past the session"),
        ),
        Some(HostRefusal::Pin) => ("bpf", "removing a file of a bpffs".to_owned()),
        None => (
            "unknown",
            format!("a hook refused something with code {}", event.code),
        ),
    }
}

/// A session's name in the kernel.
pub(super) fn number_of(session: &SessionId) -> Option<u64> {
    u64::from_str_radix(session.as_str(), 16).ok()
}

/// The session of a name in the kernel.
pub(super) fn session_of(number: u64) -> Option<SessionId> {
    SessionId::parse(&format!("{number:016x}"))
}

/// An executed program's path, from its record: the names stand from the file up to the root.
pub(super) fn path(event: &TrackingEvent, record: &[u8]) -> Option<String> {
    let length = (event.path_length as usize).min(PATH_BYTES);
    let names = record.get(PATH_OFFSET..PATH_OFFSET + length)?;
    let names = names.strip_suffix(b"\0")?;
    let (names, cut) = match names.strip_suffix(b"\0") {
        Some(names) => (names, true),
        None => (names, false),
    };
    let mut path = String::from(if cut { "…" } else { "" });
    for name in names.rsplit(|byte| *byte == 0) {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(name));
    }
    Some(path)
}

/// An executed program's arguments, from its record: bounded and redacted.
pub(super) fn argv(event: &TrackingEvent, record: &[u8]) -> Option<Vec<String>> {
    let length = (event.arguments_length as usize).min(ARGUMENTS_BYTES);
    let line = record.get(ARGUMENTS_OFFSET..ARGUMENTS_OFFSET + length)?;
    (!line.is_empty()).then(|| arguments(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(path: &[u8], argv: &[u8]) -> (TrackingEvent, Vec<u8>) {
        let mut bytes = vec![0xff; ARGUMENTS_OFFSET + ARGUMENTS_BYTES];
        bytes[PATH_OFFSET..PATH_OFFSET + path.len()].copy_from_slice(path);
        bytes[ARGUMENTS_OFFSET..ARGUMENTS_OFFSET + argv.len()].copy_from_slice(argv);
        let event = TrackingEvent {
            path_length: u32::try_from(path.len()).unwrap(),
            arguments_length: u32::try_from(argv.len()).unwrap(),
            ..TrackingEvent::default()
        };
        (event, bytes)
    }

    #[test]
    fn paths_are_turned_round() {
        for (names, expected) in [
            (&b"curl\0bin\0usr\0"[..], Some("/usr/bin/curl")),
            (b"memfd:x\0", Some("/memfd:x")),
            (b"a\0b\0\0", Some("…/b/a")),
            (b"", None),
        ] {
            let (event, bytes) = record(names, b"");
            assert_eq!(path(&event, &bytes).as_deref(), expected);
        }
    }

    #[test]
    fn arguments_are_split_and_redacted_and_absent_where_none_were_read() {
        let (event, bytes) = record(b"x\0", b"curl\0--password=a\0");
        let expected = ["curl", "--password=[redacted]"].map(str::to_owned);
        assert_eq!(argv(&event, &bytes), Some(expected.to_vec()));
        assert_eq!(argv(&event, &bytes[..200]), None);
        let (event, bytes) = record(b"x\0", b"");
        assert_eq!(argv(&event, &bytes), None);
    }

    #[test]
    fn every_refusal_is_explained() {
        for code in 0..=11 {
            let event = TrackingEvent {
                code,
                detail: 4711,
                ..TrackingEvent::default()
            };
            let (name, sentence) = refusal(&event);
            assert_eq!(name == "unknown", code == 0 || code == 11, "{sentence}");
        }
    }

    #[test]
    fn names_of_sessions_are_numbers() {
        let session = SessionId::parse("7b1e09c44f2ad310").unwrap();
        assert_eq!(session_of(number_of(&session).unwrap()), Some(session));
    }
}
