//! The journal: an append-only, hash-chained record of everything a session did.

pub mod entry;
pub mod journal;
