//! What a request asks AWS to do: service, operation, actions, resources; signatures; errors.
//!
//! Invariant: this module knows nothing of sockets or eBPF. It sees request parts and a bounded view of
//! the body, and reads an operation only from what AWS itself acts on.

pub mod bearer;
pub mod catalog;
mod cbor;
pub mod endpoint;
pub mod error;
mod form;
mod iam;
mod json;
mod keys;
mod operation;
pub mod sigv4;
pub mod token;
mod tree;
mod value;

use std::borrow::Cow;

use http::{HeaderMap, Method};

pub use keys::{KeyValue, Keys};

/// The parts of a request that AWS acts on. `path` and `query` are the raw bytes of the request target.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The request method.
    pub method: &'a Method,
    /// Host, lower case, without port: the one that was checked against the TLS server name.
    pub host: &'a str,
    /// Raw path, percent-encoded as received, starting with `/`.
    pub path: &'a str,
    /// Raw query without the `?`; empty where there is none.
    pub query: &'a str,
    /// All headers as received.
    pub headers: &'a HeaderMap,
    /// What is known of the body.
    pub body: BodyView<'a>,
}

/// A bounded view of the body.
#[derive(Clone, Copy, Debug)]
pub enum BodyView<'a> {
    /// The whole body.
    Whole(&'a [u8]),
    /// The body was not read, or was larger than the limit: what only it tells is unknown.
    Unread,
}

/// The wire protocol of a request; replies, errors included, must be in the same one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// awsJson1_0.
    Json10,
    /// awsJson1_1.
    Json11,
    /// AWS query.
    Query,
    /// EC2 query.
    Ec2,
    /// restJson1.
    RestJson,
    /// restXml, other than S3.
    RestXml,
    /// restXml in S3's dialect, whose errors have no wrapper.
    S3,
    /// Smithy RPC v2 CBOR.
    Cbor,
}

/// Which API operation a request calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Exactly this one, by its API name (`ListObjectsV2`).
    Known(&'static str),
    /// The wire does not tell these apart; IAM treats them alike.
    Ambiguous(Vec<&'static str>),
    /// Not derivable. Never treated as any known operation.
    Unknown,
}

/// A resource the call touches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Resource {
    /// Its ARN.
    Arn(String),
    /// The action takes no resource: IAM's `*`.
    Any,
    /// Not derivable. A deny or approve statement matches it, an allow naming resources does not.
    Unknown,
}

/// The access level that the Service Authorization Reference gives an action.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum AccessLevel {
    /// Finds out what there is.
    List,
    /// Reads what is in it.
    Read,
    /// Creates, changes or deletes.
    Write,
    /// Grants or changes permissions.
    PermissionsManagement,
    /// Changes tags only.
    Tagging,
}

impl AccessLevel {
    /// As the Service Authorization Reference writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "List",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::PermissionsManagement => "Permissions management",
            Self::Tagging => "Tagging",
        }
    }
}

/// One IAM action with the resources it is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// The IAM action (`s3:ListBucket`), as the Service Authorization Reference spells it, or `None` where
    /// it is not derivable.
    pub action: Option<Cow<'static, str>>,
    /// Its access level, or `None` where the action is not known.
    pub level: Option<AccessLevel>,
    /// At least one.
    pub resources: Vec<Resource>,
}

/// How sure the reading is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confidence {
    /// Operation, actions and resources all derived from the model or a reviewed table.
    Exact,
    /// The operation is exact; an action or a resource is not known.
    Partial,
    /// The operation is not known.
    Unknown,
}

/// What a request asks AWS to do.
#[derive(Clone, Debug)]
pub struct Call {
    /// The wire protocol, for the reply.
    pub protocol: Protocol,
    /// The AWS partition (`aws`, `aws-cn`, …).
    pub partition: &'static str,
    /// The region, from the credential scope, else the host.
    pub region: Option<String>,
    /// botocore's service name (`dynamodb`), or `None` where it is unknown.
    pub service: Option<&'static str>,
    /// botocore's names of all services that it may be for: those at the host, or where nothing is known of it, those
    /// that sign as it does.
    pub services: Vec<&'static str>,
    /// The operation.
    pub operation: Operation,
    /// Every operation of every service it may be: several where the wire does not tell them apart.
    pub candidates: Candidates,
    /// The IAM view of it: at least one entry.
    pub access: Vec<Access>,
    /// The condition keys, of those asked for, that the request tells.
    pub keys: Keys,
    /// How sure the reading is.
    pub confidence: Confidence,
    /// What the response holds that is worth masking; `None` where nothing is, or the operation is
    /// unknown.
    pub output: Option<catalog::Output>,
}

/// The operations that a request may be: none where it is unknown.
#[derive(Clone, Debug)]
pub struct Candidates(Vec<(catalog::Service, catalog::OperationModel)>);

impl Candidates {
    /// botocore's name of the service, and the operation's API name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'static str, &'static str)> {
        self.0.iter().map(|it| (it.0.name(), it.1.name()))
    }
}

