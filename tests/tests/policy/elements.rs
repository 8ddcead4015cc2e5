//! Single elements and operators, in all their corners.
//!
//! Each is asked twice: as the only allowance, and as the only denial besides an allowance of everything. From both
//! guard's answer is true, false or unknown; unknown must be one of the corners that AWS leaves open, and every other
//! difference one of a class with its reason: AWS's documentation, or plain arithmetic.

use std::collections::BTreeMap;

use fastrand::Rng;
use guard_daemon::policy::Effect;
use serde_json::{Map, Value, json};

use crate::generate::{
    ACTION_PATTERNS, ACTIONS, ARNS, OPERATORS, OTHER_RESOURCES, PLAIN_RESOURCES, document,
    one_or_more, patterns, pick, principal, values,
};
use crate::simulate::simulate;
use crate::{Case, Differences, report};

const CONDITIONS: usize = 12_000;
const RESOURCES: usize = 3_000;

/// One question: a statement without its effect, and the request.
struct Question {
    statement: Map<String, Value>,
    action: String,
    resource: String,
    context: BTreeMap<String, Value>,
    corner: Corner,
}

/// What is known of the question that explains a difference.
#[derive(Clone, Default)]
struct Corner {
    /// Where AWS leaves open what happens: guard's answer may be unknown.
    open: Option<&'static str>,
    /// Why guard's answer is right where the other's differs.
    reasoned: Option<&'static str>,
}

#[test]
fn conditions_are_evaluated_alike() {
    let mut random = Rng::with_seed(0x6775_6172_6401);
    let questions: Vec<Question> = (0..CONDITIONS).map(|_| condition(&mut random)).collect();
    compare("conditions_are_evaluated_alike", &questions);
}

#[test]
fn actions_and_resources_are_matched_alike() {
    let mut random = Rng::with_seed(0x6775_6172_6402);
    let questions: Vec<Question> = (0..RESOURCES).map(|_| resource(&mut random)).collect();
    compare("actions_and_resources_are_matched_alike", &questions);
}

fn compare(test: &str, questions: &[Question]) {
    let cases: Vec<Case> = questions.iter().flat_map(Question::cases).collect();
    let Some(theirs) = simulate(test, &cases) else {
        return;
    };
    let mut same = 0;
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut otherwise: BTreeMap<&str, usize> = BTreeMap::new();
    let mut reasoned: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Differences::default();
    for (at, question) in questions.iter().enumerate() {
        let [allow, deny] = [&cases[2 * at], &cases[2 * at + 1]];
        let ours = (
            allow.decide() == Effect::Allow,
            deny.decide() == Effect::Deny,
        );
        let they = (theirs[2 * at], !theirs[2 * at + 1]);
        assert_eq!(they.0, they.1, "the other is of one mind on {allow:#?}");
        let Corner {
            open: may_be_open,
            reasoned: may_differ,
        } = question.corner;
        match ours {
            // What could match denies, and does not allow.
            (false, true) => match may_be_open {
                Some(reason) => *open.entry(reason).or_default() += 1,
                None => wrong.add("guard does not know, and should", allow),
            },
            (true, false) => wrong.add("guard allows what it does not deny", allow),
            ours if ours == they => same += 1,
            (matches, _) => match (may_differ, may_be_open) {
                (Some(reason), _) => *reasoned.entry(reason).or_default() += 1,
                (None, Some(reason)) => *otherwise.entry(reason).or_default() += 1,
                (None, None) if matches => wrong.add("it matches for guard alone", allow),
                (None, None) => wrong.add("it matches for the other alone", allow),
            },
        }
    }
    report(&format!(
        "{test}: {} questions, {same} answered alike",
        questions.len()
    ));
    for (what, counts) in [
        ("unknown, since AWS leaves it open", open),
        (
            "answered unlike the other where AWS leaves it open",
            otherwise,
        ),
        ("answered unlike the other, with reason", reasoned),
    ] {
        for (reason, count) in counts {
            report(&format!("  {count} {what}: {reason}"));
        }
    }
    wrong.assert_none();
    assert!(same > questions.len() / 2, "most of it is compared");
}

