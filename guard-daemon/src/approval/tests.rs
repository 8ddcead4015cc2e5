//! Approvals from question to outcome, against a journal in memory that can be slow or fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::recorder::Recorder;
use super::registry::Terms;
use super::{ApprovalError, Approvals, NotRecorded, Outcome, Question};
use crate::record::entry::{Entry, Event};
use crate::session::SessionId;

/// A journal in memory.
#[derive(Clone)]
pub(super) struct Memory {
    entries: Arc<Mutex<Vec<Entry>>>,
    /// States (`used`, …) that fail to be written.
    failing: Arc<Mutex<Vec<&'static str>>>,
    /// One permit is needed for each entry.
    pace: Arc<Semaphore>,
}

impl Memory {
    pub(super) async fn append(&self, entry: Entry) -> Result<(), NotRecorded> {
        self.pace.acquire().await.unwrap().forget();
        let Event::Approval { state, .. } = &entry.event else {
            panic!("not an approval")
        };
        if self.failing.lock().unwrap().contains(&state.as_str()) {
            return Err(NotRecorded("disk full".into()));
        }
        self.entries.lock().unwrap().push(entry);
        Ok(())
    }

    /// The states in the order they were written.
    fn states(&self) -> Vec<String> {
        let entries = self.entries.lock().unwrap();
        let state = |entry: &Entry| match &entry.event {
            Event::Approval { state, .. } => state.clone(),
            _ => panic!("not an approval"),
        };
        entries.iter().map(state).collect()
    }

