//! Evaluation, by table and by property.

use std::slice::from_ref;

use proptest::prelude::*;

use super::super::keys::Facts;
use super::super::{Effect, NothingKnown, Profile};
use super::{action, first, pairs};
use crate::aws::{Access, Resource};

fn profile(text: &str) -> Profile {
    Profile::parse("test", text).unwrap()
}

fn arn(text: &str) -> Resource {
    Resource::Arn(text.to_owned())
}

fn access(action: &str, resources: &[Resource]) -> Access {
    let action = (!action.is_empty()).then(|| action.to_owned().into());
    Access {
        action,
        level: None,
        resources: resources.to_vec(),
    }
}

fn effect(text: &str, action: &str, resource: &Resource) -> Effect {
    profile(text)
        .decide(&[access(action, from_ref(resource))], &NothingKnown)
        .effect
}

fn statement(effect: &str, rest: &str) -> String {
    format!("[[statement]]\neffect = \"{effect}\"\n{rest}\n")
}

use Effect::{Allow, Approve, Deny};

#[test]
fn deny_beats_approve_beats_allow_beats_the_default_in_any_order() {
    let allow = statement("allow", "action = \"s3:*\"");
    let approve = statement("approve", "action = \"s3:Put*\"");
    let deny = statement("deny", "action = \"s3:PutBucketPolicy\"");
    for parts in [
        [&allow, &approve, &deny],
        [&deny, &approve, &allow],
        [&approve, &deny, &allow],
    ] {
        let text = parts.map(String::as_str).concat();
        for (action, expected) in [
            ("s3:GetObject", Allow),
            ("S3:getobject", Allow),
            ("s3:PutObject", Approve),
            ("s3:PutBucketPolicy", Deny),
            ("ec2:RunInstances", Deny),
        ] {
            assert_eq!(
                effect(&text, action, &Resource::Any),
                expected,
                "{action} in {text}"
            );
        }
    }
}

#[test]
fn the_default_decides_where_nothing_matches() {
    for (default, expected) in [("deny", Deny), ("allow", Allow), ("approve", Approve)] {
        let decision = profile(&format!("default = \"{default}\""))
            .decide(&[access("s3:GetObject", &[arn("arn:x")])], &NothingKnown);
        assert_eq!(
            (decision.effect, decision.statement.as_deref()),
            (expected, None)
        );
        assert!(decision.reason.contains("default"), "{}", decision.reason);
    }
}

#[test]
fn every_access_and_every_resource_must_be_allowed() {
    let text = format!(
        "{}{}",
        statement(
            "allow",
            "action = \"s3:*Object\"\nresource = \"arn:aws:s3:::a/*\""
        ),
        statement(
            "approve",
            "action = \"s3:PutObject\"\nresource = \"arn:aws:s3:::a/ask\""
        ),
    );
    let profile = profile(&text);
    let (get, put) = ("s3:GetObject", "s3:PutObject");
    let (ok, ask, other) = (
        arn("arn:aws:s3:::a/k"),
        arn("arn:aws:s3:::a/ask"),
        arn("arn:aws:s3:::b/k"),
    );
    for (call, expected) in [
        (
            vec![access(get, from_ref(&ok)), access(put, from_ref(&ok))],
            Allow,
        ),
        (vec![access(get, &[ok.clone(), ok.clone()])], Allow),
        (vec![access(get, &[ok.clone(), other.clone()])], Deny),
        (
            vec![access(get, from_ref(&other)), access(put, from_ref(&ok))],
            Deny,
        ),
        (
            vec![access(get, from_ref(&ok)), access(put, from_ref(&ask))],
            Approve,
        ),
        (
            vec![access(put, from_ref(&ask)), access(get, from_ref(&other))],
            Deny,
        ),
        (vec![access(put, &[ask.clone(), other.clone()])], Deny),
        (vec![access(get, &[])], Deny),
        (vec![], Deny),
    ] {
        assert_eq!(
            profile.decide(&call, &NothingKnown).effect,
            expected,
            "{call:?}"
        );
    }
}

