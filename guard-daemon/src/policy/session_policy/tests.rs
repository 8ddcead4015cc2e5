use super::*;
use crate::policy::{Profile, Source, SourceDocument};

fn derived(text: &str) -> Result<SessionPolicy, NoSessionPolicy> {
    Profile::parse("p", text).unwrap().session_policy()
}

fn whole(text: &str) -> serde_json::Value {
    let policy = derived(text).unwrap();
    assert_eq!(policy.extent, Extent::Whole);
    let mut value: serde_json::Value = serde_json::from_str(&policy.text).unwrap();
    assert_eq!(value["Version"], "2012-10-17");
    value["Statement"].take()
}

const VIA: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:ViaAWSService":"true"}}}"#;

fn is(found: &serde_json::Value, statements: &[&str]) {
    let expected: Vec<serde_json::Value> = statements
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    assert_eq!(found, &serde_json::Value::Array(expected));
}

#[test]
fn allowances_and_approvals_are_allowed_and_denials_denied() {
    let found = whole(
        "default = \"deny\"\n\
         [[statement]]\neffect = \"allow\"\naction = [\"s3:Get*\", \"s3:List*\"]\nresource = \"arn:aws:s3:::data/*\"\n\
         condition = { StringEquals = { \"aws:RequestedRegion\" = \"eu-west-1\" } }\n\
         [[statement]]\neffect = \"approve\"\naction = \"s3:Put*\"\nresource = \"arn:aws:s3:::data/*\"\n\
         [[statement]]\neffect = \"deny\"\naction = \"s3:GetObjectAcl\"\n",
    );
    is(
        &found,
        &[
            r#"{"Effect":"Allow","Action":"s3:Put*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":["s3:Get*","s3:List*"],"Resource":"arn:aws:s3:::data/*",
                "Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}"#,
            r#"{"Effect":"Deny","Action":"s3:GetObjectAcl","Resource":"*",
                "Condition":{"BoolIfExists":{"aws:ViaAWSService":"false"}}}"#,
            VIA,
        ],
    );
}

#[test]
fn what_only_guard_knows_widens_an_allowance_and_drops_a_denial() {
    let found = whole(
        "default = \"deny\"\n\
         [[statement]]\neffect = \"allow\"\naction = \"s3:GetObject\"\nresource = \"arn:aws:s3:::${guard:User}/*\"\n\
         condition = { StringEquals = { \"guard:AccessLevel\" = \"Read\", \"aws:RequestedRegion\" = \"eu-west-1\" } }\n\
         [[statement]]\neffect = \"deny\"\naction = \"s3:*\"\n\
         condition = { StringEquals = { \"GUARD:user\" = \"ada\" } }\n\
         [[statement]]\neffect = \"deny\"\naction = \"s3:*\"\nresource = \"arn:aws:s3:::x-${ guard:User}/*\"\n",
    );
    is(
        &found,
        &[
            r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"*",
                "Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}"#,
            VIA,
        ],
    );
}

#[test]
fn what_iam_does_not_take_is_widened_too() {
    let found = whole(
        "default = \"deny\"\n\
         [[statement]]\neffect = \"allow\"\nnot_action = [\"*:Delete*\", \"iam:*\"]\nresource = \"arn:aws:*\"\n\
         condition = { Bool = { \"aws:SecureTransport\" = true } }\n\
         [[statement]]\neffect = \"deny\"\naction = \"*:Delete*\"\n\
         [[statement]]\neffect = \"deny\"\naction = \"s3:*\"\nresource = \"arn:aws:*\"\n",
    );
    is(
        &found,
        &[
            r#"{"Effect":"Allow","NotAction":"iam:*","Resource":"*",
                "Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#,
            VIA,
        ],
    );
}

