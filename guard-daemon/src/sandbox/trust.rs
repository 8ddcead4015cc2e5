//! The files that make a session's clients trust guard's authority: the host's roots, the user's and
//! guard's own together, as PEM and as a Java trust store.
//!
//! guard's certificate goes into these files only, never into a store that the host or the way out reads.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::environment::{Files, Roots};

/// The Java trust store's password: Java's own convention. It protects nothing, certificates are public.
pub(super) const STORE_PASSWORD: &str = "changeit";

/// The empty file among a session's files.
pub(super) const EMPTY: &str = "aws-empty";

/// Rounds of key derivation for the store. Java's default is 10000, which would only slow down
/// starting a session, since the password is no secret.
const STORE_ITERATIONS: u32 = 100;

/// Where distributions keep their bundle: Debian and Alpine, RHEL (2), openSUSE, Alpine and BSD.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Bytes of a bundle that are read; real ones are below one MiB.
const BUNDLE_BYTES: u64 = 16 * 1024 * 1024;

/// Files of a directory of roots that are read.
const DIRECTORY_FILES: usize = 4096;

/// Why the files could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// A file operation failed.
    #[error("cannot write {path}: {source}; check space and permissions of the runtime directory")]
    Write {
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificates did not fit a Java trust store.
    #[error("cannot make the Java trust store: {0}")]
    Store(#[from] p12_keystore::error::Error),
    /// guard's own certificate could not be read back.
    #[error(
        "guard's CA certificate is not a PEM certificate; remove the state directory's ca/ to make a new one"
    )]
    Authority,
}

/// The files of one session, readable by everybody, in a directory of their own.
#[derive(Debug)]
pub struct TrustFiles {
    bundle: PathBuf,
    extra: PathBuf,
    trust_store: PathBuf,
    empty: PathBuf,
}

impl TrustFiles {
    /// Their names, for the environment.
    pub fn names(&self) -> Files<'_> {
        Files {
            bundle: &self.bundle,
            extra: &self.extra,
            trust_store: &self.trust_store,
            empty: &self.empty,
        }
    }
}

/// Writes the files into `directory` (made, 0755). What could not be read of the user's or the host's
/// roots is left out and told in the warnings.
pub fn write(
    directory: &Path,
    authority_pem: &str,
    roots: &Roots,
) -> Result<(TrustFiles, Vec<String>), TrustError> {
    let mut warnings = Vec::new();
    let authority: Vec<_> = certificates(authority_pem.as_bytes());
    if authority.is_empty() {
        return Err(TrustError::Authority);
    }

    let mut bundle = Collection::default();
    match SYSTEM_BUNDLES
        .iter()
        .find_map(|path| read(Path::new(path)).ok())
    {
        Some(pem) => bundle.extend(certificates(&pem)),
        None => warnings.push(
            "the host has no bundle of CA certificates (package ca-certificates): clients in the \
             session will trust no host but AWS"
                .to_owned(),
        ),
    }
    for path in &roots.bundles {
        bundle.add_file(path, &mut warnings);
    }
    for path in &roots.directories {
        bundle.add_directory(path, &mut warnings);
    }
    let mut extra = Collection::default();
    for path in &roots.extras {
        extra.add_file(path, &mut warnings);
    }
    bundle.extend(authority.iter().cloned());
    extra.extend(authority);

    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(write_failed(directory))?;
    let files = TrustFiles {
        bundle: directory.join("ca-bundle.pem"),
        extra: directory.join("ca-extra.pem"),
        trust_store: directory.join("trust.p12"),
        empty: directory.join(EMPTY),
    };
    create(&files.bundle, bundle.pem().as_bytes())?;
    create(&files.extra, extra.pem().as_bytes())?;
    create(&files.trust_store, &bundle.java_store()?)?;
    create(&files.empty, b"")?;
    Ok((files, warnings))
}

/// Certificates, each once, in the order they came.
#[derive(Default)]
struct Collection {
    certificates: Vec<CertificateDer<'static>>,
    seen: HashSet<CertificateDer<'static>>,
}

impl Collection {
    fn extend(&mut self, certificates: impl IntoIterator<Item = CertificateDer<'static>>) {
        for certificate in certificates {
            if self.seen.insert(certificate.clone()) {
                self.certificates.push(certificate);
            }
        }
    }

    fn add_file(&mut self, path: &Path, warnings: &mut Vec<String>) {
        match read(path) {
            Ok(pem) => {
                let found = certificates(&pem);
                if found.is_empty() {
                    warnings.push(format!("{} holds no certificate", path.display()));
                }
                self.extend(found);
            }
            Err(error) => {
                warnings.push(format!(
                    "the CA bundle {} is left out: {error}",
                    path.display()
                ));
            }
        }
    }