#[test]
fn nothing_known_is_not_allowed_by_a_statement() {
    let all = statement("allow", "action = \"*\"");
    assert_eq!(profile(&all).decide(&[], &NothingKnown).effect, Deny);
    assert_eq!(
        profile(&all)
            .decide(&[access("", &[])], &NothingKnown)
            .effect,
        Deny
    );
    assert_eq!(
        profile(&all)
            .decide(&[access("NoService", &[Resource::Any])], &NothingKnown)
            .effect,
        Deny
    );
}

#[test]
fn the_unknown_is_matched_by_what_could_mean_it_but_not_by_an_allow() {
    let (s3, any) = ("arn:aws:s3:::a/*", Resource::Any);
    let known = arn("arn:aws:s3:::a/k");
    let unknown = Resource::Unknown;
    for (effect_word, rest, action, resource, matches) in [
        // Resource unknown.
        (
            "deny",
            format!("action = \"s3:*\"\nresource = \"{s3}\""),
            "s3:GetObject",
            &unknown,
            true,
        ),
        (
            "deny",
            format!("action = \"ec2:*\"\nresource = \"{s3}\""),
            "s3:GetObject",
            &unknown,
            false,
        ),
        (
            "deny",
            format!("action = \"s3:*\"\nnot_resource = \"{s3}\""),
            "s3:GetObject",
            &unknown,
            true,
        ),
        (
            "deny",
            "action = \"s3:*\"\nnot_resource = \"*\"".to_owned(),
            "s3:GetObject",
            &unknown,
            false,
        ),
        (
            "approve",
            format!("action = \"s3:*\"\nresource = \"{s3}\""),
            "s3:GetObject",
            &unknown,
            true,
        ),
        (
            "allow",
            format!("action = \"s3:*\"\nresource = \"{s3}\""),
            "s3:GetObject",
            &unknown,
            false,
        ),
        (
            "allow",
            "action = \"s3:*\"\nresource = \"arn:*\"".to_owned(),
            "s3:GetObject",
            &unknown,
            false,
        ),
        (
            "allow",
            format!("action = \"s3:*\"\nnot_resource = \"{s3}\""),
            "s3:GetObject",
            &unknown,
            false,
        ),
        (
            "allow",
            "action = \"s3:*\"\nresource = \"*\"".to_owned(),
            "s3:GetObject",
            &unknown,
            true,
        ),
        (
            "allow",
            "action = \"s3:*\"".to_owned(),
            "s3:GetObject",
            &unknown,
            true,
        ),
        // Action unknown.
        (
            "deny",
            "action = \"s3:GetObject\"".to_owned(),
            "",
            &any,
            true,
        ),
        (
            "approve",
            "action = \"s3:GetObject\"".to_owned(),
            "",
            &known,
            true,
        ),
        (
            "deny",
            format!("action = \"s3:*\"\nresource = \"{s3}\""),
            "",
            &known,
            true,
        ),
        (
            "deny",
            "action = \"s3:*\"\nresource = \"arn:aws:s3:::b\"".to_owned(),
            "",
            &known,
            false,
        ),
        ("deny", "not_action = \"s3:*\"".to_owned(), "", &any, true),
        ("deny", "not_action = \"*\"".to_owned(), "", &any, false),
        ("allow", "action = \"*\"".to_owned(), "", &any, false),
        ("allow", "not_action = \"s3:*\"".to_owned(), "", &any, false),
        // Both.
        (
            "deny",
            format!("action = \"s3:*\"\nresource = \"{s3}\""),
            "",
            &unknown,
            true,
        ),
        ("allow", "action = \"*\"".to_owned(), "", &unknown, false),
    ] {
        let text = statement(effect_word, &rest);
        let default = if effect_word == "allow" { Deny } else { Allow };
        let word = if default == Deny { "deny" } else { "allow" };
        let profile = profile(&format!("default = \"{word}\"\n{text}"));
        let decision = profile.decide(&[access(action, from_ref(resource))], &NothingKnown);
        assert_eq!(
            decision.statement.is_some(),
            matches,
            "{action} on {resource:?} in {text}"
        );
    }
}

