//! What a session sees of the host's files, sockets and environment.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::Command;

use super::{World, for_all, said};

const PLAIN: &str = "name = \"p\"";

/// A directory in a place that sessions have for themselves; gone at the end.
fn directory_in(place: &str) -> tempfile::TempDir {
    let made = tempfile::Builder::new()
        .prefix("guard-test-")
        .tempdir_in(place)
        .unwrap();
    fs::set_permissions(made.path(), fs::Permissions::from_mode(0o755)).unwrap();
    made
}

/// Connects to a unix socket, or sends to it; says how it went.
fn connect(path: &Path) -> String {
    format!(
        "/usr/bin/python3 -c '
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        socket.socket(socket.AF_UNIX, kind).connect(\"{}\")
        print(\"reached\")
    except OSError as error:
        print(type(error).__name__)
'",
        path.display()
    )
}

#[test]
fn directories_for_temporary_files_are_private() {
    for place in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
        let outside = directory_in(place);
        let name = outside.path().display().to_string();
        for_all(PLAIN, |world| {
            assert_eq!(world.says(&format!("ls -d {name} 2>/dev/null; echo")), "");
            if place != "/run" {
                let script = format!("echo x > {place}/mine; cat {place}/mine; stat -c %a {place}");
                assert_eq!(world.says(&script), "x\n1777", "{place}");
                assert!(!Path::new(place).join("mine").exists());
            }
        });
    }
}

#[test]
fn kernel_file_systems_are_gone() {
    for_all(PLAIN, |world| {
        let kinds = world.says(
            "for p in / /proc /sys /sys/fs/bpf /sys/fs/cgroup /sys/kernel/tracing /sys/kernel/debug \
             /sys/kernel/security /sys/kernel/config /dev /dev/pts; do stat -f -c %T $p 2>/dev/null; done \
             | sort -u | grep -vE '^(ext|xfs|btrfs|overlay|UNKNOWN|9p|v9fs)'",
        );
        assert_eq!(kinds.replace("devpts\n", ""), "proc\nsysfs\ntmpfs");
        let writes = world.shell(
            "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/net/ipv4/ip_forward \
             /sys/kernel/mm/ksm/run; do echo 1 > $f && echo $f; done 2>/dev/null; true",
        );
        assert_eq!(said(&writes), "");
    });
}

#[test]
fn a_kernel_file_system_mounted_elsewhere_is_gone() {
    let world = World::new(0, PLAIN);
    let home = world.stand.home();
    let mut mounted = Vec::new();
    for kind in ["proc", "sysfs", "cgroup2", "bpf", "devpts"] {
        let place = world.own().join(kind);
        fs::create_dir(&place).unwrap();
        let status = Command::new("mount")
            .args(["-t", kind, "none"])
            .arg(&place)
            .status();
        if status.unwrap().success() {
            mounted.push(place);
        }
    }
    let seen = world.shell("for d in */; do [ $(ls -A $d | wc -l) = 0 ] || echo $d; done");
    for place in &mounted {
        Command::new("umount").arg(place).status().unwrap();
    }
    assert!(mounted.len() >= 4, "{mounted:?}");
    assert_eq!(said(&seen), "", "in {}", home.display());
}

#[test]
fn a_private_directory_mounted_elsewhere_is_gone() {
    let world = World::new(0, PLAIN);
    let place = world.own().join("shm");
    fs::create_dir(&place).unwrap();
    let inside = directory_in("/dev/shm");
    let bound = Command::new("mount")
        .args(["--bind", "/dev/shm"])
        .arg(&place)
        .status();
    assert!(bound.unwrap().success());
    let seen = world.shell("ls -A shm");
    Command::new("umount").arg(&place).status().unwrap();
    assert_eq!(said(&seen), "", "{}", inside.path().display());
}

#[test]
fn devices_are_those_of_every_program() {
    for_all(PLAIN, |world| {
        let listed = world.says("cd /dev; ls | tr '\\n' ' '");
        assert_eq!(
            listed,
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
        );
        world.says(
            "head -c 9 /dev/urandom > /dev/null; echo x > /dev/full && exit 1; cat /dev/fd/0",
        );
    });
}

#[test]
fn device_files_elsewhere_are_of_no_use() {
    let world = World::new(0, PLAIN);
    let disk = world.own().join("memory");
    let made = Command::new("mknod")
        .arg(&disk)
        .args(["c", "1", "3"])
        .status();
    assert!(made.unwrap().success());
    assert_eq!(world.says("cat memory 2>&1 | grep -c denied"), "1");
    assert_eq!(world.says("mknod n c 1 3 2>&1 | grep -c permitted"), "1");
}

#[test]
fn guards_own_directories_are_hidden() {
    for_all(PLAIN, |world| {
        let home = world.stand.home().display().to_string();
        let script = format!(
            "cd {home}; ls -A state run; ls run/sessions | wc -l; test -r $SSL_CERT_FILE && echo ok; \
             (echo x > run/x) 2>/dev/null; (echo x > $SSL_CERT_FILE) 2>/dev/null; \
             rm -f $SSL_CERT_FILE 2>/dev/null; test -r $SSL_CERT_FILE && echo ok"
        );
        assert_eq!(world.says(&script), "run:\nsessions\n\nstate:\n1\nok\nok");
    });
}

#[test]
fn unix_sockets_outside_are_covered_unless_allowed() {
    let place = directory_in("/var/lib/guard-tests");
    let private = directory_in("/tmp");
    let [listening, datagram] = ["stream", "datagram"].map(|name| place.path().join(name));
    let hidden = private.path().join("hidden");
    let _listener = UnixListener::bind(&listening).unwrap();
    let _datagram = UnixDatagram::bind(&datagram).unwrap();
    let _hidden = UnixListener::bind(&hidden).unwrap();
    for path in [&listening, &datagram, &hidden] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        for_all(PLAIN, |world| {
            let answers = world.says(&connect(path));
            assert!(
                !answers.contains("reached"),
                "{}: {answers}",
                path.display()
            );
        });
        let allowed = format!("{PLAIN}\n[network]\nallow_unix = [\"{}\"]", path.display());
        for_all(&allowed, |world| {
            let answers = world.says(&connect(path));
            assert!(answers.contains("reached"), "{}: {answers}", path.display());
        });
    }
}

