//! Masks secret members of responses, by the API models, and makes the integrity headers right again.
//!
//! `cbor`, `json` and `xml` replace masked values where they stand and leave every other byte as it is; `headers`
//! does the rest; `minted` knows the answers with temporary credentials, which are not masked but replaced by
//! dummies. What cannot be understood is an error, and the caller then sends nothing of it on.
//! docs/masking.md is the same for readers.

mod cbor;
mod edits;
mod headers;
mod json;
pub mod minted;
mod replacement;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod xml;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use memchr::memmem;

use self::edits::{BODY, DEPTH, Edits};
use self::minted::{Fresh, Mints, Part};
use crate::aws::{Protocol, catalog};
use crate::broker::DummyCredentials;

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

    /// As a payload it is the body itself, in no format.
    pub fn is_opaque(self) -> bool {
        matches!(self, Self::String | Self::Blob)
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
    /// The part of temporary credentials that it is.
    fn part(self) -> Option<Part> {
        None
    }
    /// Its members are one set of temporary credentials.
    fn is_set(self) -> bool {
        false
    }
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
        /// `CBOR`, `JSON` or `XML`.
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
    /// Nobody knows what it is, and it looks as if it held keys.
    #[error(
        "guard does not know the operation, and the answer looks as if it held AWS keys, which never pass; it is \
         withheld; call the operation as AWS's SDKs do"
    )]
    Unknown,
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

/// An answer with temporary credentials, and what gives the dummies that take their place.
pub struct Minting<'a> {
    /// The operation.
    pub mints: &'static Mints,
    /// Called for each set.
    pub issue: &'a mut dyn FnMut(Fresh) -> DummyCredentials,
}

/// Masks a whole response: body and headers, lengths and checksums made right. Returns the body to send
/// and the paths of what was masked (`Credentials.SecretAccessKey`, `Parameters[].Value`, `header
/// x-amz-…`): 64 at the most, then `…`, and none twice.
///
/// Where the operation mints temporary credentials, dummies take their place whatever is masked; their paths
/// are among those returned.
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
    minting: Option<&mut Minting<'_>>,
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
    let headers = &mut parts.headers;
    mask_body(layout, protocol, headers, body, masked, masks, minting)
}

/// Whether the body of a streaming output is passed on as it comes, after `mask_headers`. If not, the whole
/// of it is masked, and `mask_response` makes what is sent instead.
///
/// Events of a stream are not looked into: they are passed on.
pub fn may_stream(output: catalog::Output, masks: &dyn Fn(Class) -> bool) -> bool {
    !masks_whole(output.layout(), masks)
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

/// Makes the headers of a response right that speak of its body, which was changed.
pub fn repair_headers(headers: &mut HeaderMap, body: &[u8]) {
    headers::repair(headers, body);
}

fn mask_body<S: Shape>(
    layout: Layout<S>,
    protocol: Protocol,
    headers: &mut HeaderMap,
    body: Bytes,
    mut masked: Vec<String>,
    masks: &dyn Fn(Class) -> bool,
    minting: Option<&mut Minting<'_>>,
) -> Result<(Bytes, Vec<String>), MaskError> {
    for encoding in headers.get_all(CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            return Err(MaskError::Encoded { encoding });
        }
    }
    let document = match minting {
        Some(minting) => mint_document(layout, protocol, &body, masks, minting)?,
        None => mask_document(layout, protocol, &body, masks)?,
    };
    if let Some(document) = document {
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

/// The body is one text or blob, and masked.
fn masks_whole<S: Shape>(layout: Layout<S>, masks: &dyn Fn(Class) -> bool) -> bool {
    match layout {
        Layout::Payload { shape, class } => shape.kind().is_opaque() && class.is_some_and(masks),
        Layout::Members { .. } => false,
    }
}

/// Masks a body; `None` where nothing in it is to be masked.
fn mask_document<S: Shape>(
    layout: Layout<S>,
    protocol: Protocol,
    body: &[u8],
    masks: &dyn Fn(Class) -> bool,
) -> Result<Option<Masked>, MaskError> {
    if masks_whole(layout, masks) {
        let body = Bytes::from_static(replacement::TEXT.as_bytes());
        return Ok(Some(Masked {
            body,
            paths: vec![BODY.to_owned()],
        }));
    }
    if matches!(layout, Layout::Payload { shape, .. } if shape.kind().is_opaque()) {
        return Ok(None);
    }
    let mut edits = Edits::new(masks);
    walk(layout, protocol, body, &mut edits)?;
    Ok(edits.apply(body))
}

/// The same where temporary credentials are in it.
fn mint_document<S: Shape>(
    layout: Layout<S>,
    protocol: Protocol,
    body: &[u8],
    masks: &dyn Fn(Class) -> bool,
    minting: &mut Minting<'_>,
) -> Result<Option<Masked>, MaskError> {
    let mut edits = Edits::new(masks);
    walk(minting.mints.over(layout), protocol, body, &mut edits)?;
    let found = edits.found();
    if found.is_empty() && minting.mints.always() {
        return edits.contradiction();
    }
    let mut real = Vec::new();
    for (fresh, places) in found.sets() {
        real.extend([fresh.secret_access_key.clone(), fresh.session_token.clone()]);
        let dummy = (minting.issue)(fresh);
        let token = dummy.session_token.as_deref().unwrap_or_default();
        let values = [&dummy.access_key_id, &dummy.secret_access_key, token];
        for ((range, form), value) in places.into_iter().zip(values) {
            edits.put(range, form.write(value));
        }
    }
    let masked = edits.apply(body);
    // What stands there twice would still be there.
    let left = masked.as_ref().map_or(body, |it| &it.body);
    if real
        .iter()
        .any(|it| memmem::find(left, it.as_bytes()).is_some())
    {
        return Err(MaskError::Contradiction {
            path: BODY.to_owned(),
        });
    }
    Ok(masked)
}

/// Walks through a document.
fn walk<S: Shape>(
    layout: Layout<S>,
    protocol: Protocol,
    body: &[u8],
    edits: &mut Edits<'_>,
) -> Result<(), MaskError> {
    let (format, mask): (_, fn(_, _, &mut Edits<'_>) -> _) = match protocol {
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => ("JSON", json::mask),
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml | Protocol::S3 => ("XML", xml::mask),
        Protocol::Cbor => return cbor::mask(layout, body, edits),
    };
    let text = std::str::from_utf8(body).map_err(|error| MaskError::Malformed {
        format,
        reason: error.to_string(),
    })?;
    mask(layout, text, edits)
}
