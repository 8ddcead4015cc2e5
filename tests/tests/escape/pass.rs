//! One pass: the program tries all techniques somewhere, and the internet watches.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guard_tests::escape::world::{Place, Said, Session, User, World};
use guard_tests::escape::{Company, Technique, techniques, wiretap};
use guard_tests::installation::{binary, eventually};
use guard_tests::internet::{Frame, HOST4, ROUTER4};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::judge;
use crate::stage::{Neighbour, Stage};

/// How long a pass may take: slow machines run this, too.
const PATIENCE: Duration = Duration::from_mins(8);
/// How long what was sent may take to arrive.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// How long connections of the pass before are waited for.
const SETTLED: Duration = Duration::from_secs(10);

/// How often what should get out, and did not, is tried again.
const ONCE_MORE: usize = 2;

/// What came of a pass.
pub(crate) struct Pass {
    pub(crate) world: World,
    pub(crate) said: BTreeMap<String, Said>,
    pub(crate) frames: Vec<Frame>,
}

/// Where nothing is confined. A session of guard's is there to be attacked.
pub(crate) fn outside(stage: &Stage) -> Result<Pass> {
    let mut prey = guarded(stage)
        .args(["sleep", "600"])
        .stdin(Stdio::null())
        .spawn()?;
    eventually("a session is there to be attacked", || {
        !sessions(stage).is_empty()
    })?;
    let session = session(stage)?;
    let world = stage.world(Place::Outside);
    let once = |world: World| {
        let (neighbour, world) = Neighbour::start(stage, world)?;
        let command = stage.program(&world, "run");
        play(stage, neighbour, world, command, |_| Ok(session.clone()))
    };
    let mut pass = once(world.clone())?;
    for _ in 0..ONCE_MORE {
        let only = judge::missing(stage, &pass);
        if only.is_empty() {
            break;
        }
        let mut again = once(World {
            only,
            ..world.clone()
        })?;
        pass.said.append(&mut again.said);
        pass.frames.append(&mut again.frames);
    }
    let _ = prey.kill();
    prey.wait()?;
    eventually("nothing of the session is left", || {
        sessions(stage).is_empty()
    })?;
    Ok(pass)
}

/// Inside, in one place or the other; `None` where guard does not have it. What is known to be open, or is allowed, and
/// was not is tried again: that it was closed once, on a slow machine, does not say that it is.
pub(crate) fn inside(stage: &Stage, place: Place, outside: &Pass) -> Result<Option<Pass>> {
    let once = match place {
        Place::Attach => attach,
        _ => run,
    };
    // With one mark for all, so that whatever comes late is known.
    let world = stage.world(place);
    let Some(mut pass) = once(stage, &world, &stage.only)? else {
        return Ok(None);
    };
    for _ in 0..ONCE_MORE {
        let only = judge::unexpectedly_closed(stage, outside, &pass);
        if only.is_empty() {
            break;
        }
        if let Some(mut again) = once(stage, &world, &only)? {
            pass.said.append(&mut again.said);
            pass.frames.append(&mut again.frames);
        }
    }
    Ok(Some(pass))
}

