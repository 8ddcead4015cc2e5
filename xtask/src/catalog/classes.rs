//! Why a member is worth masking: the models' `sensitive` trait sorted into classes by name, plus the
//! reviewed list of what the models do not mark.

use std::collections::BTreeSet;

use anyhow::ensure;

use super::unmarked::Unmarked;

/// As `mask::Class`, in the artifact's numbers; 0 is none.
pub(crate) const CREDENTIAL: u32 = 1;
/// What a customer stored or computed.
pub(crate) const CONTENT: u32 = 2;
/// Personal data.
pub(crate) const PII: u32 = 3;

/// The classes of members, and which entries of the reviewed list were of use.
#[derive(Default)]
pub(crate) struct Classes {
    used: BTreeSet<usize>,
    unmarked: Unmarked,
}

impl Classes {
    /// The class of a member of `owner`, 0 where it has none.
    pub(crate) fn of(
        &mut self,
        service: &str,
        owner: &str,
        member: &str,
        target: &Target<'_>,
    ) -> u32 {
        let listed = REVIEWED.iter().position(|&(of, shape, name, _)| {
            of == service && name == member && (shape == "*" || shape == owner)
        });
        if let Some(place) = listed {
            self.used.insert(place);
            return REVIEWED[place].3;
        }
        if target.sensitive {
            return by_name(member, target);
        }
        if target.kind == "string" {
            self.unmarked.see(service, owner, member);
        }
        0
    }

    /// Fails if the models no longer have what an entry of the reviewed list names, or have what is called like a
    /// secret and has no class.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        for (place, entry) in REVIEWED.iter().enumerate() {
            ensure!(
                self.used.contains(&place),
                "no output has {entry:?}: correct the reviewed list"
            );
        }
        self.unmarked.finish()
    }
}

/// The shape a member refers to.
pub(crate) struct Target<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its type.
    pub(crate) kind: &'a str,
    /// The trait.
    pub(crate) sensitive: bool,
}

/// Credential unless the name says otherwise: a name we do not know must not leak.
fn by_name(member: &str, target: &Target<'_>) -> u32 {
    let original = member;
    let member = member.to_ascii_lowercase();
    let shape = target.name.to_ascii_lowercase();
    let either = |words: &[&str]| {
        words
            .iter()
            .any(|it| member.contains(it) || shape.contains(it))
    };
    let describes = NAMES.iter().any(|it| member.ends_with(it)) && !shape.contains("secretstring");
    let plain = matches!(
        target.kind,
        "integer" | "long" | "double" | "float" | "boolean" | "timestamp"
    );
    let harmless = NOT_SECRET.iter().any(|it| member.contains(it));
    if !plain && !harmless && !describes && either(SECRET) {
        return CREDENTIAL;
    }
    if either(PERSONAL) {
        return PII;
    }
    let stored = words(original)
        .chain(words(target.name))
        .any(|it| STORED.contains(&it.as_str()));
    if plain || harmless || stored {
        CONTENT
    } else {
        CREDENTIAL
    }
}

/// The words of a camel-case name, lower case.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = 'A';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !before.is_ascii_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(letter.to_ascii_lowercase());
        }
        before = letter;
    }
    words.into_iter()
}

/// Members that say something about a secret rather than being one.
const NAMES: &[&str] = &["name", "description", "id", "title", "type", "status"];

/// Blanking these breaks callers and hides nothing: they stay out of the journal only.
const NOT_SECRET: &[&str] = &[
    "nexttoken",
    "ssekms",
    "clientid",
    "tag",
    "arn",
    "keyid",
    "accesskeyid",
    "expir",
    "keytype",
];

const SECRET: &[&str] = &[
    "password",
    "passphrase",
    "passcode",
    "passwd",
    "secret",
    "token",
    "credential",
    "privatekey",
    "plaintext",
    "apikey",
    "accesskey",
    "keymaterial",
    "sharedkey",
    "streamkey",
    "mackey",
    "unlock",
    "presigned",
    "embedurl",
    "embeddingurl",
    "streamurl",
    "streamingurl",
    "authorizationurl",
    "authorizationcode",
    "environment",
    "envvar",
    "userdata",
    "sessiontype",
    "cookie",
    "psparametervalue",
    "base32",
    "qrcode",
    "bootstrapdatum",
    "activationcode",
    "oauth",
    "basicauth",
    "authcode",
    "vpnconnectiondevice",
    "customergatewayconfiguration",
    "claimcertificate",
    "pinblock",
    "joininfo",
];

