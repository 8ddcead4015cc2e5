//! The dummies of a session, and what each of them stands for.
//!
//! Every exchange looks its access key id up here: the signature is verified with the dummy's secret, and the
//! request leaves with what the dummy stands for. A key that is not here is foreign.

mod kept;
mod lookup;
mod saved;
mod whose;

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::kept::Kept;
pub use self::lookup::Lookup;
use super::{DummyCredentials, Principal};
use crate::record::entry::Assumed;
use crate::term::Limit;

/// Dummies of a session besides its own, at the most. Of what was minted or has ended, the one that ends first makes
/// room: what metadata services gave out stays good.
const MOST: usize = 4096;

/// A session's dummies, by access key id.
pub struct Issued {
    own: Arc<Issue>,
    others: RwLock<Others>,
    /// Where the next daemon finds them.
    kept: Option<Kept>,
    /// None lasts longer: the session's end, by the clock as it is set whenever one is added.
    until: Option<Limit>,
    /// What metadata services give out.
    lent: Mutex<Option<Arc<Issue>>>,
}

/// All but the session's own.
#[derive(Default)]
struct Others {
    sets: HashMap<String, Arc<Issue>>,
    /// How many were ever added.
    changes: u64,
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
    Minted(Box<Minted>),
}

/// Credentials that a call of the session minted.
pub struct Minted {
    /// The real ones. They never leave but in a signature.
    pub credentials: Credentials,
    /// They are of an S3 Express session (CreateSession).
    pub express: bool,
    /// Whose they are, as far as the answer told.
    pub principal: MintedFor,
    /// And what STS says where it did not.
    pub lookup: Lookup,
    /// The calls that led to them, the session's first.
    pub chain: Vec<Assumed>,
}

/// Whose minted credentials are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MintedFor {
    /// Of whom the answer named, or STS; where they are the caller's, the caller (GetSessionToken, CreateSession).
    Named(Principal),
    /// Nobody named the principal.
    Unknown,
}

impl MintedFor {
    /// The ARN of the principal that the answer named.
    pub fn arn(&self) -> Option<&str> {
        match self {
            Self::Named(principal) => principal.arn.as_deref(),
            Self::Unknown => None,
        }
    }
}

/// How long the dummies last that metadata services give out, and with how much left others take their place.
/// SDKs ask anew with 15 minutes left at the most (botocore's advisory refresh).
const LENT: Duration = Duration::from_hours(1);
const LENT_AHEAD: Duration = Duration::from_mins(20);

/// By how much the session's end may differ by the wall clock, read at two times.
const SAME_END: Duration = Duration::from_secs(1);

/// Calls of a chain, at the most: AWS itself limits chained sessions to an hour, not in number.
pub const LONGEST_CHAIN: usize = 16;

