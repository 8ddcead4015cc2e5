//! Whether one pattern, or one statement, matches all that another does.
//!
//! Sound, not complete: what covers is surely covered, and what is left out is only not found.

use super::has_any;
use crate::policy::evaluate::rank;
use crate::policy::index::Index;
use crate::policy::pattern::{ARN_PARTS, Start};
use crate::policy::statement::{Patterns, Statement};

/// A part of a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Token<'a> {
    Byte(u8),
    One,
    Any,
    /// A policy variable: some text, and the same wherever it stands.
    Variable(&'a str),
}

/// A pattern of a statement.
pub(super) fn pattern_tokens(text: &str, variables: bool) -> Vec<Token<'_>> {
    tokens(text, true, variables)
}

/// An ARN template, whose `${…}` may be anything.
pub(super) fn template_tokens(text: &str) -> Vec<Token<'_>> {
    tokens(text, false, true)
}

fn tokens(text: &str, wildcards: bool, variables: bool) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.as_bytes().first() {
        if variables
            && rest.starts_with("${")
            && let Some(end) = rest.find('}')
        {
            tokens.push(match &rest[..=end] {
                "${*}" => Token::Byte(b'*'),
                "${?}" => Token::Byte(b'?'),
                "${$}" => Token::Byte(b'$'),
                variable => Token::Variable(variable),
            });
            rest = &rest[end + 1..];
            continue;
        }
        let (first, after) = rest.split_at(rest.chars().next().map_or(1, char::len_utf8));
        match byte {
            b'*' if wildcards => tokens.push(Token::Any),
            b'?' if wildcards => tokens.push(Token::One),
            _ => tokens.extend(first.bytes().map(Token::Byte)),
        }
        rest = after;
    }
    tokens
}

/// Whether an ARN may match both: part for part, since no wildcard in a template reaches beyond its own.
pub(super) fn meet(pattern: &[Token<'_>], template: &[Token<'_>]) -> bool {
    let parts = |tokens: &[Token<'_>]| -> Vec<Vec<Token<'static>>> {
        let plain = |token: &Token<'_>| match *token {
            Token::Byte(byte) => Token::Byte(byte),
            Token::One => Token::One,
            Token::Any | Token::Variable(_) => Token::Any,
        };
        tokens
            .splitn(ARN_PARTS, |token| *token == Token::Byte(b':'))
            .map(|part| part.iter().map(plain).collect())
            .collect()
    };
    let (pattern, template) = (parts(pattern), parts(template));
    // A pattern that ends early does so with a `*`, which stands for the rest.
    pattern.iter().zip(&template).all(|(a, b)| intersects(a, b))
}

/// Whether some text may match both. `?` counts as any text: it may be a character of several bytes.
pub(super) fn intersects(a: &[Token<'_>], b: &[Token<'_>]) -> bool {
    let open = |token: &Token<'_>| !matches!(token, Token::Byte(_));
    // What is left of `a` meets what is left of `b` from each place.
    let mut meets = vec![false; b.len() + 1];
    for i in (0..=a.len()).rev() {
        let below = meets.clone();
        for j in (0..=b.len()).rev() {
            meets[j] = match (a.get(i), b.get(j)) {
                (None, None) => true,
                (Some(x), None) => open(x) && below[j],
                (None, Some(y)) => open(y) && meets[j + 1],
                (Some(x), Some(y)) if open(x) || open(y) => below[j] || meets[j + 1],
                (Some(x), Some(y)) => x == y && below[j + 1],
            };
        }
    }
    meets[0]
}

/// Whether `wide` matches all that `narrow` does.
pub(super) fn covers(wide: &[Token<'_>], narrow: &[Token<'_>]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (wide.get(at), narrow.get(from)) {
            (Some(Token::Any), _) => {
                at += 1;
                star = Some((at, from));
                continue;
            }
            // A single byte may be but a part of a character.
            (Some(Token::One), Some(Token::One)) => {}
            (Some(Token::One), Some(Token::Byte(byte))) if byte.is_ascii() => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            _ => match star {
                Some((after, reach)) if reach < narrow.len() => {
                    star = Some((after, reach + 1));
                    (at, from) = (after, reach + 1);
                    continue;
                }
                _ => return false,
            },
        }
        at += 1;
        from += 1;
    }
}

/// Whether they say the same in the same words.
pub(super) fn same(a: &Statement, b: &Statement) -> bool {
    let set = |mut texts: Vec<String>| {
        texts.sort_unstable();
        texts.dedup();
        texts
    };
    a.effect == b.effect
        && a.variables == b.variables
        && a.actions.except == b.actions.except
        && set(lower(&a.actions)) == set(lower(&b.actions))
        && a.resources.except == b.resources.except
        && set(texts(&a.resources)) == set(texts(&b.resources))
        && conditions_within(a, b)
        && conditions_within(b, a)
}

