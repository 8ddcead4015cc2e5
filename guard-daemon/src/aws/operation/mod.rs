//! Request → operation, for every AWS protocol.
//!
//! Host and credential scope name the service, and must agree. Then one signal names the operation: the CBOR
//! path, `X-Amz-Target`, `Action`, or method, path and query. Two signals at once are refused, because
//! which of them a given service takes is not known.

mod query;
mod rest;
mod s3;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};

use super::{
    BodyView, IdentifyError, Protocol, RequestView, Scope,
    catalog::{self, OperationModel, Service, protocol},
    endpoint::Endpoint,
    form,
};
pub(super) use s3::Bucket;

/// What a request says, before IAM's view of it.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The protocol to answer in.
    pub(super) protocol: Protocol,
    /// All the services it may be for; each speaks the protocol and has an operation in `operations`,
    /// unless there are none.
    pub(super) services: Vec<Service>,
    /// The candidates: none is unknown, several the wire does not tell apart.
    pub(super) operations: Vec<(Service, OperationModel)>,
    /// The form, in the query protocols.
    pub(super) form: Vec<query::Pair<'a>>,
    /// S3's bucket and key.
    pub(super) object: Option<s3::Object<'a>>,
}

/// Reads the operation of a request to an AWS endpoint.
pub(super) fn read<'a>(
    request: &RequestView<'a>,
    endpoint: &'a Endpoint,
    scope: Option<Scope<'_>>,
) -> Result<Reading<'a>, IdentifyError> {
    let services = services(endpoint, scope)?;
    let signals = Signals::of(request)?;
    let mut reading = Reading {
        protocol: Protocol::RestJson,
        services,
        operations: Vec::new(),
        form: Vec::new(),
        object: None,
    };
    if let Some(protocol) = signals.protocol(request, &reading.services) {
        reading.protocol = protocol;
    }
    if reading.services.is_empty() {
        return Ok(reading);
    }
    if signals.cbor || signals.cbor_path.is_some() {
        read_cbor(request, &signals, &mut reading)?;
    } else if let Some(target) = signals.target {
        read_target(request, target, &mut reading)?;
    } else if !query::read(request, &mut reading)? {
        if let Some(bucket) = s3::bucket(request, &mut reading.services, endpoint) {
            s3::read(request, &bucket, &mut reading)?;
        } else {
            rest::read(request, &mut reading)?;
        }
    }
    check_hint(request, &reading)?;
    // Of services that the wire does not tell apart, the one the others sign as stands for all.
    reading
        .operations
        .sort_by_key(|it| it.0.name() != it.0.signing_name());
    reading
        .services
        .sort_by_key(|it| it.name() != it.signing_name());
    Ok(reading)
}

/// The services a request may be for.
pub(super) fn services(
    endpoint: &Endpoint,
    scope: Option<Scope<'_>>,
) -> Result<Vec<Service>, IdentifyError> {
    let mut services: Vec<Service> = catalog::services_at(&endpoint.labels).collect();
    if let Some(scope) = scope
        && !services.is_empty()
    {
        let signing = catalog::services_signing(scope.service);
        services.retain(|it| signing.clone().any(|signer| signer == *it));
        if services.is_empty() {
            return Err(IdentifyError::ScopeMismatch {
                scope: shown(scope.service),
                host: shown(&endpoint.labels),
            });
        }
    }
    Ok(services)
}

/// What may name the operation outside of method, path and form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signals<'a> {
    /// `X-Amz-Target`.
    target: Option<&'a str>,
    /// `smithy-protocol: rpc-v2-cbor`.
    cbor: bool,
    /// Prefix and operation of a CBOR path.
    cbor_path: Option<(&'a str, &'a str)>,
}

