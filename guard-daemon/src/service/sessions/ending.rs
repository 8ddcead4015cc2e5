//! How a session ends: its tree is killed or let go, and then everything else of it goes.

use std::path::Path;
use std::sync::Arc;

use super::saved::Place;
use super::{EXPIRED, Remains, Sessions};
use crate::record::entry::Event;
use crate::sandbox::cgroup::Cgroup;
use crate::session::SessionId;

/// What becomes of the tree when its session ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tree {
    /// It is killed.
    Killed,
    /// It goes on, unconfined.
    Released,
}

impl Sessions {
    /// Ends a session. The tree first: what still runs must not see its gateway go away.
    pub(super) async fn conclude(&self, id: &SessionId, cause: &str, tree: Tree) {
        let (session, serving, supervising, ended, remains, place) = {
            let running = self.running();
            let Some(session) = running.get(id) else {
                return;
            };
            let place = session.saved.place.clone();
            (
                Arc::clone(&session.session),
                session.serving.abort_handle(),
                session.supervising.clone(),
                Arc::clone(&session.ended),
                self.remains(id, &place),
                place,
            )
        };
        // Whatever noticed it: a tree that went when it was told to has ended at its time.
        let over = session.term.is_over();
        let cause = if over && matches!(cause, "exited" | "launcher-gone") {
            EXPIRED
        } else {
            cause
        };
        ended
            .get_or_init(|| async {
                supervising.abort();
                let gone = match tree {
                    Tree::Killed => self.kill(id, &remains).await,
                    Tree::Released => self.release(id, &remains, &place).await,
                };
                if gone {
                    self.untrack(id).await;
                }
                serving.abort();
                self.gateway.approvals.close_session(id).await;
                // An exchange that is still under way must not bring the file back that is removed here.
                session.issued.close().await;
                // What survives stays confined; the next daemon tries again.
                if gone {
                    remains.forget().await;
                }
                self.record(
                    id,
                    Event::SessionEnded {
                        cause: cause.to_owned(),
                    },
                )
                .await;
                self.gateway.journal.forget(id);
                // Until now its processes were to be known as confined.
                self.running().remove(id);
                tracing::info!("session {id} ended: {cause}");
            })
            .await;
    }

    pub(super) async fn release(&self, id: &SessionId, remains: &Remains, place: &Place) -> bool {
        // Or it would be killed for leaving.
        self.untrack(id).await;
        let Place::Moved { from } = place else {
            return true;
        };
        // The root takes processes always.
        let above = Path::new(from).ancestors().filter_map(Path::to_str);
        let to: Vec<Cgroup> = above.map(|name| self.hierarchy.named(name, None)).collect();
        let remains = remains.clone();
        match tokio::task::spawn_blocking(move || remains.send_back(&to)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::error!("the tree stays in its cgroup, unconfined: {error}");
                true
            }
            Err(error) => {
                tracing::error!("{error}");
                false
            }
        }
    }

    /// Takes everything away after killing the tree. Where something survives, its hooks do, too; the next daemon tries
    /// again. Tells whether nothing of the tree is left.
    pub(super) async fn clear(&self, id: &SessionId, remains: &Remains) -> bool {
        let gone = self.kill(id, remains).await;
        if gone {
            // First what nothing else would lead to.
            self.untrack(id).await;
            remains.forget().await;
        }
        gone
    }

    /// Kills a session's tree, and those of its processes that another one moved elsewhere. Tells whether nothing of it is
    /// left.
    async fn kill(&self, id: &SessionId, remains: &Remains) -> bool {
        remains.kill().await && self.expel(id).await
    }

    /// Kills the processes that are known to be a session's, wherever they are. Tells whether none is left.
    pub(super) async fn expel(&self, id: &SessionId) -> bool {
        let Some(tracker) = self.gateway.tracker.clone() else {
            return true;
        };
        let name = id.clone();
        match tokio::task::spawn_blocking(move || tracker.expel(&name)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => tracing::error!("session {id}: {error}"),
            Err(error) => tracing::error!("session {id}: {error}"),
        }
        false
    }

    async fn untrack(&self, id: &SessionId) {
        if let Some(tracker) = self.gateway.tracker.clone() {
            let id = id.clone();
            let released = tokio::task::spawn_blocking(move || tracker.release(&id)).await;
            if let Err(error) = released {
                tracing::error!("{error}");
            }
        }
    }
}
