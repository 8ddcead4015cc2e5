//! A host to test: a bpffs of its own with a tracker's pins, a session's cgroup, and one beside it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use guard_daemon::kernel::mount_private_bpffs;
use guard_daemon::kernel::tracker::{TrackedEvent, Tracker};
use guard_daemon::session::SessionId;
use nix::mount::{MntFlags, umount2};
use tokio::runtime::Runtime;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What is removed in the end whatever happens.
pub(crate) struct Host {
    pub(crate) session: SessionId,
    pub(crate) inside: PathBuf,
    pub(crate) outside: PathBuf,
    bpffs: PathBuf,
    runtime: Runtime,
}

impl Host {
    /// The test's host and its tracker with the session's cgroup confined; `None`, with the reason printed, where it
    /// cannot run.
    pub(crate) fn new(test: &str) -> Option<(Self, Tracker)> {
        if !guard_tests::is_root(test) {
            return None;
        }
        let name = format!("guard-test-{}-{test}", std::process::id());
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let unified = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[2] == "cgroup2")
            .expect("a cgroup v2 mount");
        let unified = Path::new(unified[1]);
        let host = Self {
            session: SessionId::random(),
            inside: unified.join(&name),
            outside: unified.join(format!("{name}-outside")),
            bpffs: std::env::temp_dir().join(&name),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        };
        fs::create_dir(&host.inside).unwrap();
        fs::create_dir(&host.outside).unwrap();
        mount_private_bpffs(&host.bpffs).unwrap();
        let tracker = host.start();
        host.confine(&tracker, false);
        Some((host, tracker))
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.bpffs.join("host")
    }

    /// A daemon's tracker.
    pub(crate) fn start(&self) -> Tracker {
        Tracker::start(&self.pins()).unwrap_or_else(|error| panic!("{error:#?}"))
    }

    pub(crate) fn confine(&self, tracker: &Tracker, existing: bool) {
        let cgroup = File::open(&self.inside).unwrap();
        tracker
            .confine(&self.session, cgroup.as_fd(), existing)
            .unwrap();
    }

    /// Starts python3 in the session, as `outsider` does outside.
    pub(crate) fn python(&self, script: &str) -> Running {
        let script = self.script(script);
        self.run(&["/usr/bin/python3", "-c", &script])
    }

    /// Starts python3 outside of the session; it has both cgroups' files as `INSIDE` and `OUTSIDE`.
    pub(crate) fn outsider(&self, script: &str) -> Running {
        let child = Command::new("/usr/bin/python3")
            .args(["-c", &self.script(script)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Running(child)
    }

    fn script(&self, script: &str) -> String {
        format!(
            "import array, ctypes, errno, os, signal, socket, subprocess, sys, time\n\
             from socket import *\n\
             INSIDE, OUTSIDE = '{}', '{}'\n\
             libc = ctypes.CDLL(None, use_errno=True)\n\
             def call(number, *arguments):\n \
                 made = libc.syscall(number, *arguments)\n \
                 if made < 0: raise OSError(ctypes.get_errno(), 'syscall')\n \
                 return made\n\
             def tell(action):\n \
                 try: action(); print('done', flush=True)\n \
                 except OSError as e: print(errno.errorcode[e.errno], flush=True)\n\
             {script}",
            self.inside.join("cgroup.procs").display(),
            self.outside.join("cgroup.procs").display()
        )
    }

    /// Starts a command in the session.
    pub(crate) fn run(&self, command: &[&str]) -> Running {
        let child = Command::new("sh")
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.inside.join("cgroup.procs"))
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Running(child)
    }

    /// The next event for which `wanted` gives something.
    pub(crate) fn event<T>(
        &self,
        tracker: &Tracker,
        mut wanted: impl FnMut(TrackedEvent) -> Option<T>,
    ) -> T {
        self.runtime
            .block_on(async {
                tokio::time::timeout(PATIENCE, async {
                    loop {
                        if let Some(found) = wanted(tracker.next().await) {
                            return found;
                        }
                    }
                })
                .await
            })
            .expect("an event")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Tracker::remove(&self.pins());
        let _ = umount2(&self.bpffs, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.bpffs);
        for cgroup in [&self.inside, &self.outside] {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = fs::remove_dir(cgroup) {
                if error.kind() == ErrorKind::NotFound || Instant::now() > deadline {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// A process in the session, killed in the end.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// A line of what it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        let stdout = self.0.stdout.as_mut().unwrap();
        while std::io::Read::read(stdout, &mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Lets a script that waits for its standard input go on.
    pub(crate) fn go_on(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "process {} lives on", self.pid());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether it still runs after a while in which it could have been killed.
    pub(crate) fn stays(&mut self) -> bool {
        std::thread::sleep(Duration::from_millis(200));
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process and code of a refusal.
pub(crate) fn refusal(event: TrackedEvent) -> Option<(u32, &'static str, String)> {
    match event {
        TrackedEvent::Refused {
            process,
            code,
            detail,
            ..
        } => Some((process?.pid, code, detail)),
        _ => None,
    }
}
