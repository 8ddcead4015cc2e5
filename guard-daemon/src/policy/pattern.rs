//! IAM's wildcard patterns for actions and resources, compiled once and matched without allocation.
//!
//! `*` stands for any characters, `?` for exactly one. Actions ignore ASCII case, resources do not
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>).

/// Bytes a pattern may have. An ARN has at most 2,048 in IAM's own documents.
const LONGEST: usize = 2048;

/// Parts of an ARN: `arn:partition:service:region:account:resource`. The last may hold colons itself.
const ARN_PARTS: usize = 6;

/// Why a pattern is not accepted, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// Nothing between the quotes.
    #[error("the pattern is empty; name an action or resource, or write \"*\"")]
    Empty,
    /// Longer than any ARN.
    #[error("the pattern is longer than {LONGEST} bytes; use a wildcard")]
    TooLong,
    /// No `service:` in front.
    #[error(
        "an action is written `service:Name`, such as \"s3:GetObject\" or \"*:Get*\", or \"*\" for all"
    )]
    NoService,
    /// Something no action name has.
    #[error("an action has letters, digits, `-`, `_`, `.`, and the wildcards `*` and `?` only")]
    ActionCharacter,
    /// Neither `*` nor an ARN.
    #[error(
        "a resource is \"*\" or an ARN that starts with `arn:`, such as \"arn:aws:s3:::bucket/*\""
    )]
    NotArn,
    /// Fewer parts than an ARN has, and no `*` at the end to stand for the rest.
    #[error(
        "an ARN has six parts, `arn:partition:service:region:account:resource`; write them all, or end with `*`"
    )]
    FewParts,
    /// `${…}`.
    #[error("policy variables (`${{…}}`) are not supported; write the value itself, or a wildcard")]
    Variable,
}

/// Which ARNs a resource pattern means, where AWS leaves the reach of a wildcard open.
///
/// AWS documents that wildcards stand "within the individual segments of an ARN (the parts separated by
/// colons)" and that a `*` at a segment's end "can expand to match beyond the colon boundaries". A caller
/// chooses parts of an ARN (an S3 key may hold colons), so evaluation takes the reading that lets less
/// through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// A wildcard stays in its part; only a `*` that ends the whole pattern reaches into later parts.
    Narrow,
    /// A wildcard stands for anything, colons included.
    Wide,
}

/// `service:Name` with wildcards, or `*`.
#[derive(Debug)]
pub(super) struct ActionPattern {
    /// Lower case.
    service: Glob,
    name: Glob,
}

impl ActionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if is_any(text) {
            return Ok(Self {
                service: Glob::Any,
                name: Glob::Any,
            });
        }
        let (service, name) = text.split_once(':').ok_or(PatternError::NoService)?;
        if service.is_empty() || name.is_empty() {
            return Err(PatternError::NoService);
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.*?".contains(&b);
        if !service.bytes().chain(name.bytes()).all(allowed) {
            return Err(PatternError::ActionCharacter);
        }
        Ok(Self {
            service: Glob::new(&service.to_ascii_lowercase()),
            name: Glob::new(name),
        })
    }

    /// Whether it matches an action in two parts.
    pub(super) fn matches(&self, service: &str, name: &str) -> bool {
        self.service.matches::<true>(service) && self.name.matches::<true>(name)
    }

    /// Whether every action matches.
    pub(super) fn is_any(&self) -> bool {
        matches!((&self.service, &self.name), (Glob::Any, Glob::Any))
    }

    /// The one service, lower case, that it can match; `None` for a wildcard.
    pub(super) fn service(&self) -> Option<&str> {
        match &self.service {
            Glob::Exact(service) => Some(service),
            _ => None,
        }
    }
}

/// An ARN with wildcards, or `*`.
#[derive(Debug)]
pub(super) enum ResourcePattern {
    /// `*`: every resource, and what takes none.
    Any,
    /// ARNs.
    Arn {
        whole: Glob,
        /// The parts, where a wildcard stands before the last one and the readings may differ.
        parts: Option<Vec<Glob>>,
    },
}

impl ResourcePattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if is_any(text) {
            return Ok(Self::Any);
        }
        if text.contains("${") {
            return Err(PatternError::Variable);
        }
        if !text.starts_with("arn:") {
            return Err(PatternError::NotArn);
        }
        let parts: Vec<&str> = text.splitn(ARN_PARTS, ':').collect();
        let complete =
            parts.len() == ARN_PARTS && parts.last().is_some_and(|last| !last.is_empty());
        if !complete && !text.ends_with('*') {
            return Err(PatternError::FewParts);
        }
        let open = |part: &&str| part.contains(['*', '?']);
        let split = parts.iter().rev().skip(1).any(open);
        Ok(Self::Arn {
            whole: Glob::new(text),
            parts: split.then(|| parts.into_iter().map(Glob::new).collect()),
        })
    }

    /// Whether it matches an ARN.
    pub(super) fn matches(&self, arn: &str, reading: Reading) -> bool {
        match self {
            Self::Any => true,
            Self::Arn {
                parts: Some(parts), ..
            } if reading == Reading::Narrow => {
                let mut rest = arn.splitn(parts.len(), ':');
                parts
                    .iter()
                    .all(|part| rest.next().is_some_and(|text| part.matches::<false>(text)))
            }
            Self::Arn { whole, .. } => whole.matches::<false>(arn),
        }
    }

    /// Whether it is `*`.
    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

