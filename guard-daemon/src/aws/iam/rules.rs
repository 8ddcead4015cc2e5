//! The catalog's rules, applied to an input.

use std::borrow::Cow;

use super::{
    Asked, arn, distinct,
    input::{At, Input, Unclear},
    on,
};
use crate::aws::{
    Access, Resource,
    catalog::{Alternative, Form, OperationModel, Part, Path, Rule, Target, alternative, source},
};

/// A condition key's value beyond this is unknown, in bytes.
pub(super) const LONGEST_VALUE: usize = 64 * 1024;

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
        self.of_rules(self.operation.rules())
    }

    /// What is asked for beside the operation's own action, which the first rule has: passed roles, tags at
    /// creation, what a service reads or writes with the caller's rights.
    pub(super) fn beside(self) -> Vec<Access> {
        self.of_rules(self.operation.rules().skip(1))
    }

    fn of_rules(self, rules: impl ExactSizeIterator<Item = Rule>) -> Vec<Access> {
        let mut access: Vec<Access> = Vec::with_capacity(rules.len());
        for rule in rules {
            let Some(found) = self.rule(rule) else {
                continue;
            };
            match access.iter_mut().find(|it| it.action == found.action) {
                Some(same) => {
                    let new = found.resources.into_iter();
                    let mut resources = std::mem::take(&mut same.resources);
                    resources.extend(new);
                    same.resources = distinct(resources);
                }
                None => access.push(found),
            }
        }
        access
    }

    fn rule(self, rule: Rule) -> Option<Access> {
        let action = rule.action()?;
        let targets = rule.targets();
        let mut resources = Vec::with_capacity(targets.len());
        match rule
            .when()
            .map_or(Ok(true), |(path, value)| self.given(path, value))
        {
            Ok(false) => return None,
            Ok(true) => targets.for_each(|it| self.target(it, &mut resources)),
            Err(Unclear) => resources.push(Resource::Unknown),
        }
        // The tables' authors know that IAM is then asked for `*`.
        if resources.is_empty() && rule.source() == source::TABLE {
            resources.push(Resource::Any);
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
        let read = target
            .alternatives()
            .take_while(|it| it.kind() != alternative::ANY);
        let any = target
            .alternatives()
            .any(|it| it.kind() == alternative::ANY);
        let given = self.values(read, target.is_optional(), |text| {
            resources.push(text.map_or(Resource::Unknown, Resource::Arn));
        });
        if resources.len() > before {
            return;
        }
        if any {
            resources.push(Resource::Any);
        } else if given || !target.is_optional() {
            resources.push(Resource::Unknown);
        }
    }

    /// Hands on the value of the first alternative that applies, or one value per element; `None` where it is
    /// not sure. Of something `optional`, an element without the members gives none. Returns whether any member
    /// was given.
    pub(super) fn values(
        self,
        alternatives: impl Iterator<Item = Alternative> + Clone,
        optional: bool,
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
            if self
                .input
                .find(self.operation, each, &mut elements)
                .is_err()
            {
                value(None);
                return true;
            }
            if elements.is_empty() {
                continue;
            }
            let mut found = false;
            for element in &elements {
                let read = self.one(group.clone(), Some(element));
                if optional && matches!(read, Read::Absent) {
                    continue;
                }
                found = true;
                value(if let Read::Text(text) = read {
                    Some(text)
                } else {
                    None
                });
            }
            if found {
                return true;
            }
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
            alternative::WHOLE => it.parts().next().map_or(Read::Unknown, |part| {
                let services = |found: &str| it.services().any(|it| it == found);
                self.whole(part, element, services)
            }),
            kind => self.template(kind, it, element),
        }
    }

    fn whole(
        self,
        part: Part,
        element: Option<&At<'t>>,
        is_service: impl Fn(&str) -> bool,
    ) -> Read {
        let text = match self.member(part, element) {
            Err(Unclear) => return Read::Unknown,
            Ok(None) => return Read::Absent,
            Ok(Some(text)) if !text.starts_with("arn:") => return Read::Other,
            Ok(Some(text)) => text,
        };
        let (Part::Member(_, form) | Part::Item(_, form)) = part else {
            return Read::Unknown;
        };
        if !arn::is_usable(&text) || arn::parts(&text).is_none_or(|it| !is_service(it.service)) {
            return Read::Unknown;
        }
        match form {
            Form::Lower => Read::Text(text.to_lowercase()),
            Form::Plain => Read::Text(text.into_owned()),
            Form::Starts(start) if text.starts_with(start) => Read::Text(text.into_owned()),
            Form::Holds(part) if text.contains(part) => Read::Text(text.into_owned()),
            Form::Not(other) if text != other => Read::Text(text.into_owned()),
            Form::Unqualified if is_unqualified(&text) => Read::Text(text.into_owned()),
            _ => Read::Other,
        }
    }

    fn template(self, kind: u32, it: Alternative, element: Option<&At<'t>>) -> Read {
        let longest = if kind == alternative::VALUE {
            LONGEST_VALUE
        } else {
            arn::LONGEST
        };
        let mut text = String::with_capacity(96);
        let mut applies = true;
        let mut usable = true;
        for part in it.parts() {
            let known = match part {
                Part::Literal(literal) => Some(literal),
                Part::Partition => Some(self.asked.endpoint.partition),
                Part::Region => self.asked.region,
                Part::Account => self.asked.account,
                Part::Member(_, form) | Part::Item(_, form) => {
                    match (self.member(part, element), form) {
                        (Err(Unclear), _) => return Read::Unknown,
                        (Ok(None), Form::None) => {}
                        (Ok(None), _) => return Read::Absent,
                        (Ok(Some(member)), _) => {
                            // A condition key's value may well be an ARN.
                            applies &= form.takes(&member, kind == alternative::VALUE);
                            usable &= push(&mut text, kind, form, &member);
                        }
                    }
                    continue;
                }
            };
            // Whether it applies is told by members alone, whatever else the call lacks.
            usable &= known.is_some();
            text.push_str(known.unwrap_or_default());
        }
        if !applies {
            Read::Other
        } else if usable && text.len() <= longest {
            Read::Text(text)
        } else {
            Read::Unknown
        }
    }

    /// The text of a part's member; `None` where it is not given.
    fn member(self, part: Part, element: Option<&At<'t>>) -> Result<Option<Cow<'t, str>>, Unclear> {
        let mut found = Vec::new();
        match (part, element) {
            (Part::Member(path, _), _) => self.input.find(self.operation, path, &mut found)?,
            (Part::Item(path, _), Some(element)) => {
                element.find(path, &mut found)?;
            }
            _ => return Err(Unclear),
        }
        match (found.as_slice(), part) {
            ([], _) => Ok(None),
            // That it is given is all that counts.
            ([..], Part::Member(_, Form::None) | Part::Item(_, Form::None)) => {
                Ok(Some(Cow::Borrowed("")))
            }
            ([one], _) => one.text().ok_or(Unclear).map(Some),
            _ => Err(Unclear),
        }
    }
}

