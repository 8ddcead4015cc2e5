//! Tries the techniques, each in a process of its own with a time limit, and prints what each says.

use std::io::{BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Outcome, Stop};
use super::sys::{call, now};
use super::world::{Said, Session, User, World};
use super::{Company, Technique, exec, techniques};

/// How long one technique may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How many run at a time.
const AT_A_TIME: usize = 8;

/// A technique that runs.
struct Running {
    id: &'static str,
    pid: libc::pid_t,
    said: std::fs::File,
    from: u64,
    started: Instant,
}

/// Tries them all: first those that may run beside others, then each of the rest alone. Reads a [`Session`] from
/// its standard input before it starts; a line of JSON for each goes to standard output.
pub fn run(world: &World) {
    // What a technique leaves behind is this process's to wait for.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    println!("ready");
    let mut line = String::new();
    let _ = std::io::stdin().lock().read_line(&mut line);
    let session = serde_json::from_str::<Session>(&line).ok();
    let wanted = |technique: &Technique| {
        world.only.is_empty() || world.only.iter().any(|id| id == technique.id)
    };
    for company in [Company::Any, Company::None, Company::Last] {
        let limit = if company == Company::Any {
            AT_A_TIME
        } else {
            1
        };
        let mut running: Vec<Running> = Vec::new();
        for (number, _, technique) in techniques() {
            if technique.company != company || !wanted(technique) {
                continue;
            }
            while running.len() >= limit {
                reap(&mut running);
            }
            match start(world, session.as_ref(), number, technique) {
                Ok(one) => running.push(one),
                Err(stop) => tell(technique.id, &Err(stop), now()),
            }
        }
        while !running.is_empty() {
            reap(&mut running);
        }
    }
    println!("done");
}

/// Carries out one order, for the programs of `exec`.
pub fn ordered(world: &World, order: &str, number: u16) -> bool {
    let attempt = Attempt {
        world,
        number,
        session: None,
    };
    exec::ordered(&attempt, order).is_ok()
}

fn start(
    world: &World,
    session: Option<&Session>,
    number: u16,
    technique: &'static Technique,
) -> Result<Running, Stop> {
    let mut ends = [0; 2];
    call("pipe", unsafe {
        libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC)
    })?;
    let from = now();
    let pid = call("fork", unsafe { libc::fork() })? as libc::pid_t;
    let [reading, writing] =
        ends.map(|fd| unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    if pid == 0 {
        drop(reading);
        let attempt = Attempt {
            world,
            number,
            session,
        };
        let outcome = enter(world.user).and_then(|()| (technique.attempt)(&attempt));
        let said = serde_json::to_vec(&line(technique.id, &outcome, from)).unwrap_or_default();
        let _ = (&writing).write_all(&said);
        unsafe { libc::_exit(0) };
    }
    // Reading must not wait: what the technique leaves behind may hold the other end.
    unsafe { libc::fcntl(reading.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    Ok(Running {
        id: technique.id,
        pid,
        said: reading,
        from,
        started: Instant::now(),
    })
}

/// Becomes root of a user namespace, for those who are to be that.
fn enter(user: User) -> Result<(), Stop> {
    if user != User::Userns {
        return Ok(());
    }
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    call("unshare(CLONE_NEWUSER)", unsafe {
        libc::unshare(libc::CLONE_NEWUSER)
    })?;
    let write = |file: &str, text: String| std::fs::write(format!("/proc/self/{file}"), text);
    write("setgroups", "deny".to_owned())
        .and_then(|()| write("uid_map", format!("0 {uid} 1")))
        .and_then(|()| write("gid_map", format!("0 {gid} 1")))
        .map_err(Stop::io("unshare(CLONE_NEWUSER), uid_map"))
}

/// Waits a little, and tells of those that have ended or have run for too long.
fn reap(running: &mut Vec<Running>) {
    let mut waiting = std::mem::take(running);
    for one in waiting.drain(..) {
        let mut status = 0;
        let ended = unsafe { libc::waitpid(one.pid, &raw mut status, libc::WNOHANG) } == one.pid;
        if !ended && one.started.elapsed() < LIMIT {
            running.push(one);
            continue;
        }
        if !ended {
            unsafe {
                libc::kill(one.pid, libc::SIGKILL);
                libc::waitpid(one.pid, &raw mut status, 0);
            }
        }
        let mut text = Vec::new();
        let _ = (&one.said).read_to_end(&mut text);
        match serde_json::from_slice::<Said>(&text) {
            Ok(said) => print(&said),
            Err(_) if !ended => tell(
                one.id,
                &Err(Stop::Nothing("time limit".to_owned())),
                one.from,
            ),
            Err(_) => {
                let signal = libc::WTERMSIG(status);
                tell(
                    one.id,
                    &Err(Stop::Nothing(format!("killed by signal {signal}"))),
                    one.from,
                );
            }
        }
    }
    std::thread::sleep(Duration::from_millis(2));
}

fn tell(id: &str, outcome: &Outcome, from: u64) {
    print(&line(id, outcome, from));
}

fn line(id: &str, outcome: &Outcome, from: u64) -> Said {
    Said {
        id: id.to_owned(),
        said: outcome
            .as_ref()
            .map_or_else(ToString::to_string, Clone::clone),
        worked: outcome.is_ok(),
        unavailable: matches!(outcome, Err(Stop::Unavailable(_))),
        from,
        until: now(),
    }
}

fn print(said: &Said) {
    println!("{}", serde_json::to_string(said).unwrap_or_default());
}
