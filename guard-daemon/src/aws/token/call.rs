//! What a token gives access to, in IAM's terms, as if it were a call.

use std::borrow::Cow;

use super::{Asked, repository};
use crate::aws::{
    Access, Call, Candidates, Confidence, KeyValue, Keys, Operation, Protocol, Resource, catalog,
    endpoint,
};

impl Asked {
    /// The call that a token stands for. `account` is the account of the real credentials, where known.
    ///
    /// The resource of RDS (`rds-db:connect`) names the database by an id that its host name does not tell, the
    /// token for EKS is good for every cluster of that name in the partition, whatever its region and account, and
    /// the token for MSK for every cluster of the region: these resources are unknown.
    pub fn call(&self, account: Option<&str>) -> Call {
        let region = self.region();
        let partition = endpoint::partition_of(region);
        let (service, operation, access) = self.access(&|service, resource| match account {
            Some(account) => Resource::Arn(format!(
                "arn:{partition}:{service}:{region}:{account}:{resource}"
            )),
            None => Resource::Unknown,
        });
        let unknown = access
            .iter()
            .any(|access| access.resources.contains(&Resource::Unknown));
        Call {
            protocol: Protocol::RestJson,
            partition,
            region: Some(region.to_owned()),
            service: Some(service),
            services: vec![service],
            operation: Operation::Known(operation),
            candidates: Candidates(Vec::new()),
            access,
            keys: self.keys(),
            confidence: if unknown {
                Confidence::Partial
            } else {
                Confidence::Exact
            },
            output: None,
        }
    }

    /// Service, operation and accesses; `arn` makes the ARN of a resource of a service.
    fn access(
        &self,
        arn: &dyn Fn(&str, &str) -> Resource,
    ) -> (&'static str, &'static str, Vec<Access>) {
        match self {
            Self::Rds { .. } => (
                "rds",
                "GenerateDbAuthToken",
                vec![access("rds-db:connect", vec![Resource::Unknown])],
            ),
            Self::Eks { .. } => (
                "eks",
                "GetToken",
                vec![
                    access("sts:GetCallerIdentity", vec![Resource::Any]),
                    access("eks:AccessKubernetesApi", vec![Resource::Unknown]),
                ],
            ),
            Self::Codecommit { path, .. } => {
                let repository =
                    repository(path).map_or(Resource::Unknown, |name| arn("codecommit", name));
                let of = |action| access(action, vec![repository.clone()]);
                (
                    "codecommit",
                    "GetCredentials",
                    // The password is good for both.
                    vec![of("codecommit:GitPull"), of("codecommit:GitPush")],
                )
            }
            Self::Msk { .. } => (
                "kafka",
                "GenerateAuthToken",
                vec![access("kafka-cluster:Connect", vec![Resource::Unknown])],
            ),
            Self::Elasticache {
                cache,
                serverless,
                username,
                ..
            } => {
                let kind = if *serverless {
                    "serverlesscache"
                } else {
                    "replicationgroup"
                };
                let resources = vec![
                    arn("elasticache", &format!("{kind}:{cache}")),
                    arn("elasticache", &format!("user:{username}")),
                ];
                (
                    "elasticache",
                    "GenerateAuthToken",
                    vec![access("elasticache:Connect", resources)],
                )
            }
            Self::Memorydb {
                cluster, username, ..
            } => {
                let resources = vec![
                    arn("memorydb", &format!("cluster/{cluster}")),
                    arn("memorydb", &format!("user/{username}")),
                ];
                (
                    "memorydb",
                    "GenerateAuthToken",
                    vec![access("memorydb:Connect", resources)],
                )
            }
            Self::Dsql {
                hostname,
                admin,
                region,
            } => {
                let cluster = hostname
                    .strip_suffix(&format!(".dsql.{region}.on.aws"))
                    .filter(|id| !id.is_empty() && !id.contains('.'));
                let cluster = cluster.map_or(Resource::Unknown, |id| {
                    arn("dsql", &format!("cluster/{id}"))
                });
                let (operation, action) = if *admin {
                    ("GenerateDbConnectAdminAuthToken", "dsql:DbConnectAdmin")
                } else {
                    ("GenerateDbConnectAuthToken", "dsql:DbConnect")
                };
                ("dsql", operation, vec![access(action, vec![cluster])])
            }
        }
    }

    /// `guard:Host` is the host that the token is for, `guard:DatabaseUser` whom it makes of its bearer there, and
    /// `guard:Cluster` the name of the EKS cluster.
    fn keys(&self) -> Keys {
        let one = |value: &str| KeyValue::One(value.to_owned());
        let mut keys = Keys::default();
        keys.push("guard:host", one(&self.host()));
        match self {
            Self::Rds { username, .. }
            | Self::Elasticache { username, .. }
            | Self::Memorydb { username, .. } => keys.push("guard:databaseuser", one(username)),
            Self::Eks { cluster, .. } => {
                let name = if is_uuid(cluster) {
                    KeyValue::Unknown
                } else {
                    one(cluster)
                };
                keys.push("guard:cluster", name);
                // Where the token is made says nothing of where it is used.
                keys.push("aws:requestedregion", KeyValue::Unknown);
            }
            Self::Codecommit { .. } | Self::Msk { .. } | Self::Dsql { .. } => {}
        }
        keys
    }
}

