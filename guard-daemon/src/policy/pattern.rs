//! IAM's patterns for actions and resources.
//!
//! Actions ignore ASCII case, resources do not
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_action.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>).

use super::keys::{Facts, Keys};
use super::text::{Glob, Language, Match, Piece, Text, TextError, pieces, split};

/// Bytes a pattern may have. An ARN has at most 2,048 in IAM's own documents.
const LONGEST: usize = 2048;

/// Parts of an ARN: `arn:partition:service:region:account:resource`. The last may hold colons itself.
pub(super) const ARN_PARTS: usize = 6;

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
    /// A bad policy variable.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// `service:Name` with wildcards, or `*`.
#[derive(Debug)]
pub(super) struct ActionPattern {
    /// Lower case.
    service: Glob,
    name: Glob,
    start: Start<Box<str>>,
}

/// What everything that an action pattern matches starts with, in lower case.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Start<T> {
    /// The action with its service.
    Action(T),
    /// The name behind the service, which may be any.
    Name(T),
}

impl ActionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        check_length(text)?;
        if is_any(text) {
            return Ok(Self {
                service: Glob::Any,
                name: Glob::Any,
                start: Start::Action("".into()),
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
        let glob = |text: &str| {
            let plain = Language { variables: false };
            Ok::<_, PatternError>(Glob::new(&pieces(text, true, plain, &mut Keys::default())?))
        };
        let start = |text: &str| {
            let lower = text.to_ascii_lowercase();
            lower.split(['*', '?']).next().unwrap_or_default().into()
        };
        let service_pattern = glob(&service.to_ascii_lowercase())?;
        Ok(Self {
            start: match service_pattern {
                Glob::Any => Start::Name(start(name)),
                _ => Start::Action(start(text)),
            },
            service: service_pattern,
            name: glob(name)?,
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

    /// What every match starts with, in lower case.
    pub(super) fn start(&self) -> Start<&str> {
        match &self.start {
            Start::Action(start) => Start::Action(start),
            Start::Name(start) => Start::Name(start),
        }
    }
}

/// An ARN with wildcards and variables, or `*`.
///
/// AWS documents that wildcards stand "within the individual segments of an ARN (the parts separated by
/// colons)" and that a `*` at a segment's end "can expand to match beyond the colon boundaries". A caller
/// chooses parts of an ARN (an S3 key may hold colons), so what only the wider reading matches is unknown,
/// and evaluation then lets less through.
#[derive(Debug)]
pub(super) enum ResourcePattern {
    /// `*`: every resource, and what takes none.
    Any,
    /// ARNs.
    Arn {
        /// A wildcard stands for anything, colons included.
        whole: Text,
        /// The parts, where a wildcard or a variable stands before the last one and the readings may differ:
        /// here it stays in its part, and only a `*` that ends the whole pattern reaches into later parts.
        parts: Option<Box<[Text]>>,
    },
}

impl ResourcePattern {
    pub(super) fn parse(
        text: &str,
        language: Language,
        keys: &mut Keys,
    ) -> Result<Self, PatternError> {
        check_length(text)?;
        if is_any(text) {
            return Ok(Self::Any);
        }
        if !text.starts_with("arn:") {
            return Err(PatternError::NotArn);
        }
        let pieces = pieces(text, true, language, keys)?;
        let parts = split(&pieces, ARN_PARTS);
        let complete =
            parts.len() == ARN_PARTS && parts.last().is_some_and(|last| !last.is_empty());
        if !complete && pieces.last() != Some(&Piece::Any) {
            return Err(PatternError::FewParts);
        }
        let open = |part: &Vec<Piece>| part.iter().any(|piece| !matches!(piece, Piece::Literal(_)));
        let differ = parts.iter().rev().skip(1).any(open);
        Ok(Self::Arn {
            whole: Text::new(pieces),
            parts: differ.then(|| parts.into_iter().map(Text::new).collect()),
        })
    }

    /// Whether it matches an ARN.
    pub(super) fn matches(&self, arn: &str, facts: &Facts<'_>) -> Match {
        let Self::Arn { whole, parts } = self else {
            return Match::Yes;
        };
        let wide = whole.matches::<false>(arn, facts);
        match (wide, parts) {
            (Match::Yes, Some(parts)) => {
                let mut rest = arn.splitn(parts.len(), ':');
                let narrow = parts.iter().all(|part| {
                    rest.next()
                        .is_some_and(|text| part.matches::<false>(text, facts) == Match::Yes)
                });
                if narrow { Match::Yes } else { Match::Unknown }
            }
            (wide, _) => wide,
        }
    }

    /// Whether it is `*`.
    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }

    /// What every match starts with.
    pub(super) fn start(&self) -> &str {
        match self {
            Self::Any => "",
            Self::Arn { whole, .. } => whole.start(),
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::sample::{Known, facts};

    fn resource(pattern: &str) -> Result<ResourcePattern, PatternError> {
        let language = Language { variables: true };
        ResourcePattern::parse(pattern, language, &mut Keys::default())
    }

    fn matches(pattern: &ResourcePattern, arn: &str) -> Match {
        facts(&Known::default(), &[], |facts| pattern.matches(arn, facts))
    }

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
            let expected = match (narrow, wide) {
                (true, _) => Match::Yes,
                (false, true) => Match::Unknown,
                (false, false) => Match::No,
            };
            let compiled = resource(pattern).unwrap();
            assert_eq!(matches(&compiled, arn), expected, "{pattern} on {arn}");
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
            (
                "arn:aws:s3:::${username}/*",
                PatternError::Text(TextError::Variable),
            ),
            (
                "arn:aws:s3:::${aws:username/*",
                PatternError::Text(TextError::Open),
            ),
        ] {
            assert_eq!(resource(text).unwrap_err(), error, "{text}");
        }
        let long = format!("arn:{}", "a".repeat(LONGEST));
        assert_eq!(resource(&long).unwrap_err(), PatternError::TooLong);
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_the_product_of_lengths() {
        let pattern = resource(&format!("arn:aws:s3:::{}b", "*a".repeat(500))).unwrap();
        let arn = format!("arn:aws:s3:::{}", "a".repeat(20_000));
        assert_eq!(matches(&pattern, &arn), Match::No);
    }

    #[test]
    fn variables_stand_in_any_part_and_keep_to_it() {
        let names = ["aws:username", "aws:principaltag/team"];
        let check = |pattern: &str, arn: &str, known: &[(&str, &str)], expected| {
            let mut keys = Keys::default();
            let language = Language { variables: true };
            for name in names {
                keys.id(name);
            }
            let pattern = ResourcePattern::parse(pattern, language, &mut keys).unwrap();
            let known = Known::absent().with(known);
            let found = facts(&known, &names, |facts| pattern.matches(arn, facts));
            assert_eq!(found, expected, "{arn} with {known:?}");
        };
        let home = "arn:aws:s3:::home/${aws:username}/*";
        let ann = [("aws:username", "ann")];
        check(home, "arn:aws:s3:::home/ann/x", &ann, Match::Yes);
        check(home, "arn:aws:s3:::home/bob/x", &ann, Match::No);
        check(home, "arn:aws:s3:::home/ann/x", &[], Match::Void);
        // A value's own wildcards are characters.
        let star = [("aws:username", "*")];
        check(home, "arn:aws:s3:::home/bob/x", &star, Match::No);
        check(home, "arn:aws:s3:::home/*/x", &star, Match::Yes);
        // Nor do its colons make further parts.
        let key = "arn:aws:sns:${aws:PrincipalTag/Team, 'eu'}:1:t";
        check(key, "arn:aws:sns:eu:1:t", &[], Match::Yes);
        let colons = [("aws:principaltag/team", "a:1")];
        check(key, "arn:aws:sns:a:1:1:t", &colons, Match::Unknown);
    }

    #[test]
    fn an_older_language_version_has_no_variables() {
        let mut keys = Keys::default();
        let text = "arn:aws:s3:::${aws:username}";
        let pattern =
            ResourcePattern::parse(text, Language { variables: false }, &mut keys).unwrap();
        assert_eq!(matches(&pattern, text), Match::Yes);
        assert!(keys.into_names().is_empty());
    }

    proptest! {
        #[test]
        fn starts_with_its_start(pattern in "arn:[ab*?:]{1,8}[*]?", arn in "arn:[ab:]{0,10}") {
            if let Ok(pattern) = resource(&pattern) {
                prop_assert!(matches(&pattern, &arn) == Match::No || arn.starts_with(pattern.start()));
            }
        }

        #[test]
        fn without_a_wildcard_before_the_last_part_nothing_is_left_open(
            pattern in "arn:[ab]:[ab]?:::[ab*?:/]{1,6}", arn in "arn:[ab]:[ab]?:::[ab:/]{0,8}",
        ) {
            if let Ok(pattern) = resource(&pattern) {
                prop_assert_ne!(matches(&pattern, &arn), Match::Unknown);
            }
        }
    }
}
