//! A session to test: a network namespace with only `lo`, a cgroup and a bpffs of its own. The test's
//! thread is the daemon, a python3 in the cgroup is the confined process.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use guard_daemon::kernel::{
    HookSettings, Hooks, Network, Refusal, mount_private_bpffs, netns_cookie,
};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use tokio::runtime::Runtime;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A cgroup and a bpffs, removed in the end whatever happens.
pub(crate) struct Places {
    pub(crate) cgroup: PathBuf,
    pub(crate) bpffs: PathBuf,
}

impl Places {
    fn new(test: &str) -> Self {
        let name = format!("guard-test-{}-{test}", std::process::id());
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let unified = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields[2] == "cgroup2")
            .expect("a cgroup v2 mount");
        let places = Self {
            cgroup: Path::new(unified[1]).join(&name),
            bpffs: std::env::temp_dir().join(&name),
        };
        fs::create_dir(&places.cgroup).unwrap();
        mount_private_bpffs(&places.bpffs).unwrap();
        places
    }

    pub(crate) fn pins(&self) -> PathBuf {
        self.bpffs.join("session")
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        let _ = Hooks::remove(&self.pins());
        let _ = umount2(&self.bpffs, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.bpffs);
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = fs::remove_dir(&self.cgroup) {
            if error.kind() == ErrorKind::NotFound || Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Hooks, and the gateway and the resolver that they send to.
pub(crate) struct Gate {
    pub(crate) gateway: TcpListener,
    gateway6: TcpListener,
    resolver: UdpSocket,
    resolver6: UdpSocket,
    settings: HookSettings,
    pub(crate) hooks: Hooks,
}

/// A session's gateway and resolver, with its hooks attached.
pub(crate) struct Session {
    pub(crate) gateway: TcpListener,
    pub(crate) gateway6: TcpListener,
    pub(crate) resolver: UdpSocket,
    pub(crate) resolver6: UdpSocket,
    pub(crate) settings: HookSettings,
    pub(crate) hooks: Option<Hooks>,
    pub(crate) runtime: Runtime,
    // Last: the rest must be gone before its places are removed.
    pub(crate) places: Places,
}

/// The test's session; `None`, with the reason printed, where it cannot run.
pub(crate) fn session(test: &str) -> Option<Session> {
    Some(host(test)?.session(Network::Own))
}

/// Places in a network namespace with only `lo`, without hooks yet; `None` as for `session`.
pub(crate) fn host(test: &str) -> Option<Places> {
    if !nix::unistd::geteuid().is_root() {
        guard_tests::skip(test, "needs root to load eBPF programs");
        return None;
    }
    let places = Places::new(test);
    // Of this thread only, which is the test's own.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    sh("ip link set lo up", &[]);
    Some(places)
}

/// Runs a shell script as the host.
pub(crate) fn sh(script: &str, arguments: &[&str]) {
    let mut shell = Command::new("sh");
    let status = shell.args(["-ec", script, "sh"]).args(arguments).status();
    assert!(status.unwrap().success(), "{script}");
}

/// A network namespace at the other end of a wire: 198.51.100.2 on its `guard1`, 198.51.100.1 on our `guard0`.
pub(crate) fn neighbour() -> Confined {
    let mut sleep = Command::new("unshare");
    let neighbour = Confined(Some(sleep.args(["--net", "sleep", "600"]).spawn().unwrap()));
    let link = "while [ $(readlink /proc/$1/ns/net) = $(readlink /proc/self/ns/net) ]
        do sleep 0.1; done
        ip link add guard0 type veth peer name guard1
        ip address add 198.51.100.1/24 dev guard0
        ip link set guard0 up
        ip link set guard1 netns $1
        nsenter --net --target $1 ip address add 198.51.100.2/24 dev guard1
        nsenter --net --target $1 ip link set guard1 up";
    sh(link, &[&neighbour.pid().to_string()]);
    neighbour
}

impl Places {
    /// A session here.
    pub(crate) fn session(self, network: Network) -> Session {
        self.session_with_unix(network, None)
    }

    /// A session here that may reach these unix sockets, or is not asked about any.
    pub(crate) fn session_with_unix(self, network: Network, unix: Option<Vec<PathBuf>>) -> Session {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let gate = self.attach(&runtime, &self.pins(), network, unix, None);
        Session {
            gateway: gate.gateway,
            gateway6: gate.gateway6,
            resolver: gate.resolver,
            resolver6: gate.resolver6,
            settings: gate.settings,
            hooks: Some(gate.hooks),
            runtime,
            places: self,
        }
    }

    /// Attaches hooks, with a gateway and a resolver of their own.
    pub(crate) fn attach(
        &self,
        runtime: &Runtime,
        pins: &Path,
        network: Network,
        unix: Option<Vec<PathBuf>>,
        predecessor: Option<PathBuf>,
    ) -> Gate {
        let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
        let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gateway_port = gateway.local_addr().unwrap().port();
        let resolver_port = resolver.local_addr().unwrap().port();
        let gateway6 = TcpListener::bind(("::1", gateway_port)).unwrap();
        let resolver6 = UdpSocket::bind(("::1", resolver_port)).unwrap();
        for resolver in [&resolver, &resolver6] {
            resolver.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let settings = HookSettings {
            gateway_port,
            resolver_port,
            network,
            netns_cookie: netns_cookie(gateway.as_fd()).unwrap(),
            unix,
            predecessor,
        };
        let hooks = {
            let _inside = runtime.enter();
            let cgroup = File::open(&self.cgroup).unwrap();
            Hooks::attach(cgroup.as_fd(), pins, &settings).unwrap_or_else(|e| panic!("{e:#?}"))
        };
        let sockets = [
            gateway.as_fd(),
            gateway6.as_fd(),
            resolver.as_fd(),
            resolver6.as_fd(),
        ];
        for socket in sockets {
            hooks.recognise(socket).unwrap();
        }
        Gate {
            gateway,
            gateway6,
            resolver,
            resolver6,
            settings,
            hooks,
        }
    }

    /// A directory on a filesystem that has devices.
    pub(crate) fn devices(&self) -> tempfile::TempDir {
        let name = self.cgroup.file_name().unwrap();
        tempfile::Builder::new()
            .prefix(name)
            .tempdir_in("/dev")
            .unwrap()
    }

    /// Starts python3 in the cgroup and in the namespace.
    pub(crate) fn spawn(&self, script: &str) -> Confined {
        let script = format!("from socket import *\nimport errno, os, sys\n{script}");
        let child = Command::new("sh")
            .args([
                "-c",
                "echo $$ > \"$1\" && exec /usr/bin/python3 -c \"$2\"",
                "sh",
            ])
            .arg(self.cgroup.join("cgroup.procs"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Confined(Some(child))
    }
}

impl Session {
    pub(crate) fn hooks(&self) -> &Hooks {
        self.hooks.as_ref().unwrap()
    }

    /// Starts python3 in the cgroup and in the namespace.
    pub(crate) fn spawn(&self, script: &str) -> Confined {
        self.places.spawn(script)
    }

    /// What a script prints.
    pub(crate) fn run(&self, script: &str) -> String {
        self.spawn(script).output()
    }

    pub(crate) fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
        listener.set_nonblocking(true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match listener.accept() {
                Ok((stream, client)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return (stream, client);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "nothing arrived");
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.hooks().next_refusal()).await })
            .expect("a refusal")
    }

    pub(crate) fn no_refusal(&self) {
        let wait = Duration::from_millis(50);
        let refusal = self
            .runtime
            .block_on(async { tokio::time::timeout(wait, self.hooks().next_refusal()).await });
        assert!(refusal.is_err(), "{refusal:?}");
    }
}

/// A confined process, killed in the end.
pub(crate) struct Confined(pub(crate) Option<Child>);

impl Confined {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// Waits for a line that the script prints.
    pub(crate) fn line(&mut self) -> String {
        let stdout = self.0.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// Lets a script that waits for its standard input go on.
    pub(crate) fn go_on(&mut self) {
        drop(self.0.as_mut().unwrap().stdin.take());
    }

    /// Its output, doing something until it ends.
    pub(crate) fn output_with(mut self, mut meanwhile: impl FnMut()) -> String {
        while self.0.as_mut().unwrap().try_wait().unwrap().is_none() {
            meanwhile();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.output()
    }

    pub(crate) fn output(mut self) -> String {
        let Output { status, stdout, .. } = self.0.take().unwrap().wait_with_output().unwrap();
        let stdout = String::from_utf8(stdout).unwrap();
        assert!(status.success(), "{status}: {stdout}");
        stdout.trim_end().to_owned()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
