//! Masks secret members of responses, by the API models, and makes the integrity headers right again.
//!
//! `json` and `xml` replace masked values where they stand and leave every other byte as it is; `headers`
//! does the rest. What cannot be understood is an error, and the caller then sends nothing of it on.
//! docs/masking.md is the same for readers.

mod headers;
mod json;
mod replacement;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod xml;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::aws::{Protocol, catalog};

/// Why a member is worth masking.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Keys, passwords, tokens, secret values.
    Credential,
    /// What a customer stored or computed.
    Content,
    /// Personal data.
    Pii,
}

/// The type of a shape in an output model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Members by name.
    Structure,
    /// Elements of one shape.
    List,
    /// Values of one shape by key.
    Map,
    /// Text.
    String,
    /// Bytes: base64 in JSON and XML.
    Blob,
    /// Any number.
    Number,
    /// A boolean.
    Boolean,
    /// A time, in the protocol's format.
    Timestamp,
}

/// Which of a member's wire names is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// JSON (and CBOR) names.
    Json,
    /// XML element names.
    Xml,
}

impl Kind {
    /// Other values are in it.
    fn is_aggregate(self) -> bool {
        matches!(self, Self::Structure | Self::List | Self::Map)
    }
}

/// A shape of an output model, reduced to what leads to members worth masking.
pub trait Shape: Copy {
    /// Its type.
    fn kind(self) -> Kind;
    /// The member of a structure with this wire name, where it is, or leads to, one worth masking;
    /// with the class if the member itself is to be masked whole (everything below it included).
    /// In XML a flattened list's or map's member is found under the name of its repeated element and
    /// is then the element's shape (a map's: the map itself, whose element of that name is an entry).
    fn member(self, wire_name: &str, format: Format) -> Option<(Self, Option<Class>)>;
    /// The element of a list or the value of a map, likewise.
    fn element(self) -> Option<(Self, Option<Class>)>;
    /// XML only: the element names of a map's key and value (`("key", "value")` unless renamed).
    fn entry_names(self) -> (&'static str, &'static str);
}

/// Where in a response body the shapes are.
#[derive(Clone, Copy, Debug)]
pub enum Layout<S> {
    /// The body's document holds the members of `shape`. XML: the root element is skipped, then
    /// `wrappers` more elements are descended (query protocol: one, `{Operation}Result`).
    Members {
        /// A structure.
        shape: S,
        /// XML only.
        wrappers: usize,
    },
    /// The whole body is one member: a structure (XML: its element is the root), a string or a blob.
    Payload {
        /// Its shape.
        shape: S,
        /// Set if all of it is to be masked.
        class: Option<Class>,
    },
}

/// Why a response could not be masked. Nothing of its body may reach the client.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The body is not a document of the protocol.
    #[error(
        "the response is not well-formed {format}: {reason}; it is withheld, since it may hold secrets"
    )]
    Malformed {
        /// `JSON` or `XML`.
        format: &'static str,
        /// What is wrong and where; never a part of the body.
        reason: String,
    },
    /// The body is not what the API model says, where a masked member may be.
    #[error(
        "the response does not have the form the API model says at {path}; it is withheld, since it may \
         hold secrets; the catalog may be older than the service"
    )]
    Contradiction {
        /// The member.
        path: String,
    },
    /// The body nests deeper than guard follows.
    #[error("the response nests deeper than {DEPTH} levels at {path}; it is withheld")]
    TooDeep {
        /// The member.
        path: String,
    },
    /// The body is compressed.
    #[error("the response is encoded as {encoding}, which cannot be masked; ask for `identity`")]
    Encoded {
        /// The content encoding.
        encoding: String,
    },
    /// The protocol's bodies cannot be masked yet.
    #[error(
        "{what} responses cannot be masked yet; use a client that speaks another protocol for this \
         service, or a profile that masks nothing in it"
    )]
    Unsupported {
        /// Which.
        what: &'static str,
    },
}

/// Masks a whole response: body and headers, lengths and checksums made right. Returns the body to send
/// and the paths of what was masked (`Credentials.SecretAccessKey`, `Parameters[].Value`, `header
/// x-amz-…`): 64 at the most, then `…`, and none twice.
///
/// Only the body of a successful response has the modelled form: that of an error is left as it is. The
/// body must be whole and without content encoding; the caller bounds its size.
///
/// # Errors
/// Whatever cannot be masked for sure. `parts` may have been changed then; send neither.
pub fn mask_response(
    output: catalog::Output,
    protocol: Protocol,
    parts: &mut http::response::Parts,
    body: Bytes,
    masks: &dyn Fn(Class) -> bool,
) -> Result<(Bytes, Vec<String>), MaskError> {
    let masked = mask_headers(output, &mut parts.headers, masks);
    if !parts.status.is_success() || body.is_empty() {
        return Ok((body, masked));
    }
    let layout = output.layout();
    if output.is_streaming() && matches!(layout, Layout::Members { .. }) {
        return Err(MaskError::Unsupported {
            what: "event stream",
        });
    }
    mask_body(layout, protocol, &mut parts.headers, body, masked, masks)
}

