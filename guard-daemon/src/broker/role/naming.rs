//! What AWS is told of a session: the role session's name, the source identity, session tags.
//!
//! Bounds and characters are STS's
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>,
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html>). What does not fit is replaced and cut; where
//! that could make two people one, a digest of the whole stands at the end.

use crate::policy::Role;
use crate::session::{Identity, SessionId};

/// Characters of a role session's name and of a source identity.
const LONGEST_NAME: usize = 64;
/// Characters of a tag's key and value, and tags at the most.
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;
const MOST_TAGS: usize = 50;
/// Hexadecimal digits that tell two names apart.
const DIGEST: usize = 16;

/// What AWS is told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::broker) struct Naming {
    pub(super) session_name: String,
    pub(super) source_identity: Option<String>,
    /// In this order; no two keys are the same but for case.
    pub(super) tags: Vec<(String, String)>,
}

impl Naming {
    pub(in crate::broker) fn of(id: &SessionId, identity: &Identity, role: &Role) -> Self {
        Self {
            session_name: role
                .session_name
                .clone()
                .unwrap_or_else(|| session_name(id, identity)),
            source_identity: role.source_identity.then(|| source_identity(identity)),
            tags: if role.session_tags {
                tags(id, identity)
            } else {
                Vec::new()
            },
        }
    }
}

/// `AGENT-SESSION`: the session's id makes it unique.
fn session_name(id: &SessionId, identity: &Identity) -> String {
    let command = identity.command.first().map(|command| {
        let name = command.rsplit('/').next().unwrap_or_default();
        name.strip_suffix(".py").unwrap_or(name)
    });
    let agent = identity.agent.as_ref().map(|agent| agent.name.as_str());
    let agent = agent
        .or(command)
        .filter(|name| !name.is_empty())
        .unwrap_or("guard");
    let mut name: String = agent.chars().map(plain).collect();
    name.truncate(LONGEST_NAME - 1 - id.as_str().len());
    format!("{name}-{id}")
}

/// The person: by e-mail address, else as the provider names them, else as this host does.
fn source_identity(identity: &Identity) -> String {
    let Some(human) = &identity.human else {
        let name = format!("{}@{}", identity.user, identity.host);
        return distinct(&name, &name, false);
    };
    if let Some(email) = &human.email {
        return distinct(email, email, false);
    }
    // Another provider may use the same name for somebody else.
    let whole = format!("{}\0{}", human.issuer, human.subject);
    distinct(&human.subject, &whole, true)
}

/// A name in IAM's characters; with a digest of `whole` where it is not `whole` itself.
fn distinct(text: &str, whole: &str, always: bool) -> String {
    let mut name: String = text.chars().map(plain).collect();
    if !always && name == text && (2..=LONGEST_NAME).contains(&name.len()) {
        return name;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, whole.as_bytes());
    name.truncate(LONGEST_NAME - 1 - DIGEST);
    format!("{name}-{}", &hex::encode(digest)[..DIGEST])
}

/// A character of a name: `[\w+=,.@-]`.
fn plain(c: char) -> char {
    if c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) {
        c
    } else {
        '-'
    }
}

fn tags(id: &SessionId, identity: &Identity) -> Vec<(String, String)> {
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: &str| {
        let key = bounded(key, LONGEST_KEY);
        // STS does not tell keys apart by case.
        let known = tags
            .iter()
            .any(|(known, _)| known.to_lowercase() == key.to_lowercase());
        if !value.is_empty() && !known && tags.len() < MOST_TAGS {
            tags.push((key, bounded(value, LONGEST_VALUE)));
        }
    };
    add("guard:session", id.as_str());
    if let Some(human) = &identity.human {
        // Never one for the other: a subject may be written like somebody else's address.
        add("guard:human", &human.subject);
        add("guard:email", human.email.as_deref().unwrap_or_default());
        add("guard:issuer", &human.issuer);
    }
    add("guard:user", &identity.user);
    add("guard:host", &identity.host);
    if let Some(agent) = &identity.agent {
        add("guard:agent", &agent.name);
        add(
            "guard:agent-version",
            agent.version.as_deref().unwrap_or_default(),
        );
        add(
            "guard:agent-instance",
            agent.instance.as_deref().unwrap_or_default(),
        );
    }
    add(
        "guard:reason",
        identity.reason.as_deref().unwrap_or_default(),
    );
    for (name, value) in &identity.labels {
        add(&format!("guard:label/{name}"), value);
    }
    tags
}

