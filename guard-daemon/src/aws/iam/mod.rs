//! Operation → IAM actions and resources, by the Service Authorization Reference.
//!
//! The catalog has the rules of most operations; code here has those of services whose calls no rule
//! describes. A resource is an ARN only where the request alone, with account and region, says exactly which;
//! nothing is guessed.

mod api_gateway;
mod arn;
mod dynamodb;
mod input;
mod keys;
mod lambda;
mod named;
mod rules;
mod s3;
mod s3_copy;
mod s3_delete;
mod s3_keys;
mod s3_role;

use std::{borrow::Cow, collections::HashSet};

use super::{
    Access, Confidence, IdentifyError, Keys, Protocol, RequestView, Resource,
    catalog::{self, Location, OperationModel, Part, Path, Service, key, protocol},
    endpoint::Endpoint,
    operation::{self, Reading},
};
use input::Input;
use rules::Reader;

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

/// What IAM is asked for, at least one entry, and the `wanted` condition keys.
pub(super) fn access(
    asked: &Asked<'_>,
    wanted: &[&str],
) -> Result<(Vec<Access>, Keys, Confidence), IdentifyError> {
    let operations = &asked.reading.operations;
    if operations.is_empty() {
        let access = vec![unknown()];
        let keys = keys::read(asked, &[], &access, wanted);
        return Ok((access, keys, Confidence::Unknown));
    }
    let needed = needs_body(asked.request, asked.reading, wanted);
    let input = Input::of(asked, needed)?;
    let readers: Vec<Reader<'_, '_>> = operations
        .iter()
        .map(|(_, operation)| Reader {
            asked,
            input: &input,
            operation: *operation,
        })
        .collect();
    let mut access: Vec<Access> = Vec::new();
    for ((service, _), reader) in operations.iter().zip(&readers) {
        for entry in entries(*reader, *service) {
            if !access.contains(&entry) {
                access.push(entry);
            }
        }
    }
    let keys = keys::read(asked, &readers, &access, wanted);
    let known = |it: &Access| it.action.is_some() && !it.resources.contains(&Resource::Unknown);
    let exact = access.iter().all(known);
    let confidence = if exact {
        Confidence::Exact
    } else {
        Confidence::Partial
    };
    Ok((access, keys, confidence))
}

/// Whether the body names operation, resources or `wanted` condition keys.
pub(super) fn needs_body(
    request: &RequestView<'_>,
    reading: &Reading<'_>,
    wanted: &[&str],
) -> bool {
    let speaks = |bits| reading.services.iter().any(|it| it.speaks(bits));
    let named = match reading.protocol {
        Protocol::Query | Protocol::Ec2 => true,
        // The host has both kinds, and a form decides.
        _ => speaks(protocol::QUERY) && operation::is_form(request),
    };
    let rest = input::is_rest(reading.protocol);
    named
        || reading.operations.iter().any(|(service, operation)| {
            (match service.name() {
                "s3" => s3::reads_body(operation.name()),
                name => READ_BODIES.contains(&name),
            }) || operation.rules().any(|it| rule_reads_body(it, rest))
                || (!wanted.is_empty() && key_reads_body(*operation, rest, wanted))
        })
}

fn rule_reads_body(rule: catalog::Rule, rest: bool) -> bool {
    let mut alternatives = rule.targets().flat_map(catalog::Target::alternatives);
    rule.when().is_some_and(|it| is_in_body(it.0, rest))
        || alternatives.any(|it| alternative_reads_body(it, rest))
}

fn key_reads_body(operation: OperationModel, rest: bool, wanted: &[&str]) -> bool {
    let mut rules = operation
        .keys()
        .filter(|it| wanted.iter().any(|name| it.takes(name)));
    rules.any(|it| match it.kind() {
        key::ONE | key::MANY => it.alternatives().any(|it| alternative_reads_body(it, rest)),
        _ => it.path(0).is_some_and(|it| is_in_body(it, rest)),
    })
}

fn alternative_reads_body(it: catalog::Alternative, rest: bool) -> bool {
    let mut parts = it.parts();
    it.each().is_some_and(|it| is_in_body(it, rest))
        || parts.any(|it| matches!(it, Part::Member(path, _) if is_in_body(path, rest)))
}

fn is_in_body(path: Path, rest: bool) -> bool {
    !rest || matches!(path.location(), Location::Body | Location::Payload)
}

/// Services whose JSON bodies name their resources.
const READ_BODIES: &[&str] = &["dynamodb", "kms", "secretsmanager", "sqs", "ssm"];

fn entries(reader: Reader<'_, '_>, service: Service) -> Vec<Access> {
    let Reader {
        asked,
        input,
        operation,
    } = reader;
    let name = operation.name();
    let known = match service.name() {
        "s3" => Some(s3::access(asked, input, name)),
        "dynamodb" => dynamodb::access(asked, input, name),
        "lambda" => lambda::access(asked, name),
        "kms" => Some(named::kms(asked, input, name)),
        "secretsmanager" => Some(named::secretsmanager(input, name)),
        "sqs" => Some(named::sqs(asked, input, name)),
        "ssm" => named::ssm(asked, input, name),
        // Version 2 has some actions of operations' names.
        "apigateway" | "apigatewayv2" if operation.rules().len() == 0 => {
            Some(api_gateway::access(asked))
        }
        _ => None,
    };
    let mut access = match known {
        None => reader.access(),
        Some(mut known) => {
            for further in reader.beside() {
                if known.iter().all(|it| it.action != further.action) {
                    known.push(further);
                }
            }
            known
        }
    };
    if access.is_empty() {
        access.push(unknown());
    }
    for entry in &mut access {
        let action = entry.action.as_deref().and_then(catalog::action);
        // What the reference does not have is no action that a policy could name.
        entry.action = action.map(|it| Cow::Borrowed(it.name()));
        entry.level = action.map(catalog::ActionModel::level);
    }
    access
}

/// Nothing is known of what is asked for.
fn unknown() -> Access {
    Access {
        action: None,
        level: None,
        resources: vec![Resource::Unknown],
    }
}

/// One action on one resource.
fn one(action: impl Into<Cow<'static, str>>, resource: Resource) -> Access {
    Access {
        action: Some(action.into()),
        level: None,
        resources: vec![resource],
    }
}

/// One action on several resources; unknown where the list is empty.
fn on(action: impl Into<Cow<'static, str>>, mut resources: Vec<Resource>) -> Access {
    if resources.is_empty() {
        resources.push(Resource::Unknown);
    }
    Access {
        action: Some(action.into()),
        level: None,
        resources: distinct(resources),
    }
}

/// Each resource once, in order.
fn distinct(mut resources: Vec<Resource>) -> Vec<Resource> {
    if let [] | [_] = resources.as_slice() {
        return resources;
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
    resources
}

#[cfg(test)]
mod coverage;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod s3_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
