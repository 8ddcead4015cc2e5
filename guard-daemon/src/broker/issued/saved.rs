//! A session's dummies as the next daemon reads them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{DummyCredentials, Issue, Issued, Lookup, Minted, MintedFor, StandsFor};
use crate::broker::wire::Given;
use crate::record::entry::Assumed;

/// One set of dummies.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    dummy: DummyCredentials,
    /// Seconds since the epoch.
    expiry: u64,
    /// `None`: they stand for the session's own credentials.
    minted: Option<SavedMinted>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SavedMinted {
    credentials: Given,
    express: bool,
    principal: MintedFor,
    chain: Vec<Assumed>,
}

/// All of `sets` but what has ended by `now`.
pub(super) fn save(sets: &[Arc<Issue>], now: SystemTime) -> Zeroizing<Vec<u8>> {
    let seconds = |expiry: SystemTime| {
        let since = expiry.duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    };
    let saved: Vec<Saved> = sets
        .iter()
        .filter(|issue| !issue.has_expired(now))
        .map(|issue| Saved {
            dummy: issue.dummy.clone(),
            expiry: issue.expiry.map_or(0, seconds),
            minted: issue.minted().map(|minted| SavedMinted {
                credentials: Given::from(&minted.credentials),
                express: minted.express,
                principal: minted.known(),
                chain: minted.chain.clone(),
            }),
        })
        .collect();
    // Texts and numbers: nothing that JSON could not say.
    Zeroizing::new(serde_json::to_vec(&saved).unwrap_or_default())
}

impl Issued {
    /// Takes in what an earlier daemon saved.
    ///
    /// # Errors
    /// What is wrong with it, where guard did not write it.
    pub(super) fn restore(&self, saved: &[u8]) -> Result<(), serde_json::Error> {
        for saved in serde_json::from_slice::<Vec<Saved>>(saved)? {
            let expiry = UNIX_EPOCH.checked_add(Duration::from_secs(saved.expiry));
            self.add(Issue {
                dummy: saved.dummy,
                expiry: Some(expiry.unwrap_or(UNIX_EPOCH)),
                stands_for: match saved.minted {
                    None => StandsFor::Session,
                    Some(minted) => StandsFor::Minted(Box::new(Minted {
                        credentials: Credentials::from(&minted.credentials),
                        express: minted.express,
                        principal: minted.principal,
                        lookup: Lookup::default(),
                        chain: minted.chain,
                    })),
                },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_comes_back_but_for_what_ended() {
        let issued = Issued::new(DummyCredentials::random());
        let now = SystemTime::now();
        let kept = issued.temporary(now, Duration::from_mins(5));
        let ended = issued.temporary(now, Duration::from_secs(1));
        let minted = issued.mint(
            DummyCredentials::temporary(),
            Minted {
                credentials: Credentials::new(
                    "ASIAREAL",
                    "secret",
                    Some("token".to_owned()),
                    None,
                    "x",
                ),
                express: true,
                principal: MintedFor::Unknown,
                lookup: Lookup::default(),
                chain: vec![Assumed {
                    exchange: "s-1".to_owned(),
                    operation: "s3:CreateSession".to_owned(),
                    arn: None,
                }],
            },
            now + Duration::from_mins(5),
        );
        let sets = [&kept, &ended, &minted].map(Arc::clone);
        let saved = save(&sets, now + Duration::from_secs(2));

        let next = Issued::new(issued.own().clone());
        next.restore(&saved).unwrap();
        let find = |issue: &Issue| next.find(&issue.dummy.access_key_id);
        assert!(find(&ended).is_none());
        let found = find(&kept).unwrap();
        assert_eq!(found.dummy.secret_access_key, kept.dummy.secret_access_key);
        assert!(found.has_expired(now + Duration::from_mins(6)));
        let found = find(&minted).unwrap();
        let real = found.minted().unwrap();
        assert_eq!(real.credentials.secret_access_key(), "secret");
        assert_eq!(real.credentials.session_token(), Some("token"));
        assert!(real.express && real.chain[0].exchange == "s-1");
        assert!(next.restore(b"{").is_err());
    }
}
