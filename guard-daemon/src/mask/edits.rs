//! The replacements that a walk through a document collects, and the place where the walk stands.

use std::borrow::Cow;
use std::ops::Range;

use super::{Class, MaskError, Masked, Rules};

/// Levels of a document that are followed.
pub(super) const DEPTH: usize = 128;
/// Paths that are named.
pub(super) const PATHS: usize = 64;
/// The path of a body that is masked as a whole.
pub(super) const BODY: &str = "(body)";

/// What is to be replaced in a document, and where the walk through it stands.
pub(super) struct Edits<'m> {
    rules: Rules<'m>,
    replaced: Vec<(Range<usize>, Cow<'static, str>)>,
    /// The member the walk stands at.
    path: String,
    depth: usize,
    masked: Vec<String>,
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
    pub(super) fn new(rules: Rules<'m>) -> Self {
        Self {
            rules,
            replaced: Vec::new(),
            path: String::new(),
            depth: 0,
            masked: Vec::new(),
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
        class.is_some_and(self.rules.0) && !(self.rules.1)(&self.path)
    }

    pub(super) fn replace(&mut self, range: Range<usize>, text: impl Into<Cow<'static, str>>) {
        self.replaced.push((range, text.into()));
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

    pub(super) fn apply(mut self, text: &str) -> Option<Masked> {
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
