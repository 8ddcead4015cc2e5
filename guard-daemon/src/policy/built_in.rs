//! The profiles that every guard has: `observe`, `standard`, `readonly`.
//!
//! A file of the same name in the profile directory takes a built-in profile's place.

/// The profile of sessions that name none.
pub const STANDARD: &str = "standard";

/// The text of a built-in profile, as `Profile::parse` takes it.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN
        .iter()
        .find(|(own, _)| *own == name)
        .map(|(_, text)| *text)
}

/// The built-in profiles, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    (
        "observe",
        concat!(
            include_str!("profiles/observe.toml"),
            include_str!("profiles/statements.toml")
        ),
    ),
    ("readonly", include_str!("profiles/readonly.toml")),
    (
        STANDARD,
        concat!(
            include_str!("profiles/standard.toml"),
            include_str!("profiles/statements.toml")
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::{Access, KeyValue, Resource, catalog};
    use crate::mask::Class;
    use crate::policy::{ConditionKeys, Effect, Mode, Profile};

    /// Knows access levels, and that the operation has the action's name.
    struct Levels;

    impl ConditionKeys for Levels {
        fn value(&self, key: &str, access: &Access, _resource: &Resource) -> KeyValue {
            let name = access.action.as_deref().and_then(|it| it.split_once(':'));
            match (key, access.level, name) {
                ("guard:accesslevel", Some(level), _) => KeyValue::One(level.name().to_owned()),
                ("guard:operation", _, Some((_, name))) => KeyValue::One(name.to_owned()),
                _ => KeyValue::Unknown,
            }
        }
    }

    fn decides(profile: &Profile, action: &'static str) -> Effect {
        let access = Access {
            action: Some(action.into()),
            level: catalog::action(action).map(catalog::ActionModel::level),
            resources: vec![Resource::Unknown],
        };
        profile.decide(&[access], &Levels).effect
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
            for action in quoted
                .filter(|it| it.contains(':') && !it.contains('*') && !it.starts_with("guard:"))
            {
                assert!(catalog::action(action).is_some(), "{name}: {action}");
            }
        }
    }
}
