//! Forms and XML bodies as trees of named nodes.
//!
//! A form's `Tags.member.1.Key=a` is a path in it, an XML element a node. What can be read in two ways is not
//! read: the whole tree is `None`, or the one node says so.

use std::borrow::Cow;

use quick_xml::{Reader, events::Event};

/// More parts than any form key, more nesting than any XML body has.
const DEEPEST: usize = 32;
/// More elements than any XML body that names resources has.
const MOST: usize = 100_000;

/// A node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Node<'a> {
    /// Its name: a part of a form's key, or an element's local name.
    pub(super) name: Cow<'a, str>,
    /// Its text, if it has any.
    pub(super) text: Option<Cow<'a, str>>,
    /// It has two texts, or text that a reader of AWS's may take for another.
    pub(super) unclear: bool,
    /// What is below it: in a form each name once, in XML in the body's order.
    pub(super) children: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    /// Its text, where it has nothing else and the text is sure; empty where it has none.
    pub(super) fn plain(&self) -> Option<&str> {
        let plain = !self.unclear && self.children.is_empty();
        plain.then(|| self.text.as_deref().unwrap_or_default())
    }

    /// The children of a name.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &Node<'a>> {
        self.children.iter().filter(move |it| it.name == name)
    }
}

/// A form's members below one root. `None` where a key has too many parts.
pub(super) fn of_form<'f>(pairs: &'f [(Cow<'_, str>, Cow<'_, str>)]) -> Option<Node<'f>> {
    let mut pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|it| (it.0.as_ref(), it.1.as_ref()))
        .collect();
    // Part by part, so that what is below one node stands together.
    pairs.sort_by(|one, other| one.0.split('.').cmp(other.0.split('.')));
    let mut root = Node::default();
    for (key, value) in pairs {
        let mut node = &mut root;
        for (depth, part) in key.split('.').enumerate() {
            if depth == DEEPEST {
                return None;
            }
            if node.children.last().is_none_or(|it| it.name != part) {
                node.children.push(Node {
                    name: Cow::Borrowed(part),
                    ..Node::default()
                });
            }
            node = node.children.last_mut()?;
        }
        if node.text.replace(Cow::Borrowed(value)).is_some() {
            node.unclear = true;
        }
    }
    Some(root)
}

/// The root element of a body. `None` for anything but plain elements and text in UTF-8.
pub(super) fn of_xml(body: &[u8]) -> Option<Node<'_>> {
    let body = std::str::from_utf8(body).ok()?;
    let mut reader = Reader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Node<'_>> = Vec::new();
    let mut root = None;
    let mut count = 0;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                count += 1;
                if root.is_some() || open.len() == DEEPEST || count > MOST {
                    return None;
                }
                open.push(Node {
                    name: Cow::Owned(start.local_name().as_ref().to_owned()),
                    ..Node::default()
                });
            }
            Event::End(_) => {
                let mut node = open.pop()?;
                if !node.children.is_empty() {
                    // Indentation is no text; anything else beside elements is not ours to interpret.
                    let text = node.text.take();
                    node.unclear |= text.is_some_and(|it| !it.trim().is_empty());
                }
                match open.last_mut() {
                    Some(parent) => parent.children.push(node),
                    None => root = Some(node),
                }
            }
            Event::Text(text) => match open.last_mut() {
                Some(node) => {
                    // A parser makes a line feed of it.
                    node.unclear |= text.contains('\r');
                    push(node, &text);
                }
                None if text.trim().is_empty() => {}
                None => return None,
            },
            Event::GeneralRef(reference) => {
                let node = open.last_mut()?;
                match reference.resolve_char_ref().ok()? {
                    Some(letter) => push(node, letter.encode_utf8(&mut [0; 4])),
                    None => push(
                        node,
                        quick_xml::escape::resolve_predefined_entity(&reference)?,
                    ),
                }
            }
            Event::Decl(declared) => {
                if let Some(encoding) = declared.encoding() {
                    let encoding = encoding.ok()?;
                    if !encoding.eq_ignore_ascii_case("utf-8") {
                        return None;
                    }
                }
            }
            Event::Comment(_) => {}
            Event::Eof => return root.filter(|_| open.is_empty()),
            Event::CData(_) | Event::DocType(_) | Event::PI(_) | Event::Empty(_) => return None,
        }
    }
}

fn push(node: &mut Node<'_>, text: &str) {
    node.text
        .get_or_insert(Cow::Borrowed(""))
        .to_mut()
        .push_str(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(all: &[(&'static str, &'static str)]) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
        all.iter().map(|it| (it.0.into(), it.1.into())).collect()
    }

    #[test]
    fn forms() {
        let pairs = pairs(&[
            ("T.member.2.Key", "b"),
            ("T-x", "c"),
            ("T.member.1.Key", "a"),
            ("T.member.10.Key", "d"),
            ("X", "1"),
            ("X", "2"),
        ]);
        let root = of_form(&pairs).unwrap();
        let names: Vec<&str> = root.children.iter().map(|it| it.name.as_ref()).collect();
        assert_eq!(names, ["T", "T-x", "X"]);
        let list = &root.children[0].children[0].children;
        let numbers: Vec<&str> = list.iter().map(|it| it.name.as_ref()).collect();
        assert_eq!(numbers, ["1", "10", "2"]);
        assert_eq!(list[0].children[0].text.as_deref(), Some("a"));
        assert!(root.children[2].unclear);
        let deep = ".".repeat(DEEPEST);
        assert_eq!(of_form(&[(deep.into(), "".into())]), None);
    }

    #[test]
    fn xml() {
        let root = of_xml(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns='x'>\n <b>1&amp;&#x41;</b><b/><c>x<d/></c></a>",
        )
        .unwrap();
        let texts: Vec<_> = root.named("b").map(|it| it.text.as_deref()).collect();
        assert_eq!(texts, [Some("1&A"), None]);
        assert!(root.named("c").next().unwrap().unclear);
        assert!(!root.unclear);
        for body in [
            &b""[..],
            b"<a>",
            b"<a></b>",
            b"<a/><b/>",
            b"x<a/>",
            b"<a>&x;</a>",
            b"<!DOCTYPE a><a/>",
            b"<a><![CDATA[x]]></a>",
            b"<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>",
            b"<a>\xff</a>",
        ] {
            assert_eq!(of_xml(body), None, "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(of_xml("<a>".repeat(100_000).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn xml_never_panics(body in "(<|>|/|a|b|&amp;|&|;|!|\\?|\\[CDATA\\[){0,40}") {
            let _ = of_xml(body.as_bytes());
        }

        #[test]
        fn every_pair_is_in_the_tree(keys in prop::collection::btree_set("[a-c]{1,2}(\\.[a-c0-9]{1,2}){0,3}", 0..20)) {
            let pairs: Vec<_> = keys.iter().map(|it| (Cow::from(it.as_str()), Cow::from(it.as_str()))).collect();
            let root = of_form(&pairs).unwrap();
            for key in &keys {
                let mut node = &root;
                for part in key.split('.') {
                    let mut found = node.named(part);
                    node = found.next().unwrap();
                }
                prop_assert_eq!(node.text.as_deref(), Some(key.as_str()));
                prop_assert!(!node.unclear);
            }
        }
    }
}
