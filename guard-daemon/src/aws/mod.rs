//! What a request asks AWS to do: service, operation, actions, resources; signatures; errors.
//!
//! Invariant: this module knows nothing of sockets or eBPF. It sees request parts and a bounded view of
//! the body, and reads an operation only from what AWS itself acts on.

pub mod catalog;
pub mod endpoint;
pub mod error;
pub mod iam;
pub mod operation;
pub mod sigv4;

use http::{HeaderMap, Method};

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

/// One IAM action with the resources it is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    /// The IAM action (`s3:ListBucket`), or `None` where it is not derivable.
    pub action: Option<String>,
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
    /// The operation.
    pub operation: Operation,
    /// The IAM view of it: at least one entry.
    pub access: Vec<Access>,
    /// How sure the reading is.
    pub confidence: Confidence,
    /// What the response holds that is worth masking; `None` where nothing is, or the operation is
    /// unknown.
    pub output: Option<catalog::Output>,
}

/// Why a request is refused before any decision: what it says is ambiguous or not AWS.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifyError {}

/// Reads what a request asks for. `scope` is the credential scope's region and service, where the request
/// is signed; `account` the account of the real credentials, where known.
///
/// # Errors
/// Refuses what is ambiguous: two targets, two actions, a scope that names another service than the host.
pub fn identify(
    _request: &RequestView<'_>,
    _scope: Option<Scope<'_>>,
    _account: Option<&str>,
) -> Result<Call, IdentifyError> {
    unimplemented!("contract")
}

/// Whether `identify` needs the whole body of this request to name its operation and resources.
pub fn needs_body(_request: &RequestView<'_>, _scope: Option<Scope<'_>>) -> bool {
    unimplemented!("contract")
}

/// Region and service of a credential scope (`AKID/date/region/service/aws4_request`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope<'a> {
    /// The region.
    pub region: &'a str,
    /// The signing name.
    pub service: &'a str,
}
