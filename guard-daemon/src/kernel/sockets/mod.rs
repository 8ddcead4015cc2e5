//! Closes the sockets that a tree had open before it was confined.
//!
//! The hooks see a socket by the cgroup in which it was *made*. Where a tree is moved into another cgroup, its
//! earlier sockets are outside of the hooks for good, whatever becomes of the connection: a process may
//! disconnect such a socket and connect it again. So each is not only disconnected. It gets a locked filter
//! that drops all it receives; it is shut down, which lasts for datagrams; and it is bound to a device that does
//! not exist, which lasts for TCP. `SOCK_DESTROY` would end the connection and leave the socket, needs a kernel
//! that was built with it, and finds no socket of another network namespace.
//!
//! What remains is told as findings: sockets that are no IP sockets, unix connections to processes outside,
//! and rings that may hold sockets without a descriptor. Descriptors in flight between processes
//! (`SCM_RIGHTS`) are not seen. With `CAP_NET_RAW` a process can take a TCP socket off its device, and send a
//! SYN whose answer is dropped.

mod descriptor;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;

use descriptor::{Kind, Process};

/// Findings that are told one by one.
const TOLD: usize = 64;

/// What became of a tree's open sockets.
#[derive(Debug, Default)]
pub struct Destroyed {
    sockets: usize,
    /// Each with how often it was found.
    findings: BTreeMap<String, usize>,
}

/// Closes every IP socket that the processes hold, in whichever network namespace. They should be frozen, or
/// sockets that they open meanwhile are missed. Each process and descriptor costs some microseconds.
pub fn destroy(processes: &[u32]) -> Destroyed {
    let mut destroyed = Destroyed::default();
    let mut seen = BTreeSet::new();
    for pid in processes {
        if let Err(error) = destroyed.process(*pid, processes, &mut seen)
            && !is_gone(&error)
        {
            destroyed.find(format!(
                "the sockets of process {pid} cannot be examined ({error}), and stay open"
            ));
        }
    }
    destroyed
}

impl Destroyed {
    /// How many sockets were closed.
    pub fn count(&self) -> usize {
        self.sockets
    }

    /// What stays open, one sentence each; 65 at the most.
    pub fn findings(&self) -> Vec<String> {
        let mut told: Vec<String> = self
            .findings
            .iter()
            .take(TOLD)
            .map(|(finding, times)| match times {
                1 => finding.clone(),
                times => format!("{finding} ({times} times)"),
            })
            .collect();
        if self.findings.len() > TOLD {
            told.push(format!("{} more like these", self.findings.len() - TOLD));
        }
        told
    }

    fn process(&mut self, pid: u32, tree: &[u32], seen: &mut BTreeSet<u64>) -> io::Result<()> {
        let process = Process::open(pid)?;
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            let entry = entry?;
            let (Ok(target), Some(number)) = (
                fs::read_link(entry.path()),
                entry.file_name().to_str().and_then(|n| n.parse().ok()),
            ) else {
                continue;
            };
            let target = target.to_string_lossy();
            if target == "anon_inode:[io_uring]" {
                self.find(format!(
                    "process {pid} has an io_uring, whose registered sockets are not seen"
                ));
            }
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|inode| inode.strip_suffix(']')?.parse().ok());
            let Some(inode) = inode else {
                continue;
            };
            if !seen.insert(inode) {
                continue;
            }
            match process.socket(number) {
                Ok(socket) => self.socket(pid, tree, &socket),
                Err(error) if is_gone(&error) => {}
                Err(error) => self.find(format!(
                    "a socket of process {pid} cannot be examined ({error}), and stays open"
                )),
            }
        }
        Ok(())
    }

    fn socket(&mut self, pid: u32, tree: &[u32], socket: &descriptor::Socket) {
        let kind = socket.kind();
        match kind {
            Ok(Kind::Ip | Kind::Raw) => {
                match socket.disable() {
                    Ok(()) => self.sockets += 1,
                    Err(error) => self.find(format!(
                        "an IP socket of process {pid} cannot be closed ({error})"
                    )),
                }
                if matches!(kind, Ok(Kind::Raw)) {
                    self.find(format!(
                        "process {pid} has a socket that is neither TCP nor UDP; it receives nothing any \
                         more, and may still send where it was made outside of the cgroup"
                    ));
                }
            }
            Ok(Kind::Unix { peer }) => {
                if let Some(peer) = peer.filter(|peer| !tree.contains(peer)) {
                    let comm = fs::read_to_string(format!("/proc/{peer}/comm"));
                    let name = match comm {
                        Ok(comm) => format!("process {peer} ({})", comm.trim_end()),
                        Err(_) => "a process outside".to_owned(),
                    };
                    self.find(format!(
                        "process {pid} has a unix connection to {name}, which stays"
                    ));
                }
            }
            Ok(Kind::Netlink) => {}
            Ok(Kind::Other(family)) => self.find(format!(
                "process {pid} has a socket of {family}, which no hook sees and which stays"
            )),
            Err(error) => self.find(format!(
                "a socket of process {pid} cannot be examined ({error}), and stays open"
            )),
        }
    }

    fn find(&mut self, finding: String) {
        *self.findings.entry(finding).or_default() += 1;
    }
}

impl fmt::Display for Destroyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sockets {
            1 => f.write_str("1 open socket closed"),
            sockets => write!(f, "{sockets} open sockets closed"),
        }
    }
}

/// The process ended, or closed the descriptor.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ESRCH | libc::ENOENT | libc::EBADF)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_bounded_and_counted() {
        let mut destroyed = Destroyed::default();
        destroyed.find("a".to_owned());
        destroyed.find("a".to_owned());
        for n in 0..100 {
            destroyed.find(format!("b{n}"));
        }
        let findings = destroyed.findings();
        assert_eq!(findings.len(), TOLD + 1);
        assert_eq!(findings[0], "a (2 times)");
        assert_eq!(findings[TOLD], "37 more like these");
        assert_eq!(destroyed.to_string(), "0 open sockets closed");
    }

    #[test]
    fn a_process_that_is_gone_has_no_sockets() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(destroy(&[child.id()]).findings().is_empty());
    }
}
