//! What the benchmarks decide upon: requests of several protocols, and profiles of any size.

use std::fmt::Write;

use guard_daemon::aws::{self, BodyView, Call, RequestView, Scope};
use guard_daemon::policy::Profile;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A request.
pub struct Request {
    /// What it is, for the table.
    pub name: &'static str,
    method: Method,
    host: &'static str,
    path: &'static str,
    query: &'static str,
    headers: HeaderMap,
    body: &'static [u8],
    service: &'static str,
}

impl Request {
    /// One of each protocol.
    pub fn all() -> [Self; 6] {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let s3 = "reports.s3.us-east-1.amazonaws.com";
        [
            Self::new("s3 GetObject", "GET", s3, "/2026/11/a%20b.csv", &[], b"", "s3"),
            Self {
                query: "list-type=2&prefix=2026%2F",
                ..Self::new("s3 ListObjectsV2", "GET", s3, "/", &[], b"", "s3")
            },
            Self::new(
                "dynamodb GetItem (json)",
                "POST",
                "dynamodb.us-east-1.amazonaws.com",
                "/",
                &[("x-amz-target", "DynamoDB_20120810.GetItem"), ("content-type", "application/x-amz-json-1.0")],
                br#"{"TableName":"orders","Key":{"id":{"S":"0123456789"}},"ConsistentRead":true}"#,
                "dynamodb",
            ),
            Self::new(
                "lambda Invoke (rest-json)",
                "POST",
                "lambda.us-east-1.amazonaws.com",
                "/2015-03-31/functions/resize/invocations",
                &[],
                br#"{"a":1}"#,
                "lambda",
            ),
            Self::new(
                "ec2 TerminateInstances (ec2)",
                "POST",
                "ec2.us-east-1.amazonaws.com",
                "/",
                &[form],
                b"Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-0123456789abcdef0",
                "ec2",
            ),
            Self::new(
                "sts AssumeRole (query)",
                "POST",
                "sts.us-east-1.amazonaws.com",
                "/",
                &[form],
                b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdeploy&RoleSessionName=ci",
                "sts",
            ),
        ]
    }

    fn new(
        name: &'static str,
        method: &str,
        host: &'static str,
        path: &'static str,
        headers: &[(&'static str, &'static str)],
        body: &'static [u8],
        service: &'static str,
    ) -> Self {
        let headers = headers.iter().map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Self {
            name,
            method: method.parse().expect("a method"),
            host,
            path,
            query: "",
            headers: headers.collect(),
            body,
            service,
        }
    }

    /// Identifies it: operation, actions, resources, and those condition keys.
    #[expect(clippy::missing_panics_doc, reason = "each of them is well-formed")]
    pub fn identify(&self, wanted: &[&str]) -> Call {
        let view = RequestView {
            method: &self.method,
            host: self.host,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            body: BodyView::Whole(self.body),
        };
        let scope = Scope {
            region: "us-east-1",
            service: self.service,
        };
        aws::identify(&view, Some(scope), Some("123456789012"), wanted).expect("identified")
    }
}

/// A profile of so many statements, of which few speak of any one service, as those people write.
#[expect(clippy::missing_panics_doc, reason = "the profile is well-formed")]
pub fn profile(statements: usize) -> Profile {
    const SERVICES: [&str; 12] = [
        "s3", "dynamodb", "lambda", "ec2", "sts", "iam", "sqs", "sns", "kms", "ssm", "logs", "rds",
    ];
    const EFFECTS: [&str; 3] = ["allow", "deny", "approve"];
    let mut text = "default = \"allow\"\n".to_owned();
    for at in 0..statements {
        let (service, effect) = (SERVICES[at % SERVICES.len()], EFFECTS[at % EFFECTS.len()]);
        let _ = write!(
            text,
            "[[statement]]\neffect=\"{effect}\"\naction=\"{service}:Get*\"\n\
             resource=\"arn:aws:{service}:*:*:team-{at}/*\"\n"
        );
    }
    Profile::parse("bench", &text).expect("a profile")
}
