//! Headers of S3 that a signer of URLs put into the query.
//!
//! S3 takes `x-amz-*` members of a presigned URL for the headers of those names, and ignores them in any other request.
//! What leaves is signed in the header, so that they are made headers again before anything is decided: what is decided
//! is then what S3 does. Where S3 would ignore them, they are refused.

use http::header::Entry;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::{Form, Presented, SigV4Error, is_s3, replace_query, signature_parameter};

/// Makes the headers of a presigned request to S3 of the members of its query that stand for them. Its signature must
/// have been verified before.
///
/// # Errors
/// Where a header is there already with another value, or a member cannot be one.
pub fn restore_headers(parts: &mut Parts, presented: &Presented) -> Result<(), SigV4Error> {
    if presented.form == Form::Header || !is_s3(&presented.service) {
        return Ok(());
    }
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let mut kept = Vec::new();
    let mut restored: Vec<HeaderName> = Vec::new();
    for pair in query.split('&') {
        let Some(name) = header_name(pair) else {
            kept.push(pair);
            continue;
        };
        let refused = |why| SigV4Error::NoHeader {
            name: name.clone(),
            why,
        };
        let header =
            HeaderName::try_from(&name).map_err(|_invalid| refused("is no header's name"))?;
        if restored.contains(&header) {
            return Err(refused("stands there twice"));
        }
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        if value.contains('+') {
            return Err(refused(
                "has a +, which is a space to some; write %2B or %20",
            ));
        }
        let value = HeaderValue::from_bytes(&percent_decode_str(value).collect::<Vec<_>>())
            .map_err(|_invalid| refused("is no header's value"))?;
        match parts.headers.entry(&header) {
            Entry::Occupied(sent) if sent.iter().any(|sent| *sent != value) => {
                return Err(refused("is a header, too, with another value"));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(free) => {
                free.insert(value);
            }
        }
        restored.push(header);
    }
    if restored.is_empty() {
        return Ok(());
    }
    replace_query(parts, &kept.join("&"))
}

/// Refuses what S3 would ignore in the query: to be called where `restore_headers` was, or had nothing to do.
///
/// # Errors
/// Where an `x-amz-*` member that is no part of a signature is left.
pub fn check_query(query: &str) -> Result<(), SigV4Error> {
    match query.split('&').find_map(header_name) {
        Some(name) => Err(SigV4Error::Ignored(name)),
        None => Ok(()),
    }
}

/// The header, in lower case, that an encoded pair of the query stands for.
fn header_name(pair: &str) -> Option<String> {
    const START: &[u8] = b"x-amz-";
    let (encoded, _) = pair.split_once('=').unwrap_or((pair, ""));
    let mut bytes = percent_decode_str(encoded);
    let begins = START.iter().all(|wanted| {
        bytes
            .next()
            .is_some_and(|it| it.eq_ignore_ascii_case(wanted))
    });
    if !begins || signature_parameter(encoded).is_some() {
        return None;
    }
    let name: Vec<u8> = percent_decode_str(encoded).collect();
    Some(String::from_utf8_lossy(&name).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::super::Algorithm;
    use super::*;

    fn presented(form: Form, service: &str) -> Presented {
        Presented {
            algorithm: Algorithm::HmacSha256,
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            region: "us-east-1".to_owned(),
            service: service.to_owned(),
            signed_headers: vec!["host".to_owned()],
            signature: "0".repeat(64),
            session_token: None,
            form,
            date: "20130524T000000Z".to_owned(),
        }
    }

    const URL: Form = Form::Query { expires: 60 };

    /// Query and `x-amz-*` headers afterwards.
    fn restored(
        form: Form,
        service: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<(String, Vec<String>), SigV4Error> {
        let mut request = Request::builder().uri(format!("https://b.s3.amazonaws.com{target}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        restore_headers(&mut parts, &presented(form, service))?;
        let mut headers: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort_unstable();
        Ok((parts.uri.to_string(), headers))
    }

    #[test]
    fn what_a_url_carries_becomes_headers() {
        let target = "/k%2f?x-id=PutObject&X-Amz-Server-Side-Encryption=aws%3Akms&%78-amz-tagging=a%3Db%2B&\
                      X-Amz-Signature=00&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&versionId=%2f&&x-amz-acl";
        for form in [URL, Form::Until { until: 1 }] {
            let (uri, headers) = restored(form, "s3", target, &[("x-amz-acl", "")]).unwrap();
            assert_eq!(
                uri,
                "https://b.s3.amazonaws.com/k%2f?x-id=PutObject&X-Amz-Signature=00&\
                 X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&versionId=%2f&"
            );
            assert_eq!(
                headers,
                [
                    "x-amz-acl: ",
                    "x-amz-server-side-encryption: aws:kms",
                    "x-amz-tagging: a=b+",
                ]
            );
        }
    }

    #[test]
    fn elsewhere_nothing_changes() {
        let target = "/?x-amz-acl=private&a=b";
        for (form, service) in [(Form::Header, "s3"), (URL, "polly")] {
            let (uri, headers) = restored(form, service, target, &[]).unwrap();
            assert!(uri.ends_with(target) && headers.is_empty());
        }
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for (target, headers) in [
            ("/?x-amz-acl=private", &[("x-amz-acl", "public-read")][..]),
            (
                "/?x-amz-acl=private",
                &[("x-amz-acl", "private"), ("x-amz-acl", "public-read")],
            ),
            ("/?x-amz-acl=a&X-Amz-ACL=a", &[]),
            ("/?x-amz-tagging=a+b", &[]),
            ("/?x-amz-meta-a=%0A", &[]),
            ("/?x-amz-meta-%20=a", &[]),
        ] {
            let refused = restored(URL, "s3", target, headers);
            assert!(
                matches!(refused, Err(SigV4Error::NoHeader { .. })),
                "{target}"
            );
        }
    }

    #[test]
    fn what_s3_would_ignore_is_refused() {
        for query in [
            "",
            "x-id=PutObject",
            "X-Amz-Signature=0&x-amz-date=1",
            "versionId=x-amz-acl",
        ] {
            assert_eq!(check_query(query), Ok(()), "{query}");
        }
        for query in ["x-amz-acl=private", "a&X-AMZ-Acl", "%58-amz-acl=a"] {
            let ignored = SigV4Error::Ignored("x-amz-acl".to_owned());
            assert_eq!(check_query(query), Err(ignored), "{query}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_to_be_ignored(query in "([xX%a-zA-Z0-9=+&_-]|x-amz-|%78-|%2[bB]){0,60}") {
            let Ok(request) = Request::builder().uri(format!("https://h/?{query}")).body(()) else {
                return Ok(());
            };
            let (mut parts, ()) = request.into_parts();
            if restore_headers(&mut parts, &presented(URL, "s3")).is_ok() {
                prop_assert_eq!(check_query(parts.uri.query().unwrap_or_default()), Ok(()));
            }
        }
    }
}
