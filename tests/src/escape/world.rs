//! What techniques, the process outside and the suite know of each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The variable that carries a [`World`], as JSON.
pub const VARIABLE: &str = "GUARD_ESCAPE";

/// Where a pass happens.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Not confined.
    Outside,
    /// In `guard run`.
    Run,
    /// In a tree that `guard attach` confined.
    Attach,
}

/// As whom.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum User {
    /// The invoking user.
    Ordinary,
    /// The same, as root of a user namespace of its own.
    Userns,
    /// Root.
    Root,
}

/// The surroundings of a pass.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct World {
    pub place: Place,
    pub user: User,
    /// Six hexadecimal digits of this pass, in every mark.
    pub nonce: String,
    /// The user's home, visible inside; the program is here, too.
    pub home: PathBuf,
    /// A cgroup that is not confined.
    pub outer_cgroup: PathBuf,
    /// guard's runtime and state directories.
    pub runtime: PathBuf,
    pub state: PathBuf,
    /// The process outside, once it runs.
    pub outside: Option<Outside>,
    /// Techniques to try; all if empty.
    pub only: Vec<String>,
}

/// The process outside.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Outside {
    pub pid: i32,
    /// The address of its mailbox, which it sends when something stands in it.
    pub mailbox: u64,
    /// A file handle of its network namespace, where the kernel gives one: type and bytes.
    pub netns: Option<(i32, Vec<u8>)>,
    /// A terminal of the user's that it has open.
    pub terminal: PathBuf,
    /// A file handle of its root directory.
    pub root: Option<(i32, Vec<u8>)>,
}

/// What is known only when the session has started.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Session {
    /// The id of the session's cgroup; of a session to be attacked, outside.
    pub cgroup: u64,
    /// Where its links and maps are pinned.
    pub pins: PathBuf,
    /// guard's daemon.
    pub daemon: i32,
}

/// A line that the program prints for each technique.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Said {
    pub id: String,
    /// The call that ended it, or what it managed.
    pub said: String,
    /// It says that it worked.
    pub worked: bool,
    /// The host lacks what it needs.
    pub unavailable: bool,
    /// When it ran: nanoseconds of CLOCK_MONOTONIC.
    pub from: u64,
    pub until: u64,
}

impl World {
    /// The interface that leads to the internet.
    pub const DEVICE: &str = "eth0";
    /// The host's own address there.
    pub const HOST4: [u8; 4] = [192, 0, 2, 2];
    /// A port on the host's loopback where the process outside listens.
    pub const LOOPBACK_PORT: u16 = 4100;
    /// Where the inherited descriptors are.
    pub const INHERITED_UDP: i32 = 100;
    pub const INHERITED_TCP: i32 = 101;
    pub const INHERITED_UNCONNECTED: i32 = 102;
    pub const INHERITED_LISTENER: i32 = 104;
    /// Root's alone.
    pub const INHERITED_PACKET: i32 = 105;
    /// Where the inherited listener listens.
    pub const LISTENER_PORT: u16 = 19_999;
    /// Where the version 2 hierarchy of cgroups is mounted.
    pub fn hierarchy(&self) -> PathBuf {
        self.outer_cgroup
            .parent()
            .map(PathBuf::from)
            .unwrap_or_default()
    }
    /// The path of a service's socket, which may have the user's number in it.
    pub fn service(&self, path: &str) -> PathBuf {
        let user = if self.user == User::Root {
            "0"
        } else {
            "65534"
        };
        path.replace("65534", user).into()
    }
    /// The System V message queue of the process outside.
    pub fn ipc_key(&self) -> i32 {
        i32::from_str_radix(&self.nonce, 16).unwrap_or(0x6775) | 0x4000_0000
    }
    /// The name of its POSIX message queue.
    pub fn queue(&self) -> String {
        format!("/escape-{}", self.nonce)
    }
    /// The description of its key in the user's keyring.
    pub fn key(&self) -> String {
        format!("escape-{}", self.nonce)
    }
    /// The portid of its netlink socket.
    pub fn netlink_port(&self) -> u32 {
        self.ipc_key() as u32
    }
}
