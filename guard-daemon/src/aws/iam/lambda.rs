//! Lambda: functions by name, partial ARN or ARN, with qualifier; layers; event source mappings.

use super::{Asked, arn, one};
use crate::aws::{Access, Resource, form};

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
            function(asked, label(name).as_deref(), qualifier(asked).as_deref())
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

/// The `Qualifier` of the query; the empty one stands for several.
fn qualifier(asked: &Asked<'_>) -> Option<String> {
    let mut given = form::pairs(asked.request.query.as_bytes())
        .filter(|it| it.as_ref().is_none_or(|it| it.0 == "Qualifier"))
        .map(|it| it.map(|it| it.1.into_owned()).unwrap_or_default());
    match (given.next(), given.next()) {
        (first, None) => first,
        _ => Some(String::new()),
    }
}

/// `name[:qualifier]`, `account:function:name[:qualifier]`, or an ARN.
fn function(asked: &Asked<'_>, name: Option<&str>, qualifier: Option<&str>) -> Resource {
    let Some(name) = name else {
        return Resource::Unknown;
    };
    let parts: Vec<&str> = name.split(':').collect();
    let (region, account, rest) = match parts.as_slice() {
        ["arn", _, "lambda", region, account, "function", rest @ ..] => {
            (Some(*region), Some(*account), rest)
        }
        [account, "function", rest @ ..] => (asked.region, Some(*account), rest),
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