#[test]
fn a_default_of_allow_asks_about_an_action_that_nobody_can_name() {
    for resource in [Resource::Unknown, Resource::Any] {
        assert_eq!(effect("default = \"allow\"", "", &resource), Approve);
        assert_eq!(effect("default = \"deny\"", "", &resource), Deny);
    }
}

#[test]
fn an_action_without_resource_is_matched_by_a_star_only() {
    let resource = |rest: &str| statement("allow", &format!("action = \"s3:*\"\n{rest}"));
    for (rest, expected) in [
        ("", Allow),
        ("resource = \"*\"", Allow),
        ("resource = [\"arn:aws:s3:::a\", \"*\"]", Allow),
        ("resource = \"arn:aws:s3:::*\"", Deny),
        ("resource = \"arn:*\"", Deny),
        ("not_resource = \"arn:aws:s3:::a\"", Allow),
        ("not_resource = \"*\"", Deny),
    ] {
        assert_eq!(
            effect(&resource(rest), "s3:ListAllMyBuckets", &Resource::Any),
            expected,
            "{rest}"
        );
    }
    let denied = format!(
        "default = \"allow\"\n{}",
        statement("deny", "action = \"s3:*\"\nresource = \"arn:aws:s3:::a\"")
    );
    assert_eq!(
        effect(&denied, "s3:ListAllMyBuckets", &Resource::Any),
        Allow
    );
}

#[test]
fn not_action_and_not_resource_are_the_complement() {
    let text = statement(
        "allow",
        "not_action = \"iam:*\"\nnot_resource = \"arn:aws:s3:::a/*\"",
    );
    for (action, resource, expected) in [
        ("s3:GetObject", "arn:aws:s3:::b/k", Allow),
        ("s3:GetObject", "arn:aws:s3:::a/k", Deny),
        ("iam:GetUser", "arn:aws:iam::1:user/u", Deny),
        ("IAM:GetUser", "arn:aws:iam::1:user/u", Deny),
    ] {
        assert_eq!(
            effect(&text, action, &arn(resource)),
            expected,
            "{action} on {resource}"
        );
    }
}

#[test]
fn colons_that_a_caller_chooses_do_not_widen_an_allow_or_narrow_a_deny() {
    let key = arn("arn:aws:s3:::evil/x:y:good/z");
    let pattern = "\"arn:aws:s3:*:*:good/*\"";
    for (word, rest, expected) in [
        ("allow", "resource", Deny),
        ("allow", "not_resource", Deny),
        ("deny", "resource", Deny),
        ("deny", "not_resource", Deny),
    ] {
        let default = if word == "deny" { "allow" } else { "deny" };
        let body = statement(word, &format!("action = \"s3:*\"\n{rest} = {pattern}"));
        let decided = effect(
            &format!("default = \"{default}\"\n{body}"),
            "s3:GetObject",
            &key,
        );
        assert_eq!(decided, expected, "{body}");
    }
}

#[test]
fn the_reason_names_action_resource_and_statement() {
    let text = format!(
        "{}{}",
        statement("allow", "action = \"s3:Get*\""),
        statement("deny", "action = \"s3:Delete*\"")
    );
    let profile = profile(&text);
    let decision = profile.decide(
        &[access("s3:DeleteBucket", &[arn("arn:aws:s3:::a")])],
        &NothingKnown,
    );
    assert_eq!(decision.statement.as_deref(), Some("#2"));
    assert_eq!(
        &*decision.reason,
        "s3:DeleteBucket on arn:aws:s3:::a is denied by statement #2 of profile test"
    );
    let decision = profile.decide(
        &[access("s3:GetObject", &[Resource::Unknown])],
        &NothingKnown,
    );
    assert_eq!(decision.statement.as_deref(), Some("#1"));
    let long = arn(&format!("arn:aws:s3:::{}", "\u{e9}".repeat(5_000)));
    let decision = profile.decide(&[access("s3:PutObject", &[long])], &NothingKnown);
    assert!(decision.reason.len() < 700, "{}", decision.reason.len());
}

