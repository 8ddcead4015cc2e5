//! What IAM is asked for an operation, and where in a request its resources and condition keys are.

use super::{
    ActionModel, OperationModel,
    schema::{
        self, ArchivedAlternative, ArchivedKeyRule, ArchivedPart, ArchivedPath, ArchivedRule,
        ArchivedStep, ArchivedTarget, NONE,
    },
    slice, tables, text,
};

/// An action that an operation asks for.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) struct Rule(&'static ArchivedRule);

/// A resource of it.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) struct Target(&'static ArchivedTarget);

/// A way to read one, or a condition key's value.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) struct Alternative(&'static ArchivedAlternative);

/// A part of a template.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) enum Part {
    /// This text.
    Literal(&'static str),
    /// The call's partition.
    Partition,
    /// Its region.
    Region,
    /// The account of the credentials.
    Account,
    /// A member of the input.
    Member(Path, Form),
    /// A member of the element at hand.
    Item(Path, Form),
}

/// What a member must be, or is made into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws) enum Form {
    /// The member as it is.
    Plain,
    /// In lower case.
    Lower,
    /// Applies where it is letters, digits and `-_.`.
    Name,
    /// Applies where it is digits.
    Digits,
    /// Applies where it is an ARN without version or alias: with one `:` in its resource part.
    Unqualified,
    /// Applies where it starts with this.
    Starts(&'static str),
    /// Applies where it holds this.
    Holds(&'static str),
    /// Applies where it is not this.
    Not(&'static str),
    /// Empty; applies where it is this.
    Is(&'static str),
    /// Empty; applies where it is surely not given.
    None,
}

/// Where a member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws) struct Path(u32);

/// Where a REST protocol has a top-level member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws) enum Location {
    /// Among others in the body.
    Body,
    /// It is the body.
    Payload,
    /// The segment of the path with this number.
    Label(usize),
    /// In the query string.
    Query(&'static str),
    /// In a header.
    Header(&'static str),
    /// Headers with this prefix.
    Headers(&'static str),
    /// What else is in the query string.
    OtherQuery,
}

/// A step from a value to values within it. Names are those on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws) struct Step {
    /// See `schema::step`.
    pub(in crate::aws) kind: u32,
    /// In JSON, CBOR and XML; of a map's key in its entry.
    pub(in crate::aws) wire: &'static str,
    /// In forms; of a map's value in its entry.
    pub(in crate::aws) form: &'static str,
}

/// How a condition key is read.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) struct KeyRule(&'static ArchivedKeyRule);

/// What a key is where the request lacks its member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::aws) enum Default {
    /// Absent.
    Absent,
    /// The service may have a default.
    Unknown,
    /// This.
    Value(&'static str),
}

impl OperationModel {
    /// What IAM is asked for; nothing where that is not known.
    pub(in crate::aws) fn rules(self) -> impl ExactSizeIterator<Item = Rule> {
        slice(&tables().rules, &self.0.rules).iter().map(Rule)
    }

    /// Condition keys that its requests tell.
    pub(in crate::aws) fn keys(self) -> impl Iterator<Item = KeyRule> {
        let rules = &tables().key_rules;
        slice(&tables().numbers, &self.0.keys)
            .iter()
            .filter_map(|it| rules.get(it.to_native() as usize).map(KeyRule))
    }
}

impl Rule {
    /// The action.
    pub(in crate::aws) fn action(self) -> Option<ActionModel> {
        ActionModel::at(self.0.action.to_native())
    }

    /// Its resources.
    pub(in crate::aws) fn targets(self) -> impl ExactSizeIterator<Item = Target> {
        slice(&tables().rule_targets, &self.0.targets)
            .iter()
            .map(Target)
    }

    /// The member without which it is not asked for, and the value it must have.
    pub(in crate::aws) fn when(self) -> Option<(Path, Option<&'static str>)> {
        let path = self.0.when.to_native();
        let value = Some(self.0.value).filter(|it| it.to_native() != NONE);
        (path != NONE).then(|| (Path(path), value.map(text)))
    }

    /// See `schema::source`.
    pub(in crate::aws) fn source(self) -> u32 {
        self.0.source.to_native()
    }
}

impl Target {
    /// None rather than unknown where its members are not given.
    pub(in crate::aws) fn is_optional(self) -> bool {
        self.0.optional.to_native() != 0
    }

    /// Of which the first that applies is taken.
    pub(in crate::aws) fn alternatives(self) -> impl Iterator<Item = Alternative> + Clone {
        Alternative::all(&self.0.alternatives)
    }
}

impl Alternative {
    fn all(span: &'static super::ArchivedSpan) -> impl Iterator<Item = Alternative> + Clone {
        let all = &tables().alternatives;
        slice(&tables().numbers, span)
            .iter()
            .filter_map(|it| all.get(it.to_native() as usize).map(Alternative))
    }

    /// See `schema::alternative`.
    pub(in crate::aws) fn kind(self) -> u32 {
        self.0.kind.to_native()
    }

    /// What gives one resource per element.
    pub(in crate::aws) fn each(self) -> Option<Path> {
        let path = self.0.each.to_native();
        (path != NONE).then_some(Path(path))
    }

    /// Its parts, one after another.
    pub(in crate::aws) fn parts(self) -> impl ExactSizeIterator<Item = Part> + Clone {
        slice(&tables().parts, &self.0.parts).iter().map(Part::of)
    }

    /// The services that a whole ARN may be of.
    pub(in crate::aws) fn services(self) -> impl Iterator<Item = &'static str> {
        slice(&tables().numbers, &self.0.services)
            .iter()
            .map(|it| text(*it))
    }
}

impl Part {
    fn of(part: &'static ArchivedPart) -> Self {
        let path = Path(part.value.to_native());
        match part.kind.to_native() {
            schema::part::PARTITION => Self::Partition,
            schema::part::REGION => Self::Region,
            schema::part::ACCOUNT => Self::Account,
            schema::part::MEMBER => Self::Member(path, Form::of(part)),
            schema::part::ITEM => Self::Item(path, Form::of(part)),
            _ => Self::Literal(text(part.value)),
        }
    }
}

impl Form {
    fn of(part: &'static ArchivedPart) -> Self {
        use schema::form;
        match part.form.to_native() {
            form::LOWER => Self::Lower,
            form::NAME => Self::Name,
            form::DIGITS => Self::Digits,
            form::UNQUALIFIED => Self::Unqualified,
            form::STARTS => Self::Starts(text(part.text)),
            form::HOLDS => Self::Holds(text(part.text)),
            form::NOT => Self::Not(text(part.text)),
            form::IS => Self::Is(text(part.text)),
            form::NONE => Self::None,
            _ => Self::Plain,
        }
    }
}

impl Path {
    fn model(self) -> Option<&'static ArchivedPath> {
        tables().paths.get(self.0 as usize)
    }

    /// Where its top-level member is, in a REST protocol.
    pub(in crate::aws) fn location(self) -> Location {
        use schema::location as at;
        let Some(model) = self.model() else {
            return Location::Body;
        };
        match model.location.to_native() {
            at::PAYLOAD => Location::Payload,
            at::LABEL => Location::Label(model.name.to_native() as usize),
            at::QUERY => Location::Query(text(model.name)),
            at::HEADER => Location::Header(text(model.name)),
            at::HEADERS => Location::Headers(text(model.name)),
            at::OTHER_QUERY => Location::OtherQuery,
            _ => Location::Body,
        }
    }

    /// Its steps, from the top of the input or from an element.
    pub(in crate::aws) fn steps(self) -> Steps {
        Steps(
            self.model()
                .map_or(&[], |it| slice(&tables().numbers, &it.steps)),
        )
    }
}

/// Steps one after another.
#[derive(Clone, Copy, Debug)]
pub(in crate::aws) struct Steps(&'static [super::u32_le]);

impl Steps {
    /// The first, and what follows it.
    pub(in crate::aws) fn split_first(self) -> Option<(Step, Steps)> {
        let (first, rest) = self.0.split_first()?;
        let step = tables().steps.get(first.to_native() as usize)?;
        Some((Step::of(step), Steps(rest)))
    }
}

impl Step {
    fn of(step: &'static ArchivedStep) -> Self {
        Self {
            kind: step.kind.to_native(),
            wire: text(step.wire),
            form: text(step.form),
        }
    }
}

impl KeyRule {
    /// The key in lower case, or what comes before a tag's or entry's name.
    pub(in crate::aws) fn key(self) -> &'static str {
        text(self.0.key)
    }

    /// See `schema::key`.
    pub(in crate::aws) fn kind(self) -> u32 {
        self.0.kind.to_native()
    }

    /// Of one or many values.
    pub(in crate::aws) fn alternatives(self) -> impl Iterator<Item = Alternative> + Clone {
        Alternative::all(&self.0.reads)
    }

    /// Of a container.
    pub(in crate::aws) fn path(self, place: usize) -> Option<Path> {
        let numbers = slice(&tables().numbers, &self.0.reads);
        numbers.get(place).map(|it| Path(it.to_native()))
    }

    /// What the resource in an ARN starts with, up to its first `/`, where the rule is right; all if empty.
    pub(in crate::aws) fn on(self) -> impl ExactSizeIterator<Item = &'static str> {
        let texts = slice(&tables().numbers, &self.0.on);
        texts.iter().map(|it| text(*it))
    }

    /// What it is where the request lacks it.
    pub(in crate::aws) fn absent(self) -> Default {
        match self.0.absent.to_native() {
            schema::absent::ABSENT => Default::Absent,
            schema::absent::UNKNOWN => Default::Unknown,
            _ => Default::Value(text(self.0.absent)),
        }
    }
}
