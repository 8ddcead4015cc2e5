//! DynamoDB's condition keys: partition keys, attributes, what encloses an operation.
//!
//! The request does not tell a table's schema. A key of one attribute is the partition key; of two, which one is
//! cannot be told.

use super::{
    super::{Reader, rules::LONGEST_VALUE},
    expression, listed, table,
};
use crate::aws::{KeyValue, keys::Scoped, value::Value};

/// More items than a batch or transaction takes; of such a request nothing is told.
const MOST: usize = 100;

/// What is done to items of one table.
struct Part<'v> {
    /// IAM's action, without the prefix.
    action: &'static str,
    /// The table, as the request names it.
    table: Option<&'v str>,
    /// The parameters of that.
    request: &'v Value<'v>,
    /// The items' keys, where it names them by key.
    keys: Vec<&'v Value<'v>>,
}

/// The value of a key, in lower case, whatever action and resource; what differs by them is added to `scoped`.
/// `None` where the catalog's rules are to tell it.
pub(in crate::aws::iam) fn value(
    reader: Reader<'_, '_>,
    key: &str,
    scoped: &mut Vec<Scoped>,
) -> Option<KeyValue> {
    if reader.asked.reading.services.first()?.name() != "dynamodb" {
        return None;
    }
    let operation = reader.operation.name();
    let body = reader.input.value();
    let read = match key {
        "dynamodb:enclosingoperation" => {
            return Some(match operation {
                "TransactGetItems" | "TransactWriteItems" | "ExecuteTransaction" => {
                    KeyValue::One(operation.to_owned())
                }
                "BatchExecuteStatement" => KeyValue::Unknown,
                _ => KeyValue::Absent,
            });
        }
        "dynamodb:fulltablescan" => {
            let scans = body.is_some_and(|it| scans(it, operation));
            return Some(if scans {
                KeyValue::One("true".to_owned())
            } else {
                KeyValue::Unknown
            });
        }
        "dynamodb:leadingkeys" => leading,
        "dynamodb:attributes" => attributes,
        _ => return None,
    };
    let Some(parts) = body.and_then(|it| parts(it, operation)) else {
        return Some(KeyValue::Unknown);
    };
    let mut found: Vec<Scoped> = Vec::new();
    for part in parts {
        let action = format!("dynamodb:{}", part.action);
        let resource = table(reader.asked, part.table);
        let value = read(&part).map_or(KeyValue::Unknown, KeyValue::Many);
        let mut known = found.iter_mut();
        match known.find(|it| it.action == action && it.resource == resource) {
            Some(same) => join(&mut same.value, value),
            None => found.push(Scoped {
                key: key.to_owned(),
                action,
                resource,
                value,
            }),
        }
    }
    let (first, rest) = found.split_first()?;
    let value = if rest.iter().all(|it| it.value == first.value) {
        first.value.clone()
    } else {
        scoped.append(&mut found);
        KeyValue::Unknown
    };
    Some(value)
}

/// Adds what the same action takes of the same table.
fn join(one: &mut KeyValue, other: KeyValue) {
    match (one, other) {
        (KeyValue::Many(one), KeyValue::Many(other)) => {
            for value in other {
                if !one.contains(&value) {
                    one.push(value);
                }
            }
        }
        (one, _) => *one = KeyValue::Unknown,
    }
}

/// What is done to which table; `None` where that cannot be read, or is too much.
fn parts<'v>(body: &'v Value<'v>, operation: &str) -> Option<Vec<Part<'v>>> {
    let named = |action, request: &'v Value<'v>| Part {
        action,
        table: request.get("TableName").and_then(Value::text),
        request,
        keys: request.get("Key").into_iter().collect(),
    };
    let mut parts = Vec::new();
    match operation {
        "GetItem" => parts.push(named("GetItem", body)),
        "PutItem" => parts.push(named("PutItem", body)),
        "DeleteItem" => parts.push(named("DeleteItem", body)),
        "UpdateItem" => parts.push(named("UpdateItem", body)),
        "Query" => parts.push(named("Query", body)),
        "BatchGetItem" => {
            for (table, request) in body.get("RequestItems")?.members() {
                parts.push(Part {
                    action: "BatchGetItem",
                    table: Some(table),
                    request,
                    keys: request
                        .get("Keys")?
                        .elements()
                        .iter()
                        .take(MOST + 1)
                        .collect(),
                });
            }
        }
        "BatchWriteItem" => {
            for (table, requests) in body.get("RequestItems")?.members() {
                for request in requests.elements().iter().take(MOST + 1) {
                    let Value::Object(kinds) = request else {
                        return None;
                    };
                    let [(_, only)] = kinds.as_slice() else {
                        return None;
                    };
                    parts.push(Part {
                        action: "BatchWriteItem",
                        table: Some(table),
                        request: only,
                        keys: only.get("Key").into_iter().collect(),
                    });
                }
            }
        }
        "TransactGetItems" | "TransactWriteItems" => {
            for item in body.get("TransactItems")?.elements().iter().take(MOST + 1) {
                let Value::Object(kinds) = item else {
                    return None;
                };
                let [(kind, request)] = kinds.as_slice() else {
                    return None;
                };
                parts.push(named(
                    match kind.as_ref() {
                        "Get" => "GetItem",
                        "ConditionCheck" => "ConditionCheckItem",
                        "Delete" => "DeleteItem",
                        "Put" => "PutItem",
                        "Update" => "UpdateItem",
                        _ => return None,
                    },
                    request,
                ));
            }
        }
        _ => return None,
    }
    let items = parts.iter().map(|it| it.keys.len().max(1)).sum::<usize>();
    (1..=MOST).contains(&items).then_some(parts)
}