#[test]
fn with_everything_allowed_the_denials_remain() {
    for text in [
        "default = \"allow\"\n",
        "default = \"approve\"\n",
        "default = \"deny\"\n[[statement]]\neffect = \"approve\"\naction = \"*\"\n",
    ] {
        assert_eq!(derived(text), Err(NoSessionPolicy::Unlimited), "{text}");
        let found = whole(&format!(
            "{text}[[statement]]\neffect = \"deny\"\naction = \"iam:*\"\n"
        ));
        is(
            &found,
            &[
                r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#,
                r#"{"Effect":"Deny","Action":"iam:*","Resource":"*",
                    "Condition":{"BoolIfExists":{"aws:ViaAWSService":"false"}}}"#,
            ],
        );
    }
    assert_eq!(
        derived("default = \"deny\"\nmode = \"observe\"\n"),
        Err(NoSessionPolicy::Observes)
    );
}

#[test]
fn similar_statements_are_one() {
    let statement = |action: &str, resource: &str| {
        format!(
            "[[statement]]\neffect = \"allow\"\naction = \"{action}\"\nresource = \"{resource}\"\n"
        )
    };
    let text = [
        statement("s3:GetObject", "arn:aws:s3:::a/*"),
        statement("s3:GetObject", "arn:aws:s3:::b/*"),
        statement("sqs:SendMessage", "*"),
        statement("sns:Publish", "*"),
    ];
    is(
        &whole(&text.concat()),
        &[
            r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":["arn:aws:s3:::a/*","arn:aws:s3:::b/*"]}"#,
            r#"{"Effect":"Allow","Action":["sqs:SendMessage","sns:Publish"],"Resource":"*"}"#,
            VIA,
        ],
    );
}

#[test]
fn a_long_profile_says_its_actions_and_a_longer_one_nothing() {
    let many = |count: usize| -> String {
        let statement = |n: usize| {
            format!(
                "[[statement]]\neffect = \"allow\"\naction = \"s3:GetObject{}\"\nresource = \"arn:aws:s3:::bucket-{n:04}/*\"\n",
                n % 60
            )
        };
        (0..count).map(statement).collect()
    };
    let policy = derived(&many(60)).unwrap();
    assert_eq!(policy.extent, Extent::Actions);
    assert!(policy.text.len() <= LONGEST, "{}", policy.text.len());
    assert!(!policy.text.contains("bucket"), "{}", policy.text);
    let denial = |n: u32| {
        format!(
            "[[statement]]\neffect = \"deny\"\naction = \"s3:Put{n:012}\"\nresource = \"arn:aws:s3:::{n}/*\"\n"
        )
    };
    let denied = (0..100).map(denial).collect::<Vec<_>>().concat();
    let longest = derived(&format!("default = \"allow\"\n{denied}"));
    assert!(matches!(longest, Err(NoSessionPolicy::TooLong(length)) if length > LONGEST));
}

#[test]
fn documents_are_in_it_with_what_their_limits_deny() {
    let document = |path: &str, text: &str| SourceDocument {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let source = Source {
        documents: vec![
            document(
                "i.json",
                r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a${x}/é"}}"#,
            ),
            document(
                "b.json",
                r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","sqs:*"],"Resource":"*"},
                    {"Effect":"Deny","Action":"s3:DeleteBucket","Resource":"*"}]}"#,
            ),
            document(
                "all.json",
                r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
            ),
        ],
        ..Source::new(
            "p",
            "[policies]\nidentity = [\"i.json\"]\nboundary = [\"b.json\"]\nscp = [\"all.json\"]\n",
        )
    };
    let policy = Profile::load(&source).unwrap().session_policy().unwrap();
    assert!(policy.text.is_ascii());
    let found: serde_json::Value = serde_json::from_str(&policy.text).unwrap();
    is(
        &found["Statement"],
        &[
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a${$}{x}/é"}"#,
            r#"{"Effect":"Deny","Action":"s3:DeleteBucket","Resource":"*",
                "Condition":{"BoolIfExists":{"aws:ViaAWSService":"false"}}}"#,
            r#"{"Effect":"Deny","NotAction":["s3:*","sqs:*"],"Resource":"*",
                "Condition":{"BoolIfExists":{"aws:ViaAWSService":"false"}}}"#,
            VIA,
        ],
    );
}