fn check_length(text: &str) -> Result<(), PatternError> {
    match text.len() {
        0 => Err(PatternError::Empty),
        1..=LONGEST => Ok(()),
        _ => Err(PatternError::TooLong),
    }
}

fn is_any(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b == b'*')
}

/// A wildcard pattern, sorted by how cheaply it is matched.
#[derive(Debug)]
pub(super) enum Glob {
    Any,
    Exact(Box<str>),
    /// Literal text, then one `*`.
    Prefix(Box<str>),
    Wild(Box<str>),
}

impl Glob {
    fn new(text: &str) -> Self {
        if is_any(text) {
            return Self::Any;
        }
        match text.find(['*', '?']) {
            None => Self::Exact(text.into()),
            Some(at) if at + 1 == text.len() && text.ends_with('*') => {
                Self::Prefix(text[..at].into())
            }
            Some(_) => Self::Wild(text.into()),
        }
    }

    /// `FOLD`: ASCII letters match in either case.
    fn matches<const FOLD: bool>(&self, text: &str) -> bool {
        let same = |a: &[u8], b: &[u8]| {
            if FOLD {
                a.eq_ignore_ascii_case(b)
            } else {
                a == b
            }
        };
        match self {
            Self::Any => true,
            Self::Exact(all) => same(all.as_bytes(), text.as_bytes()),
            Self::Prefix(start) => text
                .as_bytes()
                .get(..start.len())
                .is_some_and(|head| same(start.as_bytes(), head)),
            Self::Wild(pattern) => wild::<FOLD>(pattern.as_bytes(), text.as_bytes()),
        }
    }
}

/// Matches from the left; on a mismatch the last `*` takes one more character. Earlier stars never need
/// to be tried again, so time is at most the product of the lengths, and memory constant.
fn wild<const FOLD: bool>(pattern: &[u8], text: &[u8]) -> bool {
    let same = |a: u8, b: u8| {
        if FOLD {
            a.eq_ignore_ascii_case(&b)
        } else {
            a == b
        }
    };
    let (mut at, mut from) = (0, 0);
    // Where the pattern goes on after the last `*`, and how far that star reaches.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(from)) {
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, from));
                continue;
            }
            (Some(b'?'), Some(_)) => {
                at += 1;
                from = next_character(text, from);
                continue;
            }
            (Some(&a), Some(&b)) if same(a, b) => {
                at += 1;
                from += 1;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        match star {
            Some((after, reach)) if reach < text.len() => {
                let reach = next_character(text, reach);
                star = Some((after, reach));
                (at, from) = (after, reach);
            }
            _ => return false,
        }
    }
}

