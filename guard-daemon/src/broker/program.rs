//! Programs that give credentials, and run outside the session: the file that each was when the session started.
//!
//! The confined tree may be able to write it. So its digest is kept, and before each run, in the resolver, the file
//! that would run must be the same one with the same content. What the program loads in turn is not looked at, nor is
//! what happens between this look and the run.

use std::ffi::CString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use nix::unistd::{AccessFlags, Gid, Uid, User, access, getgrouplist};
use serde::{Deserialize, Serialize};

/// Bytes of a program. The largest that are common have some 60 MB.
const LARGEST: u64 = 256 * 1024 * 1024;

/// A program, as it was when the session started.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// As the configuration calls it.
    name: String,
    /// The file; else why it is not run.
    file: Result<Found, String>,
}

/// The file of a program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Found {
    /// Where it is, behind all links.
    path: PathBuf,
    sha256: String,
    /// Whether this process' user can change it, or put another in its place.
    exposed: bool,
}

impl Program {
    /// Looks for the file that `name` means, as a shell does.
    pub(super) fn find(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            file: found(name).map_err(|why| {
                format!("{why} when the session started; correct it and start a new session")
            }),
        }
    }

    /// As the configuration calls it.
    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One that is not run.
    pub(super) fn unclear(name: &str, why: String) -> Self {
        Self {
            name: name.to_owned(),
            file: Err(why),
        }
    }

    /// An error unless the file that would run now is the one that it was.
    pub(super) fn check(&self) -> Result<(), String> {
        let then = self.file.as_ref().map_err(Clone::clone)?;
        let path = then.path.display();
        match found(&self.name) {
            Ok(now) if now.path != then.path => Err(format!(
                "{:?} was {path} when the session started and is {} now, so it is not run; start a new session",
                self.name,
                now.path.display()
            )),
            Ok(now) if now.sha256 == then.sha256 => Ok(()),
            Ok(_) => Err(format!(
                "{path} was changed since the session started, so it is not run; start a new session"
            )),
            Err(why) => Err(format!(
                "{why}, unlike when the session started; start a new session"
            )),
        }
    }
}

/// What the person who starts a session should know of its programs, one sentence each.
pub(super) fn warnings(programs: &[Program]) -> Vec<String> {
    let mut warnings: Vec<String> = programs
        .iter()
        .filter_map(|program| program.file.as_ref().err())
        .map(|why| format!("the session gets no credentials: {why}"))
        .collect();
    let exposed: Vec<String> = programs
        .iter()
        .filter_map(|program| program.file.as_ref().ok())
        .filter(|file| file.exposed)
        .map(|file| file.path.display().to_string())
        .collect();
    if !exposed.is_empty() {
        warnings.push(format!(
            "the session's user can change what gives its credentials and runs outside guard: {}; guard does not run a \
             file that has changed, but does not see what it loads: keep both where only root can write",
            exposed.join(", ")
        ));
    }
    warnings
}

fn found(name: &str) -> Result<Found, String> {
    let candidate = search(name).ok_or_else(|| format!("there is no program {name:?}"))?;
    let failed = |error: io::Error| format!("{}: {error}", candidate.display());
    let path = fs::canonicalize(&candidate).map_err(failed)?;
    if path.to_str().is_none() {
        return Err(format!("the path of {name:?} is not text"));
    }
    let (sha256, metadata) =
        digest(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let places = [candidate.parent(), path.parent()];
    let exposed = is_writable(&path, &metadata)
        || places.into_iter().flatten().any(|place| {
            // Of a directory that cannot be looked at it is not known.
            fs::metadata(place).map_or(true, |metadata| is_writable(place, &metadata))
        });
    Ok(Found {
        path,
        sha256,
        exposed,
    })
}

/// The file that a name means: at a path, or the first that can be executed in `PATH`.
fn search(name: &str) -> Option<PathBuf> {
    // Programs run there, so a relative name means that.
    let root = Path::new("/");
    if name.contains('/') {
        return Some(root.join(name));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|place| root.join(place).join(name))
        .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

/// The SHA-256 of a regular file.
fn digest(path: &Path) -> io::Result<(String, Metadata)> {
    // A pipe would wait for somebody who writes.
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 128 * 1024];
    let mut file = file.take(LARGEST + 1);
    loop {
        match file.read(&mut buffer)? {
            0 if file.limit() == 0 => {
                return Err(io::Error::other("it is larger than 256 MiB"));
            }
            0 => return Ok((hex::encode(context.finish()), metadata)),
            read => context.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Whether this process' user may write there, also with a group that this process does not have.
fn is_writable(path: &Path, metadata: &Metadata) -> bool {
    if access(path, AccessFlags::W_OK).is_ok() || metadata.uid() == Uid::current().as_raw() {
        return true;
    }
    let groups = || {
        let user = User::from_uid(Uid::current()).ok()??;
        let name = CString::new(user.name).ok()?;
        getgrouplist(&name, user.gid).ok()
    };
    metadata.mode() & 0o020 != 0
        && groups().is_some_and(|groups| groups.contains(&Gid::from_raw(metadata.gid())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn executable(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn only_the_same_file_with_the_same_content_runs() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        executable(&place("a"), "#!/bin/sh\n");
        executable(&place("b"), "#!/bin/sh\n");
        symlink(place("a"), place("link")).unwrap();
        let link = Program::find(place("link").to_str().unwrap());
        let direct = Program::find(place("a").to_str().unwrap());
        assert_eq!((link.check(), direct.check()), (Ok(()), Ok(())));

        // The same bytes elsewhere are another program, which may change later.
        fs::remove_file(place("link")).unwrap();
        symlink(place("b"), place("link")).unwrap();
        let error = link.check().unwrap_err();
        assert!(
            error.contains("/b now") && error.ends_with("start a new session"),
            "{error}"
        );

        executable(&place("a"), "#!/bin/sh\nexit\n");
        let error = direct.check().unwrap_err();
        assert!(
            error.contains("/a was changed") && error.ends_with("start a new session"),
            "{error}"
        );
        fs::remove_file(place("a")).unwrap();
        assert!(direct.check().is_err());
        nix::unistd::mkfifo(&place("a"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(direct.check().unwrap_err().contains("not a regular file"));
        fs::remove_file(place("a")).unwrap();
        let sparse = File::create(place("a")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        assert!(direct.check().unwrap_err().contains("larger than 256 MiB"));
    }

    #[test]
    fn what_was_not_there_does_not_run_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later");
        let program = Program::find(path.to_str().unwrap());
        executable(&path, "#!/bin/sh\n");
        assert!(program.check().is_err());
        assert!(Program::find("no-such-program-anywhere").check().is_err());
        let told = warnings(&[program]);
        assert!(told[0].contains("later"), "{told:?}");
    }

    #[test]
    fn a_program_that_the_user_can_change_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine");
        executable(&path, "#!/bin/sh\n");
        let told = warnings(&[Program::find(path.to_str().unwrap())]);
        assert!(
            told.len() == 1 && told[0].contains(path.to_str().unwrap()),
            "{told:?}"
        );
    }
}
