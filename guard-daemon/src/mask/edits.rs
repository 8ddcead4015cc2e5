//! The replacements that a walk through a document collects, what it found of credentials, and the place where
//! it stands.

use std::borrow::Cow;
use std::ops::Range;

use super::minted::{Found, Part, Spot};
use super::{Class, MaskError, Masked};

/// Levels of a document that are followed.
pub(super) const DEPTH: usize = 128;
/// Paths that are named.
pub(super) const PATHS: usize = 64;
/// The path of a body that is masked as a whole.
pub(super) const BODY: &str = "(body)";

/// What is to be replaced in a document, and where the walk through it stands.
pub(super) struct Edits<'m> {
    masks: &'m dyn Fn(Class) -> bool,
    replaced: Vec<(Range<usize>, Cow<'static, [u8]>)>,
    /// The member the walk stands at.
    path: String,
    depth: usize,
    masked: Vec<String>,
    found: Found,
}

/// A step into a document, for its path.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Member(&'a str),
    Element,
    Value,
    /// Structure of the document that the model has no name for.
    Unnamed,
}

/// Where a step came from: give it back to `leave`.
#[derive(Clone, Copy)]
pub(super) struct Left(usize);

impl<'m> Edits<'m> {
    pub(super) fn new(masks: &'m dyn Fn(Class) -> bool) -> Self {
        Self {
            masks,
            replaced: Vec::new(),
            path: String::new(),
            depth: 0,
            masked: Vec::new(),
            found: Found::default(),
        }
    }

    pub(super) fn enter(&mut self, step: Step<'_>) -> Result<Left, MaskError> {
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

    pub(super) fn leave(&mut self, left: Left) {
        self.path.truncate(left.0);
        self.depth -= 1;
    }

    pub(super) fn masks(&self, class: Option<Class>) -> bool {
        class.is_some_and(self.masks)
    }

    pub(super) fn replace(&mut self, range: Range<usize>, text: impl Into<Cow<'static, str>>) {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        self.put(range, bytes);
    }

    /// The same for what is no text.
    pub(super) fn put(&mut self, range: Range<usize>, bytes: impl Into<Cow<'static, [u8]>>) {
        self.replaced.push((range, bytes.into()));
    }

    /// Notes that the member the walk stands at is masked.
    pub(super) fn note(&mut self) {
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

    /// A set of credentials begins where the walk stands.
    pub(super) fn begin_set(&mut self) -> Result<(), MaskError> {
        self.found.begin().or_else(|_odd| self.contradiction())
    }

    /// A set of credentials ends.
    pub(super) fn end_set(&mut self) -> Result<(), MaskError> {
        self.found.end().or_else(|_odd| self.contradiction())
    }

    /// Takes what the walk stands at.
    pub(super) fn take(&mut self, part: Part, spot: Spot) -> Result<(), MaskError> {
        if matches!(
            part,
            Part::AccessKeyId | Part::SecretAccessKey | Part::SessionToken
        ) {
            self.note();
        }
        let taken = self.found.take(part, spot);
        taken.or_else(|_odd| self.contradiction())
    }

    /// What was found of credentials.
    pub(super) fn found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    pub(super) fn contradiction<T>(&self) -> Result<T, MaskError> {
        Err(MaskError::Contradiction { path: self.place() })
    }

    pub(super) fn place(&self) -> String {
        if self.path.is_empty() {
            BODY.to_owned()
        } else {
            self.path.clone()
        }
    }

    pub(super) fn apply(mut self, document: &[u8]) -> Option<Masked> {
        if self.replaced.is_empty() {
            return None;
        }
        self.replaced.sort_by_key(|(range, _)| range.start);
        let added: usize = self.replaced.iter().map(|(_, with)| with.len()).sum();
        let mut body = Vec::with_capacity(document.len() + added);
        let mut done = 0;
        for (range, with) in &self.replaced {
            body.extend_from_slice(&document[done..range.start]);
            body.extend_from_slice(with);
            done = range.end;
        }
        body.extend_from_slice(&document[done..]);
        Some(Masked {
            body: body.into(),
            paths: self.masked,
        })
    }
}
