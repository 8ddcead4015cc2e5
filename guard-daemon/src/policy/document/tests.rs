//! IAM documents: what is accepted, and where errors are.

use proptest::prelude::*;

use super::*;
use crate::policy::position;

fn statements(text: &str) -> Result<Vec<Statement>, (usize, usize, Problem)> {
    read(text, "p.json", 1, &mut Keys::default()).map_err(|Misplaced(span, problem)| {
        let (line, column) = position::of(text, span.start);
        (line, column, problem)
    })
}

fn single_with_sid(sid: &str) -> String {
    format!(r#"{{"Statement":{{"Sid":"{sid}","Effect":"Deny","Action":"*","Resource":"*"}}}}"#)
}

#[test]
fn documents_load_as_aws_prints_them() {
    let text = r#"{
        "Version": "2012-10-17",
        "Id": "cd3ad3d9-2776-4ef1-a904-4c229d1642ee",
        "Statement": [
            {
                "Sid": "ListBucketsInConsole1",
                "Effect": "Allow",
                "Action": ["s3:GetBucketLocation", "s3:ListAllMyBuckets"],
                "Resource": "arn:aws:s3:::*"
            },
            {
                "Sid": "",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::b",
                "Condition": { "StringLike": { "s3:prefix": ["", "home/", "home/${aws:username}/*"] } }
            },
            {
                "Effect": "Deny",
                "NotAction": "iam:*",
                "NotResource": ["arn:aws:s3:::b/*"],
                "Condition": {
                    "NumericLessThanEquals": { "s3:max-keys": 10, "x:y": ["1", 2.5] },
                    "bool": { "aws:SecureTransport": false },
                    "ForAnyValue:stringLikeIfExists": { "aws:TagKeys": "a*" }
                }
            }
        ]
    }"#;
    let loaded = statements(text).unwrap();
    let labels: Vec<&str> = loaded.iter().map(|it| &*it.label).collect();
    assert_eq!(
        labels,
        ["p.json:ListBucketsInConsole1", "p.json:#2", "p.json:#3"]
    );
    assert_eq!(loaded[1].effect, Effect::Allow);
    let conditions: Vec<String> = loaded[2]
        .conditions
        .iter()
        .map(|it| format!("{} {} {:?}", it.operator(), it.key(), it.written()))
        .collect();
    assert_eq!(
        conditions,
        [
            "NumericLessThanEquals s3:max-keys [\"10\"]",
            "NumericLessThanEquals x:y [\"1\", \"2.5\"]",
            "Bool aws:SecureTransport [\"false\"]",
            "ForAnyValue:StringLikeIfExists aws:TagKeys [\"a*\"]",
        ]
    );
    let long = single_with_sid(&"a".repeat(256));
    assert_eq!(statements(&long).unwrap().len(), 1);
    let longer = single_with_sid(&"a".repeat(257));
    assert_eq!(statements(&longer).unwrap_err().2, Problem::DocumentSid);
    // One statement needs no list, and a document without a version is of the first.
    let single = r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#;
    assert_eq!(statements(single).unwrap().len(), 1);
    assert!(
        statements(r#"{"Version":"2008-10-17","Statement":[]}"#)
            .unwrap()
            .is_empty()
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_error_names_its_place() {
    let statement =
        |rest: &str| format!("{{\n\"Statement\": {{\n\"Effect\": \"Allow\",\n{rest}\n}}\n}}");
    let element = |key: &str, hint: &str| Problem::Element {
        key: key.to_owned(),
        hint: hint.to_owned(),
    };
    let full = |rest: &str| statement(&format!("\"Action\": \"*\", \"Resource\": \"*\",\n{rest}"));
    for (text, place, expected) in [
        (
            "{\n  \"Statement\": [],,\n}".to_owned(),
            (2, 19),
            Problem::Json("key must be a string".to_owned()),
        ),
        (
            "{\n  \"Statement\": []".to_owned(),
            (2, 17),
            Problem::Json("EOF while parsing an object".to_owned()),
        ),
        (
            "{ \"Statement\": [] } x".to_owned(),
            (1, 21),
            Problem::Json("trailing characters".to_owned()),
        ),
        (
            "[]".to_owned(),
            (1, 1),
            Problem::Json("this is no JSON object".to_owned()),
        ),
        ("{}".to_owned(), (1, 1), Problem::Missing("Statement")),
        (
            "{\n\"statement\": []}".to_owned(),
            (2, 1),
            element("statement", "it is spelt \"Statement\""),
        ),
        (
            "{\"Version\": \"2012-10-18\"}".to_owned(),
            (1, 13),
            Problem::Expected {
                key: "Version",
                expected: "2012-10-17 or 2008-10-17",
            },
        ),
        (
            "{\"Statement\": [],\n \"Statement\": []}".to_owned(),
            (2, 2),
            Problem::Repeated("Statement".to_owned()),
        ),
        (
            statement("\"Action\": \"*\", \"Resource\": \"*\", \"effect\": \"Deny\""),
            (4, 33),
            element("effect", "it is spelt \"Effect\""),
        ),
        (
            full("\"Why\": 1"),
            (5, 1),
            element(
                "Why",
                "a statement has Sid, Effect, Action, NotAction, Resource, NotResource, Condition",
            ),
        ),
        (
            full("\"Principal\": \"*\""),
            (5, 1),
            Problem::Principal("Principal".to_owned()),
        ),
        (
            statement("\"Resource\": \"*\""),
            (2, 14),
            Problem::NoAction("Action"),
        ),
        (statement("\"Action\": \"*\""), (2, 14), Problem::NoResource),
        (
            full("\"NotAction\": \"*\""),
            (5, 14),
            Problem::Both("Action", "NotAction"),
        ),
        (
            statement("\"Action\": [], \"Resource\": \"*\""),
            (4, 11),
            Problem::EmptyList("Action".to_owned()),
        ),
        (
            statement("\"Action\": [\"*\", 1], \"Resource\": \"*\""),
            (4, 17),
            Problem::NotText("Action".to_owned()),
        ),
        (full("\"Sid\": \"a b\""), (5, 8), Problem::DocumentSid),
        (
            full("\"Condition\": []"),
            (5, 14),
            Problem::NotTable("condition operators"),
        ),
        (
            full("\"Condition\": {\"Bool\": {\"a:b\": null}}"),
            (5, 31),
            Problem::NotScalar("a:b".to_owned()),
        ),
        (
            full("\"Condition\": {\"Bool\": {\"a:b\": true},\n\"bool\": {}}"),
            (6, 1),
            Problem::Repeated("bool".to_owned()),
        ),
        (
            full("\"Condition\": {\"a\": [[[[[[[]]]]]]]}"),
            (5, 25),
            Problem::Depth,
        ),
        (
            "{\"Statement\": [{\"Effect\": \"allow\"}]}".to_owned(),
            (1, 27),
            Problem::Expected {
                key: "Effect",
                expected: "\"Allow\" or \"Deny\"",
            },
        ),
        (
            "{\"Statement\": [{}]}".to_owned(),
            (1, 16),
            Problem::Missing("Effect"),
        ),
    ] {
        let (line, column, problem) = statements(&text).unwrap_err();
        assert_eq!(((line, column), problem), (place, expected), "{text}");
    }
    let twice = r#"{"Statement":[
        {"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"},
        {"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let (line, _, problem) = statements(twice).unwrap_err();
    assert_eq!((line, problem), (3, Problem::DuplicateSid("a".to_owned())));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_or_refused(text in "[\\[\\]{}:,\"a1\\\\ \\n\u{e9}]{0,40}") {
        let _ = statements(&text);
    }

    #[test]
    fn values_are_read_as_json_has_them(text in "\\PC{0,20}") {
        let quoted = serde_json::to_string(&text).unwrap();
        let document = format!("{{\"Id\": {quoted}, \"Statement\": []}}");
        let root = json::read(&document).unwrap();
        let Value::Table(entries) = root.it else { panic!("a table") };
        let Value::Text(read) = &entries[0].1.it else { panic!("a text") };
        prop_assert_eq!(read, &text);
        prop_assert_eq!(&document[entries[0].1.at.clone()], quoted);
    }
}