    fn add_directory(&mut self, path: &Path, warnings: &mut Vec<String>) {
        match fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries.filter_map(Result::ok).take(DIRECTORY_FILES) {
                    // Directories of roots hold links, subdirectories and READMEs as well.
                    if let Ok(pem) = read(&entry.path()) {
                        self.extend(certificates(&pem));
                    }
                }
            }
            Err(error) => {
                warnings.push(format!(
                    "the CA directory {} is left out: {error}",
                    path.display()
                ));
            }
        }
    }

    fn pem(&self) -> String {
        let mut text = String::new();
        for certificate in &self.certificates {
            let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
            text.push_str("-----BEGIN CERTIFICATE-----\n");
            let mut rest = encoded.as_str();
            while !rest.is_empty() {
                let (line, after) = rest.split_at(rest.len().min(64));
                text.push_str(line);
                text.push('\n');
                rest = after;
            }
            text.push_str("-----END CERTIFICATE-----\n");
        }
        text
    }

    fn java_store(&self) -> Result<Vec<u8>, TrustError> {
        let mut store = KeyStore::new();
        for (number, certificate) in self.certificates.iter().enumerate() {
            // One that this parser does not accept is one that Java would not use.
            if let Ok(certificate) = Certificate::from_der(certificate) {
                store.add_entry(
                    &format!("guard-{number}"),
                    KeyStoreEntry::Certificate(certificate),
                );
            }
        }
        Ok(store
            .writer(STORE_PASSWORD)
            .encryption_iterations(STORE_ITERATIONS)
            .mac_iterations(STORE_ITERATIONS)
            .write()?)
    }
}

/// The certificates of a PEM text; other sections and damaged ones are passed over.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

/// Reads a regular file; a FIFO or device that a variable names must not block the daemon.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    file.take(BUNDLE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > BUNDLE_BYTES {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    Ok(content)
}

fn create(path: &Path, content: &[u8]) -> Result<(), TrustError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(write_failed(path))
}

fn write_failed(path: &Path) -> impl FnOnce(io::Error) -> TrustError {
    let path = path.to_owned();
    move |source| TrustError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn authority(name: &str) -> String {
        let mut parameters = rcgen::CertificateParams::default();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        certificates(pem.as_bytes()).remove(0)
    }

    #[test]
    fn merges_the_users_roots_and_guards_own() {
        let home = tempfile::tempdir().unwrap();
        let (ours, corporate, extra, hashed) = (
            authority("guard"),
            authority("corp"),
            authority("node"),
            authority("dir"),
        );
        let corporate_file = home.path().join("corp.pem");
        // The same certificate twice, with a comment before it, comes out once.
        fs::write(&corporate_file, format!("# corp\n{corporate}{corporate}")).unwrap();
        let extra_file = home.path().join("node.pem");
        fs::write(&extra_file, &extra).unwrap();
        let directory = home.path().join("certs");
        fs::create_dir_all(directory.join("sub")).unwrap();
        fs::write(directory.join("0a1b.0"), &hashed).unwrap();
        let roots = Roots {
            bundles: vec![corporate_file, home.path().join("missing.pem")],
            extras: vec![extra_file],
            directories: vec![directory],
        };
        let target = home.path().join("session");
        let (files, warnings) = write(&target, &ours, &roots).unwrap();

        let bundle = certificates(&fs::read(&files.bundle).unwrap());
        for expected in [&ours, &corporate, &hashed] {
            let count = bundle.iter().filter(|c| **c == der(expected)).count();
            assert_eq!(count, 1);
        }
        assert!(!bundle.contains(&der(&extra)));
        let extras = certificates(&fs::read(&files.extra).unwrap());
        assert_eq!(extras, [der(&extra), der(&ours)]);
        assert!(
            warnings.iter().any(|w| w.contains("missing.pem")),
            "{warnings:?}"
        );
        if let Some(pem) = SYSTEM_BUNDLES.iter().find_map(|p| fs::read(p).ok()) {
            assert!(certificates(&pem).iter().all(|c| bundle.contains(c)));
        }
    }

    #[test]
    fn a_fifo_in_the_place_of_a_bundle_does_not_block() {
        let home = tempfile::tempdir().unwrap();
        let fifo = home.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&fifo).is_err());
    }

    #[test]
    fn java_reads_the_trust_store() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("session");
        let (files, _) = write(&target, &authority("guard"), &Roots::default()).unwrap();
        let expected = certificates(&fs::read(&files.bundle).unwrap()).len();
        let listing = Command::new("keytool")
            .args(["-J-Xshare:auto", "-list", "-storetype", "PKCS12"])
            .args(["-storepass", STORE_PASSWORD, "-keystore"])
            .arg(&files.trust_store)
            .output();
        let Ok(listing) = listing else {
            crate::skip::skip(module_path!(), "keytool (a Java runtime) is not installed");
            return;
        };
        let text = String::from_utf8_lossy(&listing.stdout);
        assert!(listing.status.success(), "{text}");
        let trusted = text.matches("trustedCertEntry").count();
        assert_eq!(trusted, expected, "{text}");
    }
}
