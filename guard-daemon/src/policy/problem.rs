//! What can be wrong with a profile or a policy document, and where.

use std::ops::Range;

use super::condition::{OperatorError, ValueError};
use super::credentials::CredentialsError;
use super::keys::{GUARD_KEYS, LABEL_KEYS};
use super::length::LengthError;
use super::network::HostError;
use super::pattern::PatternError;
use super::reach::ReachError;

/// Characters of a profile's name or a `sid`.
pub(super) const LONGEST_NAME: usize = 64;

/// Characters of a `Sid` in a document: IAM names no bound.
pub(super) const LONGEST_SID: usize = 256;

/// Bytes a profile may have: it may come from a launcher over the control socket.
pub const LARGEST_PROFILE: usize = 1024 * 1024;

/// Bytes that all policy documents of a profile may have together.
pub const LARGEST_DOCUMENTS: usize = 1024 * 1024;

/// Policy documents that a profile may name. AWS attaches at most 20 policies to an identity and 5 to each of
/// 7 levels of an organization.
pub(super) const MOST_DOCUMENTS: usize = 100;

/// A problem, and the bytes where it is.
#[derive(Debug)]
pub(super) struct Misplaced(pub(super) Range<usize>, pub(super) Problem);

/// Why a profile was not accepted; the text names file position and remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Something in the text.
    #[error("profile {profile:?}, line {line}, column {column}: {problem}")]
    Invalid {
        /// The profile's name.
        profile: String,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong, and what to write instead.
        problem: Problem,
    },
    /// Something in the text of a policy document.
    #[error("policy document {document:?}, line {line}, column {column}: {problem}")]
    InvalidDocument {
        /// The document, as the profile names it.
        document: String,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong, and what to write instead.
        problem: Problem,
    },
    /// Larger than a profile may be.
    #[error(
        "profile {profile:?} has {bytes} bytes, more than the {LARGEST_PROFILE} allowed; use wildcards"
    )]
    TooLarge {
        /// The profile's name.
        profile: String,
        /// Its size.
        bytes: usize,
    },
    /// The documents are larger than they may be together.
    #[error(
        "the policy documents of profile {profile:?} have {bytes} bytes together, more than the \
         {LARGEST_DOCUMENTS} allowed; use wildcards"
    )]
    DocumentsTooLarge {
        /// The profile's name.
        profile: String,
        /// Their size.
        bytes: usize,
    },
    /// A document that the profile names was not given.
    #[error("profile {profile:?} names the policy document {document:?}, which is not at hand")]
    NoDocument {
        /// The profile's name.
        profile: String,
        /// The document, as the profile names it.
        document: String,
    },
    /// The file's stem is no name.
    #[error(
        "{profile:?} is not a profile name (1 to {LONGEST_NAME} letters, digits, `.`, `-`, `_`); rename the \
         file, or put `name = \"…\"` on its first line"
    )]
    Unnamed {
        /// The stem.
        profile: String,
    },
}

/// What is wrong at a place in a profile or a policy document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A bad length of time.
    #[error("`max_session`: {0}")]
    Length(LengthError),
    /// Not TOML, an unknown key or value, or a value of another type.
    #[error("{0}; docs/policy.md lists what a profile may say")]
    Syntax(String),
    /// Not JSON.
    #[error("{0}; a policy document is strict JSON, as IAM takes it")]
    Json(String),
    /// Nested deeper than any policy is.
    #[error("this is nested deeper than any policy is; remove it")]
    Depth,
    /// A key that IAM does not have there.
    #[error("IAM has no element {key:?} here; {hint}")]
    Element {
        /// The key.
        key: String,
        /// What to do about it.
        hint: String,
    },
    /// A key that is there already.
    #[error("{0:?} is already given; keep one of them")]
    Repeated(String),
    /// `Principal` or `NotPrincipal`.
    #[error(
        "{0:?} makes this a resource policy, which AWS evaluates where the resource is; guard takes identity \
         policies, permissions boundaries and service control policies, which have none"
    )]
    Principal(String),
    /// An element that must be there.
    #[error("there is no {0:?} here; add one")]
    Missing(&'static str),
    /// An element of another type or value.
    #[error("{key:?} is {expected}")]
    Expected {
        /// The element.
        key: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// `name` is no name.
    #[error("`name` has 1 to {LONGEST_NAME} letters, digits, `.`, `-` and `_`; choose another")]
    Name,
    /// `sid` is no name.
    #[error("a sid has 1 to {LONGEST_NAME} letters, digits, `.`, `-` and `_`; choose another")]
    Sid,
    /// `Sid` of a document's statement is no name.
    #[error(
        "a Sid has up to {LONGEST_SID} letters and digits (`.`, `-` and `_` are taken, too); choose another"
    )]
    DocumentSid,
    /// Two statements have the same `sid`.
    #[error("sid {0:?} is already that of an earlier statement; rename one of them")]
    DuplicateSid(String),
    /// Neither `action` nor `not_action`.
    #[error("this statement has no `{0}`; add one, \"*\" for all")]
    NoAction(&'static str),
    /// Neither `Resource` nor `NotResource`.
    #[error("this statement has no `Resource`; add one, \"*\" for all")]
    NoResource,
    /// Both of a pair.
    #[error("this statement has both `{0}` and `{1}`; keep one of them")]
    Both(&'static str, &'static str),
    /// A list without elements.
    #[error("`{0}` is an empty list, which would match nothing; name something, or remove it")]
    EmptyList(String),
    /// Not a string where one must be.
    #[error("`{0}` is a string or a list of strings")]
    NotText(String),
    /// Not a string, number or boolean where one must be.
    #[error(
        "`{0}` is compared with a string, number or boolean, or with a list of them; quote dates"
    )]
    NotScalar(String),
    /// Not a table where one must be.
    #[error(
        "here stand {0}, as in {{ \"StringEquals\": {{ \"aws:RequestedRegion\": \"eu-west-1\" }} }}"
    )]
    NotTable(&'static str),
    /// An unknown operator.
    #[error("{text:?} {error}")]
    Operator {
        /// The operator.
        text: String,
        /// What is wrong with it.
        error: OperatorError,
    },
    /// Not a condition key.
    #[error(
        "{0:?} is no condition key; keys are written `service:Name`, such as aws:RequestedRegion"
    )]
    ConditionKey(String),
    /// A condition key that guard does not have.
    #[error(
        "guard has no condition key {0:?}; its keys are {keys} and {LABEL_KEYS}NAME",
        keys = GUARD_KEYS.join(", ")
    )]
    GuardKey(String),
    /// A value of the wrong type for its operator.
    #[error("{text:?}: {error}")]
    Value {
        /// The value.
        text: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// A bad action or resource pattern.
    #[error("{text:?}: {error}")]
    Pattern {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        error: PatternError,
    },
    /// A bad entry among what of the host the session may reach or see.
    #[error("{text:?}: {error}")]
    Reach {
        /// The entry.
        text: String,
        /// What is wrong with it.
        error: ReachError,
    },
    /// Something of `[credentials]`.
    #[error("{0}")]
    Credentials(CredentialsError),
    /// A bad host pattern.
    #[error("{text:?}: {error}")]
    Host {
        /// The pattern.
        text: String,
        /// What is wrong with it.
        error: HostError,
    },
    /// Too many documents.
    #[error("a profile names at most {MOST_DOCUMENTS} policy documents; merge some of them")]
    ManyDocuments,
    /// The name of a document.
    #[error("name a file: a path of 1 to 4096 bytes, relative to the profile's directory")]
    DocumentPath,
}
