//! The ABI between guard's eBPF programs and its daemon.
#![no_std]
