//! Which devices a session may open.

use crate::session::session;

#[test]
fn plain_devices_and_terminals_open_and_no_others() {
    let Some(session) = session("devices") else {
        return;
    };
    let ordinary = "\
        import pty\n\
        for name in 'null', 'zero', 'full', 'random', 'urandom': open('/dev/' + name, 'rb').read(0)\n\
        ours, theirs = pty.openpty(); print(os.read(ours, os.write(theirs, b'hello')).decode())\n\
        os.open(os.ttyname(theirs), os.O_RDWR | os.O_NOCTTY)\n";
    assert_eq!(session.run(ordinary), "hello");
    session.no_refusal();

    // Made outside, where devices can be, and opened inside.
    let directory = session.places.devices();
    let cases = [
        ("c", 1, 1, "memory"),
        ("c", 1, 11, "/dev/kmsg"),
        ("c", 4, 64, "character device 4:64"),
        ("c", 10, 200, "/dev/net/tun"),
        ("c", 10, 229, "/dev/fuse"),
        ("c", 10, 232, "/dev/kvm"),
        ("c", 10, 241, "/dev/vhost-vsock"),
        ("c", 195, 0, "GPU"),
        ("b", 1, 5, "block device 1:5"),
        ("b", 254, 0, "block device 254:0"),
    ];
    for (kind, major, minor, word) in cases {
        let device = directory.path().join(format!("{kind}{major}.{minor}"));
        crate::session::sh(
            "mknod $1 $2 $3 $4",
            &[
                device.to_str().unwrap(),
                kind,
                &major.to_string(),
                &minor.to_string(),
            ],
        );
        let script = format!(
            "try: os.open('{}', os.O_RDONLY | os.O_NONBLOCK); print('opened')\n\
             except OSError as e: print(errno.errorcode[e.errno], os.getpid())\n",
            device.display()
        );
        let confined = session.spawn(&script);
        let pid = confined.pid();
        assert_eq!(confined.output(), format!("EPERM {pid}"), "{word}");
        let refusal = session.refusal();
        assert_eq!((refusal.code, refusal.pid), ("device", pid), "{refusal:?}");
        assert!(refusal.detail.contains(word), "{refusal:?}");
    }

    let make = format!(
        "import stat\n\
         try: os.mknod('{}/null', stat.S_IFCHR | 0o666, os.makedev(1, 3)); print('made')\n\
         except OSError as e: print(errno.errorcode[e.errno])\n",
        directory.path().display()
    );
    assert_eq!(session.run(&make), "EPERM");
    assert_eq!(session.refusal().code, "device");
}
