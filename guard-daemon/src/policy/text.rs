//! Texts with wildcards and policy variables, compiled once and matched without allocation unless they
//! have a variable.
//!
//! `*` stands for any characters, `?` for exactly one; `${*}`, `${?}` and `${$}` for these characters
//! themselves; `${key}` and `${key, 'default'}` for the value of a condition key
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>).

use super::keys::{Facts, KeyId, Keys, LONGEST_KEY, is_no_guard_key};
use super::truth::Truth;
use crate::aws::KeyValue;

/// Wildcards within a compiled pattern: bytes that UTF-8 never has.
const ANY: u8 = 0xff;
const ONE: u8 = 0xfe;

/// What a policy's language version lets stand in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Language {
    /// Policy variables: Version 2012-10-17.
    pub(super) variables: bool,
}

/// Why a text is not accepted, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// `${` without `}`.
    #[error(
        "a policy variable has no end; write `${{key}}`, or `${{$}}` for the character `$` itself"
    )]
    Open,
    /// What is between the braces is no variable.
    #[error(
        "a policy variable is `${{service:key}}` or `${{service:key, 'default'}}`, such as `${{aws:username}}`"
    )]
    Variable,
}

/// A part of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    Literal(String),
    Any,
    One,
    Variable { key: KeyId, default: Option<String> },
}

/// Takes a text apart. Without `wildcards`, `*` and `?` are characters like any other.
pub(super) fn pieces(
    text: &str,
    wildcards: bool,
    language: Language,
    keys: &mut Keys,
) -> Result<Vec<Piece>, TextError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let special = if language.variables && rest.starts_with("${") {
            let (piece, after) = variable(&rest[2..], keys)?;
            rest = after;
            match piece {
                Piece::Literal(text) => {
                    literal.push_str(&text);
                    continue;
                }
                piece => piece,
            }
        } else {
            rest = &rest[c.len_utf8()..];
            match c {
                '*' if wildcards => Piece::Any,
                '?' if wildcards => Piece::One,
                c => {
                    literal.push(c);
                    continue;
                }
            }
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        // Several stars in a row are one.
        if special != Piece::Any || pieces.last() != Some(&Piece::Any) {
            pieces.push(special);
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Reads a variable behind its `${`; returns what follows it, too.
fn variable<'a>(text: &'a str, keys: &mut Keys) -> Result<(Piece, &'a str), TextError> {
    for escaped in ["*", "?", "$"] {
        if let Some(rest) = text
            .strip_prefix(escaped)
            .and_then(|rest| rest.strip_prefix('}'))
        {
            return Ok((Piece::Literal(escaped.to_owned()), rest));
        }
    }
    let end = text.find([',', '}']).ok_or(TextError::Open)?;
    let key = text[..end].trim();
    let plain = |c: char| !c.is_control() && !"${'\"*?".contains(c);
    if !key.contains(':')
        || key.len() > LONGEST_KEY
        || !key.chars().all(plain)
        || is_no_guard_key(key)
    {
        return Err(TextError::Variable);
    }
    let key = keys.id(key);
    let after = &text[end..];
    if let Some(rest) = after.strip_prefix('}') {
        return Ok((Piece::Variable { key, default: None }, rest));
    }
    let quoted = after[1..]
        .trim_start()
        .strip_prefix('\'')
        .ok_or(TextError::Variable)?;
    let (default, rest) = quoted.split_once('\'').ok_or(TextError::Open)?;
    let rest = rest
        .trim_start()
        .strip_prefix('}')
        .ok_or(TextError::Variable)?;
    let default = Some(default.to_owned());
    Ok((Piece::Variable { key, default }, rest))
}

/// Takes pieces apart at the first colons, into `parts` lists at most.
pub(super) fn split(pieces: &[Piece], parts: usize) -> Vec<Vec<Piece>> {
    let mut lists = vec![Vec::new()];
    for piece in pieces {
        let Piece::Literal(text) = piece else {
            lists
                .last_mut()
                .into_iter()
                .for_each(|list| list.push(piece.clone()));
            continue;
        };
        let mut sections = text.splitn(parts + 1 - lists.len(), ':');
        let mut section = sections.next();
        while let Some(text) = section {
            if !text.is_empty()
                && let Some(list) = lists.last_mut()
            {
                list.push(Piece::Literal(text.to_owned()));
            }
            section = sections.next();
            if section.is_some() {
                lists.push(Vec::new());
            }
        }
    }
    lists
}

/// A compiled text.
#[derive(Debug)]
pub(super) enum Text {
    Fixed(Glob),
    /// With variables.
    Open(Box<[Piece]>),
}

/// How a text and a value compare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Match {
    No,
    /// A variable of the text has no value and no default: IAM's null, which nothing is equal to or like.
    Void,
    Unknown,
    Yes,
}

impl Match {
    /// Whether it is one of these.
    pub(super) fn any(matches: impl IntoIterator<Item = Self>) -> Self {
        let mut best = Self::No;
        for one in matches {
            match (one, best) {
                (Self::Yes, _) => return Self::Yes,
                (Self::Unknown, _) => best = Self::Unknown,
                (Self::Void, Self::No) => best = Self::Void,
                _ => {}
            }
        }
        best
    }

