//! The daemon: start, recovery after a crash, sessions' lives, shutdown.
