//! Calls of guard's own: on record before they leave, through the session's way out.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use super::upstream::{Upstream, UpstreamError};
use crate::broker::{Pending, Way, WayError};
use crate::record::entry::{Entry, Event, OwnCall};
use crate::record::journal::Journal;
use crate::session::SessionId;

/// A session's way out for guard's own calls.
pub struct OwnWay {
    /// Where they are on record.
    pub journal: Journal,
    /// Whose they are.
    pub session: SessionId,
    /// How they leave.
    pub upstream: Arc<Upstream>,
}

impl OwnWay {
    async fn append(&self, event: Event) -> bool {
        let entry = Entry {
            session: Some(self.session.clone()),
            event,
        };
        match self.journal.append(entry).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "the journal failed; guard's own calls do not leave until it works");
                false
            }
        }
    }
}

impl Way for OwnWay {
    fn ask(
        &self,
        call: OwnCall,
        request: Request<Bytes>,
    ) -> Pending<'_, Result<Response<Bytes>, WayError>> {
        Box::pin(async move {
            if !self.append(Event::OwnCall(call)).await {
                return Err(WayError {
                    text:
                        "guard could not record its call, so it may not leave; see the daemon's log"
                            .to_owned(),
                    passing: false,
                });
            }
            self.upstream.ask(request).await.map_err(|error| WayError {
                text: error.to_string(),
                passing: matches!(
                    error,
                    UpstreamError::Name { .. }
                        | UpstreamError::Connect { .. }
                        | UpstreamError::Timeout { .. }
                        | UpstreamError::Closed { .. }
                ),
            })
        })
    }

    fn record(&self, event: Event) -> Pending<'_, bool> {
        Box::pin(self.append(event))
    }
}
