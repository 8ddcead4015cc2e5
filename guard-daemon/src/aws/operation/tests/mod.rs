//! Requests as SDKs make them, and as an agent might twist them.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;
use serde_json::Value;

mod hosts;
mod s3;

use crate::aws::{
    BodyView, Call, IdentifyError, Operation, Protocol, RequestView, Scope, identify, needs_body,
};

const FIXTURES: &str = include_str!("../../../../../tests/fixtures/operations.jsonl");

/// A request for a test: `METHOD host/path?query`.
struct Sent {
    method: Method,
    host: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn new(line: &str) -> Self {
        let (method, rest) = line.split_once(' ').unwrap();
        let place = rest.find('/').unwrap();
        let (path, query) = rest[place..]
            .split_once('?')
            .unwrap_or((&rest[place..], ""));
        Self {
            method: method.parse().unwrap(),
            host: rest[..place].to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn form(self, body: &str) -> Self {
        self.header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .body(body)
    }

    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: BodyView::Whole(&self.body),
        }
    }

    fn identify(&self, scope: Option<&str>) -> Result<Call, IdentifyError> {
        let scope = scope.map(|service| Scope {
            region: "us-east-1",
            service,
        });
        identify(&self.view(), scope, Some("123456789012"), &[])
    }
}

/// Every operation of the services that must be exact, as botocore writes it.
#[test]
fn botocore_requests_are_exact() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for line in FIXTURES.lines() {
        let fixture: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| fixture[name].as_str().unwrap_or_default();
        let mut sent = Sent::new(&format!(
            "{} {}{}?{}",
            text("method"),
            text("host"),
            text("path"),
            text("query")
        ));
        for (name, value) in fixture["headers"].as_object().unwrap() {
            let name: HeaderName = name.parse().unwrap();
            sent.headers
                .insert(name, value.as_str().unwrap().parse().unwrap());
        }
        sent.body = match fixture["base64"].as_str() {
            Some(body) => STANDARD.decode(body).unwrap(),
            None => text("body").as_bytes().to_vec(),
        };
        seen += 1;
        let call = match sent.identify(Some(text("scope"))) {
            Ok(call) => call,
            Err(error) => {
                wrong.push(format!("{line}: {error}"));
                continue;
            }
        };
        let protocol = match (text("service"), text("protocol")) {
            ("s3" | "s3control", _) => Protocol::S3,
            (_, "rest-xml") => Protocol::RestXml,
            (_, "rest-json") => Protocol::RestJson,
            (_, "query") => Protocol::Query,
            (_, "ec2") => Protocol::Ec2,
            (_, "smithy-rpc-v2-cbor") => Protocol::Cbor,
            _ if sent.headers["content-type"] == "application/x-amz-json-1.0" => Protocol::Json10,
            _ => Protocol::Json11,
        };
        // What no request tells: S3's old names of the same call.
        let name = match (text("service"), text("operation")) {
            ("s3", "GetBucketLifecycle") => "GetBucketLifecycleConfiguration",
            ("s3", "PutBucketLifecycle") => "PutBucketLifecycleConfiguration",
            ("s3", "GetBucketNotification") => "GetBucketNotificationConfiguration",
            ("s3", "PutBucketNotification") => "PutBucketNotificationConfiguration",
            (_, name) => name,
        };
        let exact = matches!(call.operation, Operation::Known(known) if known == name)
            && call.service == Some(text("service"))
            && call.protocol == protocol
            && !call.access.is_empty();
        if !exact {
            wrong.push(format!(
                "{line}\n    is {:?} {:?} {:?}",
                call.service, call.operation, call.protocol
            ));
        }
    }
    assert!(seen > 2500, "only {seen} fixtures");
    assert!(
        wrong.is_empty(),
        "{} of {seen} wrong:\n{}",
        wrong.len(),
        wrong
            .iter()
            .take(40)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

fn known(call: &Call) -> Option<&'static str> {
    if let Operation::Known(name) = call.operation {
        Some(name)
    } else {
        None
    }
}

