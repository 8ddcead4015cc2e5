//! The approvals themselves: a bounded table and its changes of state, without waiting or journalling.
//!
//! Time comes in as an argument. `hold` waits on what is here, and journals each change before it asks
//! for it here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::recorder::Change;
use super::{ApprovalView, Question};
use crate::session::SessionId;

/// How long things last and how many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// An approval that nobody waits on stays open this long, for a person who comes late.
    pub(super) open: Duration,
    /// A grant that nobody waits on is kept this long, for the next identical call.
    pub(super) grant: Duration,
    /// A denied call that comes again within this time is denied at once.
    pub(super) denial: Duration,
    /// A decided approval is listed this long.
    pub(super) remembered: Duration,
    /// How often it is looked for what is due.
    pub(super) sweep: Duration,
    /// Calls of a session that may wait at the same time.
    pub(super) holds: usize,
    /// Approvals of a session that may be undecided or unspent at the same time.
    pub(super) open_approvals: usize,
    /// Approvals in all.
    pub(super) records: usize,
}

impl Terms {
    pub(super) const DEFAULT: Self = Self {
        open: Duration::from_mins(15),
        grant: Duration::from_mins(15),
        denial: Duration::from_mins(1),
        remembered: Duration::from_hours(1),
        sweep: Duration::from_secs(5),
        holds: 64,
        open_approvals: 128,
        records: 1024,
    };
}

/// Where an approval stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Its request is being journalled; people do not see it yet.
    Recording,
    /// Its request could not be journalled.
    Unrecorded,
    /// A person may decide.
    Waiting,
    /// A person decided; that is being journalled.
    Deciding,
    /// Granted, and not spent.
    Approved,
    /// A waiter took the grant; that is being journalled.
    Claimed,
    /// Granted and spent.
    Used,
    /// A person said no.
    Denied,
    /// Nobody decided or used it in time, or its session ended.
    Expired,
}

impl State {
    /// The word people and programs read.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Recording | Self::Unrecorded | Self::Waiting | Self::Deciding => "waiting",
            Self::Approved | Self::Claimed => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }

    /// Whether nothing can change any more.
    fn is_final(self) -> bool {
        matches!(
            self,
            Self::Unrecorded | Self::Used | Self::Denied | Self::Expired
        )
    }

    fn is_shown(self) -> bool {
        !matches!(self, Self::Recording | Self::Unrecorded)
    }
}

/// One approval.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) question: Question,
    pub(super) state: State,
    /// Wakes those who wait, after each change of state.
    pub(super) changed: Arc<Notify>,
    pub(super) approver: Option<String>,
    pub(super) reason: Option<String>,
    asked: Instant,
    /// When `state` was entered, or the last waiter left, whichever is later.
    since: Instant,
    waiting: usize,
}

/// All approvals, oldest first.
#[derive(Debug)]
pub(super) struct Registry {
    pub(super) terms: Terms,
    records: BTreeMap<u64, Record>,
    next: u64,
    /// Whether a task expires what is due; it ends when nothing is left to expire.
    pub(super) swept: bool,
}

/// What a call finds when it comes to wait.
#[derive(Debug)]
pub(super) enum Entrance {
    /// It waits on this record now, which was there already.
    Joined(u64),
    /// It waits on this record now, which must be journalled.
    Opened(u64),
    /// A person denied the same call a moment ago.
    Denied(u64),
    /// No place.
    Full,
}

