//! guard's certificate authority: one per state directory, name-constrained, and the leaves it mints.

use std::path::Path;

/// The authority, with its cache of leaves.
pub struct Authority {}

/// Why the authority could not be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {}

impl Authority {
    /// Loads `ca.pem` and `ca.key` (0600) from `directory`, or makes them there.
    pub fn load_or_create(_directory: &Path) -> Result<Self, AuthorityError> {
        unimplemented!("contract")
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        unimplemented!("contract")
    }
}
