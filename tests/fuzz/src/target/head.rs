//! The head of an HTTP/1.1 request is inspected before hyper sees it.

#[expect(dead_code, reason = "the target calls a part of it")]
#[path = "../../../../guard-daemon/src/gateway/head.rs"]
mod inspected;

use inspected::{Framing, inspect};

/// A head that is let through is read by another parser alike: one host, and one way to tell the body's length.
pub(crate) fn run(data: &[u8]) {
    let Ok(framing) = inspect(data) else {
        return;
    };
    let text = String::from_utf8_lossy(data);
    let fields: Vec<(String, &str)> = text
        .split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t'])))
        .collect();
    let values = |wanted: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| *value).collect()
    };
    assert!(data.ends_with(b"\r\n\r\n"), "{text:?}");
    assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text:?}");
    assert_eq!(values("host").len(), 1, "{text:?}");
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match framing {
        Framing::Chunked => {
            assert!(lengths.is_empty(), "{text:?}");
            assert!(
                codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked"),
                "{text:?}"
            );
        }
        Framing::Length(length) => {
            assert!(codings.is_empty(), "{text:?}");
            match lengths[..] {
                [] => assert_eq!(length, 0, "{text:?}"),
                [value] => assert_eq!(value.parse(), Ok(length), "{text:?}"),
                _ => panic!("several lengths: {text:?}"),
            }
        }
    }
}
