//! Tests of several documents in force: identity policies, boundaries, service control policies.

use std::slice::from_ref;

use super::Decider;
use crate::aws::{Access, KeyValue, Resource};
use crate::policy::sample::Known;
use crate::policy::{Effect, NothingKnown, Profile, Source, SourceDocument, Truth};

use Effect::{Allow, Approve, Deny};

fn load(text: &str, documents: &[(&str, &str)]) -> Profile {
    let document = |(path, text): &(&str, &str)| SourceDocument {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    let source = Source {
        documents: documents.iter().map(document).collect(),
        ..Source::new("p", text)
    };
    Profile::load(&source).unwrap()
}

/// A document of one statement.
fn one(effect: &str, action: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Sid":"S","Effect":"{effect}","Action":"{action}","Resource":"*"}}}}"#
    )
}

fn access(action: &str) -> Access {
    Access {
        action: (!action.is_empty()).then(|| action.to_owned().into()),
        level: None,
        resources: vec![Resource::Arn("arn:aws:s3:::b/k".to_owned())],
    }
}

fn decide(profile: &Profile, action: &str) -> (Effect, Option<String>, String) {
    let decision = profile.decide(from_ref(&access(action)), &NothingKnown);
    (
        decision.effect,
        decision.statement.map(|label| label.to_string()),
        decision.reason.to_string(),
    )
}

const STATEMENTS: &str = "\
[[statement]]\nsid = \"own\"\neffect = \"allow\"\naction = \"s3:Get*\"\n\
[[statement]]\nsid = \"ask\"\neffect = \"approve\"\naction = \"s3:Put*\"\n";

#[test]
fn each_layer_must_allow_and_any_denies() {
    let text = format!(
        "[policies]\nidentity = [\"i.json\"]\nboundary = [\"b.json\"]\nscp = [\"root.json\", [\"ou1.json\", \"ou2.json\"]]\n{STATEMENTS}"
    );
    let profile = load(
        &text,
        &[
            ("i.json", &one("Allow", "s3:List*")),
            ("b.json", &one("Allow", "s3:*")),
            (
                "root.json",
                r#"{"Statement":[
                    {"Effect":"Allow","Action":"*","Resource":"*"},
                    {"Effect":"Deny","Action":"s3:GetSecret","Resource":"*"}]}"#,
            ),
            ("ou1.json", &one("Allow", "s3:Get*")),
            ("ou2.json", &one("Allow", "s3:*Object")),
        ],
    );
    let level2 = "level 2 of the service control policies (ou1.json, ou2.json)";
    for (action, effect, statement, part) in [
        (
            "s3:GetObject",
            Allow,
            Some("own"),
            "allowed by statement own of profile p",
        ),
        // By the second document of the level.
        (
            "s3:ListObject",
            Allow,
            Some("i.json:S"),
            "allowed by statement S of the identity policy i.json",
        ),
        (
            "s3:PutObject",
            Approve,
            Some("ask"),
            "needs a person's approval by statement ask of profile p",
        ),
        ("s3:PutAcl", Deny, None, level2),
        ("s3:ListX", Deny, None, level2),
        (
            "s3:GetSecret",
            Deny,
            Some("root.json:#2"),
            "is denied by statement #2 of the service control policy root.json",
        ),
        ("s3:DeleteObject", Deny, None, "the default of profile p"),
        (
            "ec2:GetX",
            Deny,
            None,
            "by the permissions boundary b.json, since no statement there surely allows it",
        ),
        ("", Deny, Some("root.json:#2"), "guard does not know"),
    ] {
        let (decided, by, reason) = decide(&profile, action);
        assert_eq!(
            (decided, by.as_deref()),
            (effect, statement),
            "{action}: {reason}"
        );
        assert!(reason.contains(part), "{action}: {reason}");
    }
}

#[test]
fn the_default_is_the_identitys_and_opens_no_limit() {
    let text = "default = \"allow\"\n[policies]\nboundary = [\"a.json\", \"b.json\"]\n";
    let (get, put) = (one("Allow", "s3:Get*"), one("Allow", "s3:*"));
    let profile = load(text, &[("a.json", &get), ("b.json", &put)]);
    assert_eq!(decide(&profile, "s3:GetObject").0, Allow);
    // Each boundary for itself.
    assert_eq!(decide(&profile, "s3:PutObject").0, Deny);
    assert_eq!(
        decide(&load("default = \"allow\"", &[]), "s3:PutObject").0,
        Allow
    );
}

