//! Keeps what an approval shows within bounds: the calling agent chose most of it.

use super::Question;

/// Entries of a list, and bytes of all its texts, that an approval keeps while it is open: a person may see each
/// object that a call is to delete. S3 takes 1,000 keys in one.
const KEPT: Bounds = (2048, 128 * 1024);

/// The same once it is decided.
const KEPT_DECIDED: Bounds = (32, 128 * 1024);

/// The same in the list of all approvals; `show` has the rest.
const LISTED: Bounds = (3, 128 * 1024);

/// Entries, and bytes of their texts.
type Bounds = (usize, usize);

/// Bytes of a text that the list of all approvals shows.
const LISTED_TEXT: usize = 320;

/// Bytes of a text that an approval keeps: an ARN with the longest S3 key (1,024 bytes), and some.
const TEXT: usize = 1280;

impl Question {
    /// Within bounds. The fingerprint still binds a grant to the whole call.
    pub(super) fn bounded(mut self) -> Self {
        self.cut(TEXT);
        for list in [&mut self.actions, &mut self.resources] {
            shorten(list, KEPT);
        }
        self
    }

    /// As it is remembered once nobody can decide it any more.
    pub(super) fn settle(&mut self) {
        for list in [&mut self.actions, &mut self.resources] {
            shorten(list, KEPT_DECIDED);
        }
    }

    /// As it stands in the list of all approvals.
    pub(super) fn abridged(&self) -> Self {
        let beginning = |list: &[String]| {
            let mut kept = list[..list.len().min(LISTED.0)].to_vec();
            if list.len() > LISTED.0 {
                kept.push("…".to_owned());
            }
            kept
        };
        let mut own = Self {
            session: self.session.clone(),
            exchange: self.exchange.clone(),
            actions: beginning(&self.actions),
            resources: beginning(&self.resources),
            summary: self.summary.clone(),
            statement: self.statement.clone(),
            requester: self.requester.clone(),
            fingerprint: self.fingerprint,
        };
        own.cut(LISTED_TEXT);
        own
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

/// Keeps the beginning, and says how many more there were.
fn shorten(list: &mut Vec<String>, (entries, bytes): Bounds) {
    let mut used = 0;
    let fits = |text: &&String| {
        used += text.len();
        used <= bytes
    };
    let kept = list.iter().take(entries).take_while(fits).count();
    let more = list.len() - kept;
    if more == 0 {
        return;
    }
    // What was cut before is one entry that stands for several.
    let before = list.last().and_then(|last| more_of(last));
    list.truncate(kept);
    list.push(format!(
        "{MORE}{} more",
        before.map_or(more, |it| it + more - 1)
    ));
    list.shrink_to_fit();
}

/// How the entry begins that stands for those that are left out. No ARN and no action does.
const MORE: &str = "… and ";

fn more_of(entry: &str) -> Option<usize> {
    entry
        .strip_prefix(MORE)?
        .strip_suffix(" more")?
        .parse()
        .ok()
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
        let kept = bounded.resources.len() - 1;
        assert_eq!(kept, KEPT.1 / (TEXT + 3));
        assert_eq!(
            bounded.resources[kept],
            format!("… and {} more", 1_000 - kept)
        );
        assert!(bounded.resources[0].ends_with('…') && bounded.resources[0].len() <= TEXT + 3);
        assert!(bounded.summary.len() <= TEXT + 3);
        let listed = bounded.abridged();
        assert_eq!(listed.resources.len(), LISTED.0 + 1);
        assert_eq!(listed.resources[LISTED.0], "…");
        assert!(listed.resources[0].len() <= LISTED_TEXT + 3);
        bounded.settle();
        assert_eq!(bounded.resources.len(), KEPT_DECIDED.0 + 1);
        assert_eq!(bounded.resources[KEPT_DECIDED.0], "… and 968 more");
    }

    #[test]
    fn each_key_of_a_bulk_call_is_kept() {
        let mut question = question(1);
        question.resources = (0..1000)
            .map(|key| format!("arn:aws:s3:::reports/2026/{key:030}"))
            .collect();
        let all = question.resources.clone();
        assert_eq!(question.bounded().resources, all);
    }
}
