//! Lambda: functions by name, partial ARN or ARN, with qualifier; layers; event source mappings.

use super::{Asked, arn, one};
use crate::aws::{Access, Resource, endpoint::is_region, form};

/// What a Lambda operation asks for; `None` where the catalog's rules tell: of functions, those that pass a
/// role or name layers or a code signing configuration.
pub(super) fn access(asked: &Asked<'_>, operation: &str) -> Option<Vec<Access>> {
    let action = match operation {
        "CreateFunction" | "PutFunctionCodeSigningConfig" | "UpdateFunctionConfiguration" => {
            return None;
        }
        "Invoke" | "InvokeAsync" | "InvokeWithResponseStream" => "lambda:InvokeFunction".to_owned(),
        _ => format!("lambda:{operation}"),
    };
    let any = matches!(
        operation,
        "CreateCodeSigningConfig"
            | "CreateEventSourceMapping"
            | "GetAccountSettings"
            | "ListCapacityProviders"
            | "ListCodeSigningConfigs"
            | "ListEventSourceMappings"
            | "ListFunctions"
            | "ListLayerVersions"
            | "ListLayers"
    );
    if any {
        return Some(vec![one(action, Resource::Any)]);
    }
    let path: Vec<&str> = asked
        .request
        .path
        .trim_start_matches('/')
        .split('/')
        .collect();
    let label = |raw: &str| form::decode(raw.as_bytes(), false).map(std::borrow::Cow::into_owned);
    let resource = match path.as_slice() {
        [_, "functions", name, ..] if !name.is_empty() => {
            let qualifier = qualifier(asked, operation);
            function(asked, label(name).as_deref(), qualifier.as_deref())
        }
        [_, "layers", name, "versions", version, ..] => layer(asked, label(name), Some(version)),
        [_, "layers", name, ..] => layer(asked, label(name), None),
        [_, "event-source-mappings", id] if arn::is_name(id, "") => {
            asked.arn("lambda", &format!("event-source-mapping:{id}"))
        }
        [_, "tags", given] => arn::given(label(given).as_deref(), "lambda"),
        _ => return None,
    };
    Some(vec![one(action, resource)])
}

/// Operations with a `Qualifier` in their query (Lambda API Reference, version 2015-03-31 and later paths).
const QUALIFIED: &[&str] = &[
    "AddPermission",
    "CreateFunctionUrlConfig",
    "DeleteFunction",
    "DeleteFunctionEventInvokeConfig",
    "DeleteFunctionUrlConfig",
    "DeleteProvisionedConcurrencyConfig",
    "GetFunction",
    "GetFunctionConfiguration",
    "GetFunctionEventInvokeConfig",
    "GetFunctionScalingConfig",
    "GetFunctionUrlConfig",
    "GetPolicy",
    "GetProvisionedConcurrencyConfig",
    "GetRuntimeManagementConfig",
    "Invoke",
    "InvokeWithResponseStream",
    "ListDurableExecutionsByFunction",
    "PutFunctionEventInvokeConfig",
    "PutFunctionScalingConfig",
    "PutProvisionedConcurrencyConfig",
    "PutRuntimeManagementConfig",
    "RemovePermission",
    "UpdateFunctionEventInvokeConfig",
    "UpdateFunctionUrlConfig",
];

/// The `Qualifier` of the query. The empty one stands for what cannot be told: several, and one of an operation
/// that has none, of which the service may think nothing.
fn qualifier(asked: &Asked<'_>, operation: &str) -> Option<String> {
    let mut given = form::pairs(asked.request.query.as_bytes())
        .filter(|it| it.as_ref().is_none_or(|it| it.0 == "Qualifier"))
        .map(|it| it.map(|it| it.1.into_owned()).unwrap_or_default());
    match (given.next(), given.next()) {
        (None, None) => None,
        (first, None) if QUALIFIED.contains(&operation) => first,
        _ => Some(String::new()),
    }
}

/// `name[:qualifier]`, `account:function:name[:qualifier]`, or an ARN. Of other forms that Lambda's pattern has
/// (`function:name`, `account:name`, `region:name`), which could be a name with its qualifier, nothing is told.
fn function(asked: &Asked<'_>, name: Option<&str>, qualifier: Option<&str>) -> Resource {
    let Some(name) = name else {
        return Resource::Unknown;
    };
    let parts: Vec<&str> = name.split(':').collect();
    let (region, account, rest) = match parts.as_slice() {
        [
            "arn",
            partition,
            "lambda",
            region,
            account,
            "function",
            rest @ ..,
        ] if *partition == asked.endpoint.partition => (Some(*region), Some(*account), rest),
        [account, "function", rest @ ..] => (asked.region, Some(*account), rest),
        [first, _] if is_prefix(first) => return Resource::Unknown,
        rest => (asked.region, asked.account, rest),
    };
    let (name, qualifier) = match (rest, qualifier) {
        ([name], qualifier) => (name, qualifier),
        ([name, own], None) => (name, Some(*own)),
        ([name, own], Some(other)) if *own == other => (name, Some(other)),
        _ => return Resource::Unknown,
    };
    if !arn::is_name(name, "") || qualifier.is_some_and(|it| !arn::is_name(it, "$")) {
        return Resource::Unknown;
    }
    let suffix = qualifier.map(|it| format!(":{it}")).unwrap_or_default();
    asked.arn_in(
        "lambda",
        region,
        account,
        &format!("function:{name}{suffix}"),
    )
}

/// Whether Lambda's pattern takes it for what comes before a name: `function`, an account or a region.
fn is_prefix(part: &str) -> bool {
    let is_account = part.len() == 12 && part.bytes().all(|it| it.is_ascii_digit());
    part == "function" || is_account || is_region(part)
}

/// A layer by name or ARN.
fn layer(asked: &Asked<'_>, name: Option<String>, version: Option<&str>) -> Resource {
    let Some(name) = name else {
        return Resource::Unknown;
    };
    let suffix = match version {
        Some(version) if arn::is_name(version, "") => format!(":{version}"),
        Some(_) => return Resource::Unknown,
        None => String::new(),
    };
    match arn::parts(&name) {
        Some(parts) if parts.resource.starts_with("layer:") => {
            arn::given(Some(&format!("{name}{suffix}")), "lambda")
        }
        None if arn::is_name(&name, "") => asked.arn("lambda", &format!("layer:{name}{suffix}")),
        _ => Resource::Unknown,
    }
}
