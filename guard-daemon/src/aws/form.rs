//! `application/x-www-form-urlencoded`, decoded strictly: in query strings and in query-protocol bodies.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The pairs of a form or query string, decoded. `None` stands for a pair that is not UTF-8 or has a `%`
/// that starts no escape: AWS may read it in a way of its own.
pub(super) fn pairs(form: &[u8]) -> impl Iterator<Item = Option<(Cow<'_, str>, Cow<'_, str>)>> {
    form.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(place) => (&pair[..place], &pair[place + 1..]),
                None => (pair, &[][..]),
            };
            Some((decode(name, true)?, decode(value, true)?))
        })
}

/// Decodes percent escapes; in forms, `+` is a space.
pub(super) fn decode(raw: &[u8], plus_is_space: bool) -> Option<Cow<'_, str>> {
    let plus = plus_is_space && raw.contains(&b'+');
    if !plus && !raw.contains(&b'%') {
        return std::str::from_utf8(raw).ok().map(Cow::Borrowed);
    }
    for (place, byte) in raw.iter().enumerate() {
        let escape = raw.get(place + 1..place + 3);
        if *byte == b'%' && !escape.is_some_and(|it| it.iter().all(u8::is_ascii_hexdigit)) {
            return None;
        }
    }
    let spaced: Cow<'_, [u8]> = if plus {
        raw.iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect()
    } else {
        Cow::Borrowed(raw)
    };
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_exactly() {
        let read = |form: &'static str| -> Vec<Option<(String, String)>> {
            pairs(form.as_bytes())
                .map(|it| it.map(|(a, b)| (a.into_owned(), b.into_owned())))
                .collect()
        };
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(
            read("A=b+c&d%3D=%2B&&e"),
            [pair("A", "b c"), pair("d=", "+"), pair("e", "")]
        );
        assert_eq!(read("a=%zz&b=%f"), [None, None]);
        assert_eq!(read("a=%ff"), [None]);
        assert_eq!(read("a=b=c"), [pair("a", "b=c")]);
        assert_eq!(decode(b"a+b", false).as_deref(), Some("a+b"));
    }

    proptest! {
        #[test]
        fn encoding_is_undone(text in "\\PC{0,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(decode(encoded.as_bytes(), true).unwrap(), text);
        }

        #[test]
        fn never_panics(form in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = pairs(&form).count();
        }
    }
}
