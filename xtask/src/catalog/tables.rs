//! Models → the catalog's flat tables. Deterministic: models come sorted, and every index is sorted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    classes::Classes,
    hosts,
    iam::{Counts, Iam, Layout},
    outputs::Outputs,
    schema::{
        Catalog, Entry, GREEDY, LABEL, Member, NONE, Operation, Output, Pair, Route, Service,
        Shape, Source, Span, Text, kind, protocol,
    },
    wheel::{self, Model},
};

/// Builds the catalog.
pub(crate) fn build(models: &[Model], mut iam: Iam) -> anyhow::Result<(Catalog, Counts)> {
    let mut tables = Tables::default();
    tables.text("");
    for package in std::iter::once(wheel::PACKAGE).chain(Iam::sources()) {
        let source = Source {
            name: tables.text(package.name),
            version: tables.text(package.version),
            licence: tables.text(package.licence),
            digest: tables.text(package.digest),
        };
        tables.catalog.sources.push(source);
    }
    let mut layout = Layout::default();
    let mut counts = Counts::default();
    iam.lay_out_actions(&mut layout, &mut tables)?;
    let mut classes = Classes::default();
    let mut indexes = Indexes::default();
    for (number, model) in (0u32..).zip(models) {
        service(model, number, &mut tables, &mut indexes, &mut classes)
            .with_context(|| format!("cannot read the model of {}", model.name))?;
        let first = tables.catalog.services[number as usize].operations.start as usize;
        let laid = iam.lay_out_service(
            model,
            &operations(model)?,
            &mut layout,
            &mut tables,
            &mut counts,
        )?;
        for (operation, laid) in tables.catalog.operations[first..].iter_mut().zip(laid) {
            operation.rules = laid.rules;
            operation.keys = laid.keys;
        }
    }
    iam.finish()?;
    layout.finish(&mut tables.catalog);
    classes.finish()?;
    tables.catalog.hosts = tables.index(&indexes.hosts);
    tables.catalog.host_tails = tables.index(&indexes.tails);
    tables.catalog.signers = tables.index(&indexes.signers);
    tables.catalog.targets = tables.index(&indexes.targets);
    Ok((tables.catalog, counts))
}

/// A model's operations, sorted by name.
fn operations(model: &Model) -> anyhow::Result<BTreeMap<&String, &Value>> {
    let operations = model.service["operations"].as_object();
    Ok(operations.context("no operations")?.iter().collect())
}

type Index = BTreeMap<String, BTreeSet<u32>>;

#[derive(Default)]
struct Indexes {
    hosts: Index,
    tails: Index,
    signers: Index,
    targets: Index,
}

/// The tables under construction.
#[derive(Default)]
pub(crate) struct Tables {
    catalog: Catalog,
    texts: BTreeMap<String, Text>,
}

impl Tables {
    /// Interns a string.
    pub(crate) fn text(&mut self, text: &str) -> Text {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let number = length(&self.catalog.text_ends);
        self.catalog.text.push_str(text);
        let end = u32::try_from(self.catalog.text.len()).unwrap_or(NONE);
        self.catalog.text_ends.push(end);
        self.texts.insert(text.to_owned(), number);
        number
    }

    /// Adds an output.
    pub(crate) fn output(&mut self, output: Output) -> u32 {
        self.catalog.outputs.push(output);
        length(&self.catalog.outputs) - 1
    }

    /// Adds pairs.
    pub(crate) fn pairs(&mut self, pairs: Vec<Pair>) -> Span {
        append(&mut self.catalog.pairs, pairs)
    }

    /// Adds members.
    pub(crate) fn members(&mut self, members: impl Iterator<Item = Member>) -> Span {
        append(&mut self.catalog.members, members)
    }

    /// Takes a place for a shape that may refer to itself.
    pub(crate) fn reserve_shape(&mut self) -> u32 {
        self.catalog.shapes.push(Shape {
            kind: 0,
            members: Span::default(),
            element: NONE,
            element_class: 0,
            key_name: 0,
            value_name: 0,
        });
        length(&self.catalog.shapes) - 1
    }

    /// Fills a place.
    pub(crate) fn set_shape(&mut self, place: u32, shape: Shape) {
        self.catalog.shapes[place as usize] = shape;
    }