impl<'a> Signals<'a> {
    fn of(request: &RequestView<'a>) -> Result<Self, IdentifyError> {
        if let Some(header) = OVERRIDES
            .iter()
            .find(|it| request.headers.contains_key(**it))
        {
            return Err(IdentifyError::MethodOverride { header });
        }
        let target = single(request, "x-amz-target")?;
        let smithy = single(request, "smithy-protocol")?;
        // Whether the body is a form must be said once.
        single(request, "content-type")?;
        let cbor_path = cbor_path(request.path);
        if target.is_some() && (smithy.is_some() || cbor_path.is_some()) {
            return Err(IdentifyError::TwoOperations {
                one: "X-Amz-Target",
                other: "the path",
            });
        }
        if target.is_some() && names_action(request) {
            return Err(IdentifyError::TwoOperations {
                one: "X-Amz-Target",
                other: "Action",
            });
        }
        Ok(Self {
            target,
            cbor: smithy == Some("rpc-v2-cbor"),
            cbor_path,
        })
    }

    /// The protocol this request is in, as far as headers, path and the services tell.
    fn protocol(&self, request: &RequestView<'_>, services: &[Service]) -> Option<Protocol> {
        let all = |bits: u32| !services.is_empty() && services.iter().any(|it| it.speaks(bits));
        if self.cbor {
            return Some(Protocol::Cbor);
        }
        if self.target.is_some() {
            let given = content_type(request).unwrap_or_default();
            let is = |name: &str| given.eq_ignore_ascii_case(name);
            return Some(if is("application/x-amz-json-1.0") {
                Protocol::Json10
            } else if is("application/x-amz-json-1.1") || !all(protocol::JSON10) {
                Protocol::Json11
            } else {
                Protocol::Json10
            });
        }
        if services
            .iter()
            .any(|it| matches!(it.name(), "s3" | "s3control"))
        {
            return Some(Protocol::S3);
        }
        let rest = protocol::REST_JSON | protocol::REST_XML;
        if all(protocol::EC2) {
            return Some(Protocol::Ec2);
        }
        if all(protocol::QUERY) && (!all(rest) || is_form(request) || request.path == "/") {
            return Some(Protocol::Query);
        }
        if all(protocol::REST_JSON) {
            return Some(Protocol::RestJson);
        }
        if all(protocol::REST_XML) {
            return Some(Protocol::RestXml);
        }
        if all(protocol::JSON10) {
            return Some(Protocol::Json10);
        }
        if all(protocol::JSON11) {
            return Some(Protocol::Json11);
        }
        all(protocol::CBOR).then_some(Protocol::Cbor)
    }
}

/// The protocol to answer in where nothing was, or could be, identified.
pub(super) fn protocol_of(request: &RequestView<'_>, services: &[Service]) -> Protocol {
    let signals = Signals::of(request).unwrap_or(Signals {
        target: request
            .headers
            .get("x-amz-target")
            .and_then(|it| it.to_str().ok()),
        cbor: request.headers.contains_key("smithy-protocol"),
        cbor_path: None,
    });
    signals.protocol(request, services).unwrap_or_else(|| {
        if is_form(request) {
            Protocol::Query
        } else if content_type(request).is_some_and(is_xml) {
            Protocol::RestXml
        } else {
            Protocol::RestJson
        }
    })
}

/// At most this much of what the agent wrote goes into a message.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_graphic)
        .take(80)
        .collect()
}

/// The one value of a header; twice, or not ASCII, is refused.
pub(super) fn single<'a>(
    request: &RequestView<'a>,
    name: &'static str,
) -> Result<Option<&'a str>, IdentifyError> {
    let mut values = request
        .headers
        .get_all(HeaderName::from_static(name))
        .iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(IdentifyError::Repeated {
            what: name.to_owned(),
        });
    }
    let value = value
        .to_str()
        .ok()
        .ok_or(IdentifyError::Unreadable { what: name })?;
    Ok(Some(value.trim()))
}

/// Whether the query string has an `Action`, or might.
fn names_action(request: &RequestView<'_>) -> bool {
    form::pairs(request.query.as_bytes())
        .any(|it| it.is_none_or(|(name, _)| name.eq_ignore_ascii_case("Action")))
}

/// Whether the body says it is a form.
pub(super) fn is_form(request: &RequestView<'_>) -> bool {
    let form = "application/x-www-form-urlencoded";
    content_type(request).is_some_and(|it| it.eq_ignore_ascii_case(form))
}

