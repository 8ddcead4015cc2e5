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
    let (allow, approve, deny) = (Effect::Allow, Effect::Approve, Effect::Deny);
    for (action, standard, readonly) in [
        ("s3:GetObject", allow, allow),
        ("s3:ListBucket", allow, allow),
        ("ec2:DescribeInstances", allow, allow),
        ("dynamodb:Query", allow, allow),
        ("s3:PutObject", allow, deny),
        ("sqs:DeleteMessage", allow, deny),
        ("lambda:InvokeFunction", allow, deny),
        ("ec2:CreateTags", allow, deny),
        ("s3:DeleteBucket", approve, deny),
        ("dynamodb:DeleteTable", approve, deny),
        ("ec2:TerminateInstances", approve, deny),
        ("kms:ScheduleKeyDeletion", approve, deny),
        ("s3:PutBucketPolicy", approve, deny),
        ("lambda:AddPermission", approve, deny),
        ("iam:CreateUser", approve, deny),
        ("iam:TagRole", approve, deny),
        ("iam:PassRole", approve, deny),
        ("iam:ListUsers", allow, allow),
        ("sts:AssumeRole", approve, deny),
        ("sts:GetSessionToken", approve, deny),
        ("sts:GetCallerIdentity", allow, allow),
        ("ecr:GetAuthorizationToken", approve, deny),
        ("rds-db:connect", approve, deny),
        ("eks:AccessKubernetesApi", approve, deny),
        ("kafka-cluster:Connect", approve, deny),
        ("elasticache:Connect", approve, deny),
        ("memorydb:Connect", approve, deny),
        ("dsql:DbConnect", approve, deny),
        ("dsql:DbConnectAdmin", approve, deny),
        ("codecommit:GitPull", allow, allow),
        ("codecommit:GitPush", allow, deny),
        ("ssm:StartSession", approve, deny),
        ("cloudtrail:StopLogging", approve, deny),
        // What a platform engineer does all day.
        ("ec2:CreateVolume", allow, deny),
        ("ecs:UpdateService", allow, deny),
        ("ecr:PutImage", allow, deny),
        ("autoscaling:UpdateAutoScalingGroup", allow, deny),
        ("codepipeline:StartPipelineExecution", allow, deny),
        ("dynamodb:PutItem", allow, deny),
        ("events:PutRule", allow, deny),
        ("lambda:PublishVersion", allow, deny),
        ("logs:PutLogEvents", allow, deny),
        ("rds:CreateDBSnapshot", allow, deny),
        ("route53:ChangeResourceRecordSets", allow, deny),
        ("secretsmanager:PutSecretValue", allow, deny),
        ("sns:Publish", allow, deny),
        ("ssm:PutParameter", allow, deny),
        ("states:StartExecution", allow, deny),
        ("sts:DecodeAuthorizationMessage", allow, deny),
        // Services act for the caller, or under a role that is there.
        ("cloudformation:CreateStack", approve, deny),
        ("cloudformation:ExecuteChangeSet", approve, deny),
        ("cloudformation:CreateStackInstances", approve, deny),
        ("cloudformation:UpdateResource", approve, deny),
        ("cloudformation:DescribeStacks", allow, allow),
        ("servicecatalog:ProvisionProduct", approve, deny),
        ("ssm:CreateAssociation", approve, deny),
        ("ssm:RegisterTaskWithMaintenanceWindow", approve, deny),
        ("ssm:StartChangeRequestExecution", approve, deny),
        ("lambda:UpdateFunctionCode", approve, deny),
        ("codebuild:StartBuild", approve, deny),
        ("codebuild:UpdateProject", approve, deny),
        ("ecs:RunTask", approve, deny),
        ("states:UpdateStateMachine", approve, deny),
        ("ec2:ModifyInstanceAttribute", approve, deny),
        ("ec2:CreateLaunchTemplateVersion", approve, deny),
        // Rights, identities and shares.
        ("eks:CreateAccessEntry", approve, deny),
        ("eks:AssociateAccessPolicy", approve, deny),
        ("rolesanywhere:CreateTrustAnchor", approve, deny),
        ("cognito-idp:AdminSetUserPassword", approve, deny),
        ("cognito-idp:ListUsers", allow, allow),
        ("ram:CreateResourceShare", approve, deny),
        ("ram:AssociateResourceShare", approve, deny),
        ("kinesis:PutResourcePolicy", approve, deny),
        ("ec2:ModifyImageAttribute", approve, deny),
        ("rds:ModifyDBClusterSnapshotAttribute", approve, deny),
        // Logins that IAM calls reads, and reads that act.
        (
            "kinesisanalytics:CreateApplicationPresignedUrl",
            approve,
            deny,
        ),
        ("emr-serverless:GetDashboardForJobRun", approve, deny),
        ("athena:GetResourceDashboard", approve, deny),
        ("gamelift:GetPlayerConnectionDetails", approve, deny),
        (
            "finspace-api:GetProgrammaticAccessCredentials",
            approve,
            deny,
        ),
        (
            "elasticmapreduce:GetClusterSessionCredentials",
            approve,
            deny,
        ),
        ("bedrock:InvokeAgent", allow, deny),
        ("bedrock:InvokeInlineAgent", allow, deny),
        ("bedrock:InvokeModel", allow, allow),
        // Doors, deletions, records.
        ("ec2:ModifySecurityGroupRules", approve, deny),
        ("ec2:CreateNetworkAclEntry", approve, deny),
        ("ec2:ModifyVpcBlockPublicAccessOptions", approve, deny),
        ("ec2:CreateVpcPeeringConnection", approve, deny),
        ("lambda:CreateFunctionUrlConfig", approve, deny),
        ("lightsail:OpenInstancePublicPorts", approve, deny),
        ("rds:ModifyDBInstance", approve, deny),
        ("es:ESHttpDelete", approve, deny),
        ("dynamodb:BatchWriteItem", approve, deny),
        ("workmail:WipeMobileDevice", approve, deny),
        ("cloudtrail:UpdateEventDataStore", approve, deny),
        ("config:PutConfigurationRecorder", approve, deny),
        ("guardduty:StopMonitoringMembers", approve, deny),
        ("macie2:DisableMacie", approve, deny),
        ("inspector2:Disable", approve, deny),
        ("nosuch:GetThing", approve, deny),
    ] {
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
