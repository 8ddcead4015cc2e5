//! Errors of AWS that repeat what a request was signed with.

use guard_tests::guard::{Guard, succeeded};
use guard_tests::stand::{REAL_ACCESS_KEY_ID, Stand};
use serde_json::{Value, json};

use super::session::{ALL, ASSUME, ROLES};

/// Says, of each call, what came over the wire, and what boto3 makes of it.
const CALLS: &str = "\
session, answer = assume('first', 'echo')\n\
config = Config(retries={'total_max_attempts': 1}, s3={'addressing_style': 'path'})\n\
def call(service, operation, **arguments):\n\
\tclient = session.client(service, config=config)\n\
\traw = []\n\
\tclient.meta.events.register('response-received', lambda response_dict, **_: raw.append(response_dict))\n\
\ttry:\n\t\tgetattr(client, operation)(**arguments)\n\
\texcept Exception as error:\n\
\t\ttold = dict(raw[0]['headers'])\n\
\t\tprint(json.dumps([raw[0]['status_code'], told, raw[0]['body'].decode('latin-1'), str(error)]))\n\
print(json.dumps([answer['Credentials']['AccessKeyId'], answer['Credentials']['SessionToken']]))\n";

#[test]
fn no_real_credentials_come_back_in_errors() {
    let stand = Stand::shared();
    stand.prepare(ROLES);
    let guard = Guard::new(ALL, "");
    let key = "echo-of-the-request";
    let script = format!(
        "{ASSUME}{CALLS}\
         call('s3', 'get_object', Bucket='minted', Key='{key}')\n\
         call('s3', 'head_object', Bucket='minted', Key='{key}')\n\
         call('dynamodb', 'describe_table', TableName='{key}')\n\
         call('cloudwatch', 'put_metric_data', Namespace='{key}', MetricData=[{{'MetricName': 'm', 'Value': 1}}])\n\
         call('s3', 'get_object', Bucket='minted', Key='{key}-large')\n\
         call('s3', 'get_object', Bucket='minted', Key='{key}-compressed')\n\
         session = boto3.Session()\n\
         call('dynamodb', 'describe_table', TableName='{key}')\n"
    );
    let said = succeeded(&guard.python(stand, &script));
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let [keys, get, head, json, cbor, large, compressed, own] = lines.as_slice() else {
        panic!("{said}");
    };
    let (dummy_key, dummy_token) = (
        keys[0].as_str().expect("a key"),
        keys[1].as_str().expect("a token"),
    );

    // Neither plain nor hexadecimal; the script prints JSON, within which the stand-in escapes.
    let real_key = &guard.entries("credentials_minted")[0]["real_key"];
    let mut secrets = stand.minted_secrets();
    secrets.extend([
        real_key.as_str().expect("a key").to_owned(),
        REAL_ACCESS_KEY_ID.to_owned(),
    ]);
    let plain = said
        .replace("\\\\u002b", "+")
        .replace("&#x2B;", "+")
        .replace("&#61;", "=")
        .replace("%3D", "=")
        .replace("\\\\/", "/")
        .replace("%2F", "/")
        .replace("%2B", "+");
    for secret in &secrets {
        let bytes: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for spelt in [secret.clone(), bytes.join(" ")] {
            assert!(!plain.contains(&spelt), "{spelt}\n{said}");
        }
    }

    let text = |line: &Value, at: usize| line[at].as_str().expect("text").to_owned();
    assert_eq!(get[0], 403);
    assert!(text(get, 3).contains("SignatureDoesNotMatch"), "{get}");
    for part in [
        format!("<AWSAccessKeyId>{dummy_key}</AWSAccessKeyId>"),
        format!("x-amz-security-token:{dummy_token}"),
        format!("<Token-0>{dummy_token}</Token-0>"),
        "<SignatureProvided>masked-by-guard</SignatureProvided>".to_owned(),
    ] {
        assert!(text(get, 2).contains(&part), "{part}: {get}");
    }
    assert_eq!(head[0], 403);
    assert!(head[1].to_string().contains(dummy_token), "{head}");
    // botocore checks the sum that goes with it, and reads CBOR by its lengths.
    assert!(text(json, 3).contains(dummy_token), "{json}");
    assert!(text(cbor, 3).contains("x-amz-security-token:"), "{cbor}");
    for withheld in [large, compressed] {
        assert!(text(withheld, 3).contains("withheld"), "{withheld}");
    }
    assert!(text(own, 3).contains("masked-by-guard"), "{own}");

    let completed = guard.entries("exchange_completed");
    let masked: Vec<&Value> = completed
        .iter()
        .filter(|entry| entry["status"] == 403)
        .map(|entry| &entry["masked"])
        .collect();
    let header = ["access key id", "session token", "signature"]
        .map(|what| format!("header x-amzn-errormessage: {what}"));
    let in_body = ["access key id", "signature", "session token"].map(|it| format!("error: {it}"));
    assert_eq!(masked.len(), 7);
    let first = masked[0].as_array().expect("paths");
    for path in header.iter().chain(&in_body) {
        assert!(first.contains(&json!(path)), "{path}: {first:?}");
    }
}
