//! Keeps every entry within a journal line: what the agent sends may be long, the record of it may not.

use serde::Serialize;
use serde_json::{Value, json};

use super::chain::{LINE_BYTES, OVERHEAD_BYTES};
use super::entry::{Entry, Event};
use super::whole;
use crate::visible;

/// Bytes of an entry as JSON at the most.
pub(super) const ENTRY_BYTES: usize = LINE_BYTES - OVERHEAD_BYTES;

/// Bytes per string and elements per list, tried in this order until the entry fits. The last step fits
/// whatever the content is, in less than 16 KiB: no entry has more than 38 strings, 8 lists and two lists of lists
/// (`access`, `keys`), and an escaped byte takes six. `who` takes less than 44 KiB, by its own bounds.
const STEPS: [(usize, usize); 7] = [
    (8192, 256),
    (2048, 128),
    (512, 64),
    (128, 32),
    (48, 16),
    (32, 7),
    (16, 4),
];

/// The entry as a JSON object of at most `ENTRY_BYTES`, with the members `who` (`,"who":…`, or nothing) at its end; and
/// behind it, where a call asks for more than that has room for, others with the whole of it.
/// What a terminal would obey or hide is escaped, so that the lines are safe to print and hash as they stand in the
/// file. Strings and lists that are too long are cut and end with a marker that says how much is missing: `{"cut": N}` in
/// a list of objects.
pub(super) fn encode(entry: &Entry, who: &[u8]) -> Result<Vec<Vec<u8>>, serde_json::Error> {
    let most = ENTRY_BYTES.saturating_sub(who.len());
    let whole = escaped(entry, most)?;
    if whole.len() <= most {
        return Ok(vec![ended(whole, who)]);
    }
    let Event::ExchangeDecided(decided) = &entry.event else {
        return Ok(vec![ended(shortened(&whole, most)?, who)]);
    };
    let (access, parts) = whole::divide(entry, decided, most)?;
    let mut end = br#","whole_access":"#.to_vec();
    serde_json::to_writer(&mut end, &access)?;
    let mut lines = vec![ended(
        shortened(&whole, most - end.len())?,
        &[&end, who].concat(),
    )];
    for part in parts {
        let part = escaped(&part, most)?;
        let fits = part.len() <= most;
        lines.push(ended(
            if fits { part } else { shortened(&part, most)? },
            who,
        ));
    }
    Ok(lines)
}

/// With more members at its end.
fn ended(object: String, members: &[u8]) -> Vec<u8> {
    let mut object = object.into_bytes();
    if !members.is_empty() {
        object.pop();
        object.extend_from_slice(members);
        object.push(b'}');
    }
    object
}

fn shortened(whole: &str, most: usize) -> Result<String, serde_json::Error> {
    let whole: Value = serde_json::from_str(whole)?;
    let mut cut = String::new();
    for (bytes, elements) in STEPS {
        cut = escaped(&shorter(&whole, bytes, elements), most)?;
        if cut.len() <= most {
            break;
        }
    }
    Ok(cut)
}

/// JSON with everything escaped that a terminal would obey or hide; as it is where it is too long even so.
fn escaped(value: &impl Serialize, most: usize) -> Result<String, serde_json::Error> {
    let json = serde_json::to_string(value)?;
    Ok(if json.len() > most {
        json
    } else {
        visible::json_line(json)
    })
}

