//! The AWS SDK for Rust: query, JSON, CBOR and S3.

use guard_tests::guard::succeeded;
use guard_tests::installation::binary;
use guard_tests::is_root;
use guard_tests::stand::Stand;

use crate::{attempts, guard, said, tells_the_approval, tells_the_statement};

/// Each call and the error's code.
const DENIED: [(&str, Option<&str>); 7] = [
    ("sts GetSessionToken", Some("AccessDenied")),
    ("dynamodb GetItem", Some("AccessDeniedException")),
    (
        "secretsmanager GetSecretValue",
        Some("AccessDeniedException"),
    ),
    ("cloudwatch ListMetrics", Some("AccessDenied")),
    ("s3 GetObject", Some("AccessDenied")),
    // The answer to a HEAD has no body to tell it.
    ("s3 HeadObject", None),
    ("s3 PutObject", Some("AccessDenied")),
];

const PENDING: [(&str, Option<&str>); 3] = [
    ("dynamodb DeleteItem", Some("AccessDeniedException")),
    ("s3 DeleteObject", Some("AccessDenied")),
    ("sts AssumeRole", Some("AccessDenied")),
];

#[test]
fn rust_is_denied_once_in_each_services_words() {
    if !is_root("rust_is_denied_once_in_each_services_words") {
        return;
    }
    let guard = guard();
    // `cargo build --workspace --bins` made it.
    let client = guard.hand(&binary().with_file_name("rust-sdk-denials"));
    let output = guard
        .run(Stand::shared())
        .arg(client)
        .output()
        .expect("guard runs");
    let seen = said(&succeeded(&output));
    let attempts = attempts(&guard);
    assert_eq!(seen.len(), DENIED.len() + PENDING.len(), "{seen:#?}");
    for (calls, tells) in [
        (&DENIED[..], tells_the_statement as fn(&str) -> bool),
        (&PENDING[..], tells_the_approval),
    ] {
        for (call, code) in calls {
            let seen = &seen[*call];
            assert_eq!(seen["kind"], "ServiceError", "{seen:#}");
            assert_eq!(seen["code"].as_str(), *code, "{seen:#}");
            assert!(
                tells(seen["reason"].as_str().unwrap_or_default()),
                "{seen:#}"
            );
            let told = seen["told"].as_str().unwrap_or_default();
            assert!(code.is_none() || tells(told), "{seen:#}");
            let operation = call.split(' ').next_back().unwrap_or_default();
            assert_eq!(attempts[operation], 1, "{call}");
        }
    }
}
