//! Keeps what an approval shows within bounds: the calling agent chose most of it.

use super::Question;

/// Entries of a list that an approval keeps.
const KEPT: usize = 32;

/// Entries of a list that stand in the list of all approvals; `show` has the rest.
const LISTED: usize = 3;

/// Bytes of a text that the list of all approvals shows.
const LISTED_TEXT: usize = 320;

/// Bytes of a text that an approval keeps: an ARN with the longest S3 key (1,024 bytes), and some.
const TEXT: usize = 1280;

impl Question {
    /// Within bounds. The fingerprint still binds a grant to the whole call.
    pub(super) fn bounded(mut self) -> Self {
        for list in [&mut self.actions, &mut self.resources] {
            let more = list.len().saturating_sub(KEPT);
            shorten(list, KEPT, || format!("… and {more} more"));
        }
        self.cut(TEXT);
        self
    }

    /// As it stands in the list of all approvals.
    pub(super) fn abridge(&mut self) {
        for list in [&mut self.actions, &mut self.resources] {
            shorten(list, LISTED, || "…".to_owned());
        }
        self.cut(LISTED_TEXT);
    }

    fn cut(&mut self, to: usize) {
        let own = [&mut self.exchange, &mut self.summary, &mut self.requester];
        let lists = self.actions.iter_mut().chain(&mut self.resources);
        for text in own.into_iter().chain(lists).chain(&mut self.statement) {
            if text.len() > to {
                text.truncate(text.floor_char_boundary(to));
                text.push('…');
                text.shrink_to_fit();
            }
        }
    }
}

fn shorten(list: &mut Vec<String>, to: usize, rest: impl FnOnce() -> String) {
    if list.len() > to {
        list.truncate(to);
        list.push(rest());
        list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::question;
    use super::*;

    #[test]
    fn lists_and_texts_are_bounded_and_say_so() {
        let mut question = question(1);
        question.resources = vec!["\u{e9}".repeat(5_000); 1_000];
        question.summary = "x".repeat(100_000);
        let mut bounded = question.bounded();
        assert_eq!(bounded.resources.len(), KEPT + 1);
        assert_eq!(bounded.resources[KEPT], "… and 968 more");
        assert!(bounded.resources[0].ends_with('…') && bounded.resources[0].len() <= TEXT + 3);
        assert!(bounded.summary.len() <= TEXT + 3);
        bounded.abridge();
        assert_eq!(bounded.resources.len(), LISTED + 1);
        assert_eq!(bounded.resources[LISTED], "…");
        assert!(bounded.resources[0].len() <= LISTED_TEXT + 3);
    }
}
