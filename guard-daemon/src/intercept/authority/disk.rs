//! The authority's files: `ca.pem` and `ca.key` in a directory that only the daemon's user can enter.
//!
//! Both are made under a lock on the directory, each by a rename, the key first: whoever sees the
//! certificate can rely on the key.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use rcgen::{Certificate, KeyPair};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{AuthorityError, belongs};

/// An authority as read from its files.
pub(super) struct Pair {
    pub(super) certificate_pem: String,
    pub(super) key: KeyPair,
    /// The DNS subtrees that the certificate permits.
    pub(super) permitted: Vec<String>,
}

/// Reads the pair, or makes it with `create` where neither file exists.
pub(super) fn load_or_create(
    directory: &Path,
    create: impl FnOnce() -> Result<(Certificate, KeyPair), AuthorityError>,
) -> Result<Pair, AuthorityError> {
    let _lock = enter(directory)?;
    let certificate = directory.join("ca.pem");
    let key = directory.join("ca.key");
    match (read(&certificate)?, read(&key)?) {
        (Some((pem, _)), Some((key_pem, key_file))) => {
            private(&key, &key_file, 0o077, 0o600)?;
            parse(&certificate, pem, &key, &key_pem)
        }
        (None, None) => {
            let (made, made_key) = create()?;
            write(directory, &key, &made_key.serialize_pem(), 0o600)?;
            write(directory, &certificate, &made.pem(), 0o644)?;
            parse(&certificate, made.pem(), &key, &made_key.serialize_pem())
        }
        (None, Some(_)) => Err(missing(certificate)),
        (Some(_), None) => Err(missing(key)),
    }
}

/// Makes the directory if need be and locks it; the lock ends with the value.
fn enter(directory: &Path) -> Result<Flock<File>, AuthorityError> {
    let failed = |attempt| move |source| file_error(directory, attempt, source);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("make the directory"))?;
    let opened = File::open(directory).map_err(failed("open the directory"))?;
    // Made with 0700; one that was there may be looked into, but no one else may put files there.
    private(directory, &opened, 0o022, 0o700)?;
    Flock::lock(opened, FlockArg::LockExclusive)
        .map_err(|(_, errno)| file_error(directory, "lock the directory", errno.into()))
}

/// Refuses what belongs to another user or grants others what `forbidden` says.
fn private(path: &Path, opened: &File, forbidden: u32, wanted: u32) -> Result<(), AuthorityError> {
    let metadata = opened
        .metadata()
        .map_err(|source| file_error(path, "look at it", source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    let why = if metadata.uid() != nix::unistd::geteuid().as_raw() {
        format!(
            "belongs to user {}, not to the user guard runs as",
            metadata.uid()
        )
    } else if mode & forbidden != 0 {
        format!("has mode {mode:o}, which lets other users in")
    } else {
        return Ok(());
    };
    Err(AuthorityError::Exposed {
        path: path.to_owned(),
        why,
        wanted,
    })
}

fn read(path: &Path) -> Result<Option<(String, File)>, AuthorityError> {
    let mut options = OpenOptions::new();
    let opened = match options.read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(file_error(path, "open it", source)),
    };
    let mut text = String::new();
    match (&opened).take(MAX_FILE).read_to_string(&mut text) {
        Ok(_) => Ok(Some((text, opened))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(damaged(path, "does not hold PEM text"))
        }
        Err(source) => Err(file_error(path, "read it", source)),
    }
}

fn write(directory: &Path, path: &Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
    let failed = |source| file_error(path, "write it", source);
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))
        .map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path)
        .map_err(|error| failed(error.error))?;
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(failed)
}

fn parse(
    path: &Path,
    certificate_pem: String,
    key_path: &Path,
    key_pem: &str,
) -> Result<Pair, AuthorityError> {
    let key = KeyPair::from_pem(key_pem)
        .map_err(|error| damaged(key_path, format!("does not hold a private key ({error})")))?;
    let unreadable =
        |error: String| damaged(path, format!("does not hold a certificate ({error})"));
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes())
        .map_err(|error| unreadable(error.to_string()))?;
    let (_, certificate) =
        X509Certificate::from_der(&pem.contents).map_err(|error| unreadable(error.to_string()))?;

    if !belongs(certificate.public_key().raw, &key) {
        return Err(damaged(path, "was not made for the key in ca.key"));
    }
    if !certificate.is_ca() {
        return Err(damaged(path, "is not the certificate of an authority"));
    }
    if !certificate.validity().is_valid() {
        let until = certificate.validity().not_after;
        return Err(damaged(path, format!("is not valid now (it ends {until})")));
    }
    let permitted = permitted(&certificate);
    if permitted.is_empty() {
        return Err(damaged(
            path,
            "has no name constraints, so it could speak for any host",
        ));
    }
    Ok(Pair {
        certificate_pem,
        key,
        permitted,
    })
}

fn permitted(certificate: &X509Certificate<'_>) -> Vec<String> {
    let constraints = certificate.name_constraints().ok().flatten();
    let subtrees = constraints.and_then(|found| found.value.permitted_subtrees.as_ref());
    let names = subtrees
        .into_iter()
        .flatten()
        .filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    names.collect()
}

fn file_error(path: &Path, attempt: &'static str, source: io::Error) -> AuthorityError {
    AuthorityError::File {
        path: path.to_owned(),
        attempt,
        source,
    }
}

fn damaged(path: &Path, why: impl Into<String>) -> AuthorityError {
    AuthorityError::Damaged {
        path: path.to_owned(),
        why: why.into(),
    }
}

fn missing(path: PathBuf) -> AuthorityError {
    AuthorityError::Damaged {
        path,
        why: "is missing while its counterpart is there".to_owned(),
    }
}

/// Bytes that are read of either file; both are well below 4 KiB.
const MAX_FILE: u64 = 64 * 1024;
