//! DynamoDB: tables and indexes, batches and transactions opened up.

mod expression;
pub(super) mod keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{Asked, Input, arn, on, one, unknown};
use crate::aws::{Access, Resource, value::Value};

/// What a DynamoDB operation asks for; `None` where the default holds.
pub(super) fn access(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Option<Vec<Access>> {
    let action = format!("dynamodb:{operation}");
    match operation {
        "ListTables"
        | "DescribeLimits"
        | "DescribeEndpoints"
        | "ListBackups"
        | "ListGlobalTables"
        | "ListContributorInsights" => {
            return Some(vec![one(action, Resource::Any)]);
        }
        _ => {}
    }
    let Some(body) = input.value() else {
        return action_is_in_the_body(operation).then(|| vec![unknown()]);
    };
    match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            let tables = body
                .get("RequestItems")?
                .members()
                .map(|it| table(asked, Some(it.0)));
            Some(vec![on(action, tables.collect())])
        }
        "TransactGetItems" => transaction(asked, body, &[("Get", "GetItem")]),
        "TransactWriteItems" => transaction(
            asked,
            body,
            &[
                ("ConditionCheck", "ConditionCheckItem"),
                ("Delete", "DeleteItem"),
                ("Put", "PutItem"),
                ("Update", "UpdateItem"),
            ],
        ),
        "ExecuteStatement" => Some(statements(body.get("Statement").into_iter())),
        "BatchExecuteStatement" => Some(statements(listed(body, "Statements"))),
        "ExecuteTransaction" => Some(statements(listed(body, "TransactStatements"))),
        "Query" | "Scan" => {
            let table = table(asked, body.get("TableName").and_then(Value::text));
            let resource = match (table, body.get("IndexName")) {
                (table, None) => table,
                (Resource::Arn(table), Some(Value::Text(index))) if arn::is_name(index, "") => {
                    Resource::Arn(format!("{table}/index/{index}"))
                }
                _ => Resource::Unknown,
            };
            Some(vec![one(action, resource)])
        }
        _ => {
            let named = table(asked, body.get("TableName").and_then(Value::text));
            let resources = match (
                body.get("TableName"),
                body.get("IndexName"),
                body.get("ResourceArn"),
            ) {
                (Some(_), None, None) => vec![named],
                (Some(_), Some(Value::Text(index)), None) if arn::is_name(index, "") => {
                    let index = match &named {
                        Resource::Arn(table) => Resource::Arn(format!("{table}/index/{index}")),
                        _ => Resource::Unknown,
                    };
                    vec![named, index]
                }
                (None, None, Some(given)) => vec![arn::given(given.text(), "dynamodb")],
                // Backups, exports, imports, global tables.
                (None, None, None) => return None,
                _ => vec![Resource::Unknown],
            };
            Some(vec![on(action, resources)])
        }
    }
}

fn action_is_in_the_body(operation: &str) -> bool {
    operation.starts_with("Transact")
        || operation.starts_with("Execute")
        || operation == "BatchExecuteStatement"
}

/// A table by name or ARN.
fn table(asked: &Asked<'_>, name: Option<&str>) -> Resource {
    match name {
        Some(name) if name.starts_with("arn:") => arn::given(Some(name), "dynamodb"),
        Some(name) if arn::is_name(name, "") => asked.arn("dynamodb", &format!("table/{name}")),
        _ => Resource::Unknown,
    }
}

/// Each item's own action, per table.
fn transaction(asked: &Asked<'_>, body: &Value<'_>, kinds: &[(&str, &str)]) -> Option<Vec<Access>> {
    let mut found: BTreeMap<&str, Vec<Resource>> = BTreeMap::new();
    for item in body.get("TransactItems")?.elements() {
        let mut known = false;
        for (kind, action) in kinds {
            if let Some(part) = item.get(kind) {
                known = true;
                let table = table(asked, part.get("TableName").and_then(Value::text));
                found.entry(action).or_default().push(table);
            }
        }
        if !known {
            return Some(vec![unknown()]);
        }
    }
    let access: Vec<Access> = found
        .into_iter()
        .map(|(action, tables)| on(format!("dynamodb:{action}"), tables))
        .collect();
    if access.is_empty() {
        return Some(vec![unknown()]);
    }
    Some(access)
}

fn listed<'a>(body: &'a Value<'a>, name: &str) -> impl Iterator<Item = &'a Value<'a>> {
    // An element without a statement is text nowhere, and so unknown.
    let elements = body.get(name).map_or(&[][..], Value::elements);
    elements.iter().map(|it| it.get("Statement").unwrap_or(it))
}

/// PartiQL: the first word tells the action; the table stays unknown, as the language can name it in many ways.
fn statements<'a>(statements: impl Iterator<Item = &'a Value<'a>>) -> Vec<Access> {
    let mut found = Vec::new();
    for statement in statements {
        let word = statement
            .text()
            .and_then(|it| it.split_whitespace().next())
            .unwrap_or_default();
        let action = [
            ("select", "PartiQLSelect"),
            ("insert", "PartiQLInsert"),
            ("update", "PartiQLUpdate"),
            ("delete", "PartiQLDelete"),
        ]
        .into_iter()
        .find(|it| word.eq_ignore_ascii_case(it.0))
        .map(|it| format!("dynamodb:{}", it.1).into());
        let access = Access {
            action,
            ..unknown()
        };
        if !found.contains(&access) {
            found.push(access);
        }
    }
    if found.is_empty() {
        found.push(unknown());
    }
    found
}
