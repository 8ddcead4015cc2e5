//! S3's DeleteObjects, whose body names the objects.

use super::{Asked, Input, on, one, s3::Target};
use crate::aws::{Access, Resource, tree::Node};

/// More keys than DeleteObjects takes.
const MOST_KEYS: usize = 1000;

/// What the call asks for: of objects whose versions it names another action than of others.
pub(super) fn access(asked: &Asked<'_>, input: &Input<'_>, target: &Target<'_>) -> Vec<Access> {
    let mut access = match input.root().and_then(keys) {
        None => ["DeleteObject", "DeleteObjectVersion"]
            .map(|it| one(target.action(it), Resource::Unknown))
            .to_vec(),
        Some(keys) => [("DeleteObject", false), ("DeleteObjectVersion", true)]
            .into_iter()
            .filter_map(|(action, versions)| {
                let keys = keys.iter().filter(|it| it.1 == versions);
                let resources: Vec<Resource> =
                    keys.map(|(key, _)| target.other(asked, key)).collect();
                (!resources.is_empty()).then(|| on(target.action(action), resources))
            })
            .collect(),
    };
    if asked.has_header("x-amz-bypass-governance-retention") {
        let resources = access.iter().flat_map(|it| it.resources.clone()).collect();
        access.push(on(target.action("BypassGovernanceRetention"), resources));
    }
    access
}

/// Keys, and whether a version is named. `None` for anything but exactly the documented shape.
fn keys<'t>(root: &'t Node<'_>) -> Option<Vec<(&'t str, bool)>> {
    if root.name != "Delete" {
        return None;
    }
    let mut keys = Vec::new();
    for child in &root.children {
        match child.name.as_ref() {
            "Object" => keys.push(object(child)?),
            "Quiet" => {}
            _ => return None,
        }
        if keys.len() > MOST_KEYS {
            return None;
        }
    }
    (!keys.is_empty()).then_some(keys)
}

fn object<'t>(object: &'t Node<'_>) -> Option<(&'t str, bool)> {
    if object.unclear {
        return None;
    }
    let mut key = None;
    let mut version = None;
    for child in &object.children {
        let place = match child.name.as_ref() {
            "Key" => &mut key,
            "VersionId" => &mut version,
            "ETag" | "LastModifiedTime" | "Size" => continue,
            _ => return None,
        };
        let text = child.plain().filter(|it| is_clear(it))?;
        if place.replace(text).is_some() {
            return None;
        }
    }
    Some((key?, version.is_some()))
}

/// Whether every reader of XML makes the same text of it: some cut off white space at its ends, or make spaces of
/// control characters.
fn is_clear(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::aws::{iam::tests::call_for, tree};

    fn read(body: &str) -> Option<Vec<(String, bool)>> {
        let root = tree::of_xml(body.as_bytes()).filter(|it| !it.unclear)?;
        let keys = keys(&root)?;
        Some(keys.into_iter().map(|it| (it.0.to_owned(), it.1)).collect())
    }

    #[test]
    fn keys_of_delete() {
        assert_eq!(
            read(
                r#"<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="x"><Object><Key>a&amp;b&#x2F;c</Key><ETag>e</ETag></Object> <Object><Key>d</Key><VersionId>v</VersionId></Object><Quiet>true</Quiet></Delete>"#
            ),
            Some(vec![("a&b/c".to_owned(), false), ("d".to_owned(), true)])
        );
        for body in [
            "",
            "<Delete></Delete>",
            "<Other><Object><Key>a</Key></Object></Other>",
            "<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
            "<Delete><Object><VersionId>v</VersionId></Object></Delete>",
            "<!DOCTYPE d [<!ENTITY k 'x'>]><Delete><Object><Key>&k;</Key></Object></Delete>",
            "<Delete><Object><Key>&k;</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key></Object>",
            "10\r\n<Delete><Object><Key>a</Key></Object></Delete>",
            "<Delete><Object><Key>a<Key>b</Key></Key></Object></Delete>",
            "<Delete><Object><Key>a<x/></Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><Other><Key>b</Key></Other></Object></Delete>",
            "<Delete><Object><Key>a</Key>b</Object></Delete>",
            "<Delete><Key>a</Key><Object><Key>b</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key><VersionId/></Object></Delete>",
            "<Delete><Object><Key>a\nb</Key></Object></Delete>",
            "<Delete><Object><Key>a&#13;</Key></Object></Delete>",
            "<Delete><Object><Key> a</Key></Object></Delete>",
            r#"<?xml version="1.0" encoding="utf-16"?><Delete><Object><Key>a</Key></Object></Delete>"#,
        ] {
            assert_eq!(read(body), None, "{body}");
        }
        let many = "<Object><Key>a</Key></Object>".repeat(MOST_KEYS);
        assert!(read(&format!("<Delete>{many}</Delete>")).is_some());
        let more = format!("<Delete>{many}<Object><Key>a</Key></Object></Delete>");
        assert_eq!(read(&more), None);
    }

    #[test]
    fn work_is_bounded() {
        for body in [
            format!("<Delete>{}", "<a>".repeat(1 << 20)),
            format!("<Delete>{}", "<a></a>".repeat(1 << 20)),
            format!("<Delete>{}</Delete>", "<a/>".repeat(1 << 20)),
        ] {
            let start = Instant::now();
            let line = "POST b.s3.amazonaws.com/?delete";
            let found = call_for(line, "s3", &[], body.as_bytes(), None, &[]);
            assert_eq!(found.access[0].resources, [Resource::Unknown]);
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }

    proptest! {
        #[test]
        fn never_panics(body in "(<|>|/|Delete|Object|Key|a|&amp;|&|;|!|\\?){0,40}") {
            let _ = read(&body);
        }
    }
}
