//! The catalog's rules, applied to an input.

use std::borrow::Cow;

use super::{
    Asked, arn,
    input::{At, Input, Unclear},
    on,
};
use crate::aws::{
    Access, Resource,
    catalog::{Alternative, OperationModel, Part, Path, Rule, Target, alternative},
};

/// Longer than any ARN.
const LONGEST: usize = 2048;

/// Applies rules to one operation of a request.
#[derive(Clone, Copy)]
pub(super) struct Reader<'t, 'i> {
    /// The call.
    pub(super) asked: &'t Asked<'t>,
    /// Its members.
    pub(super) input: &'t Input<'i>,
    /// Its operation.
    pub(super) operation: OperationModel,
}

/// What an alternative makes of the input.
enum Read {
    /// Not given, so that the next alternative may apply.
    Absent,
    /// Given, but in another form than this alternative's.
    Other,
    /// Given, and not to be read, or not sure.
    Unknown,
    /// This.
    Text(String),
}

impl<'t> Reader<'t, '_> {
    /// What IAM is asked for; nothing where the catalog has no rules.
    pub(super) fn access(self) -> Vec<Access> {
        let rules = self.operation.rules();
        let mut access = Vec::with_capacity(rules.len());
        for rule in rules {
            access.extend(self.rule(rule));
        }
        access
    }

    fn rule(self, rule: Rule) -> Option<Access> {
        let action = rule.action()?;
        let targets = rule.targets();
        let mut resources = Vec::with_capacity(targets.len());
        match rule.when().map_or(Ok(true), |(path, value)| self.given(path, value)) {
            Ok(false) => return None,
            Ok(true) => targets.for_each(|it| self.target(it, &mut resources)),
            Err(Unclear) => {}
        }
        let mut access = on(action.name(), resources);
        access.level = Some(action.level());
        Some(access)
    }

    /// Whether a member is given, with this value.
    fn given(self, path: Path, value: Option<&str>) -> Result<bool, Unclear> {
        let mut found = Vec::new();
        self.input.find(self.operation, path, &mut found)?;
        match value {
            None => Ok(!found.is_empty()),
            Some(value) => {
                for it in &found {
                    if it.text().ok_or(Unclear)? == value {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    fn target(self, target: Target, resources: &mut Vec<Resource>) {
        let before = resources.len();
        let any = target.alternatives().any(|it| it.kind() == alternative::ANY);
        if any && target.alternatives().count() == 1 {
            resources.push(Resource::Any);
            return;
        }
        let given = self.values(target.alternatives(), |text| {
            resources.push(text.map_or(Resource::Unknown, Resource::Arn));
        });
        if resources.len() == before && (given || !target.is_optional()) {
            resources.push(if any { Resource::Any } else { Resource::Unknown });
        }
    }

    /// Hands on the value of the first alternative that applies, or one value per element; `None` where it is
    /// not sure. Returns whether any member was given.
    pub(super) fn values(
        self,
        alternatives: impl Iterator<Item = Alternative> + Clone,
        mut value: impl FnMut(Option<String>),
    ) -> bool {
        let mut given = false;
        let mut rest = alternatives;
        while let Some(first) = rest.clone().next() {
            let each = first.each();
            let group = rest.clone().take_while(move |it| it.each() == each);
            rest.by_ref().take(group.clone().count()).for_each(drop);
            let Some(each) = each else {
                match self.one(group, None) {
                    Read::Absent => continue,
                    Read::Other => {
                        given = true;
                        continue;
                    }
                    Read::Unknown => value(None),
                    Read::Text(text) => value(Some(text)),
                }
                return true;
            };
            let mut elements = Vec::new();
            if self.input.find(self.operation, each, &mut elements).is_err() {
                value(None);
                return true;
            }
            if elements.is_empty() {
                continue;
            }
            for element in &elements {
                match self.one(group.clone(), Some(element)) {
                    Read::Text(text) => value(Some(text)),
                    _ => value(None),
                }
            }
            return true;
        }
        given
    }

    fn one(self, group: impl Iterator<Item = Alternative>, element: Option<&At<'t>>) -> Read {
        let mut given = false;
        for it in group {
            match self.alternative(it, element) {
                Read::Absent => {}
                Read::Other => given = true,
                found => return found,
            }
        }
        if given { Read::Other } else { Read::Absent }
    }

    fn alternative(self, it: Alternative, element: Option<&At<'t>>) -> Read {
        match it.kind() {
            alternative::ANY | alternative::UNKNOWN => Read::Unknown,
            alternative::WHOLE => {
                let Some(part) = it.parts().next() else {
                    return Read::Unknown;
                };
                match self.member(part, element) {
                    Err(Unclear) => Read::Unknown,
                    Ok(None) => Read::Absent,
                    Ok(Some(text)) if !text.starts_with("arn:") => Read::Other,
                    Ok(Some(text)) => {
                        let fits = arn::parts(&text)
                            .is_some_and(|found| it.services().any(|it| it == found.service));
                        if fits && is_usable(&text) {
                            Read::Text(text.into_owned())
                        } else {
                            Read::Unknown
                        }
                    }
                }
            }
            kind => self.template(kind, it, element),
        }
    }

    fn template(self, kind: u32, it: Alternative, element: Option<&At<'t>>) -> Read {
        let mut text = String::with_capacity(96);
        let mut other = false;
        for part in it.parts() {
            let known = match part {
                Part::Literal(literal) => Some(literal),
                Part::Partition => Some(self.asked.endpoint.partition),
                Part::Region => self.asked.region,
                Part::Account => self.asked.account,
                Part::Member(_) | Part::Item(_) => {
                    match self.member(part, element) {
                        Err(Unclear) => return Read::Unknown,
                        Ok(None) => return Read::Absent,
                        Ok(Some(member)) => {
                            other |= member.starts_with("arn:");
                            if !other && !fits(kind, &member) {
                                return Read::Unknown;
                            }
                            text.push_str(&member);
                        }
                    }
                    continue;
                }
            };
            // A member that is not given, or is an ARN, decides before what the call lacks.
            text.push_str(known.unwrap_or("*"));
        }
        if other {
            Read::Other
        } else if is_usable(&text) {
            Read::Text(text)
        } else {
            Read::Unknown
        }
    }

    /// The text of a part's member; `None` where it is not given.
    fn member(self, part: Part, element: Option<&At<'t>>) -> Result<Option<Cow<'t, str>>, Unclear> {
        let mut found = Vec::new();
        match (part, element) {
            (Part::Member(path), _) => self.input.find(self.operation, path, &mut found)?,
            (Part::Item(path), Some(element)) => self.input.find_in(element, path, &mut found)?,
            _ => return Err(Unclear),
        }
        match found.as_slice() {
            [] => Ok(None),
            [one] => one.text().ok_or(Unclear).map(Some),
            _ => Err(Unclear),
        }
    }
}

/// Whether a member can stand in a template without being taken for more than a name.
fn fits(kind: u32, member: &str) -> bool {
    let folded = matches!(kind, alternative::FOLDED | alternative::FOLDED_TEMPLATE);
    if folded && member.chars().any(char::is_uppercase) {
        return false;
    }
    match kind {
        alternative::NAMES | alternative::FOLDED => arn::is_name(member, "+=,@"),
        _ => !member.is_empty(),
    }
}

/// Whether text can be a resource: IAM's wildcards would make it more than one.
fn is_usable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && !text.contains(|it: char| matches!(it, '*' | '?') || it.is_control())
}
