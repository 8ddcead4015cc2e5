//! EC2: calls on instances and tags by id; lists, which take no resource.

use super::{Asked, Input, on, one};
use crate::aws::{Access, Resource};

/// What an EC2 operation asks for; `None` where the default holds.
pub(super) fn access(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Option<Vec<Access>> {
    let action = format!("ec2:{operation}");
    if operation.starts_with("Describe") && DESCRIBES_ONE.binary_search(&operation).is_err() {
        return Some(vec![one(action, Resource::Any)]);
    }
    match operation {
        "StartInstances" | "StopInstances" | "RebootInstances" | "TerminateInstances"
        | "MonitorInstances" | "UnmonitorInstances" => Some(vec![on(
            action,
            resources(asked, &input.texts("InstanceId")),
        )]),
        "GetPasswordData"
        | "GetConsoleOutput"
        | "GetConsoleScreenshot"
        | "ModifyInstanceAttribute"
        | "ResetInstanceAttribute"
        | "DescribeInstanceAttribute"
        | "ModifyInstanceMetadataOptions" => {
            let named: Vec<&str> = input.text("InstanceId").into_iter().collect();
            Some(vec![on(action, resources(asked, &named))])
        }
        "CreateTags" | "DeleteTags" => Some(vec![on(
            action,
            resources(asked, &input.texts("ResourceId")),
        )]),
        _ => None,
    }
}

/// `Describe…` operations whose action takes a resource, or is not in the reference; sorted. All others
/// take none.
const DESCRIBES_ONE: &[&str] = &[
    "DescribeCapacityBlockExtensionOfferings",
    "DescribeCapacityReservationDateChangeQuotes",
    "DescribeClientVpnAuthorizationRules",
    "DescribeClientVpnConnections",
    "DescribeClientVpnRoutes",
    "DescribeClientVpnTargetNetworks",
    "DescribeFleetHistory",
    "DescribeFleetInstances",
    "DescribeFpgaImageAttribute",
    "DescribeImageAttribute",
    "DescribeInstanceAttribute",
    "DescribeMetricCategories",
    "DescribeNetworkingFlexCostAllocationPolicies",
    "DescribeNetworkingFlexCostAllocationPolicyAssociations",
    "DescribeSecurityGroupReferences",
    "DescribeSnapshotAttribute",
    "DescribeSpotFleetInstances",
    "DescribeSpotFleetRequestHistory",
    "DescribeTransitGatewayNetworkFunctionAttachments",
    "DescribeVolumeAttribute",
    "DescribeVpcAttribute",
    "DescribeVpcEndpointServicePermissions",
];

/// ids whose prefix is a resource type of this account.
const TYPES: &[(&str, &str)] = &[
    ("eipalloc", "elastic-ip"),
    ("eni", "network-interface"),
    ("i", "instance"),
    ("igw", "internet-gateway"),
    ("key", "key-pair"),
    ("lt", "launch-template"),
    ("nat", "natgateway"),
    ("rtb", "route-table"),
    ("sg", "security-group"),
    ("subnet", "subnet"),
    ("vol", "volume"),
    ("vpc", "vpc"),
    ("vpce", "vpc-endpoint"),
];

fn resources(asked: &Asked<'_>, ids: &[&str]) -> Vec<Resource> {
    let resource = |id: &str| {
        let (kind, number) = id
            .split_once('-')
            .filter(|it| it.1.bytes().all(|it| it.is_ascii_hexdigit()))?;
        let (_, name) = TYPES
            .iter()
            .find(|it| it.0 == kind)
            .filter(|_| !number.is_empty())?;
        Some(asked.arn("ec2", &format!("{name}/{id}")))
    };
    ids.iter()
        .map(|id| resource(id).unwrap_or(Resource::Unknown))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::catalog;

    #[test]
    fn exceptions_are_operations() {
        assert!(DESCRIBES_ONE.is_sorted());
        let ec2 = catalog::service("ec2").unwrap();
        for name in DESCRIBES_ONE {
            assert!(ec2.operation(name).is_some(), "{name}");
        }
    }
}