/// In `guard run`.
fn run(stage: &Stage, world: &World, only: &[String]) -> Result<Option<Pass>> {
    in_sessions(stage, world, only, |neighbour, world| {
        let mut command = guarded(stage);
        let inner = stage.program(&world, "run");
        command
            .arg(inner.get_program())
            .args(inner.get_args())
            .envs(
                inner
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(&stage.home)
            .stdout(Stdio::piped());
        play(stage, neighbour, world, command, |_| session(stage))
    })
    .map(Some)
}

/// In a tree that runs already, in the host's network namespace. `None` where guard has no `attach`.
fn attach(stage: &Stage, world: &World, only: &[String]) -> Result<Option<Pass>> {
    let known = Command::new(binary()).args(["attach", "--help"]).output()?;
    if !known.status.success() {
        return Ok(None);
    }
    in_sessions(stage, world, only, |neighbour, world| {
        let command = stage.program(&world, "run");
        let mut session = None;
        let pass = play(stage, neighbour, world, command, |program| {
            fs::write(stage.tree.join("cgroup.procs"), program.to_string())?;
            let id = attached(stage)?;
            session = Some(id.clone());
            Ok(Session {
                cgroup: fs::metadata(&stage.tree)?.ino(),
                pins: pins(stage, &id)?,
                daemon: stage.guard.daemon()?.as_raw(),
            })
        });
        if let Some(id) = session {
            // One that was killed for an attempt is gone already.
            stage.guard.guard().args(["detach", &id]).output()?;
        }
        fs::write(stage.tree.join("cgroup.kill"), "1")?;
        pass
    })
    .map(Some)
}

/// Attaches to the tree; the session's name.
fn attached(stage: &Stage) -> Result<String> {
    let output = stage
        .guard
        .guard()
        .args([
            "attach",
            "--allow-root",
            "--reason",
            "escape suite",
            "--cgroup",
        ])
        .arg(&stage.tree)
        .args(settings(stage))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "guard attach: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let id = text.lines().find_map(|line| line.strip_prefix("session "));
    Ok(id
        .context("guard attach names no session")?
        .trim()
        .to_owned())
}

/// Plays in one session what does not end it, and each of the rest in one of its own.
fn in_sessions(
    stage: &Stage,
    world: &World,
    only: &[String],
    mut play: impl FnMut(Neighbour, World) -> Result<Pass>,
) -> Result<Pass> {
    let wanted =
        |technique: &Technique| only.is_empty() || only.iter().any(|id| id == technique.id);
    let mut first = Vec::new();
    let mut groups = Vec::new();
    for (_, _, technique) in techniques().filter(|(_, _, technique)| wanted(technique)) {
        if technique.company == Company::Last {
            groups.push(vec![technique.id.to_owned()]);
        } else {
            first.push(technique.id.to_owned());
        }
    }
    groups.insert(0, first);
    let mut whole = Pass {
        world: world.clone(),
        said: BTreeMap::new(),
        frames: Vec::new(),
    };
    for only in groups.into_iter().filter(|only| !only.is_empty()) {
        let world = World {
            only,
            ..world.clone()
        };
        let (neighbour, world) = Neighbour::start(stage, world)?;
        let mut pass = play(neighbour, world)?;
        whole.said.append(&mut pass.said);
        whole.frames.append(&mut pass.frames);
    }
    Ok(whole)
}

/// `guard run --`, as the invoking user.
fn guarded(stage: &Stage) -> Command {
    let mut command = stage.guard.guard();
    command
        .arg("run")
        .args(settings(stage))
        .arg("--")
        .env_clear();
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &stage.home)
        .env("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL")
        .env("AWS_SECRET_ACCESS_KEY", "real")
        .env("AWS_REGION", "us-east-1");
    if stage.uid() != 0 {
        let uid = stage.uid().to_string();
        command
            .env("SUDO_UID", &uid)
            .env("SUDO_GID", &uid)
            .env("SUDO_USER", "nobody");
    }
    command
}

/// The session's profile, and where its allowed hosts are.
fn settings(stage: &Stage) -> Vec<String> {
    let profile = stage.guard.home().join("profile.toml");
    vec![
        "--profile".to_owned(),
        profile.display().to_string(),
        "--upstream-connect".to_owned(),
        format!(
            "allowed.example={}:443",
            guard_tests::escape::allowed_address()
        ),
        "--upstream-connect".to_owned(),
        format!("*.amazonaws.com={ROUTER4}:8443"),
    ]
}

/// Runs the program to its end: with the terminal as its standard input and with sockets that were made outside.
fn play(
    stage: &Stage,
    mut neighbour: Neighbour,
    world: World,
    mut command: Command,
    ready: impl FnOnce(u32) -> Result<Session>,
) -> Result<Pass> {
    settle();
    stage.internet.take();
    let terminal = openpty(None, None)?;
    let mut modes = nix::sys::termios::tcgetattr(&terminal.slave)?;
    modes
        .local_flags
        .remove(nix::sys::termios::LocalFlags::ECHO);
    nix::sys::termios::tcsetattr(&terminal.slave, nix::sys::termios::SetArg::TCSANOW, &modes)?;
    let inherited = inherited(stage)?;
    inherit(&mut command, &inherited);
    command.stdin(terminal.slave);
    let mut child = command.spawn().context("the program did not start")?;
    drop(inherited);
    let said = listen(
        &mut child,
        File::from(terminal.master),
        &mut neighbour,
        world.only.len() == 1,
        ready,
    );
    let ended = eventually("the program ends", || {
        child.try_wait().is_ok_and(|status| status.is_some())
    });
    if ended.is_err() {
        let _ = kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL);
        let _ = child.wait();
    }
    std::thread::sleep(STRAGGLERS);
    let frames = stage.internet.take();
    drop(neighbour);
    // The kernel ends connections of those that were killed.
    std::thread::sleep(STRAGGLERS);
    Ok(Pass {
        world,
        said: said?,
        frames,
    })
}

