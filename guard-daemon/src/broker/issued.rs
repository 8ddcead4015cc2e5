//! The dummies of a session, and what each of them stands for.
//!
//! Every exchange looks its access key id up here: the signature is verified with the dummy's secret, and the
//! request leaves with what the dummy stands for. A key that is not here is foreign.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

use super::DummyCredentials;

/// Dummies of a session besides its own, at the most. An expired one makes room first, then the oldest.
const MOST: usize = 4096;

/// A session's dummies, by access key id.
pub struct Issued {
    own: Arc<Issue>,
    others: RwLock<HashMap<String, Arc<Issue>>>,
    /// None lasts longer: the session's end.
    until: Option<SystemTime>,
}

/// One set of dummies.
pub struct Issue {
    /// What the confined tree has.
    pub dummy: DummyCredentials,
    /// When they end; `None` for the session's own.
    pub expiry: Option<SystemTime>,
    /// What they stand for.
    pub stands_for: StandsFor,
}

/// What a set of dummies stands for.
pub enum StandsFor {
    /// The session's own credentials.
    Session,
    /// Credentials that a call of the session minted.
    Minted(Minted),
}

/// Credentials that a call of the session minted.
pub struct Minted {
    /// The real ones. They never leave but in a signature.
    pub credentials: Credentials,
    /// The exchange that minted them.
    pub exchange: String,
}

impl Issued {
    /// Only the session's own dummies.
    pub fn new(own: DummyCredentials) -> Self {
        let own = Issue {
            dummy: own,
            expiry: None,
            stands_for: StandsFor::Session,
        };
        Self {
            own: Arc::new(own),
            others: RwLock::default(),
            until: None,
        }
    }

    /// None of those that are added lasts longer than `until`.
    pub fn ending(self, until: Option<SystemTime>) -> Self {
        Self { until, ..self }
    }

    /// The session's own dummies, for its environment.
    pub fn own(&self) -> &DummyCredentials {
        &self.own.dummy
    }

    /// The dummies of an access key id, expired ones too.
    pub fn find(&self, access_key_id: &str) -> Option<Arc<Issue>> {
        if self.own.dummy.access_key_id == access_key_id {
            return Some(Arc::clone(&self.own));
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        others.get(access_key_id).cloned()
    }

    /// The dummies that a bearer token goes with: the session's own.
    pub fn of_bearer_token(&self, token: &str) -> Option<Arc<Issue>> {
        let own = self.own.dummy.is_bearer_token(token);
        own.then(|| Arc::clone(&self.own))
    }

    /// Temporary dummies that stand for the session's own credentials for `lifetime` from `now` on.
    pub fn temporary(&self, now: SystemTime, lifetime: Duration) -> Arc<Issue> {
        self.add(Issue {
            dummy: DummyCredentials::temporary(),
            expiry: Some(now + lifetime),
            stands_for: StandsFor::Session,
        })
    }

    /// Temporary dummies for what a call minted.
    pub fn mint(&self, minted: Minted, expiry: SystemTime) -> Arc<Issue> {
        self.add(Issue {
            dummy: DummyCredentials::temporary(),
            expiry: Some(expiry),
            stands_for: StandsFor::Minted(minted),
        })
    }

    fn add(&self, mut issue: Issue) -> Arc<Issue> {
        issue.expiry = issue.expiry.into_iter().chain(self.until).min();
        let issue = Arc::new(issue);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.len() >= MOST {
            let oldest = others.iter().min_by_key(|(_, issue)| issue.expiry);
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                others.remove(&id);
            }
        }
        others.insert(issue.dummy.access_key_id.clone(), Arc::clone(&issue));
        issue
    }
}

impl Issue {
    /// Whether they have ended.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("own", &self.own.dummy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_and_ends_at_its_time() {
        let issued = Issued::new(DummyCredentials::random());
        let own = issued.own().access_key_id.clone();
        let now = SystemTime::now();
        let temporary = issued.temporary(now, Duration::from_mins(1));
        assert!(temporary.dummy.session_token.is_some());
        let found = issued.find(&temporary.dummy.access_key_id).unwrap();
        assert!(!found.has_expired(now));
        assert!(found.has_expired(now + Duration::from_mins(1)));
        assert!(
            !issued
                .find(&own)
                .unwrap()
                .has_expired(now + Duration::from_hours(999))
        );
        assert!(issued.find("ASIAFOREIGN").is_none());
    }

    #[test]
    fn a_bearer_token_is_the_sessions_or_nobodys() {
        let issued = Issued::new(DummyCredentials::random());
        let other = DummyCredentials::random().bearer_token();
        let token = issued.own().bearer_token();
        assert!(issued.of_bearer_token(&token).is_some());
        assert!(issued.of_bearer_token(&other).is_none());
        assert!(issued.of_bearer_token("").is_none());
    }

    #[test]
    fn none_outlasts_the_session() {
        let now = SystemTime::now();
        let end = now + Duration::from_mins(5);
        let issued = Issued::new(DummyCredentials::random()).ending(Some(end));
        let long = issued.temporary(now, Duration::from_hours(1));
        assert_eq!(long.expiry, Some(end));
        let short = issued.temporary(now, Duration::from_mins(1));
        assert_eq!(short.expiry, Some(now + Duration::from_mins(1)));
    }

    #[test]
    fn they_are_bounded() {
        let issued = Issued::new(DummyCredentials::random());
        let now = SystemTime::now();
        let first = issued.temporary(now, Duration::from_secs(1));
        for _ in 0..MOST {
            issued.temporary(now, Duration::from_mins(1));
        }
        assert!(issued.find(&first.dummy.access_key_id).is_none());
        assert_eq!(issued.others.read().unwrap().len(), MOST);
    }
}
