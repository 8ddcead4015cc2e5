//! Condition keys that a request tells: tags in all their shapes, what `keys.toml` names, and members named like a
//! key.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::schema::{alternative, key},
    bind::{self, WITHIN},
    data::{Action, Reference},
    derive::plain,
    draft::{self, Alternative, Part},
    layout::{KeyDraft, Missing},
    model::{Member, Operation, members},
};

/// The hand-written table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    passed_to: BTreeMap<String, String>,
    keys: BTreeMap<String, Entries>,
    #[serde(skip)]
    used: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entries {
    One(Box<Entry>),
    Several(Vec<Entry>),
}

impl Entries {
    fn all(&self) -> &[Entry] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    many: bool,
    entries: Option<String>,
    keys: Option<String>,
    absent: Option<String>,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    on: Vec<String>,
}

/// Reads it.
pub(crate) fn read(path: &Path) -> anyhow::Result<File> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))
}

impl File {
    /// The keys of an operation that asks for what `rules` say.
    pub(crate) fn of(
        &mut self,
        operation: &Operation<'_>,
        rules: &[draft::Rule],
        reference: &Reference,
    ) -> anyhow::Result<Vec<KeyDraft>> {
        let actions: Vec<(&str, &Action)> = rules
            .iter()
            .filter_map(|it| {
                let (prefix, name) = it.action.split_once(':')?;
                Some((prefix, reference.action(prefix, name)?))
            })
            .collect();
        let lists = |key: &str| actions.iter().any(|it| it.1.lists(key));
        let mut found = Vec::new();
        if lists(REQUEST_TAG) || lists(TAG_KEYS) {
            found.extend(tags(operation));
        }
        if rules.iter().any(|it| it.action == "iam:PassRole")
            && let Some(principal) = self.passed_to.get(operation.service())
        {
            self.used.insert(operation.service().to_owned());
            let value = value(vec![Part::Literal(principal.clone())]);
            found.push(one("iam:PassedToService", vec![value], Missing::Unknown));
        }
        if operation.name != "CreateTags" && rules.iter().any(|it| it.action == "ec2:CreateTags") {
            let value = value(vec![Part::Literal(operation.name.to_owned())]);
            found.push(one("ec2:CreateAction", vec![value], Missing::Unknown));
        }
        let all = self.keys.iter();
        for (name, entry) in all.flat_map(|(name, it)| it.all().iter().map(move |it| (name, it))) {
            let listed = if name.ends_with(':') {
                lists("kms:EncryptionContext:${EncryptionContextKey}")
            } else {
                lists(name)
            };
            let right = entry.only.is_empty() || entry.only.iter().any(|it| it == operation.name);
            if !listed || !right {
                continue;
            }
            if let Some(draft) =
                from_table(operation, name, entry).with_context(|| format!("keys.toml {name:?}"))?
            {
                self.used.insert(name.clone());
                found.push(draft);
            }
        }
        for (prefix, action) in actions {
            for name in &action.condition_keys {
                let known = found.iter().any(|it| it.key.eq_ignore_ascii_case(name))
                    || self.keys.contains_key(name);
                if !known && let Some(draft) = by_name(operation, reference, prefix, name) {
                    found.push(draft);
                }
            }
        }
        Ok(found)
    }

    /// Fails if an entry was of no use.
    pub(crate) fn finish(&self) -> anyhow::Result<()> {
        for name in self.keys.keys().chain(self.passed_to.keys()) {
            ensure!(
                self.used.contains(name),
                "keys.toml {name:?}: no operation has it"
            );
        }
        Ok(())
    }
}

const REQUEST_TAG: &str = "aws:RequestTag/${TagKey}";
const TAG_KEYS: &str = "aws:TagKeys";

fn one(name: &str, alternatives: Vec<Alternative>, absent: Missing) -> KeyDraft {
    KeyDraft {
        key: name.to_ascii_lowercase(),
        kind: key::ONE,
        alternatives,
        paths: Vec::new(),
        absent,
        on: Vec::new(),
    }
}