const PERSONAL: &[&str] = &[
    "email",
    "phone",
    "e164",
    "address",
    "firstname",
    "lastname",
    "givenname",
    "surname",
    "middlename",
    "fullname",
    "displayname",
    "username",
    "nickname",
    "callingname",
    "legalname",
    "contact",
    "birth",
    "gender",
    "postal",
    "city",
    "country",
    "state",
    "street",
    "position",
    "location",
    "geofence",
    "latitude",
    "longitude",
    "principalname",
    "distinguishedname",
    "approver",
    "author",
    "createdby",
    "updatedby",
    "modifiedby",
    "owner",
    "sensitivestringtype",
    "player",
    "speaker",
    "jobtitle",
    "company",
    "accountname",
    "accountid",
    "ipaddress",
    "customerid",
    "userid",
    "person",
    "phi",
    "pii",
];

const STORED: &[&str] = &[
    "description",
    "descriptor",
    "name",
    "text",
    "message",
    "prompt",
    "title",
    "comment",
    "comments",
    "type",
    "status",
    "reason",
    "expression",
    "query",
    "schema",
    "content",
    "contents",
    "body",
    "input",
    "inputs",
    "output",
    "payload",
    "instruction",
    "instructions",
    "metadata",
    "criteria",
    "definition",
    "statement",
    "url",
    "uri",
    "time",
    "document",
    "template",
    "config",
    "configuration",
    "parameters",
    "parameter",
    "attribute",
    "attributes",
    "filter",
    "filters",
    "field",
    "fields",
    "sql",
    "pattern",
    "result",
    "results",
    "list",
    "action",
    "note",
    "notes",
    "answer",
    "question",
    "summary",
    "label",
    "category",
    "spec",
    "path",
    "command",
    "argument",
    "cause",
    "error",
    "errors",
    "model",
    "policy",
    "rule",
    "view",
    "completion",
    "channel",
    "topic",
    "constant",
    "prefix",
    "suffix",
    "format",
    "trace",
    "reasoning",
    "chunk",
    "duration",
    "direction",
    "intensity",
    "polyline",
    "color",
    "engine",
    "brand",
    "platform",
    "place",
    "box",
    "bytes",
    "image",
    "audio",
    "video",
    "guard",
    "variant",
    "variants",
    "entity",
    "claim",
    "schedule",
    "recommendations",
    "context",
    "contexts",
    "slots",
    "event",
    "target",
    "tool",
    "memory",
    "turn",
    "feedback",
    "layout",
    "statistic",
    "conditions",
    "display",
    "sound",
    "term",
    "report",
    "framework",
    "scope",
    "roles",
    "testing",
    "number",
    "serial",
    "classification",
    "locale",
    "language",
    "website",
    "timezone",
    "formatted",
    "profile",
    "data",
    "invocation",
    "observation",
    "reference",
    "references",
    "location",
    "expressions",
    "source",
    "details",
];