#[test]
fn s3_by_every_host() {
    for (line, operation) in [
        ("GET s3.amazonaws.com/", Some("ListBuckets")),
        (
            "GET s3.us-east-1.amazonaws.com/?x-id=ListBuckets",
            Some("ListBuckets"),
        ),
        ("GET b.s3.amazonaws.com/", Some("ListObjects")),
        (
            "GET b.s3.amazonaws.com/?list-type=2&prefix=a",
            Some("ListObjectsV2"),
        ),
        ("GET s3.amazonaws.com/b?list-type=2", Some("ListObjectsV2")),
        ("GET s3.amazonaws.com/b/", Some("ListObjects")),
        ("GET b.s3.amazonaws.com/k?x-id=GetObject", Some("GetObject")),
        (
            "GET s3.amazonaws.com/my.dotted.bucket/a//b/../c",
            Some("GetObject"),
        ),
        (
            "GET b.s3.dualstack.us-west-2.amazonaws.com/k?partNumber=1",
            Some("GetObject"),
        ),
        ("GET b.s3-accelerate.amazonaws.com/k", Some("GetObject")),
        (
            "PUT ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com/k",
            Some("PutObject"),
        ),
        (
            "PUT m.mrap.accesspoint.s3-global.amazonaws.com/k",
            Some("PutObject"),
        ),
        (
            "GET o-123456789012.s3-object-lambda.us-east-1.amazonaws.com/k",
            Some("GetObject"),
        ),
        (
            "POST r.s3-object-lambda.us-east-1.amazonaws.com/WriteGetObjectResponse",
            Some("WriteGetObjectResponse"),
        ),
        (
            "GET b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/?session",
            Some("CreateSession"),
        ),
        (
            "GET s3express-control.us-east-1.amazonaws.com/",
            Some("ListDirectoryBuckets"),
        ),
        (
            "PUT s3express-control.us-east-1.amazonaws.com/b--use1-az4--x-s3",
            Some("CreateBucket"),
        ),
        ("HEAD b.s3.amazonaws.com/k?versionId=v", Some("HeadObject")),
        (
            "PUT b.s3.amazonaws.com/k?partNumber=1&uploadId=u&x-id=UploadPart",
            Some("UploadPart"),
        ),
        (
            "DELETE b.s3.amazonaws.com/k?uploadId=u",
            Some("AbortMultipartUpload"),
        ),
        ("GET b.s3.amazonaws.com/k?uploadId=u", Some("ListParts")),
        (
            "GET b.s3.amazonaws.com/k?X-Amz-Algorithm=x&X-Amz-Signature=y&response-content-type=z",
            Some("GetObject"),
        ),
        (
            "GET b.s3.amazonaws.com/k?AWSAccessKeyId=x&Signature=y&Expires=1",
            Some("GetObject"),
        ),
        // A key that no operation here has may name one we do not know.
        ("GET b.s3.amazonaws.com/k?newthing", None),
        ("PUT b.s3.amazonaws.com/k?newthing=1", None),
        ("GET b.s3.amazonaws.com/k?ACL", None),
        ("GET b.s3.amazonaws.com/?policy&extra", None),
        ("PUT b.s3.amazonaws.com/k?partNumber=1", None),
        ("POST b.s3.amazonaws.com/", None),
        ("GET s3.amazonaws.com/a%2Fb/k", None),
        ("GET s3.amazonaws.com//k", None),
        ("GET b.s3.amazonaws.com/%ff", None),
        ("OPTIONS b.s3.amazonaws.com/k", None),
    ] {
        let call = Sent::new(line)
            .identify(None)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(known(&call), operation, "{line}");
        assert_eq!(
            (call.service, call.protocol),
            (Some("s3"), Protocol::S3),
            "{line}"
        );
    }
}