fn value(parts: Vec<Part>) -> Alternative {
    Alternative {
        kind: alternative::VALUE,
        each: None,
        parts,
        services: Vec::new(),
    }
}

fn from_table(
    operation: &Operation<'_>,
    name: &str,
    entry: &Entry,
) -> anyhow::Result<Option<KeyDraft>> {
    let absent = match entry.absent.as_deref() {
        None | Some("unknown") => Missing::Unknown,
        Some("absent") => Missing::Absent,
        Some(text) => match text.strip_prefix('=') {
            Some(value) => Missing::Value(value.to_owned()),
            None => bail!("`absent` is \"absent\", \"unknown\" or \"=VALUE\""),
        },
    };
    let mut draft = one(name, Vec::new(), absent);
    draft.on.clone_from(&entry.on);
    match (&entry.entries, &entry.keys) {
        (Some(map), None) => {
            let (Ok(keys), Ok(values)) = (
                operation.resolve(&format!("{map}{{}}")),
                operation.resolve(&format!("{map}{{=}}")),
            ) else {
                return Ok(None);
            };
            draft.kind = key::ENTRIES;
            draft.paths = vec![keys.path, values.path];
        }
        (None, Some(map)) => {
            let Ok(keys) = operation.resolve(&format!("{map}{{}}")) else {
                return Ok(None);
            };
            draft.kind = key::ENTRY_KEYS;
            draft.paths = vec![keys.path];
        }
        (None, None) => {
            if entry.many {
                draft.kind = key::MANY;
            }
            for written in &entry.read {
                if let Ok(found) = bind::template(operation, alternative::VALUE, written) {
                    draft.alternatives.push(found);
                }
            }
            if draft.alternatives.is_empty() && !entry.read.is_empty() {
                return Ok(None);
            }
        }
        _ => bail!("either `entries` or `keys`"),
    }
    Ok(Some(draft))
}

/// A key of the action's own that is named like a top-level member, and of its type.
fn by_name(
    operation: &Operation<'_>,
    reference: &Reference,
    prefix: &str,
    name: &str,
) -> Option<KeyDraft> {
    if matches!(prefix, "ec2" | "s3") {
        return None;
    }
    let known = reference
        .services
        .get(prefix)?
        .keys
        .get(&name.to_ascii_lowercase())?;
    let short = name.strip_prefix(prefix)?.strip_prefix(':')?;
    if short.contains(['$', '/', '<']) {
        return None;
    }
    let wanted = plain(short);
    let (member, shape) = operation.members().find(|it| plain(it.0) == wanted)?;
    let kind = shape["type"].as_str().unwrap_or_default();
    let (path, many) = match known.kind.as_str() {
        "String" | "Numeric" | "Bool" => (member.to_owned(), false),
        "ARN" if wanted.ends_with("arn") => (member.to_owned(), false),
        "ArrayOfString" if kind == "list" => (format!("{member}[]"), true),
        _ => return None,
    };
    let plain_kind = matches!(kind, "string" | "integer" | "long" | "boolean" | "list");
    let found = bind::template(operation, alternative::VALUE, &format!("{{{path}}}")).ok()?;
    let mut draft = one(name, vec![found], Missing::Unknown);
    if many {
        draft.kind = key::MANY;
    }
    plain_kind.then_some(draft)
}