    pub(super) fn holds(self) -> Truth {
        match self {
            Self::No | Self::Void => Truth::False,
            Self::Unknown => Truth::Unknown,
            Self::Yes => Truth::True,
        }
    }

    /// AWS says both that a null is unlike everything, so that a negated comparison holds, and that a
    /// variable without a value may make its statement invalid.
    pub(super) fn fails(self) -> Truth {
        match self {
            Self::No => Truth::True,
            Self::Void | Self::Unknown => Truth::Unknown,
            Self::Yes => Truth::False,
        }
    }
}

impl From<bool> for Match {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

impl Text {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        if pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Variable { .. }))
        {
            Self::Open(pieces.into())
        } else {
            Self::Fixed(Glob::new(&pieces))
        }
    }

    /// What every match starts with.
    pub(super) fn start(&self) -> &str {
        match self {
            Self::Fixed(Glob::Any) => "",
            Self::Fixed(Glob::Exact(text) | Glob::Prefix(text)) => text,
            Self::Fixed(Glob::Wild(pattern)) => pattern.start(),
            Self::Open(pieces) => match pieces.first() {
                Some(Piece::Literal(text)) => text,
                _ => "",
            },
        }
    }

    /// `FOLD`: ASCII letters match in either case.
    pub(super) fn matches<const FOLD: bool>(&self, text: &str, facts: &Facts<'_>) -> Match {
        let pieces = match self {
            Self::Fixed(glob) => return glob.matches::<FOLD>(text).into(),
            Self::Open(pieces) => pieces,
        };
        let mut pattern = Vec::with_capacity(text.len() + 16);
        let (mut void, mut unknown) = (false, false);
        for piece in pieces {
            match piece {
                Piece::Literal(text) => pattern.extend_from_slice(text.as_bytes()),
                Piece::Any => pattern.push(ANY),
                Piece::One => pattern.push(ONE),
                Piece::Variable { key, default } => match (facts.value(*key), default) {
                    (KeyValue::One(value), _) => pattern.extend_from_slice(value.as_bytes()),
                    (KeyValue::Absent, Some(default)) => {
                        pattern.extend_from_slice(default.as_bytes());
                    }
                    (KeyValue::Absent, None) => {
                        void = true;
                        pattern.push(ANY);
                    }
                    // A multivalued key is none that a variable may name.
                    (KeyValue::Unknown | KeyValue::Many(_), _) => {
                        unknown = true;
                        pattern.push(ANY);
                    }
                },
            }
        }
        match (wild::<FOLD>(&pattern, text.as_bytes()), void, unknown) {
            (_, true, _) => Match::Void,
            (true, _, true) => Match::Unknown,
            (matches, ..) => matches.into(),
        }
    }
}

/// A wildcard pattern, sorted by how cheaply it is matched.
#[derive(Debug)]
pub(super) enum Glob {
    Any,
    Exact(Box<str>),
    /// Literal text, then one `*`.
    Prefix(Box<str>),
    Wild(Wild),
}

/// Literal text with wildcards as bytes of their own.
#[derive(Debug)]
pub(super) struct Wild {
    pattern: Box<[u8]>,
    start: Box<str>,
}

impl Wild {
    fn start(&self) -> &str {
        &self.start
    }
}

