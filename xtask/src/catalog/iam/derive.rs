//! What names tell: the action of the operation's name, and members named like the variables of its ARNs.
//!
//! Only what is certain is derived. A template from names takes, when it is read, plain names alone: a path, an
//! alias or a partial ARN in such a member is unknown.

use std::fmt::Write;

use super::{
    super::schema::{alternative, source},
    bind,
    data::{Action, Reference, TypeUse},
    draft::{Alternative, Form, Rule, Target},
    map::{Entry, From, Map},
    model::{Member, Operation},
    prefix,
};
use serde_json::Value;

/// The rules of an operation; none where its action is not known.
pub(crate) fn draft(operation: &Operation<'_>, reference: &Reference, map: &Map) -> Vec<Rule> {
    let model = operation.shapes.model;
    if ODD.contains(&operation.service()) {
        return Vec::new();
    }
    let prefixes = prefix::of(model, reference);
    let entries = map.entries(model, operation.name);
    let same_name = prefixes
        .iter()
        .find_map(|it| Some((it.as_str(), reference.action(it, operation.name)?)));
    let found = same_name.or_else(|| mapped(reference, &prefixes, entries));
    let Some((prefix, action)) = found else {
        return Vec::new();
    };
    let full = format!("{prefix}:{}", action.name);
    let entry = entries
        .iter()
        .find(|it| it.action.eq_ignore_ascii_case(&full));
    let finder = Finder {
        operation,
        reference,
        prefix,
        action,
        entry,
    };
    let (targets, by_map) = finder.targets();
    let mut rules = vec![Rule {
        action: full,
        targets,
        when: None,
        source: if by_map || same_name.is_none() {
            source::MAP
        } else {
            source::NAMES
        },
    }];
    rules.extend(passed_roles(operation, reference, action, entries));
    rules.extend(tagging(operation, reference, action));
    rules
}

/// Services whose operations mean what only code can tell; `aws::iam` has it.
const ODD: &[&str] = &["apigateway", "apigatewayv2", "s3"];

/// The one action that the map has for an operation.
fn mapped<'a>(
    reference: &'a Reference,
    prefixes: &[String],
    entries: &'a [Entry],
) -> Option<(&'a str, &'a Action)> {
    let mut own = entries.iter().filter_map(|it| {
        let (prefix, name) = it.action.split_once(':')?;
        prefixes
            .iter()
            .any(|it| it == prefix)
            .then_some((prefix, name, it))
    });
    let (prefix, name, entry) = own.next()?;
    if own.next().is_some() || entry.is_conditional() {
        return None;
    }
    Some((prefix, reference.action(prefix, name)?))
}

struct Finder<'a> {
    operation: &'a Operation<'a>,
    reference: &'a Reference,
    prefix: &'a str,
    action: &'a Action,
    entry: Option<&'a Entry>,
}

