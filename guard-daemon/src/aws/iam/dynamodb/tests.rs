//! Condition keys of DynamoDB's calls.

use super::super::tests::{ACCOUNT, call_for, key};
use crate::aws::Call;

const KEYS: &[&str] = &[
    "dynamodb:attributes",
    "dynamodb:enclosingoperation",
    "dynamodb:fulltablescan",
    "dynamodb:leadingkeys",
    "dynamodb:returnvalues",
    "dynamodb:select",
];

fn asked(operation: &str, body: &str) -> Call {
    let target = format!("DynamoDB_20120810.{operation}");
    call_for(
        "POST dynamodb.us-east-1.amazonaws.com/",
        "dynamodb",
        &[
            ("x-amz-target", &target),
            ("content-type", "application/x-amz-json-1.0"),
        ],
        body.as_bytes(),
        Some(ACCOUNT),
        KEYS,
    )
}

/// The value for the first action on its first resource.
fn first(operation: &str, body: &str, name: &str) -> String {
    key(&asked(operation, body), name, (0, 0))
}

#[test]
fn leading_keys_of_items() {
    let leading = |operation: &str, body: &str| first(operation, body, "dynamodb:leadingkeys");
    let one = r#"{"TableName":"T","Key":{"id":{"S":"a"}}}"#;
    for operation in ["GetItem", "DeleteItem", "UpdateItem"] {
        assert_eq!(leading(operation, one), "[a]", "{operation}");
    }
    for (body, wanted) in [
        (r#"{"id":{"N":"-12"}}"#, "[-12]"),
        // Another spelling of a number, and how bytes are compared, is not known.
        (r#"{"id":{"N":"12.0"}}"#, "?"),
        (r#"{"id":{"N":"012"}}"#, "?"),
        (r#"{"id":{"N":12}}"#, "?"),
        (r#"{"id":{"B":"YQ=="}}"#, "?"),
        (r#"{"id":{"S":"a","N":"1"}}"#, "?"),
        (r#"{"id":{"S":"a"},"at":{"N":"1"}}"#, "?"),
        ("{}", "?"),
        (r#""a""#, "?"),
    ] {
        let body = format!(r#"{{"TableName":"T","Key":{body}}}"#);
        assert_eq!(leading("GetItem", &body), wanted, "{body}");
    }
    let put = r#"{"TableName":"T","Item":{"id":{"S":"a"}}}"#;
    assert_eq!(leading("PutItem", put), "?");
    assert_eq!(leading("GetItem", "no JSON"), "?");
}

#[test]
fn leading_key_of_a_query() {
    for (rest, wanted) in [
        (r#""KeyConditionExpression":"id = :v""#, "[a]"),
        (r#""KeyConditionExpression":"id = :v AND at > :w""#, "[a]"),
        (r#""KeyConditionExpression":"id = :v AND at = :w""#, "?"),
        (r#""KeyConditionExpression":"id = :x""#, "?"),
        (r#""KeyConditionExpression":"id = :v","IndexName":"I""#, "?"),
        (
            r#""KeyConditions":{"id":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"b"}]}}"#,
            "[b]",
        ),
        (
            r#""KeyConditions":{"id":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"b"}]},"at":{"ComparisonOperator":"EQ","AttributeValueList":[{"S":"c"}]}}"#,
            "?",
        ),
        (
            r#""KeyConditions":{"id":{"AttributeValueList":[{"S":"b"}]}}"#,
            "?",
        ),
    ] {
        let values = r#""ExpressionAttributeValues":{":v":{"S":"a"},":w":{"S":"c"}}"#;
        let body = format!(r#"{{"TableName":"T",{values},{rest}}}"#);
        let found = first("Query", &body, "dynamodb:leadingkeys");
        assert_eq!(found, wanted, "{rest}");
    }
}

#[test]
fn batches_by_table() {
    let body = r#"{"RequestItems":{
        "A":{"Keys":[{"id":{"S":"a"}},{"id":{"S":"b"}},{"id":{"S":"a"}}],"ProjectionExpression":"x"},
        "B":{"Keys":[{"id":{"S":"c"}}]}}}"#;
    let call = asked("BatchGetItem", body);
    assert_eq!(key(&call, "dynamodb:leadingkeys", (0, 0)), "[a,b]");
    assert_eq!(key(&call, "dynamodb:leadingkeys", (0, 1)), "[c]");
    assert_eq!(key(&call, "dynamodb:attributes", (0, 0)), "[id,x]");
    assert_eq!(key(&call, "dynamodb:attributes", (0, 1)), "?");
    let body = r#"{"RequestItems":{
        "A":[{"DeleteRequest":{"Key":{"id":{"S":"a"}}}},{"DeleteRequest":{"Key":{"id":{"S":"b"}}}}],
        "B":[{"DeleteRequest":{"Key":{"id":{"S":"a"}}}},{"PutRequest":{"Item":{"id":{"S":"a"}}}}]}}"#;
    let call = asked("BatchWriteItem", body);
    assert_eq!(key(&call, "dynamodb:leadingkeys", (0, 0)), "[a,b]");
    assert_eq!(key(&call, "dynamodb:leadingkeys", (0, 1)), "?");
    let many = r#"{"DeleteRequest":{"Key":{"id":{"S":"a"}}}},"#.repeat(101);
    let body = format!(
        r#"{{"RequestItems":{{"A":[{}]}}}}"#,
        many.trim_end_matches(',')
    );
    assert_eq!(first("BatchWriteItem", &body, "dynamodb:leadingkeys"), "?");
}

#[test]
fn transactions_by_action() {
    let body = r#"{"TransactItems":[
        {"Delete":{"TableName":"A","Key":{"id":{"S":"a"}}}},
        {"Put":{"TableName":"A","Item":{"id":{"S":"b"}}}},
        {"Update":{"TableName":"A","Key":{"id":{"S":"c"}},"UpdateExpression":"SET x = :x"}}]}"#;
    let call = asked("TransactWriteItems", body);
    let shown = |name, place| key(&call, name, (place, 0));
    let actions: Vec<_> = call.access.iter().map(|it| it.action.as_deref()).collect();
    assert_eq!(
        actions,
        ["DeleteItem", "PutItem", "UpdateItem"].map(|it| match it {
            "DeleteItem" => Some("dynamodb:DeleteItem"),
            "PutItem" => Some("dynamodb:PutItem"),
            _ => Some("dynamodb:UpdateItem"),
        })
    );
    assert_eq!(shown("dynamodb:leadingkeys", 0), "[a]");
    assert_eq!(shown("dynamodb:leadingkeys", 1), "?");
    assert_eq!(shown("dynamodb:leadingkeys", 2), "[c]");
    assert_eq!(shown("dynamodb:attributes", 2), "[id,x]");
    assert_eq!(
        shown("dynamodb:enclosingoperation", 0),
        "TransactWriteItems"
    );
    let body = r#"{"TransactItems":[{"Get":{"TableName":"A","Key":{"id":{"S":"a"}}}}]}"#;
    let call = asked("TransactGetItems", body);
    assert_eq!(key(&call, "dynamodb:leadingkeys", (0, 0)), "[a]");
    let enclosing = |it: &Call| key(it, "dynamodb:enclosingoperation", (0, 0));
    assert_eq!(enclosing(&call), "TransactGetItems");
    assert_eq!(enclosing(&asked("GetItem", "{}")), "-");
}

#[test]
fn attributes_that_are_certain() {
    let key = r#""TableName":"T","Key":{"id":{"S":"a"}}"#;
    for (operation, rest, wanted) in [
        (
            "GetItem",
            r##""ProjectionExpression":"b, #n","ExpressionAttributeNames":{"#n":"name"}"##,
            "[b,id,name]",
        ),
        ("GetItem", r#""AttributesToGet":["b","id"]"#, "[b,id]"),
        // All that the item has.
        ("GetItem", r#""ConsistentRead":true"#, "?"),
        ("GetItem", r#""ProjectionExpression":"b.c""#, "?"),
        (
            "DeleteItem",
            r#""ConditionExpression":"attribute_exists(b)""#,
            "[b,id]",
        ),
        ("DeleteItem", r#""ReturnValues":"ALL_OLD""#, "?"),
        ("UpdateItem", r#""UpdateExpression":"SET b = :v""#, "[b,id]"),
        (
            "UpdateItem",
            r#""AttributeUpdates":{"b":{}},"Expected":{"c":{}}"#,
            "[b,c,id]",
        ),
        (
            "UpdateItem",
            r#""UpdateExpression":"SET b = :v","ReturnValues":"ALL_NEW""#,
            "?",
        ),
    ] {
        let body = format!("{{{key},{rest}}}");
        let found = first(operation, &body, "dynamodb:attributes");
        assert_eq!(found, wanted, "{operation} {rest}");
    }
    let put = r#"{"TableName":"T","Item":{"id":{"S":"a"},"b":{"N":"1"}}}"#;
    assert_eq!(first("PutItem", put, "dynamodb:attributes"), "[b,id]");
}

#[test]
fn parameters_and_partiql() {
    let query = r#"{"TableName":"T","Select":"COUNT"}"#;
    assert_eq!(first("Query", query, "dynamodb:select"), "COUNT");
    assert_eq!(
        first("Query", r#"{"TableName":"T"}"#, "dynamodb:select"),
        "?"
    );
    let put = r#"{"TableName":"T","ReturnValues":"ALL_OLD"}"#;
    assert_eq!(first("PutItem", put, "dynamodb:returnvalues"), "ALL_OLD");
    assert_eq!(first("PutItem", "{}", "dynamodb:returnvalues"), "NONE");
    for (statement, wanted) in [
        ("SELECT * FROM T", "true"),
        (r#"select a, b from \"T\".\"I\""#, "true"),
        ("SELECT * FROM T WHERE id = 'a'", "?"),
        ("SELECT * FROM T ORDER BY id", "?"),
        ("SELECT (a) FROM T", "?"),
    ] {
        let body = format!(r#"{{"Statement":"{statement}"}}"#);
        let found = first("ExecuteStatement", &body, "dynamodb:fulltablescan");
        assert_eq!(found, wanted, "{statement}");
    }
    let body = r#"{"TransactStatements":[{"Statement":"SELECT * FROM T"}]}"#;
    let call = asked("ExecuteTransaction", body);
    let enclosing = key(&call, "dynamodb:enclosingoperation", (0, 0));
    assert_eq!(enclosing, "ExecuteTransaction");
}