impl Question {
    fn cases(&self) -> [Case; 2] {
        let with = |effect: &str| {
            let mut statement = self.statement.clone();
            statement.insert("Effect".to_owned(), json!(effect));
            Value::Object(statement)
        };
        let all = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
        [vec![with("Allow")], vec![all, with("Deny")]].map(|statements| Case {
            identity: vec![document(&statements)],
            boundary: Vec::new(),
            scp: Vec::new(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            context: self.context.clone(),
        })
    }
}

/// A single condition on a single key.
fn condition(random: &mut Rng) -> Question {
    let operator = pick(random, OPERATORS);
    let set = match operator {
        "Null" => "",
        _ => pick(random, &["", "", "ForAllValues:", "ForAnyValue:"]),
    };
    let if_exists = operator != "Null" && random.bool();
    let corners = corner_patterns(operator);
    let from = [values(operator), patterns(operator), corners].concat();
    let wanted = one_or_more(random, &from);
    let requests = [values(operator), corner_values(operator)].concat();
    let found = match random.u8(..6) {
        0 => None,
        1 | 2 => {
            let count = random.usize(0..4);
            let list: Vec<&str> = (0..count).map(|_| pick(random, &requests)).collect();
            Some(json!(list))
        }
        _ => Some(json!(pick(random, &requests))),
    };
    let name = format!("{set}{operator}{}", if if_exists { "IfExists" } else { "" });
    let mut context: BTreeMap<String, Value> = principal().into_iter().collect();
    let corner = condition_corner(set, operator, if_exists, &wanted, found.as_ref());
    if let Some(found) = found {
        context.insert("x:Key".to_owned(), found);
    }
    let statement = json!({
        "Action": "*",
        "Resource": "*",
        "Condition": { name: { "x:key": wanted } },
    });
    Question {
        statement: statement.as_object().cloned().unwrap_or_default(),
        action: "s3:GetObject".to_owned(),
        resource: ARNS[0].to_owned(),
        context,
        corner,
    }
}

/// Values of policies that AWS leaves open, or that the other reads in its own way.
fn corner_patterns(operator: &str) -> &'static [&'static str] {
    match operator {
        name if name.starts_with("String") => &[
            NULL_VARIABLE,
            "${aws:TagKeys}",
            "",
            "${aws:PrincipalTag/empty}",
        ],
        name if name.starts_with("Arn") => &[
            "arn:aws:iam::123456789012:user/${aws:PrincipalTag/missing}",
            "arn:aws:s3*",
            "*",
        ],
        "IpAddress" | "NotIpAddress" => &["2001:db8:0::1"],
        name if name.starts_with("Date") => &["1767225600"],
        _ => &[],
    }
}

/// Likewise of requests.
fn corner_values(operator: &str) -> &'static [&'static str] {
    match operator {
        name if name.starts_with("String") => &[""],
        name if name.starts_with("Arn") => &["not-an-arn"],
        name if name.starts_with("Numeric") => &["many"],
        name if name.starts_with("Date") => &["soon"],
        "Bool" => &["yes"],
        "IpAddress" | "NotIpAddress" => &["localhost"],
        _ => &[],
    }
}

const NULL_VARIABLE: &str = "${aws:PrincipalTag/missing}";