impl Finder<'_> {
    /// The resources, and whether the map was needed for one.
    fn targets(&self) -> (Vec<Target>, bool) {
        let types: Vec<(&TypeUse, &str)> = self.reference.arns(self.prefix, self.action).collect();
        if self.action.resource_types.is_empty() {
            return (vec![Target::any()], false);
        }
        if types.len() != self.action.resource_types.len() {
            return (vec![Target::unknown()], false);
        }
        let arns: Vec<&str> = types.iter().map(|it| it.1).collect();
        if let Some(member) = self.whatever(types.len() == 1)
            && let Ok(found) = bind::whole(&member, Form::plain(), bind::services(&arns))
        {
            return (vec![target(vec![found])], false);
        }
        let mut by_map = false;
        let mut found = Vec::new();
        for (used, arn) in &types {
            let mut of_type = match self.alternatives(used, arn, types.len() == 1) {
                Some((alternatives, mapped)) => {
                    by_map |= mapped;
                    target(alternatives)
                }
                None => Target::unknown(),
            };
            of_type.optional = !used.required
                && types.len() > 1
                && of_type.alternatives[0].kind != alternative::UNKNOWN;
            found.push(of_type);
        }
        // Where nothing says which of several types it is, one member must not be taken for all.
        let none_required = types.len() > 1 && !types.iter().any(|it| it.0.required);
        if none_required && !same_members(&found) {
            let all_known = found
                .iter()
                .all(|it| it.alternatives[0].kind != alternative::UNKNOWN);
            if !all_known {
                return (vec![Target::unknown()], false);
            }
        }
        (found, by_map)
    }

    /// A member that is the resource's ARN, of whatever type: `resourceArn`.
    fn whatever(&self, single: bool) -> Option<Member> {
        let tags = self.operation.name.contains("Tag");
        self.operation.members().find_map(|(name, _)| {
            let plain = plain(name);
            let is = match plain.as_str() {
                "resourcearn" => tags || single,
                "arn" => (tags || single) && self.operation.requires(name),
                _ => false,
            };
            let required = self.operation.requires(name) || self.operation.members().count() == 1;
            if is && required {
                self.text(name)
            } else {
                None
            }
        })
    }

    fn text(&self, path: &str) -> Option<Member> {
        self.operation.resolve(path).ok().filter(Member::is_text)
    }

    /// How a resource of a type is named, and whether the map was needed.
    fn alternatives(
        &self,
        used: &TypeUse,
        arn: &str,
        single: bool,
    ) -> Option<(Vec<Alternative>, bool)> {
        let services = bind::services(&[arn]);
        let mut found = Vec::new();
        let mut by_map = false;
        if let Some(path) = self.arn_member(used, single) {
            found.push(bind::whole(&self.text(&path)?, Form::plain(), services.clone()).ok()?);
        } else if let Some(From::Member(path)) = self.entry.and_then(|it| it.arn(&used.name))
            && let Some(member) = self.text(&ours(&path))
        {
            by_map = true;
            found.push(bind::whole(&member, Form::plain(), services.clone()).ok()?);
        }
        if let Some((template, folds, mapped)) = self.template(used, arn) {
            let kind = if folds || bind::folds(self.operation.service()) {
                alternative::FOLDED
            } else {
                alternative::NAMES
            };
            for written in self.in_accounts(&template)? {
                let template = bind::template(self.operation, kind, &written).ok()?;
                // The member may take the whole ARN as well.
                if let [part] = members(&template).as_slice() {
                    let whole = Alternative {
                        kind: alternative::WHOLE,
                        each: template.each.clone(),
                        parts: vec![part.clone()],
                        services: services.clone(),
                    };
                    if !found.contains(&whole) {
                        found.push(whole);
                    }
                }
                found.push(template);
            }
            by_map |= mapped;
        }
        (!found.is_empty()).then_some((found, by_map))
    }

    /// `{type}Arn`, or a list of them.
    fn arn_member(&self, used: &TypeUse, single: bool) -> Option<String> {
        let kind = plain(&used.name);
        let own = own_type(self.operation.name, &kind);
        let mut found = self.operation.members().filter_map(|(name, shape)| {
            let plain = plain(name);
            let of_type = plain == format!("{kind}arn") || (single && own && plain == "arn");
            if of_type && shape["type"] == "string" {
                return Some(name.to_owned());
            }
            let listed = plain == format!("{kind}arns") || plain == format!("{kind}arnlist");
            (listed && shape["type"] == "list").then(|| format!("{name}[]"))
        });
        let one = found.next()?;
        found.next().is_none().then_some(one)
    }

    /// The ARN template with members for its variables, whether one of them is taken in any case, and whether
    /// the map was needed.
    fn template(&self, used: &TypeUse, arn: &str) -> Option<(String, bool, bool)> {
        let mut written = String::new();
        let mut rest = arn;
        let mut by_map = false;
        let mut any = false;
        let mut folds = false;
        while let Some((before, after)) = rest.split_once("${") {
            let (variable, after) = after.split_once('}')?;
            written.push_str(before);
            rest = after;
            if matches!(variable, "Partition" | "Region" | "Account") {
                write!(written, "${{{variable}}}").ok()?;
                continue;
            }
            any = true;
            let named = self.named(used, variable);
            let mapped = self.entry.and_then(|it| it.variable(variable));
            let mapped = mapped.filter(|it| is_certain(it, used, variable));
            let path = match (named, mapped) {
                (Some(path), None) => path,
                (Some(path), Some(From::Member(other))) if ours(&other) == path => path,
                // Made of the same member: some of what it takes is no plain name, and stays unknown.
                (Some(path), Some(From::Made(others)))
                    if others.len() == 1 && ours(&others[0]) == path =>
                {
                    path
                }
                (None, Some(From::Member(path))) => {
                    by_map = true;
                    ours(&path)
                }
                _ => return None,
            };
            self.text(&path)?;
            let member = path.split(['.', '[', '{']).next().unwrap_or(&path);
            let says = self.operation.documentation(member);
            if EITHER.iter().any(|it| says.contains(it)) {
                return None;
            }
            folds |= ANY_CASE.iter().any(|it| says.contains(it));
            write!(written, "{{{path}}}").ok()?;
        }
        written.push_str(rest);
        (any && !written.contains(['*', '|'])).then_some((written, folds, by_map))
    }

    /// The member named like a variable.
    fn named(&self, used: &TypeUse, variable: &str) -> Option<String> {
        let wanted = plain(variable);
        let kind = plain(&used.name);
        let own = own_type(self.operation.name, &kind);
        let mut exact = None;
        let mut short = None;
        let mut listed = None;
        for (name, shape) in self.operation.members() {
            let plain = plain(name);
            let of_type = wanted == format!("{kind}{plain}") || wanted == plain;
            match shape["type"].as_str().unwrap_or_default() {
                "string" | "integer" | "long" if plain == wanted && (own || !is_vague(&wanted)) => {
                    exact = Some(name.to_owned());
                }
                "string" if own && of_type && matches!(plain.as_str(), "name" | "id") => {
                    short = Some(name.to_owned());
                }
                "list" if plain == format!("{wanted}s") && !is_vague(&wanted) => {
                    listed = Some(format!("{name}[]"));
                }
                _ => {}
            }
        }
        // `Name` beside `TableName` names something else.
        match (exact, short, listed) {
            (Some(one), None, None) | (None, Some(one), None) | (None, None, Some(one)) => {
                Some(one)
            }
            (Some(one), Some(other), None) if one == other => Some(one),
            _ => None,
        }
    }

    /// The template in the account that a member names, and else in the caller's. `None` where it is not sure
    /// which account a member means.
    fn in_accounts(&self, template: &str) -> Option<Vec<String>> {
        let mut accounts = Vec::new();
        for (name, shape) in self.operation.members() {
            let plain = plain(name);
            let account = [
                "accountid",
                "account",
                "owner",
                "ownerid",
                "registryid",
                "catalogid",
            ]
            .iter()
            .any(|it| plain.ends_with(it));
            if account && shape["type"] == "string" && !template.contains(&format!("{{{name}}}")) {
                accounts.push(name);
            }
        }
        let all = |name: &str| template.replace("${Account}", &format!("{{{name}}}"));
        match accounts.as_slice() {
            [] => Some(vec![template.to_owned()]),
            [one] if is_account(self.operation.service(), one) => {
                let mut both = vec![all(one)];
                if !self.operation.requires(one) {
                    both.push(template.to_owned());
                }
                Some(both)
            }
            _ => None,
        }
    }
}

