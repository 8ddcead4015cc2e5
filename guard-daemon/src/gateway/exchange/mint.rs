//! Temporary credentials that an answer holds: the client gets dummies of its session in their place.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use time::OffsetDateTime;

use super::authenticate::Authenticated;
use super::{Exchange, NOT_RECORDED};
use crate::broker::{DummyCredentials, LONGEST_CHAIN, Lookup, Minted, MintedFor, Principal};
use crate::mask::minted::{Fresh, Mints, Whose};
use crate::record::entry::{Assumed, Event};

/// How long dummies hold where the answer does not say when the credentials end: the longest that AWS gives
/// (GetSessionToken), since AWS refuses what has ended, too.
const UNTOLD: Duration = Duration::from_hours(36);

/// What an answer minted, with the dummies that stand there now.
pub(super) type Handed = Vec<(Fresh, DummyCredentials)>;

impl Exchange {
    /// Makes dummies known that an answer has by now. They are kept for the next daemon, and on record, before the
    /// answer is released.
    pub(super) async fn hand_out(
        &self,
        mints: &Mints,
        from: &Authenticated,
        handed: Handed,
    ) -> Result<(), String> {
        if handed.is_empty() {
            return Ok(());
        }
        let parent = from.issue().and_then(|issue| issue.minted());
        let mut events = Vec::with_capacity(handed.len());
        for (fresh, dummy) in handed {
            let principal = minted_for(mints, parent, &self.whose, &fresh);
            let arn = principal.arn().map(str::to_owned);
            let expiry = fresh.expiry.unwrap_or_else(|| SystemTime::now() + UNTOLD);
            let real_key = fresh.access_key_id.clone();
            let minted = Minted {
                credentials: Credentials::new(
                    fresh.access_key_id,
                    fresh.secret_access_key.as_str(),
                    Some(fresh.session_token.to_string()),
                    fresh.expiry,
                    "minted",
                ),
                express: mints.is_express(),
                principal,
                lookup: Lookup::default(),
                chain: self.chain(mints, from, arn.clone())?,
            };
            let issue = self.session.issued.mint(dummy, minted, expiry);
            events.push(Event::CredentialsMinted {
                exchange: self.decided.exchange.clone(),
                dummy_key: issue.dummy.access_key_id.clone(),
                real_key,
                arn,
                expiry: OffsetDateTime::from(issue.expiry.unwrap_or(expiry)),
            });
        }
        self.session
            .issued
            .keep()
            .await
            .map_err(|error| format!("guard could not keep the session's dummies: {error}"))?;
        for event in events {
            if !self.append(event).await {
                return Err(NOT_RECORDED.to_owned());
            }
        }
        Ok(())
    }

    /// The calls that led to what is minted, this one last.
    fn chain(
        &self,
        mints: &Mints,
        from: &Authenticated,
        arn: Option<String>,
    ) -> Result<Vec<Assumed>, String> {
        let parent = from.issue().and_then(|issue| issue.minted());
        let mut chain = parent.map_or_else(Vec::new, |parent| parent.chain.clone());
        if chain.len() >= LONGEST_CHAIN {
            return Err(format!(
                "credentials were minted with minted credentials more than {LONGEST_CHAIN} times in a row"
            ));
        }
        chain.push(Assumed {
            exchange: self.decided.exchange.clone(),
            operation: mints.to_string(),
            arn,
        });
        Ok(chain)
    }
}

/// Whose the credentials are: the caller's, or of whom the answer names. The caller is that of `parent`, else the one
/// of the session's own credentials that this exchange was decided for and signed as, who is in `whose`: the session's
/// next ones may be another's.
fn minted_for(
    mints: &Mints,
    parent: Option<&Minted>,
    whose: &[Principal],
    fresh: &Fresh,
) -> MintedFor {
    let found = match (mints.whose(), parent) {
        (Whose::Told, _) => told(fresh),
        (Whose::Caller, Some(parent)) => return parent.known(),
        (Whose::Caller, None) => whose
            .iter()
            .rfind(|it| it.arn.is_some())
            .or(whose.last())
            .cloned(),
    };
    found.map_or(MintedFor::Unknown, MintedFor::Named)
}

/// The principal that an answer names; its account is in the ARN.
fn told(fresh: &Fresh) -> Option<Principal> {
    let arn = fresh.arn.as_deref()?;
    let account = arn.split(':').nth(4)?;
    let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Principal {
        account: account.to_owned(),
        arn: Some(arn.to_owned()),
        user_id: fresh.user_id.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_gets_is_of_whom_it_was_signed_as() {
        let fresh = |arn: Option<&str>| Fresh {
            access_key_id: "ASIAREAL".to_owned(),
            secret_access_key: "s".to_owned().into(),
            session_token: "t".to_owned().into(),
            expiry: None,
            arn: arn.map(str::to_owned),
            user_id: None,
        };
        let principal = |arn: Option<&str>| Principal {
            account: "123456789012".to_owned(),
            arn: arn.map(str::to_owned),
            user_id: None,
        };
        let user = principal(Some("arn:aws:iam::123456789012:user/u"));
        let own = Mints::of("sts", "GetSessionToken").unwrap();
        let told = Mints::of("sts", "AssumeRole").unwrap();
        let role = "arn:aws:sts::123456789012:assumed-role/R/s";
        for (mints, whose, arn, expected) in [
            (own, &[][..], None, MintedFor::Unknown),
            (
                own,
                &[principal(None)],
                None,
                MintedFor::Named(principal(None)),
            ),
            (
                own,
                &[user.clone(), principal(None)],
                None,
                MintedFor::Named(user.clone()),
            ),
            (
                told,
                std::slice::from_ref(&user),
                Some(role),
                MintedFor::Named(principal(Some(role))),
            ),
            (told, std::slice::from_ref(&user), None, MintedFor::Unknown),
        ] {
            assert_eq!(minted_for(mints, None, whose, &fresh(arn)), expected);
            let parent = Minted {
                credentials: Credentials::new("ASIAREAL", "s", None, None, "test"),
                express: false,
                principal: MintedFor::Named(principal(Some("arn:aws:iam::123456789012:user/p"))),
                lookup: Lookup::default(),
                chain: Vec::new(),
            };
            if mints.whose() == Whose::Caller {
                let of_parent = minted_for(mints, Some(&parent), whose, &fresh(arn));
                assert_eq!(of_parent, parent.principal);
            }
        }
    }

    #[test]
    fn the_account_of_a_principal_is_that_of_its_arn() {
        let fresh = |arn: &str| Fresh {
            access_key_id: "ASIAREAL".to_owned(),
            secret_access_key: "s".to_owned().into(),
            session_token: "t".to_owned().into(),
            expiry: None,
            arn: Some(arn.to_owned()),
            user_id: Some("AROA:s".to_owned()),
        };
        let arn = "arn:aws:sts::123456789012:assumed-role/R/s";
        let principal = told(&fresh(arn)).unwrap();
        assert_eq!(principal.account, "123456789012");
        assert_eq!(principal.arn.as_deref(), Some(arn));
        assert_eq!(principal.user_id.as_deref(), Some("AROA:s"));
        for odd in ["", "arn:aws:sts::x:assumed-role/R/s", "arn:aws:sts::12"] {
            assert_eq!(told(&fresh(odd)), None, "{odd}");
        }
    }
}
