//! The way out for calls of guard's own: on record first, then to their host.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

use crate::record::entry::{Event, OwnCall};

/// A future that a `Way` returns.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How a session's own calls leave this host.
pub trait Way: Send + Sync {
    /// Puts a call on record, then sends it, and reads the whole answer.
    fn ask(
        &self,
        call: OwnCall,
        request: Request<Bytes>,
    ) -> Pending<'_, Result<Response<Bytes>, WayError>>;

    /// Puts something on record; whether it is durable now.
    fn record(&self, event: Event) -> Pending<'_, bool>;
}

/// Why a call of guard's own has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct WayError {
    /// What failed, and what to do about it.
    pub text: String,
    /// It may go better in a moment.
    pub passing: bool,
}
