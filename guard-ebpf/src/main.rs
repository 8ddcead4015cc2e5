//! guard's eBPF programs. One object is loaded per session; `maps.rs` holds what it keeps.
//!
//! The programs sit on the session's cgroup. Without settings (`maps::SETTINGS`) each refuses
//! everything. docs/ebpf.md tells how the object is built.
#![no_std]
#![no_main]

mod caller;
mod connect;
mod datagram;
mod device;
mod maps;
mod marks;
mod packet;
mod peer;
mod socket;
mod sockops;
mod volatile;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Nothing here panics: the kernel's verifier would not take an endless loop.
    loop {}
}

/// The kernel gives some helpers to GPL programs only and asks the object; guard uses none of those.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
