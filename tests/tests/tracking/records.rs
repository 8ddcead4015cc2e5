//! What is recorded of a session's processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use guard_daemon::kernel::tracker::TrackedEvent;
use guard_daemon::record::entry::Process;

use crate::host::Host;

fn executed(event: TrackedEvent) -> Option<Process> {
    match event {
        TrackedEvent::Executed { process, .. } => Some(process),
        _ => None,
    }
}

/// However short it lives, and by whatever name it was called.
#[test]
fn executed_programs_are_recorded_with_path_arguments_and_parents() {
    let Some((host, tracker)) = Host::new("exec") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().canonicalize().unwrap();
    std::os::unix::fs::symlink("/usr/bin/true", place.join("link")).unwrap();
    fs::copy("/usr/bin/true", place.join("copy")).unwrap();
    fs::set_permissions(place.join("copy"), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "cd \"$0\"; ./link --token abc one; ./copy; \
        /usr/bin/env -u NOTHING ./copy two; exit 0";
    let mut shell = host.run(&["/bin/bash", "-c", script, place.to_str().unwrap()]);
    assert!(shell.end().success());

    let shell_exe = fs::canonicalize("/bin/bash").unwrap().display().to_string();
    let copy = place.join("copy").display().to_string();
    let expected = [
        (shell_exe.clone(), "/bin/bash -c"),
        ("/usr/bin/true".to_owned(), "./link --token [redacted] one"),
        (copy.clone(), "./copy"),
        (
            "/usr/bin/env".to_owned(),
            "/usr/bin/env -u NOTHING ./copy two",
        ),
        (copy, "./copy two"),
    ];
    for (exe, argv) in expected {
        let process = host.event(&tracker, executed);
        assert_eq!(process.exe.as_ref(), Some(&exe), "{process:?}");
        let arguments = process.argv.clone().unwrap().join(" ");
        assert!(arguments.starts_with(argv), "{process:?}");
        assert_eq!(process.uid, 0);
        if process.pid == shell.pid() {
            assert!(
                process
                    .parents
                    .iter()
                    .any(|parent| parent.pid == std::process::id()),
                "{process:?}"
            );
        } else {
            assert_eq!(process.parents[0].pid, shell.pid());
            assert_eq!(process.parents[0].exe.as_ref(), Some(&shell_exe));
        }
        // As /proc would tell it, and after its end.
        let record = tracker.process(process.pid).unwrap();
        assert_eq!(record.session, host.session);
        assert_eq!(record.process.started, process.started);
        assert_eq!(process.started.unwrap() % 10_000_000, 0);
    }
}

/// A process that executes nothing is its parent's program.
#[test]
fn a_fork_is_known_at_once() {
    let Some((host, tracker)) = Host::new("fork") else {
        return;
    };
    let mut parent = host.python(
        "child = os.fork()\n\
         if child == 0:\n    os._exit(0)\n\
         os.waitpid(child, 0); print(child, flush=True); sys.stdin.read()",
    );
    let child: u32 = parent.line().parse().unwrap();
    let record = tracker.process(child).unwrap().process;
    let python = fs::canonicalize("/usr/bin/python3").unwrap();
    assert_eq!(record.exe, Some(python.display().to_string()));
    assert_eq!(record.argv.unwrap()[..2], ["/usr/bin/python3", "-c"]);
    assert_eq!(record.parents[0].pid, parent.pid());
    let described = tracker.describe(child, 5, "renamed", u64::MAX);
    assert_eq!((described.pid, described.uid), (child, 5));
    assert_eq!(
        (described.comm.as_str(), described.exe),
        ("renamed", record.exe)
    );
    // Before it started, the number was another process'.
    assert_eq!(tracker.describe(child, 0, "x", 1).exe, None);
    assert!(tracker.process(std::process::id()).is_none());
}

#[test]
fn files_without_a_name_and_deep_ones_have_a_path() {
    let Some((host, tracker)) = Host::new("paths") else {
        return;
    };
    let mut python = host.python(
        "fd = os.memfd_create('nameless'); os.write(fd, open('/usr/bin/true', 'rb').read())\n\
         if os.fork() == 0: os.execve(fd, ['a'], {})\n\
         os.wait(); import shutil, tempfile\n\
         top = tempfile.mkdtemp(); os.chdir(top)\n\
         for _ in range(30): os.mkdir('d' * 60); os.chdir('d' * 60)\n\
         shutil.copy('/usr/bin/true', 'deep'); subprocess.run(['./deep'])\n\
         os.chdir('/'); shutil.rmtree(top)",
    );
    assert!(python.end().success());
    assert!(
        host.event(&tracker, executed)
            .exe
            .unwrap()
            .contains("python")
    );
    let nameless = host.event(&tracker, executed);
    assert_eq!(nameless.exe.as_deref(), Some("/memfd:nameless"));
    let deep = host.event(&tracker, executed).exe.unwrap();
    assert!(
        deep.starts_with("…/ddd") && deep.ends_with("d/deep"),
        "{deep}"
    );
}

#[test]
fn long_command_lines_are_bounded() {
    let Some((host, tracker)) = Host::new("long") else {
        return;
    };
    let mut python = host.python(
        "subprocess.run(['/usr/bin/true', 'x' * 100_000])\n\
         subprocess.run(['/usr/bin/true'] + ['y'] * 10_000)",
    );
    assert!(python.end().success());
    host.event(&tracker, executed);
    let long = host.event(&tracker, executed).argv.unwrap();
    assert_eq!(long[0], "/usr/bin/true");
    assert_eq!(
        long.iter()
            .map(|argument| argument.len() + 1)
            .sum::<usize>(),
        4097
    );
    assert_eq!(host.event(&tracker, executed).argv.unwrap().len(), 64);
}

#[test]
fn a_flood_of_programs_is_counted() {
    const FLOOD: u64 = 1500;
    let Some((host, tracker)) = Host::new("flood") else {
        return;
    };
    let script = format!("for i in $(seq {FLOOD}); do /usr/bin/true; done");
    let mut shell = host.run(&["/bin/bash", "-c", &script]);
    let (mut told, mut counted) = (0, 0);
    // The shell itself, `seq`, and the flood.
    while told + counted < FLOOD + 2 {
        match host.event(&tracker, Some) {
            TrackedEvent::Executed { .. } => told += 1,
            TrackedEvent::Unrecorded { count, .. } | TrackedEvent::Lost { count } => {
                counted += count;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(shell.end().success());
    assert_eq!(told + counted, FLOOD + 2);
    assert!(told >= 400, "{told}");
}