/// Why a request is refused before any decision: what it says is ambiguous or not AWS.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {
    /// The host is not an AWS API endpoint.
    #[error("{host} is not an AWS API endpoint; check the endpoint the client is configured with")]
    NotAws {
        /// The host, shortened.
        host: String,
    },
    /// The credential scope names a service that is not at this host.
    #[error("signed for service {scope:?}, sent to {host:?}; sign for the service it is sent to")]
    ScopeMismatch {
        /// The scope's service.
        scope: String,
        /// The host's labels.
        host: String,
    },
    /// The target or path names an operation of a service that is not at this host.
    #[error(
        "the target names service {target}, which is not at this host; send it to that service's endpoint"
    )]
    TargetMismatch {
        /// botocore's name of the target's service.
        target: &'static str,
    },
    /// Two parts of the request each name an operation.
    #[error("{one} and {other} each name an operation; send one of them")]
    TwoOperations {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// Something that must be there once is there twice.
    #[error("{what} is given more than once, or in two spellings; send it once")]
    Repeated {
        /// What.
        what: String,
    },
    /// `x-id` names another operation than the request is.
    #[error("x-id says {hint:?}, but the request is {operation}; send the one it is, or none")]
    HintContradicts {
        /// What it says.
        hint: String,
        /// What the request is.
        operation: &'static str,
    },
    /// A header has some servers take another method.
    #[error("{header} may change the method; use the method itself")]
    MethodOverride {
        /// The header.
        header: &'static str,
    },
    /// Something that names the operation cannot be decoded.
    #[error("cannot read {what}; send UTF-8, percent-encoded where needed")]
    Unreadable {
        /// What.
        what: &'static str,
    },
}

/// Reads what a request asks for. `scope` is the credential scope's region and service, where the request
/// is signed; `account` the account of the real credentials, where known; `wanted` the condition keys, in lower
/// case, that the policy in force asks for.
///
/// # Errors
/// Refuses what is ambiguous: two targets, two actions, a scope that names another service than the host.
pub fn identify(
    request: &RequestView<'_>,
    scope: Option<Scope<'_>>,
    account: Option<&str>,
    wanted: &[&str],
) -> Result<Call, IdentifyError> {
    let mut endpoint = endpoint::classify(request.host).ok_or_else(|| IdentifyError::NotAws {
        host: operation::shown(request.host),
    })?;
    // A host without a region may be that of several partitions (`budgets-fips.api.aws`).
    if endpoint.partition == "aws"
        && endpoint.region.is_none()
        && let Some(scope) = scope
    {
        endpoint.partition = endpoint::partition_of(scope.region);
    }
    let reading = operation::read(request, &endpoint, scope)?;
    let region = scope
        .map(|it| it.region)
        .filter(|it| !it.is_empty())
        .or(endpoint.region.as_deref())
        .filter(|it| is_region(it));
    let asked = iam::Asked {
        request,
        endpoint: &endpoint,
        region,
        account,
        reading: &reading,
    };
    let (access, keys, confidence) = iam::access(&asked, wanted)?;
    let output = reading.operations.iter().find_map(|it| it.1.output());
    let operation = match reading.operations.as_slice() {
        [] => Operation::Unknown,
        [(_, first), rest @ ..] if rest.iter().all(|it| it.1.name() == first.name()) => {
            Operation::Known(first.name())
        }
        several => {
            let mut names: Vec<_> = several.iter().map(|it| it.1.name()).collect();
            names.dedup();
            Operation::Ambiguous(names)
        }
    };
    let service = match reading.services.as_slice() {
        [service] => Some(service.name()),
        // The wire does not tell rds, docdb and neptune apart.
        [first, ..] if !reading.operations.is_empty() => Some(first.name()),
        _ => None,
    };
    let mut services: Vec<_> = reading.services.iter().map(|it| it.name()).collect();
    if let (true, Some(scope)) = (services.is_empty(), scope) {
        // AWS takes no other signature for them, at whatever name of theirs.
        services.extend(catalog::services_signing(scope.service).map(catalog::Service::name));
    }
    Ok(Call {
        protocol: reading.protocol,
        partition: endpoint.partition,
        region: region.map(str::to_owned),
        service,
        services,
        operation,
        candidates: Candidates(reading.operations),
        access,
        keys,
        confidence,
        output,
    })
}

/// Whether text can stand in an ARN as a region, or is empty: the scope is the agent's.
fn is_region(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
}

/// Whether `identify` needs the whole body of this request to name its operation, its resources and the
/// `wanted` condition keys.
pub fn needs_body(request: &RequestView<'_>, scope: Option<Scope<'_>>, wanted: &[&str]) -> bool {
    let Some(endpoint) = endpoint::classify(request.host) else {
        return false;
    };
    // Whatever is refused without its body is refused with it.
    let unread = RequestView {
        body: BodyView::Unread,
        ..*request
    };
    operation::read(&unread, &endpoint, scope)
        .is_ok_and(|reading| iam::needs_body(request, &reading, wanted))
}

/// Region and service of a credential scope (`AKID/date/region/service/aws4_request`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope<'a> {
    /// The region.
    pub region: &'a str,
    /// The signing name.
    pub service: &'a str,
}