/// Whether it is written like a UUID. Local clusters on Outposts are told apart by theirs
/// (<https://docs.aws.amazon.com/cli/latest/reference/eks/get-token.html>), so that it may stand for any name.
fn is_uuid(name: &str) -> bool {
    let lengths = name.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && name.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-')
}

fn access(action: &'static str, resources: Vec<Resource>) -> Access {
    Access {
        level: catalog::action(action).map(catalog::ActionModel::level),
        action: Some(Cow::Borrowed(action)),
        resources,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ConditionKeys, Effect, Profile};

    /// Knows what the token tells, and nothing else.
    struct Told<'a>(&'a Keys);

    impl ConditionKeys for Told<'_> {
        fn value(&self, key: &str, access: &Access, resource: &Resource) -> KeyValue {
            let told = self.0.value(key, access, resource);
            told.unwrap_or(KeyValue::Unknown)
        }
    }

    fn all() -> Vec<Asked> {
        let region = || "eu-west-1".to_owned();
        vec![
            Asked::Rds {
                hostname: "db.x.eu-west-1.rds.amazonaws.com".to_owned(),
                port: 5432,
                username: "app".to_owned(),
                region: region(),
            },
            Asked::Eks {
                cluster: "prod".to_owned(),
                region: region(),
            },
            Asked::Codecommit {
                host: "git-codecommit.eu-west-1.amazonaws.com".to_owned(),
                path: "v1/repos/tool".to_owned(),
            },
            Asked::Msk { region: region() },
            Asked::Elasticache {
                cache: "c".to_owned(),
                serverless: true,
                username: "u".to_owned(),
                region: region(),
            },
            Asked::Memorydb {
                cluster: "c".to_owned(),
                username: "u".to_owned(),
                region: region(),
            },
            Asked::Dsql {
                hostname: "abc.dsql.eu-west-1.on.aws".to_owned(),
                admin: true,
                region: region(),
            },
        ]
    }

    #[test]
    fn actions_and_resources_are_those_of_the_service_authorization_reference() {
        for asked in all() {
            asked.check().unwrap();
            for access in asked.call(Some("123456789012")).access {
                let name = access.action.clone().unwrap();
                let action = catalog::action(&name).unwrap_or_else(|| panic!("{name} is unknown"));
                assert_eq!(action.name(), name);
                for resource in access.resources {
                    if let Resource::Arn(arn) = resource {
                        assert!(
                            action.resource_types().any(|it| it.may_be(&arn)),
                            "{name} on {arn}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn without_an_account_no_resource_is_made_up() {
        for asked in all() {
            for access in asked.call(None).access {
                assert!(
                    !access
                        .resources
                        .iter()
                        .any(|it| matches!(it, Resource::Arn(_))),
                    "{access:?}"
                );
            }
        }
    }

    #[test]
    fn a_token_for_eks_is_good_for_clusters_of_its_name_anywhere() {
        let call = |cluster: &str| {
            let (cluster, region) = (cluster.to_owned(), "eu-west-1".to_owned());
            Asked::Eks { cluster, region }.call(Some("123456789012"))
        };
        let profile = |effect: &str, clause: &str| {
            let default = if effect == "allow" { "deny" } else { "allow" };
            let text = format!(
                "default = \"{default}\"\n[[statement]]\nsid = \"s\"\neffect = \"{effect}\"\n\
                 action = [\"eks:AccessKubernetesApi\"]\n{clause}\n"
            );
            Profile::parse("p", &text).unwrap()
        };
        let decide = |effect: &str, clause: &str, cluster: &str| {
            let call = call(cluster);
            let of_cluster = &call.access[1..];
            profile(effect, clause)
                .decide(of_cluster, &Told(&call.keys))
                .effect
        };
        let here = "resource = [\"arn:aws:eks:eu-west-1:123456789012:cluster/app\"]";
        let there = "resource = [\"arn:aws:eks:us-east-1:*:cluster/app\"]";
        let named =
            "resource = [\"*\"]\ncondition = { StringEquals = { \"guard:Cluster\" = \"app\" } }";
        let region = "resource = [\"*\"]\ncondition = { StringEquals = { \"aws:RequestedRegion\" = \"eu-west-1\" } }";
        let uuid = "0b59f2ac-5f6d-4c0e-9f0b-2d9e1a3c4b5d";
        for (effect, clause, cluster, expected) in [
            ("allow", here, "app", Effect::Deny),
            ("allow", region, "app", Effect::Deny),
            ("allow", named, "app", Effect::Allow),
            ("allow", named, "other", Effect::Deny),
            ("allow", named, uuid, Effect::Deny),
            ("deny", there, "app", Effect::Deny),
            ("deny", named, "app", Effect::Deny),
            ("deny", named, "other", Effect::Allow),
            ("deny", named, uuid, Effect::Deny),
        ] {
            let decided = decide(effect, clause, cluster);
            assert_eq!(decided, expected, "{effect} {clause} {cluster}");
        }
    }

    #[test]
    fn a_host_that_does_not_tell_the_cluster_is_none() {
        let asked = Asked::Dsql {
            hostname: "abc.dsql-x.eu-west-1.on.aws".to_owned(),
            admin: false,
            region: "eu-west-1".to_owned(),
        };
        let call = asked.call(Some("123456789012"));
        assert_eq!(call.access[0].resources, [Resource::Unknown]);
        assert_eq!(call.confidence, Confidence::Partial);
    }
}
