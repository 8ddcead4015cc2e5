//! The journal: an append-only, hash-chained record of everything a session did.
//!
//! `entry` says what is recorded, `journal` makes it durable, `chain` is the form of a line,
//! `who` whose it is, `segment` the files, `writer` the thread between them. `read`, `verify` and `show` are the other
//! side: they need the files only, no daemon. docs/journal.md is the same for readers.

mod bounds;
mod chain;
pub mod entry;
pub mod journal;
pub mod read;
mod segment;
pub mod show;
mod torn;
pub mod verify;
pub mod who;
mod whole;
mod writer;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