fn condition_corner(
    set: &str,
    operator: &str,
    if_exists: bool,
    wanted: &Value,
    found: Option<&Value>,
) -> Corner {
    let wanted: Vec<&str> = texts(wanted);
    let values: Vec<&str> = found.map(texts).unwrap_or_default();
    let listed = found.is_some_and(Value::is_array);
    let negated = operator.contains("Not");
    let any_wanted = |part: &str| wanted.iter().any(|value| value.contains(part));
    let odd = |value: &&str| corner_values(operator).contains(value) && !value.is_empty();
    let missing = found.is_none() || found == Some(&json!([]));
    let open = if operator == "Null" {
        None
    } else if missing && if_exists && set == "ForAnyValue:" {
        Some(
            "ForAnyValue with IfExists on a missing key, where it is documented to hold and observed not to",
        )
    } else if listed && set.is_empty() && !values.is_empty() {
        Some("a multivalued key without a set operator, which such keys require")
    } else if any_wanted("${aws:TagKeys}") {
        Some("a multivalued key as a variable, which such keys cannot be")
    } else if operator.starts_with("Arn")
        && wanted.iter().any(|value| value.splitn(6, ':').count() < 6)
    {
        Some("an ARN pattern of fewer than the six components that are compared one by one")
    } else if values.iter().any(odd) {
        Some("a value that does not have the operator's type")
    } else if negated && any_wanted("missing") {
        Some("a variable without a value: like nothing, or making the statement invalid")
    } else {
        None
    };
    let reasoned = if found == Some(&json!([])) {
        Some("a set without values is a null data set, like a missing key")
    } else if !set.is_empty() && !listed && values == [""] {
        Some("set operators take an empty text for a null data set")
    } else if operator.ends_with("IpAddress") && any_wanted("2001:db8:0::1") {
        Some("an IPv6 address has several spellings")
    } else if operator.ends_with("IpAddress") && any_wanted("0.0.0.0/0") {
        Some("0.0.0.0/0 is the range of all IPv4 addresses")
    } else if operator == "NotIpAddress" && wanted.iter().any(|value| !value.contains('/')) {
        Some(
            "NotIpAddress holds for all addresses but the named ones, those of the other family too",
        )
    } else if operator.starts_with("Date") && any_wanted("1767225600") {
        Some("epoch time is in seconds")
    } else if any_wanted("empty}") {
        Some("a key with an empty value has a value")
    } else {
        None
    };
    Corner { open, reasoned }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

/// Actions and resources, plain and negated.
fn resource(random: &mut Rng) -> Question {
    let resources = [PLAIN_RESOURCES, OTHER_RESOURCES].concat();
    let wanted = one_or_more(random, &resources);
    let except = random.u8(..3) == 0;
    let arn = pick(random, ARNS);
    let corner = resource_corner(except, &texts(&wanted), arn);
    let mut statement = Map::new();
    let action = if random.u8(..4) == 0 {
        "NotAction"
    } else {
        "Action"
    };
    statement.insert(action.to_owned(), one_or_more(random, ACTION_PATTERNS));
    let resource = if except { "NotResource" } else { "Resource" };
    statement.insert(resource.to_owned(), wanted);
    Question {
        statement,
        action: pick(random, ACTIONS).to_owned(),
        resource: arn.to_owned(),
        context: principal().into_iter().collect(),
        corner,
    }
}

fn resource_corner(except: bool, wanted: &[&str], arn: &str) -> Corner {
    let any = |part: &str| wanted.iter().any(|value| value.contains(part));
    let open = if arn.contains("x:y") && any("arn:aws:s3:*:*:") {
        Some("a wildcard that would have to reach across a colon which the caller chose")
    } else if any("${aws:TagKeys}") {
        Some("a multivalued key as a variable, which such keys cannot be")
    } else if except && any("missing}") {
        Some("a variable without a value in NotResource")
    } else {
        None
    };
    let short = |value: &&str| *value != "*" && value.splitn(6, ':').count() < 6;
    let reasoned = if any("inst*") && arn.contains("instance") {
        Some("a wildcard in the resource type stands within a segment, like any")
    } else if except && wanted.iter().any(short) {
        Some("in NotResource, too, a `*` that ends a segment reaches beyond the colon")
    } else if any("empty}") {
        Some("a key with an empty value has a value")
    } else {
        None
    };
    Corner { open, reasoned }
}
