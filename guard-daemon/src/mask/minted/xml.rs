//! Credentials in XML answers.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::Event;

use super::{Member, Members, Minting, Mints, Named, contradiction};
use crate::mask::MaskError;
use crate::mask::xml::{malformed, position};

/// Elements of an answer that are nested, at the most.
const DEPTH: usize = 128;

/// `wrappers`: how many elements stand around the output's members.
pub(super) fn find(
    minting: Minting,
    text: &str,
    wrappers: usize,
    mints: &mut Mints,
) -> Result<(), MaskError> {
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    if text.starts_with('\u{feff}') {
        return Err(malformed("byte order mark", 0));
    }
    let mut walk = Walk {
        text,
        minting,
        wanted: minting.steps().map(|(name, _)| name).collect(),
        wrappers,
        open: Vec::new(),
        members: None,
        seen: false,
    };
    let mut named = Named::default();
    let mut reader = Reader::from_str(text);
    loop {
        let start = position(&reader);
        let event = reader
            .read_event()
            .map_err(|_quoting| malformed("syntax error", start))?;
        let end = position(&reader);
        match event {
            Event::Start(tag) => walk.start(tag.local_name().as_ref(), end)?,
            Event::Empty(tag) => {
                walk.start(tag.local_name().as_ref(), end)?;
                walk.end(end..end, &mut named, mints)?;
            }
            Event::End(_) => walk.end(start..end, &mut named, mints)?,
            Event::DocType(_) => return Err(malformed("document type", start)),
            Event::Eof => break,
            _ => {}
        }
    }
    if !walk.open.is_empty() {
        return Err(malformed("it ends too early", text.len()));
    }
    mints.principal = Some(named).filter(|named| *named != Named::default());
    Ok(())
}

struct Walk<'a> {
    text: &'a str,
    minting: Minting,
    /// The names of the structure's path.
    wanted: Vec<&'static str>,
    wrappers: usize,
    /// The open elements: their names, and where their content begins.
    open: Vec<(String, usize)>,
    /// The members of the open structure.
    members: Option<Members>,
    /// A structure was met: none of these operations has two in XML.
    seen: bool,
}

impl Walk<'_> {
    fn start(&mut self, name: &str, content: usize) -> Result<(), MaskError> {
        if self.open.len() == DEPTH {
            return Err(MaskError::TooDeep {
                path: self.minting.path().to_owned(),
            });
        }
        self.open.push((name.to_owned(), content));
        if self.is_structure() {
            if std::mem::replace(&mut self.seen, true) {
                return contradiction(self.minting);
            }
            self.members = Some(Members::default());
        }
        Ok(())
    }

    fn end(
        &mut self,
        span: Range<usize>,
        named: &mut Named,
        mints: &mut Mints,
    ) -> Result<(), MaskError> {
        if self.is_structure()
            && let Some(members) = self.members.take()
        {
            mints.add(members, self.minting)?;
        }
        let depth = self.open.len();
        let Some((name, content)) = self.open.pop() else {
            return Err(malformed("unexpected end tag", span.start));
        };
        let content = content..span.start.max(content);
        let direct = depth == self.wrappers + self.wanted.len() + 1;
        if let Some(members) = self.members.as_mut().filter(|_| direct) {
            let member = Member::named(&name);
            if !matches!(member, Member::Other) {
                let (place, text) = plain(self.text, content, self.minting)?;
                if !members.take(&member, place, text) {
                    return contradiction(self.minting);
                }
            }
            return Ok(());
        }
        // STS says whose the credentials are.
        let user = self.open.get(self.wrappers).map(|(name, _)| name.as_str());
        if depth == self.wrappers + 2 && matches!(user, Some("AssumedRoleUser" | "FederatedUser")) {
            let slot = match name.as_str() {
                "Arn" => &mut named.arn,
                "AssumedRoleId" | "FederatedUserId" => &mut named.id,
                _ => return Ok(()),
            };
            *slot = Some(plain(self.text, content, self.minting)?.1);
        }
        Ok(())
    }

    /// Whether the innermost open element is the structure.
    fn is_structure(&self) -> bool {
        let inner = self.open.get(self.wrappers..).unwrap_or_default();
        inner.len() == self.wanted.len()
            && inner
                .iter()
                .zip(&self.wanted)
                .all(|(open, name)| open.0 == *name)
    }
}

/// The text of an element that holds nothing else, and its place.
fn plain(
    text: &str,
    content: Range<usize>,
    minting: Minting,
) -> Result<(Range<usize>, String), MaskError> {
    let raw = &text[content.clone()];
    let trimmed = raw.trim_ascii();
    let start = content.start + (raw.len() - raw.trim_ascii_start().len());
    match unescape(trimmed) {
        Ok(value) if !trimmed.contains('<') => {
            Ok((start..start + trimmed.len(), value.into_owned()))
        }
        _ => contradiction(minting),
    }
}
