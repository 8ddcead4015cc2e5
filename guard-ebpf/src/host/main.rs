//! guard's host-wide eBPF programs: which processes belong to which session, and what becomes of those that
//! leave it. One object per daemon; `maps.rs` holds what it keeps.
//!
//! `cgroup` and `process` trace; `socket` stands at the root of the cgroups and `lsm` in the kernel's security
//! hooks, where it runs them: they refuse what reaches past the session.
//!
//! A process belongs to a session from when it is in the session's cgroup; the label sticks to it and to what
//! it forks. Outside of the cgroup no hook of the session would hold it, so it is killed there.
//! docs/ebpf.md tells how the object is built.
#![no_std]
#![no_main]

mod cgroup;
mod kernel;
mod label;
mod lsm;
mod maps;
mod path;
mod peer;
mod process;
mod report;
mod socket;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here panics: the kernel's verifier would not take an endless loop.
    loop {}
}

/// The kernel asks the object for this before it gives it helpers that read kernel memory and send signals.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
