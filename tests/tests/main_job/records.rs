//! What answers and the journal show, and what they never show.

use std::process::Command;

use guard_tests::guard::{Guard, succeeded};
use guard_tests::is_root;
use guard_tests::stand::{REAL_ACCESS_KEY_ID, REAL_SECRET, Stand};

use crate::{OPEN, text};

#[test]
fn secrets_are_masked_and_the_clients_still_parse_the_answers() {
    if !is_root("secrets_are_masked_and_the_clients_still_parse_the_answers") {
        return;
    }
    let stand = Stand::shared();
    stand.prepare(
        "client('secretsmanager').create_secret(Name='masked', SecretString='hunter2-secret')\n\
         client('ssm').put_parameter(Name='masked', Value='hunter2-parameter', Type='SecureString')\n\
         client('iam').create_user(UserName='masked')",
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
show(c('ec2').create_key_pair(KeyName='masked'), 'KeyMaterial')
",
    );
    let said = succeeded(&output);
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(said.lines().count(), 6, "{said}");
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
            .any(|path| path.contains("AccessKey.SecretAccessKey")),
        "{masked:?}"
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
    let own = guard.entries("own_call");
    assert_eq!(
        own.len(),
        1,
        "guard's own call is on record, once: {own:#?}"
    );
    assert_eq!(own[0]["operation"], "GetCallerIdentity");
    assert_eq!(own[0]["signing_key"], REAL_ACCESS_KEY_ID);
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
