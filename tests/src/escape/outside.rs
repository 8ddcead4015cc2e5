//! The process outside: reachable by everything that processes of one host share, and glad to help. Whatever mark
//! reaches it goes into the internet; whatever descriptor it is asked for it hands out.

use std::ffi::CString;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use libc::{AF_UNIX, SOCK_DGRAM, SOCK_STREAM};

use super::attempt::{NOBODY, marked, marker, target4};
use super::sys::{Address, bind, call, descriptor, open, pause, socket};
use super::unix::{ABSTRACT, LATE, MESSAGES, OTHERS, REPLACED, SERVICES};
use super::world::{self, World};
use super::{descriptors, namespaces};

/// The end of a pipe that others may write into.
pub(super) const PIPE: i32 = 103;
/// Bytes of the mailbox.
pub(super) const MAILBOX: usize = 24;

/// How a question to nscd starts, and the answer that makes the C library look elsewhere.
const NSCD_VERSION: [u8; 4] = [2, 0, 0, 0];
const NSCD_DISABLED: [u8; 64] = {
    let mut answer = [0; 64];
    answer[0] = 2;
    (answer[4], answer[5], answer[6], answer[7]) = (255, 255, 255, 255);
    answer
};

/// The mailbox: others write, this process looks.
static mut LETTER: [u8; MAILBOX] = [0; MAILBOX];

/// Becomes the process outside: says where its mailbox is, listens, and makes the late socket when told to.
/// Ends with its standard input.
pub fn run(world: World) {
    let world = Arc::new(world);
    let _ = std::env::set_current_dir(&world.home);
    let _ = unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0) };
    listen(&world);
    shared(&world);
    let outside = world::Outside {
        pid: unsafe { libc::getpid() },
        mailbox: (&raw const LETTER) as u64,
        netns: namespaces::handle("/proc/self/ns/net"),
        root: namespaces::handle("/"),
        terminal: terminal(),
    };
    println!("{}", serde_json::to_string(&outside).unwrap_or_default());
    let mut line = String::new();
    while std::io::stdin()
        .read_line(&mut line)
        .is_ok_and(|size| size > 0)
    {
        let replaced = world.home.join(REPLACED);
        let _ = std::fs::remove_file(&replaced);
        stream(&world, &replaced);
        stream(&world, &world.home.join(LATE));
        line.clear();
    }
}

/// A terminal of this user's, which stays open.
fn terminal() -> std::path::PathBuf {
    let mut name = [0_u8; 64];
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        libc::grantpt(master);
        libc::unlockpt(master);
        libc::ptsname_r(master, name.as_mut_ptr().cast(), name.len());
    }
    let name = String::from_utf8_lossy(&name);
    name.trim_end_matches('\0').into()
}

/// Sends the mark in these bytes into the internet.
fn relay(world: &World, bytes: &[u8]) {
    if let Some(number) = marked(bytes, &world.nonce)
        && let Ok(socket) = UdpSocket::bind("0.0.0.0:0")
    {
        let mark = marker(number, &world.nonce);
        let _ = socket.send_to(mark.as_bytes(), (target4(number), 9));
    }
}

/// Does something for ever in a thread of its own.
fn forever(mut work: impl FnMut() + Send + 'static) {
    thread::spawn(move || {
        loop {
            work();
        }
    });
}

/// Every socket that something could ask at.
fn listen(world: &Arc<World>) {
    for (_, path, _) in SERVICES {
        stream(world, &world.service(path));
    }
    for (_, path, _) in MESSAGES {
        other(world, Path::new(path), SOCK_DGRAM);
    }
    for (name, kind) in OTHERS {
        let path = world.home.join(name);
        match *kind {
            SOCK_STREAM => stream(world, &path),
            kind => other(world, &path, kind),
        }
    }
    stream(world, &world.home.join("deep/rename-me.sock"));
    for (prefix, kind) in ABSTRACT {
        other(world, Path::new(&format!("{prefix}{}", world.nonce)), *kind);
    }
    for path in [
        world.home.join(descriptors::PASSER),
        format!("{}{}", descriptors::PASSER_ABSTRACT, world.nonce).into(),
    ] {
        let Some(listener) = bound(&path, SOCK_STREAM).map(UnixListener::from) else {
            continue;
        };
        let world = Arc::clone(world);
        forever(move || {
            if let Ok((stream, _)) = listener.accept() {
                hand_out(&world, &stream);
            }
        });
    }
    for address in [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()] {
        let address = SocketAddr::new(address, World::LOOPBACK_PORT);
        if let Ok(listener) = TcpListener::bind(address) {
            let world = Arc::clone(world);
            forever(move || {
                if let Ok((stream, _)) = listener.accept() {
                    read(&world, stream);
                }
            });
        }
        if let Ok(socket) = UdpSocket::bind(address) {
            let world = Arc::clone(world);
            forever(move || {
                let mut message = [0; 512];
                if let Ok(size) = socket.recv(&mut message) {
                    relay(&world, &message[..size]);
                }
            });
        }
    }
}

