//! Tokens that AWS's clients compute locally: guard makes the same as they do, and for a session only what its
//! policy lets it have.
#![allow(
    clippy::unwrap_used,
    reason = "a test's own helper functions fail the test, too"
)]

mod clients;
mod session;
