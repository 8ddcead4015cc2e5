//! What the next daemon needs to pick a session up: one file per session, root's alone, in the runtime
//! directory, which the host empties at boot.
//!
//! It holds the credentials that the launcher handed over in its environment, since nobody could hand them
//! over again.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::configuration::Contents;
use crate::broker::{DummyCredentials, Program};
use crate::control::wire::Terms;
use crate::policy::Source;
use crate::session::{Identity, SessionId};
use crate::term::Limit;

/// Bytes of a file that is read: a request's terms, a profile's text and its policy documents are bounded by one
/// MiB each.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Everything that a session cannot be served without.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::service) struct Saved {
    pub(super) id: SessionId,
    pub(super) place: Place,
    /// Its tree is only about to be confined.
    #[serde(default)]
    pub(super) unfinished: bool,
    /// How many daemons served it before this one.
    pub(super) generation: u32,
    /// Seconds since the epoch when it started.
    pub(super) since: u64,
    /// Who it is for, as it was verified then. The token itself is never written.
    pub(super) identity: Identity,
    /// Its end, where it has one.
    #[serde(default)]
    pub(super) limit: Option<Limit>,
    pub(super) terms: Terms,
    /// The profile in force: the file may say something else by now.
    pub(super) profile: Source,
    pub(super) dummy: DummyCredentials,
    /// The AWS configuration files at the start.
    pub(super) files: Contents,
    /// The programs that give credentials, as they were at the start.
    #[serde(default)]
    pub(super) programs: Option<Vec<Program>>,
}

/// Where a session's tree is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(in crate::service) enum Place {
    /// In the session's own cgroup, started by `guard run`.
    Launched {
        /// The process that became the command.
        pid: u32,
    },
    /// In a cgroup that was there before, as `/proc/<pid>/cgroup` names it.
    Attached {
        /// Its path below the hierarchy's mount.
        cgroup: String,
        /// Its number.
        number: Option<u64>,
    },
    /// In the session's own cgroup, moved there by `guard attach --pid`.
    Moved {
        /// Where it came from, and goes back to.
        from: String,
    },
}

