//! Masks XML documents. Only the content of masked elements changes (and their attributes, save namespace
//! declarations, go); all else stays byte for byte.

use std::fmt::Write as _;
use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use zeroize::Zeroizing;

use super::edits::{Edits, Left, Step};
use super::minted::{self, Spot};
use super::{Class, Format, Kind, Layout, MaskError, Shape, replacement};

/// Finds what is to be masked in `text`.
pub(super) fn mask<S: Shape>(
    layout: Layout<S>,
    text: &str,
    edits: &mut Edits<'_>,
) -> Result<(), MaskError> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    // The parser skips a byte order mark without counting it.
    if text.starts_with('\u{feff}') {
        return Err(malformed("byte order mark", 0));
    }
    let mut walk = Walk {
        text,
        edits,
        frames: Vec::new(),
        rooted: false,
        layout,
    };
    let mut reader = Reader::from_str(text);
    loop {
        let start = position(&reader);
        let event = reader
            .read_event()
            .map_err(|_quoting| malformed("syntax error", start))?;
        let span = start..position(&reader);
        match event {
            Event::Start(tag) => walk.start(&tag, &span, false)?,
            Event::Empty(tag) => {
                walk.start(&tag, &span, true)?;
                walk.end(&span, true)?;
            }
            Event::End(_) => walk.end(&span, false)?,
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => walk.content(span, true)?,
            Event::Comment(_) | Event::PI(_) => walk.content(span, false)?,
            Event::Decl(declaration) => declared(&declaration, start)?,
            // A document type could give entities a meaning that only some parsers see.
            Event::DocType(_) => return Err(malformed("document type", start)),
            Event::Eof => break,
        }
    }
    if walk.rooted && walk.frames.is_empty() {
        Ok(())
    } else {
        Err(malformed("it ends too early", text.len()))
    }
}

struct Walk<'a, 'e, 'm, S> {
    text: &'a str,
    edits: &'e mut Edits<'m>,
    layout: Layout<S>,
    /// The open elements.
    frames: Vec<Frame<S>>,
    /// The root element was met.
    rooted: bool,
}

struct Frame<S> {
    state: State<S>,
    left: Left,
    /// Where the element's content begins.
    content: usize,
}

/// What an open element means.
enum State<S> {
    /// Nothing in it is worth masking.
    Plain,
    /// Descended, this one included, until the members of the shape come.
    Wrapper { left: usize, shape: S },
    /// Its members are looked at.
    Inside(S),
    /// An entry of the map.
    Entry(S),
    /// Masked, one value.
    Leaf(Kind),
    /// A part of credentials: plain text.
    Minted(minted::Part),
    /// Masked, with what is in it: elements if there are any, else a value. `entry`: of the map `shape`.
    Masked {
        shape: Option<S>,
        entry: bool,
        children: bool,
        loose: Vec<Range<usize>>,
    },
}

/// What an element is, seen from the one around it.
enum Child<S> {
    Is(State<S>),
    /// A value the model names; its class decides.
    Target(S, Option<Class>),
}

