//! Which operations mint temporary credentials, and where in their answers these are.
//!
//! Reviewed against botocore 1.44.5. A test walks the catalog: an output with the members of a key set that is
//! neither here nor among those that mint none fails it.

use super::{Mints, Node, Part, Unit, Whose};

use Node::{Elements, Leaf, Members, Set};
use Part::{AccessKeyId, Arn, Expiration, SecretAccessKey, SessionToken, UserId};

/// As most services write it.
const UPPER: Node = Set(&[
    ("AccessKeyId", AccessKeyId),
    ("SecretAccessKey", SecretAccessKey),
    ("SessionToken", SessionToken),
    ("Expiration", Expiration(Unit::Seconds)),
]);
const LOWER: Node = Set(&[
    ("accessKeyId", AccessKeyId),
    ("secretAccessKey", SecretAccessKey),
    ("sessionToken", SessionToken),
    ("expiration", Expiration(Unit::Seconds)),
]);

const CREDENTIALS: Node = Members(&[("Credentials", UPPER)]);
const CREDENTIALS_LOWER: Node = Members(&[("credentials", LOWER)]);
const ARTIFACTS: Node = Members(&[("data", Members(&[("artifactCredentials", LOWER)]))]);
const JOB: Node = Members(&[("jobDetails", ARTIFACTS)]);
const UPLOAD: Node = Members(&[("UploadCredentials", UPPER)]);
const ASSUMED_ROLE: Node = Members(&[
    ("Credentials", UPPER),
    (
        "AssumedRoleUser",
        Members(&[("Arn", Leaf(Arn)), ("AssumedRoleId", Leaf(UserId))]),
    ),
]);

/// An operation whose successful answer always has credentials.
const fn always(service: &'static str, operation: &'static str, answer: Node) -> Mints {
    Mints {
        service,
        operation,
        answer,
        always: true,
        whose: Whose::Told,
    }
}

/// An operation whose answer has them in some cases.
const fn sometimes(service: &'static str, operation: &'static str, answer: Node) -> Mints {
    Mints {
        always: false,
        ..always(service, operation, answer)
    }
}

/// An operation whose credentials are those of its caller.
const fn own(service: &'static str, operation: &'static str, answer: Node) -> Mints {
    Mints {
        whose: Whose::Caller,
        ..always(service, operation, answer)
    }
}

/// All of them.
pub(super) const TABLE: &[Mints] = &[
    always("sts", "AssumeRole", ASSUMED_ROLE),
    always("sts", "AssumeRoleWithSAML", ASSUMED_ROLE),
    always("sts", "AssumeRoleWithWebIdentity", ASSUMED_ROLE),
    always("sts", "AssumeRoot", CREDENTIALS),
    always(
        "sts",
        "GetDelegatedAccessToken",
        Members(&[("Credentials", UPPER), ("AssumedPrincipal", Leaf(Arn))]),
    ),
    always(
        "sts",
        "GetFederationToken",
        Members(&[
            ("Credentials", UPPER),
            (
                "FederatedUser",
                Members(&[("Arn", Leaf(Arn)), ("FederatedUserId", Leaf(UserId))]),
            ),
        ]),
    ),
    own("sts", "GetSessionToken", CREDENTIALS),
    own("s3", "CreateSession", CREDENTIALS),
    always("s3control", "GetDataAccess", CREDENTIALS),
    always(
        "sso",
        "GetRoleCredentials",
        Members(&[(
            "roleCredentials",
            Set(&[
                ("accessKeyId", AccessKeyId),
                ("secretAccessKey", SecretAccessKey),
                ("sessionToken", SessionToken),
                ("expiration", Expiration(Unit::Milliseconds)),
            ]),
        )]),
    ),
    always(
        "signin",
        "CreateOAuth2Token",
        Members(&[("accessToken", LOWER)]),
    ),
    always(
        "cognito-identity",
        "GetCredentialsForIdentity",
        Members(&[(
            "Credentials",
            Set(&[
                ("AccessKeyId", AccessKeyId),
                ("SecretKey", SecretAccessKey),
                ("SessionToken", SessionToken),
                ("Expiration", Expiration(Unit::Seconds)),
            ]),
        )]),
    ),
    always(
        "eks-auth",
        "AssumeRoleForPodIdentity",
        Members(&[
            ("credentials", LOWER),
            (
                "assumedRoleUser",
                Members(&[("arn", Leaf(Arn)), ("assumeRoleId", Leaf(UserId))]),
            ),
        ]),
    ),
    always("lakeformation", "AssumeDecoratedRoleWithSAML", UPPER),
    always(
        "lakeformation",
        "GetTemporaryDataLocationCredentials",
        CREDENTIALS,
    ),
    always(
        "lakeformation",
        "GetTemporaryGlueFunctionCredentials",
        UPPER,
    ),
    always(
        "lakeformation",
        "GetTemporaryGluePartitionCredentials",
        UPPER,
    ),
    always("lakeformation", "GetTemporaryGlueTableCredentials", UPPER),
    // Not before the request for access is approved.
    sometimes(
        "ssm",
        "GetAccessToken",
        Members(&[(
            "Credentials",
            Set(&[
                ("AccessKeyId", AccessKeyId),
                ("SecretAccessKey", SecretAccessKey),
                ("SessionToken", SessionToken),
                ("ExpirationTime", Expiration(Unit::Seconds)),
            ]),
        )]),
    ),
    always("deadline", "AssumeFleetRoleForRead", CREDENTIALS_LOWER),
    always("deadline", "AssumeFleetRoleForWorker", CREDENTIALS_LOWER),
    always("deadline", "AssumeQueueRoleForRead", CREDENTIALS_LOWER),
    always("deadline", "AssumeQueueRoleForUser", CREDENTIALS_LOWER),
    // Not for a queue without a role.
    sometimes("deadline", "AssumeQueueRoleForWorker", CREDENTIALS_LOWER),
    always("datazone", "GetEnvironmentCredentials", LOWER),
    // Where the secrets of an IAM connection are asked for.
    sometimes(
        "datazone",
        "GetConnection",
        Members(&[("connectionCredentials", LOWER)]),
    ),
    // Where there is a job, with artifacts.
    sometimes("codepipeline", "GetJobDetails", JOB),
    sometimes("codepipeline", "GetThirdPartyJobDetails", JOB),
    sometimes(
        "codepipeline",
        "PollForJobs",
        Members(&[("jobs", Elements(&ARTIFACTS))]),
    ),
    // Where the build is not in the caller's own bucket.
    sometimes("gamelift", "CreateBuild", UPLOAD),
    sometimes("gamelift", "RequestUploadCredentials", UPLOAD),
    // Not for a container, which has credentials of its own.
    sometimes("gamelift", "GetComputeAccess", CREDENTIALS),
    sometimes(
        "account-access-runtime",
        "GetRoleCredentials",
        Members(&[(
            "credentialsDetails",
            Members(&[(
                "programmaticAccess",
                Set(&[
                    ("accessKeyId", AccessKeyId),
                    ("secretAccessKey", SecretAccessKey),
                    ("sessionToken", SessionToken),
                    ("expiresAt", Expiration(Unit::Seconds)),
                ]),
            )]),
        )]),
    ),
    always(
        "cloudwatchomni",
        "GetSpaceCredentialsForOrganization",
        CREDENTIALS_LOWER,
    ),
    always("cloudwatchomni", "GetSpaceDataAccess", CREDENTIALS_LOWER),
];
