//! Actions and resources of calls as SDKs make them.

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use http::{HeaderMap, HeaderName, Method};

use crate::aws::{BodyView, Call, Confidence, KeyValue, RequestView, Resource, Scope, identify};

pub(super) const ACCOUNT: &str = "123456789012";

pub(super) fn call(
    line: &str,
    scope: &str,
    headers: &[(&str, &str)],
    body: &str,
    account: Option<&str>,
) -> Call {
    call_for(line, scope, headers, body.as_bytes(), account, &[])
}

pub(super) fn call_for(
    line: &str,
    scope: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    account: Option<&str>,
    wanted: &[&str],
) -> Call {
    let (method, rest) = line.split_once(' ').unwrap();
    let method: Method = method.parse().unwrap();
    let (host, rest) = rest.split_at(rest.find('/').unwrap());
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let body = BodyView::Whole(body);
    let request = RequestView {
        method: &method,
        host,
        path,
        query,
        headers: &map,
        body,
    };
    identify(
        &request,
        Some(Scope {
            region: "us-east-1",
            service: scope,
        }),
        account,
        wanted,
    )
    .unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// `action resource resource; action …`, `*` for any and `?` for unknown.
pub(super) fn shown(call: &Call) -> String {
    let resource = |it: &Resource| match it {
        Resource::Arn(arn) => arn.replace("arn:aws:", ""),
        Resource::Any => "*".to_owned(),
        Resource::Unknown => "?".to_owned(),
    };
    let entries = call.access.iter().map(|it| {
        let resources: Vec<String> = it.resources.iter().map(resource).collect();
        format!(
            "{} {}",
            it.action.as_deref().unwrap_or("-"),
            resources.join(" ")
        )
    });
    entries.collect::<Vec<_>>().join("; ")
}

#[test]
fn json_services() {
    for (service, target, body, expected) in [
        (
            "dynamodb",
            "DynamoDB_20120810.GetItem",
            r#"{"TableName":"t"}"#,
            "dynamodb:GetItem dynamodb:us-east-1:123456789012:table/t",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.GetItem",
            r#"{"TableName":"arn:aws:dynamodb:eu-west-1:1:table/t"}"#,
            "dynamodb:GetItem dynamodb:eu-west-1:1:table/t",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.Query",
            r#"{"TableName":"t","IndexName":"i"}"#,
            "dynamodb:Query dynamodb:us-east-1:123456789012:table/t/index/i",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.BatchWriteItem",
            r#"{"RequestItems":{"t":[],"u":[]}}"#,
            "dynamodb:BatchWriteItem dynamodb:us-east-1:123456789012:table/t dynamodb:us-east-1:123456789012:table/u",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.TransactWriteItems",
            r#"{"TransactItems":[{"Put":{"TableName":"t"}},{"Delete":{"TableName":"u"}}]}"#,
            "dynamodb:DeleteItem dynamodb:us-east-1:123456789012:table/u; dynamodb:PutItem dynamodb:us-east-1:123456789012:table/t",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.TransactWriteItems",
            r#"{"TransactItems":[{"New":{}}]}"#,
            "- ?",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.ExecuteStatement",
            r#"{"Statement":"delete from t"}"#,
            "dynamodb:PartiQLDelete ?",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.ListTables",
            "{}",
            "dynamodb:ListTables *",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.GetItem",
            r#"{"TableName":"t:x"}"#,
            "dynamodb:GetItem ?",
        ),
        (
            "dynamodb",
            "DynamoDB_20120810.GetItem",
            "not json",
            "dynamodb:GetItem ?",
        ),
        (
            "sqs",
            "AmazonSQS.SendMessageBatch",
            r#"{"QueueUrl":"https://sqs.us-east-1.amazonaws.com/111111111111/q.fifo"}"#,
            "sqs:SendMessage sqs:us-east-1:111111111111:q.fifo",
        ),
        (
            "sqs",
            "AmazonSQS.CreateQueue",
            r#"{"QueueName":"q"}"#,
            "sqs:CreateQueue sqs:us-east-1:123456789012:q",
        ),
        (
            "ssm",
            "AmazonSSM.GetParameter",
            r#"{"Name":"/prod/db:3"}"#,
            "ssm:GetParameter ssm:us-east-1:123456789012:parameter/prod/db",
        ),
        (
            "ssm",
            "AmazonSSM.GetParameters",
            r#"{"Names":["a","/b"]}"#,
            "ssm:GetParameters ssm:us-east-1:123456789012:parameter/a ssm:us-east-1:123456789012:parameter/b",
        ),
        (
            "ssm",
            "AmazonSSM.GetParameter",
            r#"{"Name":"/aws/reference/secretsmanager/s"}"#,
            "ssm:GetParameter ssm:us-east-1:123456789012:parameter/aws/reference/secretsmanager/s; secretsmanager:GetSecretValue ?",
        ),
        (
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            r#"{"SecretId":"prod/db"}"#,
            "secretsmanager:GetSecretValue ?",
        ),
        (
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            r#"{"SecretId":"arn:aws:secretsmanager:us-east-1:1:secret:db-aB3xYz"}"#,
            "secretsmanager:GetSecretValue secretsmanager:us-east-1:1:secret:db-aB3xYz",
        ),
        (
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            r#"{"SecretId":"arn:aws:secretsmanager:us-east-1:1:secret:my-secret"}"#,
            "secretsmanager:GetSecretValue ?",
        ),
        (
            "kms",
            "TrentService.Decrypt",
            r#"{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab"}"#,
            "kms:Decrypt kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        ),
        (
            "kms",
            "TrentService.Encrypt",
            r#"{"KeyId":"alias/a"}"#,
            "kms:Encrypt ?",
        ),
        ("kms", "TrentService.Decrypt", "{}", "kms:Decrypt ?"),
        ("kms", "TrentService.ListKeys", "{}", "kms:ListKeys *"),
    ] {
        let line = format!("POST {service}.us-east-1.amazonaws.com/");
        let found = call(
            &line,
            service,
            &[("x-amz-target", target)],
            body,
            Some(ACCOUNT),
        );
        assert_eq!(shown(&found), expected, "{target} {body}");
    }
}

#[test]
fn query_services() {
    for (host, scope, body, expected) in [
        (
            "sts.amazonaws.com",
            "sts",
            "Action=GetCallerIdentity&Version=2011-06-15",
            "sts:GetCallerIdentity *",
        ),
        (
            "sts.amazonaws.com",
            "sts",
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr",
            "sts:AssumeRole iam::1:role/r",
        ),
        (
            "sts.amazonaws.com",
            "sts",
            "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/r&Tags.member.1.Key=a",
            "sts:AssumeRole iam::1:role/r; sts:TagSession iam::1:role/r",
        ),
        (
            "iam.amazonaws.com",
            "iam",
            "Action=CreateUser&UserName=u",
            "iam:CreateUser iam::123456789012:user/u",
        ),
        (
            "iam.amazonaws.com",
            "iam",
            "Action=CreateRole&RoleName=r&Path=/a/",
            "iam:CreateRole iam::123456789012:role/a/r",
        ),
        (
            "iam.amazonaws.com",
            "iam",
            "Action=DeleteUser&UserName=u",
            "iam:DeleteUser ?",
        ),
        (
            "iam.amazonaws.com",
            "iam",
            "Action=ListUsers",
            "iam:ListUsers *",
        ),
        (
            "ec2.us-east-1.amazonaws.com",
            "ec2",
            "Action=DescribeInstances&Version=2016-11-15",
            "ec2:DescribeInstances *",
        ),
        (
            "ec2.us-east-1.amazonaws.com",
            "ec2",
            "Action=TerminateInstances&InstanceId.1=i-0a&InstanceId.2=i-0b",
            "ec2:TerminateInstances ec2:us-east-1:123456789012:instance/i-0a ec2:us-east-1:123456789012:instance/i-0b",
        ),
        (
            "ec2.us-east-1.amazonaws.com",
            "ec2",
            "Action=TerminateInstances&InstanceId.1=i-0*",
            "ec2:TerminateInstances ?",
        ),
        (
            "ec2.us-east-1.amazonaws.com",
            "ec2",
            "Action=RunInstances",
            "ec2:RunInstances ec2:us-east-1:123456789012:instance/* ? ec2:us-east-1:123456789012:network-interface/* ec2:us-east-1:123456789012:volume/*",
        ),
        (
            "monitoring.us-east-1.amazonaws.com",
            "monitoring",
            "Action=DeleteAlarms&AlarmNames.member.1=a%20b",
            "cloudwatch:DeleteAlarms cloudwatch:us-east-1:123456789012:alarm:a b",
        ),
        (
            "rds.us-east-1.amazonaws.com",
            "rds",
            "Action=DeleteDBInstance&Version=2014-10-31",
            "rds:DeleteDBInstance ?",
        ),
        (
            "elasticloadbalancing.us-east-1.amazonaws.com",
            "elasticloadbalancing",
            "Action=DescribeLoadBalancers",
            "elasticloadbalancing:DescribeLoadBalancers *",
        ),
    ] {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let found = call(
            &format!("POST {host}/"),
            scope,
            &[form],
            body,
            Some(ACCOUNT),
        );
        assert_eq!(shown(&found), expected, "{body}");
    }
}

#[test]
fn lambda_and_api_gateway() {
    let lambda = "lambda.us-east-1.amazonaws.com/2015-03-31";
    for (line, scope, body, expected) in [
        (
            format!("POST {lambda}/functions/f/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction lambda:us-east-1:123456789012:function:f",
        ),
        (
            format!("POST {lambda}/functions/f/invocations?Qualifier=live"),
            "lambda",
            "",
            "lambda:InvokeFunction lambda:us-east-1:123456789012:function:f:live",
        ),
        (
            format!(
                "POST {lambda}/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A1%3Afunction%3Af%3Alive/invocations"
            ),
            "lambda",
            "",
            "lambda:InvokeFunction lambda:eu-west-1:1:function:f:live",
        ),
        (
            format!("POST {lambda}/functions/1%3Afunction%3Af/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction lambda:us-east-1:1:function:f",
        ),
        (
            format!("POST {lambda}/functions/f%3Aa/invocations?Qualifier=b"),
            "lambda",
            "",
            "lambda:InvokeFunction ?",
        ),
        (
            format!("PUT {lambda}/functions/f/code?Qualifier=x"),
            "lambda",
            "{}",
            "lambda:UpdateFunctionCode ?",
        ),
        (
            format!("GET {lambda}/functions/f?Qualifier=x"),
            "lambda",
            "",
            "lambda:GetFunction lambda:us-east-1:123456789012:function:f:x",
        ),
        (
            format!("GET {lambda}/functions/f/versions?Qualifier=x"),
            "lambda",
            "",
            "lambda:ListVersionsByFunction ?",
        ),
        (
            format!("POST {lambda}/functions/function%3Af/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction ?",
        ),
        (
            format!("POST {lambda}/functions/123456789012%3Af/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction ?",
        ),
        (
            format!("POST {lambda}/functions/us-east-1%3Af/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction ?",
        ),
        (
            format!("POST {lambda}/functions/us-gov-east-1%3A123456789012%3Af/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction ?",
        ),
        (
            format!("POST {lambda}/functions/f%3A%24LATEST/invocations"),
            "lambda",
            "",
            "lambda:InvokeFunction lambda:us-east-1:123456789012:function:f:$LATEST",
        ),
        (
            format!("GET {lambda}/functions/arn%3Aaws-cn%3Alambda%3Aus-east-1%3A1%3Afunction%3Af"),
            "lambda",
            "",
            "lambda:GetFunction ?",
        ),
        (
            format!("POST {lambda}/functions"),
            "lambda",
            r#"{"FunctionName":"arn:aws:lambda:us-east-1:1:f"}"#,
            "lambda:CreateFunction ?; iam:PassRole ?",
        ),
        (
            format!("POST {lambda}/functions"),
            "lambda",
            r#"{"FunctionName":"f"}"#,
            "lambda:CreateFunction lambda:us-east-1:123456789012:function:f; iam:PassRole ?",
        ),
        (
            format!("GET {lambda}/functions/"),
            "lambda",
            "",
            "lambda:ListFunctions *",
        ),
        (
            "DELETE apigateway.us-east-1.amazonaws.com/restapis/a".to_owned(),
            "apigateway",
            "",
            "apigateway:DELETE apigateway:us-east-1::/restapis/a",
        ),
        (
            "DELETE apigateway.us-east-1.amazonaws.com/restapis/a%0Ab".to_owned(),
            "apigateway",
            "",
            "apigateway:DELETE ?",
        ),
    ] {
        assert_eq!(
            shown(&call(&line, scope, &[], body, Some(ACCOUNT))),
            expected,
            "{line}"
        );
    }
}

#[test]
fn no_account_no_guess() {
    let target = [("x-amz-target", "DynamoDB_20120810.GetItem")];
    let found = call(
        "POST dynamodb.us-east-1.amazonaws.com/",
        "dynamodb",
        &target,
        r#"{"TableName":"t"}"#,
        None,
    );
    assert_eq!(shown(&found), "dynamodb:GetItem ?");
    assert_eq!(found.confidence, Confidence::Partial);
}

#[test]
fn unknown_has_one_unknown_entry() {
    let found = call("PATCH b.s3.amazonaws.com/k", "s3", &[], "", Some(ACCOUNT));
    assert_eq!(shown(&found), "- ?");
    assert_eq!(found.confidence, Confidence::Unknown);
}

/// `key=value`, `-` for absent, `?` for unknown, of one action and resource of a call.
pub(super) fn key(call: &Call, key: &str, place: (usize, usize)) -> String {
    let access = &call.access[place.0];
    match call.keys.value(key, access, &access.resources[place.1]) {
        None => "none".to_owned(),
        Some(KeyValue::Absent) => "-".to_owned(),
        Some(KeyValue::Unknown) => "?".to_owned(),
        Some(KeyValue::One(text)) => text,
        Some(KeyValue::Many(texts)) => format!("[{}]", texts.join(",")),
    }
}

/// One call in each protocol that its service takes.
#[test]
fn the_same_in_every_wire_form() {
    let monitoring = "monitoring.us-east-1.amazonaws.com";
    let json = [
        ("x-amz-target", "GraniteServiceVersion20100801.DeleteAlarms"),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let cbor = [
        ("smithy-protocol", "rpc-v2-cbor"),
        ("content-type", "application/cbor"),
    ];
    let cbor_path = "/service/GraniteServiceVersion20100801/operation/DeleteAlarms";
    // {"AlarmNames": ["a", "b"]}
    let cbor_body = b"\xa1\x6aAlarmNames\x82\x61a\x61b";
    let expected = "cloudwatch:DeleteAlarms cloudwatch:us-east-1:123456789012:alarm:a cloudwatch:us-east-1:123456789012:alarm:b";
    for (path, headers, body) in [
        ("/", &json[..], &br#"{"AlarmNames":["a","b"]}"#[..]),
        (
            "/",
            &form,
            b"Action=DeleteAlarms&AlarmNames.member.2=b&AlarmNames.member.1=a",
        ),
        (cbor_path, &cbor, cbor_body),
    ] {
        let line = format!("POST {monitoring}{path}");
        let call = call_for(&line, "monitoring", headers, body, Some(ACCOUNT), &[]);
        assert_eq!(shown(&call), expected, "{}", String::from_utf8_lossy(body));
    }
    for body in [
        // A list in another shape than the protocol's, and members that AWS may read otherwise.
        &b"Action=DeleteAlarms&AlarmNames.1=a"[..],
        b"Action=DeleteAlarms&AlarmNames.member.01=a",
        b"Action=DeleteAlarms&AlarmNames.member.1=a&AlarmNames.member.1=b",
        b"Action=DeleteAlarms&AlarmNames=a",
        b"Action=DeleteAlarms",
    ] {
        let line = format!("POST {monitoring}/");
        let call = call_for(&line, "monitoring", &form, body, Some(ACCOUNT), &[]);
        assert_eq!(
            shown(&call),
            "cloudwatch:DeleteAlarms ?",
            "{}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn labels_and_xml() {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    for (line, scope, headers, body, expected) in [
        (
            "GET route53.amazonaws.com/2013-04-01/hostedzone/Z1",
            "route53",
            &[][..],
            "",
            "route53:GetHostedZone route53:::hostedzone/Z1",
        ),
        (
            "GET route53.amazonaws.com/2013-04-01/hostedzone/Z%2A",
            "route53",
            &[],
            "",
            "route53:GetHostedZone ?",
        ),
        (
            "GET kafka.us-east-1.amazonaws.com/v1/clusters/arn%3Aaws%3Akafka%3Aus-east-1%3A1%3Acluster%2Fc%2Fu",
            "kafka",
            &[],
            "",
            "kafka:DescribeCluster kafka:us-east-1:1:cluster/c/u",
        ),
        (
            "POST sns.us-east-1.amazonaws.com/",
            "sns",
            &form,
            "Action=Publish&TopicArn=arn:aws:sqs:us-east-1:1:q",
            "sns:Publish ?",
        ),
    ] {
        let call = call(line, scope, headers, body, Some(ACCOUNT));
        assert_eq!(shown(&call), expected, "{line}");
    }
}
