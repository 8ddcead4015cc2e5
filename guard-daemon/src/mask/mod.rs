//! Masks secret members of responses, by the API models, and makes the integrity headers right again.
//!
//! `json` and `xml` replace masked values where they stand and leave every other byte as it is; `headers`
//! does the rest. What cannot be understood is an error, and the caller then sends nothing of it on.
//! docs/masking.md is the same for readers.

mod edits;
mod headers;
mod json;
mod replacement;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod xml;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use self::edits::{BODY, DEPTH, Edits};
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

    /// As a payload it is the body itself, in no format.
    fn is_opaque(self) -> bool {
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

/// Why a response could not be masked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {}

/// Masks what `masks` says of a successful response and makes its integrity headers right again. Returns
/// the body and the paths that were masked.
pub fn mask_response(
    _output: crate::aws::catalog::Output,
    _protocol: crate::aws::Protocol,
    _parts: &mut http::response::Parts,
    _body: bytes::Bytes,
    _masks: impl Fn(Class) -> bool,
) -> Result<(bytes::Bytes, Vec<String>), MaskError> {
    unimplemented!("contract")
}
