//! Byte offset → line and column, for errors in files that people write.

/// The line and column (in characters) of a byte offset, both from 1. An offset past the end, or inside
/// a character, counts as the end of what stands before it.
pub(crate) fn of(text: &str, offset: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|&(at, _)| at < offset);
    before.fold((1, 1), |(line, column), (_, c)| {
        if c == '\n' {
            (line + 1, 1)
        } else {
            (line, column + 1)
        }
    })
}

/// Where the lines of a text start, for many offsets in one text.
pub(crate) struct Lines(Vec<usize>);

impl Lines {
    pub(crate) fn new(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(ends).collect())
    }

    /// The line and column of an offset, as [`of`] counts them.
    pub(crate) fn place(&self, text: &str, offset: usize) -> (usize, usize) {
        let line = self.0.partition_point(|&start| start <= offset);
        let start = line.checked_sub(1).map_or(0, |at| self.0[at]);
        let rest = text.get(start..).unwrap_or_default();
        (line.max(1), of(rest, offset - start).1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lines, of};

    #[test]
    fn counts_lines_and_characters_from_one() {
        let text = "a = 1\n\u{e9}b = 2\n";
        for (offset, expected) in [
            (0, (1, 1)),
            (4, (1, 5)),
            (6, (2, 1)),
            (8, (2, 2)),
            (15, (3, 1)),
            (99, (3, 1)),
        ] {
            assert_eq!(of(text, offset), expected, "{offset}");
            if offset < text.len() {
                assert_eq!(Lines::new(text).place(text, offset), expected, "{offset}");
            }
        }
    }
}