impl Saved {
    /// Writes the file, over the one of an earlier generation.
    pub(super) fn write(&self, runtime_dir: &Path) -> io::Result<()> {
        let directory = directory(runtime_dir);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        let (path, new) = (
            file(runtime_dir, &self.id),
            directory.join(format!("{}.new", self.id)),
        );
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    /// Reads the file of a session; `None` where there is none.
    pub(super) fn read(runtime_dir: &Path, id: &SessionId) -> io::Result<Option<Self>> {
        use std::io::Read;

        let mut bytes = Vec::new();
        match fs::File::open(file(runtime_dir, id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.take(LARGEST).read_to_end(&mut bytes)?,
        };
        let saved: Self = serde_json::from_slice(&bytes)?;
        if saved.id != *id {
            return Err(io::Error::other("the file is another session's"));
        }
        Ok(Some(saved))
    }

    /// Removes the files of a session; none is fine. Its `Issued` is closed before.
    pub(super) fn remove(runtime_dir: &Path, id: &SessionId) -> io::Result<()> {
        let issued = issued(runtime_dir, id);
        for path in [
            issued.with_extension("issued-new"),
            issued,
            file(runtime_dir, id),
        ] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The sessions that are saved.
pub(in crate::service) fn sessions(runtime_dir: &Path) -> Vec<SessionId> {
    let entries = fs::read_dir(directory(runtime_dir)).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| SessionId::parse(name.strip_suffix(".json")?))
        .collect()
}

/// Removes the files of half-done writes, and the dummies of sessions that are not saved. To be called while no session
/// is served. What cannot be removed is logged.
pub(in crate::service) fn sweep(runtime_dir: &Path) {
    let entries = fs::read_dir(directory(runtime_dir)).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names {
        let Some((id, kind)) = name.split_once('.') else {
            continue;
        };
        let Some(id) = SessionId::parse(id) else {
            continue;
        };
        let left = match kind {
            "new" | "issued-new" => true,
            "issued" => fs::exists(file(runtime_dir, &id)).is_ok_and(|saved| !saved),
            _ => false,
        };
        let path = directory(runtime_dir).join(&name);
        if left && let Err(error) = fs::remove_file(&path) {
            tracing::error!("{} stays: {error}", path.display());
        }
    }
}

fn directory(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("saved")
}

/// The file of a session's further dummies.
pub(super) fn issued(runtime_dir: &Path, id: &SessionId) -> PathBuf {
    directory(runtime_dir).join(format!("{id}.issued"))
}

fn file(runtime_dir: &Path, id: &SessionId) -> PathBuf {
    directory(runtime_dir).join(format!("{id}.json"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt;

    use super::super::configuration::Content;
    use super::*;
    use crate::broker::Selection;

    fn saved() -> Saved {
        Saved {
            id: SessionId::random(),
            place: Place::Launched { pid: 7 },
            unfinished: false,
            generation: 0,
            since: 1,
            identity: Identity {
                uid: 0,
                user: "root".to_owned(),
                loginuid: None,
                host: "h".to_owned(),
                reason: None,
                command: vec!["true".to_owned()],
                human: None,
                agent: None,
                labels: BTreeMap::new(),
            },
            limit: None,
            terms: Terms {
                gid: 0,
                profile: None,
                duration: None,
                aws: Selection::default(),
                role: crate::policy::CredentialTerms::default(),
                delivery: crate::sandbox::environment::Delivery::Env,
                upstream: crate::config::UpstreamConfig::default(),
                environment: BTreeMap::new(),
            },
            profile: Source::new("p", "default = \"deny\"\n"),
            dummy: DummyCredentials::random(),
            files: BTreeMap::from([
                ("/absent".into(), Content::Absent),
                ("/config".into(), Content::Digest("00".to_owned())),
                ("/unknown".into(), Content::Unknown),
            ]),
            programs: None,
        }
    }

    #[test]
    fn a_session_is_read_back_by_root_alone_and_forgotten() {
        let runtime = tempfile::tempdir().unwrap();
        let mut session = saved();
        session.write(runtime.path()).unwrap();
        session.generation = 3;
        session.write(runtime.path()).unwrap();
        let path = file(runtime.path(), &session.id);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            directory(runtime.path()).metadata().unwrap().mode() & 0o777,
            0o700
        );
        assert_eq!(sessions(runtime.path()), [session.id.clone()]);
        let read = Saved::read(runtime.path(), &session.id).unwrap().unwrap();
        assert_eq!(read.generation, 3);
        assert_eq!(read.files, session.files);
        assert_eq!(
            read.dummy.secret_access_key,
            session.dummy.secret_access_key
        );
        Saved::remove(runtime.path(), &session.id).unwrap();
        Saved::remove(runtime.path(), &session.id).unwrap();
        assert!(Saved::read(runtime.path(), &session.id).unwrap().is_none());
    }

    #[test]
    fn what_no_session_has_is_swept() {
        let runtime = tempfile::tempdir().unwrap();
        sweep(runtime.path());
        let session = saved();
        session.write(runtime.path()).unwrap();
        let (id, gone) = (&session.id, SessionId::random());
        let names = |names: &[String]| -> Vec<PathBuf> {
            let directory = directory(runtime.path());
            names.iter().map(|name| directory.join(name)).collect()
        };
        let stay = names(&[
            format!("{id}.issued"),
            "note.issued".to_owned(),
            "note".to_owned(),
        ]);
        let go = names(&[
            format!("{id}.issued-new"),
            format!("{id}.new"),
            format!("{gone}.issued"),
            format!("{gone}.issued-new"),
            format!("{gone}.new"),
        ]);
        for path in stay.iter().chain(&go) {
            fs::write(path, "").unwrap();
        }
        sweep(runtime.path());
        assert!(stay.iter().all(|path| path.exists()));
        assert!(go.iter().all(|path| !path.exists()));
        assert!(Saved::read(runtime.path(), id).unwrap().is_some());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_session() {
        let runtime = tempfile::tempdir().unwrap();
        let session = saved();
        session.write(runtime.path()).unwrap();
        let path = file(runtime.path(), &session.id);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in [
            "",
            "{}",
            &text[..text.len() / 2],
            &text.replace("\"generation\"", "\"x\""),
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(
                Saved::read(runtime.path(), &session.id).is_err(),
                "{damaged}"
            );
        }
        let other = SessionId::random();
        fs::write(file(runtime.path(), &other), text).unwrap();
        assert!(Saved::read(runtime.path(), &other).is_err());
    }
}
