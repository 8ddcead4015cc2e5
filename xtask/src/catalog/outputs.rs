//! The graph of output shapes that are, or lead to, members worth masking. Recursive models stay recursive:
//! a shape is made once, and referred to by index.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    classes::{Classes, Target},
    schema::{self, Member, NONE, Output, Pair, Shape, output},
    tables::Tables,
};

/// A shape's name, and whether it is below a structure marked `sensitive`: then its members are taken as marked
/// each, by name, so that only what is secret in it is masked and what parses it still can.
type Key = (String, bool);

/// The outputs of one service.
pub(crate) struct Outputs<'a> {
    service: &'a str,
    shapes: &'a Value,
    classes: &'a mut Classes,
    drafts: BTreeMap<Key, Draft>,
    made: BTreeMap<Key, u32>,
}

/// A shape before it is known whether it leads anywhere.
#[derive(Default)]
struct Draft {
    kind: u32,
    members: Vec<(String, String, Key, u32, bool)>,
    element: Option<(Key, u32)>,
    key_name: String,
    value_name: String,
    leads: bool,
}

impl<'a> Outputs<'a> {
    /// For a service's model.
    pub(crate) fn new(service: &'a str, model: &'a Value, classes: &'a mut Classes) -> Self {
        let shapes = &model["shapes"];
        Self {
            service,
            shapes,
            classes,
            drafts: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }

    /// Drafts all that an operation's output reaches. Call for each operation before any `make`.
    pub(crate) fn draft(&mut self, operation: &Value) {
        if let Some(name) = operation["output"]["shape"].as_str() {
            let tainted = self.shapes[name]["sensitive"] == true;
            self.draft_shape(&(name.to_owned(), tainted));
        }
    }

    /// Finds which drafts lead to something worth masking.
    pub(crate) fn settle(&mut self) {
        loop {
            let leading: Vec<Key> = self
                .drafts
                .iter()
                .filter(|(_, draft)| {
                    let leads = |key: &Key| self.drafts[key].leads;
                    !draft.leads
                        && (draft.members.iter().any(|it| it.3 != 0 || leads(&it.2))
                            || draft
                                .element
                                .as_ref()
                                .is_some_and(|it| it.1 != 0 || leads(&it.0)))
                })
                .map(|(key, _)| key.clone())
                .collect();
            if leading.is_empty() {
                return;
            }
            for key in leading {
                self.drafts.entry(key).or_default().leads = true;
            }
        }
    }

    /// Adds an operation's output to the tables; `NONE` where nothing in it is worth masking.
    pub(crate) fn make(&mut self, operation: &Value, tables: &mut Tables) -> u32 {
        let Some(name) = operation["output"]["shape"].as_str() else {
            return NONE;
        };
        let model = &self.shapes[name];
        let tainted = model["sensitive"] == true;
        let mut flags = 0;
        if operation["output"]["resultWrapper"].is_string() {
            flags |= output::WRAPPED;
        }
        let mut headers = Vec::new();
        for (member, reference) in members(model) {
            let target = self.target(reference, tainted);
            let kind = &self.shapes[target.name];
            if kind["eventstream"] == true
                || kind["streaming"] == true
                || reference["streaming"] == true
            {
                flags |= output::STREAMING;
            }
            if reference["location"] == "header" {
                let class = self.classes.of(self.service, name, member, &target);
                if class != 0 {
                    let header = reference["locationName"].as_str().unwrap_or(member);
                    let header = tables.text(&header.to_ascii_lowercase());
                    headers.push(Pair {
                        name: header,
                        value: class,
                    });
                }
            }
        }
        let (key, class) = match model["payload"].as_str() {
            None => ((name.to_owned(), tainted), 0),
            Some(member) => {
                flags |= output::PAYLOAD;
                let target = self.target(&model["members"][member], tainted);
                let class = self.class(name, member, &target);
                let key = (target.name.to_owned(), self.taints(&target));
                self.draft_shape(&key);
                (key, class)
            }
        };
        let leads = class != 0 || self.drafts[&key].leads;
        if !leads && headers.is_empty() {
            return NONE;
        }
        let shape = if leads {
            self.make_shape(&key, tables)
        } else {
            NONE
        };
        let headers = tables.pairs(headers);
        tables.output(Output {
            flags,
            shape,
            class,
            headers,
        })
    }

    fn draft_shape(&mut self, key: &Key) {
        if self.drafts.contains_key(key) {
            return;
        }
        let shapes = self.shapes;
        let model = &shapes[&key.0];
        let kind = model["type"].as_str().unwrap_or_default();
        let entry = |part: &str, plain: &str| -> String {
            model[part]["locationName"]
                .as_str()
                .unwrap_or(plain)
                .to_owned()
        };
        let mut draft = Draft {
            kind: number(kind),
            key_name: entry("key", "key"),
            value_name: entry("value", "value"),
            ..Draft::default()
        };
        self.drafts.insert(key.clone(), Draft::default());
        for (member, reference) in members(model) {
            if reference["location"].is_string() {
                continue;
            }
            let target = self.target(reference, key.1);
            let class = self.class(&key.0, member, &target);
            let below = (target.name.to_owned(), self.taints(&target));
            self.draft_shape(&below);
            let json = reference["locationName"].as_str().unwrap_or(member);
            let flat = reference["flattened"] == true || shapes[target.name]["flattened"] == true;
            let repeated = shapes[target.name]["member"]["locationName"]
                .as_str()
                .filter(|_| flat);
            let xml = repeated.unwrap_or(json);
            draft
                .members
                .push((json.to_owned(), xml.to_owned(), below, class, flat));
        }
        for part in ["member", "value"] {
            if model[part].is_object() {
                let target = self.target(&model[part], key.1);
                let class = self.class(&key.0, part, &target);
                let below = (target.name.to_owned(), self.taints(&target));
                self.draft_shape(&below);
                draft.element = Some((below, class));
            }
        }
        self.drafts.insert(key.clone(), draft);
    }

    fn target(&self, reference: &'a Value, tainted: bool) -> Target<'a> {
        let name = reference["shape"].as_str().unwrap_or_default();
        let model = &self.shapes[name];
        let kind = model["type"].as_str().unwrap_or_default();
        Target {
            name,
            kind,
            sensitive: tainted || model["sensitive"] == true,
        }
    }

    /// A marked structure has no class itself, its members do; a free-form document is taken whole.
    fn taints(&self, target: &Target<'_>) -> bool {
        target.sensitive
            && target.kind == "structure"
            && self.shapes[target.name]["document"] != true
    }

    fn class(&mut self, owner: &str, member: &str, target: &Target<'_>) -> u32 {
        let marked = target.sensitive && !self.taints(target);
        let target = Target {
            sensitive: marked,
            ..*target
        };
        self.classes.of(self.service, owner, member, &target)
    }

    fn make_shape(&mut self, key: &Key, tables: &mut Tables) -> u32 {
        if let Some(made) = self.made.get(key) {
            return *made;
        }
        let place = tables.reserve_shape();
        self.made.insert(key.clone(), place);
        let draft = self.drafts.remove(key).unwrap_or_default();
        let leads = |all: &Self, key: &Key, class: u32| {
            class != 0
                || all.made.contains_key(key)
                || all.drafts.get(key).is_some_and(|it| it.leads)
        };
        let mut members = Vec::new();
        for (json, xml, below, class, flat) in &draft.members {
            if !leads(self, below, *class) {
                continue;
            }
            let shape = self.make_shape(below, tables);
            let (xml_shape, xml_class) = if *flat && *class == 0 {
                tables.flattened(shape)
            } else {
                (shape, *class)
            };
            members.push((
                json.clone(),
                Member {
                    json_name: tables.text(json),
                    xml_name: tables.text(xml),
                    shape,
                    class: *class,
                    xml_shape,
                    xml_class,
                },
            ));
        }
        members.sort_by(|one, other| one.0.cmp(&other.0));
        let members = tables.members(members.into_iter().map(|it| it.1));
        let (element, element_class) = match &draft.element {
            Some((below, class)) if leads(self, below, *class) => {
                (self.make_shape(below, tables), *class)
            }
            _ => (NONE, 0),
        };
        let key_name = tables.text(&draft.key_name);
        let value_name = tables.text(&draft.value_name);
        let kind = draft.kind;
        self.drafts.insert(key.clone(), draft);
        tables.set_shape(
            place,
            Shape {
                kind,
                members,
                element,
                element_class,
                key_name,
                value_name,
            },
        );
        place
    }
}

/// Kinds in the artifact's numbers; the reader has the same order.
fn number(kind: &str) -> u32 {
    match kind {
        "structure" => schema::kind::STRUCTURE,
        "list" => schema::kind::LIST,
        "map" => schema::kind::MAP,
        "blob" => schema::kind::BLOB,
        "boolean" => schema::kind::BOOLEAN,
        "timestamp" => schema::kind::TIMESTAMP,
        "string" | "character" => schema::kind::STRING,
        _ => schema::kind::NUMBER,
    }
}

fn members(model: &Value) -> impl Iterator<Item = (&String, &Value)> {
    model["members"].as_object().into_iter().flatten()
}