    /// What one XML element of a flattened list or map is, and its class: a list's element, a map's entry.
    pub(crate) fn flattened(&mut self, shape: u32) -> (u32, u32) {
        let Shape {
            kind: of,
            element,
            element_class,
            value_name,
            ..
        } = self.catalog.shapes[shape as usize];
        if of != kind::MAP {
            return (element, element_class);
        }
        let member = Member {
            json_name: value_name,
            xml_name: value_name,
            shape: element,
            class: element_class,
            xml_shape: element,
            xml_class: element_class,
        };
        let members = self.members(std::iter::once(member));
        let entry = self.reserve_shape();
        self.set_shape(
            entry,
            Shape {
                kind: kind::STRUCTURE,
                members,
                element: NONE,
                element_class: 0,
                key_name: 0,
                value_name: 0,
            },
        );
        (entry, 0)
    }

    /// Method, then segments: literals by their text, then labels.
    fn order(&self, route: &Route) -> (String, Vec<(u32, String)>) {
        let text = |number: Text| {
            let end = |place: usize| self.catalog.text_ends[place] as usize;
            let start = (number as usize).checked_sub(1).map_or(0, end);
            self.catalog.text[start..end(number as usize)].to_owned()
        };
        let Span { start, end } = route.segments;
        let segments = self.catalog.numbers[start as usize..end as usize].iter();
        let segments = segments.map(|it| match *it {
            LABEL => (1, String::new()),
            GREEDY => (2, String::new()),
            literal => (0, text(literal)),
        });
        (text(route.method), segments.collect())
    }

    /// Adds numbers.
    pub(crate) fn numbers(&mut self, numbers: impl IntoIterator<Item = u32>) -> Span {
        append(&mut self.catalog.numbers, numbers)
    }

    fn texts(&mut self, texts: &BTreeSet<String>) -> Span {
        let numbers: Vec<u32> = texts.iter().map(|it| self.text(it)).collect();
        self.numbers(numbers)
    }

    fn index(&mut self, index: &Index) -> Vec<Entry> {
        index
            .iter()
            .map(|(key, services)| Entry {
                key: self.text(key),
                services: self.numbers(services.iter().copied()),
            })
            .collect()
    }
}

fn service(
    model: &Model,
    number: u32,
    tables: &mut Tables,
    indexes: &mut Indexes,
    classes: &mut Classes,
) -> anyhow::Result<()> {
    let metadata = &model.service["metadata"];
    let protocols = protocols(metadata)?;
    let reached = hosts::of(model);
    for (index, keys) in [
        (&mut indexes.hosts, &reached.whole),
        (&mut indexes.tails, &reached.tails),
        (&mut indexes.signers, &reached.signers),
    ] {
        for key in keys {
            index.entry(key.clone()).or_default().insert(number);
        }
    }
    let target_prefix = metadata["targetPrefix"].as_str().unwrap_or_default();
    if !target_prefix.is_empty() {
        indexes
            .targets
            .entry(target_prefix.to_owned())
            .or_default()
            .insert(number);
    }
    let operations = operations(model)?;
    let mut outputs = Outputs::new(&model.name, &model.service, classes);
    for operation in operations.values() {
        outputs.draft(operation);
    }
    outputs.settle();
    let first = length(&tables.catalog.operations);
    for (name, operation) in &operations {
        let output = outputs.make(operation, tables);
        let name = tables.text(name);
        tables.catalog.operations.push(Operation {
            name,
            output,
            route: NONE,
            rules: Span::default(),
            keys: Span::default(),
        });
    }
    let span = Span {
        start: first,
        end: length(&tables.catalog.operations),
    };
    let start = length(&tables.catalog.routes);
    if protocols & (protocol::REST_JSON | protocol::REST_XML) != 0 {
        for (place, (name, operation)) in (first..).zip(&operations) {
            // S3's old names for what a newer operation does by the same route.
            if model.name == "s3" && operation["deprecated"] == true && !name.ends_with("Torrent") {
                continue;
            }
            let route = route(model, place, operation, tables)?;
            if (model.name.as_str(), name.as_str()) == ("cloudsearchdomain", "Search") {
                // SDKs send it as a form, its query in the body.
                let method = tables.text("POST");
                let statics = Span::default();
                let required_query = Span::default();
                tables.catalog.routes.push(Route {
                    method,
                    statics,
                    required_query,
                    ..route.clone()
                });
            }
            tables.catalog.routes.push(route);
        }
    }
    let mut sorted = tables.catalog.routes.split_off(start as usize);
    sorted.sort_by_cached_key(|it| tables.order(it));
    for (place, route) in (start..).zip(&sorted) {
        tables.catalog.operations[route.operation as usize].route = place;
    }
    tables.catalog.routes.extend(sorted);
    let routes = Span {
        start,
        end: length(&tables.catalog.routes),
    };
    let prefix = metadata["endpointPrefix"].as_str().unwrap_or(&model.name);
    let service = Service {
        name: tables.text(&model.name),
        api_version: tables.text(metadata["apiVersion"].as_str().unwrap_or_default()),
        target_prefix: tables.text(target_prefix),
        signing_name: tables.text(metadata["signingName"].as_str().unwrap_or(prefix)),
        protocols,
        operations: span,
        routes,
    };
    tables.catalog.services.push(service);
    Ok(())
}

