//! Where a test plays: a host of its own (network and mount namespaces, a home, a resolver), the internet at its
//! wire, guard, and the process outside.

use std::ffi::CString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use guard_tests::escape::outside::forget;
use guard_tests::escape::world::{Outside, Place, User, VARIABLE, World};
use guard_tests::escape::{port, techniques};
use guard_tests::guard::USER;
use guard_tests::installation::{Installation, binary, eventually, hierarchy};
use guard_tests::internet::{Internet, ROUTER4};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Directories that are the stage's own, with their modes; cleared between passes.
const PLACES: [(&str, &str); 5] = [
    ("/run", "mode=1777"),
    ("/tmp", "mode=1777"),
    ("/var/tmp", "mode=1777"),
    ("/dev/shm", "mode=1777"),
    ("/home", "mode=755"),
];
/// By which their mounts are known.
const SOURCE: &str = "escape";
/// The home of the user.
const HOME: &str = "/home/agent";
/// What the session may reach.
const PROFILE: &str = "[network]\nallow = [\"allowed.example\"]\n";

/// The stage of one test. Its thread is the host.
pub(crate) struct Stage {
    pub(crate) user: User,
    pub(crate) only: Vec<String>,
    pub(crate) internet: Internet,
    pub(crate) guard: Installation,
    pub(crate) home: PathBuf,
    /// Not confined; and the tree that is attached to.
    pub(crate) outer: PathBuf,
    pub(crate) tree: PathBuf,
}

impl Stage {
    pub(crate) fn new(user: User, only: Vec<String>) -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        // A checkout may lie in a place that is covered here.
        let programs = [binary(), PathBuf::from(env!("CARGO_BIN_EXE_escape"))]
            .map(|path| fs::File::open(&path).map(|file| (path, file)));
        for (place, mode) in PLACES {
            mount(
                Some(SOURCE),
                place,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(mode),
            )
            .with_context(|| format!("cannot mount {place}"))?;
        }
        for program in programs {
            let (path, file) = program.context("a program is not built: cargo build")?;
            if !path.exists() {
                fs::create_dir_all(path.parent().context("a path")?)?;
                fs::File::create(&path)?;
                let source = format!("/proc/self/fd/{}", file.as_raw_fd());
                mount(Some(source.as_str()), &path, none, MsFlags::MS_BIND, none)?;
            }
        }
        fs::write(
            "/run/resolv.conf",
            format!("nameserver {ROUTER4}\noptions attempts:2 timeout:2\n"),
        )?;
        let _ = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open("/etc/resolv.conf");
        mount(
            Some("/run/resolv.conf"),
            "/etc/resolv.conf",
            none,
            MsFlags::MS_BIND,
            none,
        )?;
        let internet = Internet::connect()?;
        set("net/ipv4/tcp_fastopen", "3");
        // As distributions with systemd set it.
        set("net/ipv4/ping_group_range", "0 2147483647");
        let guard = Installation::new()?;
        fs::write(guard.home().join("profile.toml"), PROFILE)?;
        let unified = hierarchy().context("no cgroup v2 hierarchy is mounted")?;
        let name = format!("{user:?}-{}", std::process::id()).to_lowercase();
        let stage = Self {
            user,
            only,
            internet,
            guard,
            home: HOME.into(),
            outer: unified.join(format!("escape-outer-{name}")),
            tree: unified.join(format!("escape-tree-{name}")),
        };
        fs::create_dir(&stage.outer)?;
        fs::create_dir(&stage.tree)?;
        stage.furnish()?;
        let listens = |id: &str| id.starts_with("listen-") || id == "passed-listener";
        let ports = techniques()
            .filter(|(_, _, technique)| listens(technique.id))
            .map(|(number, _, _)| port(number));
        stage
            .internet
            .knock(ports.chain([World::LISTENER_PORT]).collect());
        Ok(stage)
    }

    /// The home with the program in it.
    fn furnish(&self) -> Result<()> {
        let open = self.home.join("open");
        fs::create_dir_all(&open)?;
        chown(&self.home, Some(self.uid()), Some(self.uid()))?;
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777))?;
        let built = env!("CARGO_BIN_EXE_escape");
        for (name, mode) in [
            ("escape", 0o755),
            ("escape-setuid", 0o4755),
            ("escape-capable", 0o755),
        ] {
            let copy = self.home.join(name);
            fs::copy(built, &copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(mode))?;
        }
        capable(&self.home.join("escape-capable"))
    }

    /// How the sessions ended, by the journal and the daemon's log.
    pub(crate) fn account(&self) -> String {
        let log = self.guard.home().join("state/daemon.log");
        let mut account = fs::read_to_string(log).unwrap_or_default();
        let journal = self.guard.journal().unwrap_or_default();
        for line in journal
            .lines()
            .filter(|line| line.contains("session_end") || line.contains("session-end"))
        {
            account.push_str(line);
            account.push('\n');
        }
        account
    }

    pub(crate) fn uid(&self) -> u32 {
        if self.user == User::Root { 0 } else { USER }
    }

    /// The world of a pass, without a process outside yet.
    pub(crate) fn world(&self, place: Place) -> World {
        World {
            place,
            user: self.user,
            nonce: nonce(),
            home: self.home.clone(),
            outer_cgroup: self.outer.clone(),
            runtime: self.guard.runtime(),
            state: self.guard.home().join("state"),
            outside: None,
            only: self.only.clone(),
        }
    }

    /// The program with an order, as the user.
    pub(crate) fn program(&self, world: &World, order: &str) -> Command {
        let mut command = Command::new(self.home.join("escape"));
        command
            .arg(order)
            .env_clear()
            .env(VARIABLE, serde_json::to_string(world).unwrap())
            .current_dir(&self.home)
            .stdout(Stdio::piped())
            .uid(self.uid())
            .gid(self.uid());
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for cgroup in [&self.tree, &self.outer] {
            let _ = fs::write(cgroup.join("cgroup.kill"), "1");
            let _ = eventually("the cgroup is removed", || {
                for child in fs::read_dir(cgroup).into_iter().flatten().flatten() {
                    let _ = fs::remove_dir(child.path());
                }
                fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
            });
        }
    }
}

