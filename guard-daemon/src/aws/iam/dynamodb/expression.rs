//! DynamoDB's expressions: the names in one, and the partition key that a key condition asks for.
//!
//! What is not plain, such as a path into a document, is not read at all.

use crate::aws::value::Value;

/// DynamoDB takes no longer expression, in bytes.
const LONGEST: usize = 4096;
/// How deep parentheses of a key condition may stand in each other.
const DEEPEST: usize = 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token<'a> {
    /// `Name` or `#name`.
    Name(&'a str),
    /// `:value`.
    Value(&'a str),
    /// An operator, parenthesis or comma.
    Mark(&'a str),
}

/// The attributes that an expression names, placeholders resolved in `names` (`ExpressionAttributeNames`). `None`
/// where it cannot be told for certain.
pub(super) fn names<'t>(text: &'t str, names: Option<&'t Value<'_>>) -> Option<Vec<&'t str>> {
    let tokens = tokens(text)?;
    let mut found = Vec::new();
    let mut removes = 0;
    for (place, token) in tokens.iter().enumerate() {
        let Token::Name(name) = *token else { continue };
        let next = tokens.get(place + 1);
        // `REMOVE` is no reserved word, and so an attribute may be named like it.
        if name.eq_ignore_ascii_case("REMOVE") {
            let clause = matches!(next, Some(Token::Name(it)) if !is_reserved(it));
            removes += 1;
            if !clause || removes > 1 {
                return None;
            }
        } else if name.starts_with('#') {
            found.push(names?.get(name)?.text()?);
        } else if !is_reserved(name) && next != Some(&Token::Mark("(")) {
            found.push(name);
        }
    }
    Some(found)
}

/// Placeholder of the one value that a key condition asks for by `=`. Only a partition key must be asked for so;
/// where two keys are, which one it is cannot be told.
pub(super) fn equal(text: &str) -> Option<&str> {
    let tokens = tokens(text)?;
    let mut condition = Condition {
        rest: &tokens,
        equal: Vec::new(),
    };
    condition.all(0)?;
    match condition.equal.as_slice() {
        [one] if condition.rest.is_empty() => Some(one),
        _ => None,
    }
}

/// A key condition, as far as it is read.
struct Condition<'t, 'a> {
    rest: &'t [Token<'a>],
    equal: Vec<&'a str>,
}

impl Condition<'_, '_> {
    /// Comparisons joined by `AND`.
    fn all(&mut self, depth: usize) -> Option<()> {
        loop {
            self.comparison(depth)?;
            match self.rest.first() {
                Some(Token::Name(and)) if and.eq_ignore_ascii_case("AND") => self.skip(1)?,
                _ => return Some(()),
            }
        }
    }

    fn comparison(&mut self, depth: usize) -> Option<()> {
        use Token::{Mark, Name, Value};
        match *self.rest {
            [Mark("("), ..] if depth < DEEPEST => {
                self.skip(1)?;
                self.all(depth + 1)?;
                (*self.rest.first()? == Mark(")")).then_some(())?;
                self.skip(1)
            }
            [
                Name("begins_with"),
                Mark("("),
                Name(name),
                Mark(","),
                Value(_),
                Mark(")"),
                ..,
            ] if !is_reserved(name) => self.skip(6),
            [Name(name), Name(between), Value(_), Name(and), Value(_), ..]
                if !is_reserved(name)
                    && between.eq_ignore_ascii_case("BETWEEN")
                    && and.eq_ignore_ascii_case("AND") =>
            {
                self.skip(5)
            }
            [Name(name), Mark("="), Value(value), ..] if !is_reserved(name) => {
                self.equal.push(value);
                self.skip(3)
            }
            [Name(name), Mark("<" | "<=" | ">" | ">="), Value(_), ..] if !is_reserved(name) => {
                self.skip(3)
            }
            _ => None,
        }
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.rest = self.rest.get(count..)?;
        Some(())
    }
}

/// Words of the language that no attribute may be named like without a placeholder.
fn is_reserved(name: &str) -> bool {
    let words = ["ADD", "AND", "BETWEEN", "DELETE", "IN", "NOT", "OR", "SET"];
    words.iter().any(|it| name.eq_ignore_ascii_case(it))
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    if text.len() > LONGEST {
        return None;
    }
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.bytes().next() {
        let length = match first {
            b'#' | b':' => 1 + word(rest.get(1..)?),
            b'<' | b'>' => {
                let two = matches!(rest.get(..2), Some("<=" | ">=" | "<>"));
                1 + usize::from(two)
            }
            b'=' | b'(' | b')' | b',' | b'+' | b'-' => 1,
            _ if first.is_ascii_alphabetic() || first == b'_' => word(rest),
            _ => return None,
        };
        let (token, after) = rest.split_at_checked(length)?;
        tokens.push(match first {
            b':' if length > 1 => Token::Value(token),
            b'#' if length > 1 => Token::Name(token),
            b':' | b'#' => return None,
            _ if word(token) > 0 => Token::Name(token),
            _ => Token::Mark(token),
        });
        rest = after.trim_start();
    }
    Some(tokens)
}

/// Length of the word that this starts with.
fn word(text: &str) -> usize {
    let in_word = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    text.bytes().take_while(|it| in_word(*it)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn partition_key() {
        for (text, wanted) in [
            ("pk = :v", Some(":v")),
            ("(#p=:v)", Some(":v")),
            ("#p = :p AND begins_with(#s, :s)", Some(":p")),
            ("(#s between :a and :b) And (#p = :p)", Some(":p")),
            ("s >= :s AND p = :p", Some(":p")),
            // Either may be the partition key.
            ("a = :a AND b = :b", None),
            ("a > :a", None),
            (":v = pk", None),
            ("pk = :v OR a = :a", None),
            ("NOT pk = :v", None),
            ("pk = :v extra", None),
            ("pk = :v AND", None),
            ("(pk = :v", None),
            ("pk.a = :v", None),
            ("pk <> :v", None),
            ("pk = :", None),
            ("pk = 'v'", None),
            ("", None),
        ] {
            assert_eq!(equal(text), wanted, "{text}");
        }
        assert_eq!(equal(&format!("{}pk = :v", "(".repeat(10_000))), None);
    }

    #[test]
    fn names_in_expressions() {
        let placeholders = Value::Object(vec![("#s".into(), Value::Text("status".into()))]);
        for (text, wanted) in [
            ("a, #s", Some(vec!["a", "status"])),
            (
                "SET a = if_not_exists(b, :v) + :one, #s = :s REMOVE c ADD d :n",
                Some(vec!["a", "b", "status", "c", "d"]),
            ),
            (
                "attribute_not_exists(a) AND NOT b IN (:x, :y) OR size(c) > :n",
                Some(vec!["a", "b", "c"]),
            ),
            ("SET a = remove", None),
            ("SET a = remove REMOVE b", None),
            ("a.b", None),
            ("a[0]", None),
            ("#other", None),
            ("ä", None),
        ] {
            assert_eq!(names(text, Some(&placeholders)), wanted, "{text}");
        }
        assert_eq!(names("#s", None), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "[a-c#: =<>(),]{0,40}|\\PC{0,40}") {
            let _ = names(&text, None);
            if let Some(value) = equal(&text) {
                prop_assert!(text.contains(value));
            }
        }

        #[test]
        fn blanks_change_nothing(name in "#?k[a-z0-9]{0,5}", blank in " {0,3}") {
            let text = format!("{blank}{name}{blank}={blank}:v{blank}");
            prop_assert_eq!(equal(&text), Some(":v"));
        }
    }
}
