//! Profiles: what is accepted, and where errors are.

use super::*;
use crate::policy::network::HostError;
use crate::policy::pattern::PatternError;
use crate::policy::{NothingKnown, SourceDocument};

fn parse(name: &str, text: &str) -> Result<Profile, PolicyError> {
    Profile::parse(name, text)
}

fn problem(text: &str) -> (usize, usize, Problem) {
    match parse("test", text).unwrap_err() {
        PolicyError::Invalid {
            line,
            column,
            problem,
            ..
        } => (line, column, problem),
        other => panic!("{other}"),
    }
}

#[test]
fn takes_all_that_the_reference_lists() {
    let text = r#"
        name = "review"
        default = "approve"
        [network]
        allow = ["pypi.org", "*.npmjs.org:443"]
        [mask]
        classes = ["credential", "pii"]
        [[statement]]
        sid = "read"
        effect = "allow"
        action = ["s3:GetObject", "s3:List*"]
        resource = "arn:aws:s3:::data/*"
        [[statement]]
        effect = "deny"
        not_action = "s3:*"
        not_resource = ["arn:aws:s3:::data/*"]
    "#;
    let profile = parse("stem", text).unwrap();
    assert_eq!(profile.name(), "review");
    assert_eq!(profile.sha256().len(), 64);
    assert!(profile.masks(Class::Pii) && !profile.masks(Class::Content));
    assert!(profile.allows_host("pypi.org", 443) && profile.allows_name("a.npmjs.org"));
}

#[test]
fn an_empty_profile_denies_and_masks_credentials() {
    let profile = parse("empty", "").unwrap();
    assert_eq!(profile.name(), "empty");
    assert!(profile.masks(Class::Credential) && !profile.masks(Class::Pii));
    assert_eq!(profile.decide(&[], &NothingKnown).effect, Effect::Deny);
    // SHA-256 of nothing.
    assert!(profile.sha256().starts_with("e3b0c44298fc1c14"));
    let unmasked = parse("empty", "[mask]\nclasses = []").unwrap();
    assert!(!unmasked.masks(Class::Credential));
    let defaulted = parse("empty", "[mask]").unwrap();
    assert!(defaulted.masks(Class::Credential));
}

