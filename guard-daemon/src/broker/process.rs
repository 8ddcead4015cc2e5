//! The `credential_process` that the selected profile leads to, and the program that it runs.
//!
//! The SDK finds it and has a shell run it; here is the same reading of both, so that the program is known before.

use aws_config::profile::ProfileSet;

use super::program::Program;

/// The shell that runs it.
const SHELL: &str = "sh";
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

/// The programs that run for the selected profile's credentials; none where it has no `credential_process`.
pub(super) fn programs(set: &ProfileSet) -> Vec<Program> {
    let Some(command) = command(set) else {
        return Vec::new();
    };
    let program = if let Some(name) = first_word(command) {
        Program::find(&name)
    } else {
        // What is there may be a secret, so it is not said.
        let why = "the profile's credential_process does not begin with a program, as far as guard can tell, so it is \
                   not run; write the program's path first, in quotes where it has spaces, and start a new session";
        Program::unclear("credential_process", why.to_owned())
    };
    vec![Program::find(SHELL), program]
}

fn command(set: &ProfileSet) -> Option<&str> {
    let mut name = set.selected_profile();
    let mut visited: Vec<&str> = Vec::new();
    loop {
        let profile = set.get_profile(name)?;
        let keys = ["aws_access_key_id", "aws_secret_access_key"];
        // The SDK says so of a loop, and takes a source's keys before all else.
        if visited.contains(&name)
            || (!visited.is_empty() && keys.iter().all(|key| profile.get(key).is_some()))
        {
            return None;
        }
        visited.push(name);
        let role =
            profile.get("role_arn").is_some() && profile.get("web_identity_token_file").is_none();
        match profile.get("source_profile") {
            Some(source) if role && source != name => name = source,
            _ => {
                let other = BEFORE.iter().any(|key| profile.get(key).is_some());
                return profile.get("credential_process").filter(|_| !other);
            }
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