/// A text in the characters of tags, cut. One that is changed ends with a digest of itself.
fn bounded(text: &str, longest: usize) -> String {
    let kept: String = text
        .chars()
        .map(|c| if is_tag_character(c) { c } else { '_' })
        .collect();
    let count = kept.chars().count();
    if kept == text && count <= longest {
        return kept;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let kept: String = kept.chars().take(longest - 1 - DIGEST).collect();
    format!("{kept}-{}", &hex::encode(digest)[..DIGEST])
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, of which the letters of the larger alphabets alone: what is left out is replaced,
/// and what is in surely passes.
fn is_tag_character(c: char) -> bool {
    matches!(c,
        'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{24f}'
        | '\u{391}'..='\u{3a1}' | '\u{3a3}'..='\u{3e1}'
        | '\u{400}'..='\u{481}' | '\u{48a}'..='\u{52f}'
        | '\u{5d0}'..='\u{5ea}' | '\u{620}'..='\u{64a}'
        | '\u{904}'..='\u{939}' | '\u{e01}'..='\u{e30}'
        | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::session::{Agent, Human};

    fn identity() -> Identity {
        Identity {
            uid: 1000,
            user: "ada".to_owned(),
            loginuid: None,
            host: "runner-3".to_owned(),
            reason: None,
            command: vec!["/usr/bin/claude".to_owned()],
            human: None,
            agent: None,
            labels: BTreeMap::new(),
        }
    }

    fn id() -> SessionId {
        SessionId::parse("7b1e09c44f2ad310").unwrap()
    }

    fn human(subject: &str, email: Option<&str>) -> Human {
        Human {
            issuer: "https://login.example".to_owned(),
            subject: subject.to_owned(),
            email: email.map(str::to_owned),
        }
    }

    #[test]
    fn a_session_is_named_after_the_agent() {
        let mut identity = identity();
        assert_eq!(session_name(&id(), &identity), "claude-7b1e09c44f2ad310");
        identity.agent = Some(Agent {
            name: "release bot (é)".to_owned(),
            version: None,
            instance: None,
        });
        assert_eq!(
            session_name(&id(), &identity),
            "release-bot-----7b1e09c44f2ad310"
        );
        identity.agent = None;
        identity.command.clear();
        assert_eq!(session_name(&id(), &identity), "guard-7b1e09c44f2ad310");
    }

    #[test]
    fn a_person_is_named_so_that_no_two_are_one() {
        let mut identity = identity();
        assert_eq!(source_identity(&identity), "ada@runner-3");
        identity.human = Some(human("42", Some("ada@example.com")));
        assert_eq!(source_identity(&identity), "ada@example.com");
        let named = |subject: &str, email: Option<&str>| {
            let human = Some(human(subject, email));
            source_identity(&Identity {
                human,
                ..identity.clone()
            })
        };
        let subject = named("repo:o/r:ref:refs/heads/main", None);
        assert!(
            subject.starts_with("repo-o-r-ref-refs-heads-main-"),
            "{subject}"
        );
        assert_ne!(subject, named("repo-o-r-ref-refs-heads-main", None));
        assert_ne!(named("x", Some("a b@c")), named("x", Some("a-b@c")));
        let long = |end: &str| format!("{}{end}", "a".repeat(80));
        assert_ne!(named("x", Some(&long("1"))), named("x", Some(&long("2"))));
        let other = Human {
            issuer: "https://other.example".to_owned(),
            ..human("42", None)
        };
        let other = source_identity(&Identity {
            human: Some(other),
            ..identity.clone()
        });
        assert_ne!(other, named("42", None));
    }

    #[test]
    fn tags_say_who_and_why() {
        let mut identity = identity();
        identity.human = Some(human("42", Some("ada@example.com")));
        identity.agent = Some(Agent {
            name: "claude".to_owned(),
            version: Some("2.1".to_owned()),
            instance: None,
        });
        identity.reason = Some("nightly <report>".to_owned());
        identity.labels = [("team", "data"), ("Team", "other"), ("empty", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let tags = tags(&id(), &identity);
        let keys: Vec<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "guard:session",
                "guard:human",
                "guard:email",
                "guard:issuer",
                "guard:user",
                "guard:host",
                "guard:agent",
                "guard:agent-version",
                "guard:reason",
                // Labels differ by case, STS's keys do not.
                "guard:label/Team",
            ]
        );
        assert_eq!(
            (tags[1].1.as_str(), tags[2].1.as_str()),
            ("42", "ada@example.com")
        );
        assert!(tags[8].1.starts_with("nightly _report_-"), "{}", tags[8].1);

        identity.human = Some(human("ada@example.com", None));
        let tags = super::tags(&id(), &identity);
        let of = |key: &str| tags.iter().find(|it| it.0 == key).map(|it| it.1.as_str());
        assert_eq!(of("guard:human"), Some("ada@example.com"));
        assert_eq!(of("guard:email"), None);
    }

    /// STS's `[\w+=,.@-]{2,64}`.
    fn is_name(text: &str) -> bool {
        (2..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
    }

    proptest! {
        #[test]
        fn whatever_a_session_says_sts_takes(
            texts in prop::array::uniform7("\\PC{0,90}"),
            labels in prop::collection::btree_map("\\PC{1,140}", "\\PC{0,300}", 0..70),
            said in any::<[bool; 4]>(),
        ) {
            let [user, host, subject, email, agent, version, reason] = texts;
            let identity = Identity {
                user,
                host,
                reason: said[0].then_some(reason),
                command: vec![agent.clone()],
                human: said[1].then(|| human(&subject, said[2].then_some(email.as_str()))),
                agent: said[3].then(|| Agent { name: agent.clone(), version: Some(version), instance: None }),
                labels,
                ..identity()
            };
            prop_assert!(is_name(&session_name(&id(), &identity)));
            prop_assert!(is_name(&source_identity(&identity)));
            let tags = tags(&id(), &identity);
            prop_assert!(tags.len() <= 50);
            for (key, value) in &tags {
                prop_assert!((1..=128).contains(&key.chars().count()) && !key.starts_with("aws:"), "{}", key);
                prop_assert!(value.chars().count() <= 256, "{}", value);
                // General categories L, N and Z are within these.
                let plain = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
                prop_assert!(key.chars().chain(value.chars()).all(plain), "{} {}", key, value);
            }
        }

        #[test]
        fn two_people_never_share_a_name(one in "[ab @/]{1,6}", other in "[ab @/]{1,6}") {
            let named = |subject: &str| {
                source_identity(&Identity { human: Some(human("x", Some(subject))), ..identity() })
            };
            prop_assert_eq!(one == other, named(&one) == named(&other));
        }
    }
}
