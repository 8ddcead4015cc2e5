//! Whose minted credentials are where the answer that they were in did not tell: STS does.

use std::sync::OnceLock;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Minted, MintedFor};
use crate::broker::{ACCOUNT_RETRY_GAP, Principal, Source};

/// What STS said of one set.
#[derive(Default)]
pub struct Lookup {
    found: OnceLock<Principal>,
    /// Held by the one that asks: when that failed.
    failed: Mutex<Option<Instant>>,
}

impl Minted {
    /// Whose they are, as far as that is known by now.
    pub fn known(&self) -> MintedFor {
        match (&self.principal, self.lookup.found.get()) {
            (MintedFor::Unknown, Some(found)) => MintedFor::Named(found.clone()),
            (known, _) => known.clone(),
        }
    }
}

impl Source {
    /// Whose minted credentials are that nothing named: asks STS with them, once for each set. Where that fails, it
    /// is not tried again for a minute. STS does not know those of S3 Express.
    pub async fn resolve_minted(&self, minted: &Minted) -> Option<Principal> {
        let Lookup { found, failed } = &minted.lookup;
        if let Some(found) = found.get() {
            return Some(found.clone());
        }
        if minted.express {
            return None;
        }
        let mut failed = failed.lock().await;
        if let Some(found) = found.get() {
            return Some(found.clone());
        }
        if failed.is_some_and(|at| at.elapsed() < ACCOUNT_RETRY_GAP) {
            return None;
        }
        match self.ask_principal(&minted.credentials).await {
            Ok(principal) => Some(found.get_or_init(|| principal).clone()),
            Err(error) => {
                tracing::warn!(error, "it is not known whose minted credentials are");
                *failed = Some(Instant::now());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_credential_types::Credentials;

    use super::*;
    use crate::broker::tests::{Home, Scripted, Step};

    fn minted(principal: MintedFor, express: bool) -> Minted {
        Minted {
            credentials: Credentials::new(
                "ASIAMINTED",
                "secret",
                Some("token".to_owned()),
                None,
                "x",
            ),
            express,
            principal,
            lookup: Lookup::default(),
            chain: Vec::new(),
        }
    }

    #[tokio::test]
    async fn sts_is_asked_once_for_each_set() {
        let arn = "arn:aws:sts::123456789012:assumed-role/R/s";
        let mut home = Home::new();
        home.selection.region = Some("eu-west-1".to_owned());
        let way = Scripted::new([
            Step::Unreached { passing: false },
            Step::Slow(
                10,
                format!(
                    "<R><Arn>{arn}</Arn><UserId>AROA:s</UserId><Account>123456789012</Account></R>"
                ),
            ),
        ]);
        let source = home.source_with(None, Arc::clone(&way)).await.unwrap();
        let set = minted(MintedFor::Unknown, false);
        assert_eq!(source.resolve_minted(&set).await, None);
        assert_eq!(source.resolve_minted(&set).await, None);
        assert_eq!(way.calls().len(), 1, "not again so soon");
        assert_eq!(set.known(), MintedFor::Unknown);

        *set.lookup.failed.lock().await = None;
        let (one, other) = tokio::join!(source.resolve_minted(&set), source.resolve_minted(&set));
        let found = one.clone().unwrap();
        assert_eq!(found.arn.as_deref(), Some(arn));
        assert_eq!(found.user_id.as_deref(), Some("AROA:s"));
        assert_eq!(
            (other, source.resolve_minted(&set).await),
            (one.clone(), one)
        );
        assert_eq!(set.known(), MintedFor::Named(found));
        let calls = way.calls();
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1].0.operation, "GetCallerIdentity");
        assert_eq!(calls[1].0.host, "sts.eu-west-1.amazonaws.com");
        assert_eq!(calls[1].0.signing_key.as_deref(), Some("ASIAMINTED"));

        let express = minted(MintedFor::Unknown, true);
        assert_eq!(source.resolve_minted(&express).await, None);
        assert_eq!(way.calls().len(), 2);
    }
}
