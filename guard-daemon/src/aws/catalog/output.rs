//! What responses hold that is worth masking: the catalog's side of `mask::Shape`.

use super::{schema, slice, tables, text};
use crate::mask::{Class, Format, Kind, Layout, Shape};

/// What an operation's response holds that is worth masking.
#[derive(Clone, Copy, Debug)]
pub struct Output(&'static schema::ArchivedOutput);

impl Output {
    pub(super) fn at(number: rkyv::rend::u32_le) -> Option<Self> {
        tables().outputs.get(number.to_native() as usize).map(Self)
    }

    /// Where in the body the shapes are. Where only headers are worth masking, the shape has no members.
    pub fn layout(self) -> Layout<OutputShape> {
        let shape = OutputShape(self.0.shape.to_native());
        if self.has(schema::output::PAYLOAD) {
            return Layout::Payload {
                shape,
                class: class(self.0.class.to_native()),
            };
        }
        Layout::Members {
            shape,
            wrappers: usize::from(self.has(schema::output::WRAPPED)),
        }
    }

    /// Response headers worth masking, lower case.
    pub fn headers(self) -> impl Iterator<Item = (&'static str, Class)> {
        slice(&tables().pairs, &self.0.headers)
            .iter()
            .filter_map(|it| Some((text(it.name), class(it.value.to_native())?)))
    }

    /// The body is a stream of bytes or events rather than a document.
    pub fn is_streaming(self) -> bool {
        self.has(schema::output::STREAMING)
    }

    fn has(self, flag: u32) -> bool {
        self.0.flags.to_native() & flag != 0
    }
}

/// A shape in the catalog. One that is not there has no members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutputShape(u32);

impl Shape for OutputShape {
    fn kind(self) -> Kind {
        match self
            .archived()
            .map_or(schema::kind::STRUCTURE, |it| it.kind.to_native())
        {
            schema::kind::LIST => Kind::List,
            schema::kind::MAP => Kind::Map,
            schema::kind::STRING => Kind::String,
            schema::kind::BLOB => Kind::Blob,
            schema::kind::NUMBER => Kind::Number,
            schema::kind::BOOLEAN => Kind::Boolean,
            schema::kind::TIMESTAMP => Kind::Timestamp,
            _ => Kind::Structure,
        }
    }

    fn member(self, wire_name: &str, format: Format) -> Option<(Self, Option<Class>)> {
        let members = slice(&tables().members, &self.archived()?.members);
        match format {
            Format::Json => {
                let place = members
                    .binary_search_by(|it| text(it.json_name).cmp(wire_name))
                    .ok()?;
                let member = members.get(place)?;
                Some((
                    Self(member.shape.to_native()),
                    class(member.class.to_native()),
                ))
            }
            Format::Xml => {
                let member = members.iter().find(|it| text(it.xml_name) == wire_name)?;
                Some((
                    Self(member.xml_shape.to_native()),
                    class(member.xml_class.to_native()),
                ))
            }
        }
    }

    fn element(self) -> Option<(Self, Option<Class>)> {
        let shape = self.archived()?;
        let element = shape.element.to_native();
        (element != schema::NONE).then(|| (Self(element), class(shape.element_class.to_native())))
    }

    fn entry_names(self) -> (&'static str, &'static str) {
        self.archived().map_or(("key", "value"), |it| {
            (text(it.key_name), text(it.value_name))
        })
    }
}

impl OutputShape {
    fn archived(self) -> Option<&'static schema::ArchivedShape> {
        tables().shapes.get(self.0 as usize)
    }
}

