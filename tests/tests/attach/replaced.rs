//! Another cgroup at the path of the session's: a service that was started again, or processes that left meanwhile.

use std::net::TcpListener;

use guard_tests::guard::Guard;
use guard_tests::installation::eventually;
use guard_tests::is_root;

use super::tree::{Place, Servant, attach, attached, interrupt, recovers};
use super::{OPEN, causes, session_ended};

#[test]
fn what_left_while_there_was_no_daemon_ends_with_its_session() {
    if !is_root("what_left_while_there_was_no_daemon_ends_with_its_session") {
        return;
    }
    for remade in [false, true] {
        let guard = Guard::new(OPEN, "");
        let place = Place::new("left");
        let elsewhere = Place::new("left-elsewhere");
        let mut servant = Servant::start(place.path());
        let path = place.path().display().to_string();
        let (session, _) = attached(&attach(&guard, &["--cgroup", &path]));
        interrupt(&guard);
        elsewhere.admit(servant.pid);
        place.remove();
        let mut unrelated = remade.then(|| {
            place.make();
            Servant::start(place.path())
        });
        let _other = recovers(&guard, "left");
        assert!(servant.dies(), "remade: {remade}");
        assert_eq!(session_ended(&guard, &session), "recovered");
        if let Some(unrelated) = &mut unrelated {
            assert_eq!(unrelated.does("1 + 1"), "2");
            assert!(reaches(unrelated));
        }
    }
}

#[test]
fn a_service_that_is_started_again_is_another_tree() {
    if !is_root("a_service_that_is_started_again_is_another_tree") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("again");
    let servant = Servant::start(place.path());
    let path = place.path().display().to_string();
    let (first, _) = attached(&attach(&guard, &["--cgroup", &path]));
    let again = || {
        place.remove();
        place.make();
        Servant::start(place.path())
    };
    drop(servant);
    let mut servant = again();
    // At once, as ExecStartPre does it.
    let (second, _) = attached(&attach(&guard, &["--cgroup", &path]));
    eventually("the first one's end is on record", || {
        causes(&guard).len() == 1
    })
    .expect("recorded");
    assert_eq!(session_ended(&guard, &first), "exited");
    assert!(!reaches(&mut servant));
    drop(servant);
    // Without guard's being asked it is none of guard's, and comes to no harm.
    let mut servant = again();
    eventually("the second one's end is on record", || {
        causes(&guard).len() == 2
    })
    .expect("recorded");
    assert_eq!(session_ended(&guard, &second), "exited");
    assert!(reaches(&mut servant));
}

/// Whether it gets to a server of the host's that a session does not.
pub(crate) fn reaches(servant: &mut Servant) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.set_nonblocking(true).expect("a setting");
    let port = listener.local_addr().expect("bound").port();
    servant.does(&format!(
        "socket.create_connection(('127.0.0.1', {port}), 3)"
    ));
    listener.accept().is_ok()
}
