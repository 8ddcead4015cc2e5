//! The main job with real clients: confined calls are allowed, denied, approved, masked and recorded.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guard_tests::guard::{Conversation, Guard, succeeded};
use guard_tests::installation::binary;
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};
use guard_tests::{fixture, is_root, python_program, skip, workspace};
use serde_json::Value;

/// Everything the tests' clients do, unless a test says otherwise.
const OPEN: &str = r#"
default = "allow"
[network]
allow = ["allowed.example"]
"#;

const REVIEWED: &str = r#"
default = "deny"
[network]
allow = ["allowed.example"]

[[statement]]
sid = "read"
effect = "allow"
action = ["s3:Get*", "s3:List*", "s3:PutObject", "sts:GetCallerIdentity", "secretsmanager:GetSecretValue", "cloudwatch:PutMetricData"]

[[statement]]
sid = "no-bucket-deletion"
effect = "deny"
action = "s3:DeleteBucket"

[[statement]]
sid = "ask-before-deleting"
effect = "approve"
action = ["s3:DeleteObject", "sqs:DeleteQueue"]
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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
fn the_aws_cli_is_denied_once_in_its_own_words_and_nothing_reaches_aws() {
    if !is_root("the_aws_cli_is_denied_once_in_its_own_words_and_nothing_reaches_aws") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('s3').create_bucket(Bucket='kept-bucket')");
    let guard = Guard::new(REVIEWED, "");
    let output = guard.aws(
        stand,
        &["s3api", "delete-bucket", "--bucket", "kept-bucket"],
    );
    let error = text(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains("(AccessDenied)") && error.contains("DeleteBucket"),
        "{error}"
    );
    assert!(
        error.contains("no-bucket-deletion"),
        "the statement is named: {error}"
    );
    let reached = stand.requests("kept-bucket");
    assert!(
        reached.iter().all(|request| request["method"] != "DELETE"),
        "{reached:?}"
    );
    let decided = guard.entries("exchange_decided");
    assert_eq!(decided.len(), 1, "one attempt: {decided:#?}");
    assert_eq!(decided[0]["decision"], "deny");
    assert_eq!(decided[0]["actions"][0], "s3:DeleteBucket");
    assert_eq!(decided[0]["resources"][0], "arn:aws:s3:::kept-bucket");
    assert!(
        decided[0]["process"]["pid"]
            .as_u64()
            .is_some_and(|pid| pid > 1),
        "{decided:#?}"
    );
    let argv = decided[0]["process"]["argv"].to_string();
    assert!(
        argv.contains("delete-bucket"),
        "the caller's command line: {argv}"
    );
}

#[test]
fn denials_are_access_denied_in_every_protocol_with_one_attempt() {
    if !is_root("denials_are_access_denied_in_every_protocol_with_one_attempt") {
        return;
    }
    let guard = Guard::new("default = \"deny\"\n", "");
    let output = guard.python(
        Stand::shared(),
        r"
import boto3, botocore
calls = [('s3', 'list_buckets', {}), ('s3', 'head_bucket', {'Bucket': 'denied-bucket'}), ('sts', 'get_session_token', {}),
  ('ec2', 'describe_instances', {}), ('dynamodb', 'list_tables', {}), ('sqs', 'list_queues', {}), ('iam', 'list_users', {}),
  ('ssm', 'get_parameter', {'Name': 'x'}), ('kms', 'list_keys', {}), ('lambda', 'list_functions', {}),
  ('secretsmanager', 'list_secrets', {}), ('cloudwatch', 'list_metrics', {}), ('route53', 'list_hosted_zones', {})]
for service, operation, arguments in calls:
    client = boto3.client(service)
    try:
        getattr(client, operation)(**arguments); print(service, operation, 'ALLOWED')
    except botocore.exceptions.ClientError as e:
        print(service, operation, e.response['Error']['Code'], e.response['ResponseMetadata']['RetryAttempts'])
",
    );
    let said = succeeded(&output);
    let expected = "s3 list_buckets AccessDenied 0\ns3 head_bucket 403 0\n\
        sts get_session_token AccessDenied 0\nec2 describe_instances UnauthorizedOperation 0\n\
        dynamodb list_tables AccessDeniedException 0\nsqs list_queues AccessDenied 0\n\
        iam list_users AccessDenied 0\nssm get_parameter AccessDeniedException 0\n\
        kms list_keys AccessDeniedException 0\nlambda list_functions AccessDeniedException 0\n\
        secretsmanager list_secrets AccessDeniedException 0\n\
        cloudwatch list_metrics AccessDenied 0\nroute53 list_hosted_zones AccessDenied 0\n";
    assert_eq!(said, expected);
}

