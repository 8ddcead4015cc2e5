//! A process that leaves its session's cgroup is killed, whichever way it leaves.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;

use crate::host::{Host, refusal};

const SIGKILL: i32 = 9;

#[test]
fn moving_oneself_out_is_the_last_thing_one_does() {
    let Some((host, tracker)) = Host::new("self") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("create_connection(('127.0.0.1', {port}))");
    // Whoever stays gets through.
    let mut staying = host.python(&connect);
    assert!(staying.end().success());
    assert!(listener.accept().is_ok());

    for _ in 0..50 {
        let mut leaving = host.python(&format!("open(OUTSIDE, 'w').write('0')\n{connect}"));
        assert_eq!(leaving.end().signal(), Some(SIGKILL));
        let (pid, code, detail) = host.event(&tracker, refusal);
        assert_eq!((pid, code), (leaving.pid(), "left-cgroup"));
        assert!(detail.contains("moved itself"), "{detail}");
    }
    let accepted = listener.accept();
    assert!(
        accepted
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{accepted:?}"
    );
}

#[test]
fn what_another_process_moves_out_is_killed() {
    let Some((host, tracker)) = Host::new("foreign") else {
        return;
    };
    let mut moved = host.python("print('up', flush=True); time.sleep(60)");
    assert_eq!(moved.line(), "up");
    fs::write(host.outside.join("cgroup.procs"), moved.pid().to_string()).unwrap();
    assert_eq!(moved.end().signal(), Some(SIGKILL));
    let (pid, code, detail) = host.event(&tracker, refusal);
    assert_eq!((pid, code), (moved.pid(), "left-cgroup"));
    assert!(detail.contains(&std::process::id().to_string()), "{detail}");
}

#[test]
fn a_child_that_is_moved_out_takes_its_mover_along() {
    let Some((host, _tracker)) = Host::new("sibling") else {
        return;
    };
    let mut parent = host.python(
        "child = subprocess.Popen(['/bin/sleep', '60'])\n\
         print(child.pid, flush=True); sys.stdin.read()\n\
         open(OUTSIDE, 'w').write(str(child.pid))\n\
         time.sleep(60)",
    );
    let child: u32 = parent.line().parse().unwrap();
    parent.go_on();
    assert_eq!(parent.end().signal(), Some(SIGKILL));
    gone(child);
}

/// `clone3` puts a child elsewhere without moving anything.
#[test]
fn a_child_that_is_born_outside_takes_its_parent_along() {
    let Some((host, tracker)) = Host::new("clone") else {
        return;
    };
    let mut parent = host.python(
        "cgroup = os.open(os.path.dirname(OUTSIDE), os.O_RDONLY | os.O_DIRECTORY)\n\
         CLONE_INTO_CGROUP, SIGCHLD = 0x200000000, 17\n\
         arguments = (ctypes.c_uint64 * 11)(CLONE_INTO_CGROUP, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, cgroup)\n\
         print('up', flush=True); sys.stdin.read()\n\
         made = libc.syscall(435, arguments, ctypes.sizeof(arguments))\n\
         time.sleep(60)",
    );
    assert_eq!(parent.line(), "up");
    parent.go_on();
    assert_eq!(parent.end().signal(), Some(SIGKILL));
    let (child, code, _) = host.event(&tracker, refusal);
    assert_eq!(code, "left-cgroup");
    assert_ne!(child, parent.pid());
    gone(child);
}

/// The child may run before the daemon kills it; it gets no socket then.
#[test]
fn a_child_that_is_born_outside_reaches_nobody() {
    let test = "born-outside";
    let Some((host, tracker)) = Host::new(test) else {
        return;
    };
    if !tracker.enforced().contains(&"foreign-sockets".to_owned()) {
        guard_tests::skip(test, &tracker.limits().join("; "));
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    for round in 0..30 {
        let mut parent = host.python(&format!(
            "cgroup = os.open(os.path.dirname(OUTSIDE), os.O_RDONLY | os.O_DIRECTORY)\n\
             arguments = (ctypes.c_uint64 * 11)(0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, cgroup)\n\
             before = socket()\n\
             if call(435, arguments, ctypes.sizeof(arguments)) == 0:\n \
                 try: {}\n \
                 finally: os._exit(0)\n\
             time.sleep(60)",
            if round % 2 == 0 {
                format!("create_connection(('127.0.0.1', {port}))")
            } else {
                // Made in the session, so its hooks hold this one; the root's do, too.
                format!("before.connect(('127.0.0.1', {port}))")
            }
        ));
        assert_eq!(parent.end().signal(), Some(SIGKILL));
    }
    assert!(listener.accept().is_err());
}

#[test]
fn cgroups_below_the_sessions_belong_to_it() {
    let Some((host, _tracker)) = Host::new("below") else {
        return;
    };
    let mut moving = host.python(
        "below = os.path.dirname(OUTSIDE).removesuffix('-outside') + '/a'\n\
         os.makedirs(below + '/b')\n\
         open(below + '/b/cgroup.procs', 'w').write('0')\n\
         print(subprocess.check_output(['/bin/echo', 'here']).decode().strip(), flush=True)\n\
         open(below + '/cgroup.procs', 'w').write('0')\n\
         os.rmdir(below + '/b'); sys.stdin.read()\n\
         open(OUTSIDE, 'w').write('0'); time.sleep(60)",
    );
    assert_eq!(moving.line(), "here");
    assert!(moving.stays());
    moving.go_on();
    assert_eq!(moving.end().signal(), Some(SIGKILL));
    fs::remove_dir(host.inside.join("a")).unwrap();
}

/// Waits until a process of no child of ours is gone.
fn gone(pid: u32) {
    let deadline = std::time::Instant::now() + crate::host::PATIENCE;
    let stat = || fs::read_to_string(format!("/proc/{pid}/stat"));
    while stat().is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(
            std::time::Instant::now() < deadline,
            "process {pid} lives on"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
