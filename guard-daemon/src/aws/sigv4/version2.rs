//! Signature Version 2 as Amazon S3 still takes it: what boto3 signs URLs with in us-east-1, and old clients requests.
//!
//! It covers less than Version 4: method, bucket and path, the sub-resources that S3 knows, `x-amz-*` headers and
//! three more. Here it tells who makes a request; what the request is, guard decides on the request as it stands, and
//! what leaves is signed anew with Version 4.
//!
//! Source: Amazon S3 User Guide, "Signing and authenticating REST requests".

use std::collections::BTreeMap;

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{CONTENT_TYPE, DATE};

use super::{Form, Presented, SigV4Error, decoded, pairs};
use crate::aws::{RequestView, endpoint};

/// Where a signature of Version 2 has no region in it and the host names none.
pub(super) const REGION: &str = "us-east-1";

/// The sub-resources and response parameters that the signature covers.
const COVERED: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "inventory",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "select",
    "select-type",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// The host's bucket, empty where the path names it, and its region; `None` where it is not S3's.
pub(super) fn host(host: &str) -> Option<(String, Option<String>)> {
    let endpoint = endpoint::classify(host)?;
    let (bucket, service) = endpoint
        .labels
        .rsplit_once('.')
        .unwrap_or(("", &endpoint.labels));
    let s3 = matches!(service, "s3" | "s3-accelerate");
    s3.then(|| (bucket.to_owned(), endpoint.region.clone()))
}

/// Whether the secret made the signature: in constant time.
pub(super) fn matches(
    presented: &Presented,
    request: &RequestView<'_>,
    secret: &str,
) -> Result<bool, SigV4Error> {
    let Ok(signature) = BASE64_STANDARD.decode(&presented.signature) else {
        return Ok(false);
    };
    let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    let matches = |text: &str| hmac::verify(&key, text.as_bytes(), &signature).is_ok();
    Ok(matches(&to_sign(presented, request, false)?)
        // A `+` is a plus sign to some and a space to others.
        || request.query.contains('+') && matches(&to_sign(presented, request, true)?))
}

fn to_sign(
    presented: &Presented,
    request: &RequestView<'_>,
    spaced: bool,
) -> Result<String, SigV4Error> {
    let url = presented.form != Form::Header;
    let hoisted = if url {
        hoisted(request.query)?
    } else {
        BTreeMap::new()
    };
    let plain = |name: &str| -> Result<String, SigV4Error> {
        let header = header(request, name)?;
        Ok(header
            .or_else(|| hoisted.get(name).cloned())
            .unwrap_or_default())
    };
    let date = match presented.form {
        Form::Until { until } => until.to_string(),
        _ if request.headers.contains_key("x-amz-date") => String::new(),
        _ => plain(DATE.as_str())?,
    };
    let mut text = format!(
        "{}\n{}\n{}\n{date}\n",
        request.method,
        plain("content-md5")?,
        plain(CONTENT_TYPE.as_str())?
    );
    let mut amazon = hoisted;
    amazon.retain(|name, _| name.starts_with("x-amz-"));
    for name in request.headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-amz-")
            && let Some(value) = header(request, name)?
            && amazon
                .insert(name.to_owned(), value.clone())
                .is_some_and(|other| other != value)
        {
            return Err(SigV4Error::Malformed {
                part: "an x-amz-* header",
                why: "the query has it with another value",
            });
        }
    }
    for (name, value) in amazon {
        text.extend([&name, ":", &value, "\n"]);
    }
    let (bucket, _) = host(request.host).unwrap_or_default();
    if !bucket.is_empty() {
        text.extend(["/", &bucket]);
    }
    text.push_str(request.path);
    text.push_str(&covered(request.query, spaced)?);
    Ok(text)
}