/// The statement among those of a layer whose decision always comes before that of the one at a place.
pub(super) fn covering(statements: &[Statement], index: &Index, at: usize) -> Option<usize> {
    let statement = &statements[at];
    let start = match statement.actions.list.first() {
        Some(first) if !statement.actions.except => first.pattern.start(),
        _ => Start::Action(""),
    };
    let resources = &statement.resources;
    let resource = match resources.list.first() {
        Some(first) if !resources.except && !has_any(&resources.list) => {
            Some(first.pattern.start())
        }
        _ => None,
    };
    let comes_first = |other: usize| {
        let by = &statements[other];
        let (theirs, own) = (rank(by.effect), rank(statement.effect));
        // Of two that cover each other, the later one is too many.
        is_covered(statement, by)
            && (theirs < own || theirs == own && (other < at || !is_covered(by, statement)))
    };
    let mut found: Option<usize> = None;
    index.covering(start, resource, &mut |places| {
        for other in places.iter().map(|&other| other as usize) {
            if other != at && found.is_none_or(|found| other < found) && comes_first(other) {
                found = Some(other);
            }
        }
    });
    found
}

/// Whether a statement surely matches all that the other could.
fn is_covered(statement: &Statement, by: &Statement) -> bool {
    let (actions, their_actions) = (lower(&statement.actions), lower(&by.actions));
    let (actions, their_actions) = (
        all_tokens(&actions, false),
        all_tokens(&their_actions, false),
    );
    let (resources, their_resources) = (texts(&statement.resources), texts(&by.resources));
    let resources = all_tokens(&resources, statement.variables);
    let their_resources = all_tokens(&their_resources, by.variables);
    within(
        (statement.actions.except, &actions),
        (by.actions.except, &their_actions),
    ) && within(
        (statement.resources.except, &resources),
        (by.resources.except, &their_resources),
    ) && conditions_within(by, statement)
}

fn texts<P>(patterns: &Patterns<P>) -> Vec<String> {
    patterns.list.iter().map(|it| it.text.to_string()).collect()
}

fn lower<P>(patterns: &Patterns<P>) -> Vec<String> {
    let texts = patterns.list.iter();
    texts.map(|it| it.text.to_ascii_lowercase()).collect()
}

fn all_tokens(texts: &[String], variables: bool) -> Vec<Vec<Token<'_>>> {
    texts
        .iter()
        .map(|text| pattern_tokens(text, variables))
        .collect()
}

type Listing<'a> = (bool, &'a [Vec<Token<'a>>]);

/// Whether one list of patterns, or all but it, matches nothing that the other does not.
fn within((except, own): Listing<'_>, (other_except, others): Listing<'_>) -> bool {
    match (except, other_except) {
        (false, false) => own
            .iter()
            .all(|own| others.iter().any(|other| covers(other, own))),
        (false, true) => own
            .iter()
            .all(|own| others.iter().all(|other| !intersects(other, own))),
        (true, true) => others
            .iter()
            .all(|other| own.iter().any(|own| covers(own, other))),
        (true, false) => others
            .iter()
            .any(|other| matches!(other.as_slice(), [Token::Any])),
    }
}

/// Whether every condition of `few` is one of `many`, in the same words.
fn conditions_within(few: &Statement, many: &Statement) -> bool {
    few.conditions.iter().all(|condition| {
        many.conditions.iter().any(|other| {
            condition.operator() == other.operator()
                && condition.key().eq_ignore_ascii_case(other.key())
                && condition.written() == other.written()
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &[Token<'_>], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            ([Token::Any, rest @ ..], text) => {
                matches(rest, text) || (!text.is_empty() && matches(pattern, &text[1..]))
            }
            ([Token::One, rest @ ..], [_, after @ ..]) => matches(rest, after),
            ([Token::Byte(a), rest @ ..], [b, after @ ..]) => a == b && matches(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_is_covered_matches_where_its_cover_does(
            wide in "[ab*?]{0,5}", narrow in "[ab*?]{0,5}", text in "[ab]{0,6}",
        ) {
            let [wide, narrow] = [&wide, &narrow].map(|it| pattern_tokens(it, false));
            if covers(&wide, &narrow) && matches(&narrow, text.as_bytes()) {
                prop_assert!(matches(&wide, text.as_bytes()));
            }
            if matches(&wide, text.as_bytes()) && matches(&narrow, text.as_bytes()) {
                prop_assert!(intersects(&wide, &narrow));
            }
        }

        #[test]
        fn patterns_without_question_marks_that_meet_have_a_text(a in "[ab*]{0,4}", b in "[ab*]{0,4}") {
            let [a, b] = [&a, &b].map(|it| pattern_tokens(it, false));
            // Every text that can tell is at most as long as both together.
            let mut texts: Vec<Vec<u8>> = vec![vec![]];
            let mut met = false;
            for _ in 0..=a.len() + b.len() {
                met |= texts.iter().any(|text| matches(&a, text) && matches(&b, text));
                texts = texts.iter().flat_map(|text| [b'a', b'b'].map(|c| [text.as_slice(), &[c]].concat())).collect();
            }
            prop_assert_eq!(intersects(&a, &b), met);
        }
    }
}
