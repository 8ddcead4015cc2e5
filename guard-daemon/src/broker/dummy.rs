//! What the confined tree signs with.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// What the confined tree signs with: valid in form, worthless outside this session.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DummyCredentials {
    /// 20 characters, `AKIA…` or for temporary ones `ASIA…`, random.
    pub access_key_id: String,
    /// 40 characters, random.
    pub secret_access_key: String,
    /// Comes with temporary ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

/// What AWS draws access key ids from.
const KEY_ID: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Base64 without `+` and `/`, which some shells and URLs would change.
const SECRET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl DummyCredentials {
    /// Draws new ones.
    ///
    /// # Panics
    /// Where the operating system has no random numbers: guessable credentials would be worse.
    pub fn random() -> Self {
        Self {
            access_key_id: format!("AKIA{}", draw(KEY_ID, 16)),
            secret_access_key: draw(SECRET, 40),
            session_token: None,
        }
    }

    /// Draws temporary ones: `ASIA…`, with a session token of 128 characters.
    ///
    /// # Panics
    /// As `random`.
    pub fn temporary() -> Self {
        Self {
            access_key_id: format!("ASIA{}", draw(KEY_ID, 16)),
            secret_access_key: draw(SECRET, 40),
            session_token: Some(draw(SECRET, 128)),
        }
    }
}

impl DummyCredentials {
    /// The bearer token that goes with them: from the secret alone, so that it needs no storing.
    pub fn bearer_token(&self) -> Zeroizing<String> {
        self.derived(b"guard bearer token")
    }

    /// Whether a token is that one; in constant time.
    pub(super) fn is_bearer_token(&self, token: &str) -> bool {
        verify_slices_are_equal(self.bearer_token().as_bytes(), token.as_bytes()).is_ok()
    }

    /// The token that the container endpoint asks for, likewise.
    pub fn container_token(&self) -> Zeroizing<String> {
        self.derived(b"guard container token")
    }

    /// Whether a token is that one; in constant time.
    pub fn is_container_token(&self, token: &[u8]) -> bool {
        verify_slices_are_equal(self.container_token().as_bytes(), token).is_ok()
    }

    fn derived(&self, what: &[u8]) -> Zeroizing<String> {
        let key = Key::new(HMAC_SHA256, self.secret_access_key.as_bytes());
        Zeroizing::new(format!("guard-{}", hex::encode(hmac::sign(&key, what))))
    }
}

/// `count` characters of `alphabet`, all equally likely. The alphabet has at most 256 characters.
fn draw(alphabet: &[u8], count: usize) -> String {
    let fair = 256 - 256 % alphabet.len();
    let mut drawn = String::with_capacity(count);
    while drawn.len() < count {
        let mut bytes = [0; 64];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random numbers");
        let fair = bytes
            .iter()
            .map(|byte| usize::from(*byte))
            .filter(|byte| *byte < fair);
        drawn.extend(
            fair.take(count - drawn.len())
                .map(|b| char::from(alphabet[b % alphabet.len()])),
        );
        bytes.zeroize();
    }
    drawn
}

impl fmt::Debug for DummyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DummyCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Drop for DummyCredentials {
    fn drop(&mut self) {
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn have_the_form_that_sdks_expect() {
        let mut seen = HashSet::new();
        for _ in 0..100 {
            let dummy = DummyCredentials::random();
            let (prefix, rest) = dummy.access_key_id.split_at(4);
            assert_eq!(prefix, "AKIA");
            assert_eq!(rest.len(), 16);
            assert!(rest.bytes().all(|b| KEY_ID.contains(&b)), "{rest}");
            assert_eq!(dummy.secret_access_key.len(), 40);
            assert!(
                dummy
                    .secret_access_key
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric())
            );
            assert!(!format!("{dummy:?}").contains(&dummy.secret_access_key));
            assert!(seen.insert(dummy.access_key_id.clone()));
            assert!(seen.insert(dummy.secret_access_key.clone()));
        }
    }

    #[test]
    fn every_character_is_drawn() {
        let drawn: HashSet<char> = draw(SECRET, 10_000).chars().collect();
        assert_eq!(drawn.len(), SECRET.len());
    }
}
