//! Each client works as it is: boto3 in every protocol, large objects, JavaScript, Rust, Go, curl.

use std::process::Command;

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::installation::binary;
use guard_tests::stand::Stand;
use guard_tests::{fixture, go_client, is_root, skip};
use serde_json::Value;

use crate::{OPEN, REVIEWED, text};

/// What the SDKs' clients are denied.
const NO_TABLES: &str = r#"
default = "allow"
[[statement]]
sid = "no-tables"
effect = "deny"
action = "dynamodb:CreateTable"
"#;

#[test]
fn boto3_calls_in_every_protocol_reach_aws_signed_by_guard() {
    if !is_root("boto3_calls_in_every_protocol_reach_aws_signed_by_guard") {
        return;
    }
    let stand = Stand::shared();
    let guard = Guard::new(OPEN, "");
    let output = guard.python(
        stand,
        r"
import boto3, json, zipfile, io
def c(n): return boto3.client(n)
print(c('sts').get_caller_identity()['Account'])
s3 = c('s3'); s3.create_bucket(Bucket='protocols')
s3.put_object(Bucket='protocols', Key='a b//../c+d/é', Body=b'x' * 100000)
assert s3.get_object(Bucket='protocols', Key='a b//../c+d/é')['Body'].read() == b'x' * 100000
print([o['Key'] for o in s3.list_objects_v2(Bucket='protocols')['Contents']])
s3.delete_objects(Bucket='protocols', Delete={'Objects': [{'Key': 'nothing'}]})
iam = c('iam'); iam.create_user(UserName='ada'); print(iam.get_user(UserName='ada')['User']['UserName'])
print(len(c('ec2').describe_regions()['Regions']) > 3)
d = c('dynamodb')
d.create_table(TableName='t', BillingMode='PAY_PER_REQUEST', KeySchema=[{'AttributeName': 'k', 'KeyType': 'HASH'}], AttributeDefinitions=[{'AttributeName': 'k', 'AttributeType': 'S'}])
d.put_item(TableName='t', Item={'k': {'S': '1'}, 'v': {'N': '2'}})
print(d.get_item(TableName='t', Key={'k': {'S': '1'}})['Item']['v']['N'])
q = c('sqs'); url = q.create_queue(QueueName='q')['QueueUrl']; q.send_message(QueueUrl=url, MessageBody='hello')
print(q.receive_message(QueueUrl=url)['Messages'][0]['Body'])
c('ssm').put_parameter(Name='p', Value='plain', Type='String')
k = c('kms'); key = k.create_key()['KeyMetadata']['KeyId']
blob = k.encrypt(KeyId=key, Plaintext=b'secret')['CiphertextBlob']; k.decrypt(CiphertextBlob=blob)
print(c('lambda').list_functions()['Functions'])
c('cloudwatch').put_metric_data(Namespace='n', MetricData=[{'MetricName': 'm', 'Value': 1}])
print(c('logs').describe_log_groups()['logGroups'])
",
    );
    let said = succeeded(&output);
    assert!(said.starts_with("123456789012\n"), "{said}");
    assert!(said.contains("a b//../c+d/é"), "{said}");
    assert!(said.contains("ada") && said.contains("hello"), "{said}");
    let refused: Vec<Value> = stand
        .requests("protocols")
        .into_iter()
        .filter(|request| request["signature"] != "ok")
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let unread: Vec<Value> = guard
        .entries("exchange_decided")
        .into_iter()
        .filter(|entry| {
            entry["operation"]
                .as_array()
                .is_none_or(|names| names.len() != 1)
        })
        .collect();
    assert!(
        unread.is_empty(),
        "each call's operation is known: {unread:#?}"
    );
}

#[test]
fn a_hundred_megabytes_go_up_and_down_byte_for_byte() {
    if !is_root("a_hundred_megabytes_go_up_and_down_byte_for_byte") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let mut client = Conversation::start(
        &guard,
        Stand::shared(),
        r"
import boto3, hashlib, io, os, sys
from boto3.s3.transfer import TransferConfig
data = os.urandom(1 << 20) * 100
s3 = boto3.client('s3'); s3.create_bucket(Bucket='hundred')
s3.put_object(Bucket='hundred', Key='one', Body=io.BytesIO(data))
s3.upload_fileobj(io.BytesIO(data), 'hundred', 'many', Config=TransferConfig(multipart_threshold=1 << 23))
for key in ('one', 'many'):
    got = io.BytesIO(); s3.download_fileobj('hundred', key, got)
    assert hashlib.sha256(got.getvalue()).digest() == hashlib.sha256(data).digest(), key
got = s3.get_object(Bucket='hundred', Key='one')['Body'].read()
assert got == data
print('identical')
sys.stdin.readline()
",
    );
    assert_eq!(client.hears(), "identical");
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", guard.daemon())).expect("status");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kilobytes: u64 = peak
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    assert!(
        kilobytes < 96 * 1024,
        "bodies stream in bounded memory: {peak}"
    );
    assert!(client.ends().success());
    let sent: u64 = guard
        .entries("exchange_completed")
        .iter()
        .filter_map(|entry| entry["bytes_sent"].as_u64())
        .sum();
    assert!(sent >= 200 << 20, "both uploads are counted: {sent}");
}

