//! Temporary credentials in an answer: where they stand, so that a session's dummies can take their place.
//!
//! `table` says which operations mint them. `Node` is an answer's shape as far as it leads to them; `With` lays
//! it over the catalog's shape, so that one walk through the document finds what was minted and masks the rest.
//! `found` is what the walk found. `unknown` looks at the answers of operations that no table has.

mod found;
mod table;
#[cfg(test)]
mod tests;
mod unknown;

use std::fmt;

use super::{Class, Format, Kind, Layout, Shape};

pub(super) use found::{Form, Found, Spot};

pub use found::Fresh;
pub use unknown::{ALWAYS_MASKED, holds_keys, may_hold_unfound};

/// An operation that mints credentials.
#[derive(Debug)]
pub struct Mints {
    /// botocore's name of the service.
    service: &'static str,
    /// The operation's API name.
    operation: &'static str,
    answer: Node,
    /// A successful answer without credentials is not understood.
    always: bool,
    whose: Whose,
}

impl fmt::Display for Mints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.operation)
    }
}

/// Whose credentials were minted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// The answer tells, if anything does.
    Told,
    /// The caller's own.
    Caller,
}

/// An answer's shape, as far as it leads to credentials.
#[derive(Debug)]
enum Node {
    /// Members by name.
    Members(&'static [(&'static str, Node)]),
    /// Elements of one shape.
    Elements(&'static Node),
    /// A structure that holds one set of credentials.
    Set(&'static [(&'static str, Part)]),
    /// Something that goes with all sets of the answer.
    Leaf(Part),
}

/// What a member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The access key id.
    AccessKeyId,
    /// The secret.
    SecretAccessKey,
    /// The session token.
    SessionToken,
    /// When they end. It stays as it is.
    Expiration(Unit),
    /// The ARN of whom they stand for. It stays as it is.
    Arn,
    /// Its unique identifier (`aws:userid`). It stays as it is.
    UserId,
}

/// The unit of a time that is written as a number since the epoch; one that is text is RFC 3339.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

impl Mints {
    /// The one of an operation, if it mints credentials.
    pub fn of(service: &str, operation: &str) -> Option<&'static Self> {
        Self::all().find(|it| it.operation == operation && it.service == service)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        table::TABLE.iter()
    }

    /// S3 Express: the session token has a header of its own.
    pub fn is_express(&self) -> bool {
        self.service == "s3"
    }

    /// Whose the credentials are.
    pub fn whose(&self) -> Whose {
        self.whose
    }

    pub(super) fn always(&self) -> bool {
        self.always
    }

    /// The answer's layout, with what leads to the credentials.
    pub(super) fn over<S: Shape>(&'static self, layout: Layout<S>) -> Layout<With<S>> {
        let with = |own, class| With {
            own: Some(own),
            node: Some(At::Node(&self.answer)),
            whole: class,
        };
        match layout {
            Layout::Members { shape, wrappers } => Layout::Members {
                shape: with(shape, None),
                wrappers,
            },
            Layout::Payload { shape, class } => Layout::Payload {
                shape: with(shape, class),
                class: None,
            },
        }
    }
}

/// A shape of the catalog and what leads to credentials in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct With<S> {
    own: Option<S>,
    node: Option<At>,
    /// The class of all that is in it but for the credentials, where it is masked as a whole.
    whole: Option<Class>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Node(&'static Node),
    Part(Part),
}

impl<S: Shape> With<S> {
    /// What lies below, from both; `None` where neither leads anywhere.
    fn below(
        self,
        own: Option<(S, Option<Class>)>,
        node: Option<At>,
    ) -> Option<(Self, Option<Class>)> {
        let (shape, class) = own.map_or((None, None), |(shape, class)| (Some(shape), class));
        let class = class.or(self.whole);
        if shape.is_none() && node.is_none() && class.is_none() {
            return None;
        }
        // What leads to credentials is not masked as a whole: what else is in it is.
        let (whole, class) = if node.is_some() {
            (class, None)
        } else {
            (None, class)
        };
        let with = Self {
            own: shape,
            node,
            whole,
        };
        Some((with, class))
    }
}

impl<S: Shape> Shape for With<S> {
    fn kind(self) -> Kind {
        match (self.node, self.own) {
            (Some(At::Node(Node::Members(_) | Node::Set(_))), _) => Kind::Structure,
            (Some(At::Node(Node::Elements(_))), _) => Kind::List,
            (Some(At::Node(Node::Leaf(_)) | At::Part(_)), _) | (None, None) => Kind::String,
            (None, Some(own)) => own.kind(),
        }
    }

    fn member(self, wire_name: &str, format: Format) -> Option<(Self, Option<Class>)> {
        let own = self.own.and_then(|own| own.member(wire_name, format));
        let node = match self.node {
            Some(At::Node(Node::Members(members))) => members
                .iter()
                .find(|it| it.0 == wire_name)
                .map(|it| At::Node(&it.1)),
            Some(At::Node(Node::Set(parts))) => parts
                .iter()
                .find(|it| it.0 == wire_name)
                .map(|it| At::Part(it.1)),
            _ => None,
        };
        self.below(own, node)
    }

    fn element(self) -> Option<(Self, Option<Class>)> {
        let node = match self.node {
            Some(At::Node(Node::Elements(element))) => Some(At::Node(element)),
            _ => None,
        };
        self.below(self.own.and_then(S::element), node)
    }

    fn entry_names(self) -> (&'static str, &'static str) {
        self.own.map_or(("key", "value"), S::entry_names)
    }

    fn part(self) -> Option<Part> {
        match self.node? {
            At::Part(part) => Some(part),
            At::Node(Node::Leaf(part)) => Some(*part),
            At::Node(_) => None,
        }
    }

    fn is_set(self) -> bool {
        matches!(self.node, Some(At::Node(Node::Set(_))))
    }
}
