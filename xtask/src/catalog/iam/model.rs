//! Inputs of operations in botocore's models: members by path, with their names on the wire.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{
    super::{
        schema::{location, protocol, step},
        tables::protocols,
        wheel::Model,
    },
    draft::{NamedStep, Path},
};

/// A service's model.
pub(crate) struct Shapes<'a> {
    /// botocore's.
    pub(crate) model: &'a Model,
    all: &'a Value,
    ec2: bool,
}

impl<'a> Shapes<'a> {
    /// Of a model.
    pub(crate) fn new(model: &'a Model) -> Self {
        let bits = protocols(&model.service["metadata"]).unwrap_or_default();
        Self {
            model,
            all: &model.service["shapes"],
            ec2: bits & protocol::EC2 != 0,
        }
    }

    /// The shape a reference leads to.
    pub(crate) fn target(&self, reference: &Value) -> &'a Value {
        &self.all[reference["shape"].as_str().unwrap_or_default()]
    }

    fn name_in_forms(&self, member: &str, reference: &Value) -> String {
        let location = reference["locationName"].as_str();
        if !self.ec2 {
            return location.unwrap_or(member).to_owned();
        }
        match (reference["queryName"].as_str(), location) {
            (Some(name), _) => name.to_owned(),
            (None, Some(name)) => {
                let mut letters = name.chars();
                letters
                    .next()
                    .map(|it| it.to_ascii_uppercase().to_string() + letters.as_str())
                    .unwrap_or_default()
            }
            (None, None) => member.to_owned(),
        }
    }
}

/// An operation's input.
pub(crate) struct Operation<'a> {
    /// Its service.
    pub(crate) shapes: &'a Shapes<'a>,
    /// Its API name.
    pub(crate) name: &'a str,
    input: &'a Value,
    /// Label → number of its segment.
    labels: BTreeMap<&'a str, u32>,
}

/// A resolved path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    /// Where it is.
    pub(crate) path: Path,
    /// How many of its steps lead to the elements of the innermost list or map; 0 where it is one value.
    pub(crate) each: usize,
    /// botocore's type of what it leads to.
    pub(crate) kind: String,
}

impl Member {
    /// Whether it is text, or a number, which a template may hold.
    pub(crate) fn is_text(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "string" | "character" | "integer" | "long"
        )
    }
}

impl<'a> Operation<'a> {
    /// Of a model.
    pub(crate) fn new(shapes: &'a Shapes<'a>, name: &'a str, described: &'a Value) -> Self {
        let uri = described["http"]["requestUri"].as_str().unwrap_or_default();
        let path = uri.split('?').next().unwrap_or(uri).trim_start_matches('/');
        let labels = (0..)
            .zip(path.split('/'))
            .filter_map(|(place, segment)| {
                let label = segment.strip_prefix('{')?.strip_suffix('}')?;
                Some((label.trim_end_matches('+'), place))
            })
            .collect();
        Self {
            shapes,
            name,
            input: shapes.target(&described["input"]),
            labels,
        }
    }