impl<S: Shape> Walk<'_, '_, '_, S> {
    fn start(
        &mut self,
        tag: &BytesStart<'_>,
        span: &Range<usize>,
        empty: bool,
    ) -> Result<(), MaskError> {
        let name = tag.local_name();
        let (step, child) = self.child(name.as_ref(), span.start)?;
        let left = self.edits.enter(step)?;
        let state = match child {
            Child::Is(state) => state,
            Child::Target(shape, _) if shape.part().is_some() => {
                shape.part().map_or(State::Plain, State::Minted)
            }
            Child::Target(shape, class) if self.edits.masks(class) => {
                self.edits.note();
                State::masked(Some(shape))
            }
            Child::Target(shape, _) if shape.kind().is_aggregate() => State::Inside(shape),
            Child::Target(..) => State::Plain,
        };
        if matches!(&state, State::Inside(shape) if shape.is_set()) {
            self.edits.begin_set()?;
        }
        if matches!(state, State::Leaf(_) | State::Masked { .. }) {
            // An empty element gets its value here: it has no content to replace.
            let value = match &state {
                State::Leaf(kind) if empty => Some(replacement::of(*kind, "")),
                _ => None,
            };
            if let Some(with) = rewritten(tag, span.start, empty, value)? {
                self.edits.replace(span.clone(), with);
            }
        }
        self.frames.push(Frame {
            state,
            left,
            content: span.end,
        });
        Ok(())
    }

    /// What an element of this name in the innermost open one is.
    fn child<'n>(&mut self, name: &'n str, at: usize) -> Result<(Step<'n>, Child<S>), MaskError> {
        let plain = (Step::Unnamed, Child::Is(State::Plain));
        let Some(parent) = self.frames.last_mut() else {
            if std::mem::replace(&mut self.rooted, true) {
                return Err(malformed("second root element", at));
            }
            return Ok((Step::Unnamed, root(self.layout)));
        };
        Ok(match &mut parent.state {
            State::Plain | State::Leaf(_) => plain,
            State::Minted(_) => return self.edits.contradiction(),
            State::Wrapper { left: 1, shape } => (Step::Unnamed, Child::Is(State::Inside(*shape))),
            State::Wrapper { left, shape } => {
                let state = State::Wrapper {
                    left: *left - 1,
                    shape: *shape,
                };
                (Step::Unnamed, Child::Is(state))
            }
            State::Entry(map) => match part(*map, name, true) {
                Some(Part::Value) => target(Step::Value, map.element()),
                Some(Part::Key) => plain,
                _ => return self.edits.contradiction(),
            },
            State::Inside(shape) => match shape.kind() {
                Kind::List => target(Step::Element, shape.element()),
                Kind::Map => match part(*shape, name, false) {
                    Some(Part::Entry) => (Step::Unnamed, Child::Is(State::Entry(*shape))),
                    Some(Part::Value) => target(Step::Value, shape.element()),
                    Some(Part::Key) => plain,
                    None => return self.edits.contradiction(),
                },
                _ => target(Step::Member(name), shape.member(name, Format::Xml)),
            },
            State::Masked {
                shape,
                entry,
                children,
                ..
            } => {
                *children = true;
                (Step::Unnamed, Child::Is(masked_child(*shape, *entry, name)))
            }
        })
    }

    /// Text (references and CDATA included) or a comment, directly in the innermost open element.
    fn content(&mut self, span: Range<usize>, text: bool) -> Result<(), MaskError> {
        let blank = !text || self.text[span.clone()].trim_ascii().is_empty();
        match self.frames.last_mut().map(|frame| &mut frame.state) {
            None if !blank => Err(malformed("text outside of the root element", span.start)),
            Some(State::Wrapper { .. } | State::Inside(_) | State::Entry(_)) if !blank => {
                self.edits.contradiction()
            }
            Some(State::Masked { loose, .. }) => {
                loose.push(span);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, span: &Range<usize>, empty: bool) -> Result<(), MaskError> {
        let Some(frame) = self.frames.pop() else {
            return Err(malformed("unexpected end tag", span.start));
        };
        let content = if empty {
            span.end..span.end
        } else {
            frame.content..span.start
        };
        let text = self.text[content.clone()].trim_ascii();
        match frame.state {
            State::Minted(part) => self.take(part, content)?,
            State::Inside(shape) if shape.is_set() => self.edits.end_set()?,
            State::Leaf(kind) if !empty => {
                self.edits.replace(content, replacement::of(kind, text));
            }
            // Mixed content: what stands between the elements goes, indentation stays.
            State::Masked {
                children: true,
                loose,
                ..
            } => {
                for span in loose {
                    if !self.text[span.clone()].trim_ascii().is_empty() {
                        self.edits.replace(span, "");
                    }
                }
            }
            // An empty list, or an empty text of unknown type, is fit to stay.
            State::Masked {
                children: false, ..
            } if !text.is_empty() => {
                self.edits
                    .replace(content, replacement::of(replacement::guess(text), text));
            }
            _ => {}
        }
        self.edits.leave(frame.left);
        Ok(())
    }
}

impl<S: Shape> Walk<'_, '_, '_, S> {
    /// Takes a part of credentials: text with references, and nothing else.
    fn take(&mut self, part: minted::Part, range: Range<usize>) -> Result<(), MaskError> {
        let raw = self.text[range.clone()].trim_ascii();
        let decoded = unescape(raw).ok().filter(|_| !raw.contains('<'));
        let Some(text) = decoded else {
            return self.edits.contradiction();
        };
        let text = Zeroizing::new(text.into_owned());
        let spot = Spot {
            range,
            text,
            form: minted::Form::Bare,
        };
        self.edits.take(part, spot)
    }
}

