//! Requests that nobody signed: they pass only where a statement says so in so many words.
//!
//! Operations without authentication (Cognito's sign-in, AssumeRoleWithWebIdentity, public S3 objects) carry
//! or use identities that are not the session's. An allowance that was written for the session does not mean
//! them, `*` least of all.

use super::Effect;
use super::statement::Statement;

/// The value of `aws:PrincipalType` in an anonymous request
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable>).
pub const ANONYMOUS: &str = "Anonymous";

/// Why such a request is denied although the profile allows the action.
pub(super) const DENIED: &str = "the request is not signed, and no statement allows it to anonymous callers (condition \
    aws:PrincipalType = Anonymous); sign it with the credentials that guard put in the environment";

/// Whether an allow or approve statement has anonymous callers in a condition: that it is for them alone, or
/// for them among others that it lists.
pub(super) fn admits(statement: &Statement) -> bool {
    statement.effect != Effect::Deny && names_anonymous(statement)
}

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
    use crate::policy::{ConditionKeys, Decider, Effect, Profile};

    struct Anonymous;

    impl ConditionKeys for Anonymous {
        fn value(&self, key: &str, _access: &Access, _resource: &Resource) -> KeyValue {
            match key {
                "aws:principaltype" => KeyValue::One(super::ANONYMOUS.to_owned()),
                _ => KeyValue::Unknown,
            }
        }

        fn is_anonymous(&self) -> bool {
            true
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
        for (effect, condition, decided) in [
            ("allow", named, Effect::Allow),
            ("approve", named, Effect::Approve),
            ("approve", unknown, Effect::Approve),
            ("allow", among, Effect::Allow),
            ("allow", "", Effect::Deny),
            ("allow", other, Effect::Deny),
            ("allow", negated, Effect::Deny),
            ("allow", unknown, Effect::Deny),
            ("deny", named, Effect::Deny),
        ] {
            let profile = Profile::parse("p", &statement(effect, condition)).unwrap();
            let decide = |action: &str| profile.decide(&access(action), &Anonymous);
            let decision = decide("cognito-idp:InitiateAuth");
            assert_eq!(decision.effect, decided, "{effect} {condition}");
            let denied = decide("cognito-idp:SignUp");
            assert_eq!(denied.effect, Effect::Deny, "{effect} {condition}");
            assert!(denied.reason.contains("not signed"), "{}", denied.reason);
        }
        let profile = Profile::parse("p", "default = \"allow\"").unwrap();
        let traces = profile.explain(&access("s3:GetObject"), &Anonymous);
        assert_eq!(traces[0].decider, Decider::Unsigned);
    }
}
