//! Starts the confined command: cgroup, network namespace, user, environment, terminal.
//!
//! One of the two modules that may hold `unsafe`.
