//! Credentials that an answer mints: the client gets dummies of its session for them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use time::OffsetDateTime;

use super::authenticate::Authenticated;
use super::{Exchange, NOT_RECORDED};
use crate::aws::Protocol;
use crate::broker::{Issue, LONGEST_CHAIN, Minted, Principal};
use crate::mask::minted::{self, Found, Minting, Mints, Named};
use crate::record::entry::{Assumed, Event};

/// How long dummies hold whose answer does not say when the credentials end: the least that STS gives.
const UNTOLD: Duration = Duration::from_mins(15);

impl Exchange {
    /// Makes dummies for the credentials in an answer and puts these in their places. They are on record, and
    /// kept for the next daemon, before the answer is released.
    pub(super) async fn mint(
        &self,
        minting: Minting,
        protocol: Protocol,
        from: &Authenticated,
        body: Bytes,
    ) -> Result<Bytes, String> {
        let mints = minted::find(minting, protocol, &body).map_err(|error| error.to_string())?;
        if mints.found.is_empty() {
            return Ok(body);
        }
        let chain = self.chain(minting, from, &mints)?;
        let principal = match from.issue() {
            Some(issue) if !minting.changes_principal() => self.same_principal(issue).await,
            _ => mints.principal.as_ref().and_then(principal_of),
        };
        let mut dummies = Vec::with_capacity(mints.found.len());
        for found in &mints.found {
            let expiry = found.expiry.unwrap_or_else(|| SystemTime::now() + UNTOLD);
            let minted = Minted {
                credentials: credentials(found),
                express: minting.is_express(),
                principal: principal.clone(),
                chain: chain.clone(),
            };
            let issue = self.session.issued.mint(minted, expiry);
            let event = Event::CredentialsMinted {
                exchange: self.decided.exchange.clone(),
                dummy_key: issue.dummy.access_key_id.clone(),
                real_key: found.access_key_id.clone(),
                arn: principal.as_ref().and_then(|it| it.arn.clone()),
                expiry: OffsetDateTime::from(expiry),
            };
            if !self.append(event).await {
                return Err(NOT_RECORDED.to_owned());
            }
            dummies.push(issue.dummy.clone());
        }
        self.keep_issued().await?;
        minted::replace(minting, &body, &mints, &dummies).map_err(|error| error.to_string())
    }

    /// The calls that led to what is minted, this one last.
    fn chain(
        &self,
        minting: Minting,
        from: &Authenticated,
        mints: &Mints,
    ) -> Result<Vec<Assumed>, String> {
        let parent = from.issue().and_then(|issue| issue.minted());
        let mut chain = parent.map_or_else(Vec::new, |parent| parent.chain.clone());
        if chain.len() >= LONGEST_CHAIN {
            return Err(format!(
                "credentials were minted with credentials more than {LONGEST_CHAIN} times in a row"
            ));
        }
        let service = self.decided.service.as_deref().unwrap_or_default();
        chain.push(Assumed {
            exchange: self.decided.exchange.clone(),
            operation: format!("{service}:{}", minting.operation()),
            arn: mints.principal.as_ref().and_then(|it| it.arn.clone()),
        });
        Ok(chain)
    }

    async fn same_principal(&self, issue: &Issue) -> Option<Principal> {
        match issue.minted() {
            Some(minted) => minted.principal.clone(),
            None => self.session.credentials.principal(),
        }
    }

    async fn keep_issued(&self) -> Result<(), String> {
        let session = Arc::clone(&self.session);
        match tokio::task::spawn_blocking(move || session.issued.keep()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!(
                "guard could not keep the session's dummies: {error}"
            )),
            Err(error) => Err(format!(
                "guard could not keep the session's dummies: {error}"
            )),
        }
    }
}

fn credentials(found: &Found) -> Credentials {
    Credentials::new(
        found.access_key_id.clone(),
        found.secret_access_key.as_str(),
        Some(found.session_token.to_string()),
        found.expiry,
        "minted",
    )
}

/// The account is in the ARN.
fn principal_of(named: &Named) -> Option<Principal> {
    let arn = named.arn.as_deref()?;
    let account = arn.split(':').nth(4)?;
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Principal {
        account: account.to_owned(),
        arn: Some(arn.to_owned()),
        user_id: named.id.clone(),
    })
}
