//! Identity policies, a boundary and levels of service control policies together, without the corners that AWS
//! leaves open: every decision must be the same.

use fastrand::Rng;
use guard_daemon::policy::Effect;
use serde_json::{Map, Value, json};

use crate::generate::{
    ACTION_PATTERNS, ACTIONS, ARNS, OPERATORS, PLAIN_RESOURCES, SETS, document, one_or_more,
    patterns, pick, principal, values,
};
use crate::simulate::simulate;
use crate::{Case, Differences, report};

const CASES: usize = 6_000;

#[test]
fn whole_sets_of_policies_are_decided_alike() {
    let mut random = Rng::with_seed(0x6775_6172_6403);
    let cases: Vec<Case> = (0..CASES).map(|_| case(&mut random)).collect();
    let Some(theirs) = simulate("whole_sets_of_policies_are_decided_alike", &cases) else {
        return;
    };
    let mut allowed = 0;
    let mut wrong = Differences::default();
    for (case, theirs) in cases.iter().zip(theirs) {
        let ours = case.decide() == Effect::Allow;
        match (ours, theirs) {
            (true, false) => wrong.add("guard alone allows", case),
            (false, true) => wrong.add("the other alone allows", case),
            _ => {}
        }
        allowed += usize::from(ours);
    }
    wrong.assert_none();
    report(&format!(
        "policy layers: {CASES} cases decided alike, {allowed} of them allowed"
    ));
    assert!(allowed > CASES / 10, "the cases say something");
}

fn case(random: &mut Rng) -> Case {
    let mut context: Vec<(String, Value)> = principal();
    let mut identity = policies(random, &mut context, 1..3, 1..5);
    identity.push(document(&[allow_most(random)]));
    let boundary = if random.bool() {
        Vec::new()
    } else {
        let mut boundary = policies(random, &mut context, 0..1, 1..4);
        boundary.push(document(&[allow_most(random)]));
        vec![merge(&boundary)]
    };
    let levels = random.usize(0..3);
    let scp = (0..levels)
        .map(|_| {
            let mut level = policies(random, &mut context, 0..2, 1..3);
            level.push(document(&[allow_most(random)]));
            level
        })
        .collect();
    Case {
        identity,
        boundary,
        scp,
        action: pick(random, ACTIONS).to_owned(),
        resource: pick(random, ARNS).to_owned(),
        context: context.into_iter().collect(),
    }
}

/// The statements of several documents in one.
fn merge(documents: &[Value]) -> Value {
    let statements: Vec<Value> = documents
        .iter()
        .flat_map(|document| {
            document["Statement"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .collect();
    document(&statements)
}

/// Without it hardly anything would be allowed.
fn allow_most(random: &mut Rng) -> Value {
    match random.u8(..4) {
        0 => json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }),
        1 => json!({ "Effect": "Allow", "NotAction": "iam:*", "Resource": "*" }),
        _ => json!({ "Effect": "Allow", "Action": "*", "Resource": "*" }),
    }
}

fn policies(
    random: &mut Rng,
    context: &mut Vec<(String, Value)>,
    documents: std::ops::Range<usize>,
    statements: std::ops::Range<usize>,
) -> Vec<Value> {
    (0..random.usize(documents))
        .map(|_| {
            let statements: Vec<Value> = (0..random.usize(statements.clone()))
                .map(|_| statement(random, context))
                .collect();
            document(&statements)
        })
        .collect()
}

fn statement(random: &mut Rng, context: &mut Vec<(String, Value)>) -> Value {
    let mut statement = Map::new();
    let effect = if random.bool() { "Allow" } else { "Deny" };
    statement.insert("Effect".to_owned(), json!(effect));
    let action = if random.u8(..4) == 0 {
        "NotAction"
    } else {
        "Action"
    };
    statement.insert(action.to_owned(), one_or_more(random, ACTION_PATTERNS));
    let resource = if random.u8(..4) == 0 {
        "NotResource"
    } else {
        "Resource"
    };
    statement.insert(resource.to_owned(), one_or_more(random, PLAIN_RESOURCES));
    let mut condition = Map::new();
    for _ in 0..random.usize(..3) {
        let (operator, key, values) = test(random, context);
        condition.insert(operator, json!({ key: values }));
    }
    if !condition.is_empty() || random.u8(..8) == 0 {
        statement.insert("Condition".to_owned(), Value::Object(condition));
    }
    Value::Object(statement)
}

/// An operator, a key and what it is compared with; the request has the key or not.
fn test(random: &mut Rng, context: &mut Vec<(String, Value)>) -> (String, String, Value) {
    let operator = pick(random, OPERATORS);
    let key = format!("x:key{}", context.len());
    let mut from = [values(operator), patterns(operator)].concat();
    if operator.ends_with("IpAddress") {
        // Ranges; `elements` says what the other makes of single addresses.
        from.retain(|value| value.contains('/') && *value != "0.0.0.0/0");
    }
    let wanted = one_or_more(random, &from);
    if operator == "Null" {
        if random.bool() {
            context.push((key.clone(), json!("a")));
        } else {
            context.push((format!("{key}-other"), json!("a")));
        }
        return (operator.to_owned(), key, wanted);
    }
    let set = pick(random, SETS);
    let found = match random.u8(..4) {
        0 => None,
        _ if set.is_empty() => Some(json!(pick(random, values(operator)))),
        _ => {
            let count = random.usize(1..4);
            let list: Vec<&str> = (0..count).map(|_| pick(random, values(operator))).collect();
            Some(json!(list))
        }
    };
    // A missing key with both is a corner of its own.
    let if_exists = random.bool() && set != "ForAnyValue:";
    match found {
        Some(found) => context.push((key.clone(), found)),
        None => context.push((format!("{key}-other"), json!("a"))),
    }
    let suffix = if if_exists { "IfExists" } else { "" };
    (format!("{set}{operator}{suffix}"), key, wanted)
}