    fn count(&self, state: &str) -> usize {
        self.states().iter().filter(|s| *s == state).count()
    }
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(40);

fn approvals(terms: Terms) -> (Approvals, Memory) {
    let memory = Memory {
        entries: Arc::default(),
        failing: Arc::default(),
        pace: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
    };
    (
        Approvals::with(Recorder::Memory(memory.clone()), terms),
        memory,
    )
}

/// A question of one session; `fingerprint` tells calls apart.
pub(super) fn question(fingerprint: u8) -> Question {
    Question {
        session: SessionId::parse("0123456789abcdef").unwrap(),
        exchange: "0123456789abcdef-1".to_owned(),
        actions: vec!["s3:DeleteBucket".to_owned()],
        resources: vec!["arn:aws:s3:::a".to_owned()],
        summary: "s3:DeleteBucket in eu-west-1".to_owned(),
        statement: Some("ask".to_owned()),
        requester: "ann: aws s3 rb".to_owned(),
        fingerprint: [fingerprint; 32],
    }
}

/// A hold in a task of its own.
fn holding(
    approvals: &Approvals,
    question: Question,
    patience: Duration,
) -> tokio::task::JoinHandle<Outcome> {
    let approvals = approvals.clone();
    tokio::spawn(async move { approvals.hold(question, patience).await })
}

/// Waits until there is one approval with this many waiters, and returns its id.
async fn waited_on(approvals: &Approvals, waiting: usize) -> String {
    for _ in 0..2_000 {
        let found = approvals
            .list()
            .into_iter()
            .find(|view| view.state == "waiting" && view.waiting == waiting);
        if let Some(view) = found {
            return view.id;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no approval with {waiting} waiting: {:?}", approvals.list());
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

async fn approve(approvals: &Approvals, id: &str) {
    approvals
        .decide(id, true, "bob".to_owned(), None)
        .await
        .unwrap();
}

fn approved(id: &str) -> Outcome {
    Outcome::Approved {
        approval: id.to_owned(),
    }
}

fn timed_out(id: &str) -> Outcome {
    Outcome::TimedOut {
        approval: id.to_owned(),
    }
}

#[tokio::test]
async fn an_approved_call_runs_and_each_step_is_journalled() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let call = holding(&approvals, question(1), LONG);
    let id = waited_on(&approvals, 1).await;
    assert!(id.len() == 10 && id.starts_with("a-"), "{id}");
    let view = approvals
        .decide(&id, true, "bob (1001)".to_owned(), Some("ok".to_owned()))
        .await
        .unwrap();
    assert_eq!(
        (view.state.as_str(), view.approver.as_deref()),
        ("approved", Some("bob (1001)"))
    );
    assert_eq!(call.await.unwrap(), approved(&id));
    assert_eq!(memory.states(), ["requested", "approved", "used"]);
    let entries = serde_json::to_value(&*memory.entries.lock().unwrap()).unwrap();
    assert_eq!(entries[1]["approver"], "bob (1001)");
    assert_eq!(entries[1]["reason"], "ok");
    assert_eq!(entries[1]["session"], "0123456789abcdef");
    assert_eq!(approvals.show(&id).unwrap().state, "used");
}

#[tokio::test]
async fn a_denied_call_is_denied_again_for_a_while() {
    let (approvals, memory) = approvals(Terms {
        denial: SHORT,
        ..Terms::DEFAULT
    });
    let calls = [
        holding(&approvals, question(1), LONG),
        holding(&approvals, question(1), LONG),
    ];
    let id = waited_on(&approvals, 2).await;
    approvals
        .decide(&id, false, "bob".to_owned(), Some("no".to_owned()))
        .await
        .unwrap();
    let denied = Outcome::Denied {
        approval: id.clone(),
        reason: Some("no".to_owned()),
    };
    for call in calls {
        assert_eq!(call.await.unwrap(), denied);
    }
    assert_eq!(approvals.hold(question(1), LONG).await, denied);
    // Another call is another question.
    assert_ne!(approvals.hold(question(2), Duration::ZERO).await, denied);
    tokio::time::sleep(SHORT).await;
    assert_ne!(approvals.hold(question(1), Duration::ZERO).await, denied);
    assert_eq!(memory.count("denied"), 1);
}

#[tokio::test]
async fn a_grant_goes_to_exactly_one_of_those_that_wait() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let approvals = approvals.clone();
        calls.spawn(async move { approvals.hold(question(1), LONG).await });
    }
    let id = waited_on(&approvals, 8).await;
    approve(&approvals, &id).await;
    assert_eq!(calls.join_next().await.unwrap().unwrap(), approved(&id));
    // The others ask anew, together.
    let next = waited_on(&approvals, 7).await;
    assert_ne!(next, id);
    approvals
        .decide(&next, false, "bob".to_owned(), None)
        .await
        .unwrap();
    while let Some(outcome) = calls.join_next().await {
        assert_eq!(
            outcome.unwrap(),
            Outcome::Denied {
                approval: next.clone(),
                reason: None
            }
        );
    }
    assert_eq!(memory.count("used"), 1);
}

#[tokio::test]
async fn a_late_approval_is_kept_for_the_retry_and_used_once() {
    let (approvals, _) = approvals(Terms::DEFAULT);
    let Outcome::TimedOut { approval } = approvals.hold(question(1), SHORT).await else {
        panic!("not timed out");
    };
    // The retry joins the same approval.
    assert_eq!(
        approvals.hold(question(1), SHORT).await,
        timed_out(&approval)
    );
    approve(&approvals, &approval).await;
    // Another call does not get it.
    assert!(matches!(
        approvals.hold(question(2), SHORT).await,
        Outcome::TimedOut { .. }
    ));
    assert_eq!(
        approvals.hold(question(1), Duration::ZERO).await,
        approved(&approval)
    );
    let again = approvals.hold(question(1), SHORT).await;
    assert!(
        matches!(&again, Outcome::TimedOut { approval: other } if *other != approval),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_grant_is_bound_to_its_session() {
    let (approvals, _) = approvals(Terms::DEFAULT);
    let Outcome::TimedOut { approval } = approvals.hold(question(1), SHORT).await else {
        panic!("not timed out");
    };
    approve(&approvals, &approval).await;
    let other = Question {
        session: SessionId::parse("fedcba9876543210").unwrap(),
        ..question(1)
    };
    assert_ne!(approvals.hold(other, SHORT).await, approved(&approval));
    assert_eq!(
        approvals.hold(question(1), SHORT).await,
        approved(&approval)
    );
}

#[tokio::test]
async fn open_approvals_and_grants_expire() {
    let short = Terms {
        open: SHORT,
        grant: SHORT,
        sweep: Duration::from_millis(5),
        ..Terms::DEFAULT
    };
    let (approvals, memory) = approvals(short);
    // While a call waits, its approval does not expire.
    let Outcome::TimedOut { approval } = approvals.hold(question(1), 3 * SHORT).await else {
        panic!("not timed out");
    };
    assert_eq!(memory.states(), ["requested"]);
    until("expired", || memory.count("expired") == 1).await;
    let late = approvals
        .decide(&approval, true, "bob".to_owned(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(
            late,
            ApprovalError::NotOpen {
                state: "expired",
                ..
            }
        ),
        "{late}"
    );
    // A grant that nobody used.
    let Outcome::TimedOut { approval } = approvals.hold(question(1), Duration::ZERO).await else {
        panic!("not timed out");
    };
    until("waiting", || approvals.show(&approval).is_some()).await;
    approve(&approvals, &approval).await;
    until("expired again", || memory.count("expired") == 2).await;
    assert_ne!(
        approvals.hold(question(1), Duration::ZERO).await,
        approved(&approval)
    );
    // With nothing open the sweeper rests, and starts again with the next.
    until("expired a third time", || memory.count("expired") == 3).await;
    until("at rest", || !approvals.shared.registry().swept).await;
    approvals.hold(question(1), Duration::ZERO).await;
    until("expired a fourth time", || memory.count("expired") == 4).await;
}

#[tokio::test]
async fn nothing_happens_that_the_journal_does_not_take() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let failing = |states: &[&'static str]| *memory.failing.lock().unwrap() = states.to_vec();
    failing(&["requested"]);
    assert_eq!(
        approvals.hold(question(1), LONG).await,
        Outcome::NotRecorded
    );
    assert!(approvals.list().is_empty());
    failing(&["approved", "used"]);
    let call = holding(&approvals, question(1), LONG);
    let id = waited_on(&approvals, 1).await;
    let error = approvals
        .decide(&id, true, "bob".to_owned(), None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ApprovalError::NotRecorded { .. }),
        "{error}"
    );
    assert_eq!(approvals.show(&id).unwrap().state, "waiting");
    failing(&["used"]);
    approve(&approvals, &id).await;
    assert_eq!(call.await.unwrap(), Outcome::NotRecorded);
    // It did not run, so the grant is still there.
    failing(&[]);
    assert_eq!(approvals.hold(question(1), LONG).await, approved(&id));
    assert_eq!(memory.states(), ["requested", "approved", "used"]);
}

#[tokio::test]
async fn a_grant_is_free_again_if_its_taker_leaves_while_its_use_is_journalled() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let call = holding(&approvals, question(1), LONG);
    let id = waited_on(&approvals, 1).await;
    // Room for `approved`, none for `used`.
    memory.pace.forget_permits(Semaphore::MAX_PERMITS);
    memory.pace.add_permits(1);
    approve(&approvals, &id).await;
    until("taken", || {
        approvals
            .shared
            .registry()
            .views(tokio::time::Instant::now())[0]
            .state
            == "approved"
    })
    .await;
    tokio::time::sleep(SHORT).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    memory.pace.add_permits(100);
    until("withdrawn", || memory.count("withdrawn") == 1).await;
    assert_eq!(approvals.hold(question(1), LONG).await, approved(&id));
    assert_eq!(
        memory.states(),
        ["requested", "approved", "withdrawn", "used"]
    );
}

#[tokio::test]
async fn a_withdrawal_that_cannot_be_journalled_voids_the_grant() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let call = holding(&approvals, question(1), LONG);
    let id = waited_on(&approvals, 1).await;
    memory.pace.forget_permits(Semaphore::MAX_PERMITS);
    memory.pace.add_permits(1);
    approve(&approvals, &id).await;
    tokio::time::sleep(SHORT).await;
    call.abort();
    let _ = call.await;
    memory.failing.lock().unwrap().push("withdrawn");
    memory.pace.add_permits(100);
    until("void", || approvals.show(&id).unwrap().state == "expired").await;
    assert_ne!(approvals.hold(question(1), SHORT).await, approved(&id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_at_any_moment_neither_loses_nor_doubles_a_grant() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let mut lost_to_leaving = 0;
    for round in 0..400_u64 {
        let call = holding(&approvals, question(1), LONG);
        let id = waited_on(&approvals, 1).await;
        let leaving = tokio::spawn(async move {
            for _ in 0..round % 16 {
                tokio::task::yield_now().await;
            }
            call.abort();
            call.await.ok()
        });
        approve(&approvals, &id).await;
        if let Some(outcome) = leaving.await.unwrap() {
            assert_eq!(outcome, approved(&id), "round {round}");
        } else {
            // It left, so the next identical call gets the very same grant.
            lost_to_leaving += 1;
            let outcome = approvals.hold(question(1), LONG).await;
            assert_eq!(outcome, approved(&id), "round {round}");
        }
        let used = memory.count("used") - memory.count("withdrawn");
        assert!(
            used <= usize::try_from(round).unwrap() + 1,
            "round {round}: {used}"
        );
        memory.entries.lock().unwrap().clear();
        assert_eq!(approvals.show(&id).unwrap().state, "used", "round {round}");
    }
    assert!(lost_to_leaving > 0, "the race was never run");
}

#[tokio::test]
async fn an_approval_is_decided_once() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let call = holding(&approvals, question(1), LONG);
    let id = waited_on(&approvals, 1).await;
    let decide = |yes| approvals.decide(&id, yes, "bob".to_owned(), None);
    let (first, second) = tokio::join!(decide(true), decide(false));
    assert!(
        first.is_ok() && matches!(second, Err(ApprovalError::NotOpen { .. })),
        "{second:?}"
    );
    assert_eq!(call.await.unwrap(), approved(&id));
    let unknown = approvals
        .decide("a-00000000x", true, "bob".to_owned(), None)
        .await;
    assert!(matches!(unknown, Err(ApprovalError::NotFound(_))));
    let long = approvals
        .decide(&id, true, "bob".to_owned(), Some("x".repeat(1025)))
        .await;
    assert!(matches!(long, Err(ApprovalError::ReasonTooLong)));
    assert_eq!(memory.count("denied"), 0);
}

#[tokio::test]
async fn a_decision_once_begun_is_carried_out() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let call = holding(&approvals, question(1), LONG);
    let id = waited_on(&approvals, 1).await;
    memory.pace.forget_permits(Semaphore::MAX_PERMITS);
    let impatient =
        tokio::time::timeout(SHORT, approvals.decide(&id, true, "bob".to_owned(), None));
    assert!(impatient.await.is_err());
    memory.pace.add_permits(100);
    assert_eq!(call.await.unwrap(), approved(&id));
}

#[tokio::test]
async fn a_session_that_ends_takes_its_approvals_along() {
    let (approvals, memory) = approvals(Terms::DEFAULT);
    let Outcome::TimedOut { approval: granted } = approvals.hold(question(1), SHORT).await else {
        panic!("not timed out");
    };
    approve(&approvals, &granted).await;
    let call = holding(&approvals, question(2), LONG);
    let waiting = waited_on(&approvals, 1).await;
    let other = Question {
        session: SessionId::parse("fedcba9876543210").unwrap(),
        ..question(1)
    };
    assert!(matches!(
        approvals.hold(other, Duration::ZERO).await,
        Outcome::TimedOut { .. }
    ));
    approvals.close_session(&question(1).session).await;
    assert_eq!(call.await.unwrap(), timed_out(&waiting));
    assert_eq!(memory.count("expired"), 2);
    assert_ne!(approvals.hold(question(1), SHORT).await, approved(&granted));
    let states: Vec<_> = approvals
        .list()
        .into_iter()
        .map(|view| view.state)
        .collect();
    assert_eq!(states, ["expired", "expired", "waiting", "waiting"]);
}

#[tokio::test]
async fn holds_and_approvals_are_bounded() {
    let terms = Terms {
        holds: 3,
        open_approvals: 4,
        records: 6,
        ..Terms::DEFAULT
    };
    let (approvals, _) = approvals(terms);
    let other = |n| Question {
        session: SessionId::parse("fedcba9876543210").unwrap(),
        ..question(n)
    };
    // Calls that wait.
    let calls: Vec<_> = (0..3)
        .map(|_| holding(&approvals, question(1), LONG))
        .collect();
    let id = waited_on(&approvals, 3).await;
    assert_eq!(approvals.hold(question(1), LONG).await, Outcome::Full);
    assert_eq!(approvals.hold(question(2), LONG).await, Outcome::Full);
    assert!(matches!(
        approvals.hold(other(1), Duration::ZERO).await,
        Outcome::TimedOut { .. }
    ));
    for call in calls {
        call.abort();
        let _ = call.await;
    }
    // Open approvals of a session: the one above, three more, and then no more.
    for n in 2..5 {
        assert!(
            matches!(
                approvals.hold(question(n), SHORT).await,
                Outcome::TimedOut { .. }
            ),
            "{n}"
        );
    }
    assert_eq!(approvals.hold(question(5), LONG).await, Outcome::Full);
    // All approvals: six, until one is decided, which makes room.
    assert!(matches!(
        approvals.hold(other(2), Duration::ZERO).await,
        Outcome::TimedOut { .. }
    ));
    assert_eq!(approvals.hold(other(3), LONG).await, Outcome::Full);
    approvals
        .decide(&id, false, "bob".to_owned(), None)
        .await
        .unwrap();
    assert!(matches!(
        approvals.hold(other(3), Duration::ZERO).await,
        Outcome::TimedOut { .. }
    ));
    assert!(approvals.show(&id).is_none());
}
