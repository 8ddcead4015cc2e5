//! What a request does not tell, by name and reason. Reviewed: the test fails for any other, and for one listed
//! here that no longer occurs.

/// Services whose requests are the same on the wire, and the same to IAM.
pub(super) struct Group {
    pub(super) services: &'static [&'static str],
    /// The service in IAM's actions.
    pub(super) prefix: &'static str,
    pub(super) reason: &'static str,
}

pub(super) const GROUPS: &[Group] = &[
    Group {
        services: &["rds", "docdb", "neptune"],
        prefix: "rds",
        reason: "one API at one host with one version; DocumentDB and Neptune sign as rds",
    },
    Group {
        services: &["greengrass", "greengrassv2"],
        prefix: "greengrass",
        reason: "the second version of the API keeps operations of the first, at its host",
    },
    Group {
        services: &["lambda", "lambda-microvms"],
        prefix: "lambda",
        reason: "one path for the tags of all of Lambda's resources",
    },
    Group {
        services: &["pinpoint-sms-voice", "sms-voice"],
        prefix: "sms-voice",
        reason: "two models of one API at one host",
    },
    Group {
        services: &["qconnect", "wisdom"],
        prefix: "wisdom",
        reason: "Amazon Q in Connect is Wisdom by another name, at its host",
    },
    Group {
        services: &["signer", "signer-data"],
        prefix: "signer",
        reason: "the operation is in both models, with the same path",
    },
    Group {
        services: &["timestream-query", "timestream-write"],
        prefix: "timestream",
        reason: "one target prefix, and cells serve both",
    },
];

/// What comes of a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Outcome {
    /// The operation, and no other.
    Exact,
    /// Several of a `Group`.
    Ambiguous,
    /// The operation by its newer name.
    OldName,
    /// Another operation.
    Wrong,
    /// None.
    Unknown,
    /// An error.
    Refused,
    /// botocore cannot make it.
    Impossible,
}

/// An operation that is not exact, and why that is right.
pub(super) struct Exception {
    pub(super) service: &'static str,
    /// `*` for each.
    pub(super) operation: &'static str,
    pub(super) outcome: Outcome,
    pub(super) reason: &'static str,
}

pub(super) const EXCEPTIONS: &[Exception] = &[Exception {
    service: "apigatewaymanagementapi",
    operation: "*",
    outcome: Outcome::Refused,
    reason: "its host, execute-api, is the customers' own APIs'",
}];

/// Deprecated operations of S3, and those that the same requests are known by: bucket policies and the record
/// have one name for one call.
pub(super) const OLD_NAMES: &[(&str, &str)] = &[
    ("GetBucketLifecycle", "GetBucketLifecycleConfiguration"),
    (
        "GetBucketNotification",
        "GetBucketNotificationConfiguration",
    ),
    ("PutBucketLifecycle", "PutBucketLifecycleConfiguration"),
    (
        "PutBucketNotification",
        "PutBucketNotificationConfiguration",
    ),
];
