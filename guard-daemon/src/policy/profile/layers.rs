//! The policy documents that a profile names: what each is for, and what they say together.

use super::Policies;
use crate::policy::evaluate::{Document, Kind, Limit};
use crate::policy::keys::Keys;
use crate::policy::problem::{LARGEST_DOCUMENTS, MOST_DOCUMENTS, Misplaced, PolicyError, Problem};
use crate::policy::statement::Statement;
use crate::policy::written::{Placed, Value};
use crate::policy::{Effect, Source, document, position};

/// Bytes of a document's path.
const LONGEST_PATH: usize = 4096;

/// What the documents of a profile say.
pub(super) struct Layers {
    pub(super) documents: Vec<Document>,
    /// Of identity policies, and the denials of limits.
    pub(super) statements: Vec<Statement>,
    pub(super) limits: Vec<Limit>,
}

impl Layers {
    /// Compiles the documents that a profile names, from their texts.
    pub(super) fn compile(
        named: Vec<Named>,
        source: &Source,
        keys: &mut Keys,
    ) -> Result<Self, PolicyError> {
        let texts = source.documents.iter();
        let bytes = texts.map(|document| document.text.len()).sum();
        if bytes > LARGEST_DOCUMENTS {
            return Err(PolicyError::DocumentsTooLarge {
                profile: source.name.clone(),
                bytes,
            });
        }
        let mut layers = Self {
            documents: Vec::with_capacity(named.len()),
            statements: Vec::new(),
            limits: Vec::new(),
        };
        let mut open: Option<(Layer, Vec<String>, Vec<Statement>)> = None;
        for Named { path, layer } in named {
            let path = path.it;
            layers.documents.push(Document {
                path: path.clone(),
                kind: layer.kind(),
            });
            let statements = read(source, &path, layers.documents.len(), keys)?;
            if layer == Layer::Identity {
                layers.statements.extend(statements);
                continue;
            }
            // What limits allows only within its own layer, but denies everywhere.
            let (allowed, denied): (Vec<_>, Vec<_>) = statements
                .into_iter()
                .partition(|statement| statement.effect == Effect::Allow);
            layers.statements.extend(denied);
            match &mut open {
                Some((same, paths, statements)) if *same == layer => {
                    paths.push(path);
                    statements.extend(allowed);
                }
                _ => {
                    layers.limits.extend(open.take().map(limit));
                    open = Some((layer, vec![path], allowed));
                }
            }
        }
        layers.limits.extend(open.take().map(limit));
        Ok(layers)
    }
}

fn read(
    source: &Source,
    path: &str,
    number: usize,
    keys: &mut Keys,
) -> Result<Vec<Statement>, PolicyError> {
    let mut documents = source.documents.iter();
    let found = documents.find(|document| document.path == path);
    let text = &found
        .ok_or_else(|| PolicyError::NoDocument {
            profile: source.name.clone(),
            document: path.to_owned(),
        })?
        .text;
    document::read(text, path, number, keys).map_err(|Misplaced(span, problem)| {
        let (line, column) = position::of(text, span.start);
        PolicyError::InvalidDocument {
            document: path.to_owned(),
            line,
            column,
            problem,
        }
    })
}

/// A document, and the layer it stands in.
pub(super) struct Named {
    pub(super) path: Placed<String>,
    layer: Layer,
}

/// What limits together: documents of the same layer allow side by side.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Layer {
    Identity,
    /// Each boundary for itself, by number.
    Boundary(usize),
    /// A level of service control policies, by number.
    Scp(usize),
}

impl Layer {
    fn kind(self) -> Kind {
        match self {
            Self::Identity => Kind::Identity,
            Self::Boundary(_) => Kind::Boundary,
            Self::Scp(_) => Kind::Scp,
        }
    }
}

/// All documents, those of a layer side by side.
pub(super) fn layers(policies: &Policies) -> Result<Vec<Named>, Misplaced> {
    let mut named = Vec::new();
    let mut add = |path: Placed<String>, layer| {
        if path.it.is_empty() || path.it.len() > LONGEST_PATH || path.it.contains('\0') {
            return Err(path.wrong(Problem::DocumentPath));
        }
        if named.len() == MOST_DOCUMENTS {
            return Err(path.wrong(Problem::ManyDocuments));
        }
        named.push(Named { path, layer });
        Ok(())
    };
    for path in &policies.identity {
        add(path.clone().into(), Layer::Identity)?;
    }
    for (at, path) in policies.boundary.iter().enumerate() {
        add(path.clone().into(), Layer::Boundary(at))?;
    }
    for (at, level) in policies.scp.iter().enumerate() {
        let level: Placed<Value> = level.clone().into();
        let paths = match level.it {
            Value::List(paths) if paths.is_empty() => {
                return Err(Misplaced(level.at, Problem::EmptyList("scp".to_owned())));
            }
            Value::List(paths) => paths,
            _ => vec![level],
        };
        for path in paths {
            match path.it {
                Value::Text(text) => add(Placed::new(path.at, text), Layer::Scp(at))?,
                _ => return Err(path.wrong(Problem::NotText("scp".to_owned()))),
            }
        }
    }
    Ok(named)
}

fn limit((layer, paths, statements): (Layer, Vec<String>, Vec<Statement>)) -> Limit {
    let paths = paths.join(", ");
    let name = match layer {
        Layer::Scp(at) => format!("level {} of the service control policies ({paths})", at + 1),
        layer => format!("the {} {paths}", layer.kind().name()),
    };
    Limit::new(name, statements)
}
