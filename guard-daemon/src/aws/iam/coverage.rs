//! For how many operations action and resources are exact: a table in the test's output.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::aws::{
    BodyView, Call, RequestView, Resource, Scope,
    catalog::{self, OperationModel, Segment, Service, alternative, protocol, source},
    identify,
};

/// Services by use, as far as that is public: their lines are in the table.
const TOP: &[&str] = &[
    "apigateway",
    "athena",
    "autoscaling",
    "batch",
    "bedrock-runtime",
    "cloudformation",
    "cloudfront",
    "cloudtrail",
    "cloudwatch",
    "codebuild",
    "cognito-idp",
    "config",
    "dynamodb",
    "ec2",
    "ecr",
    "ecs",
    "efs",
    "eks",
    "elasticache",
    "elbv2",
    "emr",
    "events",
    "firehose",
    "glue",
    "iam",
    "kinesis",
    "kms",
    "lambda",
    "logs",
    "opensearch",
    "organizations",
    "rds",
    "redshift",
    "route53",
    "s3",
    "s3control",
    "sagemaker",
    "secretsmanager",
    "ses",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
    "wafv2",
];

#[derive(Clone, Copy, Default)]
struct Count {
    operations: usize,
    action: usize,
    resource: usize,
}

impl Count {
    fn add(&mut self, (action, resource): (bool, bool)) {
        self.operations += 1;
        self.action += usize::from(action);
        self.resource += usize::from(action && resource);
    }
}

#[test]
fn operations_with_exact_action_and_resource() {
    let mut sources: BTreeMap<&str, Count> = BTreeMap::new();
    let mut services: BTreeMap<&str, Count> = BTreeMap::new();
    let mut all = Count::default();
    for service in catalog::services() {
        for operation in service.operations() {
            let (source, exact) = match service.name() {
                "kms" | "s3" | "secretsmanager" | "sqs" => ("code", of_code(service, operation)),
                "apigateway" | "apigatewayv2" if operation.rules().len() == 0 => {
                    ("code", of_code(service, operation))
                }
                // Code has some of their operations.
                "dynamodb" | "lambda" | "ssm" => match of_rules(operation) {
                    (_, (_, false)) if of_code(service, operation) == (true, true) => {
                        ("code", (true, true))
                    }
                    rules => rules,
                },
                _ => of_rules(operation),
            };
            sources.entry(source).or_default().add(exact);
            services.entry(service.name()).or_default().add(exact);
            all.add(exact);
        }
    }
    let mut table = String::new();
    let mut line = |name: &str, it: &Count| {
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "{name:<20} {:>10} {:>13} {:>15}",
            it.operations, it.action, it.resource
        );
    };
    for (name, count) in &sources {
        line(name, count);
    }
    line("all", &all);
    for name in TOP {
        line(name, &services[name]);
    }
    let header = "\nsource, service      operations  exact action  exact resource\n";
    // Not by println!, which a test that passes keeps to itself: the table is what it is for.
    std::io::stdout()
        .write_all(format!("{header}{table}").as_bytes())
        .unwrap();
    // What is there now must not get lost.
    assert!(all.action >= LEAST_ACTIONS, "{}", all.action);
    assert!(all.resource >= LEAST_RESOURCES, "{}", all.resource);
}

const LEAST_ACTIONS: usize = 18_900;
const LEAST_RESOURCES: usize = 14_500;

/// Where every resource of what is always asked for can be read from some request.
fn of_rules(operation: OperationModel) -> (&'static str, (bool, bool)) {
    let name = match operation.rules().next().map(catalog::Rule::source) {
        None => return ("unknown", (false, false)),
        Some(source::TABLE) => "table",
        Some(source::MAP) => "map",
        Some(_) => "names",
    };
    let mut targets = operation
        .rules()
        .filter(|it| it.when().is_none())
        .flat_map(catalog::Rule::targets);
    let unknown = targets.any(|it| {
        it.alternatives()
            .all(|it| it.kind() == alternative::UNKNOWN)
    });
    (name, (true, !unknown))
}

/// What code makes of a request that names everything.
fn of_code(service: Service, operation: OperationModel) -> (bool, bool) {
    let Some(call) = sample(service, operation) else {
        return (false, false);
    };
    let action = call.access.iter().all(|it| it.action.is_some());
    let resources = call.access.iter().flat_map(|it| &it.resources);
    (
        action,
        !resources.into_iter().any(|it| *it == Resource::Unknown),
    )
}

/// Members that name resources in calls which code reads.
const MEMBERS: &str = r#"{
    "AliasName": "alias/a", "DestinationKeyId": "k", "KeyId": "k", "Name": "n", "Names": ["n"], "Path": "/p",
    "QueueName": "q", "QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/q",
    "RequestItems": {"t": {}}, "ResourceArn": "arn:aws:dynamodb:us-east-1:123456789012:table/t",
    "SecretId": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-aB3xYz",
    "SecretIdList": ["arn:aws:secretsmanager:us-east-1:123456789012:secret:s-aB3xYz"],
    "SourceArn": "arn:aws:sqs:us-east-1:123456789012:q", "SourceKeyId": "k", "TargetKeyId": "k",
    "Statement": "SELECT * FROM \"t\"", "Statements": [{"Statement": "SELECT * FROM \"t\""}],
    "TransactItems": [{"Get": {"TableName": "t"}}], "TransactStatements": [{"Statement": "SELECT * FROM \"t\""}]
}"#;

fn sample(service: Service, operation: OperationModel) -> Option<Call> {
    let name = operation.name();
    let host = match service.name() {
        "s3" => "s3.us-east-1.amazonaws.com".to_owned(),
        _ => format!("{}.us-east-1.amazonaws.com", service.signing_name()),
    };
    let mut headers = HeaderMap::new();
    let mut query = String::new();
    let mut path = "/".to_owned();
    let mut method = Method::POST;
    let mut body;
    if service.speaks(protocol::JSON10 | protocol::JSON11) {
        let target = format!("{}.{name}", service.target_prefix());
        headers.insert("x-amz-target", HeaderValue::from_str(&target).ok()?);
        body = MEMBERS.replace("\"KeyId\"", "\"TableName\": \"t\", \"KeyId\"");
        if name.contains("ResourcePolicy") || name.contains("Tag") {
            body = MEMBERS.to_owned();
        }
    } else if let Some(route) = operation.route() {
        method = route.method().parse().ok()?;
        let segments: Vec<&str> = route
            .segments()
            .map(|it| match it {
                Segment::Literal(text) => text,
                Segment::Label | Segment::Greedy => "1",
            })
            .collect();
        path.push_str(&segments.join("/"));
        for (name, value) in route
            .statics()
            .chain(route.required_query().map(|it| (it, "1")))
        {
            write!(query, "{name}={value}&").ok()?;
        }
        for name in route.required_headers() {
            let value = if name == "x-amz-copy-source" {
                "b/k"
            } else {
                "1"
            };
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        body = match name {
            "DeleteObjects" => "<Delete><Object><Key>k</Key></Object></Delete>".to_owned(),
            _ if service.name() == "lambda" => r#"{"FunctionName": "f"}"#.to_owned(),
            _ => String::new(),
        };
    } else {
        return None;
    }
    let request = RequestView {
        method: &method,
        host: &host,
        path: &path,
        query: &query,
        headers: &headers,
        body: BodyView::Whole(body.as_bytes()),
    };
    let scope = Scope {
        region: "us-east-1",
        service: service.signing_name(),
    };
    identify(&request, Some(scope), Some("123456789012"), &[]).ok()
}