/// Waits until the connections of the pass before have ended: what the kernel repeats of them must not count as this
/// one's. One that does not end is left.
fn settle() {
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    let connected = || {
        ["tcp", "tcp6"].iter().any(|table| {
            let table = fs::read_to_string(format!("/proc/thread-self/net/{table}"));
            let table = table.unwrap_or_default();
            let mut states = table.lines().skip(1).map(|it| it.split_whitespace().nth(3));
            states.any(|state| !matches!(state, Some(LISTEN | TIME_WAIT)))
        })
    };
    let end = Instant::now() + SETTLED;
    while connected() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lets the program start when the session is known, and reads what it says.
fn listen(
    child: &mut Child,
    mut terminal: File,
    neighbour: &mut Neighbour,
    single: bool,
    ready: impl FnOnce(u32) -> Result<Session>,
) -> Result<BTreeMap<String, Said>> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let (over, stop) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if stop.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let mut said = BTreeMap::new();
    let mut ready = Some(ready);
    let mut done = false;
    let mut result = Ok(());
    for line in &mut lines {
        let line = line?;
        if line == "ready" {
            let started = ready
                .take()
                .context("ready twice")
                .and_then(|ready| ready(child.id()));
            let go = started.and_then(|session| {
                terminal.write_all(format!("{}\n", serde_json::to_string(&session)?).as_bytes())?;
                std::thread::sleep(Duration::from_millis(50));
                neighbour.late()
            });
            if go.is_err() {
                let _ = kill(pid, Signal::SIGKILL);
                result = go;
                break;
            }
        } else if line == "done" {
            done = true;
            break;
        } else if let Ok(one) = serde_json::from_str::<Said>(&line) {
            said.insert(one.id.clone(), one);
        }
    }
    drop(over);
    let _ = watch.join();
    result?;
    // A session of one technique may have been killed for it.
    if !done && !single {
        let silent: Vec<_> = techniques()
            .map(|(_, _, technique)| technique.id)
            .filter(|id| !said.contains_key(*id))
            .collect();
        bail!("the program ended early; nothing is known of {silent:?}");
    }
    Ok(said)
}

/// Sockets that were made outside, with the numbers that the program finds them under.
fn inherited(stage: &Stage) -> Result<Vec<(OwnedFd, RawFd)>> {
    let udp = UdpSocket::bind((HOST4, 0))?;
    udp.connect((ROUTER4, 9))?;
    let mut sockets = vec![
        (udp.into(), World::INHERITED_UDP),
        (
            TcpStream::connect((ROUTER4, 80))?.into(),
            World::INHERITED_TCP,
        ),
        (
            UdpSocket::bind("0.0.0.0:0")?.into(),
            World::INHERITED_UNCONNECTED,
        ),
        (
            TcpListener::bind(("0.0.0.0", World::LISTENER_PORT))?.into(),
            World::INHERITED_LISTENER,
        ),
    ];
    if stage.user == User::Root {
        sockets.push((wiretap(World::DEVICE)?, World::INHERITED_PACKET));
    }
    Ok(sockets)
}

/// Makes the terminal the program's own, and leaves it the sockets.
#[allow(
    unsafe_code,
    reason = "descriptors with fixed numbers, and a terminal, are given between fork and exec"
)]
fn inherit(command: &mut Command, sockets: &[(OwnedFd, RawFd)]) {
    let numbers: Vec<_> = sockets
        .iter()
        .map(|(from, to)| (from.as_raw_fd(), *to))
        .collect();
    // SAFETY: only system calls, no memory is allocated.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            for &(from, to) in &numbers {
                if libc::dup2(from, to) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// The cgroups of this installation's sessions.
fn sessions(stage: &Stage) -> Vec<PathBuf> {
    stage.guard.cgroups()
}

/// Where a session's links and maps are pinned: its name, and how often they were made anew.
fn pins(stage: &Stage, session: &str) -> Result<PathBuf> {
    let directory = stage.guard.runtime().join("bpf");
    let mut entries = fs::read_dir(&directory)?
        .flatten()
        .map(|entry| entry.path());
    let own = entries.find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(session))
    });
    own.with_context(|| format!("no pins of {session} are in {}", directory.display()))
}

/// What an attacker would know of the session that is there.
fn session(stage: &Stage) -> Result<Session> {
    let cgroups = sessions(stage);
    let cgroup = cgroups.first().context("no session is there")?;
    let name = cgroup
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    Ok(Session {
        cgroup: fs::metadata(cgroup)?.ino(),
        pins: pins(stage, name)?,
        daemon: stage.guard.daemon()?.as_raw(),
    })
}
