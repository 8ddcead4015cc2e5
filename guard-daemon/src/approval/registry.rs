//! The bookkeeping of approvals: who waits, what was decided, what is still worth something.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::{ApprovalView, Question};
use crate::session::SessionId;

/// Open approvals a session may have.
const OPEN_PER_SESSION: usize = 64;
/// Approvals remembered in all; decided ones go first.
const REMEMBERED: usize = 1024;
/// How long a question, or a grant that was not used, stays good.
const GOOD_FOR: Duration = Duration::from_secs(15 * 60);
/// How long a denial answers the same call at once.
const DENIAL_STANDS: Duration = Duration::from_secs(60);

/// All approvals of a daemon.
#[derive(Default)]
pub(super) struct Registry {
    records: HashMap<String, Record>,
    /// Ids, oldest first.
    order: VecDeque<String>,
}

struct Record {
    question: Question,
    state: State,
    asked: Instant,
    /// When it was last asked for or decided.
    touched: Instant,
    waiting: usize,
    approver: Option<String>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Waiting,
    /// A decision is being recorded.
    Deciding,
    Approved,
    /// The use of the grant is being recorded.
    Claimed,
    Used,
    Denied,
    Expired,
}

/// What asking came to.
pub(super) enum Asked {
    /// A new approval.
    New(String),
    /// An approval that was there.
    Joined(String),
    /// The session has too many open.
    Full,
}

/// How things stand for one who waits.
pub(super) enum Standing {
    /// Nobody decided.
    Waiting,
    /// Granted, and this caller has it.
    Claimed,
    /// Refused, with what the person said.
    Denied(Option<String>),
    /// Its session ended.
    Expired,
    /// The question could not be recorded.
    Gone,
}

impl State {
    fn is_open(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Deciding | Self::Approved | Self::Claimed
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::Waiting | Self::Deciding => "waiting",
            Self::Approved | Self::Claimed => "approved",
            Self::Used => "used",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}

impl Registry {
    /// Finds the open (or freshly denied) approval of this call, or opens one.
    pub(super) fn ask(&mut self, question: Question, now: Instant) -> Asked {
        let known = self.records.iter_mut().find(|(_, record)| {
            record.question.fingerprint == question.fingerprint
                && record.question.session == question.session
                && (record.state.is_open()
                    || record.state == State::Denied && now < record.touched + DENIAL_STANDS)
        });
        if let Some((id, record)) = known {
            record.waiting += 1;
            if record.state == State::Waiting {
                record.touched = now;
            }
            return Asked::Joined(id.clone());
        }
        let open = self
            .records
            .values()
            .filter(|record| record.question.session == question.session && record.state.is_open())
            .count();
        if open >= OPEN_PER_SESSION || !self.make_room() {
            return Asked::Full;
        }
        let id = self.new_id();
        let record = Record {
            question,
            state: State::Waiting,
            asked: now,
            touched: now,
            waiting: 1,
            approver: None,
            reason: None,
        };
        self.records.insert(id.clone(), record);
        self.order.push_back(id.clone());
        Asked::New(id)
    }

    /// A caller no longer waits.
    pub(super) fn leave(&mut self, id: &str, now: Instant) {
        if let Some(record) = self.records.get_mut(id) {
            record.waiting = record.waiting.saturating_sub(1);
            if record.state == State::Waiting {
                record.touched = now;
            }
        }
    }

    /// Takes the grant, where there is one.
    pub(super) fn claim(&mut self, id: &str) -> Standing {
        let Some(record) = self.records.get_mut(id) else {
            return Standing::Gone;
        };
        match record.state {
            State::Approved => {
                record.state = State::Claimed;
                Standing::Claimed
            }
            State::Denied => Standing::Denied(record.reason.clone()),
            State::Expired => Standing::Expired,
            // Used by another caller: this one goes on waiting for nothing, and times out.
            State::Waiting | State::Deciding | State::Claimed | State::Used => Standing::Waiting,
        }
    }

    pub(super) fn spend(&mut self, id: &str) {
        self.change(id, State::Claimed, State::Used);
    }

    pub(super) fn give_back(&mut self, id: &str) {
        self.change(id, State::Claimed, State::Approved);
    }

    /// Keeps others from deciding meanwhile. The state's name where it is not waiting.
    pub(super) fn begin_decision(&mut self, id: &str) -> Result<SessionId, &'static str> {
        let record = self.records.get_mut(id).ok_or("gone")?;
        if record.state != State::Waiting {
            return Err(if record.state == State::Deciding {
                "being decided"
            } else {
                record.state.name()
            });
        }
        record.state = State::Deciding;
        Ok(record.question.session.clone())
    }

