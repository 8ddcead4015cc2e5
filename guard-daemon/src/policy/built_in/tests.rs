use super::*;
use crate::aws::{Access, AccessLevel, KeyValue, Resource, catalog};
use crate::mask::Class;
use crate::mask::minted::Mints;
use crate::policy::{ConditionKeys, Effect, Mode, Profile};

/// Knows access levels and the operation's name: the action's, unless it is said.
struct Levels(Option<&'static str>);

impl ConditionKeys for Levels {
    fn value(&self, key: &str, access: &Access, _resource: &Resource) -> KeyValue {
        let name = access.action.as_deref().and_then(|it| it.split_once(':'));
        match (key, access.level, name) {
            ("guard:accesslevel", Some(level), _) => KeyValue::One(level.name().to_owned()),
            ("guard:operation", _, Some((_, name))) => {
                KeyValue::One(self.0.unwrap_or(name).to_owned())
            }
            _ => KeyValue::Unknown,
        }
    }
}

/// An action on a resource that is not known.
fn access(action: &str) -> Access {
    Access {
        action: Some(action.to_owned().into()),
        level: catalog::action(action).map(catalog::ActionModel::level),
        resources: vec![Resource::Unknown],
    }
}

fn decides(profile: &Profile, action: &str) -> Effect {
    profile.decide(&[access(action)], &Levels(None)).effect
}

fn load(name: &str) -> Profile {
    Profile::parse(name, built_in(name).unwrap()).unwrap()
}

/// An action, and what `standard` and `readonly` decide.
const DECIDED: &[(&str, Effect, Effect)] = &[
    ("s3:GetObject", Effect::Allow, Effect::Allow),
    ("s3:ListBucket", Effect::Allow, Effect::Allow),
    ("ec2:DescribeInstances", Effect::Allow, Effect::Allow),
    ("dynamodb:Query", Effect::Allow, Effect::Allow),
    ("s3:PutObject", Effect::Allow, Effect::Deny),
    ("sqs:DeleteMessage", Effect::Allow, Effect::Deny),
    ("lambda:InvokeFunction", Effect::Allow, Effect::Deny),
    ("ec2:CreateTags", Effect::Allow, Effect::Deny),
    ("s3:DeleteBucket", Effect::Approve, Effect::Deny),
    ("dynamodb:DeleteTable", Effect::Approve, Effect::Deny),
    ("ec2:TerminateInstances", Effect::Approve, Effect::Deny),
    ("kms:ScheduleKeyDeletion", Effect::Approve, Effect::Deny),
    ("s3:PutBucketPolicy", Effect::Approve, Effect::Deny),
    ("lambda:AddPermission", Effect::Approve, Effect::Deny),
    ("iam:CreateUser", Effect::Approve, Effect::Deny),
    ("iam:TagRole", Effect::Approve, Effect::Deny),
    ("iam:PassRole", Effect::Approve, Effect::Deny),
    ("iam:ListUsers", Effect::Allow, Effect::Allow),
    ("sts:AssumeRole", Effect::Approve, Effect::Deny),
    ("sts:GetSessionToken", Effect::Approve, Effect::Deny),
    ("sts:GetCallerIdentity", Effect::Allow, Effect::Allow),
    ("ecr:GetAuthorizationToken", Effect::Approve, Effect::Deny),
    ("rds-db:connect", Effect::Approve, Effect::Deny),
    ("eks:AccessKubernetesApi", Effect::Approve, Effect::Deny),
    ("kafka-cluster:Connect", Effect::Approve, Effect::Deny),
    ("elasticache:Connect", Effect::Approve, Effect::Deny),
    ("memorydb:Connect", Effect::Approve, Effect::Deny),
    ("dsql:DbConnect", Effect::Approve, Effect::Deny),
    ("dsql:DbConnectAdmin", Effect::Approve, Effect::Deny),
    ("codecommit:GitPull", Effect::Allow, Effect::Allow),
    ("codecommit:GitPush", Effect::Allow, Effect::Deny),
    ("ssm:StartSession", Effect::Approve, Effect::Deny),
    ("cloudtrail:StopLogging", Effect::Approve, Effect::Deny),
    // What a platform engineer does all day.
    ("ec2:CreateVolume", Effect::Allow, Effect::Deny),
    ("ecs:UpdateService", Effect::Allow, Effect::Deny),
    ("ecr:PutImage", Effect::Allow, Effect::Deny),
    (
        "autoscaling:UpdateAutoScalingGroup",
        Effect::Allow,
        Effect::Deny,
    ),
    (
        "codepipeline:StartPipelineExecution",
        Effect::Allow,
        Effect::Deny,
    ),
    ("dynamodb:PutItem", Effect::Allow, Effect::Deny),
    ("events:PutRule", Effect::Allow, Effect::Deny),
    ("lambda:PublishVersion", Effect::Allow, Effect::Deny),
    ("logs:PutLogEvents", Effect::Allow, Effect::Deny),
    ("rds:CreateDBSnapshot", Effect::Allow, Effect::Deny),
    (
        "route53:ChangeResourceRecordSets",
        Effect::Allow,
        Effect::Deny,
    ),
    ("secretsmanager:PutSecretValue", Effect::Allow, Effect::Deny),
    ("sns:Publish", Effect::Allow, Effect::Deny),
    ("ssm:PutParameter", Effect::Allow, Effect::Deny),
    ("states:StartExecution", Effect::Allow, Effect::Deny),
    (
        "sts:DecodeAuthorizationMessage",
        Effect::Allow,
        Effect::Deny,
    ),
    // Services act for the caller, or under a role that is there.
    ("cloudformation:CreateStack", Effect::Approve, Effect::Deny),
    (
        "cloudformation:ExecuteChangeSet",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "cloudformation:CreateStackInstances",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "cloudformation:UpdateResource",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "cloudformation:DescribeStacks",
        Effect::Allow,
        Effect::Allow,
    ),
    (
        "servicecatalog:ProvisionProduct",
        Effect::Approve,
        Effect::Deny,
    ),
    ("ssm:CreateAssociation", Effect::Approve, Effect::Deny),
    (
        "ssm:RegisterTaskWithMaintenanceWindow",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "ssm:StartChangeRequestExecution",
        Effect::Approve,
        Effect::Deny,
    ),
    ("lambda:UpdateFunctionCode", Effect::Approve, Effect::Deny),
    ("codebuild:StartBuild", Effect::Approve, Effect::Deny),
    ("codebuild:UpdateProject", Effect::Approve, Effect::Deny),
    ("ecs:RunTask", Effect::Approve, Effect::Deny),
    ("states:UpdateStateMachine", Effect::Approve, Effect::Deny),
    ("ec2:ModifyInstanceAttribute", Effect::Approve, Effect::Deny),
    (
        "ec2:CreateLaunchTemplateVersion",
        Effect::Approve,
        Effect::Deny,
    ),
    // Rights, identities and shares.
    ("eks:CreateAccessEntry", Effect::Approve, Effect::Deny),
    ("eks:AssociateAccessPolicy", Effect::Approve, Effect::Deny),
    (
        "rolesanywhere:CreateTrustAnchor",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "cognito-idp:AdminSetUserPassword",
        Effect::Approve,
        Effect::Deny,
    ),
    ("cognito-idp:ListUsers", Effect::Allow, Effect::Allow),
    ("ram:CreateResourceShare", Effect::Approve, Effect::Deny),
    ("ram:AssociateResourceShare", Effect::Approve, Effect::Deny),
    ("kinesis:PutResourcePolicy", Effect::Approve, Effect::Deny),
    ("ec2:ModifyImageAttribute", Effect::Approve, Effect::Deny),
    (
        "rds:ModifyDBClusterSnapshotAttribute",
        Effect::Approve,
        Effect::Deny,
    ),
    // Logins that IAM calls reads, and reads that act.
    (
        "kinesisanalytics:CreateApplicationPresignedUrl",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "emr-serverless:GetDashboardForJobRun",
        Effect::Approve,
        Effect::Deny,
    ),
    ("athena:GetResourceDashboard", Effect::Approve, Effect::Deny),
    (
        "gamelift:GetPlayerConnectionDetails",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "finspace-api:GetProgrammaticAccessCredentials",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "elasticmapreduce:GetClusterSessionCredentials",
        Effect::Approve,
        Effect::Deny,
    ),
    ("bedrock:InvokeAgent", Effect::Allow, Effect::Deny),
    ("bedrock:InvokeInlineAgent", Effect::Allow, Effect::Deny),
    ("bedrock:InvokeModel", Effect::Allow, Effect::Allow),
    // Doors, deletions, records.
    (
        "ec2:ModifySecurityGroupRules",
        Effect::Approve,
        Effect::Deny,
    ),
    ("ec2:CreateNetworkAclEntry", Effect::Approve, Effect::Deny),
    (
        "ec2:ModifyVpcBlockPublicAccessOptions",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "ec2:CreateVpcPeeringConnection",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "lambda:CreateFunctionUrlConfig",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "lightsail:OpenInstancePublicPorts",
        Effect::Approve,
        Effect::Deny,
    ),
    ("rds:ModifyDBInstance", Effect::Approve, Effect::Deny),
    ("es:ESHttpDelete", Effect::Approve, Effect::Deny),
    ("dynamodb:BatchWriteItem", Effect::Approve, Effect::Deny),
    ("workmail:WipeMobileDevice", Effect::Approve, Effect::Deny),
    (
        "cloudtrail:UpdateEventDataStore",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "config:PutConfigurationRecorder",
        Effect::Approve,
        Effect::Deny,
    ),
    (
        "guardduty:StopMonitoringMembers",
        Effect::Approve,
        Effect::Deny,
    ),
    ("macie2:DisableMacie", Effect::Approve, Effect::Deny),
    ("inspector2:Disable", Effect::Approve, Effect::Deny),
    ("nosuch:GetThing", Effect::Approve, Effect::Deny),
];

#[test]
fn what_each_lets_through_asks_for_and_denies() {
    let profiles = ["standard", "observe", "readonly"].map(load);
    let [standard, observe, _] = &profiles;
    assert_eq!(
        (standard.mode(), observe.mode()),
        (Mode::Enforce, Mode::Observe)
    );
    assert!(standard.masks(Class::Credential) && !observe.masks(Class::Credential));
    assert!(!standard.allows_host("pypi.org", 443) && observe.allows_host("pypi.org", 8443));
    for &(action, standard, readonly) in DECIDED {
        let decided = [0, 1, 2].map(|at| decides(&profiles[at], action));
        assert_eq!(decided, [standard, standard, readonly], "{action}");
    }
}

#[test]
fn every_action_that_they_name_exists() {
    for (name, text) in BUILT_IN {
        let quoted = text.split('"').skip(1).step_by(2);
        for action in
            quoted.filter(|it| it.contains(':') && !it.contains('*') && !it.starts_with("guard:"))
        {
            assert!(catalog::action(action).is_some(), "{name}: {action}");
        }
    }
}

/// The action that IAM is asked for: mostly the operation's name at the service's.
fn asked_for(mints: &Mints) -> String {
    let name = mints.to_string();
    for (service, prefix) in [("s3control:", "s3:"), ("cloudwatchomni:", "cloudwatch:")] {
        if let Some(operation) = name.strip_prefix(service) {
            return format!("{prefix}{operation}");
        }
    }
    name
}

#[test]
fn what_mints_credentials_asks_or_is_denied() {
    let [standard, readonly] = ["standard", "readonly"].map(load);
    let mut without_action = Vec::new();
    for mints in Mints::all() {
        // A session is the sign-in of all that SDKs do in a directory bucket, is the caller's own, and what is signed
        // with its dummies is decided by operation.
        if mints.is_express() {
            assert_eq!(decides(&standard, "s3express:CreateSession"), Effect::Allow);
            assert_eq!(decides(&readonly, "s3express:CreateSession"), Effect::Deny);
            continue;
        }
        let action = asked_for(mints);
        if catalog::action(&action).is_none() {
            without_action.push(mints.to_string());
        }
        assert_eq!(decides(&standard, &action), Effect::Approve, "{action}");
        assert_eq!(decides(&readonly, &action), Effect::Deny, "{action}");
    }
    // IAM is asked for nothing that the reference names: what is not known asks, and is denied.
    let unknown = Access {
        action: None,
        level: None,
        resources: vec![Resource::Unknown],
    };
    let decided = [&standard, &readonly].map(|it| {
        it.decide(std::slice::from_ref(&unknown), &Levels(None))
            .effect
    });
    assert_eq!(decided, [Effect::Approve, Effect::Deny]);
    assert_eq!(
        without_action,
        [
            "sso:GetRoleCredentials",
            "lakeformation:AssumeDecoratedRoleWithSAML",
            "lakeformation:GetTemporaryDataLocationCredentials",
            "lakeformation:GetTemporaryGlueFunctionCredentials",
            "account-access-runtime:GetRoleCredentials",
            "cloudwatchomni:GetSpaceDataAccess",
        ]
    );
}

#[test]
fn deletions_in_a_directory_bucket_ask() {
    let standard = load("standard");
    let session = access("s3express:CreateSession");
    for (operation, effect) in [
        ("CreateSession", Effect::Allow),
        ("GetObject", Effect::Allow),
        ("PutObject", Effect::Allow),
        ("DeleteObject", Effect::Approve),
        ("DeleteObjects", Effect::Approve),
    ] {
        let decided = standard.decide(std::slice::from_ref(&session), &Levels(Some(operation)));
        assert_eq!(decided.effect, effect, "{operation}");
    }
}

#[test]
fn a_launch_asks_where_a_template_may_bring_a_role() {
    let standard = load("standard");
    let arn = |rest: &str| Resource::Arn(format!("arn:aws:ec2:us-east-1:123456789012:{rest}"));
    let instance = arn("instance/*");
    for (resources, effect) in [
        (
            vec![instance.clone(), arn("subnet/subnet-1")],
            Effect::Allow,
        ),
        (
            vec![instance.clone(), arn("launch-template/lt-1")],
            Effect::Approve,
        ),
        (vec![instance, Resource::Unknown], Effect::Approve),
    ] {
        let mut run = access("ec2:RunInstances");
        run.resources = resources;
        let decided = standard.decide(std::slice::from_ref(&run), &Levels(None));
        assert_eq!(decided.effect, effect, "{:?}", run.resources);
    }
}

/// Words in names of writes that destroy, open, grant, hand out or stop what protects.
const WORDS: &[&str] = &[
    "AccessKey",
    "AccessPolicy",
    "AccessToken",
    "CrossAccount",
    "Credential",
    "Delete",
    "Deletion",
    "Deregister",
    "Disable",
    "Drop",
    "Grant",
    "Password",
    "Peering",
    "Permission",
    "Presigned",
    "Public",
    "Purge",
    "ResourcePolicy",
    "Terminate",
    "Wipe",
];

/// Writes that have such a word in their name, go through all the same, and why.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        "takes a message off a queue or out of a chat",
        &[
            "ec2messages:DeleteMessage",
            "ivschat:DeleteMessage",
            "sqs:DeleteMessage",
        ],
    ),
    ("keeps what would be deleted", &["kms:CancelKeyDeletion"]),
    (
        "takes a right, closes a door",
        &[
            "aidevops:RevokeAccessToken",
            "codewhisperer:DisassociateCustomizationPermission",
            "ec2:DisableAddressTransfer",
            "ec2:DisableSerialConsoleAccess",
            "ec2:RejectTransitGatewayPeeringAttachment",
            "ec2:RejectVpcPeeringConnection",
            "iq:DisableIndividualPublicProfile",
            "license-manager:RejectGrant",
            "lightsail:CloseInstancePublicPorts",
            "qbusiness:DisassociatePermission",
            "rds:DisableHttpEndpoint",
            "sagemaker:DisableSagemakerServicecatalogPortfolio",
            "scn:RemoveAdminPermissionsForUser",
            "servicecatalog:DisableAWSOrganizationsAccess",
            "workdocs:RemoveAllResourcePermissions",
            "workdocs:RemoveResourcePermission",
        ],
    ),
    (
        "turns a function of an application off, which is turned on again",
        &[
            "aidevops:DisableOperatorApp",
            "apigateway:DisablePortal",
            "appstream:DisableUser",
            "autoscaling:DisableMetricsCollection",
            "aws-external-anthropic:DisableKey",
            "clouddirectory:DisableDirectory",
            "cloudtrail:DisableFederation",
            "codepipeline:DisableStageTransition",
            "dynamodb:DisableKinesisStreamingDestination",
            "ec2:DisableApplicationStatusCheckSuppression",
            "ec2:DisableAwsNetworkPerformanceMetricSubscription",
            "ec2:DisableCapacityManager",
            "ec2:DisableFastLaunch",
            "ec2:DisableFastSnapshotRestores",
            "ec2:DisableImage",
            "ec2:DisableImageDeprecation",
            "ec2:DisableInstanceSqlHaStandbyDetections",
            "ec2:DisableIpamOrganizationAdminAccount",
            "ec2:DisableIpamPolicy",
            "ec2:DisableRouteServerPropagation",
            "ec2:DisableTransitGatewayRouteTablePropagation",
            "ec2:DisableVgwRoutePropagation",
            "ec2:DisableVpcClassicLink",
            "ec2:DisableVpcClassicLinkDnsSupport",
            "elasticloadbalancing:DisableAvailabilityZonesForLoadBalancer",
            "iot:DisableTopicRule",
            "iotevents:BatchDisableAlarm",
            "kinesis:DisableEnhancedMonitoring",
            "lightsail:DisableAddOn",
            "payment-cryptography:DisableDefaultKeyReplicationRegions",
            "route53globalresolver:DisableDNSView",
        ],
    ),
    (
        "public by name only: keys, address pools, names, a profile",
        &[
            "cloudfront:CreatePublicKey",
            "cloudfront:UpdatePublicKey",
            "directconnect:AllocatePublicVirtualInterface",
            "directconnect:ConfirmPublicVirtualInterface",
            "directconnect:CreatePublicVirtualInterface",
            "ec2:CreatePublicIpv4Pool",
            "ec2:ModifyPublicIpDnsNameOptions",
            "ec2:ProvisionPublicIpv4PoolCidr",
            "iq:EnableIndividualPublicProfile",
            "ivs:ImportPublicKey",
            "macie2:PutFindingsPublicationConfiguration",
            "servicediscovery:CreatePublicDnsNamespace",
            "servicediscovery:UpdatePublicDnsNamespace",
            "ssm:UpdateManagedInstancePublicKey",
        ],
    ),
    (
        "accepts what another granted, or says how far it is",
        &[
            "dataexchange:AcceptDataGrant",
            "datazone:UpdateSubscriptionGrantStatus",
            "elemental-support-cases:CheckCasePermission",
            "license-manager:AcceptGrant",
            "servicecatalog:NotifyTerminateProvisionedProductEngineWorkflowResult",
        ],
    ),
    (
        "stores a secret of the application's, or makes a new one that stays in the service",
        &[
            "bedrock-agentcore:CreateApiKeyCredentialProvider",
            "bedrock-agentcore:CreateOauth2CredentialProvider",
            "bedrock-agentcore:CreatePaymentCredentialProvider",
            "bedrock-agentcore:UpdateApiKeyCredentialProvider",
            "bedrock-agentcore:UpdateOauth2CredentialProvider",
            "bedrock-agentcore:UpdatePaymentCredentialProvider",
            "chime:PutVoiceConnectorTerminationCredentials",
            "codebuild:ImportSourceCredentials",
            "events:RetrieveConnectionCredentials",
            "iotmanagedintegrations:CreateCredentialLocker",
            "mediapackage:RotateChannelCredentials",
            "mediapackage:RotateIngestEndpointCredentials",
            "route53globalresolver:UpdateAccessToken",
        ],
    ),
    (
        "who gets notices, or a model's suggestions",
        &[
            "codewhisperer:AssociateCustomizationPermission",
            "workdocs:AddNotificationPermissions",
        ],
    ),
];

#[test]
fn no_write_whose_name_tells_goes_through_unlisted() {
    let standard = load("standard");
    let through: Vec<&str> = catalog::actions()
        .filter(|it| it.level() == AccessLevel::Write)
        .map(catalog::ActionModel::name)
        .filter(|name| WORDS.iter().any(|word| name.contains(word)))
        .filter(|name| decides(&standard, name) == Effect::Allow)
        .collect();
    let mut harmless: Vec<&str> = HARMLESS.iter().flat_map(|it| it.1).copied().collect();
    harmless.sort_unstable();
    let mut sorted = through;
    sorted.sort_unstable();
    assert_eq!(sorted, harmless);
}
