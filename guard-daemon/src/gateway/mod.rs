//! The HTTP side: serves the confined client, runs each exchange, and dials the upstream.
//!
//! `exchange` is the pipeline; the other files are its parts. `serve` and `framing`/`head` stand between the
//! client and it, `upstream`, `dial` and `route` between it and AWS; `spool` and `body` carry the bytes.

mod admit;
mod approved;
mod body;
mod budget;
mod chunked;
mod collected;
mod described;
mod dial;
mod events;
pub mod exchange;
mod fingerprint;
mod forward;
mod framing;
mod head;
#[cfg(test)]
mod loopback;
mod outcome;
mod own;
mod refusal;
mod route;
mod serve;
mod spool;
pub mod upstream;

use std::sync::Arc;

use crate::approval::Approvals;
use crate::config::Config;
use crate::intercept::authority::Authority;
use crate::kernel::tracker::Tracker;
use crate::record::journal::Journal;

pub use body::{BodyError, RequestBody, ResponseBody};
pub use budget::Share;
pub use chunked::ChunkError;
pub use described::check_described;
pub use events::EventError;
pub use outcome::settle;
pub use own::OwnWay;
pub use serve::serve;
pub(crate) use serve::serve_http1;
pub use spool::IN_MEMORY;

/// What all sessions of a daemon share.
pub struct Gateway {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The journal.
    pub journal: Journal,
    /// Open approvals.
    pub approvals: Approvals,
    /// The certificate authority that the confined tree trusts.
    pub authority: Arc<Authority>,
    /// Knows the sessions' processes; `None` where the kernel cannot be asked.
    pub tracker: Option<Arc<Tracker>>,
}
