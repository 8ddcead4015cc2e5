//! Evaluates statements: deny beats approve beats allow beats the profile's default.
//!
//! What is unknown of a call (its action, a resource) matches every deny and approve statement that could
//! mean it, and no allow statement that says anything about it.

use super::pattern::{ActionPattern, ResourcePattern};
use super::{Decision, Effect, Profile};
use crate::aws::{Access, Resource};

/// One statement, compiled.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) effect: Effect,
    pub(super) actions: Actions,
    pub(super) resources: Resources,
}

/// `action` or `not_action`.
#[derive(Debug)]
pub(super) enum Actions {
    In(Vec<ActionPattern>),
    NotIn(Vec<ActionPattern>),
}

/// `resource` or `not_resource`.
#[derive(Debug)]
pub(super) enum Resources {
    In(Vec<ResourcePattern>),
    NotIn(Vec<ResourcePattern>),
}

impl Statement {
    fn matches(&self, action: Option<&str>, resource: &Resource) -> bool {
        self.matches_action(action) && self.matches_resource(resource)
    }

    fn matches_action(&self, action: Option<&str>) -> bool {
        let any = |patterns: &[ActionPattern]| patterns.contains(&ActionPattern::Any);
        match (&self.actions, action) {
            (Actions::In(patterns), Some(action)) => patterns.iter().any(|p| p.matches(action)),
            (Actions::NotIn(patterns), Some(action)) => !patterns.iter().any(|p| p.matches(action)),
            (Actions::In(_), None) => self.effect != Effect::Allow,
            (Actions::NotIn(patterns), None) => self.effect != Effect::Allow && !any(patterns),
        }
    }

    fn matches_resource(&self, resource: &Resource) -> bool {
        let any = |patterns: &[ResourcePattern]| patterns.contains(&ResourcePattern::Any);
        match (&self.resources, resource) {
            (Resources::In(patterns), Resource::Arn(arn)) => {
                patterns.iter().any(|p| p.matches(arn))
            }
            (Resources::NotIn(patterns), Resource::Arn(arn)) => {
                !patterns.iter().any(|p| p.matches(arn))
            }
            // The action takes no resource: only a statement about everything is about it.
            (Resources::In(patterns), Resource::Any) => any(patterns),
            (Resources::NotIn(patterns), Resource::Any) => !any(patterns),
            // `*` says nothing about the resource, so an allow may match what is not known of it.
            (Resources::In(patterns), Resource::Unknown) => {
                self.effect != Effect::Allow || any(patterns)
            }
            (Resources::NotIn(patterns), Resource::Unknown) => {
                self.effect != Effect::Allow && !any(patterns)
            }
        }
    }
}

/// The decision on a call: the strictest of those on its accesses.
pub(super) fn decide(profile: &Profile, access: &[Access]) -> Decision {
    let mut strictest: Option<Decision> = None;
    for access in access {
        for resource in &access.resources {
            let decision = decide_one(profile, access.action.as_deref(), resource);
            if decision.effect == Effect::Deny {
                return decision;
            }
            let stricter = strictest.as_ref().is_none_or(|so_far| {
                so_far.effect == Effect::Allow && decision.effect == Effect::Approve
            });
            if stricter {
                strictest = Some(decision);
            }
        }
    }
    // A call with no access at all says nothing that could be allowed.
    strictest.unwrap_or_else(|| decide_one(profile, None, &Resource::Unknown))
}

fn decide_one(profile: &Profile, action: Option<&str>, resource: &Resource) -> Decision {
    let mut approve = None;
    let mut allow = None;
    for statement in &profile.statements {
        let slot = match statement.effect {
            Effect::Deny if statement.matches(action, resource) => {
                return by_statement(statement, action, resource);
            }
            Effect::Deny => continue,
            Effect::Approve => &mut approve,
            Effect::Allow => &mut allow,
        };
        if slot.is_none() && statement.matches(action, resource) {
            *slot = Some(statement);
        }
    }
    match approve.or(allow) {
        Some(statement) => by_statement(statement, action, resource),
        None => by_default(profile, action, resource),
    }
}

