//! Fuzz targets: each takes any bytes, and panics where something that must hold does not.
//!
//! `cargo xtask fuzz` runs them with libFuzzer; `tests/corpus.rs` runs the seeds of `corpus/` alone. Inputs that stand
//! for requests are text ([`request`]), so that seeds can be written and read by people.
#![allow(
    clippy::missing_panics_doc,
    clippy::panic,
    reason = "a target reports by panicking"
)]

// What `target` includes of guard's sources brings its tests along, which run where it is at home.
#[cfg(not(test))]
pub mod request;
#[cfg(not(test))]
mod target;

#[cfg(not(test))]
pub use target::Target;