#[test]
fn what_of_the_host_is_open_is_said_key_by_key() {
    let profile = Profile::parse("p", "").unwrap();
    assert_eq!(*profile.reach(), Reach::default());
    let text = "[network]\nallow_loopback = [5432]\npublish = [\"3000\"]\n\
        allow_unix = [\"/run/x\"]\n[sandbox]\ntmp = \"shared\"\nshow = [\"/tmp/b\"]\n";
    let expected = Reach {
        loopback: vec![5432],
        publish: vec![Publish::parse("3000").unwrap()],
        unix: vec!["/run/x".into()],
        temporary: Temporary::Shared,
        show: vec!["/tmp/b".into()],
    };
    assert_eq!(*Profile::parse("p", text).unwrap().reach(), expected);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_error_names_its_place() {
    let statement = |rest: &str| format!("[[statement]]\neffect = \"allow\"\n{rest}");
    let pattern = |text: &str, error| Problem::Pattern {
        text: text.to_owned(),
        error,
    };
    let reach = |text: &str, error| Problem::Reach {
        text: text.to_owned(),
        error,
    };
    for (text, place, expected) in [
        ("name = \"a b\"".to_owned(), (1, 8), Problem::Name),
        (
            statement("sid = \"#1\"\naction = \"*\""),
            (3, 7),
            Problem::Sid,
        ),
        (
            statement("action = []"),
            (3, 10),
            Problem::EmptyList("action".to_owned()),
        ),
        (
            statement("action = \"*\"\nnot_resource = []"),
            (4, 16),
            Problem::EmptyList("not_resource".to_owned()),
        ),
        (
            statement("action = \"*\"\nnot_action = \"*\""),
            (4, 14),
            Problem::Both("action", "not_action"),
        ),
        (
            statement("sid = \"x\""),
            (1, 1),
            Problem::NoAction("action"),
        ),
        (
            "[[statement]]\naction = \"*\"".to_owned(),
            (1, 1),
            Problem::Missing("effect"),
        ),
        (
            statement("action = 3"),
            (3, 10),
            Problem::NotText("action".to_owned()),
        ),
        (
            statement("action = [\"*\", 3]"),
            (3, 16),
            Problem::NotText("action".to_owned()),
        ),
        (
            statement("action = \"*\"\ncondition = { StringEquals = { \"a:b\" = [] } }"),
            (4, 40),
            Problem::EmptyList("a:b".to_owned()),
        ),
        (
            statement("action = \"*\"\ncondition = { StringEquals = { b = \"c\" } }"),
            (4, 32),
            Problem::ConditionKey("b".to_owned()),
        ),
        (
            statement(
                "action = \"*\"\ncondition = { StringEquals = { \"guard:acesslevel\" = \"Read\" } }",
            ),
            (4, 32),
            Problem::GuardKey("guard:acesslevel".to_owned()),
        ),
        (
            statement(
                "action = \"*\"\n[statement.condition]\nNumericLessThan = { \"a:b\" = [1, \"x\"] }",
            ),
            (5, 33),
            Problem::Value {
                text: "x".to_owned(),
                error: crate::policy::ValueError::Number,
            },
        ),
        (
            statement("action = \"*\"\ncondition = { Bool = { \"a:b\" = true, \"A:B\" = false } }"),
            (4, 38),
            Problem::Repeated("A:B".to_owned()),
        ),
        (
            "[policies]\nidentity = [\"\"]".to_owned(),
            (2, 13),
            Problem::DocumentPath,
        ),
        (
            "[policies]\nscp = [\"a\", [\"b\", 1]]".to_owned(),
            (2, 19),
            Problem::NotText("scp".to_owned()),
        ),
        (
            "[[mask.statement]]\naction = \"*\"".to_owned(),
            (1, 1),
            Problem::Missing("classes"),
        ),
        (
            statement("action = [\"s3:*\", \"Get*\"]"),
            (3, 19),
            pattern("Get*", PatternError::NoService),
        ),
        (
            statement("action = \"*\"\nresource = \"data\""),
            (4, 12),
            pattern("data", PatternError::NotArn),
        ),
        (
            statement("action = \"*\"\ncondition = { a = 1 }"),
            (4, 15),
            Problem::Operator {
                text: "a".to_owned(),
                error: crate::policy::OperatorError::Unknown,
            },
        ),
        (
            "[network]\nallow = [\"a.org\", \"10.0.0.1\"]".to_owned(),
            (2, 19),
            Problem::Host {
                text: "10.0.0.1".to_owned(),
                error: HostError::Address,
            },
        ),
        (
            "[network]\nallow_loopback = [5432, 0]".to_owned(),
            (2, 25),
            reach("0", ReachError::Port),
        ),
        (
            "[network]\npublish = [\"80:x\"]".to_owned(),
            (2, 12),
            reach("80:x", ReachError::Publish),
        ),
        (
            "[network]\nallow_unix = [\"run/x\"]".to_owned(),
            (2, 15),
            reach("run/x", ReachError::Path),
        ),
        (
            "[sandbox]\nshow = [\"/a/../b\"]".to_owned(),
            (2, 9),
            reach("/a/../b", ReachError::Path),
        ),
    ] {
        let (line, column, problem) = problem(&text);
        assert_eq!(((line, column), problem), (place, expected), "{text}");
    }
    let one = statement("sid = \"x\"\naction = \"*\"\n");
    let (line, _, problem) = problem(&format!("{one}{one}"));
    assert_eq!((line, problem), (7, Problem::DuplicateSid("x".to_owned())));
}

#[test]
fn unknown_keys_values_and_types_are_errors_with_a_place() {
    for (text, line, part) in [
        ("\nmodes = 1", 2, "unknown field `modes`"),
        ("mode = \"audit\"", 1, "unknown variant `audit`"),
        ("default = \"maybe\"", 1, "unknown variant `maybe`"),
        ("[network]\ndeny = []", 2, "unknown field `deny`"),
        ("[mask]\nclass = []", 2, "unknown field `class`"),
        (
            "[mask]\nclasses = [\"secret\"]",
            2,
            "unknown variant `secret`",
        ),
        (
            "[[statement]]\neffect = \"ask\"\naction = \"*\"",
            2,
            "unknown variant `ask`",
        ),
        (
            "[[statement]]\neffect = \"deny\"\nAction = \"*\"",
            3,
            "unknown field `Action`",
        ),
        ("name = \"a\"\nname = \"b\"", 2, "duplicate key"),
        ("default = ", 1, ""),
    ] {
        let (at, _, problem) = problem(text);
        let Problem::Syntax(message) = problem else {
            panic!("{problem}")
        };
        assert!(
            at == line && message.contains(part),
            "{text}: line {at}: {message}"
        );
        assert!(!message.contains('\n'), "{message}");
    }
    let error = parse("test", "\nmodes = 1").unwrap_err().to_string();
    assert!(
        error.starts_with("profile \"test\", line 2, column 1: "),
        "{error}"
    );
}

#[test]
fn size_and_name_are_bounded() {
    let text = format!("#{}", "x".repeat(LARGEST_PROFILE));
    assert!(matches!(
        parse("x", &text),
        Err(PolicyError::TooLarge { .. })
    ));
    assert!(matches!(parse("a b", ""), Err(PolicyError::Unnamed { .. })));
    assert_eq!(parse("a b", "name = \"ab\"").unwrap().name(), "ab");
}

#[test]
fn the_references_examples_are_profiles() {
    let reference = include_str!("../../../../docs/policy.md");
    let examples = |language: &str| -> Vec<&str> {
        let fence = format!("```{language}\n");
        let rest = reference.split(fence.as_str()).skip(1);
        rest.map(|rest| rest.split("```").next().unwrap()).collect()
    };
    let (profiles, documents) = (examples("toml"), examples("json"));
    assert_eq!((profiles.len(), documents.len()), (7, 1));
    for profile in profiles {
        let mut source = Source::new("example", profile);
        for path in source.document_paths().unwrap() {
            let text = documents[0].to_owned();
            source.documents.push(SourceDocument { path, text });
        }
        Profile::load(&source).unwrap();
    }
}
