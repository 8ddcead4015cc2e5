//! What stands in a masked value's place: something of the same type, so that clients still parse it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Kind;

/// In place of text.
pub(super) const TEXT: &str = "masked-by-guard";
/// In place of bytes: the same text as base64.
const BLOB: &str = "bWFza2VkLWJ5LWd1YXJk";
const DATE_TIME: &str = "1970-01-01T00:00:00Z";
const HTTP_DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

/// The replacement for a value of this type, `was` being the text that stood there: it tells the format
/// of a timestamp. Lists and structures are not replaced but what is in them.
pub(super) fn of(kind: Kind, was: &str) -> &'static str {
    match kind {
        Kind::Blob => BLOB,
        Kind::Boolean => "false",
        Kind::Timestamp if was.starts_with(|c: char| c.is_ascii_alphabetic()) => HTTP_DATE,
        Kind::Timestamp if was.contains(['-', ':', 'T']) => DATE_TIME,
        Kind::Number | Kind::Timestamp => "0",
        Kind::String | Kind::Structure | Kind::List | Kind::Map => TEXT,
    }
}

/// What a text whose type no model tells looks like. Wrong guesses harm nobody but the parser of a value
/// that is masked anyway.
pub(super) fn guess(text: &str) -> Kind {
    if text == "true" || text == "false" {
        return Kind::Boolean;
    }
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if text.chars().all(numeric) && text.parse::<f64>().is_ok() {
        return Kind::Number;
    }
    guess_string(text)
}

/// The same for what is known to be a string in JSON.
pub(super) fn guess_string(text: &str) -> Kind {
    let base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    if OffsetDateTime::parse(text, &Rfc3339).is_ok() {
        Kind::Timestamp
    } else if !text.is_empty() && text.len().is_multiple_of(4) && text.chars().all(base64) {
        Kind::Blob
    } else {
        Kind::String
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn replacements_parse_as_what_they_replace() {
        assert_eq!(
            STANDARD.decode(of(Kind::Blob, "")).unwrap(),
            TEXT.as_bytes()
        );
        assert!(
            OffsetDateTime::parse(of(Kind::Timestamp, "2026-11-24T02:20:31Z"), &Rfc3339).is_ok()
        );
        assert_eq!(of(Kind::Timestamp, "1764000000.5"), "0");
        assert_eq!(
            of(Kind::Timestamp, "Tue, 24 Nov 2026 02:20:31 GMT"),
            HTTP_DATE
        );
        assert_eq!(
            guess(of(Kind::Timestamp, "2026-11-24T02:20:31Z")),
            Kind::Timestamp
        );
    }

    #[test]
    fn guesses_keep_unmodelled_text_parseable() {
        for (text, kind) in [
            ("true", Kind::Boolean),
            ("-1.5e3", Kind::Number),
            ("1764000000", Kind::Number),
            ("infinity", Kind::Blob),
            ("nan", Kind::String),
            ("e", Kind::String),
            ("", Kind::String),
            ("c2VjcmV0IQ==", Kind::Blob),
            ("secret!", Kind::String),
            ("2026-11-24T02:20:31.5+01:00", Kind::Timestamp),
        ] {
            assert_eq!(guess(text), kind, "{text}");
        }
        assert_eq!(guess_string("1234"), Kind::Blob);
        assert_eq!(guess_string("true"), Kind::Blob);
    }
}
