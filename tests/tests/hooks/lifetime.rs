//! Attaching, outliving the daemon, being removed, and reports under load.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

use guard_daemon::kernel::{HookSettings, Hooks, KernelError, Tampered, mount_private_bpffs};

use crate::session::session;

#[test]
fn hooks_outlive_the_daemon_until_removed() {
    let Some(mut session) = session("pinned") else {
        return;
    };
    let pins = session.places.pins();
    let pinned = fs::read_dir(&pins).unwrap().count();
    assert_eq!(pinned, 16 + 7, "links and maps");
    drop(session.hooks.take());
    let call = "socket(AF_INET, SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 443))";
    let script = format!(
        "try: {call}; print('sent')\nexcept OSError as e: print(errno.errorcode[e.errno])\n"
    );
    assert_eq!(session.run(&script), "EPERM");

    // A second session does not mix its pins with these.
    let cgroup = File::open(&session.places.cgroup).unwrap();
    let again = {
        let _inside = session.runtime.enter();
        Hooks::attach(cgroup.as_fd(), &pins, &session.settings)
    };
    assert!(matches!(again, Err(KernelError::Pins { .. })), "{again:?}");
    assert_eq!(fs::read_dir(&pins).unwrap().count(), pinned);

    Hooks::remove(&pins).unwrap();
    assert!(!pins.exists());
    // Nothing is in the way now; the namespace just has no route.
    assert_eq!(session.run(&script), "ENETUNREACH");
    Hooks::remove(&pins).unwrap();
}

#[test]
fn a_flood_of_refusals_is_counted() {
    const FLOOD: usize = 3000;
    let Some(session) = session("flood") else {
        return;
    };
    session.run(&format!(
        "s = socket(AF_INET, SOCK_DGRAM)\n\
         for _ in range({FLOOD}):\n \
         try: s.sendto(b'x', ('192.0.2.1', 443))\n \
         except PermissionError: pass\n"
    ));
    let mut reported = 0;
    let lost = loop {
        let refusal = session.refusal();
        if refusal.code == "lost-reports" {
            break refusal;
        }
        reported += 1;
    };
    let missing: usize = lost.detail.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(reported + missing, FLOOD);
    // It stands for several processes.
    assert_eq!(lost.pid, 0);
    session.no_refusal();
}

#[test]
fn what_cannot_confine_is_not_attached() {
    let Some(session) = session("settings") else {
        return;
    };
    let pins = session.places.bpffs.join("other");
    let cgroup = File::open(&session.places.cgroup).unwrap();
    let directory = File::open("/").unwrap();
    let good = session.settings.clone();
    let _inside = session.runtime.enter();
    let attach = |file: &File, pins: &Path, settings: &HookSettings| {
        Hooks::attach(file.as_fd(), pins, settings)
    };

    let portless = HookSettings {
        resolver_port: 0,
        ..good.clone()
    };
    assert!(matches!(
        attach(&cgroup, &pins, &portless),
        Err(KernelError::NoPort)
    ));
    assert!(matches!(
        attach(&directory, &pins, &good),
        Err(KernelError::NotCgroup2)
    ));
    let unpinned = std::env::temp_dir().join(format!("guard-test-{}", std::process::id()));
    assert!(matches!(
        attach(&cgroup, &unpinned, &good),
        Err(KernelError::Pins { .. })
    ));
    assert!(!pins.exists() && !unpinned.exists());

    // Again on what is a bpffs already; nobody else may enter.
    mount_private_bpffs(&session.places.bpffs).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(&session.places.bpffs).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
    assert!(session.places.pins().exists());
}

#[test]
fn a_detached_hook_and_a_pin_that_is_gone_are_noticed() {
    let Some(session) = session("health") else {
        return;
    };
    let hooks = session.hooks();
    hooks.check().unwrap();
    assert_eq!(hooks.enforced().len(), 16);
    assert_eq!(hooks.limits(), []);
    let pins = session.places.pins();
    let pin = |name: &str| pins.join(name);

    // Another session's link in place of one's own.
    fs::rename(pin("link_bind4"), pin("kept")).unwrap();
    assert!(matches!(hooks.check(), Err(Tampered::Unpinned { .. })));
    fs::rename(pin("link_bind6"), pin("link_bind4")).unwrap();
    let error = hooks.check().unwrap_err();
    assert!(matches!(&error, Tampered::Replaced { path } if *path == pin("link_bind4")));
    fs::rename(pin("link_bind4"), pin("link_bind6")).unwrap();
    fs::rename(pin("map_origins"), pin("link_bind4")).unwrap();
    assert!(matches!(hooks.check(), Err(Tampered::Replaced { .. })));
    fs::rename(pin("link_bind4"), pin("map_origins")).unwrap();
    fs::rename(pin("kept"), pin("link_bind4")).unwrap();
    hooks.check().unwrap();

    fs::remove_file(pin("map_refusals")).unwrap();
    assert!(matches!(hooks.check(), Err(Tampered::Unpinned { .. })));
    detach(&pin("link_egress"));
    let error = hooks.check().unwrap_err();
    assert!(
        matches!(error, Tampered::Detached { hook: "egress" }),
        "{error}"
    );
    assert!(error.to_string().contains("egress"));
}

/// What root could do: `BPF_LINK_DETACH` on a pinned link.
fn detach(pin: &Path) {
    let script = "\
        import ctypes, os, sys\n\
        path = ctypes.create_string_buffer(sys.argv[1].encode()); bpf = ctypes.CDLL(None, use_errno=True).syscall\n\
        get = (ctypes.c_uint64 * 2)(ctypes.addressof(path), 0); link = bpf(321, 7, ctypes.byref(get), 16)\n\
        assert link >= 0, ctypes.get_errno()\n\
        assert bpf(321, 34, ctypes.byref(ctypes.c_uint32(link)), 4) == 0, ctypes.get_errno()\n";
    let mut python = std::process::Command::new("/usr/bin/python3");
    assert!(
        python
            .args(["-c", script])
            .arg(pin)
            .status()
            .unwrap()
            .success()
    );
}
