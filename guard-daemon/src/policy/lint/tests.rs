//! Findings, by table.

use super::*;
use crate::policy::SourceDocument;

/// A few of IAM's actions.
struct Few;

const ACTIONS: &[(&str, &[&str], &[&str])] = &[
    ("ec2:DescribeInstances", &[], &[]),
    (
        "ec2:RunInstances",
        &[
            "arn:${Partition}:ec2:${Region}:${Account}:instance/${InstanceId}",
            "arn:${Partition}:ec2:${Region}::image/${ImageId}",
        ],
        &["ec2:InstanceType", "aws:RequestTag/${TagKey}"],
    ),
    (
        "s3:GetObject",
        &["arn:${Partition}:s3:::${BucketName}/${ObjectName}"],
        &["s3:ExistingObjectTag/${key}"],
    ),
    ("s3:ListAllMyBuckets", &[], &[]),
    (
        "s3:ListBucket",
        &["arn:${Partition}:s3:::${BucketName}"],
        &["s3:prefix", "s3:max-keys"],
    ),
];

impl Actions for Few {
    fn action(&self, name: &str) -> Option<Model> {
        let found = ACTIONS
            .iter()
            .find(|(it, ..)| it.eq_ignore_ascii_case(name));
        found.map(|(_, resources, keys)| Model {
            resources: resources.iter().map(ToString::to_string).collect(),
            keys: keys.iter().map(ToString::to_string).collect(),
        })
    }

    fn names(&self) -> Vec<&str> {
        ACTIONS.iter().map(|(name, ..)| *name).collect()
    }

    fn key_type(&self, key: &str) -> Option<KeyType> {
        (key == "s3:max-keys").then_some(KeyType::Numeric)
    }
}

/// `line: statement: finding`.
fn findings(text: &str) -> Vec<String> {
    let found = lint(&Source::new("p", text), &Few).unwrap();
    let show = |it: &Finding| format!("{}: {}: {}", it.line, it.statement, it.lint);
    found.iter().map(show).collect()
}

fn statement(effect: &str, rest: &str) -> String {
    format!("[[statement]]\neffect = \"{effect}\"\n{rest}\n")
}

#[test]
fn what_is_fine_is_not_found() {
    for rest in [
        "action = \"*\"",
        "action = \"s3:*\"\nresource = \"arn:aws:s3:::b/*\"",
        "action = [\"S3:getobject\", \"s3:List*\"]\nresource = [\"arn:aws:s3:::b\", \"arn:aws:s3:::b/*\"]",
        "action = \"ec2:RunInstances\"\nresource = \"arn:aws:ec2:*:*:instance/*\"\n\
         condition = { StringLike = { \"ec2:instanceType\" = \"t3.*\", \"aws:RequestTag/Team\" = \"a\" } }",
        "action = \"s3:ListBucket\"\ncondition = { NumericLessThan = { \"s3:max-keys\" = 10 }, \
         IpAddress = { \"aws:SourceIp\" = \"10.0.0.0/8\" } }",
        "action = \"s3:GetObject\"\nresource = \"arn:aws:s3:::home/${aws:username}/*\"\n\
         condition = { StringEquals = { \"s3:ExistingObjectTag/team\" = \"a\", \"guard:Session\" = \"b\" } }",
        "not_action = \"iam:*\"",
    ] {
        let expected: &[&str] = match rest {
            // An exception that excepts nothing is a misspelling.
            "not_action = \"iam:*\"" => &["3: #1: no action of IAM matches iam:*"],
            _ => &[],
        };
        assert_eq!(findings(&statement("allow", rest)), expected, "{rest}");
    }
}

#[test]
fn unknown_actions_have_a_suggestion() {
    let text = statement(
        "allow",
        "action = [\"s3:GetObjet\",\n \"ec2:Describe\", \"x:Nothing\",\n \"s3:Frob*\"]",
    );
    assert_eq!(
        findings(&text),
        [
            "3: #1: IAM has no action s3:GetObjet; did you mean s3:GetObject?",
            "4: #1: IAM has no action ec2:Describe",
            "4: #1: IAM has no action x:Nothing",
            "5: #1: no action of IAM matches s3:Frob*",
        ]
    );
}

#[test]
fn resources_are_those_of_the_actions() {
    for (rest, expected) in [
        (
            "action = \"s3:ListAllMyBuckets\"\nresource = \"arn:aws:s3:::*\"",
            &[
                "3: #1: s3:ListAllMyBuckets takes no resource: only \"*\" matches it",
                "4: #1: none of the actions takes a resource like arn:aws:s3:::*",
            ][..],
        ),
        (
            "action = [\"s3:GetObject\", \"s3:ListBucket\"]\nresource = \"arn:aws:s3:::b\"",
            &[
                "3: #1: none of the resources can be one of s3:GetObject's: \
               arn:${Partition}:s3:::${BucketName}/${ObjectName}",
            ],
        ),
        (
            "action = \"s3:GetObject\"\nresource = [\"arn:aws:s3:::b/*\", \"arn:aws:ec2:*:*:instance/*\"]",
            &["4: #1: none of the actions takes a resource like arn:aws:ec2:*:*:instance/*"],
        ),
        (
            "action = \"ec2:Describe*\"\nresource = \"arn:aws:ec2:*:*:instance/*\"",
            &[
                "3: #1: ec2:Describe* takes no resource: only \"*\" matches it",
                "4: #1: none of the actions takes a resource like arn:aws:ec2:*:*:instance/*",
            ],
        ),
        // What one does not know says nothing.
        (
            "action = [\"*\", \"s3:GetObject\"]\nresource = \"arn:aws:sqs:*:*:q\"",
            &[
                "3: #1: none of the resources can be one of s3:GetObject's: \
               arn:${Partition}:s3:::${BucketName}/${ObjectName}",
            ],
        ),
    ] {
        assert_eq!(findings(&statement("allow", rest)), expected, "{rest}");
    }
}