fn by_statement(statement: &Statement, action: Option<&str>, resource: &Resource) -> Decision {
    let verb = match statement.effect {
        Effect::Allow => "allows",
        Effect::Deny => "denies",
        Effect::Approve => "asks a person about",
    };
    Decision {
        effect: statement.effect,
        statement: Some(statement.name.clone()),
        reason: format!(
            "statement {} {verb} {}",
            statement.name,
            of(action, resource)
        ),
    }
}

fn by_default(profile: &Profile, action: Option<&str>, resource: &Resource) -> Decision {
    let (effect, reason) = match (profile.default, action) {
        // Nobody can mean to allow what nobody can name.
        (Effect::Allow | Effect::Approve, None) => (
            Effect::Approve,
            format!(
                "no statement names {}, so a person is asked",
                of(action, resource)
            ),
        ),
        (Effect::Allow, Some(_)) => (
            Effect::Allow,
            format!(
                "the default of profile {} allows {}",
                profile.name,
                of(action, resource)
            ),
        ),
        (Effect::Approve, Some(_)) => (
            Effect::Approve,
            format!(
                "the default of profile {} asks a person about {}",
                profile.name,
                of(action, resource)
            ),
        ),
        (Effect::Deny, _) => (
            Effect::Deny,
            format!(
                "no statement of profile {} allows {}",
                profile.name,
                of(action, resource)
            ),
        ),
    };
    Decision {
        effect,
        statement: None,
        reason,
    }
}