/// Values of partition keys.
fn leading(part: &Part<'_>) -> Option<Vec<String>> {
    if part.action == "Query" {
        return Some(vec![asked_for(part.request)?]);
    }
    let mut values = Vec::with_capacity(part.keys.len());
    for key in &part.keys {
        let Value::Object(attributes) = key else {
            return None;
        };
        let [(_, only)] = attributes.as_slice() else {
            return None;
        };
        let value = scalar(only)?;
        if !values.contains(&value) {
            values.push(value);
        }
    }
    (!values.is_empty()).then_some(values)
}

/// The partition key that a query asks for.
fn asked_for(query: &Value<'_>) -> Option<String> {
    // Whether the condition key is then the table's or the index's is not documented.
    if query.get("IndexName").is_some() {
        return None;
    }
    match (
        query.get("KeyConditionExpression"),
        query.get("KeyConditions"),
    ) {
        (Some(condition), None) => {
            let placeholder = expression::equal(condition.text()?)?;
            scalar(query.get("ExpressionAttributeValues")?.get(placeholder)?)
        }
        (None, Some(conditions)) => {
            let mut equal = conditions.members().filter(|(_, it)| {
                let operator = it.get("ComparisonOperator").and_then(Value::text);
                operator.is_none_or(|it| it == "EQ")
            });
            let (Some((_, only)), None) = (equal.next(), equal.next()) else {
                return None;
            };
            only.get("ComparisonOperator")?;
            match only.get("AttributeValueList")?.elements() {
                [value] => scalar(value),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Text, or a whole number that can be written in one way only.
fn scalar(value: &Value<'_>) -> Option<String> {
    let Value::Object(kinds) = value else {
        return None;
    };
    let [(kind, value)] = kinds.as_slice() else {
        return None;
    };
    let text = value.text()?;
    let plain = match kind.as_ref() {
        "S" => !text.is_empty() && text.len() <= LONGEST_VALUE,
        "N" => {
            text == "0" || {
                let digits = text.strip_prefix('-').unwrap_or(text);
                (1..=38).contains(&digits.len())
                    && !digits.starts_with('0')
                    && digits.bytes().all(|it| it.is_ascii_digit())
            }
        }
        _ => false,
    };
    plain.then(|| text.to_owned())
}

/// Expressions that name attributes.
const EXPRESSIONS: &[&str] = &[
    "ConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
];

/// Names of the attributes that are written, read, compared or named by key.
fn attributes(part: &Part<'_>) -> Option<Vec<String>> {
    let request = part.request;
    let given = |name: &str| request.get(name).is_some_and(|it| *it != Value::Null);
    // Which an item has that comes back whole is not told.
    let whole = match part.action {
        "GetItem" | "BatchGetItem" => !given("ProjectionExpression") && !given("AttributesToGet"),
        "Query" => true,
        _ => ["ReturnValues", "ReturnValuesOnConditionCheckFailure"]
            .iter()
            .filter_map(|it| request.get(it))
            .any(|it| !matches!(it.text(), Some("NONE" | "UPDATED_OLD" | "UPDATED_NEW"))),
    };
    if whole {
        return None;
    }
    let mut names: Vec<&str> = Vec::new();
    for key in part.keys.iter().copied().chain(request.get("Item")) {
        names.extend(key.members().map(|it| it.0));
    }
    for name in ["AttributeUpdates", "Expected"] {
        names.extend(
            request
                .get(name)
                .into_iter()
                .flat_map(Value::members)
                .map(|it| it.0),
        );
    }
    if let Some(list) = request.get("AttributesToGet") {
        for name in list.elements() {
            names.push(name.text()?);
        }
    }
    let placeholders = request.get("ExpressionAttributeNames");
    for name in EXPRESSIONS {
        if let Some(text) = request.get(name) {
            names.extend(expression::names(text.text()?, placeholders)?);
        }
    }
    names.sort_unstable();
    names.dedup();
    let short = names.iter().all(|it| it.len() <= LONGEST_VALUE);
    (short && !names.is_empty()).then(|| names.into_iter().map(str::to_owned).collect())
}

/// Whether what is selected is read by scanning whole tables, because nothing narrows it.
fn scans(body: &Value<'_>, operation: &str) -> bool {
    let statements: Vec<&Value<'_>> = match operation {
        "ExecuteStatement" => body.get("Statement").into_iter().collect(),
        "BatchExecuteStatement" => listed(body, "Statements").collect(),
        "ExecuteTransaction" => listed(body, "TransactStatements").collect(),
        _ => return false,
    };
    !statements.is_empty() && statements.iter().all(|it| it.text().is_some_and(is_scan))
}

/// `SELECT … FROM table`, and nothing after it.
fn is_scan(statement: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-.,*\"".contains(&it);
    let words: Vec<&str> = statement.split_ascii_whitespace().collect();
    let [select, columns @ .., from, _] = words.as_slice() else {
        return false;
    };
    let word = |it: &&str| it.bytes().all(plain) && !it.eq_ignore_ascii_case("from");
    select.eq_ignore_ascii_case("select")
        && from.eq_ignore_ascii_case("from")
        && !columns.is_empty()
        && columns.iter().all(word)
        && words.last().is_some_and(word)
}