/// The start of the UTF-8 character after the one that starts at `from`.
fn next_character(text: &[u8], from: usize) -> usize {
    let rest = text.iter().skip(from + 1);
    from + 1
        + rest
            .take_while(|&&b| b & 0b1100_0000 == 0b1000_0000)
            .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn action(pattern: &str, action: &str) -> bool {
        let (service, name) = action.split_once(':').unwrap();
        ActionPattern::parse(pattern)
            .unwrap()
            .matches(service, name)
    }

    #[test]
    fn actions_match_without_case() {
        for (pattern, text, expected) in [
            ("*", "s3:GetObject", true),
            ("s3:*", "s3:GetObject", true),
            ("S3:getobject", "s3:GetObject", true),
            ("s3:Get*", "s3:GETOBJECT", true),
            ("s3:Get*", "s3:PutObject", false),
            ("s3:Get*", "s3:Ge", false),
            ("s3:*Object", "s3:GetObject", true),
            ("s3:*Object", "s3:GetObjectAcl", false),
            ("s3:?etObject", "s3:GetObject", true),
            ("s3:?GetObject", "s3:GetObject", false),
            ("s3:Get*Acl", "s3:GetObjectAcl", true),
            ("*:Get*", "dynamodb:GetItem", true),
            ("*:Query", "dynamodb:QueryAll", false),
            ("s?:GetObject", "s3:GetObject", true),
            ("s3:GetObject", "s3express:GetObject", false),
            // The wildcard of one half does not reach into the other.
            ("s*:Object", "s3:GetObject", false),
        ] {
            assert_eq!(action(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn resources_match_with_case_and_across_slashes() {
        for (pattern, arn, narrow, wide) in [
            ("*", "arn:aws:s3:::b", true, true),
            ("arn:aws:s3:::b", "arn:aws:s3:::b", true, true),
            ("arn:aws:s3:::b", "arn:aws:s3:::B", false, false),
            ("arn:aws:s3:::b", "arn:aws:s3:::b/k", false, false),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b/c", true, true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/", true, true),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b", false, false),
            // AWS's own example: `bucket/*/test/*` matches `bucket/1/2/test/3/object.jpg`.
            (
                "arn:aws:s3:::b/*/test/*",
                "arn:aws:s3:::b/1/2/test/3/o.jpg",
                true,
                true,
            ),
            (
                "arn:aws:s3:::b/*/test/*",
                "arn:aws:s3:::b/1-test/o.jpg",
                false,
                false,
            ),
            // A key with colons is still within the last part.
            (
                "arn:aws:s3:::b/*.json",
                "arn:aws:s3:::b/a:b:c.json",
                true,
                true,
            ),
            ("arn:aws:s3*", "arn:aws:s3:::b/k", true, true),
            ("arn:*", "arn:aws:s3:::b/k", true, true),
            (
                "arn:aws:sqs:*:*:q",
                "arn:aws:sqs:eu-west-1:111122223333:q",
                true,
                true,
            ),
            (
                "arn:aws:logs:*:*:log-group:a:*",
                "arn:aws:logs:r:1:log-group:a:log-stream:s",
                true,
                true,
            ),
            // A caller's key cannot make a star swallow the bucket it stands before.
            (
                "arn:aws:s3:*:*:good/*",
                "arn:aws:s3:::evil/x:y:good/z",
                false,
                true,
            ),
            (
                "arn:aws:ec2:us-*-1:1:i/*",
                "arn:aws:ec2:us-east-2:2:i/x-1:1:i/y",
                false,
                true,
            ),
            ("arn:aws:s3:::b?c", "arn:aws:s3:::b\u{e9}c", true, true),
            ("arn:aws:s3:::b??c", "arn:aws:s3:::b\u{e9}c", false, false),
            ("arn:aws:s3:::*??", "arn:aws:s3:::\u{e9}", false, false),
        ] {
            let compiled = ResourcePattern::parse(pattern).unwrap();
            assert_eq!(
                compiled.matches(arn, Reading::Narrow),
                narrow,
                "{pattern} on {arn}, narrow"
            );
            assert_eq!(
                compiled.matches(arn, Reading::Wide),
                wide,
                "{pattern} on {arn}, wide"
            );
        }
    }

    #[test]
    fn refuses_what_could_never_match_as_meant() {
        for (text, error) in [
            ("", PatternError::Empty),
            ("GetObject", PatternError::NoService),
            (":GetObject", PatternError::NoService),
            ("s3:", PatternError::NoService),
            ("s3:Get Object", PatternError::ActionCharacter),
            ("s3:a:b", PatternError::ActionCharacter),
        ] {
            assert_eq!(ActionPattern::parse(text).unwrap_err(), error, "{text}");
        }
        for (text, error) in [
            ("", PatternError::Empty),
            ("bucket", PatternError::NotArn),
            ("*arn", PatternError::NotArn),
            ("arn:aws:s3", PatternError::FewParts),
            ("arn:aws:s3:::", PatternError::FewParts),
            ("arn:aws:s3:::${aws:username}/*", PatternError::Variable),
        ] {
            assert_eq!(ResourcePattern::parse(text).unwrap_err(), error, "{text}");
        }
        let long = format!("arn:{}", "a".repeat(LONGEST));
        assert_eq!(
            ResourcePattern::parse(&long).unwrap_err(),
            PatternError::TooLong
        );
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_the_product_of_lengths() {
        let pattern =
            ResourcePattern::parse(&format!("arn:aws:s3:::{}b", "*a".repeat(500))).unwrap();
        let arn = format!("arn:aws:s3:::{}", "a".repeat(20_000));
        assert!(!pattern.matches(&arn, Reading::Wide));
    }

    /// The definition, by recursion.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| reference(rest, &text[n..])),
            Some(('?', rest)) => !text.is_empty() && reference(rest, &text[1..]),
            Some((c, rest)) => text.first() == Some(c) && reference(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab\u{e9}*?]{0,8}", text in "[ab\u{e9}]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            let expected = reference(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Glob::new(&pattern).matches::<false>(&text), expected);
        }

        #[test]
        fn case_is_ignored_where_asked(pattern in "[aAbB*?]{0,8}", text in "[aAbB]{0,10}") {
            let folded = Glob::new(&pattern.to_lowercase()).matches::<false>(&text.to_lowercase());
            prop_assert_eq!(Glob::new(&pattern).matches::<true>(&text), folded);
        }

        #[test]
        fn the_narrow_reading_is_within_the_wide_one(
            pattern in "arn:[a*?:]{1,12}[*]?", arn in "arn:[a:]{0,14}",
        ) {
            if let Ok(pattern) = ResourcePattern::parse(&pattern) {
                let narrow = pattern.matches(&arn, Reading::Narrow);
                prop_assert!(!narrow || pattern.matches(&arn, Reading::Wide));
            }
        }
    }
}
