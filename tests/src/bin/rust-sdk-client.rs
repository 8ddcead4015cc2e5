//! A client of the AWS SDK for Rust, for the tests to run confined: it puts a metric (RPC v2 CBOR), reads a
//! secret, and tries to delete it; one line each on standard output.
#![expect(clippy::print_stdout, reason = "its output is what the test reads")]

use aws_config::BehaviorVersion;
use aws_sdk_cloudwatch::types::MetricDatum;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args()
        .nth(1)
        .ok_or("usage: rust-sdk-client SECRET")?;
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;

    let metric = MetricDatum::builder()
        .metric_name("calls")
        .value(1.0)
        .build();
    let metrics = aws_sdk_cloudwatch::Client::new(&config);
    metrics
        .put_metric_data()
        .namespace("guard")
        .metric_data(metric)
        .send()
        .await?;
    println!("metric: put");

    let secrets = aws_sdk_secretsmanager::Client::new(&config);
    let value = secrets.get_secret_value().secret_id(&name).send().await?;
    println!("secret: {}", value.secret_string().unwrap_or("none"));

    match secrets.delete_secret().secret_id(&name).send().await {
        Ok(_) => println!("delete: allowed"),
        Err(error) => println!("delete: {:?} {:?}", error.code(), error.message()),
    }
    Ok(())
}
