//! The `credential_process` that the selected profile leads to, and the program that it runs.
//!
//! The SDK is built without: it takes what is found here, and assumes the roles that a profile names with it.

use aws_config::profile::ProfileSet;
use aws_credential_types::Credentials;

use super::printed::{Printed, SHELL};
use super::program::Program;

/// The name of the source, and of the profile that has it, in what the SDK reads.
pub(super) const SOURCE: &str = "guard-credential-process";

const KEY_ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
/// What gives credentials before a `credential_process` does, in a profile that has both.
const BEFORE: [&str; 8] = [
    "credential_source",
    "web_identity_token_file",
    "sso_account_id",
    "sso_region",
    "sso_role_name",
    "sso_start_url",
    "sso_session",
    "login_session",
];

/// What gives the selected profile's credentials in the place of what the SDK would take.
pub(super) struct Base {
    /// What they come from.
    pub(super) gives: Gives,
    /// A configuration that has the SDK take it, to be read after all others: it names `SOURCE`.
    pub(super) overlay: String,
}

/// Where the first credentials come from; roles may be assumed with them.
pub(super) enum Gives {
    /// A program.
    Process(Printed),
    /// Keys.
    Keys(Credentials),
}

impl Base {
    /// The one of the selected profile of `set`, as the AWS CLI would choose: keys in the credentials file, which
    /// `credentials` has alone, come before a `credential_process`, and that before keys in the config file. `None`
    /// where no `credential_process` is there to be chosen.
    pub(super) fn of(set: &ProfileSet, credentials: &ProfileSet) -> Option<Self> {
        let (parent, name) = leaf(set)?;
        let profile = set.get_profile(name)?;
        let command = profile.get("credential_process")?;
        if BEFORE.iter().any(|key| profile.get(key).is_some()) {
            return None;
        }
        let keys = credentials.get_profile(name).and_then(|profile| {
            Some(Credentials::new(
                profile.get(KEY_ID)?,
                profile.get(SECRET)?,
                profile.get("aws_session_token").map(str::to_owned),
                None,
                "credentials file",
            ))
        });
        let gives = keys.map_or_else(
            || {
                Gives::Process(Printed {
                    command: command.to_owned(),
                    account: profile.get("aws_account_id").map(str::to_owned),
                })
            },
            Gives::Keys,
        );
        // A profile that is the source of another is not asked where its keys are from, so that has another source.
        let overlay = match parent {
            None => format!("[{name}]\ncredential_source = {SOURCE}\n"),
            Some(parent) => format!(
                "[{parent}]\nsource_profile = {SOURCE}\n[{SOURCE}]\ncredential_source = {SOURCE}\n"
            ),
        };
        Some(Self { gives, overlay })
    }

    /// The programs that run.
    pub(super) fn programs(&self) -> Vec<Program> {
        let Gives::Process(process) = &self.gives else {
            return Vec::new();
        };
        let program = if let Some(name) = first_word(&process.command) {
            Program::find(&name)
        } else {
            // What is there may be a secret, so it is not said.
            let why = "the profile's credential_process does not begin with a program, as far as guard can tell, so it \
                       is not run; write the program's path first, in quotes where it has spaces, and start a new \
                       session";
            Program::unclear("credential_process", why.to_owned())
        };
        vec![Program::find(SHELL), program]
    }
}

/// The profile whose credentials come first, and the one that names it, if any: a role's may be itself.
fn leaf(set: &ProfileSet) -> Option<(Option<&str>, &str)> {
    let (mut parent, mut name) = (None, set.selected_profile());
    let mut visited: Vec<&str> = Vec::new();
    loop {
        let profile = set.get_profile(name)?;
        // The SDK says so of a loop, and takes a source's keys before it looks for a role.
        if visited.contains(&name) {
            return None;
        }
        let keys = [KEY_ID, SECRET];
        if !visited.is_empty() && keys.iter().all(|key| profile.get(key).is_some()) {
            return Some((parent, name));
        }
        visited.push(name);
        let role =
            profile.get("role_arn").is_some() && profile.get("web_identity_token_file").is_none();
        match profile.get("source_profile") {
            _ if !role => return Some((parent, name)),
            Some(source) if source == name => return Some((Some(name), name)),
            Some(source) => (parent, name) = (Some(name), source),
            // The SDK says what is missing, or has its own source.
            None => return None,
        }
    }
}

/// The first word as a shell reads it, where it is plain or quoted; `None` where more would have to be known.
fn first_word(command: &str) -> Option<String> {
    let mut word = String::new();
    let mut quote = None;
    let mut rest = command.trim_start_matches([' ', '\t']).chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, ' ' | '\t') => break,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.push(c),
            (None, '\\') => word.push(rest.next().filter(|next| *next != '\n')?),
            (Some(_), '\\') => match rest.peek() {
                Some('\n') => return None,
                Some('$' | '`' | '"' | '\\') => word.extend(rest.next()),
                _ => word.push(c),
            },
            (_, '$' | '`') => return None,
            (Some(_), c) => word.push(c),
            (None, c) if c.is_alphanumeric() || "/._-+,:@%".contains(c) => word.push(c),
            (None, _) => return None,
        }
    }
    Some(word).filter(|word| quote.is_none() && !word.is_empty() && !word.contains('\0'))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_first_word_is_what_the_shell_takes_it_for() {
        for (command, word) in [
            ("aws-vault exec a", "aws-vault"),
            ("  /opt/x\targument", "/opt/x"),
            ("\"/opt/with space/x\" --json", "/opt/with space/x"),
            ("'/opt/$HOME/x' --json", "/opt/$HOME/x"),
            (r"/opt/with\ space/x y", "/opt/with space/x"),
            (r#"/opt/"a b"'c d'\$/x"#, "/opt/a bc d$/x"),
            (r#""/opt/\"q\" \\ \a""#, r#"/opt/"q" \ \a"#),
            ("/opt/é", "/opt/é"),
        ] {
            assert_eq!(first_word(command).as_deref(), Some(word), "{command}");
            let shell = Command::new("sh")
                .args(["-c", &format!("set -- {command}; printf %s \"$1\"")])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), word, "{command}");
        }
        for unclear in [
            "",
            "  ",
            "$HOME/bin/x",
            "\"$HOME/x\"",
            "`which x`",
            "~/bin/x",
            "A=b x",
            "x;y",
            "x&&y",
            "(x)",
            "/opt/*/x",
            "/opt/\"unended",
            "/opt/x\\",
            "\n/opt/x",
            "#x",
            "''",
        ] {
            assert_eq!(first_word(unclear), None, "{unclear}");
        }
    }
}
