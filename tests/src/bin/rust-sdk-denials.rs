//! The AWS SDK for Rust meeting denials, for the tests to run confined: makes calls that the test's profile
//! refuses, and prints what each returns, one JSON object a line.
#![expect(clippy::print_stdout, reason = "its output is what the test reads")]

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let sts = aws_sdk_sts::Client::new(&config);
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let metrics = aws_sdk_cloudwatch::Client::new(&config);
    let s3 = aws_sdk_s3::Client::new(&config);
    let (bucket, key) = ("denied-bucket", "denied-key");
    let item = || AttributeValue::S("1".to_owned());

    say("sts GetSessionToken", sts.get_session_token().send().await);
    let get = dynamodb.get_item().table_name("denied").key("k", item());
    say("dynamodb GetItem", get.send().await);
    let get = secrets.get_secret_value().secret_id("denied");
    say("secretsmanager GetSecretValue", get.send().await);
    say(
        "cloudwatch ListMetrics",
        metrics.list_metrics().send().await,
    );
    let get = s3.get_object().bucket(bucket).key(key);
    say("s3 GetObject", get.send().await);
    let head = s3.head_object().bucket(bucket).key(key);
    say("s3 HeadObject", head.send().await);
    let body = ByteStream::from(vec![b'x'; 3_000_000]);
    let put = s3.put_object().bucket(bucket).key(key).body(body);
    say("s3 PutObject", put.send().await);

    let delete = dynamodb.delete_item().table_name("denied");
    let delete = delete.key("k", item()).send();
    let object = s3.delete_object().bucket(bucket).key(key).send();
    let role = "arn:aws:iam::123456789012:role/denied";
    let assume = sts.assume_role().role_arn(role).role_session_name("s");
    let (delete, object, assume) = tokio::join!(delete, object, assume.send());
    say("dynamodb DeleteItem", delete);
    say("s3 DeleteObject", object);
    say("sts AssumeRole", assume);
}

fn say<T, E: ProvideErrorMetadata>(call: &str, result: Result<T, SdkError<E>>) {
    let seen = match result {
        Ok(_) => serde_json::json!({ "call": call, "kind": "Ok" }),
        Err(SdkError::ServiceError(error)) => serde_json::json!({
            "call": call,
            "kind": "ServiceError",
            "code": error.err().code(),
            "told": error.err().message(),
            "status": error.raw().status().as_u16(),
            "reason": error.raw().headers().get("x-guard-reason"),
        }),
        Err(other) => serde_json::json!({ "call": call, "kind": other.to_string() }),
    };
    println!("{seen}");
}
