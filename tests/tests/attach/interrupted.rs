//! What comes between the steps of a session: a daemon that ends, of which the next one goes on or undoes what was begun,
//! and others who attach.

use std::fs;
use std::path::PathBuf;

use guard_tests::guard::Guard;
use guard_tests::installation::hierarchy;
use guard_tests::is_root;

use super::replaced::reaches;
use super::tree::{Place, Servant, attach, attached, interrupt, recovers};
use super::{OPEN, detach, said};

#[test]
fn pins_of_a_daemon_that_ended_as_it_picked_a_session_up_are_no_reason_to_end_it() {
    if !is_root("pins_of_a_daemon_that_ended_as_it_picked_a_session_up_are_no_reason_to_end_it") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("half");
    let mut servant = Servant::start(place.path());
    let path = place.path().display().to_string();
    let (session, _) = attached(&attach(&guard, &["--cgroup", &path]));
    interrupt(&guard);
    let half = guard.directory().join(format!("run/bpf/{session}-1"));
    fs::create_dir(&half).expect("made");
    let _other = recovers(&guard, "half");
    assert_eq!(guard.entries("session_resumed").len(), 1);
    assert!(!half.exists());
    assert!(!reaches(&mut servant));
    detach(&guard, &session);
    assert!(reaches(&mut servant));
}

#[test]
fn a_tree_that_was_about_to_be_confined_is_let_go() {
    if !is_root("a_tree_that_was_about_to_be_confined_is_let_go") {
        return;
    }
    for moved in [false, true] {
        let guard = Guard::new(OPEN, "");
        let place = Place::new("unfinished");
        let mut servant = Servant::start(place.path());
        let (path, pid) = (place.path().display().to_string(), servant.pid.to_string());
        let target = if moved {
            ["--pid", &pid]
        } else {
            ["--cgroup", &path]
        };
        let (session, _) = attached(&attach(&guard, &target));
        interrupt(&guard);
        let saved = guard.directory().join(format!("run/saved/{session}.json"));
        let text = fs::read_to_string(&saved).expect("saved");
        let text = text.replace("\"unfinished\":false", "\"unfinished\":true");
        assert!(text.contains("\"unfinished\":true"));
        fs::write(&saved, text).expect("written");
        let frozen = cgroup_of(servant.pid).join("cgroup.freeze");
        fs::write(frozen, "1").expect("frozen");
        let _other = recovers(&guard, "unfinished");
        assert_eq!(cgroup_of(servant.pid), place.path(), "moved: {moved}");
        assert!(reaches(&mut servant), "moved: {moved}");
        assert!(!saved.exists());
        let refused = guard.entries("refused");
        let told = refused.iter().find(|entry| entry["code"] == "not-resumed");
        assert!(told.is_some_and(|it| it["session"] == session.as_str()));
    }
}

#[test]
fn a_tree_whose_cgroup_is_gone_is_let_go_to_the_one_above() {
    if !is_root("a_tree_whose_cgroup_is_gone_is_let_go_to_the_one_above") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("homeless");
    let mut servant = Servant::start(place.path());
    let pid = servant.pid.to_string();
    let (session, _) = attached(&attach(&guard, &["--pid", &pid]));
    place.remove();
    detach(&guard, &session);
    let above = place.path().parent().expect("it has one");
    assert_eq!(cgroup_of(servant.pid), above);
    interrupt(&guard);
    let _other = recovers(&guard, "homeless");
    assert!(reaches(&mut servant));
}

#[test]
fn a_tree_that_holds_a_part_of_a_session_is_not_attached() {
    if !is_root("a_tree_that_holds_a_part_of_a_session_is_not_attached") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("parent");
    let mut parent = Servant::start_as(place.path(), 0);
    let inner = Place::new("child");
    let procs = inner.path().join("cgroup.procs").display().to_string();
    let child = parent.does(&format!(
        "(state.update(p=subprocess.Popen(['sleep', '600'])), open({procs:?}, 'w').write(str(state['p'].pid)), state['p'].pid)[-1]"
    ));
    let path = inner.path().display().to_string();
    let (session, _) = attached(&attach(&guard, &["--cgroup", &path, "--allow-root"]));
    let pid = parent.pid.to_string();
    let refused = attach(&guard, &["--pid", &pid, "--allow-root"]);
    let told = format!("its process {child} is in guard session {session} already");
    assert!(said(&refused).contains(&told), "{}", said(&refused));
    assert_eq!(parent.does("state['p'].poll()"), "None");
    detach(&guard, &session);
}

#[test]
fn of_two_who_attach_a_tree_at_once_one_is_refused() {
    if !is_root("of_two_who_attach_a_tree_at_once_one_is_refused") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    // The daemon is there already.
    let _other = recovers(&guard, "twice");
    let place = Place::new("twice");
    let mut servant = Servant::start(place.path());
    let path = place.path().display().to_string();
    let both = std::thread::scope(|scope| {
        [(); 2]
            .map(|()| scope.spawn(|| attach(&guard, &["--cgroup", &path])))
            .map(|it| it.join().expect("it ran"))
    });
    let refused: Vec<_> = both.iter().filter(|it| !it.status.success()).collect();
    assert_eq!(refused.len(), 1, "{both:?}");
    assert!(said(refused[0]).contains("confines it, or a part of it, already"));
    assert!(!reaches(&mut servant));
    let session = both.iter().find(|it| it.status.success()).map(attached);
    detach(&guard, &session.expect("one is attached").0);
    assert!(reaches(&mut servant));
}

/// The directory of a process's cgroup.
fn cgroup_of(pid: u32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let name = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let name = name.expect("of version 2");
    let mount = hierarchy().expect("cgroup v2");
    if name.is_empty() {
        mount
    } else {
        mount.join(name)
    }
}