#[test]
fn other_protocols() {
    let json = |target: &str| {
        Sent::new("POST dynamodb.us-east-1.amazonaws.com/")
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.0")
            .body("{}")
    };
    let monitoring = "POST monitoring.us-east-1.amazonaws.com";
    for (sent, scope, service, operation) in [
        (
            json("DynamoDB_20120810.GetItem"),
            "dynamodb",
            Some("dynamodb"),
            Some("GetItem"),
        ),
        (
            json("DynamoDB_20120810.Nonsense"),
            "dynamodb",
            Some("dynamodb"),
            None,
        ),
        (json("GetItem"), "dynamodb", Some("dynamodb"), None),
        (
            Sent::new("POST 123456789012.ddb.us-east-1.amazonaws.com/")
                .header("x-amz-target", "DynamoDB_20120810.Query")
                .body("{}"),
            "dynamodb",
            Some("dynamodb"),
            Some("Query"),
        ),
        (
            Sent::new(&format!(
                "{monitoring}/service/GraniteServiceVersion20100801/operation/PutMetricData"
            ))
            .header("smithy-protocol", "rpc-v2-cbor"),
            "monitoring",
            Some("cloudwatch"),
            Some("PutMetricData"),
        ),
        (
            Sent::new(&format!(
                "{monitoring}/service/GraniteServiceVersion20100801/operation/PutMetricData"
            )),
            "monitoring",
            Some("cloudwatch"),
            None,
        ),
        (
            Sent::new(&format!("{monitoring}/")).form("Action=ListMetrics&Version=2010-08-01"),
            "monitoring",
            Some("cloudwatch"),
            Some("ListMetrics"),
        ),
        (
            Sent::new(
                "GET sts.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature=x",
            ),
            "sts",
            Some("sts"),
            Some("GetCallerIdentity"),
        ),
        (
            Sent::new("POST ec2.us-east-1.amazonaws.com/")
                .form("Action=Describe%49nstances&Version=2014-10-01"),
            "ec2",
            Some("ec2"),
            Some("DescribeInstances"),
        ),
        (
            Sent::new("POST sqs.us-east-1.amazonaws.com/123456789012/q")
                .form("Action=SendMessage&Version=2012-11-05"),
            "sqs",
            Some("sqs"),
            Some("SendMessage"),
        ),
        (
            Sent::new("POST us-east-1.queue.amazonaws.com/123456789012/q")
                .form("Action=SendMessage&Version=2012-11-05"),
            "sqs",
            Some("sqs"),
            Some("SendMessage"),
        ),
        (
            Sent::new("POST elasticloadbalancing.us-east-1.amazonaws.com/")
                .form("Action=DescribeLoadBalancers&Version=2015-12-01"),
            "elasticloadbalancing",
            Some("elbv2"),
            Some("DescribeLoadBalancers"),
        ),
        (
            Sent::new("POST elasticloadbalancing.us-east-1.amazonaws.com/")
                .form("Action=DescribeLoadBalancers&Version=2012-06-01"),
            "elasticloadbalancing",
            Some("elb"),
            Some("DescribeLoadBalancers"),
        ),
        (
            Sent::new("POST rds.us-east-1.amazonaws.com/")
                .form("Action=DeleteDBInstance&Version=2014-10-31"),
            "rds",
            Some("rds"),
            Some("DeleteDBInstance"),
        ),
        (
            Sent::new("POST email.us-east-1.amazonaws.com/")
                .form("Action=SendEmail&Version=2010-12-01"),
            "ses",
            Some("ses"),
            Some("SendEmail"),
        ),
        (
            Sent::new("POST email.us-east-1.amazonaws.com/v2/email/outbound-emails")
                .body(r#"{"a":"&Action=DeleteIdentity"}"#),
            "ses",
            Some("sesv2"),
            Some("SendEmail"),
        ),
        (
            Sent::new("POST sync-states.us-east-1.amazonaws.com/")
                .header("x-amz-target", "AWSStepFunctions.StartSyncExecution")
                .body("{}"),
            "states",
            Some("stepfunctions"),
            Some("StartSyncExecution"),
        ),
        (
            Sent::new("POST abc-ats.iot.us-east-1.amazonaws.com/topics/a"),
            "iotdata",
            Some("iot-data"),
            Some("Publish"),
        ),
        (
            Sent::new("GET lambda.us-east-1.amazonaws.com/2015-03-31/functions"),
            "lambda",
            Some("lambda"),
            Some("ListFunctions"),
        ),
        (
            Sent::new("GET lambda.us-east-1.amazonaws.com/2015-03-31/functions/f"),
            "lambda",
            Some("lambda"),
            Some("GetFunction"),
        ),
        (
            Sent::new(
                "POST lambda.us-east-1.amazonaws.com/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af/invocations",
            ),
            "lambda",
            Some("lambda"),
            Some("Invoke"),
        ),
        (
            Sent::new("GET lambda.us-east-1.amazonaws.com/2015-03-31/%66unctions/f"),
            "lambda",
            None,
            None,
        ),
        (
            Sent::new("GET lambda.us-east-1.amazonaws.com/2015-03-31/functions/../functions/f"),
            "lambda",
            None,
            None,
        ),
        (
            Sent::new("GET lambda.us-east-1.amazonaws.com/2015-03-31//functions"),
            "lambda",
            None,
            None,
        ),
        (
            Sent::new("GET lambda.us-east-1.amazonaws.com/2015-03-31/functions/a%2F..%2Fb"),
            "lambda",
            None,
            None,
        ),
        (
            Sent::new("GET vpce-1-2.lambda.us-east-1.vpce.amazonaws.com/2015-03-31/functions/f"),
            "lambda",
            Some("lambda"),
            Some("GetFunction"),
        ),
    ] {
        let line = format!("{} {}{}?{}", sent.method, sent.host, sent.path, sent.query);
        let call = sent
            .identify(Some(scope))
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let names = match &call.operation {
            Operation::Known(name) => Some(*name),
            Operation::Ambiguous(names) => panic!("{line}: {names:?}"),
            Operation::Unknown => None,
        };
        assert_eq!(names, operation, "{line}");
        if operation.is_some() || service.is_some() {
            assert_eq!(call.service, service, "{line}");
        }
        assert!(call.output.is_none() || operation.is_some(), "{line}");
    }
}

#[test]
fn what_names_two_operations_is_refused() {
    type Is = fn(&IdentifyError) -> bool;
    let two: Is = |it| matches!(it, IdentifyError::TwoOperations { .. });
    let repeated: Is = |it| matches!(it, IdentifyError::Repeated { .. });
    let target = |line: &str| Sent::new(line).header("x-amz-target", "DynamoDB_20120810.GetItem");
    let cbor = |query: &str| {
        let path = "service/GraniteServiceVersion20100801/operation/PutMetricData";
        Sent::new(&format!(
            "POST monitoring.us-east-1.amazonaws.com/{path}{query}"
        ))
        .header("smithy-protocol", "rpc-v2-cbor")
    };
    let cases: Vec<(Sent, &str, Is)> = vec![
        (
            target("POST dynamodb.us-east-1.amazonaws.com/")
                .header("x-amz-target", "DynamoDB_20120810.DeleteTable"),
            "dynamodb",
            repeated,
        ),
        (
            target("POST dynamodb.us-east-1.amazonaws.com/service/X/operation/Y"),
            "dynamodb",
            two,
        ),
        (
            target("POST dynamodb.us-east-1.amazonaws.com/")
                .header("smithy-protocol", "rpc-v2-cbor"),
            "dynamodb",
            two,
        ),
        (
            target("POST dynamodb.us-east-1.amazonaws.com/?Action=DeleteTable"),
            "dynamodb",
            two,
        ),
        (
            target("POST dynamodb.us-east-1.amazonaws.com/").form("Action=DeleteTable"),
            "dynamodb",
            two,
        ),
        (cbor("?Action=DeleteAlarms"), "monitoring", two),
        (cbor("?%41ction=DeleteAlarms"), "monitoring", two),
        (cbor("").form("Action=DeleteAlarms"), "monitoring", two),
        (
            Sent::new("POST iam.amazonaws.com/")
                .header("content-type", "application/json")
                .form("Action=GetUser"),
            "iam",
            repeated,
        ),
        (
            Sent::new("PUT b.s3.amazonaws.com/k")
                .header("content-type", "text/plain")
                .header("content-type", "text/html"),
            "s3",
            repeated,
        ),
        (
            target("POST dynamodb.us-east-1.amazonaws.com/"),
            "s3",
            |it| matches!(it, IdentifyError::ScopeMismatch { .. }),
        ),
        (target("POST sqs.us-east-1.amazonaws.com/"), "sqs", |it| {
            matches!(it, IdentifyError::TargetMismatch { .. })
        }),
        (
            Sent::new("POST iam.amazonaws.com/").form("Action=GetUser&Action=DeleteUser"),
            "iam",
            repeated,
        ),
        (
            Sent::new("POST iam.amazonaws.com/?Action=GetUser").form("Action=DeleteUser"),
            "iam",
            repeated,
        ),
        (
            Sent::new("POST iam.amazonaws.com/").form("Action=GetUser&%41ction=DeleteUser"),
            "iam",
            repeated,
        ),
        (
            Sent::new("POST iam.amazonaws.com/").form("action=GetUser"),
            "iam",
            repeated,
        ),
        (
            Sent::new("POST iam.amazonaws.com/")
                .form("Action=GetUser&Version=2010-05-08&Version=2010-05-09"),
            "iam",
            repeated,
        ),
        (
            Sent::new("POST iam.amazonaws.com/").form("Action=GetUser&x=%ff"),
            "iam",
            |it| matches!(it, IdentifyError::Unreadable { .. }),
        ),
        (
            Sent::new("POST iam.amazonaws.com/")
                .header(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-16",
                )
                .body("Action=GetUser"),
            "iam",
            |it| matches!(it, IdentifyError::Unreadable { .. }),
        ),
        (
            Sent::new("GET email.us-east-1.amazonaws.com/v2/email/account?Action=DeleteIdentity"),
            "ses",
            two,
        ),
        (
            Sent::new("GET b.s3.amazonaws.com/k?x-id=DeleteObject"),
            "s3",
            |it| matches!(it, IdentifyError::HintContradicts { .. }),
        ),
        (
            Sent::new("GET b.s3.amazonaws.com/?list-type=2&list-type=1"),
            "s3",
            repeated,
        ),
        (
            Sent::new("GET b.s3.amazonaws.com/k").header("x-http-method-override", "DELETE"),
            "s3",
            |it| matches!(it, IdentifyError::MethodOverride { .. }),
        ),
        (Sent::new("GET example.com/"), "s3", |it| {
            matches!(it, IdentifyError::NotAws { .. })
        }),
    ];
    for (sent, scope, is) in cases {
        let line = format!("{} {}{}?{}", sent.method, sent.host, sent.path, sent.query);
        match sent.identify(Some(scope)) {
            Ok(call) => panic!("{line} is {:?}", call.operation),
            Err(error) => assert!(is(&error), "{line}: {error}"),
        }
    }
}

#[test]
fn two_subresources_name_no_operation() {
    let call = Sent::new("GET b.s3.amazonaws.com/?policy&acl")
        .identify(Some("s3"))
        .unwrap();
    assert_eq!(call.operation, Operation::Unknown);
}

#[test]
fn an_unread_body_makes_nothing_up() {
    let sent = Sent::new("POST iam.amazonaws.com/?Action=GetUser").form("Action=DeleteUser");
    let view = RequestView {
        body: BodyView::Unread,
        ..sent.view()
    };
    let call = identify(
        &view,
        Some(Scope {
            region: "us-east-1",
            service: "iam",
        }),
        None,
        &[],
    )
    .unwrap();
    assert_eq!(call.operation, Operation::Unknown);
    let zipped = Sent::new("POST iam.amazonaws.com/")
        .form("Action=GetUser")
        .header("content-encoding", "gzip");
    assert_eq!(
        zipped.identify(Some("iam")).unwrap().operation,
        Operation::Unknown
    );
}

#[test]
fn bodies_that_are_needed() {
    let needs = |sent: &Sent, service: &str| {
        needs_body(
            &sent.view(),
            Some(Scope {
                region: "us-east-1",
                service,
            }),
            &[],
        )
    };
    assert!(needs(&Sent::new("POST iam.amazonaws.com/").form(""), "iam"));
    assert!(needs(
        &Sent::new("POST dynamodb.us-east-1.amazonaws.com/")
            .header("x-amz-target", "DynamoDB_20120810.GetItem"),
        "dynamodb"
    ));
    assert!(needs(&Sent::new("POST b.s3.amazonaws.com/?delete"), "s3"));
    assert!(!needs(&Sent::new("PUT b.s3.amazonaws.com/k"), "s3"));
    assert!(!needs(
        &Sent::new("POST lambda.us-east-1.amazonaws.com/2015-03-31/functions/f/invocations"),
        "lambda"
    ));
    assert!(!needs(&Sent::new("GET example.com/"), "s3"));
}

proptest! {
    #[test]
    fn never_panics(
        host in prop::sample::select(vec!["s3.amazonaws.com", "b.s3.amazonaws.com", "lambda.us-east-1.amazonaws.com", "iam.amazonaws.com", "email.us-east-1.amazonaws.com", "monitoring.us-east-1.amazonaws.com"]),
        method in prop::sample::select(vec!["GET", "PUT", "POST", "DELETE", "HEAD"]),
        path in "/[a-z0-9./%F2]{0,30}",
        query in "([A-Za-z%=&+-]|Action=|x-id=|acl|uploadId){0,12}",
        body in prop::collection::vec(any::<u8>(), 0..80),
        form in any::<bool>(),
    ) {
        let mut sent = Sent::new(&format!("{method} {host}{path}?{query}")).body(body);
        if form {
            sent = sent.header("content-type", "application/x-www-form-urlencoded");
        }
        if let Ok(call) = sent.identify(None) {
            prop_assert!(!call.access.is_empty());
            prop_assert!(call.access.iter().all(|it| !it.resources.is_empty()));
        }
    }

    /// Whatever else a key is called, an unknown one never makes an S3 read or write.
    #[test]
    fn unknown_subresources_stay_unknown(key in "[a-z]{1,12}") {
        let known = ["acl", "attributes", "legal-hold", "retention", "tagging", "torrent", "annotation", "versionid", "expires"];
        prop_assume!(!known.contains(&key.as_str()));
        let call = Sent::new(&format!("GET b.s3.amazonaws.com/k?{key}")).identify(Some("s3")).unwrap();
        prop_assert_eq!(call.operation, Operation::Unknown);
    }
}