/// The process outside.
pub(crate) struct Neighbour {
    child: Child,
    world: World,
}

impl Neighbour {
    /// Starts it; its world then names it.
    pub(crate) fn start(stage: &Stage, mut world: World) -> Result<(Self, World)> {
        for (place, _) in PLACES {
            ensure!(
                is_covered(place),
                "a technique took the stage's {place} away, and the host's is no place to play in"
            );
        }
        let mut child = stage
            .program(&world, "outside")
            .stdin(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
        let outside: Outside =
            serde_json::from_str(&line).context("the process outside did not start")?;
        world.outside = Some(outside);
        let neighbour = Self {
            child,
            world: world.clone(),
        };
        Ok((neighbour, world))
    }

    /// Has it make the late socket.
    pub(crate) fn late(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("piped")?;
        Ok(input.write_all(b"late\n")?)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        forget(&self.world);
        for (place, _) in PLACES.iter().filter(|(place, _)| is_covered(place)) {
            sweep(Path::new(place));
        }
    }
}

/// Removes the sockets of a process outside that has ended, but guard's.
fn sweep(directory: &Path) {
    use std::os::unix::fs::FileTypeExt;

    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
            continue;
        };
        if kind.is_dir()
            && !entry
                .file_name()
                .to_string_lossy()
                .starts_with("guard-test-")
        {
            sweep(&path);
        } else if kind.is_socket() || kind.is_symlink() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether a place is the stage's own, and not the host's.
fn is_covered(place: &str) -> bool {
    let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
    let last = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(1) == Some(place));
    last.is_some_and(|line| line.split(' ').next() == Some(SOURCE))
}

/// Sets a variable of the thread's network namespace; it is not essential.
fn set(name: &str, value: &str) {
    let _ = fs::write(Path::new("/proc/sys").join(name), value);
}

/// Six random hexadecimal digits.
fn nonce() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    id[..6].to_owned()
}

/// Gives a program CAP_NET_RAW when executed.
fn capable(program: &Path) -> Result<()> {
    // VFS_CAP_REVISION_2 with the effective bit; permitted and inheritable, twice 32 bits.
    let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
    value.extend((1_u32 << 13).to_le_bytes());
    value.extend([0; 12]);
    let path = CString::new(program.to_str().context("a path")?)?;
    #[allow(unsafe_code, reason = "no library sets a file's capabilities")]
    // SAFETY: both strings end with a zero byte, and the value is as long as is said.
    let done = unsafe {
        libc::setxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    ensure!(done == 0, "setxattr: {}", std::io::Error::last_os_error());
    Ok(())
}
