//! Text for a terminal that an agent may have chosen: shown, never obeyed.

use std::borrow::Cow;
use std::fmt::Write;

/// The text with every control and invisible direction character escaped (`\u{1b}`), so that it cannot move
/// the cursor, change colours, forge lines or reorder what is read.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(deceives) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if deceives(character) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Controls, line separators, bidirectional formatting (Unicode UAX #9), zero-width characters.
fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(printable("\u{1b}[2Jx\ny\r\u{9b}z"), "\\u{1b}[2Jx\\u{a}y\\u{d}\\u{9b}z");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(printable("Käse 日本 é"), "Käse 日本 é");
    }
}