/// A copy of which no string and no list is longer than this.
fn shorter(value: &Value, bytes: usize, elements: usize) -> Value {
    match value {
        Value::String(text) if text.len() > bytes => {
            let kept = text.floor_char_boundary(bytes);
            let missing = text.len() - kept;
            Value::String(format!("{}…[{missing} bytes cut]", &text[..kept]))
        }
        Value::Array(list) => {
            let kept = list.iter().take(elements);
            let mut kept: Vec<Value> = kept.map(|it| shorter(it, bytes, elements)).collect();
            if list.len() > elements {
                let missing = list.len() - elements;
                kept.push(match list.first() {
                    Some(Value::Object(_)) => json!({ "cut": missing }),
                    _ => Value::String(format!("…[{missing} elements cut]")),
                });
            }
            Value::Array(kept)
        }
        Value::Object(members) => {
            let members = members.iter();
            let shorter = members.map(|(name, it)| (name.clone(), shorter(it, bytes, elements)));
            Value::Object(shorter.collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entry::{Access, Key};
    use super::super::samples;
    use super::*;

    fn one(entry: &Entry, who: &[u8]) -> String {
        let [line] = &encode(entry, who).unwrap()[..] else {
            panic!("several")
        };
        String::from_utf8(line.clone()).unwrap()
    }

    #[test]
    fn a_usual_entry_is_kept_whole() {
        for entry in samples::all() {
            let plain = serde_json::to_string(&entry).unwrap();
            assert_eq!(one(&entry, b""), plain);
            let with = one(&entry, br#","who":{"uid":1}"#);
            assert_eq!(
                with,
                format!(r#"{},"who":{{"uid":1}}}}"#, &plain[..plain.len() - 1])
            );
        }
    }

    #[test]
    fn a_query_never_reaches_the_journal() {
        let mut decided = samples::decided("a-1");
        decided.path = "/bucket/key?X-Amz-Signature=abcdef#frag".to_owned();
        let entry = Entry {
            session: None,
            event: Event::ExchangeDecided(Box::new(decided)),
        };
        let text = one(&entry, b"");
        assert!(text.contains(r#""path":"/bucket/key""#), "{text}");
        assert!(!text.contains("Signature"));
    }

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        let event = Event::Refused {
            process: None,
            destination: None,
            host: None,
            code: "no-origin".to_owned(),
            detail: "\u{9b}2J\u{7f} \u{202e}é日 \u{e0041}".to_owned(),
        };
        let entry = Entry {
            session: None,
            event,
        };
        let text = one(&entry, b"");
        let escaped = r#""detail":"\u009b2J\u007f \u202eé日 \udb40\udc41""#;
        assert!(text.contains(escaped), "{text}");
        let back: Entry = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{back:?}"), format!("{entry:?}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn whatever_the_agent_sends_fits_and_reads_back(
            unit in "\\PC|[\\x00-\\x1f]|[\u{7f}\u{9b}\u{ad}\u{202e}\u{e0041}]",
            length in 0usize..40_000,
            count in 0usize..3_000,
        ) {
            let long = unit.repeat(length);
            let mut decided = samples::decided("a-1");
            decided.path.clone_from(&long);
            decided.host.clone_from(&long);
            decided.reason.clone_from(&long);
            decided.process.argv = Some(vec![unit.repeat(length / 100 + 1); count]);
            let access = Access {
                action: Some(unit.repeat(64)),
                level: Some(unit.repeat(length)),
                resources: vec![Some(unit.repeat(length / 1000 + 40)); count / 10],
            };
            decided.access = vec![access; count / 100];
            let key = Key {
                key: long.clone(),
                values: Some(vec![unit.repeat(length / 1000 + 40); count / 10]),
            };
            decided.keys = vec![key; count / 100];
            let entry = Entry { session: None, event: Event::ExchangeDecided(Box::new(decided)) };
            // The longest that there is, or none.
            let who = format!(r#","who":{{"reason":"{}"}}"#, "x".repeat(44 * 1024));
            let who = if count % 2 == 0 { who.as_bytes() } else { b"" };
            let lines = encode(&entry, who).unwrap();
            prop_assert!(lines.iter().all(|bytes| bytes.len() <= ENTRY_BYTES));
            for bytes in lines.iter().take(2) {
                let text = std::str::from_utf8(bytes).unwrap();
                prop_assert!(text.chars().all(visible::is_plain));
                let _: Entry = serde_json::from_str(text).unwrap();
            }
            prop_assert!(lines.iter().map(Vec::len).sum::<usize>() <= whole::MOST_BYTES);
            let back: Entry = serde_json::from_slice(&lines[0]).unwrap();
            let Event::ExchangeDecided(back) = back.event else { panic!("another event") };
            prop_assert_eq!(&back.decision, "deny");
            prop_assert_eq!(&back.exchange, "a-1");
        }
    }
}
