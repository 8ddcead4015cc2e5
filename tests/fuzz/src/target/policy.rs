//! A profile's text, or that of an IAM policy document (it begins with `{`), is parsed, and decides.

use guard_daemon::aws::{Access, KeyValue, Resource};
use guard_daemon::policy::{ConditionKeys, Effect, NothingKnown, Profile, Source, SourceDocument};

/// What is none says why; what is one decides the same twice; what nobody can name is never let through; and no more is
/// let through where less is known.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let profile = match Profile::load(&source(text)) {
        Ok(profile) => profile,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(profile.condition_keys().is_sorted(), "{text}");
    for (action, resource) in [
        (
            Some("s3:GetObject"),
            Resource::Arn("arn:aws:s3:::b/k:1".to_owned()),
        ),
        (Some("s3:GetObject"), Resource::Unknown),
        (Some("ec2:DescribeRegions"), Resource::Any),
        (None, Resource::Unknown),
    ] {
        let known = action.is_some();
        let access = [Access {
            action: action.map(Into::into),
            level: None,
            resources: vec![resource],
        }];
        for keys in [&NothingKnown as &dyn ConditionKeys, &AllKnown] {
            let decision = profile.decide(&access, keys);
            assert_eq!(decision, profile.decide(&access, keys), "{text}");
            assert!(!decision.reason.is_empty(), "{text}");
            let allowed = decision.effect == Effect::Allow;
            assert!(known || !allowed, "{decision:?} on {text}");
            assert!(!profile.explain(&access, keys).is_empty(), "{text}");
            let _ = profile.masked(&access, keys);
        }
        let blind = profile.decide(&access, &NothingKnown).effect == Effect::Allow;
        let seeing = profile.decide(&access, &AllKnown).effect == Effect::Allow;
        assert!(!blind || seeing, "{access:?} on {text}");
    }
    assert_eq!(profile.decide(&[], &NothingKnown).effect, Effect::Deny);
    for host in ["a.example", "x.a.example", "192.0.2.1", "", ".", "*"] {
        let reached = profile.allows_host(host, 443);
        assert!(!reached || profile.allows_name(host), "{host:?} on {text}");
    }
}

fn source(text: &str) -> Source {
    if !text.starts_with('{') {
        return Source::new("fuzz", text);
    }
    Source {
        documents: vec![SourceDocument {
            path: "document.json".to_owned(),
            text: text.to_owned(),
        }],
        ..Source::new(
            "fuzz",
            "default = \"deny\"\n[policies]\nidentity = \"document.json\"\n",
        )
    }
}

/// Knows some value of each kind.
struct AllKnown;

impl ConditionKeys for AllKnown {
    fn value(&self, key: &str, _access: &Access, _resource: &Resource) -> KeyValue {
        match key.len() % 3 {
            0 => KeyValue::Absent,
            1 => KeyValue::One("a/1".to_owned()),
            _ => KeyValue::Many(vec!["a".to_owned(), "2026-01-01T00:00:00Z".to_owned()]),
        }
    }
}
