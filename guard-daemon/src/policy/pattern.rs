//! IAM's wildcard patterns: `*` stands for any run of characters, `?` for one.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Action" and "… Resource". An action is compared without
//! regard to case; an ARN segment by segment, with regard to case, and missing segments are `*`.

use std::fmt;

/// A pattern over one string.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Wildcard {
    pattern: Box<[u8]>,
    fold_case: bool,
}

impl Wildcard {
    fn new(pattern: &str, fold_case: bool) -> Self {
        let pattern = if fold_case {
            pattern.to_ascii_lowercase()
        } else {
            pattern.to_owned()
        };
        Self {
            pattern: pattern.into_bytes().into(),
            fold_case,
        }
    }

    /// Linear in the text for one `*`; at worst text × pattern, both bounded.
    fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let same = |p: u8, t: u8| {
            p == b'?'
                || p == if self.fold_case {
                    t.to_ascii_lowercase()
                } else {
                    t
                }
        };
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.pattern.get(p) {
                Some(b'*') => {
                    star = Some((p + 1, t));
                    p += 1;
                }
                Some(&byte) if same(byte, text[t]) => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((after, from)) => {
                        star = Some((after, from + 1));
                        p = after;
                        t = from + 1;
                    }
                    None => return false,
                },
            }
        }
        self.pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

/// Why a pattern is not one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct BadPattern(pub(super) &'static str);

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A pattern over IAM actions: `*`, or `service:Name` with wildcards in either part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ActionPattern {
    /// `*`
    Any,
    /// `service:Name`
    Named { service: Service, name: Name },
}

/// The part before the colon.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Service(Wildcard);

/// The part after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Name(Wildcard);

impl ActionPattern {
    pub(super) fn parse(text: &str) -> Result<Self, BadPattern> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let Some((service, name)) = text.split_once(':') else {
            return Err(BadPattern(
                "an action is \"*\" or \"service:Name\", as \"s3:GetObject\"",
            ));
        };
        let plain = |text: &str, extra: &[u8]| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"*?".contains(&b) || extra.contains(&b))
        };
        if !plain(service, b"-") || !plain(name, b"") {
            return Err(BadPattern(
                "an action has letters, digits and wildcards around one colon, as \"s3:Get*\"",
            ));
        }
        Ok(Self::Named {
            service: Service(Wildcard::new(service, true)),
            name: Name(Wildcard::new(name, true)),
        })
    }

    pub(super) fn matches(&self, action: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Named { service, name } => action
                .split_once(':')
                .is_some_and(|(of, called)| service.0.matches(of) && name.0.matches(called)),
        }
    }
}

/// A pattern over resources: `*`, or an ARN with wildcards inside its six segments.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ResourcePattern {
    /// `*`
    Any,
    /// `arn:partition:service:region:account:resource`
    Arn(Segments),
}

/// The five segments after `arn`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Segments(Vec<Wildcard>);

impl ResourcePattern {
    pub(super) fn parse(text: &str) -> Result<Self, BadPattern> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let Some(rest) = text.strip_prefix("arn:") else {
            return Err(BadPattern(
                "a resource is \"*\" or an ARN, as \"arn:aws:s3:::bucket/*\"",
            ));
        };
        let mut segments: Vec<Wildcard> = rest
            .splitn(5, ':')
            .map(|segment| Wildcard::new(segment, false))
            .collect();
        // IAM completes an ARN with too few segments with `*`.
        segments.resize_with(5, || Wildcard::new("*", false));
        Ok(Self::Arn(Segments(segments)))
    }

    pub(super) fn matches(&self, arn: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Arn(segments) => {
                let Some(rest) = arn.strip_prefix("arn:") else {
                    return false;
                };
                let mut of = rest.splitn(5, ':');
                segments
                    .0
                    .iter()
                    .all(|segment| of.next().is_some_and(|text| segment.matches(text)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, as recursion.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => naive(rest, text),
            (Some((b'*', rest)), Some((_, later))) => naive(rest, text) || naive(pattern, later),
            (Some((b'?', rest)), Some((_, later))) => naive(rest, later),
            (Some((p, rest)), Some((t, later))) => p == t && naive(rest, later),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_the_definition(pattern in "[ab*?]{0,10}", text in "[ab]{0,12}") {
            prop_assert_eq!(
                Wildcard::new(&pattern, false).matches(&text),
                naive(pattern.as_bytes(), text.as_bytes())
            );
        }
    }

    #[test]
    fn actions_fold_case_and_arns_do_not() {
        let action = ActionPattern::parse("S3:get*").unwrap();
        assert!(action.matches("s3:GetObject") && !action.matches("s3:PutObject"));
        assert!(!action.matches("s3express:GetObject"));
        let arn = ResourcePattern::parse("arn:aws:s3:::Data/*").unwrap();
        assert!(arn.matches("arn:aws:s3:::Data/a/b:c"));
        assert!(!arn.matches("arn:aws:s3:::data/a"));
    }

    #[test]
    fn an_arn_wildcard_stays_in_its_segment_and_missing_segments_are_any() {
        let pattern = ResourcePattern::parse("arn:aws:sqs:*:1:q").unwrap();
        assert!(pattern.matches("arn:aws:sqs:us-east-1:1:q"));
        assert!(!pattern.matches("arn:aws:sqs:us-east-1:2:1:q"));
        assert!(
            ResourcePattern::parse("arn:aws:sqs")
                .unwrap()
                .matches("arn:aws:sqs:r:1:q")
        );
        assert!(
            !ResourcePattern::parse("arn:aws:sqs")
                .unwrap()
                .matches("arn:aws:sns:r:1:q")
        );
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for text in [
            "",
            "s3",
            "s3:",
            ":Get",
            "s3:Get Object",
            "s3:Get:x",
            "arn:aws:s3:::b",
        ] {
            assert!(ActionPattern::parse(text).is_err(), "{text}");
        }
        for text in ["", "bucket", "s3:::bucket", "ARN:aws:s3:::b"] {
            assert!(ResourcePattern::parse(text).is_err(), "{text}");
        }
    }
}
