//! `guard attach` and `guard detach`: a tree that runs already is confined by the hooks alone, and let go.

mod interrupted;
mod replaced;
mod tree;

use std::net::TcpListener;
use std::process::Output;

use guard_tests::guard::{Guard, succeeded};
use guard_tests::installation::eventually;
use guard_tests::stand::Stand;
use guard_tests::{is_root, python_program};

use tree::{Place, Servant, attach, attached, interrupt, recovers};

const OPEN: &str = "default = \"allow\"\n";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn detach(guard: &Guard, session: &str) {
    succeeded(&guard.command(&["detach", session]).output().expect("runs"));
}

/// How a session ended.
fn session_ended(guard: &Guard, session: &str) -> String {
    let ends = guard.entries("session_ended");
    let end = ends.iter().find(|entry| entry["session"] == session);
    let cause = end.and_then(|entry| entry["cause"].as_str());
    cause.expect("its end is on record").to_owned()
}

fn causes(guard: &Guard) -> Vec<String> {
    let ended = guard.entries("session_ended");
    let cause = |entry: &serde_json::Value| entry["cause"].as_str().unwrap_or_default().to_owned();
    ended.iter().map(cause).collect()
}

#[test]
fn a_running_tree_is_confined_and_let_go() {
    if !is_root("a_running_tree_is_confined_and_let_go") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let connect = format!("socket.create_connection(('127.0.0.1', {port}), 3).send(b'x')");
    let place = Place::new("let-go");
    let mut servant = Servant::start(place.path());
    assert_eq!(servant.does(&connect), "1");
    let before = format!(
        "state.update(old=socket.create_connection(('127.0.0.1', {port}), 3)) or state['old'].send(b'x')"
    );
    assert_eq!(servant.does(&before), "1");

    let (session, _) = attached(&attach(
        &guard,
        &["--cgroup", &place.path().display().to_string()],
    ));
    let old = servant.does("[state['old'].send(b'x') for _ in range(3)]");
    assert!(
        [
            "ConnectionAbortedError",
            "ConnectionResetError",
            "BrokenPipeError"
        ]
        .iter()
        .any(|error| old.starts_with(error)),
        "the connection from before is gone: {old}"
    );
    let refused = servant.does(&format!(
        "[state.update(s=socket.create_connection(('127.0.0.1', {port}), 3)), state['s'].send(b'GET / HTTP/1.0\\r\\n\\r\\n'), state['s'].recv(100)]"
    ));
    assert!(
        refused.contains("403") || refused.starts_with("ConnectionResetError"),
        "the host's loopback is not reached: {refused}"
    );
    let own = "[state.update(l=socket.create_server(('127.0.0.1', 0))), state.update(c=socket.create_connection(state['l'].getsockname(), 3)), state['l'].accept()[0].send(b'own'), state['c'].recv(3)][-1]";
    assert_eq!(servant.does(own), "b'own'", "its own loopback is its own");
    let udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))";
    assert!(servant.does(udp).starts_with("PermissionError"));
    let socket = guard.directory().join("run/guard.sock");
    let control = servant.does(&format!(
        "[state.update(u=socket.socket(socket.AF_UNIX)), state['u'].connect('{}')]",
        socket.display()
    ));
    assert!(control.starts_with("PermissionError"), "{control}");

    let status = succeeded(&guard.command(&["status"]).output().expect("runs"));
    assert!(
        status.contains(&session)
            && status.contains("not enforced: ")
            && status.contains("attached"),
        "{status}"
    );
    detach(&guard, &session);
    assert_eq!(servant.does(&connect), "1");
    assert_eq!(causes(&guard), ["detached"]);
}

#[test]
fn listed_ports_of_the_hosts_loopback_are_reached_and_recorded() {
    if !is_root("listed_ports_of_the_hosts_loopback_are_reached_and_recorded") {
        return;
    }
    let service = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = service.local_addr().expect("bound").port();
    let guard = Guard::new(
        &format!("default = \"deny\"\n[network]\nallow_loopback = [{port}]\n"),
        "",
    );
    let place = Place::new("listed");
    let mut servant = Servant::start(place.path());
    let (session, _) = attached(&attach(
        &guard,
        &["--cgroup", &place.path().display().to_string()],
    ));
    let asking = std::thread::spawn(move || {
        let (mut stream, _) = service.accept().expect("a connection");
        std::io::Write::write_all(&mut stream, b"hello").expect("written");
    });
    let connect = format!("socket.create_connection(('127.0.0.1', {port}), 20).recv(5)");
    assert_eq!(servant.does(&connect), "b'hello'");
    asking.join().expect("served");
    let passed = guard.entries("connection_passed");
    assert_eq!(passed.len(), 1, "{passed:#?}");
    assert_eq!(passed[0]["host"], "localhost");
    assert_eq!(passed[0]["port"], port);
    assert!(
        passed[0]["process"]["pid"]
            .as_u64()
            .is_some_and(|pid| pid > 1),
        "{passed:#?}"
    );
    detach(&guard, &session);
}