impl Form {
    /// Whether a template with a member of this form applies to the member, which may be an ARN if `arns`.
    fn takes(self, member: &str, arns: bool) -> bool {
        let may_be = arns || !member.starts_with("arn:");
        let alphanumeric = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
        match self {
            Form::Plain | Form::Lower => may_be,
            Form::Name => !member.is_empty() && member.chars().all(alphanumeric),
            Form::Digits => !member.is_empty() && member.bytes().all(|it| it.is_ascii_digit()),
            Form::Starts(text) => member.starts_with(text) && may_be,
            Form::Holds(text) => member.contains(text) && may_be,
            Form::Not(text) => member != text && may_be,
            Form::Is(text) => member == text,
            Form::Unqualified => arns && is_unqualified(member),
            Form::None => false,
        }
    }
}

/// Whether an ARN has type and name, and neither version nor alias.
fn is_unqualified(arn: &str) -> bool {
    arn::parts(arn).is_some_and(|it| it.resource.matches(':').count() == 1)
}

/// Adds a member to a template. False where it could be taken for more than a name.
fn push(text: &mut String, kind: u32, form: Form, member: &str) -> bool {
    match form {
        Form::Is(_) | Form::None => return true,
        Form::Lower => text.extend(member.chars().flat_map(char::to_lowercase)),
        _ => text.push_str(member),
    }
    let folded = kind == alternative::FOLDED && member.chars().any(char::is_uppercase);
    match kind {
        alternative::NAMES | alternative::FOLDED => !folded && arn::is_name(member, "+=,@"),
        alternative::VALUE => true,
        _ => arn::is_usable(member),
    }
}
