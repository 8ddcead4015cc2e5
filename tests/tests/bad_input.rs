//! What a hostile or broken client, upstream or file gets: a clear error, an entry in the journal, and not
//! one byte upstream.

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;
use guard_tests::{fixture, is_root, python_program};

/// Case of `clients/bad_input.py`, a part of the answer, the type of its journal entry, a part of that.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("client-hello", "", "refused", "malformed-client-hello"),
    ("no-server-name", "", "refused", "no-server-name"),
    ("plain-http", " 403 ", "refused", "plain-http"),
    ("both-lengths", " 400 ", "refused", "malformed-request"),
    (
        "both-lengths-reversed",
        " 400 ",
        "refused",
        "malformed-request",
    ),
    ("two-lengths", " 400 ", "refused", "malformed-request"),
    ("odd-length", " 400 ", "refused", "malformed-request"),
    ("two-hosts", " 400 ", "refused", "malformed-request"),
    ("obs-fold", " 400 ", "refused", "malformed-request"),
    ("bare-lf", " 400 ", "refused", "malformed-request"),
    (
        "space-before-colon",
        " 400 ",
        "refused",
        "malformed-request",
    ),
    ("bad-chunk-size", "", "refused", "malformed-request"),
    ("chunk-size-overflow", "", "refused", "malformed-request"),
    ("odd-encoding", " 400 ", "refused", "malformed-request"),
    ("absolute-target", " 400 ", "refused", "malformed-request"),
    ("connect", " 400 ", "refused", "malformed-request"),
    ("other-host", "", "refused", "host-mismatch"),
    ("huge-header", " 431 ", "refused", "malformed-request"),
    ("many-headers", " 4", "refused", "malformed-request"),
    (
        "unknown-host",
        "AccessDenied",
        "exchange_decided",
        "\"deny\"",
    ),
    ("other-service", " 400 ", "exchange_decided", "\"deny\""),
    ("expired", "clock right", "exchange_decided", "\"deny\""),
    (
        "wrong-signature",
        "SignatureDoesNotMatch",
        "exchange_decided",
        "\"deny\"",
    ),
    (
        "foreign-key",
        "InvalidAccessKeyId",
        "exchange_decided",
        "AKIAIOSFODNN7EXAMPLE",
    ),
    ("unsigned", "AccessDenied", "exchange_decided", "\"deny\""),
    ("both-auth-forms", " 400 ", "exchange_decided", "\"deny\""),
    ("two-actions", " 400 ", "exchange_decided", "\"deny\""),
];