#[test]
fn condition_keys_are_those_of_the_actions_and_have_a_type() {
    let condition = |actions: &str, condition: &str| {
        let rest = format!("action = {actions}\n[statement.condition]\n{condition}");
        findings(&statement("allow", &rest))
    };
    for (actions, test, expected) in [
        (
            "\"s3:GetObject\"",
            "StringEquals = { \"s3:prefix\" = \"a\" }",
            "5: #1: none of the actions has a condition key s3:prefix",
        ),
        (
            "[\"s3:GetObject\", \"s3:ListBucket\"]",
            "StringEquals = { \"s3:prefix\" = \"a\" }",
            "5: #1: s3:GetObject has no condition key s3:prefix: for it, the key is always missing",
        ),
        (
            "\"s3:ListBucket\"",
            "StringEquals = { \"s3:max-keys\" = \"10\" }",
            "5: #1: StringEquals does not fit s3:max-keys, which is a number",
        ),
        (
            "\"*\"",
            "Bool = { \"aws:SourceIp\" = true }",
            "5: #1: Bool does not fit aws:SourceIp, which is an address",
        ),
        (
            "\"*\"",
            "StringLikeIfExists = { \"aws:TagKeys\" = \"a\" }",
            "5: #1: aws:TagKeys has several values: write ForAnyValue:StringLikeIfExists or ForAllValues:StringLikeIfExists",
        ),
        (
            "\"*\"",
            "ArnLike = { \"aws:PrincipalArn\" = \"arn:aws:iam*\" }",
            "5: #1: arn:aws:iam* has fewer than the six components of an ARN, so that it never surely matches",
        ),
    ] {
        assert_eq!(condition(actions, test), [expected], "{test}");
    }
}

#[test]
fn statements_that_never_decide_are_found() {
    let get = "action = \"s3:GetObject\"\nresource = \"arn:aws:s3:::b/*\"";
    let all = "sid = \"all\"\naction = \"s3:*\"";
    let conditional = "sid = \"if\"\naction = \"s3:*\"\n[statement.condition]\nBool = { \"aws:SecureTransport\" = true }";
    for (first, second, expected) in [
        (
            ("allow", get),
            ("deny", all),
            Some("1: #1: it never decides: statement all denies all that it matches"),
        ),
        (
            ("deny", all),
            ("approve", get),
            Some("5: #2: it never decides: statement all denies all that it matches"),
        ),
        (
            ("approve", all),
            ("allow", get),
            Some("5: #2: it never decides: statement all asks for all that it matches"),
        ),
        (
            ("allow", get),
            ("allow", all),
            Some("1: #1: it never decides: statement all allows all that it matches"),
        ),
        (
            ("allow", get),
            ("allow", get),
            Some("5: #2: it says the same as statement #1"),
        ),
        (("deny", get), ("allow", all), None),
        (("allow", get), ("deny", conditional), None),
        (("allow", all), ("deny", get), None),
    ] {
        let text = statement(first.0, first.1) + &statement(second.0, second.1);
        let found = findings(&text);
        assert_eq!(found.first().map(String::as_str), expected, "{text}");
        assert!(found.len() <= 1, "{found:?}");
    }
    let twice =
        statement("allow", conditional) + &statement("deny", &conditional.replace("if", "no"));
    assert_eq!(
        findings(&twice),
        ["1: if: it never decides: statement no denies all that it matches"]
    );
    let except = statement("allow", "action = \"s3:GetObject\"")
        + &statement("deny", "sid = \"rest\"\nnot_action = \"ec2:*\"");
    assert_eq!(
        findings(&except),
        ["1: #1: it never decides: statement rest denies all that it matches"]
    );
    let own = "action = \"s3:GetObject\"\nresource = \"arn:aws:s3:::b/${aws:username}\"";
    let other = statement(
        "allow",
        "action = \"s3:GetObject\"\nresource = \"arn:aws:s3:::b/ann\"",
    ) + &statement("deny", own);
    assert!(findings(&other).is_empty());
}

#[test]
fn documents_are_looked_at_with_their_places() {
    let document = "{\"Statement\": [\n{\"Effect\": \"Allow\", \"Action\": \"s3:GetObject\",\n \
        \"Resource\": \"arn:aws:s3:::home/${aws:username}\"},\n\
        {\"Sid\": \"x\", \"Effect\": \"Allow\", \"Action\": \"s3:Nope\", \"Resource\": \"*\"}]}";
    let source = Source {
        documents: vec![SourceDocument {
            path: "b.json".to_owned(),
            text: document.to_owned(),
        }],
        ..Source::new(
            "p",
            "[policies]\nboundary = [\"b.json\"]\n[[mask.statement]]\nclasses = [\"pii\"]\naction = \"a:b\"",
        )
    };
    let found: Vec<String> = lint(&source, &Few)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "line 5, column 10: statement #1: IAM has no action a:b",
            "b.json, line 2, column 1: statement b.json:#1: variables such as arn:aws:s3:::home/${aws:username} are \
             plain text without \"Version\": \"2012-10-17\"",
            "b.json, line 4, column 43: statement b.json:x: IAM has no action s3:Nope",
        ]
    );
}
