//! The host-wide eBPF programs, on real processes: what they tell of them, and what becomes of those that leave
//! their session. Needs root, cgroup v2 and python3; says so and passes where it does not run as root.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's own fixtures fail by panicking"
)]

mod escape;
mod host;
mod lifetime;
mod reach;
mod records;
mod sockets;
