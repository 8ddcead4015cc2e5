//! guard confines an AI agent's process tree and reviews every AWS call it makes.
//!
//! ARCHITECTURE.md tells how the modules meet and which invariants hold between them.

pub mod approval;
pub mod aws;
pub mod broker;
pub mod cli;
pub mod config;
pub mod context;
pub mod control;
pub mod gateway;
pub mod identity;
pub mod intercept;
pub mod kernel;
pub mod mask;
pub mod policy;
pub mod record;
pub mod sandbox;
pub mod seal;
pub mod service;
pub mod session;
#[cfg(test)]
mod skip;
pub mod term;
mod visible;
