//! The operations that mint credentials: those whose output in botocore's models has a structure of an access key
//! id, a secret and a session token. A test compares the table with the models.

/// Where an operation's output has the credentials it mints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Minting {
    service: &'static str,
    operation: &'static str,
    path: &'static str,
}

/// Service, operation, and the path of the structure: members joined by `.`, a list's with `[]`; empty for the
/// output itself.
const MINTING: [(&str, &str, &str); 35] = [
    (
        "account-access-runtime",
        "GetRoleCredentials",
        "credentialsDetails.programmaticAccess",
    ),
    (
        "cloudwatchomni",
        "GetSpaceCredentialsForOrganization",
        "credentials",
    ),
    ("cloudwatchomni", "GetSpaceDataAccess", "credentials"),
    (
        "codepipeline",
        "GetJobDetails",
        "jobDetails.data.artifactCredentials",
    ),
    (
        "codepipeline",
        "GetThirdPartyJobDetails",
        "jobDetails.data.artifactCredentials",
    ),
    (
        "codepipeline",
        "PollForJobs",
        "jobs[].data.artifactCredentials",
    ),
    (
        "cognito-identity",
        "GetCredentialsForIdentity",
        "Credentials",
    ),
    ("datazone", "GetConnection", "connectionCredentials"),
    ("datazone", "GetEnvironmentCredentials", ""),
    ("deadline", "AssumeFleetRoleForRead", "credentials"),
    ("deadline", "AssumeFleetRoleForWorker", "credentials"),
    ("deadline", "AssumeQueueRoleForRead", "credentials"),
    ("deadline", "AssumeQueueRoleForUser", "credentials"),
    ("deadline", "AssumeQueueRoleForWorker", "credentials"),
    ("eks-auth", "AssumeRoleForPodIdentity", "credentials"),
    ("gamelift", "CreateBuild", "UploadCredentials"),
    ("gamelift", "GetComputeAccess", "Credentials"),
    ("gamelift", "RequestUploadCredentials", "UploadCredentials"),
    ("lakeformation", "AssumeDecoratedRoleWithSAML", ""),
    (
        "lakeformation",
        "GetTemporaryDataLocationCredentials",
        "Credentials",
    ),
    ("lakeformation", "GetTemporaryGlueFunctionCredentials", ""),
    ("lakeformation", "GetTemporaryGluePartitionCredentials", ""),
    ("lakeformation", "GetTemporaryGlueTableCredentials", ""),
    ("s3", "CreateSession", "Credentials"),
    ("s3control", "GetDataAccess", "Credentials"),
    ("signin", "CreateOAuth2Token", "tokenOutput.accessToken"),
    ("ssm", "GetAccessToken", "Credentials"),
    ("sso", "GetRoleCredentials", "roleCredentials"),
    ("sts", "AssumeRole", "Credentials"),
    ("sts", "AssumeRoleWithSAML", "Credentials"),
    ("sts", "AssumeRoleWithWebIdentity", "Credentials"),
    ("sts", "AssumeRoot", "Credentials"),
    ("sts", "GetDelegatedAccessToken", "Credentials"),
    ("sts", "GetFederationToken", "Credentials"),
    ("sts", "GetSessionToken", "Credentials"),
];

/// Whether an operation mints credentials, by botocore's names.
pub fn minting(service: &str, operation: &str) -> Option<Minting> {
    let at = MINTING
        .binary_search_by(|known| (known.0, known.1).cmp(&(service, operation)))
        .ok()?;
    let (service, operation, path) = MINTING[at];
    Some(Minting {
        service,
        operation,
        path,
    })
}

impl Minting {
    /// The operation.
    pub fn operation(self) -> &'static str {
        self.operation
    }

    /// The path of the structure.
    pub fn path(self) -> &'static str {
        self.path
    }

    /// The steps of the path, and whether each is a list.
    pub(super) fn steps(self) -> impl Iterator<Item = (&'static str, bool)> {
        let some = self.path.split('.').filter(|step| !step.is_empty());
        some.map(|step| {
            step.strip_suffix("[]")
                .map_or((step, false), |name| (name, true))
        })
    }

    /// S3 Express: requests that the credentials sign carry their token under a name of its own.
    pub fn is_express(self) -> bool {
        self.service == "s3" && self.operation == "CreateSession"
    }

    /// The credentials are another's than the caller's.
    pub fn changes_principal(self) -> bool {
        !matches!(
            (self.service, self.operation),
            ("sts", "GetSessionToken") | ("s3", "CreateSession")
        )
    }

    /// Whether a mask leaves a member alone, since a dummy stands there: by its path.
    pub fn spares(self, path: &str) -> bool {
        let within = path.strip_prefix(self.path);
        let plain = self.path.is_empty()
            || within.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !plain {
            return false;
        }
        let member = within.unwrap_or(path).trim_start_matches('.');
        member.is_empty()
            || [
                "AccessKeyId",
                "SecretAccessKey",
                "SecretKey",
                "SessionToken",
            ]
            .iter()
            .any(|known| member.eq_ignore_ascii_case(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(MINTING.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
        assert!(minting("sts", "AssumeRole").is_some());
        assert!(minting("sts", "GetCallerIdentity").is_none());
    }

    #[test]
    fn only_what_a_dummy_took_is_spared() {
        let sts = minting("sts", "AssumeRole").unwrap();
        assert!(sts.spares("Credentials") && sts.spares("Credentials.SecretAccessKey"));
        for other in [
            "CredentialsX",
            "Credentials.Other",
            "Other.SecretAccessKey",
            "",
        ] {
            assert!(!sts.spares(other), "{other}");
        }
        let root = minting("datazone", "GetEnvironmentCredentials").unwrap();
        assert!(root.spares("secretAccessKey") && !root.spares("other"));
        let list = minting("codepipeline", "PollForJobs").unwrap();
        assert!(list.spares("jobs[].data.artifactCredentials.sessionToken"));
    }
}
