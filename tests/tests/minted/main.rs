//! Credentials that calls of a session mint: the agent gets dummies, and what they sign leaves as the real ones.
#![allow(
    clippy::panic,
    reason = "a test's own helper functions fail the test, too"
)]

mod answers;
mod clients;
mod errors;
mod session;