impl<S: Shape> State<S> {
    fn masked(shape: Option<S>) -> Self {
        match shape.map(S::kind) {
            Some(kind) if !kind.is_aggregate() => Self::Leaf(kind),
            _ => Self::Masked {
                shape,
                entry: false,
                children: false,
                loose: Vec::new(),
            },
        }
    }
}

fn target<S>(step: Step<'_>, found: Option<(S, Option<Class>)>) -> (Step<'_>, Child<S>) {
    match found {
        Some((shape, class)) => (step, Child::Target(shape, class)),
        None => (Step::Unnamed, Child::Is(State::Plain)),
    }
}

fn root<S: Shape>(layout: Layout<S>) -> Child<S> {
    match layout {
        Layout::Members { shape, wrappers: 0 } => Child::Is(State::Inside(shape)),
        Layout::Members { shape, wrappers } => Child::Is(State::Wrapper {
            left: wrappers,
            shape,
        }),
        Layout::Payload { shape, class } => Child::Target(shape, class),
    }
}

fn masked_child<S: Shape>(shape: Option<S>, entry: bool, name: &str) -> State<S> {
    let Some(shape) = shape else {
        return State::masked(None);
    };
    let below = match shape.kind() {
        Kind::List => shape.element(),
        Kind::Map => match part(shape, name, entry) {
            Some(Part::Key) => return State::Plain,
            Some(Part::Entry) => {
                let (children, loose) = (false, Vec::new());
                return State::Masked {
                    shape: Some(shape),
                    entry: true,
                    children,
                    loose,
                };
            }
            Some(Part::Value) => shape.element(),
            None => None,
        },
        _ => shape.member(name, Format::Xml),
    };
    State::masked(below.map(|(shape, _)| shape))
}

/// A part of a map.
enum Part {
    Entry,
    Key,
    Value,
}

/// A map's elements are entries; a flattened map's element is an entry itself.
fn part<S: Shape>(map: S, name: &str, in_entry: bool) -> Option<Part> {
    let (key, value) = map.entry_names();
    match name {
        _ if name == key => Some(Part::Key),
        _ if name == value => Some(Part::Value),
        "entry" if !in_entry => Some(Part::Entry),
        _ => None,
    }
}

/// The start tag of a masked element, without attributes that may tell something, and with `value` if the
/// element was empty; `None` if it stays as it is.
fn rewritten(
    tag: &BytesStart<'_>,
    at: usize,
    empty: bool,
    value: Option<&str>,
) -> Result<Option<String>, MaskError> {
    let name = tag.name().into_inner();
    let mut with = format!("<{name}");
    let mut changed = value.is_some();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_quoting| malformed("bad attribute", at))?;
        if attribute.key.as_namespace_binding().is_none() {
            changed = true;
            continue;
        }
        let quote = if attribute.value.contains('"') {
            '\''
        } else {
            '"'
        };
        let key = attribute.key.into_inner();
        // Writing to a string does not fail.
        let _ = write!(with, " {key}={quote}{}{quote}", attribute.value);
    }
    with.push_str(if empty && value.is_none() { "/>" } else { ">" });
    if let Some(value) = value {
        let _ = write!(with, "{value}</{name}>");
    }
    Ok(changed.then_some(with))
}

fn declared(declaration: &BytesDecl<'_>, at: usize) -> Result<(), MaskError> {
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name))
            if ["utf-8", "us-ascii"]
                .iter()
                .any(|n| name.eq_ignore_ascii_case(n)) =>
        {
            Ok(())
        }
        Some(_) => Err(malformed("declared encoding is not UTF-8", at)),
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// The parser's own messages may quote the body: they do not go on.
fn malformed(what: &str, at: usize) -> MaskError {
    MaskError::Malformed {
        format: "XML",
        reason: format!("{what}, byte {at}"),
    }
}
