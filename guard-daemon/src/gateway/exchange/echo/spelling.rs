//! How a text is spelt in other texts: characters escaped as in URLs, JSON and XML, or all of it in hexadecimal.

/// How often a character may be escaped over again: a URL in JSON in XML is three.
const LAYERS: usize = 4;

/// How many bytes spell `real` at the beginning of a text, each of its characters escaped or not.
pub(super) fn escaped_at(text: &[u8], real: &[u8]) -> Option<usize> {
    let mut at = 0;
    for byte in real {
        let rest = text.get(at..)?;
        at += match unescaped(rest) {
            Some((meant, length)) if meant == *byte => length,
            _ if rest.first() == Some(byte) => 1,
            _ => return None,
        };
    }
    Some(at)
}

/// The same in hexadecimal, with a space between two bytes or nothing.
pub(super) fn hex_at(text: &[u8], real: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (number, byte) in real.iter().enumerate() {
        if number > 0 && text.get(at) == Some(&b' ') {
            at += 1;
        }
        if hex_byte(text.get(at..at + 2)?) != Some(*byte) {
            return None;
        }
        at += 2;
    }
    Some(at)
}

/// The byte that an escape at the beginning of a text means, and its length: `%2B`, `\u002b`, `\/`, `&#43;`, `&#x2B;`,
/// `&amp;`; and each of these with its own first character escaped.
fn unescaped(text: &[u8]) -> Option<(u8, usize)> {
    let layers = |outer: &[u8]| {
        let again = text[1..].chunks(outer.len());
        again.take_while(|it| *it == outer).take(LAYERS).count() * outer.len()
    };
    match text.first()? {
        b'%' => {
            // Of `%25` itself the digits are not a layer but the byte.
            let most = layers(b"25");
            (0..=most).rev().step_by(2).find_map(|skipped| {
                let at = 1 + skipped;
                Some((hex_byte(text.get(at..at + 2)?)?, at + 2))
            })
        }
        b'\\' => {
            let again = text.iter().take(1 << LAYERS);
            let at = again.take_while(|it| **it == b'\\').count();
            match text.get(at)? {
                b'u' if text.get(at + 1..at + 3)? == b"00" => {
                    Some((hex_byte(text.get(at + 3..at + 5)?)?, at + 5))
                }
                byte @ (b'/' | b'"') => Some((*byte, at + 1)),
                _ => Some((b'\\', at)),
            }
        }
        b'&' => {
            let most = layers(b"amp;");
            if let Some((byte, length)) = entity(text.get(1 + most..)?) {
                return Some((byte, 1 + most + length));
            }
            (most > 0).then_some((b'&', 1 + most))
        }
        _ => None,
    }
}

/// A character reference after its `&`.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    const NAMED: [(&[u8], u8); 4] = [
        (b"lt;", b'<'),
        (b"gt;", b'>'),
        (b"quot;", b'"'),
        (b"apos;", b'\''),
    ];
    if let Some((name, byte)) = NAMED.iter().find(|it| text.starts_with(it.0)) {
        return Some((*byte, name.len()));
    }
    let digits = text.strip_prefix(b"#")?;
    let end = digits.iter().take(8).position(|it| *it == b';')?;
    let digits = str::from_utf8(&digits[..end]).ok()?;
    let byte = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Some((byte.ok()?, end + 2))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}
