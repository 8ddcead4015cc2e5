//! The main job with real clients: confined calls are allowed, denied, approved, masked and recorded.

mod approvals;
mod clients;
mod daemon;
mod records;
mod refusals;

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