/// Service, output shape (`*`: any), member, class: what the models do not mark, or what marks would be
/// read wrongly by name. Reviewed against the models; which fields hold secrets is judgement.
const REVIEWED: &[(&str, &str, &str, u32)] = &[
    ("amplifybackend", "*", "ChallengeCode", CREDENTIAL),
    ("apigateway", "ApiKey", "value", CREDENTIAL),
    ("apigateway", "Stage", "variables", CREDENTIAL),
    ("apigateway", "UsagePlanKey", "value", CREDENTIAL),
    ("apigatewayv2", "*", "StageVariables", CREDENTIAL),
    ("appconfig", "*", "Content", CONTENT),
    ("appconfigdata", "*", "Configuration", CONTENT),
    ("appsync", "ApiKey", "id", CREDENTIAL),
    (
        "athena",
        "CreatePresignedNotebookUrlResponse",
        "AuthToken",
        CREDENTIAL,
    ),
    (
        "athena",
        "CreatePresignedNotebookUrlResponse",
        "NotebookUrl",
        CREDENTIAL,
    ),
    (
        "athena",
        "GetSessionEndpointResponse",
        "AuthToken",
        CREDENTIAL,
    ),
    ("athena", "GetResourceDashboardResponse", "Url", CREDENTIAL),
    ("batch", "ContainerDetail", "environment", CREDENTIAL),
    ("batch", "ContainerProperties", "environment", CREDENTIAL),
    (
        "batch",
        "EksContainerEnvironmentVariable",
        "value",
        CREDENTIAL,
    ),
    ("batch", "TaskContainerDetails", "environment", CREDENTIAL),
    (
        "batch",
        "TaskContainerProperties",
        "environment",
        CREDENTIAL,
    ),
    (
        "cloudformation",
        "GetTemplateOutput",
        "TemplateBody",
        CONTENT,
    ),
    ("cloudformation", "Output", "OutputValue", CONTENT),
    ("cloudformation", "Parameter", "ParameterValue", CONTENT),
    ("cloudhsmv2", "Cluster", "PreCoPassword", CREDENTIAL),
    ("cloudfront-keyvaluestore", "*", "Value", CONTENT),
    ("codebuild", "EnvironmentVariable", "value", CREDENTIAL),
    (
        "codebuild",
        "ExportedEnvironmentVariable",
        "value",
        CREDENTIAL,
    ),
    ("codebuild", "SSMSession", "tokenValue", CREDENTIAL),
    ("codebuild", "Webhook", "secret", CREDENTIAL),
    (
        "codepipeline",
        "WebhookAuthConfiguration",
        "SecretToken",
        CREDENTIAL,
    ),
    (
        "cognito-identity",
        "Credentials",
        "SessionToken",
        CREDENTIAL,
    ),
    (
        "cognito-idp",
        "IdentityProviderType",
        "ProviderDetails",
        CREDENTIAL,
    ),
    ("connect", "*", "ParticipantToken", CREDENTIAL),
    (
        "connect",
        "ConnectionCredentials",
        "ConnectionToken",
        CREDENTIAL,
    ),
    (
        "connectparticipant",
        "ConnectionCredentials",
        "ConnectionToken",
        CREDENTIAL,
    ),
    ("dataexchange", "*", "ApiKey", CREDENTIAL),
    (
        "docdb",
        "PendingModifiedValues",
        "MasterUserPassword",
        CREDENTIAL,
    ),
    ("ec2", "GetConsoleOutputResult", "Output", CONTENT),
    ("ec2", "InstanceAttribute", "UserData", CREDENTIAL),
    ("ecr", "AuthorizationData", "authorizationToken", CREDENTIAL),
    (
        "ecr-public",
        "AuthorizationData",
        "authorizationToken",
        CREDENTIAL,
    ),
    ("eks-auth", "Credentials", "secretAccessKey", CREDENTIAL),
    ("eks-auth", "Credentials", "sessionToken", CREDENTIAL),
    (
        "elasticbeanstalk",
        "ConfigurationOptionSetting",
        "Value",
        CREDENTIAL,
    ),
    (
        "elbv2",
        "AuthenticateOidcActionConfig",
        "ClientSecret",
        CREDENTIAL,
    ),
    (
        "emr",
        "GetOnClusterAppUIPresignedURLOutput",
        "PresignedURL",
        CREDENTIAL,
    ),
    (
        "emr",
        "GetPersistentAppUIPresignedURLOutput",
        "PresignedURL",
        CREDENTIAL,
    ),
    (
        "emr",
        "KerberosAttributes",
        "ADDomainJoinPassword",
        CREDENTIAL,
    ),
    (
        "emr",
        "KerberosAttributes",
        "CrossRealmTrustPrincipalPassword",
        CREDENTIAL,
    ),
    ("emr", "KerberosAttributes", "KdcAdminPassword", CREDENTIAL),
    (
        "emr-serverless",
        "GetDashboardForJobRunResponse",
        "url",
        CREDENTIAL,
    ),
    (
        "emr-serverless",
        "GetResourceDashboardResponse",
        "url",
        CREDENTIAL,
    ),
    ("evs", "GetDepotUrlResponse", "depotUrl", CREDENTIAL),
    ("evs", "GetDepotUrlResponse", "token", CREDENTIAL),
    (
        "firehose",
        "SplunkDestinationDescription",
        "HECToken",
        CREDENTIAL,
    ),
    (
        "gamelift",
        "GetComputeAuthTokenOutput",
        "AuthToken",
        CREDENTIAL,
    ),
    (
        "gamelift",
        "PlayerConnectionDetail",
        "PlayerGatewayToken",
        CREDENTIAL,
    ),
    ("glue", "Connection", "ConnectionProperties", CREDENTIAL),
    ("glue", "SourceControlDetails", "AuthToken", CREDENTIAL),
    (
        "greengrassv2",
        "GetComponentVersionArtifactResponse",
        "preSignedUrl",
        CREDENTIAL,
    ),
    ("iam", "GetCredentialReportResponse", "Content", CONTENT),
    (
        "invoicing",
        "*",
        "ProcurementPortalSharedSecret",
        CREDENTIAL,
    ),
    (
        "iot",
        "InfluxDBDestinationProperties",
        "secretKey",
        CREDENTIAL,
    ),
    ("iot", "InfluxDBDestinationSummary", "secretKey", CREDENTIAL),
    ("iot", "SalesforceAction", "token", CREDENTIAL),
    ("iotwireless", "SidewalkDevice", "PrivateKeys", CREDENTIAL),
    (
        "kinesis-video-archived-media",
        "*",
        "DASHStreamingSessionURL",
        CREDENTIAL,
    ),
    (
        "kinesis-video-archived-media",
        "*",
        "HLSStreamingSessionURL",
        CREDENTIAL,
    ),
    (
        "kinesis-video-signaling",
        "IceServer",
        "Password",
        CREDENTIAL,
    ),
    (
        "kinesisanalyticsv2",
        "CreateApplicationPresignedUrlResponse",
        "AuthorizedUrl",
        CREDENTIAL,
    ),
    ("lakeformation", "*", "SecretAccessKey", CREDENTIAL),
    ("lakeformation", "*", "SessionToken", CREDENTIAL),
    ("lambda", "InvocationResponse", "Payload", CONTENT),
    ("lambda", "FunctionCodeLocation", "Location", CREDENTIAL),
    (
        "lambda",
        "LayerVersionContentOutput",
        "Location",
        CREDENTIAL,
    ),
    ("license-manager", "*", "SignedToken", CREDENTIAL),
    (
        "license-manager",
        "CreateTokenResponse",
        "Token",
        CREDENTIAL,
    ),
    (
        "license-manager",
        "GetAccessTokenResponse",
        "AccessToken",
        CREDENTIAL,
    ),
    (
        "m2",
        "GetSignedBluinsightsUrlResponse",
        "signedBiUrl",
        CREDENTIAL,
    ),
    (
        "neptune",
        "PendingModifiedValues",
        "MasterUserPassword",
        CREDENTIAL,
    ),
    (
        "qbusiness",
        "CreateAnonymousWebExperienceUrlResponse",
        "anonymousUrl",
        CREDENTIAL,
    ),
    (
        "qbusiness",
        "GetDocumentContentResponse",
        "presignedUrl",
        CREDENTIAL,
    ),
    (
        "redshift-serverless",
        "GetIdentityCenterAuthTokenResponse",
        "token",
        CREDENTIAL,
    ),
    ("sagemaker", "*", "AuthorizedUrl", CREDENTIAL),
    ("sagemaker", "AuthorizedUrl", "Url", CREDENTIAL),
    (
        "sagemaker",
        "CreatePartnerAppPresignedUrlResponse",
        "Url",
        CREDENTIAL,
    ),
    ("sagemaker", "*", "Environment", CREDENTIAL),
    ("sagemaker", "StartSessionResponse", "StreamUrl", CREDENTIAL),
    (
        "sagemaker",
        "StartSessionResponse",
        "TokenValue",
        CREDENTIAL,
    ),
    (
        "securityhub",
        "AwsOpenSearchServiceDomainMasterUserOptionsDetails",
        "MasterUserPassword",
        CREDENTIAL,
    ),
    (
        "securityhub",
        "AwsRdsDbPendingModifiedValues",
        "MasterUserPassword",
        CREDENTIAL,
    ),
    (
        "securityhub",
        "AwsRedshiftClusterPendingModifiedValues",
        "MasterUserPassword",
        CREDENTIAL,
    ),
    (
        "signin",
        "CreateOAuth2TokenResponseBody",
        "idToken",
        CREDENTIAL,
    ),
    (
        "snowball",
        "GetJobUnlockCodeResult",
        "UnlockCode",
        CREDENTIAL,
    ),
    ("ssm", "CommandPlugin", "Output", CONTENT),
    (
        "ssm",
        "CreateActivationResult",
        "ActivationCode",
        CREDENTIAL,
    ),
    (
        "ssm",
        "GetCommandInvocationResult",
        "StandardErrorContent",
        CONTENT,
    ),
    (
        "ssm",
        "GetCommandInvocationResult",
        "StandardOutputContent",
        CONTENT,
    ),
    ("ssm", "ResumeSessionResponse", "StreamUrl", CREDENTIAL),
    ("ssm", "ResumeSessionResponse", "TokenValue", CREDENTIAL),
    ("ssm", "StartSessionResponse", "StreamUrl", CREDENTIAL),
    ("ssm", "StartSessionResponse", "TokenValue", CREDENTIAL),
    ("sts", "Credentials", "SessionToken", CREDENTIAL),
    (
        "taxsettings",
        "TaxDocumentMetadata",
        "taxDocumentAccessToken",
        CREDENTIAL,
    ),
    ("wafv2", "APIKeySummary", "APIKey", CREDENTIAL),
    ("wafv2", "CreateAPIKeyResponse", "APIKey", CREDENTIAL),
    ("wickr", "OidcTokenInfo", "accessToken", CREDENTIAL),
    ("wickr", "OidcTokenInfo", "codeVerifier", CREDENTIAL),
    ("wickr", "OidcTokenInfo", "idToken", CREDENTIAL),
    ("wickr", "OidcTokenInfo", "refreshToken", CREDENTIAL),
    (
        "workmail",
        "AssumeImpersonationRoleResponse",
        "Token",
        CREDENTIAL,
    ),
];