/// The whole body, where it is there and not encoded.
pub(super) fn plain_body<'a>(request: &RequestView<'a>) -> Option<&'a [u8]> {
    let BodyView::Whole(body) = request.body else {
        return None;
    };
    let mut encodings = request.headers.get_all(CONTENT_ENCODING).iter();
    encodings
        .all(|it| it.is_empty() || it == "identity")
        .then_some(body)
}

/// Headers that have some servers take another method than the request line's.
const OVERRIDES: &[&str] = &[
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

fn is_xml(media: &str) -> bool {
    let end = media.len().checked_sub(3).and_then(|it| media.get(it..));
    end.is_some_and(|it| it.eq_ignore_ascii_case("xml"))
}

/// The media type, without parameters, in the case it is given in.
fn content_type<'a>(request: &RequestView<'a>) -> Option<&'a str> {
    let value = request.headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// `/service/{prefix}/operation/{Operation}`, which may follow other segments (Smithy RPC v2 CBOR,
/// "Requests").
fn cbor_path(path: &str) -> Option<(&str, &str)> {
    let mut segments = path.rsplit('/');
    let operation = segments.next()?;
    let middle = segments.next()?;
    let prefix = segments.next()?;
    let first = segments.next()?;
    (middle == "operation" && first == "service").then_some((prefix, operation))
}

fn read_cbor(
    request: &RequestView<'_>,
    signals: &Signals<'_>,
    reading: &mut Reading<'_>,
) -> Result<(), IdentifyError> {
    if !reading.services.iter().any(|it| it.speaks(protocol::CBOR)) && !signals.cbor {
        // A REST path that happens to look like one.
        return rest::read(request, reading);
    }
    let other = if names_action(request) {
        Some("Action")
    } else {
        is_form(request).then_some("the form")
    };
    if let Some(other) = other {
        return Err(IdentifyError::TwoOperations {
            one: "the path",
            other,
        });
    }
    let (Some((prefix, name)), true, "POST") =
        (signals.cbor_path, signals.cbor, request.method.as_str())
    else {
        return Ok(());
    };
    reading.keep(prefix, name, protocol::CBOR)
}

fn read_target(
    request: &RequestView<'_>,
    target: &str,
    reading: &mut Reading<'_>,
) -> Result<(), IdentifyError> {
    if is_form(request) {
        return Err(IdentifyError::TwoOperations {
            one: "X-Amz-Target",
            other: "the form",
        });
    }
    let Some((prefix, name)) = target.rsplit_once('.') else {
        return Ok(());
    };
    if request.method != http::Method::POST {
        return Ok(());
    }
    reading.keep(prefix, name, protocol::JSON10 | protocol::JSON11)
}

impl Reading<'_> {
    /// Keeps what has the target prefix. A prefix of another service than the host's is refused.
    fn keep(&mut self, prefix: &str, name: &str, protocols: u32) -> Result<(), IdentifyError> {
        let candidates = self
            .services
            .iter()
            .copied()
            .filter(|it| it.speaks(protocols));
        let services: Vec<Service> = candidates
            .filter(|it| it.target_prefix() == prefix)
            .collect();
        if services.is_empty() {
            return match catalog::services_targeted(prefix).next() {
                Some(other) => Err(IdentifyError::TargetMismatch {
                    target: other.name(),
                }),
                None => Ok(()),
            };
        }
        self.operations = services
            .iter()
            .filter_map(|it| Some((*it, it.operation(name)?)))
            .collect();
        // Two services may have one prefix (Timestream).
        self.services = match self.operations.as_slice() {
            [] => services,
            found => found.iter().map(|it| it.0).collect(),
        };
        Ok(())
    }
}

/// `x-id` repeats the operation's name for AWS's own logs. It decides nothing, but must not lie.
fn check_hint(request: &RequestView<'_>, reading: &Reading<'_>) -> Result<(), IdentifyError> {
    if reading.operations.is_empty() || !request.query.contains("x-id") {
        return Ok(());
    }
    for pair in form::pairs(request.query.as_bytes()) {
        let Some((name, value)) = pair else { continue };
        if name == "x-id" && !reading.operations.iter().any(|it| it.1.name() == value) {
            return Err(IdentifyError::HintContradicts {
                hint: shown(&value),
                operation: reading.operations[0].1.name(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
