//! Operation → IAM actions and resources, by the Service Authorization Reference.
//!
//! By default an operation's action has its own name, and its resources are unknown. Tables here hold where
//! that is not so. A resource is an ARN only where the request alone, with account and region, says exactly
//! which; nothing is guessed.

mod arn;
mod dynamodb;
mod ec2;
mod lambda;
mod named;
mod prefix;
mod s3;

use std::{borrow::Cow, collections::HashSet};

use super::{
    Access, Confidence, IdentifyError, Protocol, RequestView, Resource,
    catalog::{OperationModel, Service, protocol},
    endpoint::Endpoint,
    form,
    json::{self, Json, Parsed},
    operation::{self, Reading},
};

/// All that resources are read from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The request.
    pub(super) request: &'a RequestView<'a>,
    /// Its host.
    pub(super) endpoint: &'a Endpoint,
    /// The scope's region, else the host's.
    pub(super) region: Option<&'a str>,
    /// Account of the real credentials.
    pub(super) account: Option<&'a str>,
    /// Its operation.
    pub(super) reading: &'a Reading<'a>,
}

/// What IAM is asked for: at least one entry.
pub(super) fn access(asked: &Asked<'_>) -> Result<(Vec<Access>, Confidence), IdentifyError> {
    if asked.reading.operations.is_empty() {
        let nothing = Access {
            action: None,
            resources: vec![Resource::Unknown],
        };
        return Ok((vec![nothing], Confidence::Unknown));
    }
    let input = Input::of(asked)?;
    let mut access: Vec<Access> = Vec::new();
    for (service, operation) in &asked.reading.operations {
        for entry in entries(asked, &input, *service, *operation) {
            if !access.contains(&entry) {
                access.push(entry);
            }
        }
    }
    let known = |it: &Access| it.action.is_some() && !it.resources.contains(&Resource::Unknown);
    let exact = access.iter().all(known);
    Ok((
        access,
        if exact {
            Confidence::Exact
        } else {
            Confidence::Partial
        },
    ))
}

/// Whether the body names operation or resources.
pub(super) fn needs_body(request: &RequestView<'_>, reading: &Reading<'_>) -> bool {
    let speaks = |bits| reading.services.iter().any(|it| it.speaks(bits));
    let named = match reading.protocol {
        Protocol::Query | Protocol::Ec2 => true,
        // The host has both kinds, and a form decides.
        _ => speaks(protocol::QUERY) && operation::is_form(request),
    };
    named
        || reading
            .operations
            .iter()
            .any(|(service, operation)| match service.name() {
                "s3" => operation.name() == "DeleteObjects",
                "lambda" => lambda::reads_body(operation.name()),
                name => reading.protocol != Protocol::Cbor && READ_BODIES.contains(&name),
            })
}

/// Services whose JSON bodies name their resources.
const READ_BODIES: &[&str] = &[
    "cloudwatch",
    "dynamodb",
    "kms",
    "secretsmanager",
    "sqs",
    "ssm",
];

fn entries(
    asked: &Asked<'_>,
    input: &Input<'_>,
    service: Service,
    operation: OperationModel,
) -> Vec<Access> {
    let name = operation.name();
    let known = match service.name() {
        "s3" => Some(s3::access(asked, name)),
        "dynamodb" => dynamodb::access(asked, input, name),
        "ec2" => ec2::access(asked, input, name),
        "lambda" => Some(lambda::access(asked, input, name)),
        "iam" => named::iam(asked, input, name),
        "kms" => Some(named::kms(asked, input, name)),
        "secretsmanager" => Some(named::secretsmanager(input, name)),
        "sqs" => Some(named::sqs(asked, input, name)),
        "ssm" => named::ssm(asked, input, name),
        "sts" => named::sts(input, name),
        "cloudwatch" => named::cloudwatch(asked, input, name),
        "s3control" => s3::account(name),
        "apigateway" | "apigatewayv2" => Some(api_gateway(asked)),
        _ => None,
    };
    let action = format!("{}:{name}", prefix::of(service));
    known.unwrap_or_else(|| vec![one(action, Resource::Unknown)])
}

