//! The AWS SDK for JavaScript v3.

use guard_tests::guard::succeeded;
use guard_tests::stand::Stand;
use guard_tests::{environment, fixture, is_root};

use crate::{attempts, guard, said, tells_the_approval, tells_the_statement};

/// Each call, its API operation, and the error's name.
const DENIED: [(&str, &str, &str); 13] = [
    ("sts GetSessionToken", "GetSessionToken", "AccessDenied"),
    (
        "ec2 DescribeInstances",
        "DescribeInstances",
        "UnauthorizedOperation",
    ),
    ("dynamodb GetItem", "GetItem", "AccessDeniedException"),
    (
        "secrets-manager GetSecretValue",
        "GetSecretValue",
        "AccessDeniedException",
    ),
    ("lambda Invoke", "Invoke", "AccessDeniedException"),
    ("s3 GetObject", "GetObject", "AccessDenied"),
    ("s3 HeadObject", "HeadObject", "403"),
    ("s3 PutObject", "PutObject", "AccessDenied"),
    ("s3 UploadPart", "UploadPart", "AccessDenied"),
    (
        "route-53 ListHostedZones",
        "ListHostedZones",
        "AccessDenied",
    ),
    (
        "cloudfront ListDistributions",
        "ListDistributions",
        "AccessDenied",
    ),
    ("cloudwatch ListMetrics", "ListMetrics", "AccessDenied"),
    ("sqs SendMessage", "SendMessage", "AccessDenied"),
];

const PENDING: [(&str, &str, &str); 5] = [
    ("sts AssumeRole", "AssumeRole", "AccessDenied"),
    ("dynamodb DeleteItem", "DeleteItem", "AccessDeniedException"),
    (
        "lambda DeleteFunction",
        "DeleteFunction",
        "AccessDeniedException",
    ),
    ("s3 DeleteObject", "DeleteObject", "AccessDenied"),
    ("sqs PurgeQueue", "PurgeQueue", "AccessDenied"),
];

#[test]
fn javascript_is_denied_once_in_each_services_words() {
    if !is_root("javascript_is_denied_once_in_each_services_words") {
        return;
    }
    let guard = guard();
    let output = guard
        .run(Stand::shared())
        .arg("node")
        .arg(guard.hand(&fixture("clients/denials.mjs")))
        .arg(environment().join("node"))
        .output()
        .expect("guard runs");
    let seen = said(&succeeded(&output));
    let attempts = attempts(&guard);
    assert_eq!(seen.len(), DENIED.len() + PENDING.len(), "{seen:#?}");
    for (calls, tells) in [
        (&DENIED[..], tells_the_statement as fn(&str) -> bool),
        (&PENDING[..], tells_the_approval),
    ] {
        for (call, operation, name) in calls {
            let seen = &seen[*call];
            assert_eq!(seen["name"], *name, "{seen:#}");
            assert_eq!(
                seen["service"], true,
                "the service's own exception: {seen:#}"
            );
            assert_eq!(seen["fault"], "client", "{seen:#}");
            // A stream that was begun is never sent again, and the SDK does not count.
            let counted = &seen["attempts"];
            assert!(counted.is_null() || *counted == 1, "{seen:#}");
            assert_eq!(attempts[*operation], 1, "{call}");
            assert!(
                tells(seen["reason"].as_str().unwrap_or_default()),
                "{seen:#}"
            );
            let head = *name == "403";
            assert!(
                head || tells(seen["told"].as_str().unwrap_or_default()),
                "{seen:#}"
            );
        }
    }
    // The one service of these that models its denial.
    assert_eq!(
        seen["cloudfront ListDistributions"]["class"],
        "AccessDenied"
    );
}
