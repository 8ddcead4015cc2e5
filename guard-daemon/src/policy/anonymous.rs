//! Requests that nobody signed: they pass only where a statement says so in so many words.
//!
//! Operations without authentication (Cognito's sign-in, AssumeRoleWithWebIdentity, public S3 objects) carry
//! or use identities that are not the session's. An allowance that was written for the session does not mean
//! them, `*` least of all.

use super::Effect;
use super::evaluate::{Policy, action, pairs};
use super::keys::{ConditionKeys, Facts};
use super::statement::Statement;
use crate::aws::Access;

/// The value of `aws:PrincipalType` in an anonymous request
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable>).
pub const ANONYMOUS: &str = "Anonymous";

impl Policy {
    /// Whether for every access and resource an allow or approve statement of the identity applies that names
    /// anonymous callers in a condition.
    pub(super) fn admits_anonymous(&self, access: &[Access], keys: &dyn ConditionKeys) -> bool {
        let mut any = false;
        pairs(access).all(|(access, resource)| {
            any = true;
            let facts = Facts::new(keys, access, resource, self.keys());
            self.identity().any(|statement| {
                statement.effect != Effect::Deny
                    && names_anonymous(statement)
                    && statement.applies(action(access), resource, &facts)
            })
        }) && any
    }
}

/// Whether the statement is for anonymous callers alone, or for them among others that it lists.
fn names_anonymous(statement: &Statement) -> bool {
    statement.conditions.iter().any(|condition| {
        condition.key().eq_ignore_ascii_case("aws:principaltype")
            && !condition.operator().negated
            && condition
                .written()
                .iter()
                .any(|value| value.eq_ignore_ascii_case(ANONYMOUS))
    })
}

#[cfg(test)]
mod tests {
    use crate::aws::{Access, KeyValue, Resource};
    use crate::policy::{ConditionKeys, Effect, Profile};

    struct Anonymous;

    impl ConditionKeys for Anonymous {
        fn value(&self, key: &str, _access: &Access, _resource: &Resource) -> KeyValue {
            match key {
                "aws:principaltype" => KeyValue::One(super::ANONYMOUS.to_owned()),
                _ => KeyValue::Unknown,
            }
        }
    }

    fn access(action: &str) -> Vec<Access> {
        vec![Access {
            action: Some(action.to_owned().into()),
            level: None,
            resources: vec![Resource::Any],
        }]
    }

    #[test]
    fn only_a_statement_that_names_them_lets_them_pass() {
        let statement = |effect: &str, condition: &str| {
            format!(
                "default = \"allow\"\n[[statement]]\neffect = \"{effect}\"\naction = \"cognito-idp:Initiate*\"\n{condition}\n\
                 [[statement]]\neffect = \"allow\"\naction = \"*\"\n"
            )
        };
        let named = "condition = { StringEquals = { \"aws:PrincipalType\" = \"Anonymous\" } }";
        let among =
            "condition = { StringLike = { \"AWS:PrincipalType\" = [\"User\", \"Anonymous\"] } }";
        let other = "condition = { StringEquals = { \"aws:PrincipalType\" = \"User\" } }";
        let negated = "condition = { StringNotEquals = { \"aws:PrincipalType\" = \"Anonymous\" } }";
        let unknown = "condition = { StringEquals = { \"aws:PrincipalType\" = \"Anonymous\", \"aws:SourceIp\" = \"x\" } }";
        for (effect, condition, admitted) in [
            ("allow", named, true),
            ("approve", named, true),
            ("allow", among, true),
            ("allow", "", false),
            ("allow", other, false),
            ("allow", negated, false),
            ("allow", unknown, false),
            ("deny", named, false),
        ] {
            let profile = Profile::parse("p", &statement(effect, condition)).unwrap();
            let admits = |action: &str| profile.admits_anonymous(&access(action), &Anonymous);
            assert_eq!(
                admits("cognito-idp:InitiateAuth"),
                admitted,
                "{effect} {condition}"
            );
            assert!(!admits("cognito-idp:SignUp"), "{effect} {condition}");
        }
        let profile = Profile::parse("p", &statement("allow", named)).unwrap();
        assert!(!profile.admits_anonymous(&[], &Anonymous));
        assert_eq!(
            profile
                .decide(&access("cognito-idp:InitiateAuth"), &Anonymous)
                .effect,
            Effect::Allow
        );
    }
}
