//! Text for terminals: what others chose is shown, never obeyed.

use std::borrow::Cow;

use crate::visible::is_plain;
pub(crate) use crate::visible::printable_json;

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
    }
}
