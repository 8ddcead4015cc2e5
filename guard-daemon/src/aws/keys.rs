//! Condition keys: what a request says of them.

/// What is known of one condition key in the context of one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyValue {
    /// The key is surely not in the request's context: what IAM calls a missing key.
    Absent,
    /// Whether it is there, or with which value, is not derivable.
    Unknown,
    /// A single-valued key.
    One(String),
    /// A multivalued key, in the request's order; may be empty.
    Many(Vec<String>),
}
