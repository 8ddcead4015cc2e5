//! Conditions, by table, by law, and against a plain second reading of AWS's rules.

use proptest::prelude::*;

use super::value::ValueError;
use super::{Condition, Operator, OperatorError};
use crate::aws::KeyValue;
use crate::policy::keys::Keys;
use crate::policy::sample::{Known, facts};
use crate::policy::text::Language;
use crate::policy::truth::Truth::{self, False, True, Unknown};
use crate::policy::written::Placed;

fn compile(operator: Operator, values: &[&str]) -> Result<(Condition, Vec<String>), ValueError> {
    let mut keys = Keys::default();
    keys.id("x:k");
    let values = values.iter().map(|&value| value.into()).collect();
    let language = Language { variables: true };
    let key = Placed::new(0..3, "x:K");
    let condition = Condition::new(operator, &key, values, language, &mut keys);
    condition
        .map(|condition| (condition, keys.into_names()))
        .map_err(|(_, error)| error)
}

fn evaluate(operator: Operator, values: &[&str], known: &Known) -> Truth {
    let (condition, names) = compile(operator, values).unwrap();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    facts(known, &names, |facts| condition.holds(facts))
}

fn holds(operator: &str, values: &[&str], found: &KeyValue) -> Truth {
    let operator = Operator::parse(operator).unwrap();
    evaluate(
        operator,
        values,
        &Known::absent().value("x:k", found.clone()),
    )
}

fn one(value: &str) -> KeyValue {
    KeyValue::One(value.to_owned())
}