#[test]
fn malformed_requests_are_answered_recorded_and_never_forwarded() {
    if !is_root("malformed_requests_are_answered_recorded_and_never_forwarded") {
        return;
    }
    let stand = Stand::shared();
    let names: Vec<&str> = CASES.iter().map(|case| case.0).collect();
    // One session for all cases; the last argument of the client tells whose journal entry it is. An unknown
    // operation asks a person even where the default is to allow.
    let guard = Guard::new("default = \"allow\"\n", "[approval]\nhold_seconds = 1\n");
    let script = format!(
        "for case in {}; do echo \"== $case\"; timeout 60 {} {} $case; echo; done",
        names.join(" "),
        python_program("python").display(),
        guard.hand(&fixture("clients/bad_input.py")).display()
    );
    let output = guard
        .run(stand)
        .args(["bash", "-c", &script])
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    let journal = guard.journal();
    let mut wrong = Vec::new();
    for (name, answer, kind, detail) in CASES {
        let got = said
            .split(&format!("== {name}\n"))
            .nth(1)
            .unwrap_or_default();
        let got = got.split("\n== ").next().unwrap_or_default();
        if !got.contains(answer) || got.contains(" 200 OK") || got.trim().is_empty() {
            wrong.push(format!(
                "{name}: expected {answer:?}, the client got {got:?}"
            ));
        }
        let ends_with = |argument: &serde_json::Value| argument == name;
        let recorded = journal.iter().any(|entry| {
            let argv = entry["process"]["argv"].as_array();
            entry["type"] == *kind
                && argv.and_then(|argv| argv.last()).is_some_and(ends_with)
                && entry.to_string().contains(detail)
        });
        if !recorded {
            let entries: Vec<String> = journal
                .iter()
                .filter(|entry| {
                    entry["process"]["argv"]
                        .to_string()
                        .contains(&format!("\"{name}\""))
                })
                .map(ToString::to_string)
                .collect();
            wrong.push(format!(
                "{name}: no {kind} entry with {detail}: {entries:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let reached = stand.requests("bad-input");
    assert!(reached.is_empty(), "{reached:#?}");
}

#[test]
fn an_upstream_that_is_down_or_has_a_bad_certificate_is_an_error_without_a_retry() {
    if !is_root("an_upstream_that_is_down_or_has_a_bad_certificate_is_an_error_without_a_retry") {
        return;
    }
    let stand = Stand::shared();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("binds")
        .local_addr()
        .expect("bound");
    let script = "import boto3\n\
        try: boto3.client('sts').get_caller_identity(); print('ANSWERED')\n\
        except Exception as e: print(type(e).__name__, e.response['ResponseMetadata']['RetryAttempts'], e)";
    // (stand-in for AWS, trusted roots, what the error says)
    let cases = [
        (closed.to_string(), true, "connect"),
        (stand.address(), false, "certificate"),
    ];
    for (address, trusted, word) in cases {
        let mut config = format!("[upstream.connect]\n\"*.amazonaws.com\" = \"{address}\"\n");
        if trusted {
            config = format!(
                "[upstream]\nroots = [\"{}\"]\n{config}",
                stand.roots().display()
            );
        }
        let guard = Guard::new("default = \"allow\"\n", &config);
        let output = guard
            .command(&["run", "--profile"])
            .arg(guard.directory().join("profile.toml"))
            .arg("--")
            .arg(python_program("python"))
            .args(["-c", script])
            .env("AWS_ACCESS_KEY_ID", guard_tests::stand::REAL_ACCESS_KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", guard_tests::stand::REAL_SECRET)
            .env("AWS_REGION", "us-east-1")
            .env("SUDO_UID", "65534")
            .env("SUDO_GID", "65534")
            .current_dir(guard.directory())
            .output()
            .expect("guard runs");
        let said = succeeded(&output);
        assert!(said.starts_with("ClientError 0 "), "{said}");
        assert!(said.contains(word), "{said}");
        let completed = guard.entries("exchange_completed");
        assert_eq!(completed.len(), 1, "{completed:#?}");
        assert!(
            completed[0]["error"].to_string().contains("upstream"),
            "{completed:#?}"
        );
    }
}

#[test]
fn a_bad_profile_or_configuration_starts_nothing_and_says_where_it_is_wrong() {
    if !is_root("a_bad_profile_or_configuration_starts_nothing_and_says_where_it_is_wrong") {
        return;
    }
    let stand = Stand::shared();
    // (profile, guard.toml, what the error says)
    let cases = [
        ("defualt = \"allow\"\n", "", "defualt"),
        (
            "default = \"allow\"\n[[statement]]\neffect = \"allow\"\naction = []\n",
            "",
            "action",
        ),
        (
            "default = \"allow\"\n[[statement]]\neffect = \"alow\"\naction = \"*\"\n",
            "",
            "alow",
        ),
        ("default = [\n", "", "line 1"),
        ("default = \"allow\"\n", "[upstream]\nrotos = []\n", "rotos"),
        (
            "default = \"allow\"\n",
            "[upstream.connect]\n\"*.amazonaws.com\" = \"nowhere\"\n",
            "nowhere",
        ),
    ];
    for (profile, config, word) in cases {
        let guard = Guard::new(profile, config);
        // Without what `Guard::new` adds for a checkout in a private directory.
        std::fs::write(guard.directory().join("profile.toml"), profile).expect("written");
        let output = guard
            .run(stand)
            .args(["touch", "ran"])
            .current_dir("/")
            .output()
            .expect("guard runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{word}: {error}");
        assert!(error.contains(word), "{word}: {error}");
        if config.is_empty() {
            let refused = guard.entries("refused");
            assert!(
                refused.iter().any(|entry| entry["code"] == "profile"),
                "{word}: {refused:#?}"
            );
        }
    }
    let guard = Guard::new("default = \"allow\"\n", "");
    std::fs::remove_file(guard.directory().join("profile.toml")).expect("removed");
    let output = guard.run(stand).arg("true").output().expect("guard runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("profile.toml"), "{error}");
}
