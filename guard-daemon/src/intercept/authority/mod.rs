//! guard's certificate authority: one per state directory, name-constrained, and the leaves it mints.
//!
//! `disk` keeps the authority's two files, `issue` says what its certificates hold. All leaves share one
//! key that lives in this process only; a leaf and its TLS configuration are made on a name's first
//! connection and kept, bounded, for the next.

mod disk;
mod issue;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs as tls};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use crate::aws::endpoint;

/// The authority, with its cache of leaves.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// The DNS subtrees that the certificate on disk permits.
    permitted: Vec<String>,
    leaf_key: KeyPair,
    signing_key: Arc<dyn SigningKey>,
    provider: Arc<CryptoProvider>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
    minted: Mutex<HashMap<String, Minted>>,
}

/// A name's TLS configuration, and when its leaf was made.
struct Minted {
    at: Instant,
    config: Arc<ServerConfig>,
}

/// Why the authority could not be read or made, or would not speak for a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file or directory could not be used.
    #[error("{path}: cannot {attempt}: {source}", path = path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was attempted.
        attempt: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else can read or replace the key.
    #[error(
        "{path}: {why}; if nobody else can have read the key, run `chmod {wanted:o}` on it as its owner, \
         otherwise delete ca.pem and ca.key so that a new authority is made",
        path = path.display()
    )]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// Its owner or mode.
        why: String,
        /// The mode it must have.
        wanted: u32,
    },
    /// One of the two files is missing, or they do not hold what they should.
    #[error(
        "{path}: {why}; restore ca.pem and ca.key together from a copy, or delete both so that a new \
         authority is made",
        path = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The name lies outside the certificate's name constraints, so no client would believe a leaf.
    #[error(
        "{name} is outside what guard's authority may speak for; if guard was updated to intercept it, \
         delete ca.pem and ca.key so that a new authority is made"
    )]
    NotPermitted {
        /// The name.
        name: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// The system gave no random bytes for a serial number.
    #[error("no randomness for a certificate's serial number: {0}")]
    Randomness(aws_lc_rs::error::Unspecified),
    /// The TLS library refused the leaf or the settings.
    #[error("cannot set up TLS with a minted certificate: {0}")]
    Tls(#[from] rustls::Error),
}

impl Authority {
    /// Loads `ca.pem` and `ca.key` (0600) from `directory`, or makes them there, constrained to the names
    /// that guard intercepts.
    pub fn load_or_create(directory: &Path) -> Result<Self, AuthorityError> {
        Self::load_or_create_for(directory, endpoint::intercepted_suffixes())
    }

    /// As `load_or_create`, with the DNS subtrees a new authority is constrained to. An authority that
    /// exists keeps its own.
    pub fn load_or_create_for(directory: &Path, suffixes: &[&str]) -> Result<Self, AuthorityError> {
        let pair = disk::load_or_create(directory, || issue::authority(suffixes))?;
        let issuer = Issuer::from_ca_cert_pem(&pair.certificate_pem, pair.key)?;

        let leaf_key = KeyPair::generate()?;
        let signing_key = tls::sign::any_ecdsa_type(&PrivateKeyDer::Pkcs8(
            PrivatePkcs8KeyDer::from(leaf_key.serialized_der()),
        ))?;
        Ok(Self {
            certificate_pem: pair.certificate_pem,
            issuer,
            permitted: pair.permitted,
            leaf_key,
            signing_key,
            provider: Arc::new(tls::default_provider()),
            tickets: tls::Ticketer::new()?,
            sessions: ServerSessionMemoryCache::new(RESUMABLE_SESSIONS),
            minted: Mutex::default(),
        })
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// How to be the TLS server `name` (lower case, no final dot): a leaf for it, HTTP/2 or HTTP/1.1.
    pub fn server_config(&self, name: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(config) = self.cached(name) {
            return Ok(config);
        }
        let config = self.mint(name)?;
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        if minted.len() >= CACHED_LEAVES {
            // A client that makes up names pays for its own leaves; a leaf costs about 14 µs.
            minted.clear();
        }
        let at = Instant::now();
        minted.insert(
            name.to_owned(),
            Minted {
                at,
                config: config.clone(),
            },
        );
        Ok(config)
    }

    fn cached(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        let found = minted.get(name)?;
        (found.at.elapsed() < LEAF_KEPT).then(|| found.config.clone())
    }

    fn mint(&self, name: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        let within = |suffix: &String| {
            name.strip_suffix(suffix.as_str())
                .is_some_and(|front| front.is_empty() || front.ends_with('.'))
        };
        if !self.permitted.iter().any(within) {
            return Err(AuthorityError::NotPermitted {
                name: name.to_owned(),
            });
        }
        let leaf = issue::leaf(name)?.signed_by(&self.leaf_key, &self.issuer)?;
        let certified = CertifiedKey::new(vec![leaf.into()], self.signing_key.clone());

        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Shared by all names; rustls resumes a session only under the name that it was made for.
        config.ticketer = self.tickets.clone();
        config.session_storage = self.sessions.clone();
        Ok(Arc::new(config))
    }
}

/// Whether a certificate's public key (SubjectPublicKeyInfo) belongs to a private key.
fn belongs(subject_public_key_info: &[u8], key: &KeyPair) -> bool {
    key.subject_public_key_info() == subject_public_key_info
}

/// Names whose leaf and configuration are kept.
const CACHED_LEAVES: usize = 4096;

/// How long a leaf is used; well below its validity, so that it never expires under a connection.
const LEAF_KEPT: Duration = Duration::from_hours(24);

/// TLS 1.2 sessions that can be resumed by identifier.
const RESUMABLE_SESSIONS: usize = 1024;

#[cfg(test)]
mod tests;
