//! End-to-end tests of guard with real clients.