#[test]
fn an_unknown_condition_denies_and_does_not_allow() {
    let condition = "condition = { StringEquals = { \"aws:RequestedRegion\" = \"eu-west-1\" } }\n";
    let statement = |effect: &str, condition: &str| {
        format!("[[statement]]\neffect = \"{effect}\"\naction = \"*\"\n{condition}")
    };
    let decided = |text: &str, found: KeyValue| {
        let known = Known::default().value("aws:requestedregion", found);
        load(text, &[])
            .decide(&[access("s3:GetObject")], &known)
            .effect
    };
    let one = |text: &str| KeyValue::One(text.to_owned());
    let allow = statement("allow", condition);
    let deny = statement("allow", "") + &statement("deny", condition);
    let ask = statement("allow", "") + &statement("approve", condition);
    for (found, allowed, denied, asked) in [
        (one("eu-west-1"), Allow, Deny, Approve),
        (one("us-east-1"), Deny, Allow, Allow),
        (KeyValue::Unknown, Deny, Deny, Approve),
        (KeyValue::Absent, Deny, Allow, Allow),
    ] {
        assert_eq!(decided(&allow, found.clone()), allowed, "{found:?}");
        assert_eq!(decided(&deny, found.clone()), denied, "{found:?}");
        assert_eq!(decided(&ask, found.clone()), asked, "{found:?}");
    }
}

#[test]
fn keys_are_named_once_in_lower_case_and_sorted() {
    let text = "[policies]\nscp = [\"s.json\"]\n\
        [[statement]]\neffect = \"allow\"\naction = \"*\"\nresource = \"arn:aws:s3:::${aws:PrincipalTag/Team}\"\n\
        [[mask.statement]]\nclasses = [\"pii\"]\naction = \"*\"\ncondition = { Bool = { \"z:y\" = true } }\n";
    let scp = r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":
        {"StringNotEquals":{"aws:principaltag/team":"${s3:Prefix}"}}}}"#;
    let profile = load(text, &[("s.json", scp)]);
    assert_eq!(
        profile.condition_keys(),
        ["aws:principaltag/team", "s3:prefix", "z:y"]
    );
}

#[test]
fn the_digest_covers_every_document() {
    let text = "[policies]\nidentity = [\"i.json\"]";
    let (a, b) = (one("Allow", "s3:*"), one("Deny", "s3:*"));
    let digest = |document: &str| load(text, &[("i.json", document)]).sha256().to_owned();
    assert_ne!(digest(&a), digest(&b));
    assert_eq!(digest(&a).len(), 64);
    assert_ne!(load("", &[]).sha256(), load("#", &[]).sha256());
}

#[test]
fn mask_statements_add_classes_where_they_could_match() {
    use crate::mask::Class;
    let text = "[mask]\nclasses = [\"credential\"]\n\
        [[mask.statement]]\nclasses = [\"content\"]\naction = \"s3:Get*\"\nresource = \"arn:aws:s3:::b/*\"\n\
        [[mask.statement]]\nclasses = [\"pii\"]\naction = \"s3:*\"\n\
        condition = { StringEquals = { \"x:y\" = \"z\" } }\n";
    let profile = load(text, &[]);
    let masked = |access: &Access, known: &Known| {
        let masked = profile.masked(from_ref(access), known);
        [Class::Credential, Class::Content, Class::Pii].map(|class| masked.contains(class))
    };
    let other = Access {
        resources: vec![Resource::Arn("arn:aws:s3:::a/k".to_owned())],
        ..access("s3:GetObject")
    };
    let no = Known::absent();
    assert_eq!(masked(&access("s3:GetObject"), &no), [true, true, false]);
    assert_eq!(masked(&other, &no), [true, false, false]);
    assert_eq!(
        masked(&access("s3:Put"), &Known::default()),
        [true, false, true]
    );
    assert_eq!(
        masked(&access("ec2:Put"), &Known::default()),
        [true, false, false]
    );
    assert_eq!(masked(&access(""), &no), [true, true, false]);
    assert!(profile.masks(Class::Credential) && !profile.masks(Class::Content));
}

#[test]
fn an_explanation_shows_what_matched_and_what_did_not() {
    let text = format!(
        "[policies]\nscp = [\"s.json\"]\n{STATEMENTS}\
         condition = {{ StringEquals = {{ \"x:y\" = [\"a\", \"b\"] }} }}\n"
    );
    let profile = load(&text, &[("s.json", &one("Allow", "*"))]);
    let known = Known::absent().with(&[("x:y", "c")]);
    let calls = [access("s3:PutObject"), access("s3:GetObject")];
    let traces = profile.explain(&calls, &known);
    assert_eq!(traces.len(), 2);
    let trace = &traces[0];
    assert_eq!((trace.effect, &trace.decider), (Deny, &Decider::Default));
    let parts: Vec<_> = trace
        .statements
        .iter()
        .map(|it| (it.label.as_str(), it.origin.as_str(), it.applies))
        .collect();
    assert_eq!(
        parts,
        [
            ("ask", "profile p", false),
            ("s.json:S", "service control policy s.json", true)
        ]
    );
    let condition = &trace.statements[0].conditions[0];
    assert_eq!(
        (
            condition.operator.as_str(),
            condition.key.as_str(),
            condition.holds
        ),
        ("StringEquals", "x:y", Truth::False)
    );
    assert_eq!(condition.found, KeyValue::One("c".to_owned()));
    assert_eq!(traces[1].decider, Decider::Statement("own".to_owned()));
}