/// Masks the headers of a response alone, as for a streaming one whose body is passed on as it comes.
/// Returns what was masked.
pub fn mask_headers(
    output: catalog::Output,
    headers: &mut HeaderMap,
    masks: &dyn Fn(Class) -> bool,
) -> Vec<String> {
    headers::mask(output.headers(), headers, masks)
}

fn mask_body<S: Shape>(
    layout: Layout<S>,
    protocol: Protocol,
    headers: &mut HeaderMap,
    body: Bytes,
    mut masked: Vec<String>,
    masks: &dyn Fn(Class) -> bool,
) -> Result<(Bytes, Vec<String>), MaskError> {
    for encoding in headers.get_all(CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(MaskError::Encoded { encoding });
        }
    }
    if let Some(document) = mask_document(layout, protocol, &body, masks)? {
        headers::repair(headers, &document.body);
        masked.extend(document.paths);
        return Ok((document.body, masked));
    }
    Ok((body, masked))
}

/// A document in which something was masked.
#[derive(Debug)]
struct Masked {
    body: Bytes,
    paths: Vec<String>,
}

/// Masks a body; `None` where nothing in it is to be masked.
fn mask_document<S: Shape>(
    layout: Layout<S>,
    protocol: Protocol,
    body: &[u8],
    masks: &dyn Fn(Class) -> bool,
) -> Result<Option<Masked>, MaskError> {
    if let Layout::Payload { shape, class } = layout
        && matches!(shape.kind(), Kind::String | Kind::Blob)
    {
        let whole = class.is_some_and(masks);
        return Ok(whole.then(|| Masked {
            body: Bytes::from_static(replacement::TEXT.as_bytes()),
            paths: vec![BODY.to_owned()],
        }));
    }
    let (format, mask): (_, fn(_, _, &mut Edits<'_>) -> _) = match protocol {
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => ("JSON", json::mask),
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml | Protocol::S3 => ("XML", xml::mask),
        Protocol::Cbor => return Err(MaskError::Unsupported { what: "CBOR" }),
    };
    let text = std::str::from_utf8(body).map_err(|error| MaskError::Malformed {
        format,
        reason: error.to_string(),
    })?;
    let mut edits = Edits::new(masks);
    mask(layout, text, &mut edits)?;
    Ok(edits.apply(text))
}

/// Levels of a document that are followed.
const DEPTH: usize = 128;
/// Paths that are named.
const PATHS: usize = 64;
/// The path of a body that is masked as a whole.
const BODY: &str = "(body)";

/// What is to be replaced in a document, and where the walk through it stands.
struct Edits<'m> {
    masks: &'m dyn Fn(Class) -> bool,
    replaced: Vec<(Range<usize>, Cow<'static, str>)>,
    /// The member the walk stands at.
    path: String,
    depth: usize,
    masked: Vec<String>,
}

/// A step into a document, for its path.
#[derive(Clone, Copy)]
enum Step<'a> {
    Member(&'a str),
    Element,
    Value,
    /// Structure of the document that the model has no name for.
    Unnamed,
}

/// Where a step came from: give it back to `leave`.
struct Left(usize);

impl<'m> Edits<'m> {
    fn new(masks: &'m dyn Fn(Class) -> bool) -> Self {
        Self {
            masks,
            replaced: Vec::new(),
            path: String::new(),
            depth: 0,
            masked: Vec::new(),
        }
    }

    fn enter(&mut self, step: Step<'_>) -> Result<Left, MaskError> {
        let left = Left(self.path.len());
        match step {
            Step::Member(name) => {
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(name);
            }
            Step::Element => self.path.push_str("[]"),
            Step::Value => self.path.push_str(".*"),
            Step::Unnamed => {}
        }
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(MaskError::TooDeep { path: self.place() });
        }
        Ok(left)
    }

    fn leave(&mut self, left: Left) {
        self.path.truncate(left.0);
        self.depth -= 1;
    }

    fn masks(&self, class: Option<Class>) -> bool {
        class.is_some_and(self.masks)
    }

    fn replace(&mut self, range: Range<usize>, text: impl Into<Cow<'static, str>>) {
        self.replaced.push((range, text.into()));
    }

    /// Notes that the member the walk stands at is masked.
    fn note(&mut self) {
        let place = self.place();
        if self.masked.len() > PATHS || self.masked.contains(&place) {
            return;
        }
        self.masked.push(if self.masked.len() == PATHS {
            "…".to_owned()
        } else {
            place
        });
    }

    fn contradiction<T>(&self) -> Result<T, MaskError> {
        Err(MaskError::Contradiction { path: self.place() })
    }

    fn place(&self) -> String {
        if self.path.is_empty() {
            BODY.to_owned()
        } else {
            self.path.clone()
        }
    }

    fn apply(mut self, text: &str) -> Option<Masked> {
        if self.replaced.is_empty() {
            return None;
        }
        self.replaced.sort_by_key(|(range, _)| range.start);
        let added: usize = self.replaced.iter().map(|(_, with)| with.len()).sum();
        let mut body = String::with_capacity(text.len() + added);
        let mut done = 0;
        for (range, with) in &self.replaced {
            body.push_str(&text[done..range.start]);
            body.push_str(with);
            done = range.end;
        }
        body.push_str(&text[done..]);
        Some(Masked {
            body: body.into(),
            paths: self.masked,
        })
    }
}