/// API Gateway's actions are HTTP methods, its resources paths.
fn api_gateway(asked: &Asked<'_>) -> Vec<Access> {
    let path = form::decode(asked.request.path.as_bytes(), false);
    let resource = match path {
        Some(path) if !path.contains(|it: char| it.is_control() || it == '*' || it == '?') => {
            asked.arn_in("apigateway", asked.region, Some(""), &path)
        }
        _ => Resource::Unknown,
    };
    vec![one(
        format!("apigateway:{}", asked.request.method),
        resource,
    )]
}

/// One action on one resource.
fn one(action: impl Into<String>, resource: Resource) -> Access {
    Access {
        action: Some(action.into()),
        resources: vec![resource],
    }
}

/// One action on several resources; unknown where the list is empty.
fn on(action: impl Into<String>, mut resources: Vec<Resource>) -> Access {
    if resources.is_empty() {
        resources.push(Resource::Unknown);
    }
    let mut seen = HashSet::with_capacity(resources.len());
    let new: Vec<bool> = resources
        .iter()
        .map(|it| {
            seen.insert(if let Resource::Arn(arn) = it {
                Ok(arn)
            } else {
                Err(*it == Resource::Any)
            })
        })
        .collect();
    drop(seen);
    let mut new = new.into_iter();
    resources.retain(|_| new.next().unwrap_or(true));
    Access {
        action: Some(action.into()),
        resources,
    }
}

/// The input's members, from JSON body or form.
#[derive(Debug)]
enum Input<'a> {
    Json(Json<'a>),
    Form(&'a [(Cow<'a, str>, Cow<'a, str>)]),
    /// Not read, not readable, or in the path.
    Unknown,
}

impl<'a> Input<'a> {
    fn of(asked: &Asked<'a>) -> Result<Self, IdentifyError> {
        let reading = asked.reading;
        match reading.protocol {
            Protocol::Query | Protocol::Ec2 => Ok(Self::Form(&reading.form)),
            Protocol::Json10 | Protocol::Json11 | Protocol::RestJson
                if needs_body(asked.request, reading) =>
            {
                let Some(body) = operation::plain_body(asked.request) else {
                    return Ok(Self::Unknown);
                };
                match json::parse(body) {
                    Parsed::Value(value) => Ok(Self::Json(value)),
                    Parsed::Malformed => Ok(Self::Unknown),
                    Parsed::Repeated => Err(IdentifyError::Repeated {
                        what: "a member of the body".to_owned(),
                    }),
                }
            }
            _ => Ok(Self::Unknown),
        }
    }

    /// A top-level text member. A form's member given twice is none.
    fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Json(json) => json.get(name)?.text(),
            Self::Form(pairs) => {
                let mut found = pairs.iter().filter(|it| it.0 == name);
                let value = found.next()?;
                found.next().is_none().then_some(value.1.as_ref())
            }
            Self::Unknown => None,
        }
    }

    /// Whether a top-level member is surely not given.
    fn lacks(&self, name: &str) -> bool {
        match self {
            Self::Json(json) => json.get(name).is_none(),
            Self::Form(pairs) => !pairs.iter().any(|it| it.0.starts_with(name)),
            Self::Unknown => false,
        }
    }

    /// A top-level list of texts: `Names`, `Name.1`, `Names.member.1`. Empty where one is not text.
    fn texts(&self, name: &str) -> Vec<&str> {
        match self {
            Self::Json(json) => {
                let elements = json.get(name).map_or(&[][..], Json::elements);
                elements
                    .iter()
                    .map(Json::text)
                    .collect::<Option<_>>()
                    .unwrap_or_default()
            }
            Self::Form(pairs) => pairs
                .iter()
                .filter(|(key, _)| {
                    key.strip_prefix(name)
                        .and_then(|rest| rest.strip_prefix('.'))
                        .is_some_and(|rest| {
                            let index = rest.strip_prefix("member.").unwrap_or(rest);
                            !index.is_empty() && index.bytes().all(|it| it.is_ascii_digit())
                        })
                })
                .map(|(_, value)| value.as_ref())
                .collect(),
            Self::Unknown => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