/// Reads until a mark has been found.
fn read(world: &Arc<World>, mut from: impl Read + Write + Send + 'static) {
    let world = Arc::clone(world);
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut part = [0; 512];
        while let Ok(size @ 1..) = from.read(&mut part) {
            all.extend(&part[..size]);
            if marked(&all, &world.nonce).is_some() || all.len() > 4096 {
                relay(&world, &all);
                return;
            }
            if all.starts_with(&NSCD_VERSION) {
                let _ = from.write_all(&NSCD_DISABLED);
            }
        }
    });
}

/// A unix socket that everybody may use, where there is none yet.
fn bound(path: &Path, kind: i32) -> Option<OwnedFd> {
    let fd = socket(AF_UNIX, kind, 0).ok()?;
    let abstract_name = path.to_str().is_some_and(|path| path.starts_with('@'));
    if !abstract_name {
        std::fs::create_dir_all(path.parent()?).ok()?;
        if path.exists() {
            return None;
        }
    }
    let forever = libc::timeval {
        tv_sec: 0,
        tv_usec: 0,
    };
    super::sys::option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &forever).ok()?;
    bind(&fd, &Address::unix(path)).ok()?;
    if !abstract_name {
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).ok()?;
    }
    if kind != SOCK_DGRAM {
        call("listen", unsafe { libc::listen(fd.as_raw_fd(), 16) }).ok()?;
    }
    Some(fd)
}

fn stream(world: &Arc<World>, path: &Path) {
    let Some(listener) = bound(path, SOCK_STREAM).map(UnixListener::from) else {
        return;
    };
    let world = Arc::clone(world);
    forever(move || {
        if let Ok((stream, _)) = listener.accept() {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            read(&world, stream);
        }
    });
}

/// A socket whose messages are read one by one; a stream counts as one.
fn other(world: &Arc<World>, path: &Path, kind: i32) {
    let Some(fd) = bound(path, kind) else { return };
    let world = Arc::clone(world);
    forever(move || {
        let accepted = match kind {
            SOCK_DGRAM => None,
            _ => descriptor("accept", unsafe {
                libc::accept(fd.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut())
            })
            .ok(),
        };
        let from = accepted.as_ref().map_or(fd.as_raw_fd(), AsRawFd::as_raw_fd);
        let mut message = [0_u8; 512];
        let size = unsafe { libc::recv(from, message.as_mut_ptr().cast(), message.len(), 0) };
        relay(
            &world,
            &message[..usize::try_from(size).unwrap_or_default()],
        );
    });
}

/// Everything else that reaches a process: memory, queues, keys, a pipe, signals, netlink.
fn shared(world: &Arc<World>) {
    let all = Arc::clone(world);
    let key = world.ipc_key();
    let memory = unsafe {
        let id = libc::shmget(key, 4096, libc::IPC_CREAT | 0o666);
        let at = libc::shmat(id, std::ptr::null(), 0) as usize;
        // Gone with the last process that has it; others still find it by its key until this one ends.
        if at == usize::MAX { 0 } else { at }
    };
    let keyring = CString::new(world.key()).unwrap_or_default();
    let mut seen = Vec::new();
    forever(move || {
        let mut look = |bytes: &[u8]| {
            if marked(bytes, &all.nonce).is_some() && !seen.contains(&bytes.to_vec()) {
                relay(&all, bytes);
                seen.push(bytes.to_vec());
            }
        };
        look(&unsafe { std::ptr::read_volatile(&raw const LETTER) });
        if memory != 0 {
            look(unsafe { std::slice::from_raw_parts(memory as *const u8, MAILBOX) });
        }
        let mut value = [0_u8; 64];
        unsafe {
            let key = libc::syscall(
                libc::SYS_keyctl,
                10,
                -4,
                c"user".as_ptr(),
                keyring.as_ptr(),
                0,
            );
            if key > 0 {
                libc::syscall(libc::SYS_keyctl, 11, key, value.as_mut_ptr(), value.len());
            }
        }
        look(&value);
        thread::sleep(Duration::from_millis(15));
    });
    let queue = unsafe { libc::msgget(key, libc::IPC_CREAT | 0o666) };
    messages(world, move |message| unsafe {
        let size = libc::msgrcv(queue, message.as_mut_ptr().cast(), message.len() - 8, 0, 0);
        message.rotate_left(8);
        size
    });
    let name = CString::new(world.queue()).unwrap_or_default();
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = 8;
    attributes.mq_msgsize = 64;
    let queue = unsafe {
        libc::umask(0);
        libc::mq_open(
            name.as_ptr(),
            libc::O_CREAT | libc::O_RDWR,
            0o666,
            &raw mut attributes,
        )
    };
    messages(world, move |message| unsafe {
        libc::mq_receive(
            queue,
            message.as_mut_ptr().cast(),
            message.len(),
            std::ptr::null_mut(),
        )
    });
    if let Ok(netlink) = socket(16, 3, 2) {
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::AF_NETLINK as _;
        address.nl_pid = world.netlink_port();
        let forever = libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        let _ = super::sys::option(&netlink, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &forever);
        let _ = bind(&netlink, &Address::of(&address));
        messages(world, move |message| unsafe {
            libc::recv(
                netlink.as_raw_fd(),
                message.as_mut_ptr().cast(),
                message.len(),
                0,
            )
        });
    }
    let mut ends = [0; 2];
    unsafe {
        libc::pipe(ends.as_mut_ptr());
        libc::dup2(ends[0], PIPE);
        // Taken by pidfd_getfd; and never at its end.
        let taken = UdpSocket::bind("0.0.0.0:0").inspect(|socket| {
            let _ = socket.connect((target4(NOBODY), 9));
        });
        if let Ok(taken) = taken {
            libc::dup2(taken.as_raw_fd(), World::INHERITED_UDP);
        }
    }
    messages(world, |message| unsafe {
        libc::read(PIPE, message.as_mut_ptr().cast(), message.len())
    });
    signals(world);
}