fn many(values: &[&str]) -> KeyValue {
    KeyValue::Many(values.iter().map(|&value| value.to_owned()).collect())
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_operator_compares_its_type() {
    for (operator, values, found, expected) in [
        ("StringEquals", &["a", "b"][..], "b", True),
        ("StringEquals", &["a"], "A", False),
        ("StringEquals", &["*"], "a", False),
        ("StringEquals", &["*"], "*", True),
        ("StringEquals", &[""], "", True),
        ("StringNotEquals", &["a", "b"], "b", False),
        ("StringNotEquals", &["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", &["aB"], "Ab", True),
        ("StringNotEqualsIgnoreCase", &["aB"], "Ab", False),
        ("StringLike", &["a*", "?x"], "abc", True),
        ("StringLike", &["a*", "?x"], "yx", True),
        ("StringLike", &["a*", "?x"], "Abc", False),
        ("StringLike", &["a${*}"], "abc", False),
        ("StringLike", &["a${*}"], "a*", True),
        ("StringNotLike", &["a*"], "abc", False),
        ("NumericEquals", &["1.50"], "1.5", True),
        (
            "NumericEquals",
            &["9007199254740993"],
            "9007199254740992",
            False,
        ),
        ("NumericNotEquals", &["1", "2"], "2", False),
        ("NumericNotEquals", &["1", "2"], "3", True),
        ("NumericLessThan", &["10"], "9.999", True),
        ("NumericLessThan", &["10"], "10", False),
        ("NumericLessThan", &["-1"], "-2", True),
        ("NumericLessThanEquals", &["10"], "10", True),
        ("NumericGreaterThan", &["10", "5"], "7", True),
        ("NumericGreaterThanEquals", &["10"], "9", False),
        ("NumericEquals", &["1"], "one", Unknown),
        ("NumericNotEquals", &["1"], "1e0", Unknown),
        ("DateEquals", &["2026-01-31"], "2026-01-31T00:00:00Z", True),
        (
            "DateEquals",
            &["2026-01-31T01:00:00+01:00"],
            "2026-01-31",
            True,
        ),
        (
            "DateEquals",
            &["2026-01-31T01:00+01:00"],
            "2026-01-31T00:00Z",
            True,
        ),
        ("DateEquals", &["1769817600"], "2026-01-31", True),
        (
            "DateLessThan",
            &["2026-01-31T00:00:00.5Z"],
            "2026-01-31T00:00:00.4Z",
            True,
        ),
        ("DateLessThanEquals", &["2026-01-31"], "2026-01-31", True),
        (
            "DateGreaterThan",
            &["2026-01-31"],
            "2026-01-31T00:00:01Z",
            True,
        ),
        (
            "DateGreaterThanEquals",
            &["2026-01-31"],
            "2026-01-30",
            False,
        ),
        ("DateNotEquals", &["2026-01-31"], "2026-01-31", False),
        ("DateLessThan", &["2026-01-31"], "soon", Unknown),
        ("Bool", &["true"], "TRUE", True),
        ("Bool", &["true"], "false", False),
        ("Bool", &["true", "false"], "false", True),
        ("Bool", &["true"], "yes", Unknown),
        ("BinaryEquals", &["AAE="], "AAE=", True),
        ("BinaryEquals", &["AAE="], "AAI=", False),
        ("BinaryEquals", &["AAE="], "AAE", Unknown),
        ("IpAddress", &["203.0.113.0/24"], "203.0.113.9", True),
        ("IpAddress", &["203.0.113.7/24"], "203.0.113.9", True),
        ("IpAddress", &["203.0.113.7"], "203.0.113.7", True),
        (
            "IpAddress",
            &["203.0.113.0/24", "2001:db8::/32"],
            "2001:db8:1::1",
            True,
        ),
        ("IpAddress", &["203.0.113.0/24"], "2001:db8::1", False),
        ("IpAddress", &["203.0.113.0/24"], "::ffff:203.0.113.9", True),
        ("IpAddress", &["0.0.0.0/0"], "198.51.100.1", True),
        ("NotIpAddress", &["203.0.113.0/24"], "203.0.113.9", False),
        ("NotIpAddress", &["203.0.113.0/24"], "198.51.100.1", True),
        ("IpAddress", &["203.0.113.0/24"], "203.0.113.9:80", Unknown),
        (
            "ArnEquals",
            &["arn:aws:sns:*:1:t?"],
            "arn:aws:sns:eu:1:t1",
            True,
        ),
        (
            "ArnLike",
            &["arn:aws:sns:*:1:t*"],
            "arn:aws:sns:eu:1:t:u",
            True,
        ),
        // A wildcard keeps to its part.
        (
            "ArnLike",
            &["arn:aws:sns:*:t"],
            "arn:aws:sns:eu:1:t",
            Unknown,
        ),
        (
            "ArnLike",
            &["arn:aws:s3:*:*:b"],
            "arn:aws:s3:::a:1:b",
            False,
        ),
        ("ArnLike", &["*"], "arn:aws:s3:::b", Unknown),
        ("ArnLike", &["arn:aws:s3:::*"], "b", Unknown),
        ("ArnLike", &["arn:aws:s3*"], "arn:aws:s3:::b", Unknown),
        ("ArnLike", &["arn:aws:s3*"], "arn:aws:ec2:::b", Unknown),
        ("ArnNotLike", &["arn:aws:s3*"], "arn:aws:ec2:::b", Unknown),
        ("ArnNotEquals", &["arn:aws:s3:::b"], "arn:aws:s3:::b", False),
        ("ArnNotEquals", &["arn:aws:s3:::b"], "b", Unknown),
        ("Null", &["true"], "", False),
        ("Null", &["false"], "a", True),
        ("Null", &["True", "false"], "a", True),
    ] {
        let truth = holds(operator, values, &one(found));
        assert_eq!(truth, expected, "{operator} {values:?} on {found:?}");
    }
}

#[test]
fn missing_and_multivalued_keys_follow_iam() {
    let none = KeyValue::Absent;
    let empty = many(&[]);
    let (ab, ac) = (many(&["a", "b"]), many(&["a", "c"]));
    let values = &["a", "b"][..];
    for (operator, found, expected) in [
        ("StringEquals", &none, False),
        ("StringNotEquals", &none, True),
        ("StringEqualsIfExists", &none, True),
        ("StringNotEqualsIfExists", &none, True),
        ("StringEqualsIfExists", &one("c"), False),
        ("ForAllValues:StringEquals", &none, True),
        ("ForAllValues:StringNotEquals", &none, True),
        ("ForAnyValue:StringEquals", &none, False),
        ("ForAnyValue:StringNotEquals", &none, False),
        ("ForAnyValue:StringEqualsIfExists", &none, Unknown),
        ("ForAllValues:StringEquals", &empty, True),
        ("ForAnyValue:StringEquals", &empty, False),
        ("ForAllValues:StringEquals", &one(""), True),
        ("ForAnyValue:StringNotEquals", &one(""), False),
        ("ForAllValues:StringEquals", &ab, True),
        ("ForAllValues:StringEquals", &ac, False),
        ("ForAnyValue:StringEquals", &ac, True),
        ("ForAnyValue:StringNotEquals", &ac, True),
        ("ForAnyValue:StringNotEquals", &ab, False),
        ("ForAllValues:StringNotEquals", &ac, False),
        ("ForAllValues:StringNotEquals", &many(&["c", "d"]), True),
        ("ForAllValues:StringEquals", &one("a"), True),
        ("forallvalues:stringequalsifexists", &one("c"), False),
        // Without a set operator AWS leaves it open.
        ("StringEquals", &ab, Unknown),
        ("StringEquals", &many(&["c", "d"]), False),
        ("StringNotEquals", &many(&["c"]), Unknown),
        ("StringNotEquals", &ab, False),
        ("StringEquals", &KeyValue::Unknown, Unknown),
        ("StringEqualsIfExists", &KeyValue::Unknown, Unknown),
        ("ForAllValues:StringEquals", &KeyValue::Unknown, Unknown),
    ] {
        let truth = holds(operator, values, found);
        assert_eq!(truth, expected, "{operator} on {found:?}");
    }
    for (values, found, expected) in [
        (&["true"][..], &none, True),
        (&["false"], &none, False),
        (&["true"], &empty, True),
        (&["false"], &ab, True),
        (&["true"], &KeyValue::Unknown, Unknown),
        (&["true", "false"], &KeyValue::Unknown, True),
    ] {
        assert_eq!(
            holds("Null", values, found),
            expected,
            "{values:?} {found:?}"
        );
    }
}

#[test]
fn variables_stand_in_texts_and_arns() {
    let check = |operator: &str, value: &str, known: &[(&str, &str)], expected| {
        let operator = Operator::parse(operator).unwrap();
        let known = Known::absent().with(known);
        let truth = evaluate(operator, &[value], &known);
        assert_eq!(truth, expected, "{operator} {value} with {known:?}");
    };
    let found = &[("x:k", "ann/x"), ("aws:username", "ann")];
    check("StringLike", "${aws:username}/*", found, True);
    check("StringNotLike", "${aws:username}/*", found, False);
    check("StringEquals", "${aws:username}/x", found, True);
    check("StringEqualsIgnoreCase", "${aws:UserName}/X", found, True);
    let nobody = &[("x:k", "ann/x")];
    check("StringLike", "${aws:username}/*", nobody, False);
    check("StringNotLike", "${aws:username}/*", nobody, Unknown);
    check("StringLike", "${aws:username, 'ann'}/*", nobody, True);
    let arn = &[("x:k", "arn:aws:iam::1:user/ann"), ("aws:username", "ann")];
    check("ArnLike", "arn:aws:iam::*:user/${aws:username}", arn, True);
    check(
        "ArnNotEquals",
        "arn:aws:iam::2:user/${aws:username}",
        arn,
        True,
    );
    check("ArnNotLike", "arn:aws:iam::2:user/${aws:userid}", arn, True);
    check(
        "ArnNotLike",
        "arn:aws:iam::1:user/${aws:userid}",
        arn,
        Unknown,
    );
}

#[test]
fn bad_operators_and_values_are_refused() {
    for (name, error) in [
        ("StringEqual", OperatorError::Unknown),
        ("BoolNot", OperatorError::Unknown),
        ("ForAll:StringEquals", OperatorError::Unknown),
        ("IfExists", OperatorError::Unknown),
        ("NullIfExists", OperatorError::Null),
        ("ForAnyValue:Null", OperatorError::Null),
        ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", OperatorError::Unknown),
    ] {
        assert_eq!(Operator::parse(name).unwrap_err(), error, "{name}");
    }
    let long = "a".repeat(5_000);
    for (name, value, error) in [
        ("NumericEquals", "1e3", ValueError::Number),
        ("NumericEquals", "1.", ValueError::Number),
        ("NumericEquals", ".5", ValueError::Number),
        ("NumericEquals", "", ValueError::Number),
        ("NumericEquals", "1234567890123456789", ValueError::Number),
        ("NumericEquals", "${x:y}", ValueError::Number),
        ("DateEquals", "2026", ValueError::Date),
        ("DateEquals", "2026-02-30", ValueError::Date),
        ("DateEquals", "2026-01-31 10:00", ValueError::Date),
        ("DateEquals", "", ValueError::Date),
        ("Bool", "1", ValueError::Bool),
        ("Null", "", ValueError::Bool),
        ("BinaryEquals", "A", ValueError::Binary),
        ("IpAddress", "203.0.113.0/33", ValueError::Address),
        ("IpAddress", "203.0.113", ValueError::Address),
        ("StringEquals", &long, ValueError::TooLong),
    ] {
        let operator = Operator::parse(name).unwrap();
        assert_eq!(
            compile(operator, &[value]).unwrap_err(),
            error,
            "{name} {value}"
        );
    }
}

#[test]
fn every_name_is_read_and_written_alike() {
    for name in Operator::names() {
        for set in ["", "ForAllValues:", "ForAnyValue:"] {
            for suffix in ["", "IfExists"] {
                let text = format!("{set}{name}{suffix}");
                match Operator::parse(&text) {
                    Ok(operator) => assert_eq!(operator.to_string(), text),
                    Err(error) => {
                        assert!(error == OperatorError::Null && text != "Null", "{text}");
                    }
                }
            }
        }
    }
}

/// Values that have a chance to meet, for each type.
fn values_of(name: &str) -> Vec<&'static str> {
    match name {
        name if name.starts_with("Numeric") => vec!["-1", "0", "0.5", "1", "1.0", "2", "10"],
        name if name.starts_with("Date") => vec![
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-01-01T12:00:00+02:00",
            "2027-01-01",
            "0",
        ],
        "Bool" => vec!["true", "false"],
        "BinaryEquals" => vec!["AA==", "AAE=", ""],
        "IpAddress" | "NotIpAddress" => vec!["10.0.0.1", "10.0.0.2", "2001:db8::1", "192.0.2.1"],
        name if name.starts_with("Arn") => {
            vec![
                "arn:a:b:c:d:e",
                "arn:a:b:c:d:f:e",
                "arn:a:b::d:e",
                "arn:x:b:c:d:e",
            ]
        }
        _ => vec!["a", "A", "ab", "b", "*", ""],
    }
}

/// What a policy may have besides: patterns.
fn patterns_of(name: &str) -> Vec<&'static str> {
    let mut patterns = values_of(name);
    match name {
        "StringLike" | "StringNotLike" => patterns.extend(["a*", "?", "*b", "**"]),
        "IpAddress" | "NotIpAddress" => {
            patterns.extend(["10.0.0.0/30", "2001:db8::/64", "0.0.0.0/0"]);
        }
        name if name.starts_with("Arn") => {
            patterns.extend(["arn:*:b:*:d:e", "arn:a:b:c:d:*", "arn:a:b:?:d:?"]);
        }
        _ => {}
    }
    patterns
}

