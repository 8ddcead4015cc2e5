//! Patterns for actions and resources, against a matcher that tries everything.
//!
//! An input has four lines: an action's pattern, a resource's pattern, an action, an ARN.

use guard_daemon::aws::{Access, Resource};
use guard_daemon::policy::{Effect, NothingKnown, Profile};

/// A deny takes a resource's pattern in the wide reading, an allow in the narrow one.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(4, '\n');
    let (Some(actions), Some(resources), Some(action), Some(arn)) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return;
    };
    // Variables are not this target's.
    if resources.contains('$') {
        return;
    }
    // The naive matcher's time is the product of the lengths.
    if text.len() > 512 || arn.contains('\n') || !arn.starts_with("arn:") {
        return;
    }
    let (Some((service, name)), false) = (action.split_once(':'), action.contains(' ')) else {
        return;
    };
    let profile = |effect: &str, default: &str| {
        let (actions, resources) = (quoted(actions), quoted(resources));
        let text = format!(
            "default = \"{default}\"\n[[statement]]\neffect = \"{effect}\"\naction = {actions}\nresource = {resources}\n"
        );
        Profile::parse("fuzz", &text)
    };
    let (Ok(deny), Ok(allow)) = (profile("deny", "allow"), profile("allow", "deny")) else {
        return;
    };
    let access = [Access {
        action: Some(action.to_owned().into()),
        level: None,
        resources: vec![Resource::Arn(arn.to_owned())],
    }];
    let is_any = |pattern: &str| pattern.bytes().all(|byte| byte == b'*');
    let fold = |text: &str| text.to_ascii_lowercase();
    let acts = is_any(actions)
        || actions.split_once(':').is_some_and(|(of, named)| {
            naive(&fold(of), &fold(service)) && naive(&fold(named), &fold(name))
        });
    let wide = acts && naive(resources, arn);
    let narrow = acts && (is_any(resources) || in_parts(resources, arn));

    let denied = deny.decide(&access, &NothingKnown).effect == Effect::Deny;
    assert_eq!(
        denied, wide,
        "deny of {actions:?} on {resources:?}: {access:?}"
    );
    let allowed = allow.decide(&access, &NothingKnown).effect == Effect::Allow;
    assert_eq!(
        allowed, narrow,
        "allow of {actions:?} on {resources:?}: {access:?}"
    );
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Part by part, the last of the pattern's against all that is left.
fn in_parts(pattern: &str, arn: &str) -> bool {
    let patterns: Vec<&str> = pattern.splitn(6, ':').collect();
    let parts: Vec<&str> = arn.splitn(patterns.len(), ':').collect();
    let all = || {
        patterns
            .iter()
            .zip(&parts)
            .all(|(pattern, part)| naive(pattern, part))
    };
    patterns.len() == parts.len() && all()
}

/// Whether a pattern stands for the whole of a text, by the definition: a table over all prefixes of both.
fn naive(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for wanted in pattern {
        let mut next = vec![false; text.len() + 1];
        if wanted == '*' {
            let first = row
                .iter()
                .position(|reached| *reached)
                .unwrap_or(usize::MAX);
            for (at, reached) in next.iter_mut().enumerate() {
                *reached = at >= first;
            }
        } else {
            for (at, found) in text.iter().enumerate() {
                next[at + 1] = row[at] && (wanted == '?' || wanted == *found);
            }
        }
        row = next;
    }
    row[text.len()]
}
