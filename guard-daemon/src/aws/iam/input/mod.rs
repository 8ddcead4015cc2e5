//! An operation's input, whatever the wire form: members by path.

mod walk;

use std::{borrow::Cow, cell::OnceCell};

use super::Asked;
use crate::aws::{
    IdentifyError, Protocol, RequestView,
    catalog::{Location, OperationModel, Path, Route, Segment, Steps, step},
    cbor, form, json,
    operation::plain_body,
    tree::{self, Node},
    value::{Parsed, Value},
};
pub(super) use walk::{At, Unclear};
use walk::{Wire, walk};

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What the members of an input are read from.
pub(super) struct Input<'a> {
    request: &'a RequestView<'a>,
    body: Body<'a>,
    /// Members are in path, query and headers too.
    rest: bool,
    query: OnceCell<Option<Vec<Pair<'a>>>>,
}

enum Body<'a> {
    /// Without a member.
    Empty,
    Value(Value<'a>),
    Tree(Node<'a>, Wire),
    /// Not read, or not readable.
    Unknown,
}

impl<'a> Input<'a> {
    /// Reads the body once, if anything is in it that is `needed`.
    ///
    /// # Errors
    /// Refuses a body that gives a member twice.
    pub(super) fn of(asked: &Asked<'a>, needed: bool) -> Result<Self, IdentifyError> {
        let protocol = asked.reading.protocol;
        let rest = is_rest(protocol);
        let body = match protocol {
            Protocol::Query | Protocol::Ec2 => match tree::of_form(&asked.reading.form) {
                Some(root) => Body::Tree(root, Wire::Form),
                None => Body::Unknown,
            },
            _ if !needed => Body::Unknown,
            _ => match plain_body(asked.request) {
                None => Body::Unknown,
                Some([]) => Body::Empty,
                Some(body) if matches!(protocol, Protocol::RestXml | Protocol::S3) => {
                    match tree::of_xml(body) {
                        Some(root) if !root.unclear => Body::Tree(root, Wire::Xml),
                        _ => Body::Unknown,
                    }
                }
                Some(body) => {
                    let parsed = if protocol == Protocol::Cbor {
                        cbor::parse(body)
                    } else {
                        json::parse(body)
                    };
                    match parsed {
                        Parsed::Value(value @ Value::Object(_)) => Body::Value(value),
                        Parsed::Value(_) | Parsed::Malformed => Body::Unknown,
                        Parsed::Repeated => {
                            return Err(IdentifyError::Repeated {
                                what: "a member of the body".to_owned(),
                            });
                        }
                    }
                }
            },
        };
        Ok(Self {
            request: asked.request,
            body,
            rest,
            query: OnceCell::new(),
        })
    }

    /// Finds what a path leads to: nothing where it is surely not given.
    ///
    /// # Errors
    /// `Unclear` where what is given cannot be read in one way only.
    pub(super) fn find<'t>(
        &'t self,
        operation: OperationModel,
        path: Path,
        found: &mut Vec<At<'t>>,
    ) -> Result<(), Unclear> {
        let steps = path.steps();
        let location = if self.rest {
            path.location()
        } else {
            Location::Body
        };
        match location {
            Location::Body => self.in_body(steps, found),
            Location::Payload => {
                let (_, rest) = steps.split_first().ok_or(Unclear)?;
                self.in_body(rest, found)
            }
            Location::Label(place) => {
                let route = operation.route().ok_or(Unclear)?;
                let text = label(self.request.path, route, place).ok_or(Unclear)?;
                found.push(At::Text(text));
                Ok(())
            }
            Location::Query(name) => {
                let pairs = self.query().ok_or(Unclear)?;
                let values = pairs.iter().filter(|it| it.0 == name);
                let values = values.map(|it| At::Text(Cow::Borrowed(it.1.as_ref())));
                several(values, steps, found)
            }
            Location::Header(name) => {
                let mut values = self.request.headers.get_all(name).iter();
                let Some(value) = values.next() else {
                    return Ok(());
                };
                let value = value.to_str().ok().filter(|_| values.next().is_none());
                let value = value.ok_or(Unclear)?;
                if is_list(steps) {
                    if value.contains('"') {
                        return Err(Unclear);
                    }
                    let elements = value.split(',').map(str::trim);
                    return several(elements.map(|it| At::Text(it.into())), steps, found);
                }
                found.push(At::Text(Cow::Borrowed(value)));
                Ok(())
            }
            Location::Headers(prefix) => {
                let mut names = self.request.headers.keys();
                let any = names.any(|it| it.as_str().starts_with(prefix));
                if any { Err(Unclear) } else { Ok(()) }
            }
            Location::OtherQuery => {
                if self.request.query.is_empty() {
                    Ok(())
                } else {
                    Err(Unclear)
                }
            }
        }
    }

    fn in_body<'t>(&'t self, steps: Steps, found: &mut Vec<At<'t>>) -> Result<(), Unclear> {
        match &self.body {
            Body::Empty => Ok(()),
            Body::Unknown => Err(Unclear),
            Body::Value(value) => walk(At::Value(value), steps, found),
            Body::Tree(node, wire) => walk(At::Node(node, *wire), steps, found),
        }
    }

    fn query(&self) -> Option<&[Pair<'a>]> {
        let pairs = self
            .query
            .get_or_init(|| form::pairs(self.request.query.as_bytes()).collect());
        pairs.as_deref()
    }

    /// The body of a JSON or CBOR call.
    pub(super) fn value(&self) -> Option<&Value<'a>> {
        if let Body::Value(value) = &self.body {
            Some(value)
        } else {
            None
        }
    }

    /// The root element of an XML body.
    pub(super) fn root(&self) -> Option<&Node<'a>> {
        if let Body::Tree(root, Wire::Xml) = &self.body {
            Some(root)
        } else {
            None
        }
    }

    /// A top-level text member of the body. A form's member given twice is none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.body {
            Body::Value(value) => value.get(name)?.text(),
            Body::Tree(root, _) => {
                let mut found = root.named(name);
                let node = found.next()?;
                let plain = !node.unclear && node.children.is_empty() && found.next().is_none();
                node.text.as_deref().filter(|_| plain)
            }
            Body::Empty | Body::Unknown => None,
        }
    }

    /// Whether a top-level member of the body is surely not given.
    pub(super) fn lacks(&self, name: &str) -> bool {
        match &self.body {
            Body::Value(value) => matches!(value.get(name), None | Some(Value::Null)),
            Body::Tree(root, _) => root.named(name).next().is_none(),
            Body::Empty => true,
            Body::Unknown => false,
        }
    }

    /// A top-level list of texts: `Names`, `Name.1`, `Names.member.1`. Empty where one is not text.
    pub(super) fn texts(&self, name: &str) -> Vec<&str> {
        match &self.body {
            Body::Value(value) => {
                let elements = value.get(name).map_or(&[][..], Value::elements);
                let texts = elements.iter().map(Value::text);
                texts.collect::<Option<_>>().unwrap_or_default()
            }
            Body::Tree(root, Wire::Form) => {
                let Some(node) = root.named(name).next() else {
                    return Vec::new();
                };
                let list = node.named("member").next().unwrap_or(node);
                let texts = list.children.iter().map(|it| {
                    let number = it.name.bytes().all(|it| it.is_ascii_digit());
                    let plain = number && !it.unclear && it.children.is_empty();
                    it.text.as_deref().filter(|_| plain)
                });
                texts.collect::<Option<_>>().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

impl<'t> At<'t> {
    /// Finds what a path leads to from this element.
    pub(super) fn find(&self, path: Path, found: &mut Vec<At<'t>>) -> Result<(), Unclear> {
        walk(self.clone(), path.steps(), found)
    }
}

/// Whether a protocol has members outside of the body.
pub(super) fn is_rest(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::RestJson | Protocol::RestXml | Protocol::S3
    )
}

fn is_list(steps: Steps) -> bool {
    let second = steps.split_first().and_then(|it| it.1.split_first());
    second.is_some_and(|it| matches!(it.0.kind, step::ELEMENT | step::FLAT_ELEMENT))
}

/// The values of a query member or header: one, or a list's.
fn several<'t>(
    mut values: impl Iterator<Item = At<'t>>,
    steps: Steps,
    found: &mut Vec<At<'t>>,
) -> Result<(), Unclear> {
    if is_list(steps) {
        found.extend(values);
        return Ok(());
    }
    found.extend(values.next());
    if values.next().is_some() {
        return Err(Unclear);
    }
    Ok(())
}

/// The text of a label: the segment in this place of the template, decoded.
fn label(path: &str, route: Route, place: usize) -> Option<Cow<'_, str>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let length = path.split('/').count();
    let template = route.segments();
    let more = length.checked_sub(template.len())?;
    let greedy = template.clone().position(|it| it == Segment::Greedy);
    let (first, count) = match greedy {
        None if more > 0 => return None,
        Some(greedy) if greedy < place => (place + more, 1),
        Some(greedy) if greedy == place => (place, 1 + more),
        _ => (place, 1),
    };
    let mut start = 0;
    for _ in 0..first {
        start += path.get(start..)?.find('/')? + 1;
    }
    let mut end = start;
    for number in 0..count {
        if number > 0 {
            end += 1;
        }
        let rest = path.get(end..)?;
        end += rest.find('/').unwrap_or(rest.len());
    }
    let raw = path.get(start..end).filter(|it| !it.is_empty())?;
    form::decode(raw.as_bytes(), false)
}
