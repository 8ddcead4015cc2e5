//! Takes secrets out of command lines.
//!
//! A guess by names, on the safe side: what follows the name of a secret goes, up to the end of that
//! argument. It does not find a secret that nothing names.

use std::borrow::Cow;

/// Stands where a secret stood.
const REDACTED: &str = "[redacted]";

/// Parts of names whose values are secret, in lower case, `-` for `_`.
const SECRET: [&str; 10] = [
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "credential",
    "authorization",
    "api-key",
    "apikey",
    "private-key",
];

/// Ends of names that say where or which a secret is, not what.
const HARMLESS: [&str; 8] = [
    "-id", "-arn", "-name", "-file", "-path", "-version", "-stdin", "-type",
];

/// Names that contain one of `SECRET` and are none, with AWS' paging tokens.
const NOT_SECRET: [&str; 7] = [
    "secretsmanager",
    "get-secret-value",
    "put-secret-value",
    "starting-token",
    "next-token",
    "client-token",
    "client-request-token",
];

/// Redacts a command line.
pub(super) fn redact<'a>(arguments: impl Iterator<Item = Cow<'a, str>>) -> Vec<String> {
    let mut after = After::Other;
    arguments
        .map(|argument| {
            let redacted = match after {
                After::Secret => REDACTED.to_owned(),
                After::User => without_password(&argument),
                After::Other => without_secret(&without_userinfo(&argument)),
            };
            after = After::argument(&argument);
            redacted
        })
        .collect()
}

/// What the argument before makes of one.
enum After {
    /// `--password`
    Secret,
    /// `-u` or `--user`, of which curl takes `name:password`.
    User,
    Other,
}

impl After {
    fn argument(argument: &str) -> Self {
        if matches!(argument, "-u" | "--user" | "-U" | "--proxy-user") {
            Self::User
        } else if argument.starts_with('-') && !argument.contains(['=', ' ']) && is_secret(argument)
        {
            Self::Secret
        } else {
            Self::Other
        }
    }
}

/// `name:password` without the password.
fn without_password(argument: &str) -> String {
    match argument.split_once(':') {
        Some((name, _)) => format!("{name}:{REDACTED}"),
        None => argument.to_owned(),
    }
}

/// `scheme://name:password@host` without name and password, wherever it stands.
fn without_userinfo(argument: &str) -> String {
    let mut redacted = String::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(at) = rest.find("://") {
        let (scheme, authority) = rest.split_at(at + 3);
        redacted.push_str(scheme);
        let end = authority
            .find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'') || c.is_whitespace())
            .unwrap_or(authority.len());
        let user = authority[..end].rfind('@').unwrap_or(0);
        if user > 0 {
            redacted.push_str(REDACTED);
        }
        rest = &authority[user..];
    }
    redacted + rest
}

/// The argument up to the first value of a secret's name: `NAME=…`, `"name": …`, or `--name …` within a
/// script. The whole rest goes: where a value ends is the interpreter's to say.
fn without_secret(argument: &str) -> String {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut at = 0;
    while let Some(start) = argument[at..].find(is_name).map(|offset| at + offset) {
        let length = argument[start..]
            .find(|c| !is_name(c))
            .unwrap_or(argument.len() - start);
        let end = start + length;
        let name = &argument[start..end];
        let value = value_offset(&argument[end..], name.starts_with('-'));
        if let Some(value) = value.filter(|_| is_secret(name)) {
            return format!("{}{REDACTED}", &argument[..end + value]);
        }
        at = end;
    }
    argument.to_owned()
}

/// Where the value begins in what follows a name, if there is one.
fn value_offset(rest: &str, is_flag: bool) -> Option<usize> {
    let unquoted = rest.trim_start_matches(['"', '\'', '\\']);
    let spaced = unquoted.trim_start();
    let value = match spaced.strip_prefix(['=', ':']) {
        Some(value) => value.trim_start(),
        None if is_flag && spaced.len() < unquoted.len() => spaced,
        None => return None,
    };
    (!value.is_empty()).then(|| rest.len() - value.len())
}

fn is_secret(name: &str) -> bool {
    let name = name
        .trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('_', "-");
    SECRET.iter().any(|part| name.contains(part))
        && !HARMLESS.iter().any(|end| name.ends_with(end))
        && !NOT_SECRET.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(line: &[&str]) -> Vec<String> {
        redact(line.iter().map(|argument| Cow::Borrowed(*argument)))
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let cases: [(&[&str], &[&str]); 14] = [
            (
                &["env", "AWS_SECRET_ACCESS_KEY=abc", "aws"],
                &["env", "AWS_SECRET_ACCESS_KEY=[redacted]", "aws"],
            ),
            (
                &["mysql", "--password", "hunter2", "db"],
                &["mysql", "--password", "[redacted]", "db"],
            ),
            (
                &["x", "--secret-key", "k"],
                &["x", "--secret-key", "[redacted]"],
            ),
            (
                &["x", "--Session_Token=abc"],
                &["x", "--Session_Token=[redacted]"],
            ),
            (
                &["curl", "-u", "me:hunter2", "h"],
                &["curl", "-u", "me:[redacted]", "h"],
            ),
            (
                &["curl", "-H", "Authorization: Bearer x"],
                &["curl", "-H", "Authorization: [redacted]"],
            ),
            (
                &["git", "clone", "https://me:pw@h/x"],
                &["git", "clone", "https://[redacted]@h/x"],
            ),
            (
                &["sh", "-c", "f --token abc; ls"],
                &["sh", "-c", "f --token [redacted]"],
            ),
            (
                &["sh", "-c", "A_PASSWORD='x y' ls"],
                &["sh", "-c", "A_PASSWORD=[redacted]"],
            ),
            (
                &["curl", "-d", r#"{"password": "x"}"#],
                &["curl", "-d", r#"{"password": [redacted]"#],
            ),
            (
                &[
                    "aws",
                    "secretsmanager",
                    "get-secret-value",
                    "--secret-id",
                    "prod/db",
                ],
                &[
                    "aws",
                    "secretsmanager",
                    "get-secret-value",
                    "--secret-id",
                    "prod/db",
                ],
            ),
            (
                &[
                    "aws",
                    "arn:aws:secretsmanager:us-east-1:1:secret",
                    "--starting-token",
                    "t",
                ],
                &[
                    "aws",
                    "arn:aws:secretsmanager:us-east-1:1:secret",
                    "--starting-token",
                    "t",
                ],
            ),
            (
                &["x", "--password-file", "/run/pw"],
                &["x", "--password-file", "/run/pw"],
            ),
            (&["grep", "token", "a b"], &["grep", "token", "a b"]),
        ];
        for (line, expected) in cases {
            assert_eq!(redacted(line), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn a_named_secret_never_stays(before in "[ -~]{0,20}", gap in "[ ]{0,2}", after in "[ -~é]{0,20}") {
            let line = format!("{before} PASSWORD{gap}={gap}hunter2{after}");
            prop_assert!(!redacted(&[&line])[0].contains("hunter2"));
        }

        #[test]
        fn any_text_is_taken(arguments in proptest::collection::vec("\\PC{0,40}", 0..8)) {
            let line: Vec<&str> = arguments.iter().map(String::as_str).collect();
            prop_assert_eq!(redacted(&line).len(), line.len());
        }
    }
}