#[test]
fn an_attached_trees_new_programs_use_aws_through_guard() {
    if !is_root("an_attached_trees_new_programs_use_aws_through_guard") {
        return;
    }
    let guard = Guard::new(
        "default = \"deny\"\n[[statement]]\neffect = \"allow\"\naction = \"s3:ListAllMyBuckets\"\n",
        "",
    );
    let place = Place::new("aws");
    let mut servant = Servant::start(place.path());
    let (session, environment) = attached(&attach(
        &guard,
        &["--cgroup", &place.path().display().to_string()],
    ));
    let mut aws = |arguments: &str| {
        servant.does(&format!(
            "subprocess.run(['sh', '-c', '. {}; exec {} {arguments}'], capture_output=True, text=True)",
            environment.display(),
            python_program("aws").display(),
        ))
    };
    let listed = aws("s3api list-buckets --query Owner.ID");
    assert!(listed.contains("returncode=0"), "{listed}");
    let denied = aws("s3api delete-bucket --bucket attached-bucket");
    assert!(denied.contains("AccessDenied"), "{denied}");
    assert!(Stand::shared().requests("attached-bucket").is_empty());
    let decided = guard.entries("exchange_decided");
    assert_eq!(decided.len(), 2, "{decided:#?}");
    assert!(
        decided
            .iter()
            .all(|entry| entry["session"] == session.as_str())
    );
    detach(&guard, &session);
}

#[test]
fn a_running_program_gets_dummies_from_the_metadata_services() {
    if !is_root("a_running_program_gets_dummies_from_the_metadata_services") {
        return;
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    let place = Place::new("metadata");
    let mut servant = Servant::start(place.path());
    let (session, environment) = attached(&attach(
        &guard,
        &["--cgroup", &place.path().display().to_string()],
    ));
    // The program that ran before asks as its SDK would.
    let ask = |request: &str| {
        format!(
            "__import__('urllib.request').request.urlopen(__import__('urllib.request').request.Request({request}), \
             timeout=10).read().decode()"
        )
    };
    let at = "'http://169.254.169.254/latest";
    let token = ask(&format!(
        "{at}/api/token', method='PUT', headers={{'X-aws-ec2-metadata-token-ttl-seconds': '60'}}"
    ));
    let given = servant.does(&ask(&format!(
        "{at}/meta-data/iam/security-credentials/guard', headers={{'X-aws-ec2-metadata-token': {token}}}"
    )));
    let served = guard.entries("dummies_served");
    let key = served[0]["dummy_key"].as_str().expect("a key");
    assert!(key.starts_with("ASIA") && given.contains(key), "{given}");
    let task = servant.does(&ask("'http://169.254.170.2/v2/credentials/0b2ac0de'"));
    assert!(task.contains(key), "{task}");
    // A new one signs with them.
    let bare = "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_EC2_METADATA_DISABLED";
    let mut aws = |before: &str| {
        servant.does(&format!(
            "subprocess.run(['sh', '-c', '. {}; {before}; exec {} sts get-caller-identity'], capture_output=True, text=True)",
            environment.display(),
            python_program("aws").display(),
        ))
    };
    let said = aws(bare);
    assert!(said.contains("returncode=0"), "{said}");
    // What it had from elsewhere is of no use, and on record.
    let foreign = "AKIAFOREIGNATTACHEDX";
    let said = aws(&format!(
        "export AWS_ACCESS_KEY_ID={foreign} AWS_SECRET_ACCESS_KEY=x"
    ));
    assert!(!said.contains("returncode=0"), "{said}");
    assert!(Stand::shared().requests(foreign).is_empty());
    let entries = guard.journal();
    let mentions = |key: &str| {
        entries.iter().any(|entry| {
            entry["presented_key"] == key
                || entry["detail"].as_str().is_some_and(|it| it.contains(key))
        })
    };
    assert!(mentions(key) && mentions(foreign), "{entries:#?}");
    detach(&guard, &session);
}

#[test]
fn a_process_and_its_descendants_are_moved_and_moved_back() {
    if !is_root("a_process_and_its_descendants_are_moved_and_moved_back") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("moved");
    let mut servant = Servant::start(place.path());
    let mut bystander = Servant::start(place.path());
    servant.does("state.update(child=subprocess.Popen(['sleep', '60']))");
    let pid = servant.pid.to_string();
    let (session, _) = attached(&attach(&guard, &["--pid", &pid]));
    let group = "open('/proc/self/cgroup').read()";
    let child = "open(f'/proc/{state[\"child\"].pid}/cgroup').read()";
    assert!(servant.does(group).contains(&session));
    assert!(servant.does(child).contains(&session));
    assert!(!bystander.does(group).contains(&session));
    let udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))";
    assert!(servant.does(udp).starts_with("PermissionError"));
    assert_eq!(bystander.does(udp), "1");
    detach(&guard, &session);
    let back = place.path().file_name().expect("a name").to_string_lossy();
    assert!(servant.does(group).contains(&*back));
    assert!(servant.does(child).contains(&*back));
    assert_eq!(servant.does(udp), "1");
}