    pub(super) fn decide(
        &mut self,
        id: &str,
        approve: bool,
        approver: String,
        reason: Option<String>,
        now: Instant,
    ) {
        let Some(record) = self.records.get_mut(id) else {
            return;
        };
        // A session that ended meanwhile expired it.
        if record.state == State::Deciding {
            record.state = if approve {
                State::Approved
            } else {
                State::Denied
            };
            record.touched = now;
        }
        record.approver = Some(approver);
        record.reason = reason;
    }

    /// A decision came to nothing.
    pub(super) fn end_decision(&mut self, id: &str) {
        self.change(id, State::Deciding, State::Waiting);
    }

    /// An approval whose question could not be recorded never was.
    pub(super) fn forget(&mut self, id: &str) {
        self.records.remove(id);
        self.order.retain(|known| known != id);
    }

    /// Expires what is too old; nobody waits for it.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(SessionId, String)> {
        self.expire_where(now, |record, now| {
            record.waiting == 0 && now >= record.touched + GOOD_FOR
        })
    }

    /// Expires what a session asked for.
    pub(super) fn close(&mut self, session: &SessionId, now: Instant) -> Vec<(SessionId, String)> {
        self.expire_where(now, |record, _| record.question.session == *session)
    }

    /// The id that `text` is, or the only one that begins so.
    pub(super) fn find(&self, text: &str) -> Option<String> {
        if self.records.contains_key(text) {
            return Some(text.to_owned());
        }
        let mut found = self
            .records
            .keys()
            .filter(|id| !text.is_empty() && id.starts_with(text));
        match (found.next(), found.next()) {
            (Some(id), None) => Some(id.clone()),
            _ => None,
        }
    }

    pub(super) fn views(&self, now: Instant) -> Vec<ApprovalView> {
        let view = |id: &String| {
            let record = self.records.get(id)?;
            Some(ApprovalView {
                id: id.clone(),
                question: record.question.clone(),
                state: record.state.name().to_owned(),
                age_seconds: now.duration_since(record.asked).as_secs(),
                waiting: record.waiting,
                approver: record.approver.clone(),
                reason: record.reason.clone(),
            })
        };
        self.order.iter().filter_map(view).collect()
    }

    fn expire_where(
        &mut self,
        now: Instant,
        over: impl Fn(&Record, Instant) -> bool,
    ) -> Vec<(SessionId, String)> {
        let mut expired = Vec::new();
        for (id, record) in &mut self.records {
            let may = matches!(
                record.state,
                State::Waiting | State::Deciding | State::Approved
            );
            if may && over(record, now) {
                record.state = State::Expired;
                expired.push((record.question.session.clone(), id.clone()));
            }
        }
        expired
    }

    fn change(&mut self, id: &str, from: State, to: State) {
        if let Some(record) = self.records.get_mut(id)
            && record.state == from
        {
            record.state = to;
        }
    }

    /// Forgets the oldest decided approval where there are too many.
    fn make_room(&mut self) -> bool {
        if self.order.len() < REMEMBERED {
            return true;
        }
        let over = |id: &String| {
            self.records
                .get(id)
                .is_none_or(|r| !r.state.is_open() && r.waiting == 0)
        };
        let Some(oldest) = self.order.iter().position(over) else {
            return false;
        };
        if let Some(id) = self.order.remove(oldest) {
            self.records.remove(&id);
        }
        true
    }

    fn new_id(&self) -> String {
        loop {
            let mut bytes = [0; 4];
            // Ids are names, not secrets: a collision is drawn again.
            let _ = aws_lc_rs::rand::fill(&mut bytes);
            let id = format!("a-{}", hex::encode(bytes));
            if !self.records.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_unused_grants_expire_when_nobody_waits() {
        let now = Instant::now();
        let mut registry = Registry::default();
        let session = SessionId::random();
        let question = |call| Question {
            session: session.clone(),
            exchange: String::new(),
            actions: Vec::new(),
            resources: Vec::new(),
            summary: String::new(),
            statement: None,
            requester: String::new(),
            fingerprint: [call; 32],
        };
        let Asked::New(left) = registry.ask(question(1), now) else {
            panic!("new")
        };
        let Asked::New(held) = registry.ask(question(2), now) else {
            panic!("new")
        };
        registry.leave(&left, now);
        assert!(
            registry
                .expire(now + GOOD_FOR - Duration::from_secs(1))
                .is_empty()
        );
        assert_eq!(
            registry.expire(now + GOOD_FOR),
            [(session.clone(), left.clone())]
        );
        assert!(matches!(registry.begin_decision(&left), Err("expired")));
        assert!(registry.begin_decision(&held).is_ok());
        assert!(matches!(
            registry.begin_decision(&held),
            Err("being decided")
        ));
        registry.decide(&held, true, "root".into(), None, now);
        registry.leave(&held, now);
        assert_eq!(registry.expire(now + GOOD_FOR), [(session, held)]);
    }
}
