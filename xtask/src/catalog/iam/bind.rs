//! Resources as the hand-written tables write them → alternatives.

use anyhow::{Context, bail, ensure};

use super::{
    super::schema::{alternative, location, part},
    data::{Action, Reference},
    draft::{Alternative, CALL, Form, Part, Path, Target},
    model::{Member, Operation},
    pattern,
};

/// Reads `A|B`: alternatives of one resource.
pub(crate) fn target(
    operation: &Operation<'_>,
    reference: &Reference,
    action: (&str, &Action),
    text: &str,
) -> anyhow::Result<Target> {
    let mut alternatives = Vec::new();
    for written in text.split('|') {
        let found = one(operation, reference, action, written)
            .with_context(|| format!("resource {written:?} of {}:{}", action.0, action.1.name))?;
        alternatives.push(found);
    }
    Ok(Target {
        optional: false,
        alternatives,
    })
}

fn one(
    operation: &Operation<'_>,
    reference: &Reference,
    (prefix, action): (&str, &Action),
    written: &str,
) -> anyhow::Result<Alternative> {
    let plain = |kind| Alternative {
        kind,
        each: None,
        parts: Vec::new(),
        services: Vec::new(),
    };
    match written {
        "*" => return Ok(plain(alternative::ANY)),
        "?" => return Ok(plain(alternative::UNKNOWN)),
        _ => {}
    }
    let arns: Vec<&str> = reference.arns(prefix, action).map(|it| it.1).collect();
    if !written.starts_with("arn:") {
        let inner = written
            .strip_prefix('{')
            .and_then(|it| it.strip_suffix('}'))
            .context("neither `*`, `?`, `{path}` nor `arn:…`")?;
        let (path, service, form) = match inner.split_once(':') {
            None => (inner, None, Form::plain()),
            Some((path, rest)) => {
                let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
                let form = Form::read(rest);
                ensure!(
                    form.is_some() || rest.chars().all(plain),
                    "{rest:?} is no service, nor a form"
                );
                let service = form.is_none().then_some(rest);
                (path, service, form.unwrap_or_else(Form::plain))
            }
        };
        let services: Vec<String> = match service {
            Some(service) => vec![service.to_owned()],
            None => services(&arns),
        };
        ensure!(!services.is_empty(), "the action takes no resource");
        return whole(&operation.resolve(path)?, form, services);
    }
    ensure!(
        arns.iter().any(|it| pattern::fits(it, written)),
        "no resource type of the action has such an ARN, but {arns:?}"
    );
    template(operation, alternative::TEMPLATE, written)
}

/// The services in ARN templates.
pub(crate) fn services(arns: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for arn in arns {
        if let Some(service) = arn.split(':').nth(2)
            && !found.iter().any(|it| it == service)
        {
            found.push(service.to_owned());
        }
    }
    found
}

/// A member that is a whole ARN.
pub(crate) fn whole(
    member: &Member,
    form: Form,
    services: Vec<String>,
) -> anyhow::Result<Alternative> {
    ensure!(
        member.is_text(),
        "the member is no text but a {}",
        member.kind
    );
    let (each, part) = split(member, form);
    Ok(Alternative {
        kind: alternative::WHOLE,
        each,
        parts: vec![part],
        services,
    })
}

/// A template with `${Partition}`, `${Region}`, `${Account}` and `{path}`.
pub(crate) fn template(
    operation: &Operation<'_>,
    kind: u32,
    written: &str,
) -> anyhow::Result<Alternative> {
    let mut parts = Vec::new();
    let mut each: Option<Path> = None;
    let mut rest = written;
    while let Some(place) = rest.find(['{', '$']) {
        if place > 0 {
            parts.push(Part::Literal(rest[..place].to_owned()));
        }
        rest = &rest[place..];
        if let Some((name, number)) = CALL.iter().find(|it| rest.starts_with(it.0)) {
            parts.push(Part::Call(*number));
            rest = &rest[name.len()..];
            continue;
        }
        ensure!(
            rest.starts_with('{'),
            "only ${{Partition}}, ${{Region}} and ${{Account}} are known"
        );
        // A path may hold `{}` itself.
        let mut depth = 0usize;
        let end = rest.find(|letter| {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let end = end.context("a brace is not closed")?;
        let (path, form) = match rest[1..end].split_once(':') {
            None => (&rest[1..end], Form::plain()),
            Some((path, form)) => (
                path,
                Form::read(form).with_context(|| format!("{form:?} is no form"))?,
            ),
        };
        let member = operation.resolve(path)?;
        ensure!(
            member.is_text()
                || form.takes_any()
                || (kind == alternative::VALUE && member.kind == "boolean"),
            "{path} is no text but a {}",
            member.kind
        );
        let (over, part) = split(&member, form);
        if let Some(over) = over {
            match &each {
                Some(other) if *other != over => bail!("two different lists in one template"),
                _ => each = Some(over),
            }
        }
        parts.push(part);
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    Ok(Alternative {
        kind,
        each,
        parts,
        services: Vec::new(),
    })
}

/// The list or map a member is in, and where the member is from there.
fn split(member: &Member, form: Form) -> (Option<Path>, Part) {
    let path = &member.path;
    if member.each == 0 {
        return (None, Part::Member(path.clone(), form));
    }
    let mut over = path.clone();
    let inner = over.steps.split_off(member.each);
    (Some(over), Part::Item(inner, form))
}

/// A path to text, for conditions: of any kind.
pub(crate) fn when(
    operation: &Operation<'_>,
    written: &str,
) -> anyhow::Result<(Path, Option<String>)> {
    let (path, value) = match written.split_once('=') {
        Some((path, value)) => (path, Some(value.to_owned())),
        None => (written, None),
    };
    let member = operation
        .resolve(path)
        .with_context(|| format!("when {written:?}"))?;
    Ok((member.path, value))
}

/// Services that take a name in any case and keep it in lower case, so that the name as given does not make
/// the ARN.
pub(crate) fn folds(service: &str) -> bool {
    FOLDING.contains(&service)
}

const FOLDING: &[&str] = &[
    "dax",
    "dms",
    "docdb",
    "elasticache",
    "glue",
    "lakeformation",
    "memorydb",
    "neptune",
    "rds",
    "redshift",
];

/// The parts of a path within an element.
pub(crate) const WITHIN: u32 = location::ELEMENT;

/// As `part`, for `Part`.
pub(crate) fn kind(part: &Part) -> u32 {
    match part {
        Part::Literal(_) => part::LITERAL,
        Part::Call(number) => *number,
        Part::Member(..) => part::MEMBER,
        Part::Item(..) => part::ITEM,
    }
}
