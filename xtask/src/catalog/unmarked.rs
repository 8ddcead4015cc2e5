//! Text members that are called like secrets, but have no class: each is harmless for a reason that is written here, or
//! the generator fails. A newer model's secret that AWS does not mark is seen so.

use std::collections::BTreeSet;

use anyhow::ensure;

/// What was seen of them.
#[derive(Default)]
pub(crate) struct Unmarked {
    used: BTreeSet<usize>,
    unexplained: BTreeSet<String>,
}

impl Unmarked {
    /// Looks at a text member of `owner` that has no class.
    pub(crate) fn see(&mut self, service: &str, owner: &str, member: &str) {
        let lower = member.to_ascii_lowercase();
        if !is_called_a_secret(&lower) || ENDINGS.iter().any(|it| lower.ends_with(it)) {
            return;
        }
        let explained = HARMLESS
            .iter()
            .position(|&(of, name, _)| of == service && name == member);
        match explained {
            Some(place) => drop(self.used.insert(place)),
            None => drop(
                self.unexplained
                    .insert(format!("{service} {owner}.{member}")),
            ),
        }
    }

    /// Fails if one is not explained, or if an explanation is of nothing.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        ensure!(
            self.unexplained.is_empty(),
            "called like secrets, and not marked: add them to the reviewed list of classes.rs, or say in unmarked.rs why \
             they are harmless: {:#?}",
            self.unexplained
        );
        for (place, entry) in HARMLESS.iter().enumerate() {
            ensure!(
                self.used.contains(&place),
                "no output has {entry:?} without a class: correct the list of unmarked.rs"
            );
        }
        Ok(())
    }
}

fn is_called_a_secret(lower: &str) -> bool {
    let words = ["secret", "password", "privatekey"];
    let tokens = ["accesstoken", "refreshtoken", "idtoken", "authtoken"];
    words.iter().chain(&tokens).any(|it| lower.contains(it))
}

/// Endings of names of what tells of a secret that is elsewhere: where it is (`arn`, `id`, `name`, the key of a JSON
/// object, which store is its source), and what it is like (`status`, `type`, `version`, the algorithm of a hash).
const ENDINGS: [&str; 9] = [
    "algorithm",
    "arn",
    "id",
    "jsonkey",
    "name",
    "source",
    "status",
    "type",
    "version",
];

/// Service, member, why it is harmless.
const HARMLESS: &[(&str, &str, &str)] = &[
    ("accessanalyzer", "secretPolicy", "a resource policy"),
    ("appmesh", "privateKey", "the path of a file"),
    ("cognito-idp", "AccessToken", "a unit of time"),
    ("cognito-idp", "IdToken", "a unit of time"),
    ("cognito-idp", "RefreshToken", "a unit of time"),
    ("fsx", "DomainJoinServiceAccountSecret", "an ARN"),
    ("lightsail", "passwordField", "a field of a form"),
    ("mediaconvert", "CertificateSecret", "an ARN"),
    ("medialive", "PasswordParam", "the name of an SSM parameter"),
    ("mediapackage", "CdnIdentifierSecret", "an ARN"),
    ("mediapackage-vod", "CdnIdentifierSecret", "an ARN"),
    ("mediatailor", "SecretStringKey", "a key of a JSON object"),
    ("qbusiness", "secretsRole", "an ARN"),
    ("quicksight", "PasswordButtonXpath", "a place in a page"),
    ("quicksight", "PasswordFieldXpath", "a place in a page"),
    ("workspaces", "ForgotPasswordLink", "a page for everybody"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_a_secret_is_explained_or_fails() {
        let mut unmarked = Unmarked::default();
        for member in [
            "SecretArn",
            "nextToken",
            "clientSecretId",
            "masterPasswordStatus",
        ] {
            unmarked.see("new", "Shape", member);
        }
        for (service, member, _) in HARMLESS {
            unmarked.see(service, "Shape", member);
        }
        assert!(unmarked.finish().is_ok());
        unmarked.see("new", "Shape", "refreshToken");
        let error = unmarked.finish().unwrap_err().to_string();
        assert!(error.contains("new Shape.refreshToken"), "{error}");

        let error = Unmarked::default().finish().unwrap_err().to_string();
        assert!(error.contains("secretPolicy"), "{error}");
    }
}
