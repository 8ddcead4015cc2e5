//! The headers of a masked response: secret ones are masked, those that speak of the body made right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Class, replacement};

/// Zlib's CRC-32 of the body as a decimal number: DynamoDB and others; SDKs that check it retry the call
/// when it is wrong.
const CRC32: &str = "x-amz-crc32";
/// S3's flexible checksums; clients check those that are there.
const CHECKSUMS: &str = "x-amz-checksum-";
const CHECKSUM_CRC32: &str = "x-amz-checksum-crc32";
/// Other headers that state a hash of the body.
const HASHES: [&str; 6] = [
    "content-digest",
    "content-md5",
    "digest",
    "repr-digest",
    "x-amz-content-sha256",
    "x-amz-sha256-tree-hash",
];

/// Masks headers that the model says are secret; returns which.
pub(super) fn mask(
    secret: impl Iterator<Item = (&'static str, Class)>,
    headers: &mut HeaderMap,
    masks: &dyn Fn(Class) -> bool,
) -> Vec<String> {
    let mut masked = Vec::new();
    for (name, class) in secret {
        let Ok(key) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        let Some(value) = headers.get(&key) else {
            continue;
        };
        if !masks(class) {
            continue;
        }
        let was = value.to_str().unwrap_or_default();
        let with = replacement::of(replacement::guess(was), was);
        // Takes the place of all values of that name.
        headers.insert(&key, HeaderValue::from_static(with));
        masked.push(format!("header {key}"));
    }
    masked
}

/// Makes the headers right that speak of the body. A checksum that is not computed here is taken away:
/// clients check what is there, and none asks for one.
pub(super) fn repair(headers: &mut HeaderMap, body: &[u8]) {
    headers.remove(TRANSFER_ENCODING);
    headers.remove(TRAILER);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    for name in HASHES {
        headers.remove(name);
    }
    let crc32 = crc32fast::hash(body);
    if headers.contains_key(CRC32) {
        headers.insert(CRC32, HeaderValue::from(crc32));
    }
    let checksums: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(CHECKSUMS))
        .cloned()
        .collect();
    for name in checksums {
        let recomputed = (name == CHECKSUM_CRC32)
            .then(|| HeaderValue::try_from(STANDARD.encode(crc32.to_be_bytes())).ok())
            .flatten();
        match recomputed {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
            .collect()
    }

    #[test]
    fn headers_speak_of_the_new_body() {
        let mut own = headers(&[
            ("content-length", "9"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-amz-checksum-crc32"),
            ("x-amz-crc32", "1"),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-sha256", "old"),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            ("content-md5", "old"),
            ("digest", "old"),
            ("etag", "\"kept\""),
            ("x-amzn-requestid", "kept"),
        ]);
        // The check value of CRC-32/ISO-HDLC: crc32("123456789") = 0xCBF43926.
        repair(&mut own, b"123456789");
        let expected = headers(&[
            ("content-length", "9"),
            ("x-amz-crc32", "3421780262"),
            ("x-amz-checksum-crc32", "y/Q5Jg=="),
            ("etag", "\"kept\""),
            ("x-amzn-requestid", "kept"),
        ]);
        assert_eq!(own, expected);
    }

    #[test]
    fn only_headers_of_masked_classes_change() {
        let mut own = headers(&[
            ("x-token", "hunter2"),
            ("x-token", "hunter3"),
            ("x-email", "a@b"),
        ]);
        let secret = [
            ("X-Token", Class::Credential),
            ("x-email", Class::Pii),
            ("x-no", Class::Credential),
        ];
        let masked = mask(secret.into_iter(), &mut own, &|class| {
            class == Class::Credential
        });
        assert_eq!(masked, ["header x-token"]);
        assert_eq!(
            own,
            headers(&[("x-token", replacement::TEXT), ("x-email", "a@b")])
        );
    }
}
