//! Services whose calls name one kind of resource in one member.

use super::{Asked, Input, Reader, arn, on, one};
use crate::aws::{Access, KeyValue, Resource, form};

/// KMS. IAM names keys by key ARN; which key an alias or a ciphertext stands for, the request does not tell.
pub(super) fn kms(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Vec<Access> {
    let action = format!("kms:{operation}");
    let key = |member: &str| match input.text(member) {
        Some(id) if id.starts_with("arn:") => match arn::given(Some(id), "kms") {
            Resource::Arn(arn)
                if arn::parts(&arn).is_some_and(|it| it.resource.starts_with("key/")) =>
            {
                Resource::Arn(arn)
            }
            _ => Resource::Unknown,
        },
        Some(id) if arn::is_name(id, "") => asked.arn("kms", &format!("key/{id}")),
        _ => Resource::Unknown,
    };
    match operation {
        "CreateKey"
        | "GenerateRandom"
        | "ListAliases"
        | "ListKeys"
        | "ListRetirableGrants"
        | "DescribeCustomKeyStores"
        | "CreateCustomKeyStore"
        | "ConnectCustomKeyStore"
        | "DeleteCustomKeyStore"
        | "DisconnectCustomKeyStore"
        | "UpdateCustomKeyStore" => vec![one(action, Resource::Any)],
        "ReEncrypt" => vec![
            one("kms:ReEncryptFrom", key("SourceKeyId")),
            one("kms:ReEncryptTo", key("DestinationKeyId")),
        ],
        "CreateAlias" | "DeleteAlias" | "UpdateAlias" => {
            let alias = match input.text("AliasName") {
                Some(name) if name.starts_with("alias/") && arn::is_name(name, "/") => {
                    asked.arn("kms", name)
                }
                _ => Resource::Unknown,
            };
            let target = if operation == "DeleteAlias" {
                Resource::Unknown
            } else {
                key("TargetKeyId")
            };
            let mut resources = vec![alias, target];
            if operation == "UpdateAlias" {
                // The key it pointed to until now.
                resources.push(Resource::Unknown);
            }
            vec![on(action, resources)]
        }
        _ => vec![one(action, key("KeyId"))],
    }
}

/// Secrets Manager. A secret's ARN ends in six letters that its name does not tell, so that one named by name
/// is unknown; an ARN may lack them, and is taken only where it surely has them.
pub(super) fn secretsmanager(input: &Input<'_>, operation: &str) -> Vec<Access> {
    let action = format!("secretsmanager:{operation}");
    match operation {
        "ListSecrets" | "GetRandomPassword" => vec![one(action, Resource::Any)],
        "BatchGetSecretValue" => {
            let listed: Vec<Resource> = input
                .texts("SecretIdList")
                .into_iter()
                .map(|it| secret(Some(it)))
                .collect();
            vec![
                one(action, Resource::Any),
                on("secretsmanager:GetSecretValue", listed),
            ]
        }
        "CreateSecret" => vec![one(action, Resource::Unknown)],
        _ => vec![one(action, secret(input.text("SecretId")))],
    }
}

/// What `secretsmanager:SecretId` is for an operation on one secret; `None` where the request is on none.
pub(super) fn secret_id(reader: Reader<'_, '_>) -> Option<KeyValue> {
    if reader.asked.reading.services.first()?.name() != "secretsmanager" {
        return None;
    }
    Some(match secret(reader.input.text("SecretId")) {
        Resource::Arn(arn) => KeyValue::One(arn),
        _ => KeyValue::Unknown,
    })
}

fn secret(id: Option<&str>) -> Resource {
    let suffix = |arn: &str| arn.rsplit_once('-').map(|it| it.1.to_owned());
    match (arn::given(id, "secretsmanager"), id.and_then(suffix)) {
        (Resource::Arn(arn), Some(suffix)) if looks_random(&suffix) => Resource::Arn(arn),
        _ => Resource::Unknown,
    }
}

/// Six letters and digits that are no word: `prod-config` is a name, `prod-aB3xYz` a whole ARN's end.
fn looks_random(suffix: &str) -> bool {
    let count = |is: fn(&u8) -> bool| suffix.bytes().filter(is).count();
    let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let digits = count(u8::is_ascii_digit);
    let word = suffix.bytes().skip(1).all(|it| it.is_ascii_lowercase());
    suffix.len() == 6 && upper + lower + digits == 6 && upper > 0 && lower > 0 && !word
}

/// SSM: parameters.
pub(super) fn ssm(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Option<Vec<Access>> {
    let action = format!("ssm:{operation}");
    let names: Vec<&str> = match operation {
        "GetParameter"
        | "PutParameter"
        | "DeleteParameter"
        | "GetParameterHistory"
        | "LabelParameterVersion"
        | "UnlabelParameterVersion" => input.text("Name").into_iter().collect(),
        "GetParameters" | "DeleteParameters" => input.texts("Names"),
        "GetParametersByPath" => input.text("Path").into_iter().collect(),
        _ => return None,
    };
    let selected = operation.starts_with("GetParameter") && operation != "GetParametersByPath";
    let mut resources = Vec::with_capacity(names.len());
    let mut secrets = false;
    for name in names {
        if name.starts_with("arn:") {
            let resource = arn::parts(name).map_or("", |it| it.resource);
            secrets |= resource.strip_prefix("parameter/").is_some_and(is_secret);
            // A selector may follow.
            let plain = !resource.contains(':');
            resources.push(if plain {
                arn::given(Some(name), "ssm")
            } else {
                Resource::Unknown
            });
            continue;
        }
        let name = if selected {
            name.split(':').next().unwrap_or(name)
        } else {
            name
        };
        secrets |= is_secret(name);
        let name = name.strip_prefix('/').unwrap_or(name);
        resources.push(match name {
            _ if arn::is_name(name, "/") => asked.arn("ssm", &format!("parameter/{name}")),
            _ => Resource::Unknown,
        });
    }
    let mut access = vec![on(action, resources)];
    if secrets {
        access.push(one("secretsmanager:GetSecretValue", Resource::Unknown));
    }
    Some(access)
}

/// Whether a parameter's name stands for a secret.
fn is_secret(name: &str) -> bool {
    let name = name.strip_prefix('/').unwrap_or(name);
    name.starts_with("aws/reference/secretsmanager/")
}

/// SQS: the queue by URL in the body, or by the path in old clients' query calls, or by name.
pub(super) fn sqs(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Vec<Access> {
    let action = match operation {
        "SendMessageBatch" => "sqs:SendMessage".to_owned(),
        "DeleteMessageBatch" => "sqs:DeleteMessage".to_owned(),
        "ChangeMessageVisibilityBatch" => "sqs:ChangeMessageVisibility".to_owned(),
        _ => format!("sqs:{operation}"),
    };
    let resource = match operation {
        "ListQueues" => Resource::Any,
        "CreateQueue" | "GetQueueUrl" => {
            let account = if input.lacks("QueueOwnerAWSAccountId") {
                asked.account
            } else {
                input.text("QueueOwnerAWSAccountId")
            };
            match input.text("QueueName") {
                Some(name) if arn::is_name(name, "") => {
                    asked.arn_in("sqs", asked.region, account, name)
                }
                _ => Resource::Unknown,
            }
        }
        "StartMessageMoveTask" | "ListMessageMoveTasks" => {
            arn::given(input.text("SourceArn"), "sqs")
        }
        _ => queue(asked, input),
    };
    vec![one(action, resource)]
}

fn queue(asked: &Asked<'_>, input: &Input<'_>) -> Resource {
    let in_path = Some(asked.request.path).filter(|it| *it != "/");
    let path = match (input.text("QueueUrl"), in_path) {
        (Some(url), None) => {
            let rest = url.split_once("://").map_or(url, |it| it.1);
            rest.find('/').map(|place| &rest[place..])
        }
        (None, Some(path)) if input.lacks("QueueUrl") => Some(path),
        // Two queues, or not to be read.
        _ => None,
    };
    let path = path.and_then(|it| form::decode(it.as_bytes(), false));
    let resource = path
        .as_deref()
        .and_then(|it| it.strip_prefix('/')?.split_once('/'));
    match resource {
        Some((account, name))
            if account.bytes().all(|it| it.is_ascii_digit()) && arn::is_name(name, "") =>
        {
            asked.arn_in(
                "sqs",
                asked.region,
                Some(account).filter(|it| it.len() == 12),
                name,
            )
        }
        _ => Resource::Unknown,
    }
}
