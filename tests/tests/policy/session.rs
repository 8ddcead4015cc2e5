//! Inline session policies: what guard lets pass, they allow; and what a profile denies that IAM can tell, they do not.

use std::collections::BTreeMap;

use fastrand::Rng;
use guard_daemon::aws::{Access, Resource};
use guard_daemon::policy::{Effect, Extent, NoSessionPolicy, Profile};
use serde_json::{Value, json};

use crate::generate::{
    ACTION_PATTERNS, ACTIONS, ARNS, PLAIN_RESOURCES, one_or_more, pick, principal,
};
use crate::simulate::simulate;
use crate::{Case, Differences, report};

/// Profiles, and requests on each.
const PROFILES: usize = 600;
const REQUESTS: usize = 8;

/// What only guard knows, or IAM does not take.
const OWN_ACTIONS: &[&str] = &["*:Get*", "s3*:*", "*:*"];
const OWN_RESOURCES: &[&str] = &["arn:aws:s3:::${guard:User}/*", "arn:*", "arn:aws:s*:::logs"];

/// A statement, and whether IAM can tell all of it.
fn statement(random: &mut Rng) -> (String, bool) {
    let effect = pick(random, &["allow", "allow", "allow", "deny", "approve"]);
    let mut exact = effect != "approve";
    let mut text = format!("[[statement]]\neffect = \"{effect}\"\n");
    let mut add = |word: &str, value: &Value| {
        text.push_str(&format!("{word} = {value}\n"));
    };
    let own = random.u8(..8) == 0;
    exact &= !own;
    let word = pick(random, &["action", "action", "action", "not_action"]);
    add(
        word,
        &one_or_more(random, if own { OWN_ACTIONS } else { ACTION_PATTERNS }),
    );
    if random.bool() {
        let own = random.u8(..8) == 0;
        exact &= !own;
        let word = pick(
            random,
            &["resource", "resource", "resource", "not_resource"],
        );
        add(
            word,
            &one_or_more(random, if own { OWN_RESOURCES } else { PLAIN_RESOURCES }),
        );
    }
    let mut tests = Vec::new();
    if random.u8(..4) == 0 {
        exact = false;
        let operator = pick(random, &["StringEquals", "StringNotLike"]);
        tests.push(format!("{operator} = {{ \"guard:User\" = \"ada\" }}"));
    }
    if random.u8(..3) == 0 {
        let team = pick(random, &["team-a", "team-b"]);
        tests.push(format!(
            "StringEqualsIgnoreCase = {{ \"aws:PrincipalTag/team\" = \"{team}\" }}"
        ));
    }
    if random.u8(..5) == 0 {
        exact = false;
        tests.push("StringLike = { \"aws:RequestedRegion\" = \"${guard:User}*\" }".to_owned());
    }
    if !tests.is_empty() {
        text.push_str(&format!("condition = {{ {} }}\n", tests.join(", ")));
    }
    (text, exact)
}

#[test]
fn a_session_policy_is_never_narrower_than_guard_and_denies_what_it_can() {
    let mut random = Rng::with_seed(0x05_e551_0011);
    let mut cases = Vec::new();
    let mut expected = Vec::new();
    let (mut unlimited, mut actions) = (0, 0);
    for _ in 0..PROFILES {
        let default = pick(&mut random, &["deny", "deny", "deny", "allow", "approve"]);
        let mut text = format!("default = \"{default}\"\n");
        let mut exact = true;
        for _ in 0..random.usize(1..7) {
            let (statement, is_exact) = statement(&mut random);
            text.push_str(&statement);
            exact &= is_exact;
        }
        let profile = Profile::parse("generated", &text).expect("a generated profile is one");
        let policy = match profile.session_policy() {
            Ok(policy) => policy,
            Err(NoSessionPolicy::Unlimited) => {
                unlimited += 1;
                continue;
            }
            Err(error) => panic!("{error}: {text}"),
        };
        actions += usize::from(policy.extent == Extent::Actions);
        exact &= policy.extent == Extent::Whole;
        let policy: Value = serde_json::from_str(&policy.text).expect("JSON");
        for _ in 0..REQUESTS {
            let mut context: BTreeMap<String, Value> = principal().into_iter().collect();
            context.insert(
                "aws:RequestedRegion".to_owned(),
                json!(pick(&mut random, &["eu-west-1", "ada-1"])),
            );
            context.insert(
                "guard:User".to_owned(),
                json!(pick(&mut random, &["ada", "data"])),
            );
            let case = Case {
                identity: vec![policy.clone()],
                boundary: Vec::new(),
                scp: Vec::new(),
                action: pick(&mut random, ACTIONS).to_owned(),
                resource: pick(&mut random, ARNS).to_owned(),
                context,
            };
            let access = Access {
                action: Some(case.action.clone().into()),
                level: None,
                resources: vec![Resource::Arn(case.resource.clone())],
            };
            expected.push((profile.decide(&[access], &case).effect, exact, text.clone()));
            cases.push(case);
        }
    }
    // IAM has no keys of guard's.
    let told: Vec<Case> = cases
        .iter()
        .cloned()
        .map(|mut case| {
            case.context.retain(|key, _| !key.starts_with("guard:"));
            case
        })
        .collect();
    let Some(allows) = simulate(
        "policy::session::a_session_policy_is_never_narrower_than_guard_and_denies_what_it_can",
        &told,
    ) else {
        return;
    };
    let mut differences = Differences::default();
    let (mut passed, mut denied, mut wider) = (0, 0, 0);
    for ((case, allows), (effect, exact, text)) in cases.iter().zip(allows).zip(&expected) {
        match (effect, allows) {
            (Effect::Allow | Effect::Approve, true) => passed += 1,
            (Effect::Allow | Effect::Approve, false) => {
                differences.add(&format!("narrower than {text:?}"), case);
            }
            (Effect::Deny, true) if *exact => {
                differences.add(&format!("wider than {text:?}"), case);
            }
            (Effect::Deny, true) => wider += 1,
            (Effect::Deny, false) => denied += 1,
        }
    }
    report(&format!(
        "session policies: {} requests on {PROFILES} profiles ({unlimited} refuse nothing, {actions} in actions alone): \
         {passed} pass in both, {denied} are denied in both, {wider} by guard alone",
        cases.len()
    ));
    differences.assert_none();
    assert!(passed > 1000 && denied > 1000, "the cases decide nothing");
}