/// Members that name the account that the resource is in.
fn is_account(service: &str, member: &str) -> bool {
    matches!(
        (service, member),
        ("ecr", "registryId")
            | ("codeartifact", "domainOwner")
            | ("glue", "CatalogId")
            | ("quicksight", "AwsAccountId")
            | ("s3control" | "s3outposts", "AccountId")
    )
}

fn target(alternatives: Vec<Alternative>) -> Target {
    Target {
        optional: false,
        alternatives,
    }
}

fn members(template: &Alternative) -> Vec<super::draft::Part> {
    use super::draft::Part;
    let parts = template.parts.iter();
    parts
        .filter(|it| matches!(it, Part::Member(..) | Part::Item(..)))
        .cloned()
        .collect()
}

/// Whether all targets read the same members, so that it is one resource of one of several types.
fn same_members(targets: &[Target]) -> bool {
    let Some(first) = targets.first() else {
        return true;
    };
    targets.iter().all(|it| it == first)
}

/// What a model says of a member that may be one of two things of which only one is in the ARN.
const EITHER: &[&str] = &[
    "alias or",
    "id or alias",
    "id or name",
    "id or the name",
    "id, or name",
    "id, or the name",
    "identifier or name",
    "identifier or the name",
    "name or friendly id",
    "name or id",
    "name or the id",
    "name or unique",
    "name or uuid",
    "name, id",
    "name/id",
    "names or ids",
    "or alias",
    "unique name or",
];

/// What it says of one that is the same in any case.
const ANY_CASE: &[&str] = &[
    "case insensitive",
    "case-insensitive",
    "lowercase string",
    "not case sensitive",
    "not case-sensitive",
    "n't case sensitive",
    "n't case-sensitive",
    "converted to lowercase",
];

/// Variables that do not say of which type they are.
fn is_vague(variable: &str) -> bool {
    matches!(
        variable,
        "id" | "name"
            | "identifier"
            | "resourceid"
            | "resourcename"
            | "resourceidentifier"
            | "uuid"
            | "version"
    )
}

/// Whether what the map says of a variable is of this type: it has one entry for variables of one name, whatever
/// the type.
fn is_certain(from: &From, used: &TypeUse, variable: &str) -> bool {
    let From::Member(path) = from else {
        return true;
    };
    let member = path
        .rsplit(['.', '['])
        .find(|it| !it.is_empty() && *it != "]");
    let member = plain(member.unwrap_or(path));
    let (kind, variable) = (plain(&used.name), plain(variable));
    let of_type = member.strip_prefix(kind.as_str());
    of_type.is_some_and(|it| matches!(it, "" | "id" | "ids" | "name" | "names" | "identifier"))
        || (!is_vague(&variable)
            && !is_vague(&member)
            && (variable.contains(&member) || member.contains(&variable)))
}

/// Letters and digits in lower case.
pub(crate) fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|it| it.to_ascii_lowercase()).collect()
}

