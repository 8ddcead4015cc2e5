//! The techniques of the escape suite: each tries to get a marked packet out, or something that leads there.
//!
//! `TABLE` of each family says what is tried, who may try it outside, and which control is expected to close it.
//! `runner` tries them, `outside` is the process beyond the walls that helps whoever reaches it, `tests/escape`
//! judges: what counts is what arrives in `internet`, not what a technique says.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "an attacker's program: it makes the calls that no library offers, in a process of its own"
)]
#![allow(
    clippy::borrow_as_ptr,
    clippy::cast_ptr_alignment,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::ptr_as_ptr,
    reason = "structures of the kernel, filled by hand"
)]
#![allow(
    missing_docs,
    clippy::unnecessary_wraps,
    clippy::print_stdout,
    reason = "names of techniques speak for themselves; results are lines of JSON on standard output"
)]

mod abi;
mod attempt;
mod cgroups;
mod descriptors;
mod devices;
mod dns;
mod exec;
mod families;
mod gateway;
mod guard;
mod ipc;
mod kernel;
mod mounts;
mod namespaces;
pub mod outside;
mod packet;
mod raw;
pub mod runner;
mod sys;
mod tcp;
mod tls;
mod udp;
mod unix;
mod uring;
pub mod world;

pub use attempt::{Attempt, NOBODY, Outcome, Stop, marked, pass, port};
pub use sys::{now, wiretap};
use world::Place;

/// One way out.
#[derive(Clone, Copy)]
pub struct Technique {
    /// Its name: unique, stable, in lower case.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// Who can do it outside.
    pub needs: Needs,
    /// What proves it.
    pub evidence: Evidence,
    /// Beside which others it runs.
    pub company: Company,
    /// What closes it in `guard run`, and in `guard attach`.
    pub closed_by: [&'static str; 2],
    /// What it said (a prefix) where another control closed it earlier, and which one.
    pub or: &'static [(&'static str, &'static str)],
    attempt: fn(&Attempt<'_>) -> Outcome,
}

/// Who can do it outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needs {
    /// Everybody.
    Nothing,
    /// Root.
    Root,
    /// Somebody who is not root yet.
    Ordinary,
}

/// Beside which other techniques one may run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Company {
    /// Any.
    Any,
    /// None: its packets carry no mark and are told by their time, or others would be in its way.
    None,
    /// None, and in a session of its own: if it works, guard may kill the session.
    Last,
}

/// What proves that it worked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// A packet in the internet.
    Packet,
    /// What it holds: a descriptor, a mount. Using it would harm the host that the suite runs on.
    Possession,
}

/// Capabilities that the ordinary user has never had.
const NO_CAPABILITY: (&str, &str) = ("socket: EPERM", "capabilities");

const fn technique(
    id: &'static str,
    title: &'static str,
    attempt: fn(&Attempt<'_>) -> Outcome,
) -> Technique {
    Technique {
        id,
        title,
        needs: Needs::Nothing,
        evidence: Evidence::Packet,
        company: Company::Any,
        closed_by: ["", ""],
        or: &[],
        attempt,
    }
}

impl Technique {
    const fn root(mut self) -> Self {
        self.needs = Needs::Root;
        self
    }

    const fn ordinary(mut self) -> Self {
        self.needs = Needs::Ordinary;
        self
    }

    const fn possession(mut self) -> Self {
        self.evidence = Evidence::Possession;
        self
    }

    const fn alone(mut self) -> Self {
        self.company = Company::None;
        self
    }

    const fn last(mut self) -> Self {
        self.company = Company::Last;
        self
    }

    const fn closed(mut self, run: &'static str, attach: &'static str) -> Self {
        self.closed_by = [run, attach];
        self
    }

    const fn or(mut self, other: &'static [(&'static str, &'static str)]) -> Self {
        self.or = other;
        self
    }

    /// The control that closed it, by what it said.
    pub fn control(&self, place: Place, said: &str) -> &'static str {
        if said.starts_with("unshare(CLONE_NEWUSER)") {
            return "user namespaces refused";
        }
        let other = self.or.iter().find(|(prefix, _)| said.starts_with(prefix));
        match (other, place) {
            (Some((_, control)), _) => control,
            (None, Place::Attach) => self.closed_by[1],
            (None, _) => self.closed_by[0],
        }
    }
}

/// Every technique with its number and its family. The address it aims at has the number in it.
pub fn techniques() -> impl Iterator<Item = (u16, &'static str, &'static Technique)> {
    let families: [(&'static str, &'static [Technique]); 21] = [
        ("control", CONTROL),
        ("TCP", tcp::TABLE),
        ("UDP", udp::TABLE),
        ("raw IP", raw::TABLE),
        ("packet sockets", packet::TABLE),
        ("other socket families", families::TABLE),
        ("io_uring", uring::TABLE),
        ("descriptors", descriptors::TABLE),
        ("unix sockets", unix::TABLE),
        ("IPC", ipc::TABLE),
        ("cgroups", cgroups::TABLE),
        ("namespaces", namespaces::TABLE),
        ("mounts", mounts::TABLE),
        ("kernel interfaces", kernel::TABLE),
        ("devices", devices::TABLE),
        ("exec", exec::TABLE),
        ("foreign ABIs", abi::TABLE),
        ("DNS", dns::TABLE),
        ("gateway", gateway::TABLE),
        ("guard itself", guard::TABLE),
        ("listeners", tcp::LISTENERS),
    ];
    families
        .into_iter()
        .flat_map(|(family, table)| table.iter().map(move |technique| (family, technique)))
        .zip(1..)
        .map(|((family, technique), number)| (number, family, technique))
}

/// What policy allows: must work everywhere, or the others' silence would prove nothing.
pub const ALLOWED: &str = "allowed";

const CONTROL: &[Technique] = &[technique(
    ALLOWED,
    "a host that the profile allows (must work)",
    gateway::allowed,
)];

/// Where the allowed host is: the address of the first technique, which is the control.
pub fn allowed_address() -> std::net::Ipv4Addr {
    attempt::target4(1)
}