#[test]
fn what_cannot_be_confined_is_said_and_left_alone() {
    if !is_root("what_cannot_be_confined_is_said_and_left_alone") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("root");
    let path = place.path().display().to_string();
    for (arguments, word) in [
        (&["--cgroup", "/"][..], "not the root"),
        (&["--cgroup", "/no/such/group"], "there is no cgroup"),
        (&["--cgroup", &path], "nothing runs there"),
        (&["--pid", "1"], "smaller cgroup"),
        (&["--pid", "4194305"], "no process 4194305"),
        (&["--unit", "no-such-unit.service"], "no-such-unit.service"),
        (&[], "required"),
    ] {
        let output = attach(&guard, arguments);
        let text = said(&output);
        assert!(!output.status.success(), "{arguments:?}");
        // Where there is no systemctl, the error names it instead of the unit.
        assert!(
            text.contains(word) || text.contains("systemctl"),
            "{arguments:?}: {text}"
        );
    }
    let mut root = Servant::start_as(place.path(), 0);
    let output = attach(&guard, &["--cgroup", &path]);
    assert!(said(&output).contains("--allow-root"), "{}", said(&output));
    let udp = "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))";
    assert_eq!(root.does(udp), "1", "it is left alone");
    let (session, _) = attached(&attach(&guard, &["--cgroup", &path, "--allow-root"]));
    assert!(root.does(udp).starts_with("PermissionError"));
    let again = attach(&guard, &["--cgroup", &path, "--allow-root"]);
    assert!(said(&again).contains("already"), "{}", said(&again));
    detach(&guard, &session);
    let unknown = guard.command(&["detach", &session]).output().expect("runs");
    assert!(
        said(&unknown).contains("no such session"),
        "{}",
        said(&unknown)
    );
}

#[test]
fn an_attached_tree_is_closed_without_a_daemon_and_picked_up_by_the_next() {
    if !is_root("an_attached_tree_is_closed_without_a_daemon_and_picked_up_by_the_next") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("resumed");
    let mut servant = Servant::start(place.path());
    let path = place.path().display().to_string();
    let (session, _) = attached(&attach(&guard, &["--cgroup", &path]));
    interrupt(&guard);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let connect = format!("socket.create_connection(('127.0.0.1', {port}), 3)");
    let refused = servant.does(&connect);
    assert!(refused.starts_with("ConnectionRefusedError"), "{refused}");
    let (_other, _servant, second) = recovers(&guard, "resumed");
    assert_eq!(guard.entries("session_resumed").len(), 1);
    let status = succeeded(&guard.command(&["status"]).output().expect("runs"));
    assert!(
        status.contains(&session) && status.contains(&second),
        "{status}"
    );
    assert!(!servant.does(&connect).starts_with("ConnectionRefusedError"));
    detach(&guard, &session);
    detach(&guard, &second);
    assert!(servant.does(&connect).starts_with("<socket"));
}

#[test]
fn a_tree_whose_hooks_are_taken_away_is_killed() {
    if !is_root("a_tree_whose_hooks_are_taken_away_is_killed") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("tampered");
    let mut servant = Servant::start(place.path());
    let path = place.path().display().to_string();
    let (session, _) = attached(&attach(&guard, &["--cgroup", &path]));
    let pin = guard
        .directory()
        .join(format!("run/bpf/{session}-0/link_egress"));
    std::fs::remove_file(pin).expect("unpinned");
    assert!(servant.dies());
    eventually("the end is on record", || causes(&guard) == ["tampered"]).expect("recorded");
    let refused = guard.entries("refused");
    assert!(
        refused
            .iter()
            .any(|entry| entry["code"] == "tampered"
                && entry["detail"].to_string().contains("egress")),
        "{refused:#?}"
    );
}

#[test]
fn a_session_ends_with_its_cgroup() {
    if !is_root("a_session_ends_with_its_cgroup") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let place = Place::new("gone");
    let servant = Servant::start(place.path());
    let path = place.path().display().to_string();
    attached(&attach(&guard, &["--cgroup", &path]));
    drop(servant);
    drop(place);
    eventually("the end is on record", || causes(&guard) == ["exited"]).expect("recorded");
}
