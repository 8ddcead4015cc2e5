//! Whose credentials a set of dummies stands for, told apart and told.

use std::borrow::Cow;

use super::{Issue, Minted, StandsFor};

/// The session's own credentials.
const OWN: &str = "session";

impl Issue {
    /// What tells the principal apart from every other of the session. It is the same for each set of credentials
    /// that one role gives, whatever their session name; where nobody named the principal, each set has its own.
    pub fn whose(&self) -> Cow<'_, str> {
        match &self.stands_for {
            StandsFor::Session => Cow::Borrowed(OWN),
            StandsFor::Minted(minted) => Cow::Borrowed(
                minted
                    .principal
                    .arn()
                    .map_or(&self.dummy.access_key_id, without_session_name),
            ),
        }
    }
}

impl Minted {
    /// Whose they are, for a person.
    pub fn described(&self) -> String {
        let by = self
            .chain
            .last()
            .map_or("a call of the session", |it| &it.operation);
        match self.known().arn() {
            Some(arn) => format!("{arn} (by {by})"),
            None => format!("whom {by} gave credentials for"),
        }
    }
}

/// `arn:aws:sts::123456789012:assumed-role/R/name` without `/name`: SDKs draw it anew in each process.
fn without_session_name(arn: &str) -> &str {
    match arn.rsplit_once('/') {
        Some((role, _)) if arn.contains(":assumed-role/") => role,
        _ => arn,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use aws_credential_types::Credentials;

    use super::super::super::{DummyCredentials, Issued, Lookup, MintedFor, Principal};
    use super::*;

    #[test]
    fn a_role_is_one_principal_under_every_session_name() {
        let issued = Issued::new(DummyCredentials::random());
        let issue = |principal| {
            let credentials = Credentials::new("ASIAREAL", "s", Some("t".to_owned()), None, "test");
            let minted = Minted {
                credentials,
                express: false,
                principal,
                lookup: Lookup::default(),
                chain: Vec::new(),
            };
            issued.mint(DummyCredentials::temporary(), minted, SystemTime::now())
        };
        let named = |arn: &str| {
            issue(MintedFor::Named(Principal {
                account: "222222222222".to_owned(),
                arn: Some(arn.to_owned()),
                user_id: None,
            }))
        };
        let role = |name: &str| {
            named(&format!(
                "arn:aws:sts::222222222222:assumed-role/prod/{name}"
            ))
        };
        assert_eq!(role("a").whose(), role("b").whose());
        assert_eq!(
            role("a").whose(),
            "arn:aws:sts::222222222222:assumed-role/prod"
        );
        let user = "arn:aws:sts::222222222222:federated-user/a";
        assert_eq!(named(user).whose(), user);
        assert_ne!(
            issue(MintedFor::Unknown).whose(),
            issue(MintedFor::Unknown).whose()
        );
        let own = issued.find(&issued.own().access_key_id).unwrap();
        assert_ne!(own.whose(), role("a").whose());
    }
}