impl Glob {
    /// Of pieces without variables.
    pub(super) fn new(pieces: &[Piece]) -> Self {
        match pieces {
            [] => Self::Exact("".into()),
            [Piece::Any] => Self::Any,
            [Piece::Literal(text)] => Self::Exact(text.as_str().into()),
            [Piece::Literal(text), Piece::Any] => Self::Prefix(text.as_str().into()),
            pieces => {
                let mut pattern = Vec::new();
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => pattern.extend_from_slice(text.as_bytes()),
                        Piece::One => pattern.push(ONE),
                        Piece::Any | Piece::Variable { .. } => pattern.push(ANY),
                    }
                }
                let start = match pieces.first() {
                    Some(Piece::Literal(text)) => text.as_str(),
                    _ => "",
                };
                Self::Wild(Wild {
                    pattern: pattern.into(),
                    start: start.into(),
                })
            }
        }
    }

    /// `FOLD`: ASCII letters match in either case.
    pub(super) fn matches<const FOLD: bool>(&self, text: &str) -> bool {
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
            Self::Wild(wild_text) => wild::<FOLD>(&wild_text.pattern, text.as_bytes()),
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
            (Some(&ANY), _) => {
                at += 1;
                star = Some((at, from));
                continue;
            }
            (Some(&ONE), Some(_)) => {
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
    use crate::policy::sample::{Known, facts};

    fn parsed(text: &str) -> Result<Vec<Piece>, TextError> {
        pieces(
            text,
            true,
            Language { variables: true },
            &mut Keys::default(),
        )
    }

    #[test]
    fn takes_texts_apart() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let variable = |default: Option<&str>| Piece::Variable {
            key: Keys::default().id("x:y"),
            default: default.map(str::to_owned),
        };
        for (text, expected) in [
            ("", vec![]),
            (
                "a**?b",
                vec![literal("a"), Piece::Any, Piece::One, literal("b")],
            ),
            ("${*}${?}${$}{a}", vec![literal("*?${a}")]),
            (
                "$a${x:y}$",
                vec![literal("$a"), variable(None), literal("$")],
            ),
            ("${x:y,'d'}", vec![variable(Some("d"))]),
            ("${ x:y , 'a}, *' }", vec![variable(Some("a}, *"))]),
            ("${x:y, ''}", vec![variable(Some(""))]),
        ] {
            assert_eq!(parsed(text).unwrap(), expected, "{text}");
        }
        for (text, error) in [
            ("${x:y", TextError::Open),
            ("a${", TextError::Open),
            ("${x:y, 'd}", TextError::Open),
            ("${}", TextError::Variable),
            ("${x}", TextError::Variable),
            ("${x:*}", TextError::Variable),
            ("${x:y, d}", TextError::Variable),
            ("${x:y, 'd' e}", TextError::Variable),
            ("${${x:y}}", TextError::Variable),
        ] {
            assert_eq!(parsed(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_variable_is_its_keys_value() {
        let mut keys = Keys::default();
        let language = Language { variables: true };
        let mut compile = |text: &str| Text::new(pieces(text, true, language, &mut keys).unwrap());
        let (plain, defaulted) = (compile("a-${x:Y}-*"), compile("a-${x:y, 'd'}-*"));
        let check = |text: &Text, value: KeyValue, subject: &str, expected| {
            let known = Known::absent().value("x:y", value.clone());
            let found = facts(&known, &["x:y"], |facts| {
                text.matches::<false>(subject, facts)
            });
            assert_eq!(found, expected, "{subject} with {value:?}");
        };
        let one = |text: &str| KeyValue::One(text.to_owned());
        for text in [&plain, &defaulted] {
            check(text, one("v"), "a-v-z", Match::Yes);
            check(text, one("v"), "a-w-z", Match::No);
            check(text, KeyValue::Unknown, "a-w-z", Match::Unknown);
            check(text, KeyValue::Unknown, "b-w-z", Match::No);
            check(
                text,
                KeyValue::Many(vec!["v".to_owned()]),
                "a-v-z",
                Match::Unknown,
            );
        }
        check(&plain, KeyValue::Absent, "a-v-z", Match::Void);
        check(&defaulted, KeyValue::Absent, "a-d-z", Match::Yes);
        check(&defaulted, KeyValue::Absent, "a-v-z", Match::No);
        check(&defaulted, KeyValue::Many(vec![]), "a-d-z", Match::Yes);
        check(&plain, one(&"v".repeat(5_000)), "a-v-z", Match::Unknown);
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

    fn glob(pattern: &str) -> Glob {
        Glob::new(&parsed(pattern).unwrap())
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab\u{e9}*?]{0,8}", text in "[ab\u{e9}]{0,10}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            let expected = reference(&chars(&pattern), &chars(&text));
            prop_assert_eq!(glob(&pattern).matches::<false>(&text), expected);
        }

        #[test]
        fn case_is_ignored_where_asked(pattern in "[aAbB*?]{0,8}", text in "[aAbB]{0,10}") {
            let folded = glob(&pattern.to_lowercase()).matches::<false>(&text.to_lowercase());
            prop_assert_eq!(glob(&pattern).matches::<true>(&text), folded);
        }

        #[test]
        fn never_panics_and_what_is_read_is_read_alike(text in "[a:${}*?,' \u{e9}]{0,24}") {
            let Ok(pieces) = parsed(&text) else { return Ok(()) };
            let written: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Literal(text) => text.replace('$', "${$}").replace('*', "${*}").replace("${${*}}", "${*}"),
                    Piece::Any => "*".to_owned(),
                    Piece::One => "?".to_owned(),
                    Piece::Variable { .. } => "${a:a}".to_owned(),
                })
                .collect();
            // Once more taken apart, it has as many variables and wildcards.
            if let Ok(again) = parsed(&written) {
                let special = |pieces: &[Piece]| pieces.iter().filter(|it| !matches!(it, Piece::Literal(_))).count();
                prop_assert!(special(&again) >= special(&pieces));
            }
        }

        #[test]
        fn splits_where_the_text_splits(text in "[a:*]{0,10}", parts in 1_usize..5) {
            let lists = split(&parsed(&text).unwrap(), parts);
            let expected: Vec<Vec<Piece>> =
                text.splitn(parts, ':').map(|part| parsed(part).unwrap()).collect();
            // Literal text may be in several pieces.
            let joined = |lists: &[Vec<Piece>]| format!("{lists:?}").replace("\"), Literal(\"", "");
            prop_assert_eq!(joined(&lists), joined(&expected));
        }
    }
}