/// Bits of `schema::protocol`.
pub(crate) fn protocols(metadata: &Value) -> anyhow::Result<u32> {
    let listed = metadata["protocols"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([&metadata["protocol"]]);
    let mut bits = 0;
    for name in listed.filter_map(Value::as_str) {
        bits |= match name {
            "json" if metadata["jsonVersion"] == "1.0" => protocol::JSON10,
            "json" => protocol::JSON11,
            "query" => protocol::QUERY,
            "ec2" => protocol::EC2,
            "rest-json" => protocol::REST_JSON,
            "rest-xml" => protocol::REST_XML,
            "smithy-rpc-v2-cbor" => protocol::CBOR,
            _ => anyhow::bail!(
                "protocol {name} is new: teach the catalog and `aws::operation` about it"
            ),
        };
    }
    // Services that moved from query to JSON still take query from older clients.
    if metadata["awsQueryCompatible"].is_object() {
        bits |= protocol::QUERY;
    }
    Ok(bits)
}

fn route(
    model: &Model,
    operation: u32,
    described: &Value,
    tables: &mut Tables,
) -> anyhow::Result<Route> {
    let uri = described["http"]["requestUri"]
        .as_str()
        .context("no requestUri")?;
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut segments = Vec::new();
    let path = path.trim_start_matches('/');
    // A trailing slash names the same operation; the reader drops it too.
    let path = path.strip_suffix('/').unwrap_or(path);
    for segment in path.split('/').filter(|_| !path.is_empty()) {
        segments.push(match segment {
            _ if segment.starts_with('{') && segment.ends_with("+}") => GREEDY,
            _ if segment.starts_with('{') && segment.ends_with('}') => LABEL,
            _ => {
                ensure!(
                    !segment.contains('{'),
                    "a label is part of a segment in {uri}"
                );
                tables.text(segment)
            }
        });
    }
    let mut statics = Vec::new();
    for pair in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != "x-id" {
            statics.push(Pair {
                name: tables.text(name),
                value: tables.text(value),
            });
        }
    }
    let input = &model.service["shapes"][described["input"]["shape"].as_str().unwrap_or_default()];
    let required: BTreeSet<&str> = input["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut all = BTreeSet::new();
    for (name, member) in input["members"].as_object().into_iter().flatten() {
        let location = member["location"].as_str().unwrap_or_default();
        let wire = member["locationName"].as_str().unwrap_or(name);
        if location == "querystring" && model.name == "s3" {
            all.insert(wire.to_owned());
        }
        if required.contains(name.as_str()) {
            let wire = if location == "header" {
                wire.to_ascii_lowercase()
            } else {
                wire.to_owned()
            };
            found.entry(location).or_default().insert(wire);
        }
    }
    Ok(Route {
        operation,
        method: tables.text(described["http"]["method"].as_str().context("no method")?),
        segments: tables.numbers(segments),
        statics: tables.pairs(statics),
        required_query: tables.texts(found.get("querystring").unwrap_or(&BTreeSet::new())),
        required_headers: tables.texts(found.get("header").unwrap_or(&BTreeSet::new())),
        query: tables.texts(&all),
    })
}

/// Appends items.
pub(crate) fn append<T>(table: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Span {
    let start = length(table);
    table.extend(items);
    Span {
        start,
        end: length(table),
    }
}

/// The number of the next item.
pub(crate) fn length<T>(table: &[T]) -> u32 {
    u32::try_from(table.len()).unwrap_or(NONE)
}