/// Whether an operation is named verb and type.
fn own_type(operation: &str, kind: &str) -> bool {
    let verb = operation
        .char_indices()
        .skip(1)
        .find(|it| it.1.is_ascii_uppercase())
        .map_or(operation.len(), |it| it.0);
    plain(&operation[verb..]) == kind
}

/// `a[].b` as the map writes it is as we write it.
fn ours(path: &str) -> String {
    path.to_owned()
}

/// Roles that the input hands to a service, where the reference says that the action needs iam:PassRole.
fn passed_roles(
    operation: &Operation<'_>,
    reference: &Reference,
    action: &Action,
    entries: &[Entry],
) -> Vec<Rule> {
    let mut paths = if action.dependents().contains("iam:PassRole") {
        role_members(operation)
    } else {
        Vec::new()
    };
    let mapped = entries
        .iter()
        .filter(|it| it.action.eq_ignore_ascii_case("iam:PassRole"));
    for path in mapped.filter_map(Entry::whole) {
        if let From::Member(path) = path
            && !paths.contains(&path)
        {
            paths.push(path);
        }
    }
    let pass = reference.action("iam", "PassRole");
    let mut rules = Vec::new();
    for path in paths {
        let Some(member) = operation.resolve(&path).ok().filter(Member::is_text) else {
            continue;
        };
        let (Ok(whole), Some(pass)) = (
            bind::whole(&member, Form::plain(), vec!["iam".to_owned()]),
            pass,
        ) else {
            continue;
        };
        rules.push(Rule {
            action: format!("iam:{}", pass.name),
            targets: vec![target(vec![whole])],
            when: Some((member.path, None)),
            source: source::NAMES,
        });
    }
    rules
}

/// Paths to all members that are named like a role.
pub(crate) fn role_members(operation: &Operation<'_>) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, shape) in operation.members() {
        roles(operation, name, name, shape, 0, &mut paths);
    }
    paths
}

/// Deeper than any model has a role.
const DEEPEST: usize = 8;

fn roles(
    operation: &Operation<'_>,
    path: &str,
    name: &str,
    shape: &Value,
    depth: usize,
    found: &mut Vec<String>,
) {
    if depth > DEEPEST {
        return;
    }
    let shapes = operation.shapes;
    match shape["type"].as_str().unwrap_or_default() {
        "string" => {
            let plain = plain(name);
            let is = plain.ends_with("rolearn") || plain.ends_with("role");
            if is && shape["enum"].is_null() {
                found.push(path.to_owned());
            }
        }
        "structure" => {
            for (name, reference) in super::model::members(shape) {
                let below = shapes.target(reference);
                roles(
                    operation,
                    &format!("{path}.{name}"),
                    name,
                    below,
                    depth + 1,
                    found,
                );
            }
        }
        "list" => {
            let below = shapes.target(&shape["member"]);
            let singular = name.strip_suffix('s').unwrap_or(name);
            roles(
                operation,
                &format!("{path}[]"),
                singular,
                below,
                depth + 1,
                found,
            );
        }
        "map" => {
            let below = shapes.target(&shape["value"]);
            if below["type"] == "structure" {
                roles(
                    operation,
                    &format!("{path}{{}}"),
                    "",
                    below,
                    depth + 1,
                    found,
                );
            }
        }
        _ => {}
    }
}

/// The member with the tags of what is created or tagged.
pub(crate) fn tags(operation: &Operation<'_>) -> Option<Member> {
    let tags = operation.members().find(|(name, shape)| {
        let plain = plain(name);
        let kind = shape["type"].as_str().unwrap_or_default();
        matches!(
            plain.as_str(),
            "tags" | "tag" | "taglist" | "tagspecifications" | "tagspecification"
        ) && matches!(kind, "list" | "map" | "structure")
    });
    tags.and_then(|it| operation.resolve(it.0).ok())
}

/// Tags given at creation ask for the service's tagging action too, where the reference says so. What it tags
/// has no name yet.
fn tagging(operation: &Operation<'_>, reference: &Reference, action: &Action) -> Vec<Rule> {
    let Some(member) = tags(operation) else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for dependent in action.dependents() {
        let Some((prefix, name)) = dependent.split_once(':') else {
            continue;
        };
        let tags = matches!(
            name,
            "TagResource" | "CreateTags" | "AddTags" | "TagResources"
        );
        let Some(found) = reference.action(prefix, name).filter(|_| tags) else {
            continue;
        };
        let target = if found.resource_types.is_empty() {
            Target::any()
        } else {
            Target::unknown()
        };
        rules.push(Rule {
            action: format!("{prefix}:{}", found.name),
            targets: vec![target],
            when: Some((member.path.clone(), None)),
            source: source::NAMES,
        });
    }
    rules
}