fn of(action: Option<&str>, resource: &Resource) -> String {
    let action = action.unwrap_or("an operation that guard does not know");
    match resource {
        Resource::Arn(arn) => format!("{action} on {arn}"),
        Resource::Any => action.to_owned(),
        Resource::Unknown => format!("{action} on a resource that the request does not tell"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn profile(text: &str) -> Profile {
        Profile::parse("test", text).expect("a good profile")
    }

    fn access(action: Option<&str>, resource: Resource) -> Access {
        Access {
            action: action.map(str::to_owned),
            resources: vec![resource],
        }
    }

    fn arn(text: &str) -> Resource {
        Resource::Arn(text.to_owned())
    }

    const STATEMENTS: &str = r#"
default = "deny"
[[statement]]
sid = "read"
effect = "allow"
action = ["s3:Get*", "s3:List*"]
[[statement]]
sid = "write"
effect = "approve"
action = "s3:Put*"
resource = "arn:aws:s3:::data/*"
[[statement]]
sid = "secret"
effect = "deny"
action = "s3:*"
resource = "arn:aws:s3:::secret/*"
[[statement]]
sid = "users"
effect = "allow"
action = "iam:GetUser"
resource = "arn:aws:iam::1:user/*"
"#;

    #[test]
    fn deny_beats_approve_beats_allow_beats_the_default() {
        let profile = profile(STATEMENTS);
        let cases = [
            (
                Some("s3:GetObject"),
                arn("arn:aws:s3:::data/a"),
                Effect::Allow,
                Some("read"),
            ),
            (
                Some("s3:GetObject"),
                arn("arn:aws:s3:::secret/a"),
                Effect::Deny,
                Some("secret"),
            ),
            (
                Some("s3:PutObject"),
                arn("arn:aws:s3:::data/a"),
                Effect::Approve,
                Some("write"),
            ),
            (
                Some("s3:PutObject"),
                arn("arn:aws:s3:::other/a"),
                Effect::Deny,
                None,
            ),
            (
                Some("s3:ListAllMyBuckets"),
                Resource::Any,
                Effect::Allow,
                Some("read"),
            ),
            (Some("sqs:ListQueues"), Resource::Any, Effect::Deny, None),
            // Unknown: the deny could mean it, so it does; the allow with an ARN does not.
            (
                Some("s3:GetObject"),
                Resource::Unknown,
                Effect::Deny,
                Some("secret"),
            ),
            (Some("iam:GetUser"), Resource::Unknown, Effect::Deny, None),
            (
                Some("iam:GetUser"),
                arn("arn:aws:iam::1:user/a"),
                Effect::Allow,
                Some("users"),
            ),
            (None, Resource::Unknown, Effect::Deny, Some("secret")),
            (None, Resource::Any, Effect::Deny, None),
        ];
        for (action, resource, effect, statement) in cases {
            let decision = profile.decide(&[access(action, resource.clone())]);
            assert_eq!(
                (decision.effect, decision.statement.as_deref()),
                (effect, statement),
                "{action:?} {resource:?}"
            );
        }
    }

    #[test]
    fn every_access_of_a_call_must_be_allowed() {
        let profile = profile(STATEMENTS);
        let get = access(Some("s3:GetObject"), arn("arn:aws:s3:::data/a"));
        let put = access(Some("s3:PutObject"), arn("arn:aws:s3:::data/b"));
        let other = access(Some("s3:PutObject"), arn("arn:aws:s3:::other/b"));
        assert_eq!(
            profile.decide(&[get.clone(), put.clone()]).effect,
            Effect::Approve
        );
        assert_eq!(profile.decide(&[get, put, other]).effect, Effect::Deny);
        assert_eq!(profile.decide(&[]).effect, Effect::Deny);
    }

    #[test]
    fn an_unknown_operation_is_never_allowed_by_default() {
        let open = profile("default = \"allow\"");
        let unknown = [access(None, Resource::Unknown)];
        assert_eq!(open.decide(&unknown).effect, Effect::Approve);
        let everything =
            profile("default = \"deny\"\n[[statement]]\neffect = \"allow\"\naction = \"*\"\n");
        assert_eq!(everything.decide(&unknown).effect, Effect::Deny);
        let known = [access(Some("s3:GetObject"), Resource::Unknown)];
        assert_eq!(everything.decide(&known).effect, Effect::Allow);
    }

    #[test]
    fn negated_elements_match_the_rest() {
        let profile = profile(
            r#"
default = "allow"
[[statement]]
sid = "only-data"
effect = "deny"
not_action = "sts:*"
not_resource = "arn:aws:s3:::data/*"
"#,
        );
        let decide = |action, resource| profile.decide(&[access(action, resource)]).effect;
        assert_eq!(
            decide(Some("s3:GetObject"), arn("arn:aws:s3:::data/a")),
            Effect::Allow
        );
        assert_eq!(
            decide(Some("s3:GetObject"), arn("arn:aws:s3:::x/a")),
            Effect::Deny
        );
        assert_eq!(
            decide(Some("sts:GetCallerIdentity"), Resource::Any),
            Effect::Allow
        );
        assert_eq!(
            decide(Some("s3:GetObject"), Resource::Unknown),
            Effect::Deny
        );
        assert_eq!(decide(None, Resource::Unknown), Effect::Deny);
    }

    fn rank(effect: Effect) -> u8 {
        match effect {
            Effect::Allow => 0,
            Effect::Approve => 1,
            Effect::Deny => 2,
        }
    }

    proptest! {
        #[test]
        fn a_further_deny_never_loosens_a_decision(
            action in prop::option::of("(s3|iam):(Get|Put)[AB]?"),
            pattern in "(s3|iam|[*]):(Get|Put|[*])[AB*?]?",
        ) {
            let before = profile(STATEMENTS);
            let after = profile(&format!(
                "{STATEMENTS}\n[[statement]]\neffect = \"deny\"\naction = \"{pattern}\"\n"
            ));
            for resource in [arn("arn:aws:s3:::data/a"), Resource::Any, Resource::Unknown] {
                let call = [access(action.as_deref(), resource)];
                prop_assert!(
                    rank(after.decide(&call).effect) >= rank(before.decide(&call).effect)
                );
            }
        }
    }
}
