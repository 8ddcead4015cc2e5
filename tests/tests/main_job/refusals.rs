//! What is denied or refused: in the words of each SDK, with one attempt, and on record.

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::Stand;
use guard_tests::{is_root, python_program};

use crate::{OPEN, REVIEWED, text};

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
    assert_eq!(decided[0]["access"][0]["action"], "s3:DeleteBucket");
    assert_eq!(
        decided[0]["access"][0]["resources"][0],
        "arn:aws:s3:::kept-bucket"
    );
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
    let exchange = decided[0]["exchange"].as_str().expect("a name");
    let profile = guard.directory().join("profile.toml");
    let explained = guard
        .command(&["policy", "explain", "--exchange", exchange, "--profile"])
        .arg(profile)
        .output()
        .expect("guard runs");
    let said = succeeded(&explained);
    assert!(
        said.starts_with(&format!("recorded for {exchange}: deny: "))
            && !said.contains("is not what it was then")
            && said.contains("  + deny    no-bucket-deletion, profile profile: action matches"),
        "{said}"
    );
}

#[test]
fn observing_lets_calls_through_and_records_what_enforcing_would_do() {
    if !is_root("observing_lets_calls_through_and_records_what_enforcing_would_do") {
        return;
    }
    let stand = Stand::shared();
    let profile = "mode = \"observe\"\n[[statement]]\neffect = \"approve\"\naction = \"s3:ListAllMyBuckets\"\n";
    let guard = Guard::new(profile, "");
    let output = guard.python(
        stand,
        "import boto3\nboto3.client('s3').list_buckets()\nboto3.client('sqs').list_queues()\nprint('both')",
    );
    assert_eq!(succeeded(&output).trim(), "both");
    let decided = guard.entries("exchange_decided");
    let of = |at: usize| {
        (
            decided[at]["decision"].clone(),
            decided[at]["observed"].clone(),
        )
    };
    assert_eq!(of(0), ("allow".into(), "approve".into()));
    assert_eq!(of(1), ("allow".into(), "deny".into()));
}

/// Conditions on what requests, the principal and the session tell.
const CONDITIONS: &str = r#"
[[statement]]
sid = "own-prefix"
effect = "allow"
action = "s3:ListBucket"

[statement.condition]
StringLike = { "s3:prefix" = "${guard:User}/*" }
StringEquals = { "aws:RequestedRegion" = "us-east-1", "aws:PrincipalAccount" = "123456789012" }

[[statement]]
sid = "tagged"
effect = "allow"
action = ["sqs:CreateQueue", "sqs:TagQueue"]
condition = { StringEquals = { "aws:RequestTag/team" = "blue" }, "ForAllValues:StringEquals" = { "aws:TagKeys" = ["team"] } }
"#;

#[test]
fn conditions_are_decided_by_what_request_principal_and_session_tell() {
    if !is_root("conditions_are_decided_by_what_request_principal_and_session_tell") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare("client('s3').create_bucket(Bucket='conditions')");
    let guard = Guard::new(CONDITIONS, "");
    let output = guard.python(
        stand,
        r"
import boto3, botocore
def tried(name, call, **arguments):
    try: call(**arguments); print(name, 'ok')
    except botocore.exceptions.ClientError as e: print(name, e.response['Error']['Code'])
s3, sqs = boto3.client('s3'), boto3.client('sqs')
tried('own', s3.list_objects_v2, Bucket='conditions', Prefix='nobody/')
tried('other', s3.list_objects_v2, Bucket='conditions', Prefix='root/')
tried('all', s3.list_objects_v2, Bucket='conditions')
west = boto3.client('s3', region_name='us-west-2')
tried('region', west.list_objects_v2, Bucket='conditions', Prefix='nobody/')
tried('blue', sqs.create_queue, QueueName='b', tags={'team': 'blue'})
tried('red', sqs.create_queue, QueueName='r', tags={'team': 'red'})
tried('more', sqs.create_queue, QueueName='m', tags={'team': 'blue', 'owner': 'x'})
tried('none', sqs.create_queue, QueueName='n')
",
    );
    assert_eq!(
        succeeded(&output),
        "own ok\nother AccessDenied\nall AccessDenied\nregion AccessDenied\nblue ok\nred AccessDenied\n\
         more AccessDenied\nnone AccessDenied\n"
    );
    let decided = guard.entries("exchange_decided");
    let key = |name: &str| {
        let keys = decided[0]["keys"].as_array().expect("keys");
        let found = keys.iter().find(|it| it["key"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {keys:?}"))["values"].clone()
    };
    assert_eq!(key("s3:prefix"), serde_json::json!(["nobody/"]));
    assert_eq!(key("guard:user"), serde_json::json!(["nobody"]));
    assert_eq!(key("aws:requestedregion"), serde_json::json!(["us-east-1"]));
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
        guard.hand(&stand.roots()).display(),
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