impl Registry {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            terms,
            records: BTreeMap::new(),
            next: 0,
            swept: false,
        }
    }

    /// Takes a place on the approval of an identical call, or on a new one.
    pub(super) fn enter(&mut self, question: Question, now: Instant) -> Entrance {
        self.forget(now);
        let (mut holds, mut open, mut same) = (0, 0, None);
        for (&key, record) in &self.records {
            if record.question.session != question.session {
                continue;
            }
            holds += record.waiting;
            open += usize::from(!record.state.is_final());
            if record.question.fingerprint == question.fingerprint && self.answers(record, now) {
                same = Some(key);
            }
        }
        if let Some(key) = same
            && self
                .records
                .get(&key)
                .is_some_and(|record| record.state == State::Denied)
        {
            return Entrance::Denied(key);
        }
        if holds >= self.terms.holds {
            return Entrance::Full;
        }
        if let Some(key) = same {
            if let Some(record) = self.records.get_mut(&key) {
                record.waiting += 1;
            }
            return Entrance::Joined(key);
        }
        if open >= self.terms.open_approvals || !self.make_room() {
            return Entrance::Full;
        }
        let Some(id) = self.draw_id() else {
            return Entrance::Full;
        };
        let key = self.next;
        self.next += 1;
        let record = Record {
            id,
            question,
            state: State::Recording,
            changed: Arc::default(),
            approver: None,
            reason: None,
            asked: now,
            since: now,
            waiting: 1,
        };
        self.records.insert(key, record);
        Entrance::Opened(key)
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self, key: u64, now: Instant) {
        if let Some(record) = self.records.get_mut(&key) {
            record.waiting = record.waiting.saturating_sub(1);
            if record.waiting == 0 && matches!(record.state, State::Waiting | State::Deciding) {
                record.since = now;
            }
        }
    }

    pub(super) fn get(&self, key: u64) -> Option<&Record> {
        self.records.get(&key)
    }

    /// The approval that people know by this id.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        let mut shown = self
            .records
            .iter()
            .filter(|(_, record)| record.state.is_shown());
        shown
            .find(|(_, record)| record.id == id)
            .map(|(&key, _)| key)
    }

    /// Changes the state if it is still `from`, and wakes those who wait. Says whether it did.
    pub(super) fn change(&mut self, key: u64, from: State, to: State, now: Instant) -> bool {
        let Some(record) = self
            .records
            .get_mut(&key)
            .filter(|record| record.state == from)
        else {
            return false;
        };
        record.state = to;
        if to.is_final() {
            record.question.settle();
        }
        // A grant that comes back keeps its time, or a caller could keep it alive by taking it.
        if (from, to) != (State::Approved, State::Claimed)
            && (from, to) != (State::Claimed, State::Approved)
        {
            record.since = now;
        }
        record.changed.notify_waiters();
        true
    }

    /// Lets a decision that was journalled take effect. Says whether the approval still was there for it.
    pub(super) fn decide(&mut self, key: u64, decision: Change, now: Instant) -> bool {
        let to = if decision.state == "approved" {
            State::Approved
        } else {
            State::Denied
        };
        if let Some(record) = self.records.get_mut(&key)
            && record.state == State::Deciding
        {
            record.approver = decision.approver;
            record.reason = decision.reason;
        }
        self.change(key, State::Deciding, to, now)
    }

    /// Expires what is due, and returns it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(SessionId, String)> {
        let due = |terms: &Terms, record: &Record| match record.state {
            State::Waiting if record.waiting == 0 => now >= record.since + terms.open,
            State::Approved => now >= record.since + terms.grant,
            _ => false,
        };
        self.expire_where(now, due)
    }

    /// Expires all that is open of a session, and returns it.
    pub(super) fn close(&mut self, session: &SessionId, now: Instant) -> Vec<(SessionId, String)> {
        self.expire_where(now, |_, record| {
            record.question.session == *session && !record.state.is_final()
        })
    }

    fn expire_where(
        &mut self,
        now: Instant,
        due: impl Fn(&Terms, &Record) -> bool,
    ) -> Vec<(SessionId, String)> {
        let mut expired = Vec::new();
        for record in self
            .records
            .values_mut()
            .filter(|record| due(&self.terms, record))
        {
            if record.state.is_shown() {
                expired.push((record.question.session.clone(), record.id.clone()));
            }
            record.state = State::Expired;
            record.question.settle();
            record.since = now;
            record.changed.notify_waiters();
        }
        expired
    }

    /// Whether anything may still change by itself.
    pub(super) fn is_at_rest(&self) -> bool {
        self.records.values().all(|record| record.state.is_final())
    }

    /// What people see, oldest first; of long lists of actions and resources the beginning.
    pub(super) fn views(&self, now: Instant) -> Vec<ApprovalView> {
        let remembered = |record: &&Record| {
            !record.state.is_final() || now < record.since + self.terms.remembered
        };
        let shown = self
            .records
            .values()
            .filter(|record| record.state.is_shown());
        shown
            .filter(remembered)
            .map(|record| record.view_with(record.question.abridged(), now))
            .collect()
    }

    /// Whether an identical call is answered by this record rather than by a new one.
    fn answers(&self, record: &Record, now: Instant) -> bool {
        match record.state {
            State::Denied => now < record.since + self.terms.denial,
            State::Approved => now < record.since + self.terms.grant,
            state => !state.is_final(),
        }
    }

    /// Drops what was decided long ago.
    fn forget(&mut self, now: Instant) {
        let terms = self.terms;
        self.records
            .retain(|_, record| !record.is_spare() || now < record.since + terms.remembered);
    }

    /// Drops the oldest decided approval where there are too many; `false` if all are open.
    fn make_room(&mut self) -> bool {
        if self.records.len() < self.terms.records {
            return true;
        }
        let spare = self.records.iter().find(|(_, record)| record.is_spare());
        let spare = spare.map(|(&key, _)| key);
        spare.is_some_and(|key| self.records.remove(&key).is_some())
    }

    /// `a-` and eight random digits that no other approval has; `None` if the generator fails.
    fn draw_id(&self) -> Option<String> {
        // 1024 records among 2^32 ids: a second draw is rare, a fourth means a broken generator.
        (0..4).find_map(|_| {
            let mut bytes = [0; 4];
            aws_lc_rs::rand::fill(&mut bytes).ok()?;
            let id = format!("a-{}", hex::encode(bytes));
            self.records
                .values()
                .all(|record| record.id != id)
                .then_some(id)
        })
    }
}

impl Record {
    /// Decided, and read by all who waited.
    fn is_spare(&self) -> bool {
        self.state.is_final() && self.waiting == 0
    }

    pub(super) fn view(&self, now: Instant) -> ApprovalView {
        self.view_with(self.question.clone(), now)
    }

    fn view_with(&self, question: Question, now: Instant) -> ApprovalView {
        ApprovalView {
            id: self.id.clone(),
            question,
            state: self.state.word().to_owned(),
            age_seconds: now.duration_since(self.asked).as_secs(),
            waiting: self.waiting,
            approver: self.approver.clone(),
            reason: self.reason.clone(),
        }
    }
}