#[test]
fn a_socket_bound_by_a_relative_path_or_in_another_namespace_is_covered() {
    let place = directory_in("/var/lib/guard-tests");
    let server = "
import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind('relative'); os.chmod('relative', 0o777); s.listen()
print(flush=True)
sys.stdin.read()
";
    for prefix in [
        &["/usr/bin/python3"][..],
        &["unshare", "--net", "/usr/bin/python3"],
    ] {
        let mut server = Command::new(prefix[0])
            .args(&prefix[1..])
            .args(["-c", server])
            .current_dir(place.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut byte).unwrap();
        let path = place.path().join("relative");
        for_all(PLAIN, |world| {
            let answers = world.says(&connect(&path));
            assert!(!answers.contains("reached"), "{prefix:?}: {answers}");
        });
        drop(server.stdin.take());
        server.wait().unwrap();
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_shared_tmp_has_no_sockets() {
    let outside = directory_in("/tmp");
    let agent = tempfile::Builder::new()
        .prefix("ssh-")
        .tempdir_in("/tmp")
        .unwrap();
    let [open, hidden] = [outside.path().join("s"), agent.path().join("agent.1")];
    let _open = UnixListener::bind(&open).unwrap();
    let _hidden = UnixListener::bind(&hidden).unwrap();
    fs::write(outside.path().join("file"), "seen").unwrap();
    let world = World::new(0, &format!("{PLAIN}\n[sandbox]\ntmp = \"shared\""));
    let file = world.says(&format!("cat {}/file", outside.path().display()));
    assert_eq!(file, "seen");
    for path in [open, hidden] {
        let answers = world.says(&connect(&path));
        assert!(
            !answers.contains("reached"),
            "{}: {answers}",
            path.display()
        );
    }
}

#[test]
fn the_working_directory_and_the_command_stay_visible() {
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        let outside = directory_in(place);
        let below = outside.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::set_permissions(&below, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(outside.path().join("beside"), "").unwrap();
        let tool = outside.path().join("tool");
        fs::copy("/bin/echo", &tool).unwrap();
        let link = outside.path().join("link");
        symlink("tool", &link).unwrap();
        for_all(PLAIN, |world| {
            let output = world
                .run(&["sh", "-c", "pwd; echo x > made; ls ../..; ls -a ../../.."])
                .current_dir(&below)
                .output()
                .unwrap();
            let name = outside.path().file_name().unwrap().to_str().unwrap();
            let expected = format!("{}\na\n.\n..\n{name}", below.display());
            assert_eq!(said(&output), expected, "{place}");
            assert_eq!(fs::read_to_string(below.join("made")).unwrap(), "x\n");
            fs::remove_file(below.join("made")).unwrap();
            let output = world
                .run(&[link.to_str().unwrap(), "run"])
                .output()
                .unwrap();
            assert_eq!(said(&output), "run");
        });
    }
}

#[test]
fn what_the_profile_shows_is_visible() {
    let outside = directory_in("/tmp");
    let file = outside.path().join("deep/file");
    fs::create_dir(outside.path().join("deep")).unwrap();
    fs::write(&file, "shown").unwrap();
    let absent = "/tmp/guard-test-absent";
    let profile = format!(
        "{PLAIN}\n[sandbox]\nshow = [\"{}\", \"{absent}\"]",
        outside.path().display()
    );
    for_all(&profile, |world| {
        assert_eq!(world.says(&format!("cat {}", file.display())), "shown");
    });
}

#[test]
fn a_link_in_tmp_shows_nothing_that_the_user_cannot_open() {
    let secret = directory_in("/run");
    let inner = secret.path().join("locked");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), "secret").unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o700)).unwrap();
    let outside = directory_in("/tmp");
    let link = outside.path().join("link");
    symlink(inner.join("file"), &link).unwrap();
    let profile = format!("{PLAIN}\n[sandbox]\nshow = [\"{}\"]", link.display());
    let world = World::new(65534, &profile);
    let output = world.shell(&format!(
        "cat {} {}",
        link.display(),
        inner.join("file").display()
    ));
    assert!(!output.status.success(), "{output:?}");
}

