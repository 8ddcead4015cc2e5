//! The catalog artifact's layout: written by `cargo xtask catalog`, read in place by `catalog`.
//!
//! Everything stands in flat tables that refer to each other by index, so that checking the whole artifact
//! once, at first use, is one pass over plain integers. `xtask` includes this file by path.

use rkyv::{Archive, Serialize};

/// An interned string: an index into `Catalog::text_ends`. 0 is the empty string.
pub type Text = u32;

/// Where an index has nothing to point at.
pub const NONE: u32 = u32::MAX;

/// A segment of a path template that takes one non-empty segment of any text.
pub const LABEL: u32 = u32::MAX;

/// A last segment of a path template that takes all that is left, at least one byte.
pub const GREEDY: u32 = u32::MAX - 1;

/// Bits of `Service::protocols`.
pub mod protocol {
    /// awsJson1_0.
    pub const JSON10: u32 = 1;
    /// awsJson1_1.
    pub const JSON11: u32 = 1 << 1;
    /// AWS query.
    pub const QUERY: u32 = 1 << 2;
    /// EC2 query.
    pub const EC2: u32 = 1 << 3;
    /// restJson1.
    pub const REST_JSON: u32 = 1 << 4;
    /// restXml.
    pub const REST_XML: u32 = 1 << 5;
    /// Smithy RPC v2 CBOR.
    pub const CBOR: u32 = 1 << 6;
}

/// Bits of `Output::flags`.
pub mod output {
    /// The body is a stream of bytes or events.
    pub const STREAMING: u32 = 1;
    /// The whole body is one member: the shape is that member's.
    pub const PAYLOAD: u32 = 1 << 1;
    /// The query protocol wraps the members in `{Operation}Result`.
    pub const WRAPPED: u32 = 1 << 2;
}

/// Values of `Shape::kind`.
pub mod kind {
    /// Members by name.
    pub const STRUCTURE: u32 = 0;
    /// Elements of one shape.
    pub const LIST: u32 = 1;
    /// Values of one shape by key.
    pub const MAP: u32 = 2;
    /// Text.
    pub const STRING: u32 = 3;
    /// Bytes.
    pub const BLOB: u32 = 4;
    /// Any number.
    pub const NUMBER: u32 = 5;
    /// A boolean.
    pub const BOOLEAN: u32 = 6;
    /// A time.
    pub const TIMESTAMP: u32 = 7;
}

/// Half-open range of another table.
#[derive(Archive, Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[rkyv(derive(Debug))]
pub struct Span {
    /// First index.
    pub start: u32,
    /// One past the last.
    pub end: u32,
}

/// Where the catalog's facts come from.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Source {
    /// Package name.
    pub name: Text,
    /// Its version.
    pub version: Text,
    /// Its licence, an SPDX expression.
    pub licence: Text,
    /// SHA-256 of the package file, hexadecimal.
    pub digest: Text,
}

/// A service model.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Service {
    /// botocore's name.
    pub name: Text,
    /// `apiVersion`.
    pub api_version: Text,
    /// `targetPrefix`: X-Amz-Target and CBOR paths; empty where there is none.
    pub target_prefix: Text,
    /// The name in credential scopes.
    pub signing_name: Text,
    /// See `protocol`.
    pub protocols: u32,
    /// In `operations`, sorted by name.
    pub operations: Span,
    /// In `routes`, sorted by method and segments (literals by their text, then `LABEL`, then `GREEDY`); empty
    /// unless the service speaks a REST protocol.
    pub routes: Span,
}

/// An API operation.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Operation {
    /// Its API name.
    pub name: Text,
    /// In `outputs`, or `NONE`.
    pub output: u32,
}

/// How a REST operation is told from the others of its service.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Route {
    /// In `operations`.
    pub operation: u32,
    /// HTTP method.
    pub method: Text,
    /// In `numbers`: `Text`, `LABEL` or `GREEDY` each.
    pub segments: Span,
    /// In `pairs`: query members the template fixes; an empty value takes the bare key too.
    pub statics: Span,
    /// In `numbers`: query keys of required members.
    pub required_query: Span,
    /// In `numbers`: lower-case header names of required members.
    pub required_headers: Span,
    /// In `numbers`: query keys of all members. Kept for S3 only, where an unknown key may be a
    /// subresource that names another operation.
    pub query: Span,
}

/// A name with a value.
#[derive(Archive, Clone, Copy, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Pair {
    /// Name.
    pub name: Text,
    /// Value.
    pub value: Text,
}

/// An entry of a sorted index.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Entry {
    /// What is looked up.
    pub key: Text,
    /// In `numbers`: services.
    pub services: Span,
}

/// What an operation's response holds that is worth masking.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Output {
    /// See `output`.
    pub flags: u32,
    /// In `shapes`, or `NONE` where only headers are worth masking.
    pub shape: u32,
    /// Class of the whole payload, 0 where it has none.
    pub class: u32,
    /// In `pairs`: header name and class.
    pub headers: Span,
}

/// A shape that is, or leads to one, worth masking.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Shape {
    /// See `kind`.
    pub kind: u32,
    /// In `members`, sorted by the text of their JSON names.
    pub members: Span,
    /// A list's element or a map's value, in `shapes`, or `NONE`.
    pub element: u32,
    /// Class of the element, 0 where it has none.
    pub element_class: u32,
    /// XML element name of a map's key.
    pub key_name: Text,
    /// XML element name of a map's value.
    pub value_name: Text,
}

/// A member of a structure.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Member {
    /// Name in JSON and CBOR.
    pub json_name: Text,
    /// XML element name; of the repeated element where flattened.
    pub xml_name: Text,
    /// Its shape.
    pub shape: u32,
    /// Its class, 0 where it has none.
    pub class: u32,
    /// What the XML element is: the shape, or one element of it where flattened.
    pub xml_shape: u32,
    /// Class of the XML element.
    pub xml_class: u32,
}

/// The artifact.
#[derive(Archive, Clone, Debug, Default, Serialize)]
pub struct Catalog {
    /// Packages it was made from.
    pub sources: Vec<Source>,
    /// All strings, one after another.
    pub text: String,
    /// Where in `text` each string ends; it starts where the one before ends.
    pub text_ends: Vec<u32>,
    /// Sorted by name.
    pub services: Vec<Service>,
    /// Grouped by service.
    pub operations: Vec<Operation>,
    /// Grouped by service.
    pub routes: Vec<Route>,
    /// Host labels → services; sorted.
    pub hosts: Vec<Entry>,
    /// Host labels that follow labels of the customer's (`{AccountId}.`) → services; sorted.
    pub host_tails: Vec<Entry>,
    /// Scope's service → services; sorted.
    pub signers: Vec<Entry>,
    /// Target prefix → services; sorted.
    pub targets: Vec<Entry>,
    /// Outputs worth masking.
    pub outputs: Vec<Output>,
    /// Their shapes.
    pub shapes: Vec<Shape>,
    /// Their shapes' members.
    pub members: Vec<Member>,
    /// Names with values.
    pub pairs: Vec<Pair>,
    /// Lists of numbers.
    pub numbers: Vec<u32>,
}
