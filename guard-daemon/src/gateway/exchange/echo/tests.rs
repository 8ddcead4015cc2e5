//! Secrets are found however they are spelt, and nothing else is.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const TOKEN: &str = "IQoJb3JpZ2luX2VjEHM/+a==";
const KEY: &str = "ASIAREALREALREALREAL";

fn echo() -> Echo<'static> {
    let secret = |name, real: &'static str, instead: &'static str| Secret {
        name,
        real: real.as_bytes(),
        instead: instead.into(),
    };
    Echo(vec![
        secret("access key id", KEY, "ASIADUMMY"),
        secret("session token", TOKEN, "dummytoken"),
    ])
}

fn replaced(text: &str) -> Option<String> {
    let replaced = echo().replace(text.as_bytes(), false, "error", &mut Vec::new());
    replaced.map(|it| String::from_utf8(it).unwrap())
}

/// A character as S3 spells its bytes, or as a URL, XML or JSON may.
fn spelt(character: char, how: usize) -> String {
    let code = u32::from(character);
    match how {
        0 => character.to_string(),
        1 => format!("%{code:02X}"),
        2 => format!("%25{code:02x}"),
        3 => format!("\\u{code:04x}"),
        4 => format!("&#{code};"),
        5 => format!("&#x{code:X};"),
        6 => format!("&amp;#{code};"),
        7 => format!("%252525{code:02x}"),
        8 => format!("\\\\u{code:04X}"),
        _ if character == '/' => "\\/".to_owned(),
        _ => character.to_string(),
    }
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    for text in [
        "",
        "<Error><Code>NoSuchKey</Code></Error>",
        "%",
        "%25",
        "%252",
        "&",
        "&amp;",
        "&#",
        "&#x;",
        "&#99999999;",
        "\\",
        "\\u00",
        "\\u0",
        &TOKEN[..20],
        "ASIAREALREALREALREA",
        "41 53 49 41 52",
    ] {
        assert_eq!(replaced(text), None, "{text}");
    }
}

#[test]
fn every_place_is_found_and_named_once() {
    let hex = |text: &str| {
        let pairs: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(" ")
    };
    let body = format!(
        "<Error><AWSAccessKeyId>{KEY}</AWSAccessKeyId><Token-0>{TOKEN}</Token-0>\
         <CanonicalRequestBytes>0a {} 0a</CanonicalRequestBytes></Error>",
        hex(TOKEN)
    );
    let mut found = Vec::new();
    let replaced = echo().replace(body.as_bytes(), false, "error", &mut found);
    assert_eq!(
        String::from_utf8(replaced.unwrap()).unwrap(),
        format!(
            "<Error><AWSAccessKeyId>ASIADUMMY</AWSAccessKeyId><Token-0>dummytoken</Token-0>\
             <CanonicalRequestBytes>0a {} 0a</CanonicalRequestBytes></Error>",
            hex("dummytoken")
        )
    );
    assert_eq!(found, ["error: access key id", "error: session token"]);
}

#[test]
fn a_text_with_its_length_before_it_keeps_it() {
    let body = format!("\x78\x18{TOKEN}\x74{KEY}");
    let replaced = echo().replace(body.as_bytes(), true, "error", &mut Vec::new());
    let replaced = String::from_utf8(replaced.unwrap()).unwrap();
    assert_eq!(
        replaced,
        "\x78\x18dummytokendummytokendumm\x74ASIADUMMYASIADUMMYAS"
    );
    let kind = |kind| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    assert!(has_lengths(&kind("application/cbor")));
    assert!(!has_lengths(&kind("application/x-amz-json-1.0")));
}

#[test]
fn headers_too() {
    let mut headers = HeaderMap::new();
    let value = format!("https://b.example/?token={}", TOKEN.replace('/', "%2F"));
    headers.insert("location", HeaderValue::try_from(value).unwrap());
    headers.insert("server", HeaderValue::from_static("AmazonS3"));
    let found = echo().replace_in_headers(&mut headers);
    assert_eq!(headers["location"], "https://b.example/?token=dummytoken");
    assert_eq!(headers["server"], "AmazonS3");
    assert_eq!(found, ["header location: session token"]);
}

proptest! {
    #[test]
    fn a_secret_is_found_however_its_characters_are_spelt(
        hows in proptest::collection::vec(0_usize..10, TOKEN.len()),
        before in "[ -~]{0,20}[<\"=:]",
        after in "[<\",].{0,20}",
    ) {
        let mut text = before.clone();
        for (character, how) in TOKEN.chars().zip(hows) {
            text.push_str(&spelt(character, how));
        }
        text.push_str(&after);
        prop_assert_eq!(replaced(&text), Some(format!("{before}dummytoken{after}")));
    }

    #[test]
    fn a_secret_in_hexadecimal_is_found(upper: bool, spaced: bool) {
        let mut text = String::from("x=");
        for (number, byte) in TOKEN.bytes().enumerate() {
            if spaced && number > 0 {
                text.push(' ');
            }
            if upper {
                write!(text, "{byte:02X}").unwrap();
            } else {
                write!(text, "{byte:02x}").unwrap();
            }
        }
        let replaced = replaced(&text).unwrap();
        prop_assert_eq!(replaced.len(), if spaced { 31 } else { 22 });
    }

    #[test]
    fn any_text_is_looked_through(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(echo().replace(&text, false, "error", &mut Vec::new()), None);
    }
}