#[test]
fn the_environment_names_nothing_hidden() {
    let world = World::new(65534, PLAIN);
    let mut guard = world.run(&["env"]);
    for (name, value) in [
        ("SSH_AUTH_SOCK", "/tmp/ssh-x/agent.1"),
        ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/0/bus"),
        ("DOCKER_HOST", "unix:///run/docker.sock"),
        ("TMUX", "/tmp/tmux-0/default,1,0"),
        ("DISPLAY", ":0"),
        ("NOTIFY_SOCKET", "/run/systemd/notify"),
        ("LISTEN_FDS", "1"),
        ("XDG_RUNTIME_DIR", "/run/user/0"),
    ] {
        guard.env(name, value);
    }
    let text = said(&guard.output().unwrap());
    for name in [
        "SSH_AUTH", "DBUS", "DOCKER", "TMUX", "DISPLAY", "NOTIFY", "LISTEN",
    ] {
        assert!(!text.contains(name), "{text}");
    }
    assert!(text.contains("XDG_RUNTIME_DIR=/run/user/65534\n"), "{text}");
    world.says("touch $XDG_RUNTIME_DIR/x; stat -c '%a %u' $XDG_RUNTIME_DIR | grep '^700 65534$'");
}

#[test]
fn a_directory_for_temporary_files_is_made_where_it_was() {
    let outside = directory_in("/tmp");
    let world = World::new(65534, PLAIN);
    let output = world
        .run(&["mktemp", "-p", outside.path().to_str().unwrap()])
        .env("TMPDIR", outside.path())
        .output()
        .unwrap();
    said(&output);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn root_schedules_nothing_outside() {
    let world = World::new(0, PLAIN);
    let output = world.shell(
        "for d in /etc/cron.d /etc/cron.daily /var/spool/cron; do \
        test -d $d && touch $d/guard-test && rm $d/guard-test && echo $d; done 2>/dev/null; true",
    );
    assert_eq!(said(&output), "");
}