/// The generator's numbers.
fn class(number: u32) -> Option<Class> {
    match number {
        1 => Some(Class::Credential),
        2 => Some(Class::Content),
        3 => Some(Class::Pii),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::catalog::service;

    fn output(of: &str, operation: &str) -> Output {
        service(of)
            .unwrap()
            .operation(operation)
            .unwrap()
            .output()
            .unwrap()
    }

    /// Descends a dotted path; `[]` is an element.
    fn class_at(output: Output, path: &str, format: Format) -> Option<Class> {
        let (mut shape, mut class) = match output.layout() {
            Layout::Members { shape, .. } => (shape, None),
            Layout::Payload { shape, class } => (shape, class),
        };
        for step in path.split('.').filter(|step| !step.is_empty()) {
            if class.is_some() {
                break;
            }
            (shape, class) = if step == "[]" {
                shape.element()
            } else {
                shape.member(step, format)
            }
            .unwrap_or_else(|| panic!("no {step} of {path}"));
        }
        class
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table of cases")]
    fn known_secrets() {
        for (service, operation, path, format, class) in [
            (
                "ssm",
                "GetParameter",
                "Parameter.Value",
                Format::Json,
                Class::Credential,
            ),
            (
                "ssm",
                "GetParametersByPath",
                "Parameters.[].Value",
                Format::Json,
                Class::Credential,
            ),
            (
                "ssm",
                "StartSession",
                "TokenValue",
                Format::Json,
                Class::Credential,
            ),
            (
                "secretsmanager",
                "GetSecretValue",
                "SecretString",
                Format::Json,
                Class::Credential,
            ),
            (
                "secretsmanager",
                "GetSecretValue",
                "SecretBinary",
                Format::Json,
                Class::Credential,
            ),
            (
                "secretsmanager",
                "BatchGetSecretValue",
                "SecretValues.[].SecretString",
                Format::Json,
                Class::Credential,
            ),
            (
                "secretsmanager",
                "GetRandomPassword",
                "RandomPassword",
                Format::Json,
                Class::Credential,
            ),
            (
                "kms",
                "Decrypt",
                "Plaintext",
                Format::Json,
                Class::Credential,
            ),
            (
                "kms",
                "GenerateDataKeyPair",
                "PrivateKeyPlaintext",
                Format::Json,
                Class::Credential,
            ),
            (
                "sts",
                "AssumeRole",
                "Credentials.SecretAccessKey",
                Format::Xml,
                Class::Credential,
            ),
            (
                "sts",
                "AssumeRole",
                "Credentials.SessionToken",
                Format::Xml,
                Class::Credential,
            ),
            (
                "sts",
                "GetSessionToken",
                "Credentials.SessionToken",
                Format::Xml,
                Class::Credential,
            ),
            (
                "iam",
                "CreateAccessKey",
                "AccessKey.SecretAccessKey",
                Format::Xml,
                Class::Credential,
            ),
            (
                "iam",
                "CreateVirtualMFADevice",
                "VirtualMFADevice.Base32StringSeed",
                Format::Xml,
                Class::Credential,
            ),
            (
                "ec2",
                "GetPasswordData",
                "passwordData",
                Format::Xml,
                Class::Credential,
            ),
            (
                "ec2",
                "CreateKeyPair",
                "keyMaterial",
                Format::Xml,
                Class::Credential,
            ),
            (
                "ec2",
                "DescribeInstanceAttribute",
                "userData",
                Format::Xml,
                Class::Credential,
            ),
            (
                "lambda",
                "GetFunctionConfiguration",
                "Environment.Variables.[]",
                Format::Json,
                Class::Credential,
            ),
            (
                "lambda",
                "GetFunction",
                "Configuration.Environment.Variables.[]",
                Format::Json,
                Class::Credential,
            ),
            (
                "lambda",
                "ListFunctions",
                "Functions.[].Environment.Variables.[]",
                Format::Json,
                Class::Credential,
            ),
            ("lambda", "Invoke", "", Format::Json, Class::Content),
            (
                "ecr",
                "GetAuthorizationToken",
                "authorizationData.[].authorizationToken",
                Format::Json,
                Class::Credential,
            ),
            (
                "codeartifact",
                "GetAuthorizationToken",
                "authorizationToken",
                Format::Json,
                Class::Credential,
            ),
            (
                "cognito-identity",
                "GetCredentialsForIdentity",
                "Credentials.SessionToken",
                Format::Json,
                Class::Credential,
            ),
            (
                "sso",
                "GetRoleCredentials",
                "roleCredentials.sessionToken",
                Format::Json,
                Class::Credential,
            ),
            (
                "s3",
                "CreateSession",
                "Credentials.SecretAccessKey",
                Format::Xml,
                Class::Credential,
            ),
            (
                "s3control",
                "GetDataAccess",
                "Credentials.SessionToken",
                Format::Xml,
                Class::Credential,
            ),
            (
                "ecs",
                "DescribeTaskDefinition",
                "taskDefinition.containerDefinitions.[].environment",
                Format::Json,
                Class::Credential,
            ),
            (
                "rds",
                "DescribeDBInstances",
                "DBInstances.[].PendingModifiedValues.MasterUserPassword",
                Format::Xml,
                Class::Credential,
            ),
            (
                "acm",
                "ExportCertificate",
                "PrivateKey",
                Format::Json,
                Class::Credential,
            ),
            (
                "apigateway",
                "GetApiKey",
                "value",
                Format::Json,
                Class::Credential,
            ),
            (
                "events",
                "DescribeConnection",
                "AuthParameters.InvocationHttpParameters.HeaderParameters.[].Value",
                Format::Json,
                Class::Credential,
            ),
        ] {
            let found = class_at(output(service, operation), path, format);
            assert_eq!(found, Some(class), "{service}:{operation} {path}");
        }
    }

    #[test]
    fn parsers_keep_what_they_need() {
        let credentials = output("s3control", "GetDataAccess");
        assert_eq!(
            class_at(credentials, "Credentials.Expiration", Format::Xml),
            Some(Class::Content)
        );
        for (service, operation) in [("sts", "AssumeRole"), ("iam", "CreateAccessKey")] {
            let Layout::Members { wrappers, .. } = output(service, operation).layout() else {
                panic!("{service} {operation} has members")
            };
            assert_eq!(wrappers, 1, "{service} {operation}");
        }
        let Layout::Members { wrappers, .. } = output("ec2", "CreateKeyPair").layout() else {
            panic!("members")
        };
        assert_eq!(wrappers, 0);
    }

    #[test]
    fn nothing_to_mask() {
        for (of, operation) in [
            ("sts", "GetCallerIdentity"),
            ("s3", "ListObjectsV2"),
            ("ec2", "DescribeVpcs"),
        ] {
            assert!(
                service(of)
                    .unwrap()
                    .operation(operation)
                    .unwrap()
                    .output()
                    .is_none(),
                "{of} {operation}"
            );
        }
        let headers: Vec<_> = output("s3", "GetObject").headers().collect();
        assert!(
            headers.iter().all(|it| it.1 != Class::Credential),
            "{headers:?}"
        );
    }

    /// Recursive models end: a walk by shape sees each once.
    #[test]
    fn recursion_is_a_graph() {
        let shapes = &tables().shapes;
        let members = tables().members.len();
        assert!(
            shapes.len() < 40_000 && members < 60_000,
            "{} shapes, {members} members",
            shapes.len()
        );
    }
}