/// `aws:RequestTag/…` and `aws:TagKeys`.
fn tags(operation: &Operation<'_>) -> Vec<KeyDraft> {
    let candidates: Vec<(&str, &Value)> = operation
        .members()
        .filter(|it| plain(it.0).contains("tag"))
        .collect();
    let mut drafts = Vec::new();
    let draft = |name: &str, kind, paths| KeyDraft {
        kind,
        paths,
        ..one(name, Vec::new(), Missing::Absent)
    };
    match candidates.as_slice() {
        // Without a member there are no tags.
        [] => vec![
            one("aws:requesttag/", Vec::new(), Missing::Absent),
            one("aws:tagkeys", Vec::new(), Missing::Absent),
        ],
        all => {
            for (name, shape) in all {
                let plain = plain(name);
                if matches!(plain.as_str(), "tagkeys" | "tagkeylist" | "tagstoremove") {
                    let paths = elements(operation, name, shape)
                        .and_then(|it| operation.resolve(&it).ok())
                        .map(|it| vec![it.path, within(Vec::new())]);
                    if let Some(paths) = paths {
                        drafts.push(draft("aws:tagkeys", key::TAG_KEYS, paths));
                        drafts.push(one("aws:requesttag/", Vec::new(), Missing::Absent));
                    }
                } else if let Some((kinds, paths)) = container(operation, name, shape) {
                    drafts.push(draft("aws:requesttag/", kinds.0, paths.clone()));
                    drafts.push(draft("aws:tagkeys", kinds.1, paths));
                }
            }
            // Two of them are not understood together.
            if drafts.len() == 2 {
                drafts
            } else {
                Vec::new()
            }
        }
    }
}

fn within(steps: Vec<draft::NamedStep>) -> draft::Path {
    draft::Path {
        location: WITHIN,
        name: String::new(),
        segment: 0,
        steps,
    }
}

/// The path of a list's elements: of the member, or of the one list in it.
fn elements(operation: &Operation<'_>, name: &str, shape: &Value) -> Option<String> {
    match shape["type"].as_str()? {
        "list" => Some(format!("{name}[]")),
        "structure" => {
            let (inner, reference) = members(shape)
                .find(|it| matches!(plain(it.0).as_str(), "tagset" | "tags" | "items" | "tag"))?;
            let below = operation.shapes.target(reference);
            (below["type"] == "list").then(|| format!("{name}.{inner}[]"))
        }
        _ => None,
    }
}

/// How tags are kept in a member: kinds of the two keys, and their paths.
fn container(
    operation: &Operation<'_>,
    name: &str,
    shape: &Value,
) -> Option<((u32, u32), Vec<draft::Path>)> {
    let plain_name = plain(name);
    if !plain_name.contains("tag") || plain_name.ends_with("filter") || plain_name.ends_with("key")
    {
        return None;
    }
    if shape["type"] == "map" {
        let keys = operation.resolve(&format!("{name}{{}}")).ok()?;
        let values = operation.resolve(&format!("{name}{{=}}")).ok()?;
        return values.is_text().then(|| {
            (
                (key::ENTRIES, key::ENTRY_KEYS),
                vec![keys.path, values.path],
            )
        });
    }
    let list = elements(operation, name, shape)?;
    let element = operation.resolve(&list).ok()?;
    let typed = operation.resolve(&format!("{list}.ResourceType")).ok();
    let at = |path: &str| -> Option<Member> { operation.resolve(path).ok() };
    if let Some(typed) = typed {
        let inner = at(&format!("{list}.Tags[]"))?;
        let key = at(&format!("{list}.Tags[].Key"))?;
        let value = at(&format!("{list}.Tags[].Value"))?;
        let outer = element.path.steps.len();
        let deep = inner.path.steps.len();
        return Some((
            (key::TYPED_TAGS, key::TYPED_TAG_KEYS),
            vec![
                element.path.clone(),
                within(typed.path.steps[outer..].to_vec()),
                within(inner.path.steps[outer..].to_vec()),
                within(key.path.steps[deep..].to_vec()),
                within(value.path.steps[deep..].to_vec()),
            ],
        ));
    }
    let part = |names: [&str; 4]| names.iter().find_map(|it| at(&format!("{list}.{it}")));
    let key = part(["Key", "key", "TagKey", "tagKey"])?;
    let value = part(["Value", "value", "TagValue", "tagValue"])?;
    let outer = element.path.steps.len();
    Some((
        (key::TAGS, key::TAG_KEYS),
        vec![
            element.path.clone(),
            within(key.path.steps[outer..].to_vec()),
            within(value.path.steps[outer..].to_vec()),
        ],
    ))
}
