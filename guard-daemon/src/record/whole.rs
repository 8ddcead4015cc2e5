//! The whole of what a call asks for, in entries of its own, where that of its decision has no room for it.

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::chain::LINE_BYTES;
use super::entry::{Access, Entry, Event, ExchangeDecided};
use crate::visible;

/// Entries that one call is told in at the most: what a request of 1 MiB names fits, if it is not asked for by several
/// actions.
const MOST_PARTS: usize = 64;
/// Bytes of all of them at the most.
pub(super) const MOST_BYTES: usize = (MOST_PARTS + 1) * LINE_BYTES;
/// Bytes of an entry besides what it lists.
const FRAME_BYTES: usize = 512;
/// Bytes of an action, its level and their names in JSON, at the most.
const ACTION_BYTES: usize = 512;

/// What is told of a call's resources where an entry has no room for them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WholeAccess {
    /// Pairs of an action and a resource.
    pub count: u64,
    /// SHA-256 of all of them, in order: of each `["ACTION","RESOURCE"]` as JSON and a line end, `null` for what is not
    /// known.
    pub sha256: String,
    /// The entries that follow and hold them.
    pub parts: u64,
    /// How many of the pairs these hold: the first ones, and all if there is room.
    pub recorded: u64,
}

/// What a decision that is too long for its entry asks for, and the entries that say it, each of `most` bytes at the
/// most.
pub(super) fn divide(
    entry: &Entry,
    decided: &ExchangeDecided,
    most: usize,
) -> Result<(WholeAccess, Vec<Entry>), serde_json::Error> {
    let room = most.saturating_sub(FRAME_BYTES);
    let mut parts: Vec<Vec<Access>> = Vec::new();
    let mut full = false;
    let (mut count, mut recorded, mut used) = (0, 0, room);
    let mut hash = digest::Context::new(&digest::SHA256);
    for access in &decided.access {
        let mut head = true;
        for resource in &access.resources {
            count += 1;
            hash.update(&serde_json::to_vec(&(&access.action, resource))?);
            hash.update(b"\n");
            let own = visible::json_line(serde_json::to_string(resource)?).len() + 1;
            let bytes = own + if head { ACTION_BYTES } else { 0 };
            if used + bytes > room {
                full |= parts.len() == MOST_PARTS;
                if !full {
                    parts.push(Vec::new());
                    head = true;
                    used = 0;
                }
            }
            let Some(part) = parts.last_mut().filter(|_| !full) else {
                continue;
            };
            if head {
                used += ACTION_BYTES;
                head = false;
                part.push(Access {
                    resources: Vec::new(),
                    ..access.clone()
                });
            }
            if let Some(last) = part.last_mut() {
                last.resources.push(resource.clone());
            }
            used += own;
            recorded += 1;
        }
    }
    let whole = WholeAccess {
        count,
        sha256: hex::encode(hash.finish()),
        parts: parts.len() as u64,
        recorded,
    };
    let entry = |(number, access)| Entry {
        session: entry.session.clone(),
        event: Event::ExchangeAccess {
            exchange: decided.exchange.clone(),
            part: number,
            access,
        },
    };
    Ok((whole, (1..).zip(parts).map(entry).collect()))
}
