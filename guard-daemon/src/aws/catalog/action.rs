//! IAM's actions and resource types, as the Service Authorization Reference has them.

use std::cmp::Ordering;

use super::{
    schema::{ArchivedAction, level},
    slice, tables, text, u32_le,
};
use crate::aws::AccessLevel;

/// An IAM action.
#[derive(Clone, Copy, Debug)]
pub struct ActionModel(&'static ArchivedAction);

/// A resource type that an action takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResourceType {
    /// The type's name (`table`).
    pub name: &'static str,
    /// Its ARN, with `${Partition}`, `${Region}`, `${Account}` and variables of the type's own.
    pub arn: &'static str,
    /// Whether a statement that allows the action must name one.
    pub required: bool,
}

/// The action of this name, `service:Name` in any case.
pub fn action(name: &str) -> Option<ActionModel> {
    let actions = &tables().actions;
    let place = actions
        .binary_search_by(|it| in_any_case(text(it.name), name))
        .ok()?;
    actions.get(place).map(ActionModel)
}

/// All actions, sorted by name in any case.
pub fn actions() -> impl Iterator<Item = ActionModel> {
    tables().actions.iter().map(ActionModel)
}

impl ActionModel {
    /// The action in this place of the table.
    pub(super) fn at(place: u32) -> Option<Self> {
        tables().actions.get(place as usize).map(Self)
    }

    /// `service:Name`, as the reference spells it.
    pub fn name(self) -> &'static str {
        text(self.0.name)
    }

    /// Its access level.
    pub fn level(self) -> AccessLevel {
        match self.0.level.to_native() {
            level::LIST => AccessLevel::List,
            level::READ => AccessLevel::Read,
            level::PERMISSIONS => AccessLevel::PermissionsManagement,
            level::TAGGING => AccessLevel::Tagging,
            _ => AccessLevel::Write,
        }
    }

    /// The resource types it takes; none where its resource is `*`.
    pub fn resource_types(self) -> impl Iterator<Item = ResourceType> {
        self.types().map(|it| it.0)
    }

    fn types(self) -> impl Iterator<Item = (ResourceType, &'static [u32_le])> {
        let tables = tables();
        slice(&tables.numbers, &self.0.types)
            .chunks_exact(4)
            .filter_map(|it| {
                let found = tables.resource_types.get(it[0].to_native() as usize)?;
                let keys = it[2].to_native() as usize..it[3].to_native() as usize;
                let found = ResourceType {
                    name: text(found.name),
                    arn: text(found.arn),
                    required: it[1].to_native() != 0,
                };
                Some((found, tables.numbers.get(keys).unwrap_or_default()))
            })
    }

    /// The condition keys of its own and of its resource types, as the reference spells them; some twice.
    /// `aws:RequestTag/${TagKey}` stands for all tags.
    pub fn condition_keys(self) -> impl Iterator<Item = &'static str> {
        let own = slice(&tables().numbers, &self.0.keys);
        let of_types = self.types().flat_map(|it| it.1);
        own.iter().chain(of_types).map(|it| text(*it))
    }

    /// Whether this key may be in its context.
    pub fn has_condition_key(self, key: &str) -> bool {
        self.condition_keys().any(|it| names(it, key))
    }

    /// Whether this key may be in its context where it is asked for this resource.
    pub fn has_condition_key_on(self, key: &str, arn: &str) -> bool {
        let own = slice(&tables().numbers, &self.0.keys);
        let of_types = self.types().filter(|it| it.0.may_be(arn));
        own.iter()
            .chain(of_types.flat_map(|it| it.1))
            .any(|it| names(text(*it), key))
    }

    /// Actions that its calls may need as well, depending on what they ask for.
    pub fn dependent_actions(self) -> impl Iterator<Item = &'static str> {
        slice(&tables().numbers, &self.0.dependents)
            .iter()
            .map(|it| text(*it))
    }
}

impl ResourceType {
    /// Whether an ARN may be of this type: it has the type's service, and the resource starts as the type's do.
    pub fn may_be(self, arn: &str) -> bool {
        let mut parts = self.arn.splitn(6, ':').zip(arn.splitn(6, ':')).skip(2);
        let literal = |it: &'static str| it.split("${").next().unwrap_or(it);
        let service = parts
            .next()
            .is_some_and(|(own, given)| own == given || own.starts_with("${"));
        let resource = parts.nth(2);
        service && resource.is_some_and(|(own, given)| given.starts_with(literal(own)))
    }
}

/// Whether the reference's name of a condition key, which may have a `${…}` for anything, is this key's.
pub(super) fn names(listed: &str, key: &str) -> bool {
    let open = listed.find("${").or_else(|| listed.find('<'));
    let Some(open) = open else {
        return listed.eq_ignore_ascii_case(key);
    };
    let (before, rest) = listed.split_at(open);
    let after = rest.split_once(['}', '>']).map_or("", |it| it.1);
    let (start, end) = (key.get(..open), key.len().checked_sub(after.len()));
    let end = end.filter(|it| *it > open).and_then(|it| key.get(it..));
    start.is_some_and(|it| it.eq_ignore_ascii_case(before))
        && end.is_some_and(|it| it.eq_ignore_ascii_case(after))
}

pub(super) fn in_any_case(one: &str, other: &str) -> Ordering {
    let lower = |it: &u8| it.to_ascii_lowercase();
    one.as_bytes()
        .iter()
        .map(lower)
        .cmp(other.as_bytes().iter().map(lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_in_any_case() {
        let names: Vec<&str> = actions().map(ActionModel::name).collect();
        assert_eq!(names.len(), 22_091);
        assert!(names.is_sorted_by(|one, other| in_any_case(one, other) == Ordering::Less));
        for name in names.iter().step_by(97) {
            assert_eq!(action(&name.to_ascii_uppercase()).unwrap().name(), *name);
        }
        assert!(action("s3:GetObjects").is_none());
    }

    #[test]
    fn says_what_the_reference_says() {
        let get = action("dynamodb:getitem").unwrap();
        assert_eq!(
            (get.name(), get.level()),
            ("dynamodb:GetItem", AccessLevel::Read)
        );
        let types: Vec<ResourceType> = get.resource_types().collect();
        assert_eq!(
            types,
            [ResourceType {
                name: "table",
                arn: "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}",
                required: true,
            }]
        );
        assert!(get.has_condition_key("dynamodb:leadingkeys"));
        assert!(!get.has_condition_key("s3:prefix"));
        let create = action("sqs:CreateQueue").unwrap();
        assert!(create.has_condition_key("AWS:requesttag/Team"));
        assert!(!create.has_condition_key("aws:RequestTag/"));
        let run = action("ec2:RunInstances").unwrap();
        let instance = "arn:aws:ec2:us-east-1:123456789012:instance/*";
        let image = "arn:aws:ec2:us-east-1::image/ami-1";
        assert!(run.has_condition_key_on("ec2:instancetype", instance));
        assert!(!run.has_condition_key_on("ec2:instancetype", image));
        assert!(run.has_condition_key_on("ec2:region", image));
        let run = action("ecs:RegisterTaskDefinition").unwrap();
        assert!(run.dependent_actions().all(|it| it.contains(':')));
        assert_eq!(
            action("iam:PutRolePolicy").unwrap().level(),
            AccessLevel::PermissionsManagement
        );
        assert_eq!(
            action("sqs:TagQueue").unwrap().level(),
            AccessLevel::Tagging
        );
    }
}