fn messages(world: &Arc<World>, mut receive: impl FnMut(&mut [u8; 128]) -> isize + Send + 'static) {
    let world = Arc::clone(world);
    forever(move || {
        let mut message = [0; 128];
        match receive(&mut message) {
            1.. => relay(&world, &message),
            _ => pause(50),
        }
    });
}

/// A signal's value is the technique's number.
fn signals(world: &Arc<World>) {
    unsafe extern "C" fn wake(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let number = unsafe { (*info).si_value() }.sival_ptr as usize as u16;
        SIGNALLED.store(number, std::sync::atomic::Ordering::Release);
    }
    static SIGNALLED: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = wake as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    let world = Arc::clone(world);
    forever(move || {
        let number = SIGNALLED.swap(0, std::sync::atomic::Ordering::Acquire);
        if number != 0 {
            relay(&world, marker(number, &world.nonce).as_bytes());
        }
        pause(15);
    });
}

/// Passes the descriptor that is asked for: `KIND NUMBER`.
fn hand_out(world: &World, stream: &UnixStream) {
    let mut line = String::new();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    if BufReader::new(stream).read_line(&mut line).is_err() {
        return;
    }
    let mut words = line.split_whitespace();
    let (Some(kind), Some(number)) = (words.next(), words.next()) else {
        return;
    };
    let to = target4(number.parse().unwrap_or(NOBODY));
    let made: Option<OwnedFd> = match kind {
        "connected" => UdpSocket::bind("0.0.0.0:0").ok().and_then(|socket| {
            socket.connect((to, 9)).ok()?;
            Some(socket.into())
        }),
        "unconnected" => UdpSocket::bind("0.0.0.0:0").ok().map(OwnedFd::from),
        "tcp" => {
            // The connection itself must not count as the technique's: it goes to nobody's address.
            TcpStream::connect((target4(NOBODY), 80))
                .ok()
                .map(OwnedFd::from)
        }
        "fresh" => socket(libc::AF_INET, SOCK_STREAM, 0).ok(),
        "packet" => socket(libc::AF_PACKET, libc::SOCK_RAW, 0).ok(),
        "listener" => listener(number.parse().ok()),
        "netns" => open("/proc/self/ns/net", libc::O_RDONLY).ok(),
        "procs" => open(world.outer_cgroup.join("cgroup.procs"), libc::O_WRONLY).ok(),
        "cgroup" => open(&world.outer_cgroup, libc::O_RDONLY | libc::O_DIRECTORY).ok(),
        "control" => UnixStream::connect(world.runtime.join("guard.sock"))
            .ok()
            .map(OwnedFd::from),
        _ => None,
    };
    let passed = made
        .as_ref()
        .is_some_and(|fd| descriptors::pass(stream, fd.as_raw_fd()).is_ok());
    if !passed {
        let _ = (&mut &*stream).write_all(b"no");
    }
}

/// A socket that listens on the port of a technique.
fn listener(number: Option<u16>) -> Option<OwnedFd> {
    let port = super::attempt::port(number?);
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .ok()
        .map(OwnedFd::from)
}

/// Removes what outlives a process: queues and memory.
pub fn forget(world: &World) {
    unsafe {
        let queue = libc::msgget(world.ipc_key(), 0);
        libc::msgctl(queue, libc::IPC_RMID, std::ptr::null_mut());
        let memory = libc::shmget(world.ipc_key(), 0, 0);
        libc::shmctl(memory, libc::IPC_RMID, std::ptr::null_mut());
        let name = CString::new(world.queue()).unwrap_or_default();
        libc::mq_unlink(name.as_ptr());
    }
}