/// An operator that has an opposite or not, values of its type, and what is found.
fn case() -> impl Strategy<Value = (String, Vec<&'static str>, KeyValue)> {
    let names: Vec<&str> = Operator::names().filter(|&name| name != "Null").collect();
    prop::sample::select(names).prop_flat_map(|name| {
        let values = values_of(name);
        let found = prop_oneof![
            1 => Just(KeyValue::Absent),
            1 => Just(KeyValue::Unknown),
            4 => prop::sample::select(values.clone()).prop_map(one),
            4 => prop::collection::vec(prop::sample::select(values), 0..4).prop_map(|list| many(&list)),
        ];
        let wanted = prop::collection::vec(prop::sample::select(patterns_of(name)), 1..4);
        (Just(name.to_owned()), wanted, found)
    })
}

/// A value against one of the policy's, read as simply as can be.
fn matches_simply(name: &str, wanted: &str, value: &str) -> bool {
    let name = name.replace("Not", "");
    let order = |a: f64, b: f64| match name
        .trim_start_matches("Numeric")
        .trim_start_matches("Date")
    {
        "Equals" => (a - b).abs() < 1e-9,
        "LessThan" => a < b,
        "LessThanEquals" => a <= b,
        "GreaterThan" => a > b,
        _ => a >= b,
    };
    let seconds = |text: &str| match text {
        "0" => 0.0,
        "2026-01-01T12:00:00+02:00" => 1_767_225_600.0 + 36_000.0,
        text if text.starts_with("2026") => 1_767_225_600.0,
        _ => 1_798_761_600.0,
    };
    let like = |wanted: &str, value: &str| {
        fn step(wanted: &[u8], value: &[u8]) -> bool {
            match (wanted, value) {
                ([], value) => value.is_empty(),
                ([b'*', rest @ ..], value) => {
                    step(rest, value) || (!value.is_empty() && step(wanted, &value[1..]))
                }
                ([b'?', rest @ ..], [_, after @ ..]) => step(rest, after),
                ([a, rest @ ..], [b, after @ ..]) => a == b && step(rest, after),
                (_, []) => false,
            }
        }
        step(wanted.as_bytes(), value.as_bytes())
    };
    if name.starts_with("Numeric") {
        return order(value.parse().unwrap(), wanted.parse().unwrap());
    }
    if name.starts_with("Date") {
        return order(seconds(value), seconds(wanted));
    }
    match name.as_str() {
        "StringEqualsIgnoreCase" => wanted.to_lowercase() == value.to_lowercase(),
        "StringLike" => like(wanted, value),
        "IpAddress" => match wanted {
            "10.0.0.0/30" => value.starts_with("10.0.0."),
            "2001:db8::/64" => value.starts_with("2001:db8:"),
            "0.0.0.0/0" => !value.contains(':'),
            wanted => wanted == value,
        },
        name if name.starts_with("Arn") => {
            let wanted: Vec<&str> = wanted.splitn(6, ':').collect();
            let value: Vec<&str> = value.splitn(6, ':').collect();
            wanted.len() == value.len() && wanted.iter().zip(&value).all(|(a, b)| like(a, b))
        }
        _ => wanted == value,
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_reading(
        (name, wanted, found) in case(),
        set in prop::sample::select(vec!["", "ForAllValues:", "ForAnyValue:"]),
        if_exists in any::<bool>(),
    ) {
        let negated = name.contains("Not");
        let single = |value: &String| {
            wanted.iter().any(|wanted| matches_simply(&name, wanted, value)) != negated
        };
        let listed = match &found {
            KeyValue::One(value) => vec![value.clone()],
            KeyValue::Many(values) => values.clone(),
            _ => Vec::new(),
        };
        let missing = matches!(found, KeyValue::Absent) || found == many(&[]);
        let nothing = missing || (!set.is_empty() && found == one(""));
        let expected = match set {
            _ if found == KeyValue::Unknown => Unknown,
            "ForAnyValue:" if missing && if_exists => Unknown,
            _ if missing && if_exists => True,
            "ForAllValues:" => (nothing || listed.iter().all(single)).into(),
            "ForAnyValue:" => (!nothing && listed.iter().any(single)).into(),
            _ if missing => negated.into(),
            _ if matches!(found, KeyValue::Many(_)) => {
                if listed.iter().any(single) { Unknown } else { False }
            }
            _ => listed.iter().all(single).into(),
        };
        let operator = format!("{set}{name}{}", if if_exists { "IfExists" } else { "" });
        prop_assert_eq!(holds(&operator, &wanted, &found), expected, "{} {:?} {:?}", operator, wanted, found);
    }

    #[test]
    fn negation_is_the_complement_of_a_present_value((name, wanted, found) in case()) {
        let operator = Operator::parse(&name).unwrap();
        if let (Some(negation), KeyValue::One(_)) = (operator.negation(), &found) {
            let known = Known::absent().value("x:k", found);
            prop_assert_eq!(evaluate(negation, &wanted, &known), !evaluate(operator, &wanted, &known));
        }
    }

    #[test]
    fn for_all_of_an_operator_is_not_for_any_of_its_negation((name, wanted, found) in case()) {
        let all = Operator::parse(&format!("ForAllValues:{name}")).unwrap();
        let any = Operator::parse(&format!("ForAnyValue:{name}")).unwrap();
        if let Some(negation) = any.negation() {
            let known = Known::absent().value("x:k", found);
            prop_assert_eq!(evaluate(all, &wanted, &known), !evaluate(negation, &wanted, &known));
        }
    }

    #[test]
    fn if_exists_holds_without_the_key_and_changes_nothing_else(
        (name, wanted, found) in case(),
        set in prop::sample::select(vec!["", "ForAllValues:"]),
    ) {
        let plain = holds(&format!("{set}{name}"), &wanted, &found);
        let lenient = holds(&format!("{set}{name}IfExists"), &wanted, &found);
        if matches!(found, KeyValue::Absent) || found == many(&[]) {
            prop_assert_eq!(lenient, True);
        } else {
            prop_assert_eq!(lenient, plain);
        }
    }

    #[test]
    fn several_values_are_any_of_them_and_negated_none_of_them((name, wanted, found) in case()) {
        if let KeyValue::One(_) = found {
            let each = wanted.iter().map(|value| holds(&name, &[value], &found));
            let together = if name.contains("Not") { Truth::all(each) } else { Truth::any(each) };
            prop_assert_eq!(holds(&name, &wanted, &found), together);
        }
    }

    #[test]
    fn whatever_a_request_says_is_a_truth(name in prop::sample::select(Operator::names().collect::<Vec<_>>()), value in "\\PC{0,12}") {
        let wanted = if name == "Null" { "true" } else { patterns_of(name)[0] };
        holds(name, &[wanted], &one(&value));
    }
}