impl Issued {
    /// The session's own dummies alone, nowhere kept.
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
            lent: Mutex::default(),
            kept: None,
        }
    }

    /// The session's own, and what `file` keeps of an earlier daemon's; `keep` writes there. Root alone may reach
    /// its directory. None of those that are added lasts longer than `until`.
    ///
    /// # Errors
    /// A file that cannot be read, or that guard did not write.
    pub fn kept_in(own: DummyCredentials, until: Option<Limit>, file: PathBuf) -> io::Result<Self> {
        let mut issued = Self::new(own);
        issued.until = until;
        match fs::read(&file).map(Zeroizing::new) {
            Ok(saved) => issued.restore(&saved)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let changes = issued.others().changes;
        issued.kept = Some(Kept::new(file, changes));
        Ok(issued)
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
        self.others().sets.get(access_key_id).cloned()
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

    /// The temporary dummies that a metadata service gives out: the same ones, until SDKs would want newer ones.
    pub fn lent(&self, now: SystemTime) -> Arc<Issue> {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let lasts = |issue: &Arc<Issue>| {
            let end = self.until.map(|limit| limit.wall_time() - SAME_END);
            let last = end.is_some_and(|end| issue.expiry >= Some(end)) && !issue.has_expired(now);
            last || issue.expiry.is_some_and(|expiry| expiry > now + LENT_AHEAD)
        };
        if let Some(issue) = lent.as_ref().filter(|issue| lasts(issue)) {
            return Arc::clone(issue);
        }
        let issue = self.temporary(now, LENT);
        *lent = Some(Arc::clone(&issue));
        issue
    }

    /// Temporary dummies stand for what a call minted.
    pub fn mint(&self, dummy: DummyCredentials, minted: Minted, expiry: SystemTime) -> Arc<Issue> {
        self.add(Issue {
            dummy,
            expiry: Some(expiry),
            stands_for: StandsFor::Minted(Box::new(minted)),
        })
    }

    fn add(&self, mut issue: Issue) -> Arc<Issue> {
        issue.expiry = issue
            .expiry
            .into_iter()
            .chain(self.until.map(|limit| limit.wall_time()))
            .min();
        let issue = Arc::new(issue);
        let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if others.sets.len() >= MOST {
            let now = SystemTime::now();
            let stays = |issue: &Issue| issue.minted().is_none() && !issue.has_expired(now);
            let least = others
                .sets
                .iter()
                .min_by_key(|(_, issue)| (stays(issue), issue.expiry));
            if let Some(id) = least.map(|(id, _)| id.clone()) {
                others.sets.remove(&id);
            }
        }
        let id = issue.dummy.access_key_id.clone();
        others.sets.insert(id, Arc::clone(&issue));
        others.changes += 1;
        issue
    }

    fn others(&self) -> RwLockReadGuard<'_, Others> {
        self.others.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issue {
    /// Whether they have ended.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }

    /// Whether a request carries the session token that goes with them, none where none does. In constant time.
    pub fn has_token(&self, presented: Option<&str>) -> bool {
        match (&self.dummy.session_token, presented) {
            (None, None) => true,
            (Some(own), Some(presented)) => {
                verify_slices_are_equal(own.as_bytes(), presented.as_bytes()).is_ok()
            }
            _ => false,
        }
    }

    /// What a call minted, where they stand for that.
    pub fn minted(&self) -> Option<&Minted> {
        match &self.stands_for {
            StandsFor::Session => None,
            StandsFor::Minted(minted) => Some(&**minted),
        }
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
    use crate::policy::Length;

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
    fn the_token_must_be_theirs() {
        let issued = Issued::new(DummyCredentials::random());
        let temporary = issued.temporary(SystemTime::now(), Duration::from_mins(1));
        let token = temporary.dummy.session_token.as_deref();
        assert!(temporary.has_token(token));
        assert!(!temporary.has_token(None) && !temporary.has_token(Some("x")));
        let own = issued.find(&issued.own().access_key_id).unwrap();
        assert!(own.has_token(None) && !own.has_token(token));
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
        let mut issued = Issued::new(DummyCredentials::random());
        let end = Limit::starting_now(Length::seconds(300));
        issued.until = Some(end);
        let long = issued.temporary(now, Duration::from_hours(1));
        assert!(long.expiry > Some(end.wall_time() - SAME_END));
        assert!(long.expiry < Some(end.wall_time() + SAME_END));
        let short = issued.temporary(now, Duration::from_mins(1));
        assert_eq!(short.expiry, Some(now + Duration::from_mins(1)));
    }

    #[test]
    fn the_same_are_lent_until_newer_ones_are_wanted() {
        let issued = Issued::new(DummyCredentials::random());
        let now = SystemTime::now();
        let first = issued.lent(now);
        let later = |minutes| {
            issued
                .lent(now + Duration::from_mins(minutes))
                .dummy
                .access_key_id
                .clone()
        };
        assert_eq!(later(39), first.dummy.access_key_id);
        assert_ne!(later(41), first.dummy.access_key_id);
        assert!(issued.find(&first.dummy.access_key_id).is_some());
        // At the session's end there are no newer ones.
        let mut ending = Issued::new(DummyCredentials::random());
        ending.until = Some(Limit::starting_now(Length::seconds(300)));
        let last = ending.lent(now);
        assert_eq!(
            ending.lent(now).dummy.access_key_id,
            last.dummy.access_key_id
        );
    }

    fn minted(issued: &Issued, expiry: SystemTime) -> Arc<Issue> {
        let minted = Minted {
            credentials: Credentials::new("ASIAREAL", "secret", None, None, "x"),
            express: false,
            principal: MintedFor::Unknown,
            lookup: Lookup::default(),
            chain: Vec::new(),
        };
        issued.mint(DummyCredentials::temporary(), minted, expiry)
    }

    #[test]
    fn they_are_bounded_and_what_is_lent_stays() {
        let issued = Issued::new(DummyCredentials::random());
        let now = SystemTime::now();
        let has = |issue: &Issue| issued.find(&issue.dummy.access_key_id).is_some();
        let ended = issued.temporary(now - LENT, LENT);
        let lent = issued.lent(now);
        let first = minted(&issued, now + LENT * 2);
        for _ in 0..MOST - 2 {
            minted(&issued, now + LENT * 3);
        }
        // What has ended goes first, whatever it stands for; then what ends first of what was minted.
        assert!(has(&first) && has(&lent) && !has(&ended));
        minted(&issued, now + LENT * 3);
        assert!(!has(&first));
        assert!(has(&lent));
        assert!(has(&issued.lent(now)));
        assert_eq!(issued.others().sets.len(), MOST);
    }
}
