//! The canonical request, as AWS recomputes it.

use std::borrow::Cow;

use aws_lc_rs::digest::{self, SHA256};
use http::header::HOST;
use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode,
};

use super::{AUTHORITY, Payload, Presented, SigV4Error, is_s3, pairs, signature_parameter};
use crate::aws::RequestView;

/// RFC 3986 §2.3 unreserved characters stay as they are.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// The SHA-256 of the canonical request, hexadecimal, once for each spelling of the query that a signer
/// may have meant, and of an S3 path: one for all that SDKs send, at most six.
///
/// AWS decodes a query and encodes it again, and so do most signers; botocore signs the query as it
/// stands; and a `+` is a space to some and a plus sign to others. S3 does the same with a path, and some signers take
/// that, too, as it stands. The difference is in spelling alone.
pub(super) fn hashes(
    presented: &Presented,
    request: &RequestView<'_>,
    payload: Payload<'_>,
) -> Result<Vec<String>, SigV4Error> {
    let paths = paths(&presented.service, request.path);
    let headers = headers(&presented.signed_headers, request)?;
    let signed = presented.signed_headers.join(";");
    let payload = payload_line(payload);
    let hash = |path: &str, query: &str| {
        let mut context = digest::Context::new(&SHA256);
        for part in [
            request.method.as_str(),
            "\n",
            path,
            "\n",
            query,
            "\n",
            &headers,
            "\n",
            &signed,
            "\n",
            &payload,
        ] {
            context.update(part.as_bytes());
        }
        hex::encode(context.finish())
    };
    let queries = queries(request.query);
    let mut hashes = Vec::with_capacity(paths.len() * queries.len());
    for path in &paths {
        hashes.extend(queries.iter().map(|query| hash(path, query)));
    }
    Ok(hashes)
}

/// The payload's line.
pub(super) fn payload_line(payload: Payload<'_>) -> Cow<'_, str> {
    match payload {
        Payload::Bytes(body) => Cow::Owned(hex::encode(digest::digest(&SHA256, body))),
        Payload::Sha256(hex) => Cow::Borrowed(hex),
        Payload::Unsigned => Cow::Borrowed("UNSIGNED-PAYLOAD"),
        Payload::StreamingUnsignedTrailer => Cow::Borrowed("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        Payload::Streaming(kind) => Cow::Borrowed(kind.name()),
    }
}

/// S3 signs the path encoded as AWS encodes it, or some signers the path as it stands; every other service the
/// normalised path, encoded once more.
fn paths<'a>(service: &str, raw: &'a str) -> Vec<Cow<'a, str>> {
    if !is_s3(service) {
        return vec![Cow::Owned(
            utf8_percent_encode(&normalise(raw), PATH).to_string(),
        )];
    }
    match s3_path(raw) {
        Cow::Owned(encoded) if encoded != raw => vec![Cow::Owned(encoded), Cow::Borrowed(raw)],
        _ => vec![Cow::Borrowed(raw)],
    }
}

/// A path as S3 recomputes it: decoded, and encoded again but for `/`. What of a `%2F` is not known: it stays.
///
/// A bare `+` is a plus sign here, and in what is decided, and a space to S3, which therefore refuses the signature.
pub(super) fn s3_path(raw: &str) -> Cow<'_, str> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    if raw.bytes().all(unreserved) {
        return Cow::Borrowed(raw);
    }
    let mut encoded = String::with_capacity(raw.len() + 16);
    let mut rest = raw.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let mut byte = [*first];
        let escape = tail.get(..2).filter(|_| *first == b'%');
        let meant = escape.is_some_and(|digits| hex::decode_to_slice(digits, &mut byte).is_ok());
        let (spelt, left) = rest.split_at(if meant { 3 } else { 1 });
        match str::from_utf8(spelt) {
            Ok(slash) if meant && byte == *b"/" => encoded.push_str(slash),
            _ => encoded.extend(percent_encode(&byte, PATH)),
        }
        rest = left;
    }
    Cow::Owned(encoded)
}

