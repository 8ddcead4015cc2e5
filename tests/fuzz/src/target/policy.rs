//! A profile's text is parsed, and decides.

use guard_daemon::aws::{Access, Resource};
use guard_daemon::policy::{Effect, Profile};

/// What is no profile says why, in a line; what is one decides the same twice, and an access that nothing is known of
/// is never let through by a statement that names resources.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let profile = match Profile::parse("fuzz", text) {
        Ok(profile) => profile,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let access = |action: Option<&str>, resource: Resource| Access {
        action: action.map(str::to_owned),
        resources: vec![resource],
    };
    for access in [
        access(
            Some("s3:GetObject"),
            Resource::Arn("arn:aws:s3:::b/k:1".to_owned()),
        ),
        access(Some("s3:GetObject"), Resource::Unknown),
        access(Some("ec2:DescribeRegions"), Resource::Any),
        access(None, Resource::Unknown),
    ] {
        let decision = profile.decide(std::slice::from_ref(&access));
        assert_eq!(decision, profile.decide(std::slice::from_ref(&access)));
        assert!(!decision.reason.is_empty());
        let known = access.action.is_some();
        assert!(
            known || decision.effect != Effect::Allow,
            "{decision:?} on {text}"
        );
    }
    assert_eq!(profile.decide(&[]).effect, Effect::Deny);
    for host in ["a.example", "x.a.example", "192.0.2.1", "", ".", "*"] {
        let reached = profile.allows_host(host, 443);
        assert!(!reached || profile.allows_name(host), "{host:?} on {text}");
    }
}