    /// Its service's name in botocore.
    pub(crate) fn service(&self) -> &'a str {
        &self.shapes.model.name
    }

    /// Its top-level members: name and shape.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        members(self.input).map(|(name, reference)| (name, self.shapes.target(reference)))
    }

    /// Whether a top-level member must be given.
    pub(crate) fn requires(&self, member: &str) -> bool {
        let required = self.input["required"].as_array();
        required.into_iter().flatten().any(|it| it == member)
    }

    /// What the model says about a top-level member, in lower case.
    pub(crate) fn documentation(&self, member: &str) -> String {
        let reference = &self.input["members"][member];
        let target = &self.shapes.target(reference)["documentation"];
        let texts = [&reference["documentation"], target];
        let texts: Vec<&str> = texts.iter().filter_map(|it| it.as_str()).collect();
        texts.join(" ").to_lowercase()
    }

    /// Finds a member by path (`overrides.taskRoleArn`, `Entries[].Arn`, `RequestItems{}`); a last `{=}` stands
    /// for a map's values.
    pub(crate) fn resolve(&self, path: &str) -> anyhow::Result<Member> {
        let mut pieces = Vec::new();
        for segment in path.split('.') {
            let name = segment.trim_end_matches(['[', ']', '{', '}', '=']);
            ensure!(!name.is_empty(), "{path:?} is no path");
            pieces.push(Piece::Member(name));
            let mut rest = &segment[name.len()..];
            while !rest.is_empty() {
                if let Some(after) = rest.strip_prefix("[]") {
                    pieces.push(Piece::Elements);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix("{}") {
                    pieces.push(Piece::Entries);
                    rest = after;
                } else if let Some(after) = rest.strip_prefix("{=}") {
                    pieces.push(Piece::Values);
                    rest = after;
                } else {
                    bail!("{path:?} is no path");
                }
            }
        }
        self.walk(path, &pieces)
    }

    fn walk(&self, path: &str, pieces: &[Piece<'_>]) -> anyhow::Result<Member> {
        let shapes = self.shapes;
        let mut shape = self.input;
        let mut steps: Vec<NamedStep> = Vec::new();
        let mut each = 0;
        let mut top = None;
        let mut flat = false;
        for (place, piece) in pieces.iter().enumerate() {
            let kind = shape["type"].as_str().unwrap_or_default();
            match (piece, kind) {
                (Piece::Member(name), "structure") => {
                    let reference = &shape["members"][*name];
                    ensure!(
                        reference.is_object(),
                        "the input has no member {name:?} in {path:?}"
                    );
                    if place == 0 {
                        top = Some((*name, reference));
                    }
                    shape = shapes.target(reference);
                    flat = shapes.ec2 && shape["type"] == "list"
                        || reference["flattened"] == true
                        || shape["flattened"] == true;
                    let located = reference["location"].is_string();
                    let wire = reference["locationName"].as_str().filter(|_| !located);
                    let repeated = shape["member"]["locationName"]
                        .as_str()
                        .filter(|_| flat && !shapes.ec2);
                    steps.push(NamedStep {
                        kind: step::MEMBER,
                        wire: wire.unwrap_or(name).to_owned(),
                        form: repeated
                            .map_or_else(|| shapes.name_in_forms(name, reference), str::to_owned),
                    });
                }
                (Piece::Elements, "list") => {
                    let name = shape["member"]["locationName"].as_str().unwrap_or("member");
                    steps.push(NamedStep {
                        kind: if flat {
                            step::FLAT_ELEMENT
                        } else {
                            step::ELEMENT
                        },
                        wire: name.to_owned(),
                        form: name.to_owned(),
                    });
                    shape = shapes.target(&shape["member"]);
                    flat = shapes.ec2 && shape["type"] == "list" || shape["flattened"] == true;
                    each = steps.len();
                }
                (Piece::Entries | Piece::Values, "map") => {
                    let name = |part: &str, plain: &str| {
                        let name = shape[part]["locationName"].as_str().unwrap_or(plain);
                        name.to_owned()
                    };
                    let last = place + 1 == pieces.len() && matches!(piece, Piece::Entries);
                    let kind = match (last, flat) {
                        (true, false) => step::KEY,
                        (true, true) => step::FLAT_KEY,
                        (false, false) => step::VALUE,
                        (false, true) => step::FLAT_VALUE,
                    };
                    steps.push(NamedStep {
                        kind,
                        wire: name("key", "key"),
                        form: name("value", "value"),
                    });
                    shape = shapes.target(&shape[if last { "key" } else { "value" }]);
                    flat = shape["flattened"] == true;
                    each = steps.len();
                }
                (piece, kind) => bail!("{path:?}: {piece:?} is asked of a {kind}"),
            }
        }
        let (name, reference) = top.context("a path starts with a member")?;
        let mut path = self.locate(name, reference)?;
        path.steps = steps;
        if let Some(known) = old_form_name(self.service(), name) {
            known.clone_into(&mut path.steps[0].form);
        }
        Ok(Member {
            path,
            each,
            kind: shape["type"].as_str().unwrap_or_default().to_owned(),
        })
    }

    fn locate(&self, name: &str, reference: &Value) -> anyhow::Result<Path> {
        let wire = reference["locationName"]
            .as_str()
            .unwrap_or(name)
            .to_owned();
        let kind = self.shapes.target(reference)["type"].as_str();
        let payload = self.input["payload"].as_str();
        let (location, wire, segment) = match reference["location"].as_str() {
            None if payload == Some(name) => (location::PAYLOAD, String::new(), 0),
            None => {
                ensure!(
                    payload.is_none(),
                    "{name:?} is not sent: the body is another member"
                );
                (location::BODY, String::new(), 0)
            }
            Some("uri") => {
                let segment = self.labels.get(wire.as_str());
                let segment = segment.with_context(|| format!("{name:?} is no whole segment"))?;
                (location::LABEL, String::new(), *segment)
            }
            Some("querystring") if kind == Some("map") => (location::OTHER_QUERY, wire, 0),
            Some("querystring") => (location::QUERY, wire, 0),
            Some("header") => (location::HEADER, wire.to_ascii_lowercase(), 0),
            Some("headers") => (location::HEADERS, wire.to_ascii_lowercase(), 0),
            Some(other) => bail!("{name:?} is at a new location, {other}"),
        };
        Ok(Path {
            location,
            name: wire,
            segment,
            steps: Vec::new(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Piece<'a> {
    Member(&'a str),
    Elements,
    Entries,
    Values,
}

/// Members of a structure, as the model orders them.
pub(crate) fn members(shape: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = shape["members"].as_object();
    members
        .into_iter()
        .flatten()
        .map(|(name, it)| (name.as_str(), it))
}

/// SQS's names of before it took JSON, which its model no longer has.
fn old_form_name(service: &str, member: &str) -> Option<&'static str> {
    match (service, member) {
        ("sqs", "tags" | "Tags") => Some("Tag"),
        ("sqs", "TagKeys") => Some("TagKey"),
        ("sqs", "Attributes") => Some("Attribute"),
        ("sqs", "AttributeNames") => Some("AttributeName"),
        ("sqs", "AWSAccountIds") => Some("AWSAccountId"),
        ("sqs", "Actions") => Some("ActionName"),
        _ => None,
    }
}