/// A header's values, joined.
fn header(request: &RequestView<'_>, name: &str) -> Result<Option<String>, SigV4Error> {
    let values = request.headers.get_all(name).iter();
    let values: Result<Vec<&str>, _> = values
        .map(|value| str::from_utf8(value.as_bytes()).map(str::trim))
        .collect();
    match values {
        Ok(values) if values.is_empty() => Ok(None),
        Ok(values) => Ok(Some(values.join(","))),
        Err(_) => Err(SigV4Error::Malformed {
            part: "a signed header",
            why: "its value is not UTF-8",
        }),
    }
}

/// Headers that a signer of URLs put in the query: S3 takes them as headers.
fn hoisted(query: &str) -> Result<BTreeMap<String, String>, SigV4Error> {
    let mut found = BTreeMap::new();
    for (name, value) in pairs(query) {
        let name = name.to_ascii_lowercase();
        let known = name.starts_with("x-amz-") || name == "content-md5" || name == "content-type";
        if known && found.insert(name, decoded(value)?).is_some() {
            return Err(SigV4Error::Doubled("an x-amz-* parameter"));
        }
    }
    Ok(found)
}

/// `?name=value&…` of what the signature covers, decoded, in the names' order.
fn covered(query: &str, spaced: bool) -> Result<String, SigV4Error> {
    let mut found: Vec<(&str, Option<String>)> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) if spaced => (name, Some(decoded(&value.replace('+', "%20"))?)),
            Some((name, value)) => (name, Some(decoded(value)?)),
            None => (pair, None),
        };
        if COVERED.contains(&name) {
            found.push((name, value));
        }
    }
    found.sort_by_key(|(name, _)| *name);
    let mut text = String::new();
    for (name, value) in found {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        if let Some(value) = value {
            text.extend(["=", &value]);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use http::{HeaderMap, HeaderName, Method};
    use proptest::prelude::*;

    use super::super::{Algorithm, DeclaredPayload, Payload, declared_payload_of, verify};
    use super::*;
    use crate::aws::BodyView;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    /// 27 March 2007, 20:00 GMT.
    const NOW: u64 = 1_175_025_600;

    struct Wire {
        method: Method,
        host: &'static str,
        target: String,
        headers: HeaderMap,
    }

    fn wire(method: &str, host: &'static str, target: &str, headers: &[(&str, &str)]) -> Wire {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        Wire {
            method: method.parse().unwrap(),
            host,
            target: target.to_owned(),
            headers: map,
        }
    }

    impl Wire {
        fn view(&self) -> RequestView<'_> {
            let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
            RequestView {
                method: &self.method,
                host: self.host,
                path,
                query,
                headers: &self.headers,
                body: BodyView::Unread,
            }
        }

        fn presented(&self) -> Result<Option<Presented>, SigV4Error> {
            super::super::presented(&self.view())
        }

        fn check(&self, secret: &str, now: SystemTime) -> Result<(), SigV4Error> {
            let presented = self.presented()?.expect("a signature");
            let payload = declared_payload_of(&presented, &self.view())?;
            assert_eq!(payload, DeclaredPayload::Unsigned);
            verify(&presented, &self.view(), Payload::Unsigned, secret, now)
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// The examples of the User Guide, in its older edition, whose hosts are real ones.
    fn documented() -> Vec<Wire> {
        let virtual_host = "johnsmith.s3.amazonaws.com";
        let example = |method, host, target, signature: &str, headers: &[(&str, &str)]| {
            let value = format!("AWS {KEY}:{signature}");
            let mut all = headers.to_vec();
            all.push(("authorization", &value));
            wire(method, host, target, &all)
        };
        vec![
            example(
                "GET",
                virtual_host,
                "/photos/puppy.jpg",
                "bWq2s1WEIj+Ydj0vQ697zp+IXMU=",
                &[("date", "Tue, 27 Mar 2007 19:36:42 +0000")],
            ),
            example(
                "PUT",
                virtual_host,
                "/photos/puppy.jpg",
                "MyyxeRY7whkBe+bq8fHCL/2kKUg=",
                &[
                    ("date", "Tue, 27 Mar 2007 21:15:45 +0000"),
                    ("content-type", "image/jpeg"),
                    ("content-length", "94328"),
                ],
            ),
            example(
                "GET",
                virtual_host,
                "/?prefix=photos&max-keys=50&marker=puppy",
                "htDYFYduRNen8P9ZfE/s9SuKy0U=",
                &[("date", "Tue, 27 Mar 2007 19:42:41 +0000")],
            ),
            example(
                "GET",
                virtual_host,
                "/?acl",
                "c2WLPFtWHVgbEmeEG93a4cG37dM=",
                &[("date", "Tue, 27 Mar 2007 19:44:46 +0000")],
            ),
            example(
                "PUT",
                "s3.amazonaws.com",
                "/static.johnsmith.net/db-backup.dat.gz",
                "ilyl83RwaSoYIEdixDQcA4OnAnc=",
                &[
                    ("date", "Tue, 27 Mar 2007 21:06:08 +0000"),
                    ("x-amz-acl", "public-read"),
                    ("content-type", "application/x-download"),
                    ("content-md5", "4gJE4saaMU4BqNR0kLY+lw=="),
                    ("x-amz-meta-reviewedby", "joe@johnsmith.net"),
                    ("x-amz-meta-reviewedby", "jane@johnsmith.net"),
                    ("x-amz-meta-filechecksum", "0x02661779"),
                    ("x-amz-meta-checksumalgorithm", "crc32"),
                    ("content-disposition", "attachment; filename=database.dat"),
                ],
            ),
        ]
    }

    const URL: &str = "/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&\
        Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";

    #[test]
    fn documented_examples_verify() {
        let wrong = Err(SigV4Error::Mismatch);
        for wire in documented() {
            // The examples are of two hours.
            let stamp = |presented: Presented| super::super::stamp::seconds(&presented.date);
            let signed = stamp(wire.presented().unwrap().unwrap()).unwrap();
            let now = at(signed.unsigned_abs());
            assert_eq!(wire.check(SECRET, now), Ok(()), "{}", wire.target);
            assert_eq!(wire.check("another secret", now), wrong);
            let later = now + Duration::from_secs(901);
            let skewed = Err(SigV4Error::Skewed { seconds: -901 });
            assert_eq!(wire.check(SECRET, later), skewed);
        }
        let url = wire("GET", "johnsmith.s3.amazonaws.com", URL, &[]);
        assert_eq!(url.check(SECRET, at(NOW)), Ok(()));
        assert_eq!(url.check(SECRET, at(1_175_139_620)), Ok(()));
        let late = url.check(SECRET, at(1_175_139_621));
        assert_eq!(late, Err(SigV4Error::Expired { seconds: 1 }));
        for changed in [
            URL.replace("puppy", "kitty"),
            URL.replace("9620", "9621"),
            URL.replace("Npg", "Mpg"),
            format!("{URL}&acl"),
            format!("{URL}&versionId=1"),
            format!("{URL}&response-content-type=text/html"),
            format!("{URL}&x-amz-acl=private"),
        ] {
            let changed = wire("GET", "johnsmith.s3.amazonaws.com", &changed, &[]);
            assert_eq!(changed.check(SECRET, at(NOW)), wrong, "{}", changed.target);
        }
        for (method, host, header) in [
            ("PUT", "johnsmith.s3.amazonaws.com", None),
            ("GET", "smith.s3.amazonaws.com", None),
            ("GET", "s3.amazonaws.com", None),
            (
                "GET",
                "johnsmith.s3.amazonaws.com",
                Some(("content-type", "a/b")),
            ),
            (
                "GET",
                "johnsmith.s3.amazonaws.com",
                Some(("x-amz-acl", "private")),
            ),
        ] {
            let headers: Vec<_> = header.into_iter().collect();
            let changed = wire(method, host, URL, &headers);
            assert_eq!(
                changed.check(SECRET, at(NOW)),
                wrong,
                "{method} {host} {header:?}"
            );
        }
    }

    #[test]
    fn says_who_and_where() {
        for (host, region) in [
            ("johnsmith.s3.amazonaws.com", "us-east-1"),
            ("johnsmith.s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3-us-west-2.amazonaws.com", "us-west-2"),
        ] {
            let query = format!("{URL}&x-amz-security-token=a%2Bb");
            let read = wire("GET", host, &query, &[]).presented().unwrap().unwrap();
            assert_eq!(read.algorithm, Algorithm::HmacSha1);
            assert_eq!(read.access_key_id, KEY);
            assert_eq!(
                (read.service.as_str(), read.region.as_str()),
                ("s3", region)
            );
            assert_eq!(read.session_token.as_deref(), Some("a+b"));
            assert_eq!(
                read.form,
                Form::Until {
                    until: 1_175_139_620
                }
            );
        }
    }

    #[test]
    fn refuses_what_is_no_signature_of_s3() {
        let read = |host, target: &str, headers: &[(&str, &str)]| {
            wire("GET", host, target, headers).presented()
        };
        let bucket = "johnsmith.s3.amazonaws.com";
        let authorization = (
            "authorization",
            "AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
        );
        let date = ("date", "Tue, 27 Mar 2007 19:36:42 +0000");
        for (host, target) in [
            ("sdb.amazonaws.com", URL.to_owned()),
            (bucket, format!("{URL}&SignatureVersion=2")),
            ("sdb.amazonaws.com", "/?SignatureVersion=2".to_owned()),
        ] {
            let error = read(host, &target, &[]);
            assert!(
                matches!(error, Err(SigV4Error::Unsupported(_))),
                "{target}: {error:?}"
            );
        }
        let other = read("sdb.amazonaws.com", "/", &[authorization, date]);
        assert!(matches!(other, Err(SigV4Error::Unsupported(_))));
        for part in ["Signature=", "Expires="] {
            let without: Vec<&str> = URL.split('&').filter(|it| !it.starts_with(part)).collect();
            let name = part.trim_end_matches('=');
            let missing = read(bucket, &without.join("&"), &[]);
            assert!(matches!(missing, Err(SigV4Error::Missing(it)) if it == name));
            let twice = read(bucket, &format!("{URL}&{part}1"), &[]);
            assert!(matches!(twice, Err(SigV4Error::Doubled(it)) if it == name));
        }
        for changed in [
            URL.replace("1175139620", "01175139620"),
            URL.replace("1175139620", "-1"),
            URL.replace("1175139620", "1e9"),
            URL.replace("1175139620", "253402300800"),
            URL.replace("Npg", ""),
            URL.replace("AKIAIOSFODNN7EXAMPLE", "AKIA"),
        ] {
            let error = read(bucket, &changed, &[]);
            assert!(
                matches!(error, Err(SigV4Error::Malformed { .. })),
                "{changed}: {error:?}"
            );
        }
        let both = read(bucket, URL, &[authorization, date]);
        assert_eq!(both, Err(SigV4Error::BothForms));
        let undated = read(bucket, "/", &[authorization]);
        assert_eq!(undated, Err(SigV4Error::Missing("Date")));
        // Without the key, these are parameters like any other.
        assert_eq!(
            read(bucket, "/?Signature=1&Expires=2&Expires=3", &[]),
            Ok(None)
        );
    }

    proptest! {
        #[test]
        fn never_panics(
            query in "((AWSAccessKeyId|Signature|Expires|acl|x-amz-[a-z]{1,5}|[a-z]{1,3})(=[ -~]{0,30})?&){0,8}",
            authorization in "AWS [ -~]{0,60}",
            date in "[ -~]{0,40}",
            path in "/[ -~\u{80}-\u{ff}]{0,40}",
        ) {
            for headers in [&[][..], &[("authorization", authorization.as_str()), ("date", date.as_str())]] {
                let wire = wire("GET", "b.s3.amazonaws.com", &format!("{path}?{query}"), headers);
                if let Ok(Some(presented)) = wire.presented() {
                    let _ = verify(&presented, &wire.view(), Payload::Unsigned, "s", at(NOW));
                }
            }
        }
    }
}