#[test]
fn the_javascript_sdk_works_and_is_denied_properly() {
    let name = "the_javascript_sdk_works_and_is_denied_properly";
    if !is_root(name) {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('secretsmanager').create_secret(Name='js', SecretString='hunter2')");
    let guard = Guard::new(NO_TABLES, "");
    let output = guard
        .run(stand)
        .arg("node")
        .arg(guard.hand(&fixture("clients/sdk.mjs")))
        .arg(guard_tests::environment().join("node"))
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    assert!(said.contains("account 123456789012"), "{said}");
    assert!(said.contains("object identical"), "{said}");
    assert!(said.contains("secret masked-by-guard"), "{said}");
    assert!(
        said.contains("denied AccessDeniedException attempts 1"),
        "{said}"
    );
}

#[test]
fn the_rust_sdk_speaks_cbor_through_guard() {
    if !is_root("the_rust_sdk_speaks_cbor_through_guard") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('secretsmanager').create_secret(Name='rust', SecretString='hunter2')");
    let guard = Guard::new(REVIEWED, "");
    // `cargo build --workspace` made it.
    let client = guard.hand(&binary().with_file_name("rust-sdk-client"));
    let output = guard
        .run(stand)
        .arg(&client)
        .arg("rust")
        .output()
        .expect("guard runs");
    let said = succeeded(&output);
    assert!(said.contains("metric: put"), "{said}");
    assert!(said.contains("secret: masked-by-guard"), "{said}");
    assert!(
        said.contains("delete: Some(\"AccessDeniedException\")"),
        "{said}"
    );
    let metric = guard.entries("exchange_decided");
    assert!(
        metric.iter().any(|e| e["operation"][0] == "PutMetricData"),
        "{metric:#?}"
    );
}

#[test]
fn the_go_sdks_work_and_are_denied_properly() {
    let name = "the_go_sdks_work_and_are_denied_properly";
    if !is_root(name) {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('secretsmanager').create_secret(Name='go', SecretString='hunter2')");
    let guard = Guard::new(NO_TABLES, "");
    for version in ["v1", "v2"] {
        let Some(client) = go_client(version, name) else {
            return;
        };
        let output = guard.run(stand).arg(client).arg("all").output();
        let said = succeeded(&output.expect("guard runs"));
        assert!(
            said.starts_with(&format!("go {version} Env")) && said.contains(" 123456789012\n"),
            "{said}"
        );
        assert_eq!(said.matches("object identical true").count(), 2, "{said}");
        assert!(said.contains("secret masked-by-guard"), "{said}");
        assert!(said.contains("denied true attempts 1 "), "{said}");
    }
}

#[test]
fn curl_signs_for_itself_and_is_signed_again() {
    let name = "curl_signs_for_itself_and_is_signed_again";
    if !is_root(name) {
        return;
    }
    let known = Command::new("curl")
        .arg("--help")
        .arg("all")
        .output()
        .expect("curl runs");
    if !text(&known.stdout).contains("--aws-sigv4") {
        skip(name, "this curl has no --aws-sigv4 (7.75 and later do)");
        return;
    }
    let guard = Guard::new(OPEN, "");
    let script = "curl -sS --fail-with-body -w 'over HTTP/%{http_version}' --aws-sigv4 aws:amz:us-east-1:sts \
        -u \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\" \
        -d 'Action=GetCallerIdentity&Version=2011-06-15' https://sts.us-east-1.amazonaws.com/";
    let output = guard
        .run(Stand::shared())
        .args(["sh", "-c", script])
        .output()
        .expect("runs");
    let said = succeeded(&output);
    assert!(said.contains("<Account>123456789012</Account>"), "{said}");
    assert!(said.ends_with("over HTTP/2"), "{said}");
}
