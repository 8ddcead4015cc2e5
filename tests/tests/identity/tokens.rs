//! Tokens of the provider, and of others.

use std::time::Duration;

use guard_tests::guard::{Guard, USER, succeeded};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::provider::Provider;
use crate::{Host, OPEN};

/// That guard refuses a session with this token, and says this.
fn refused(host: &Host, token: &str, parts: &[&str]) {
    let before = host.guard.entries("session_started").len();
    let output = host.tries(token);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert_eq!(host.guard.entries("session_started").len(), before);
    let refused = host.guard.entries("refused");
    let last = refused.last().expect("the refusal is on record");
    assert_eq!(last["code"], "identity");
}

fn people(guard: &Guard) -> Vec<Value> {
    let started = guard.entries("session_started");
    started
        .iter()
        .map(|it| it["identity"]["human"].clone())
        .collect()
}

#[test]
fn a_real_providers_tokens_name_their_people() {
    let test = "a_real_providers_tokens_name_their_people";
    let Some(mut provider) = Provider::start(test) else {
        return;
    };
    let host = Host::new(OPEN, &provider, "required = true");
    let mut tokens = Vec::new();
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let token = provider.mint(&format!("guard-{algorithm}"), "ada");
        // What names the person is not in the session's reach.
        let output = host
            .run(Some(&token), &[])
            .args(["sh", "-c", "echo ${GUARD_IDENTITY_TOKEN-none}"])
            .output()
            .expect("guard runs");
        assert_eq!(succeeded(&output).trim(), "none", "{algorithm}");
        tokens.push(token);
    }
    // From a file that the invoking user can read; one that only root can read is not read for them.
    let token = provider.mint("guard", "unverified-bob");
    let file = host.guard.directory().join("token");
    std::fs::write(&file, format!("{token}\n")).expect("written");
    let from_file = || {
        let flag = file.to_str().expect("UTF-8");
        let mut command = host.run(None, &["--identity-token-file", flag]);
        command.arg("true").output().expect("guard runs")
    };
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&file, mode).expect("changed");
    };
    mode(0o600);
    let output = from_file();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("as user nobody") && said.contains("ermission denied"),
        "{said}"
    );
    mode(0o644);
    succeeded(&from_file());
    tokens.push(token);

    let people = people(&host.guard);
    assert_eq!(people.len(), 5);
    for person in &people[..4] {
        assert_eq!(person["issuer"], provider.issuer());
        assert_eq!(person["subject"], "ada");
        assert_eq!(person["email"], "ada@acme.example");
    }
    assert_eq!(people[4]["subject"], "unverified-bob");
    assert_eq!(people[4]["email"], Value::Null, "nobody verified it");
    let started = host.guard.entries("session_started");
    assert_eq!(started[0]["identity"]["uid"], USER);
    assert_eq!(started[0]["identity"]["user"], "nobody");

    // None of the tokens is anywhere in what guard keeps and says.
    let mut kept = host
        .guard
        .journal()
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    for entry in walk(&host.guard.directory().join("state"))
        .iter()
        .chain(&walk(&host.guard.directory().join("run")))
    {
        kept.push_str(&String::from_utf8_lossy(
            &std::fs::read(entry).unwrap_or_default(),
        ));
    }
    kept.push_str(
        &std::fs::read_to_string(host.guard.directory().join("state.log")).expect("a log"),
    );
    for token in tokens {
        for part in token.split('.') {
            assert!(part.len() < 40 || !kept.contains(part), "a token was kept");
        }
    }
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            files.extend(walk(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn whatever_is_not_the_providers_word_is_refused() {
    let test = "whatever_is_not_the_providers_word_is_refused";
    let Some(mut provider) = Provider::start(test) else {
        return;
    };
    let Some(mut elsewhere) = Provider::start(test) else {
        return;
    };
    let host = Host::new(OPEN, &provider, "");
    let brief = provider.mint("guard-brief", "ada");
    succeeded(&host.tries(&provider.mint("guard", "ada")));
    refused(
        &host,
        &elsewhere.mint("guard", "ada"),
        &["it is issued by", elsewhere.issuer(), "does not trust"],
    );
    refused(
        &host,
        &provider.mint("another-service", "ada"),
        &["it is for \"another-service\"", "accepts tokens for guard,"],
    );
    // A real token of the provider, signed with the client's secret.
    refused(
        &host,
        &provider.mint("guard-HS256", "ada"),
        &["signed with \"HS256\"", "can never name `none` or HS256"],
    );
    refused(
        &host,
        &provider.impostor("guard", "ada"),
        &["signature does not match"],
    );
    for (how, part) in [
        ("hmac", "signed with \"HS256\""),
        ("none", "no signature (its algorithm is \"none\")"),
        ("none-signed", "signed with \"none\""),
        ("claims", "signature does not match"),
        ("own-key", "signature does not match"),
    ] {
        refused(&host, &provider.forge(how, "guard", "ada"), &[part]);
    }
    refused(&host, "not.a.token", &["not accepted"]);
    std::thread::sleep(Duration::from_millis(1500));
    refused(&host, &brief, &["it expired", "get a new one"]);
    succeeded(&host.tries(&provider.mint("guard", "ada")));
}

#[test]
fn new_keys_are_followed_and_old_ones_forgotten() {
    let Some(mut provider) = Provider::start("new_keys_are_followed_and_old_ones_forgotten") else {
        return;
    };
    let host = Host::new(OPEN, &provider, "");
    let old = provider.mint("guard", "ada");
    succeeded(&host.tries(&old));
    provider.rotate();
    let new = provider.mint("guard", "ada");
    succeeded(&host.tries(&new));
    refused(
        &host,
        &old,
        &["publishes no key \"rsa-0\"", "looked up again in"],
    );
    succeeded(&host.tries(&new));
}

#[test]
fn without_the_provider_only_fresh_keys_count() {
    let Some(mut provider) = Provider::start("without_the_provider_only_fresh_keys_count") else {
        return;
    };
    let mut host = Host::new(OPEN, &provider, "");
    let token = provider.mint("guard", "ada");
    succeeded(&host.tries(&token));
    provider.end();
    succeeded(&host.tries(&token));
    host.restart(Signal::SIGTERM);
    refused(
        &host,
        &token,
        &[
            "keys of https://127.0.0.1",
            "cannot be had",
            "cannot connect",
        ],
    );
}