/// RFC 3986 §5.2.4, and empty segments go too.
fn normalise(raw: &str) -> String {
    let mut kept = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let directory = ["/", "/.", "/.."].iter().any(|end| raw.ends_with(end));
    let tail = if directory && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{tail}", kept.join("/"))
}

fn queries(raw: &str) -> Vec<String> {
    let unsigned =
        || pairs(raw).filter(|(name, _)| signature_parameter(name) != Some("x-amz-signature"));
    let encode = |text: &str| {
        percent_encode(&percent_decode_str(text).collect::<Vec<_>>(), COMPONENT).to_string()
    };
    let spaced = |text: &str| encode(&text.replace('+', "%20"));

    let mut spellings = vec![sorted(
        unsigned().map(|(name, value)| (spaced(name), spaced(value))),
    )];
    let mut add = |spelling| {
        if !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    };
    add(sorted(
        unsigned().map(|(name, value)| (name.to_owned(), value.to_owned())),
    ));
    if raw.contains('+') {
        add(sorted(
            unsigned().map(|(name, value)| (encode(name), encode(value))),
        ));
    }
    spellings
}

fn sorted(pairs: impl Iterator<Item = (String, String)>) -> String {
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    let joined: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}

/// `name:value\n` for each signed header: values trimmed, runs of spaces folded, several joined by `,`.
fn headers(signed: &[String], request: &RequestView<'_>) -> Result<String, SigV4Error> {
    let mut block = String::new();
    for name in signed {
        block.push_str(name);
        let mut separator = ':';
        for value in request.headers.get_all(name.as_str()) {
            block.push(separator);
            separator = ',';
            let value =
                str::from_utf8(value.as_bytes()).map_err(|_invalid| SigV4Error::Malformed {
                    part: "a signed header",
                    why: "its value is not UTF-8",
                })?;
            fold(value, &mut block);
        }
        if separator == ':' {
            // HTTP/2 carries the host as `:authority`.
            if name != HOST.as_str() && name != AUTHORITY {
                return Err(SigV4Error::NotSent(name.clone()));
            }
            block.push(':');
            block.push_str(request.host);
        }
        block.push('\n');
    }
    Ok(block)
}

fn fold(value: &str, into: &mut String) {
    let mut space = false;
    for character in value.trim_matches(' ').chars() {
        if !(space && character == ' ') {
            into.push(character);
        }
        space = character == ' ';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_paths() {
        for (raw, normal) in [
            ("/", "/"),
            ("//", "/"),
            ("/./", "/"),
            ("/a/../", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/../../a", "/a"),
            ("//a//b/", "/a/b/"),
            ("/a...b/.c", "/a...b/.c"),
        ] {
            assert_eq!(normalise(raw), normal, "{raw}");
        }
    }

    #[test]
    fn encodes_paths_by_service() {
        assert_eq!(paths("s3", "/a//b/../%20c"), ["/a//b/../%20c"]);
        assert_eq!(paths("lambda", "/a//b/../%20c:d"), ["/a/%2520c%3Ad"]);
        for (raw, encoded) in [
            ("/a=b/(c)@d:e+f", "/a%3Db/%28c%29%40d%3Ae%2Bf"),
            ("/%e1%88%b4/%41%7e%2f%2F/x", "/%E1%88%B4/A~%2f%2F/x"),
            ("/%252F%25%zz%", "/%252F%25%25zz%25"),
        ] {
            assert_eq!(paths("s3express", raw), [encoded, raw], "{raw}");
        }
    }

    #[test]
    fn spells_queries() {
        assert_eq!(queries(""), [""]);
        assert_eq!(queries("b=2&a=1&a=0&c"), ["a=0&a=1&b=2&c="]);
        assert_eq!(queries("X-Amz-Signature=00&a=%2f"), ["a=%2F", "a=%2f"]);
        assert_eq!(queries("a=1+2"), ["a=1%202", "a=1+2", "a=1%2B2"]);
    }

    #[test]
    fn folds_header_values() {
        let folded = |value| {
            let mut text = String::new();
            fold(value, &mut text);
            text
        };
        assert_eq!(folded("  a   b c "), "a b c");
        assert_eq!(folded("\"a   b\""), "\"a b\"");
        assert_eq!(folded("   "), "");
    }
}
