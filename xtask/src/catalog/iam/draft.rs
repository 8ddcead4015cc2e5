//! Rules before they are laid out.

use super::super::schema::{Step, alternative, form, part, source};

/// An action that an operation asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// `service:Name` as the reference spells it.
    pub(crate) action: String,
    /// Its resources.
    pub(crate) targets: Vec<Target>,
    /// Asked for only where this is given, with this value if there is one.
    pub(crate) when: Option<(Path, Option<String>)>,
    /// As `schema::source`.
    pub(crate) source: u32,
}

impl Rule {
    /// For people.
    pub(crate) fn source_name(&self) -> &'static str {
        match self.source {
            source::TABLE => "table",
            source::MAP => "map",
            _ => "names",
        }
    }
}

/// A resource.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// None rather than unknown.
    pub(crate) optional: bool,
    /// The first that applies is taken.
    pub(crate) alternatives: Vec<Alternative>,
}

impl Target {
    /// IAM's `*`.
    pub(crate) fn any() -> Self {
        Self::plain(alternative::ANY)
    }

    /// Not derivable.
    pub(crate) fn unknown() -> Self {
        Self::plain(alternative::UNKNOWN)
    }

    fn plain(kind: u32) -> Self {
        Self {
            optional: false,
            alternatives: vec![Alternative {
                kind,
                each: None,
                parts: Vec::new(),
                services: Vec::new(),
            }],
        }
    }
}

/// A way to read one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alternative {
    /// As `schema::alternative`.
    pub(crate) kind: u32,
    /// What gives one resource per element.
    pub(crate) each: Option<Path>,
    /// Its parts.
    pub(crate) parts: Vec<Part>,
    /// Services a whole ARN may be of.
    pub(crate) services: Vec<String>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// Text.
    Literal(String),
    /// `part::PARTITION`, `REGION` or `ACCOUNT`.
    Call(u32),
    /// A member of the input.
    Member(Path, Form),
    /// A member of the element at hand.
    Item(Vec<NamedStep>, Form),
}

/// What a member must be, or is made into.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Form {
    /// As `schema::form`.
    pub(crate) kind: u32,
    /// What it is compared with.
    pub(crate) text: String,
}

impl Form {
    /// The member as it is.
    pub(crate) fn plain() -> Self {
        Self {
            kind: form::PLAIN,
            text: String::new(),
        }
    }

    /// Reads what follows a path's colon: `lower`, `^TEXT`, …
    pub(crate) fn read(written: &str) -> Option<Self> {
        let (kind, text) = match (written, written.get(1..)) {
            ("lower", _) => (form::LOWER, ""),
            ("name", _) => (form::NAME, ""),
            ("none", _) => (form::NONE, ""),
            ("digits", _) => (form::DIGITS, ""),
            ("unqualified", _) => (form::UNQUALIFIED, ""),
            (_, Some(text)) if written.starts_with('^') => (form::STARTS, text),
            (_, Some(text)) if written.starts_with('+') => (form::HOLDS, text),
            (_, Some(text)) if written.starts_with('!') => (form::NOT, text),
            (_, Some(text)) if written.starts_with('=') => (form::IS, text),
            _ => return None,
        };
        Some(Self {
            kind,
            text: text.to_owned(),
        })
    }

    /// Whether it takes another than a text.
    pub(crate) fn takes_any(&self) -> bool {
        matches!(self.kind, form::NONE | form::IS | form::NOT)
    }
}

/// Where a member is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path {
    /// As `schema::location`.
    pub(crate) location: u32,
    /// Name in query or header.
    pub(crate) name: String,
    /// Number of the label's segment.
    pub(crate) segment: u32,
    /// From the top of the input.
    pub(crate) steps: Vec<NamedStep>,
}

/// A step, not yet interned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NamedStep {
    /// As `schema::step`.
    pub(crate) kind: u32,
    /// As `Step::wire`.
    pub(crate) wire: String,
    /// As `Step::form`.
    pub(crate) form: String,
}

impl NamedStep {
    /// Interns its names.
    pub(crate) fn number(&self, mut text: impl FnMut(&str) -> u32) -> Step {
        Step {
            kind: self.kind,
            wire: text(&self.wire),
            form: text(&self.form),
        }
    }
}

/// The numbers of what a call knows beside its input, as templates write them.
pub(crate) const CALL: [(&str, u32); 3] = [
    ("${Partition}", part::PARTITION),
    ("${Region}", part::REGION),
    ("${Account}", part::ACCOUNT),
];
