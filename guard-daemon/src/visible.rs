//! Text that people see as it is: what others chose is shown on terminals, never obeyed, nor taken for something else.
//! The journal is written so, too, as people print it with whatever tool they have.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with everything escaped that a terminal would obey or hide: control characters (so also line
/// ends and ESC), and Unicode's invisible and direction-changing characters (Trojan Source,
/// CVE-2021-42574). `\u{1b}` stands for ESC.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    Cow::Owned(out)
}

/// The text as one word of a shell, printable.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", printable(text).replace('\'', "'\\''"))
}

/// JSON text, its line ends kept, with all others escaped as JSON escapes them: the same value.
pub(crate) fn printable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_plain(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// A line of JSON, as `serde_json` writes it, made such. An escaped character has three times its bytes at the most,
/// but for DEL, which has six.
pub(crate) fn json_line(json: String) -> String {
    // What is below a space, serde_json escapes.
    if json.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return json;
    }
    printable_json(&json)
}

/// Whether a terminal neither obeys nor hides it, as it does control characters, and Unicode's invisible and
/// direction-changing ones (Trojan Source, CVE-2021-42574).
pub(crate) fn is_plain(c: char) -> bool {
    let hidden = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    !c.is_control() && !hidden
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_a_terminal_would_obey_or_hide() {
        for (text, expected) in [
            (
                "arn:aws:s3:::b\u{fc}cket/k \u{65e5}\u{672c} \u{1f600}",
                "arn:aws:s3:::b\u{fc}cket/k \u{65e5}\u{672c} \u{1f600}",
            ),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}\u{0}", "\\u{7f}\\u{0}"),
            (
                "a\u{202e}b\u{2066}\u{200b}\u{feff}",
                "a\\u{202e}b\\u{2066}\\u{200b}\\u{feff}",
            ),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_gets_through(text in any::<String>()) {
            prop_assert!(printable(&text).chars().all(is_plain));
        }

        #[test]
        fn json_keeps_its_meaning(text in any::<String>(), hidden in "[\u{9b}\u{202e}\u{e0041}\u{7f}]{0,3}") {
            let value = serde_json::json!({ "a": format!("{text}{hidden}") });
            let json = printable_json(&serde_json::to_string_pretty(&value).unwrap());
            prop_assert!(json.chars().all(|c| c == '\n' || is_plain(c)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        }

        #[test]
        fn lines_of_json_keep_their_meaning(text in any::<String>(), hidden in "[\u{9b}\u{202e}\u{e0041}\u{7f}\n]{0,3}") {
            let value = serde_json::json!({ "a": format!("{text}{hidden}") });
            let json = json_line(value.to_string());
            prop_assert!(json.chars().all(is_plain));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), value);
        }
    }
}