/// A statement's text, from a small alphabet so that statements meet.
fn any_statement() -> impl Strategy<Value = (Effect, String)> {
    let effects = prop_oneof![
        Just((Allow, "allow")),
        Just((Deny, "deny")),
        Just((Approve, "approve"))
    ];
    let actions = prop::sample::select(vec!["*", "s3:*", "s3:Get*", "ec2:*", "*:Get*", "s?:Put*"]);
    let resources = prop::sample::select(vec![
        "*",
        "arn:aws:s3:::a/*",
        "arn:aws:s3:*:*:b",
        "arn:*",
        "arn:aws:s3:::?",
    ]);
    (effects, any::<bool>(), actions, any::<bool>(), resources).prop_map(
        |((effect, word), not_action, action, not_resource, resource)| {
            let not = |negated: bool| if negated { "not_" } else { "" };
            let rest = format!(
                "{}action = \"{action}\"\n{}resource = \"{resource}\"",
                not(not_action),
                not(not_resource)
            );
            (effect, statement(word, &rest))
        },
    )
}

fn any_access() -> impl Strategy<Value = Access> {
    let actions = prop::sample::select(vec![
        "s3:GetObject",
        "s3:PutObject",
        "ec2:GetX",
        "S3:Put",
        "sq:Puts",
        "",
    ]);
    let resource = prop_oneof![
        Just(Resource::Any),
        Just(Resource::Unknown),
        prop::sample::select(vec![
            "arn:aws:s3:::a/k",
            "arn:aws:s3:::a/x:y:b",
            "arn:aws:s3:::b",
            "arn:aws:ec2:r:1:i"
        ])
        .prop_map(arn),
    ];
    (actions, prop::collection::vec(resource, 0..3))
        .prop_map(|(action, resources)| access(action, &resources))
}

/// The lower, the stricter.
fn strictness(effect: Effect) -> u8 {
    super::rank(effect)
}

proptest! {
    #[test]
    fn a_further_deny_or_approve_never_loosens_and_a_further_allow_never_tightens_a_denying_default(
        statements in prop::collection::vec(any_statement(), 0..5),
        (added_effect, added) in any_statement(),
        calls in prop::collection::vec(any_access(), 0..3),
        default in prop::sample::select(vec!["deny", "approve", "allow"]),
    ) {
        let text = format!(
            "default = \"{default}\"\n{}",
            statements.iter().map(|(_, text)| text.as_str()).collect::<String>()
        );
        let before = profile(&text).decide(&calls, &NothingKnown).effect;
        let after = profile(&format!("{text}{added}")).decide(&calls, &NothingKnown).effect;
        match added_effect {
            Deny => prop_assert!(strictness(after) <= strictness(before)),
            // An approve statement also opens what a denying default keeps shut, but only to a person.
            Approve if default == "deny" => prop_assert!(after != Allow || before == Allow),
            Approve => prop_assert!(strictness(after) <= strictness(before)),
            Allow => prop_assert!(strictness(after) >= strictness(before)),
        }
    }

    #[test]
    fn the_index_does_not_change_the_outcome(
        statements in prop::collection::vec(any_statement(), 0..6),
        call in any_access(),
    ) {
        let text: String = statements.iter().map(|(_, text)| text.as_str()).collect();
        let profile = profile(&text);
        let policy = &profile.policy;
        for (access, resource) in pairs(from_ref(&call)) {
            let facts = Facts::new(&NothingKnown, access, resource, &[]);
            let split = action(access);
            let plain = policy.ordered.iter().position(|it| it.applies(split, resource, &facts));
            let indexed = first(&policy.index, &policy.ordered, split, resource, &facts);
            prop_assert_eq!(plain, indexed);
        }
    }

    #[test]
    fn an_unknown_action_is_allowed_by_the_default_only(
        statements in prop::collection::vec(any_statement(), 0..6),
        resource in prop_oneof![Just(Resource::Any), Just(Resource::Unknown), Just(arn("arn:aws:s3:::b"))],
    ) {
        let text: String = statements.iter().map(|(_, text)| text.as_str()).collect();
        prop_assert_ne!(profile(&text).decide(&[access("", &[resource])], &NothingKnown).effect, Allow);
    }
}