/// Waits for the one open approval of a guard.
fn waiting_approval(guard: &Guard) -> Value {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let output = guard
            .command(&["approval", "list", "-o", "json"])
            .output()
            .expect("runs");
        if output.status.success() {
            let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let approvals = list["approvals"].as_array();
            let open = approvals
                .into_iter()
                .flatten()
                .find(|a| a["state"] == "waiting");
            if let Some(approval) = open {
                return approval.clone();
            }
        }
        assert!(
            Instant::now() < end,
            "no approval appeared: {}",
            text(&output.stderr)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_held_call_waits_is_approved_and_runs_exactly_once() {
    if !is_root("a_held_call_waits_is_approved_and_runs_exactly_once") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare(
        "s3 = client('s3'); s3.create_bucket(Bucket='approved')\n\
         s3.put_object(Bucket='approved', Key='old', Body=b'1')",
    );
    let guard = Guard::new(REVIEWED, "");
    let call = guard
        .run(stand)
        .arg(python_program("aws"))
        .args([
            "s3api",
            "delete-object",
            "--bucket",
            "approved",
            "--key",
            "old",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let approval = waiting_approval(&guard);
    let deletions = || {
        stand
            .requests("approved")
            .iter()
            .filter(|r| r["method"] == "DELETE")
            .count()
    };
    assert_eq!(deletions(), 0, "nothing leaves before the decision");
    let id = approval["id"].as_str().expect("an id");
    let shown = succeeded(
        &guard
            .command(&["approval", "show", id])
            .output()
            .expect("runs"),
    );
    assert!(
        shown.contains("s3:DeleteObject") && shown.contains("arn:aws:s3:::approved/old"),
        "{shown}"
    );
    let approved = guard
        .command(&["approval", "approve", id, "--reason", "cleaning up"])
        .output()
        .expect("runs");
    succeeded(&approved);
    let output = call.wait_with_output().expect("ends");
    succeeded(&output);
    assert_eq!(deletions(), 1);
    let states: Vec<String> = guard
        .entries("approval")
        .iter()
        .map(|e| e["state"].to_string())
        .collect();
    assert_eq!(states, ["\"requested\"", "\"approved\"", "\"used\""]);
    let decided = guard.entries("exchange_decided");
    assert_eq!(
        decided.last().map(|e| e["approval"].clone()),
        Some(Value::from(id))
    );
}

#[test]
fn nobody_decides_then_the_error_names_the_approval_and_a_later_retry_runs_once() {
    if !is_root("nobody_decides_then_the_error_names_the_approval_and_a_later_retry_runs_once") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('sqs').create_queue(QueueName='to-delete')");
    let guard = Guard::new(REVIEWED, "[approval]\nhold_seconds = 1\n");
    let session = guard.directory().join("script.py");
    std::fs::write(
        &session,
        r"
import boto3, sys, time
q = boto3.client('sqs'); url = 'https://sqs.us-east-1.amazonaws.com/123456789012/to-delete'
try: q.delete_queue(QueueUrl=url)
except Exception as e: print(e.response['Error']['Code'], e.response['ResponseMetadata']['RetryAttempts'], e.response['Error']['Message'], flush=True)
sys.stdin.readline()
q.delete_queue(QueueUrl=url); print('deleted', flush=True)
try: q.delete_queue(QueueUrl=url); print('again', flush=True)
except Exception as e: print('asks again', flush=True)
",
    )
    .expect("script");
    let mut call = guard
        .run(stand)
        .arg(python_program("python"))
        .arg(&session)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("guard runs");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(call.stdout.take().expect("piped")));
    let mut next = || lines.next().expect("a line").expect("text");
    let first = next();
    assert!(first.starts_with("AccessDenied 0 "), "{first}");
    let approval = waiting_approval(&guard);
    let id = approval["id"].as_str().expect("an id");
    assert!(
        first.contains(&format!("guard approval approve {id}")),
        "{first}"
    );
    succeeded(
        &guard
            .command(&["approval", "approve", id])
            .output()
            .expect("runs"),
    );
    std::io::Write::write_all(&mut call.stdin.take().expect("piped"), b"go\n").expect("written");
    assert_eq!(next(), "deleted");
    assert_eq!(next(), "asks again");
    assert!(call.wait().expect("ends").success());
    let sent = stand.requests("DeleteQueue");
    assert_eq!(sent.len(), 1, "{sent:#?}");
}

#[test]
fn a_denied_approval_and_a_client_that_leaves_send_nothing() {
    if !is_root("a_denied_approval_and_a_client_that_leaves_send_nothing") {
        return;
    }
    let stand = Stand::shared();
    let guard = Guard::new(REVIEWED, "");
    let call = |key: &str, timeout: &str| {
        guard
            .run(stand)
            .arg(python_program("aws"))
            .args(["--cli-read-timeout", timeout, "s3api", "delete-object"])
            .args(["--bucket", "never-sent", "--key", key])
            .env("AWS_MAX_ATTEMPTS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("guard runs")
    };
    let denied = call("denied", "60");
    let approval = waiting_approval(&guard);
    let id = approval["id"].as_str().expect("an id");
    succeeded(
        &guard
            .command(&["approval", "deny", id, "--reason", "not this one"])
            .output()
            .expect("runs"),
    );
    let output = denied.wait_with_output().expect("ends");
    let error = text(&output.stderr);
    assert!(
        error.contains("AccessDenied") && error.contains("not this one"),
        "{error}"
    );

    let gone = call("gone", "2").wait_with_output().expect("ends");
    assert!(!gone.status.success());
    assert!(stand.requests("never-sent").is_empty());
}

#[test]
fn a_confined_process_cannot_approve_its_own_call() {
    if !is_root("a_confined_process_cannot_approve_its_own_call") {
        return;
    }
    let guard = Guard::new(REVIEWED, "");
    let mut command = guard.run(Stand::shared());
    // Even as root: the uid of the invoking user is root when nothing says otherwise.
    command
        .env_remove("SUDO_UID")
        .env_remove("SUDO_GID")
        .env_remove("SUDO_USER");
    let output = command
        .arg(binary())
        .arg("--runtime-dir")
        .arg(guard.directory().join("run"))
        .args(["approval", "list"])
        .output()
        .expect("guard runs");
    assert!(!output.status.success());
    let error = text(&output.stderr);
    assert!(error.contains("confined"), "{error}");
    assert!(
        guard
            .entries("refused")
            .iter()
            .any(|entry| entry["code"] == "control-socket"),
        "the attempt is on record"
    );
}

#[test]
fn secrets_are_masked_and_the_clients_still_parse_the_answers() {
    if !is_root("secrets_are_masked_and_the_clients_still_parse_the_answers") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare(
        "client('secretsmanager').create_secret(Name='masked', SecretString='hunter2-secret')\n\
         client('ssm').put_parameter(Name='masked', Value='hunter2-parameter', Type='SecureString')\n\
         client('iam').create_user(UserName='masked')\n\
         client('iam').create_role(RoleName='masked', AssumeRolePolicyDocument='{}')",
    );
    let guard = Guard::new(OPEN, "");
    let output = guard.python(
        stand,
        r"
import boto3
def c(n): return boto3.client(n)
def show(r, *path):
    retries = r['ResponseMetadata']['RetryAttempts']
    for step in path: r = r[step]
    print(repr(r), retries)
show(c('secretsmanager').get_secret_value(SecretId='masked'), 'SecretString')
show(c('ssm').get_parameter(Name='masked', WithDecryption=True), 'Parameter', 'Value')
show(c('ssm').get_parameters(Names=['masked'], WithDecryption=True), 'Parameters', 0, 'Value')
k = c('kms'); key = k.create_key()['KeyMetadata']['KeyId']
show(k.decrypt(CiphertextBlob=k.encrypt(KeyId=key, Plaintext=b'hunter2-kms')['CiphertextBlob']), 'Plaintext')
show(c('iam').create_access_key(UserName='masked'), 'AccessKey', 'SecretAccessKey')
r = c('sts').assume_role(RoleArn='arn:aws:iam::123456789012:role/masked', RoleSessionName='session')
show(r, 'Credentials', 'SecretAccessKey'); show(r, 'Credentials', 'SessionToken')
show(c('ec2').create_key_pair(KeyName='masked'), 'KeyMaterial')
",
    );
    let said = succeeded(&output);
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(said.lines().count(), 8, "{said}");
    for line in said.lines() {
        assert!(
            line.contains("masked-by-guard") && line.ends_with(" 0"),
            "{line}"
        );
    }
    let masked: Vec<String> = guard
        .entries("exchange_completed")
        .iter()
        .flat_map(|entry| entry["masked"].as_array().cloned().unwrap_or_default())
        .map(|path| path.to_string())
        .collect();
    assert!(
        masked.contains(&"\"SecretString\"".to_owned()),
        "{masked:?}"
    );
    assert!(
        masked
            .iter()
            .any(|path| path.contains("Credentials.SessionToken")),
        "{masked:?}"
    );
}

#[test]
fn the_javascript_sdk_works_and_is_denied_properly() {
    let name = "the_javascript_sdk_works_and_is_denied_properly";
    if !is_root(name) {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('secretsmanager').create_secret(Name='js', SecretString='hunter2')");
    let guard = Guard::new(
        r#"
default = "allow"
[[statement]]
sid = "no-tables"
effect = "deny"
action = "dynamodb:CreateTable"
"#,
        "",
    );
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

#[test]
fn only_allowed_names_are_reached_and_everything_else_is_refused_and_recorded() {
    if !is_root("only_allowed_names_are_reached_and_everything_else_is_refused_and_recorded") {
        return;
    }
    let stand = Stand::shared();
    let guard = Guard::new(OPEN, "");
    let script = format!(
        "curl -sS --max-time 20 --cacert {} https://allowed.example/\n\
         curl -sS --max-time 20 https://192.0.2.1/ ; echo direct $?\n\
         curl -sS --max-time 20 http://192.0.2.1/ ; echo plain $?\n\
         curl -sS --max-time 20 https://refused.example/ ; echo name $?\n\
         {} -c \"$1\"\n",
        stand.roots().display(),
        python_program("python").display()
    );
    let udp = r"
import socket
for family, address in ((socket.AF_INET, '192.0.2.1'), (socket.AF_INET6, '2001:db8::1')):
    try: socket.socket(family, socket.SOCK_DGRAM).sendto(b'x', (address, 4433)); print('udp sent')
    except OSError as e: print('udp', e.strerror)
";
    let output = guard
        .run(stand)
        .args(["bash", "-c", &script, "bash", udp])
        .output()
        .expect("guard runs");
    let said = text(&output.stdout);
    assert!(
        said.starts_with("hello\n"),
        "{said}\n{}",
        text(&output.stderr)
    );
    assert!(
        !said.contains("direct 0") && !said.contains("name 0"),
        "{said}"
    );
    assert_eq!(
        said.matches("udp Operation not permitted").count(),
        2,
        "{said}"
    );
    let refused = guard.entries("refused");
    assert!(
        refused.iter().any(|e| e["destination"] == "192.0.2.1:443"),
        "{refused:#?}"
    );
    assert!(refused.iter().any(|e| e["code"] == "udp"), "{refused:#?}");
    let questions = guard.entries("dns_question");
    let asked = |name: &str, allowed: bool| {
        questions
            .iter()
            .any(|e| e["name"] == name && e["allowed"] == allowed)
    };
    assert!(
        asked("allowed.example", true) && asked("refused.example", false),
        "{questions:#?}"
    );
    assert!(
        guard
            .entries("connection_passed")
            .iter()
            .any(|e| e["host"] == "allowed.example")
    );
}

#[test]
fn the_record_is_whole_and_holds_no_credential() {
    if !is_root("the_record_is_whole_and_holds_no_credential") {
        return;
    }
    let stand = Stand::shared();
    stand
        .prepare("client('secretsmanager').create_secret(Name='recorded', SecretString='hunter2')");
    let guard = Guard::new(OPEN, "");
    let output = guard.python(
        stand,
        "import boto3, os\n\
         boto3.client('secretsmanager').get_secret_value(SecretId='recorded')\n\
         print(os.environ['AWS_SECRET_ACCESS_KEY'])",
    );
    let dummy_secret = succeeded(&output);
    let verified = guard
        .command(&["journal", "verify"])
        .output()
        .expect("runs");
    succeeded(&verified);
    let state = Command::new("grep")
        .args([
            "-rlE",
            &format!("{REAL_SECRET}|hunter2|{}", dummy_secret.trim()),
        ])
        .arg(guard.directory().join("state"))
        .output()
        .expect("grep runs");
    assert_eq!(
        text(&state.stdout),
        "",
        "no file of the state directory holds a secret"
    );
    let decided = guard.entries("exchange_decided");
    assert_eq!(decided[0]["signing_key"], REAL_ACCESS_KEY_ID);
    let kinds: Vec<String> = guard
        .journal()
        .iter()
        .map(|e| e["type"].to_string())
        .collect();
    assert_eq!(
        kinds.first().map(String::as_str),
        Some("\"session_started\""),
        "{kinds:?}"
    );
    assert_eq!(
        kinds.last().map(String::as_str),
        Some("\"session_ended\""),
        "{kinds:?}"
    );

    // A changed record is found.
    let journal = guard.directory().join("state/journal");
    let file = std::fs::read_dir(&journal)
        .expect("journal directory")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .expect("a journal file");
    let record = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(
        &file,
        record.replacen("GetSecretValue", "GetSecretValve", 1),
    )
    .expect("written");
    let verified = guard
        .command(&["journal", "verify"])
        .output()
        .expect("runs");
    assert_eq!(
        verified.status.code(),
        Some(5),
        "{}",
        text(&verified.stdout)
    );
}

/// The capabilities of the systemd unit, in `setpriv`'s words.
fn capabilities_of_the_unit() -> String {
    let unit = workspace().join("guard-daemon/packaging/systemd/guard.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let set = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .expect("the unit bounds its capabilities");
    set.split(' ').fold("-all".to_owned(), |all, name| {
        let name = name.strip_prefix("CAP_").expect("a capability");
        format!("{all},+{}", name.to_lowercase())
    })
}

#[test]
fn the_daemon_works_with_the_capabilities_of_its_unit() {
    if !is_root("the_daemon_works_with_the_capabilities_of_its_unit") {
        return;
    }
    let guard = Guard::new(OPEN, "");
    let plain = guard.command(&["daemon"]);
    let mut daemon = Command::new("setpriv")
        .args([
            "--no-new-privs",
            "--bounding-set",
            &capabilities_of_the_unit(),
        ])
        .arg(plain.get_program())
        .args(plain.get_args())
        .stdin(Stdio::null())
        .spawn()
        .expect("setpriv starts the daemon");
    until_it_listens(&guard);
    let output = guard.aws(Stand::shared(), &["s3", "ls"]);
    succeeded(&output);
    terminate(&mut daemon);
}

fn until_it_listens(guard: &Guard) {
    let end = Instant::now() + Duration::from_secs(20);
    while !guard.directory().join("run/guard.sock").exists() {
        assert!(Instant::now() < end, "the daemon made no socket");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn terminate(daemon: &mut std::process::Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    assert!(daemon.wait().expect("ends").success());
}

#[test]
fn a_daemon_serves_several_sessions_at_once() {
    if !is_root("a_daemon_serves_several_sessions_at_once") {
        return;
    }
    let stand = Stand::shared();
    let guard = Guard::new(OPEN, "");
    let mut daemon = guard
        .command(&["daemon"])
        .spawn()
        .expect("the daemon starts");
    until_it_listens(&guard);
    let script = "import boto3, os, time\n\
        for _ in range(3): boto3.client('sts').get_caller_identity(); time.sleep(0.2)\n\
        print(os.environ['GUARD_SESSION'], os.environ['AWS_ACCESS_KEY_ID'])";
    let outputs: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| succeeded(&guard.python(stand, script))))
            .collect();
        runs.into_iter()
            .map(|run| run.join().expect("ran"))
            .collect()
    });
    let distinct: std::collections::BTreeSet<&String> = outputs.iter().collect();
    assert_eq!(
        distinct.len(),
        3,
        "each session has its own name and key: {outputs:?}"
    );
    terminate(&mut daemon);
    assert_eq!(guard.entries("session_started").len(), 3);
    assert_eq!(guard.entries("session_ended").len(), 3);
    succeeded(
        &guard
            .command(&["journal", "verify"])
            .output()
            .expect("runs"),
    );
}
