//! The eBPF hooks, on real sockets of real processes. Needs root, cgroup v2, `ip` and python3; says so and
//! passes where it does not run as root.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test's own fixtures fail by panicking"
)]

mod datagram;
mod device;
mod lifetime;
mod open_sockets;
mod replaced;
mod session;
mod shared;
mod sockets;
mod tcp;
mod unix;
