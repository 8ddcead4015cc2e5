//! Pieces of policies and requests, from small alphabets so that they meet.

use fastrand::Rng;
use serde_json::{Value, json};

/// Every operator, without set operators and `IfExists`.
pub(crate) const OPERATORS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnNotEquals",
    "ArnLike",
    "ArnNotLike",
    "Null",
];

pub(crate) const SETS: &[&str] = &["", "", "ForAllValues:", "ForAnyValue:"];

pub(crate) const ACTIONS: &[&str] = &[
    "s3:GetObject",
    "s3:PutObject",
    "s3:ListBucket",
    "ec2:RunInstances",
    "sqs:SendMessage",
];

pub(crate) const ACTION_PATTERNS: &[&str] = &[
    "*",
    "s3:*",
    "s3:Get*",
    "S3:putobject",
    "s3:???Object",
    "s3:*Object",
    "ec2:Run*s",
    "sqs:SendMessage",
    "sqs:*Message*",
];

pub(crate) const ARNS: &[&str] = &[
    "arn:aws:s3:::data/team-a/report.csv",
    "arn:aws:s3:::data/x:y:logs/z",
    "arn:aws:s3:::logs",
    "arn:aws:ec2:eu-west-1:123456789012:instance/i-1",
    "arn:aws:sqs:eu-west-1:123456789012:jobs",
    "arn:aws:logs:eu-west-1:123456789012:log-group:app:log-stream:s",
];

/// Patterns that every reading takes alike.
pub(crate) const PLAIN_RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::data/*",
    "arn:aws:s3:::data/team-?/*.csv",
    "arn:aws:s3:::*",
    "arn:aws:s3:::logs",
    "arn:aws:ec2:*:123456789012:instance/*",
    "arn:*:sqs:eu-*:123456789012:jobs",
    "arn:aws:s3:::data/${aws:PrincipalTag/team}/*",
    "arn:aws:s3:::${aws:PrincipalTag/bucket, 'logs'}",
];

/// Those, and the corners.
pub(crate) const OTHER_RESOURCES: &[&str] = &[
    "arn:aws:s3:*:*:logs/*",
    "arn:aws:s3:*:*:data/*",
    "arn:aws:ec2:*",
    "arn:aws:s3*",
    "arn:aws:ec2:*:*:inst*/i-1",
    "arn:aws:logs:*:*:log-group:app:*",
    "arn:aws:s3:::data/${*}",
    "arn:aws:s3:::data/${aws:PrincipalTag/missing}/*",
    "arn:aws:s3:::data/${aws:TagKeys}/*",
    "arn:aws:s3:::data/${aws:PrincipalTag/empty}*",
];

/// What the request's principal is known by: a text each, but for the tag keys.
pub(crate) fn principal() -> Vec<(String, Value)> {
    [
        ("aws:PrincipalTag/team", json!("team-a")),
        ("aws:PrincipalTag/empty", json!("")),
        ("aws:TagKeys", json!(["team-a", "b"])),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Values that requests have, by the type of the operator.
pub(crate) fn values(operator: &str) -> &'static [&'static str] {
    match operator {
        name if name.starts_with("Numeric") => &["-1", "0", "0.5", "1", "1.0", "20"],
        name if name.starts_with("Date") => &[
            "2026-01-01T00:00:00Z",
            "2026-01-01T02:00:00+02:00",
            "2026-06-30",
            "2027-01-01T00:00:00.250Z",
        ],
        "Bool" | "Null" => &["true", "false"],
        "BinaryEquals" => &["AA==", "AAE="],
        "IpAddress" | "NotIpAddress" => &[
            "10.0.0.1",
            "10.0.0.200",
            "192.0.2.1",
            "2001:db8::1",
            "2001:db8:1::1",
        ],
        name if name.starts_with("Arn") => &[
            "arn:aws:iam::123456789012:user/team-a",
            "arn:aws:sns:eu-west-1:123456789012:a:b",
            "arn:aws:s3:::data",
        ],
        _ => &["team-a", "TEAM-A", "team-b", "x*", "team-a/x", "other"],
    }
}

/// Values that policies have, besides those.
pub(crate) fn patterns(operator: &str) -> &'static [&'static str] {
    match operator {
        "StringLike" | "StringNotLike" => &[
            "team-*",
            "team-?",
            "*",
            "x${*}",
            "${aws:PrincipalTag/team}*",
            "${aws:PrincipalTag/none, 'team'}-?",
        ],
        name if name.starts_with("String") => &[
            "${aws:PrincipalTag/team}",
            "${aws:PrincipalTag/team}/x",
            "${aws:PrincipalTag/none, 'other'}",
            "team-*",
        ],
        "IpAddress" | "NotIpAddress" => &[
            "10.0.0.0/25",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "2001:db8::/48",
            "::/0",
        ],
        name if name.starts_with("Arn") => &[
            "arn:aws:iam::*:user/${aws:PrincipalTag/team}",
            "arn:aws:sns:*:123456789012:a*",
            "arn:aws:s?:::data",
            "arn:*:*:*:*:*",
        ],
        _ => &[],
    }
}

pub(crate) fn pick<T: Copy>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// One to three, as a string or a list.
pub(crate) fn one_or_more(random: &mut Rng, from: &[&str]) -> Value {
    let list: Vec<&str> = (0..random.usize(1..4))
        .map(|_| pick(random, from))
        .collect();
    match list.as_slice() {
        [one] if random.bool() => json!(one),
        list => json!(list),
    }
}

/// A document of these statements.
pub(crate) fn document(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}
