//! Loading, by table, from files in a temporary directory.

use std::path::Path;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::{
    Config, ConfigError, EmailVerified, IdentityConfig, IssuerConfig, Limits, RequiredClaim,
};
use crate::policy::Length;
use crate::policy::{self, Effect, NothingKnown, Source};

fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("guard.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), None, None)
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = load("").unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/guard"));
    assert_eq!(config.runtime_dir, Path::new("/run/guard"));
    assert_eq!(config.profile_dir, Path::new("/etc/guard/profiles"));
    assert_eq!(
        (config.hold, config.limits),
        (Duration::from_secs(50), Limits::default())
    );
    assert!(config.upstream.connect.is_empty() && config.upstream.roots.is_empty());
    assert_eq!(config.identity, IdentityConfig::default());
}

#[test]
fn takes_all_that_the_reference_lists() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.pem");
    std::fs::write(&root, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let text = format!(
        r#"
        profile_dir = "/srv/profiles"
        [upstream]
        connect = {{ "*.amazonaws.com" = "127.0.0.1:5443", "s3.amazonaws.com" = "s3.internal:443" }}
        roots = ["{}"]
        [approval]
        hold_seconds = 30
        [identity]
        required = true
        require_reason = true
        require_agent = true
        [[identity.issuer]]
        issuer = "https://token.actions.githubusercontent.com"
        audience = ["guard", "https://github.com/acme"]
        jwks_uri = "https://token.actions.githubusercontent.com/.well-known/jwks"
        algorithms = ["RS256", "EdDSA"]
        subject = "actor"
        email = "user_email"
        email_verified = "trust"
        required_claims = {{ repository_owner = "acme", run_number = 7, protected = true }}
        leeway_seconds = 0
        max_age_seconds = 600
        [[identity.issuer]]
        issuer = "http://127.0.0.1:8080/dev"
        audience = ["guard"]
        [limits]
        head_bytes = 32768
        request_body_bytes = 2097152
        response_body_bytes = 3145728
        connections = 10
        head_timeout_seconds = 5
        max_session = "8h"
        "#,
        root.display()
    );
    let config = load(&text).unwrap();
    assert_eq!(config.profile_dir, Path::new("/srv/profiles"));
    assert_eq!(config.upstream.connect["*.amazonaws.com"], "127.0.0.1:5443");
    assert_eq!(
        (config.upstream.connect.len(), config.upstream.roots),
        (2, vec![root])
    );
    assert_eq!(config.hold, Duration::from_secs(30));
    let claim = |name: &str, value| (name.to_owned(), value);
    let github = IssuerConfig {
        audience: vec!["guard".to_owned(), "https://github.com/acme".to_owned()],
        jwks_uri: Some("https://token.actions.githubusercontent.com/.well-known/jwks".to_owned()),
        algorithms: vec![Algorithm::RS256, Algorithm::EdDSA],
        subject: "actor".to_owned(),
        email: "user_email".to_owned(),
        email_verified: EmailVerified::Trust,
        required_claims: [
            claim("repository_owner", RequiredClaim::Text("acme".to_owned())),
            claim("run_number", RequiredClaim::Number(7)),
            claim("protected", RequiredClaim::Flag(true)),
        ]
        .into(),
        leeway: Duration::ZERO,
        max_age: Duration::from_mins(10),
        ..IssuerConfig::new("https://token.actions.githubusercontent.com")
    };
    let dev = IssuerConfig {
        audience: vec!["guard".to_owned()],
        ..IssuerConfig::new("http://127.0.0.1:8080/dev")
    };
    let identity = IdentityConfig {
        required: true,
        require_reason: true,
        require_agent: true,
        issuers: vec![github, dev],
    };
    assert_eq!(config.identity, identity);
    let limits = Limits {
        head_bytes: 32 * 1024,
        request_body_bytes: 2 * 1024 * 1024,
        response_body_bytes: 3 * 1024 * 1024,
        connections: 10,
        head_timeout: Duration::from_secs(5),
        max_session: Some(Length::parse("8h").unwrap()),
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn each_error_names_its_place() {
    for (text, place, part) in [
        ("profile_dir = \"profiles\"", (1, 15), "absolute"),
        ("[approval]\nhold_seconds = 0", (2, 16), "from 1 to 3600"),
        ("[approval]\nhold_seconds = 3601", (2, 16), "from 1 to 3600"),
        ("[approval]\nhold_seconds = -1", (2, 16), "from 1 to 3600"),
        ("[approval]\nhold_seconds = \"50\"", (2, 16), "invalid type"),
        ("[approval]\nhold = 50", (2, 1), "unknown field `hold`"),
        ("[approvals]", (1, 2), "unknown field `approvals`"),
        ("[limits]\nconnections = 0", (2, 15), "from 1 to 65536"),
        ("[limits]\nhead_bytes = 1", (2, 14), "from 8192"),
        ("[limits]\nmax_session = \"8\"", (2, 15), "length of time"),
        (
            "[upstream]\nconnect = { \"*\" = \"a:1\" }",
            (2, 13),
            "host pattern",
        ),
        (
            "[upstream.connect]\n\"S3.amazonaws.com\" = \"a:1\"",
            (2, 1),
            "lower-case",
        ),
        (
            "[upstream.connect]\n\"*.amazonaws.com\" = \"a\"",
            (2, 21),
            "host:port",
        ),
        ("[upstream]\nroots = [\"root.pem\"]", (2, 10), "absolute"),
        (
            "[upstream]\nroots = [\"/nonexistent/root.pem\"]",
            (2, 10),
            "No such file",
        ),
        ("[upstream]\nproxy = 1", (2, 1), "unknown field `proxy`"),
        (
            "[identity]\nrequire = true",
            (2, 1),
            "unknown field `require`",
        ),
        (
            "[[identity.issuer]]\nissuer = \"https://i\"",
            (1, 1),
            "missing field `audience`",
        ),
        (
            "[[identity.issuer]]\nissuer = \"https://i\"\naudience = []",
            (3, 12),
            "1 to 32",
        ),
        ("=", (1, 1), ""),
    ] {
        match load(text).unwrap_err() {
            ConfigError::Invalid {
                line,
                column,
                problem,
                ..
            } => {
                let problem = problem.to_string();
                assert_eq!((line, column), place, "{text}: {problem}");
                assert!(
                    problem.contains(part) && !problem.contains('\n'),
                    "{text}: {problem}"
                );
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn an_issuer_is_held_to_what_is_safe() {
    let load = |issuer: &str, more: &str| {
        let text =
            format!("[[identity.issuer]]\nissuer = \"{issuer}\"\naudience = [\"guard\"]\n{more}");
        load(&text).map_err(|error| error.to_string())
    };
    load("https://i", "").unwrap();
    load("http://[::1]:8080", "jwks_uri = \"http://127.0.0.1/keys\"").unwrap();
    for issuer in [
        "http://i",
        "http://localhost",
        "http://127.0.0.1.evil.example",
        "https://user@i",
        "https://i?a=b",
        "https://i#a",
        "ftp://i",
        "i",
        "",
    ] {
        let error = load(issuer, "").unwrap_err();
        assert!(error.contains("line 2, column 10: "), "{issuer}: {error}");
    }
    for (more, part) in [
        ("jwks_uri = \"http://i/keys\"", "no address"),
        ("algorithms = []", "RS256"),
        ("algorithms = [\"none\"]", "never accepted"),
        ("algorithms = [\"RS256\", \"HS256\"]", "shared secret"),
        ("algorithms = [\"HS512\"]", "shared secret"),
        ("algorithms = [\"rs256\"]", "RS256"),
        ("subject = \"\"", "no name of a claim"),
        ("email_verified = \"never\"", "trust"),
        ("required_claims = { a = 1.5 }", "text, a whole number"),
        ("required_claims = { \"\" = \"x\" }", "no name of a claim"),
        ("leeway_seconds = 61", "from 0 to 60"),
        ("max_age_seconds = 59", "from 60 to 86400"),
        ("keys = \"x\"", "unknown field"),
        (
            "[[identity.issuer]]\nissuer = \"https://i\"\naudience = [\"a\"]",
            "is there twice",
        ),
    ] {
        let error = load("https://i", more).unwrap_err();
        assert!(error.contains(part), "{more}: {error}");
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none.toml");
    let error = Config::load(Some(&path), None, None).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("none.toml"), "{error}");
}

#[test]
fn directories_from_flags_are_made_absolute() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("guard.toml");
    std::fs::write(&file, "").unwrap();
    let (state, runtime) = (Path::new("state"), Path::new("/r"));
    let config = Config::load(Some(&file), Some(state), Some(runtime)).unwrap();
    assert!(config.state_dir.is_absolute() && config.state_dir.ends_with("state"));
    assert_eq!(config.runtime_dir, runtime);
}

#[test]
fn profiles_are_found_by_name_and_by_path() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let mut config = load("").unwrap();
    config.profile_dir = directory.path().to_owned();
    // Nothing there: the built-in one, with and without its name.
    for wanted in [None, Some("default")] {
        let Source { name, text, .. } = config.profile_source(wanted).unwrap();
        assert_eq!(name, "standard");
        assert_eq!(Some(text.as_str()), policy::built_in("standard"));
    }
    assert_eq!(config.profile(Some("readonly")).unwrap().name(), "readonly");
    write("default.toml", "default = \"deny\"");
    write("ci.toml", "default = \"allow\"");
    write("notes.txt", "");
    let decide = |wanted: Option<&str>| {
        let access = crate::aws::Access {
            action: Some("s3:GetObject".into()),
            level: None,
            resources: Vec::new(),
        };
        let profile = config.profile(wanted).unwrap();
        (
            profile.name().to_owned(),
            profile.decide(&[access], &NothingKnown).effect,
        )
    };
    let path = directory.path().join("ci.toml");
    assert_eq!(decide(None), ("default".to_owned(), Effect::Deny));
    assert_eq!(decide(Some("ci")), ("ci".to_owned(), Effect::Allow));
    assert_eq!(decide(path.to_str()), ("ci".to_owned(), Effect::Allow));

    let error = config.profile(Some("prod")).unwrap_err();
    assert!(matches!(error, ConfigError::NoProfile { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("profiles there are: ci, default, observe, readonly, standard;"),
        "{error}"
    );
    for wanted in ["prod.toml", "/nonexistent/p", "./prod", "/"] {
        let error = config.profile(Some(wanted)).unwrap_err();
        assert!(
            matches!(error, ConfigError::ProfileFile { .. }),
            "{wanted}: {error}"
        );
    }
    for wanted in ["", "a b", "a\u{1b}[1m", "\u{e9}"] {
        let error = config.profile(Some(wanted)).unwrap_err();
        assert!(
            matches!(error, ConfigError::ProfileName(_)),
            "{wanted}: {error}"
        );
        assert!(!error.to_string().contains('\u{1b}'));
    }
    write("ci.toml", "modes = 1");
    let error = config.profile(Some("ci")).unwrap_err().to_string();
    assert!(
        error.starts_with("profile \"ci\", line 1, column 1: "),
        "{error}"
    );
    write("ci.toml", &format!("#{}", "x".repeat(1024 * 1024)));
    let error = config.profile(Some("ci")).unwrap_err().to_string();
    assert!(error.contains("more than 1048576 bytes"), "{error}");
    // An unreadable `default` is not replaced by the built-in one.
    std::fs::remove_file(directory.path().join("default.toml")).unwrap();
    std::fs::create_dir(directory.path().join("default.toml")).unwrap();
    assert!(matches!(
        config.profile(None),
        Err(ConfigError::ProfileFile { .. })
    ));
}

#[test]
fn policy_documents_are_read_beside_the_profile() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let mut config = load("").unwrap();
    config.profile_dir = directory.path().to_owned();
    write(
        "p.toml",
        "default = \"allow\"\n[policies]\nboundary = [\"b.json\"]\n",
    );
    let missing = config.profile(Some("p")).unwrap_err().to_string();
    assert!(
        missing.contains("b.json") && missing.contains("[policies]"),
        "{missing}"
    );
    write(
        "b.json",
        r#"{"Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}"#,
    );
    let profile = config.profile(Some("p")).unwrap();
    let effect = |action: &str| {
        let access = crate::aws::Access {
            action: Some(action.to_owned().into()),
            level: None,
            resources: Vec::new(),
        };
        profile.decide(&[access], &NothingKnown).effect
    };
    assert_eq!(effect("s3:GetObject"), Effect::Allow);
    assert_eq!(effect("s3:PutObject"), Effect::Deny);
    write("b.json", "{\n  \"Statement\": 1\n}");
    let wrong = config.profile(Some("p")).unwrap_err().to_string();
    assert!(
        wrong.starts_with("policy document \"b.json\", line 2, column 16: "),
        "{wrong}"
    );
    // Together they may have no more than they may have in a session's saved file.
    write(
        "p.toml",
        "[policies]\nidentity = [\"b.json\", \"c.json\"]\n",
    );
    for name in ["b.json", "c.json"] {
        write(name, &" ".repeat(600 * 1024));
    }
    let large = config.profile(Some("p")).unwrap_err();
    assert!(matches!(large, ConfigError::Document { .. }), "{large}");
}
