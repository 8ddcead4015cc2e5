//! Verifies a signature: that whoever made the request holds the session's dummy secret.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use super::{
    AUTHORITY, Algorithm, Form, Payload, Presented, SigV4Error, canonical, hmac_key, stamp,
    version2, version4a,
};
use crate::aws::{RequestView, Scope};

/// How far a request's date may be from guard's clock, in seconds: AWS's own bound.
const SKEW: i64 = 15 * 60;

/// Headers that SDKs leave out of a presigned URL's signature although they send them with it. None of
/// them changes what the request does.
const UNSIGNED_IN_URL: [&str; 3] = [
    "x-amz-checksum-mode",
    "x-amz-content-sha256",
    "x-amz-user-agent",
];

/// Verifies a signature with the session's secret: recomputed, compared in constant time, ±15 min, or for a
/// presigned URL until it expires. Every `x-amz-*` header and `host` must be signed; Version 2 covers what it covers.
pub fn verify(
    presented: &Presented,
    request: &RequestView<'_>,
    payload: Payload<'_>,
    secret: &str,
    now: SystemTime,
) -> Result<(), SigV4Error> {
    in_time(presented, now)?;
    let verified = match presented.algorithm {
        Algorithm::HmacSha256 => version4(presented, request, payload, secret)?,
        Algorithm::EcdsaP256 => version4a(presented, request, payload, secret)?,
        Algorithm::HmacSha1 => version2::matches(presented, request, secret)?,
    };
    verified.then_some(()).ok_or(SigV4Error::Mismatch)
}

fn version4(
    presented: &Presented,
    request: &RequestView<'_>,
    payload: Payload<'_>,
    secret: &str,
) -> Result<bool, SigV4Error> {
    all_signed(presented, request)?;
    let mut signature = [0; 32];
    if hex::decode_to_slice(&presented.signature, &mut signature).is_err() {
        return Ok(false);
    }
    let (region, service) = (presented.region.as_str(), presented.service.as_str());
    let day = day(presented);
    let key = hmac_key(secret, day, Scope { region, service });
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let hashes = canonical::hashes(presented, request, payload)?;
    Ok(hashes.iter().any(|hash| {
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", presented.date);
        // Constant time in the signature; which spelling of the query matched is no secret.
        hmac::verify(&key, to_sign.as_bytes(), &signature).is_ok()
    }))
}

fn version4a(
    presented: &Presented,
    request: &RequestView<'_>,
    payload: Payload<'_>,
    secret: &str,
) -> Result<bool, SigV4Error> {
    all_signed(presented, request)?;
    let key = version4a::KeyPair::of(&presented.access_key_id, secret)?;
    let scope = format!("{}/{}/aws4_request", day(presented), presented.service);
    let hashes = canonical::hashes(presented, request, payload)?;
    Ok(hashes.iter().any(|hash| {
        let to_sign = format!(
            "{}\n{}\n{scope}\n{hash}",
            version4a::ALGORITHM,
            presented.date
        );
        key.verifies(&to_sign, &presented.signature)
    }))
}

fn in_time(presented: &Presented, now: SystemTime) -> Result<(), SigV4Error> {
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed());
    let late = |seconds: i64| match seconds {
        1.. => Err(SigV4Error::Expired {
            seconds: seconds.unsigned_abs(),
        }),
        _ => Ok(()),
    };
    if let Form::Until { until } = presented.form {
        return late(now.saturating_sub(until));
    }
    let signed = stamp::seconds(&presented.date).ok_or(SigV4Error::Malformed {
        part: "the date",
        why: "it must be YYYYMMDDTHHMMSSZ",
    })?;
    let ahead = signed - now;
    match presented.form {
        Form::Header if ahead.abs() > SKEW => Err(SigV4Error::Skewed { seconds: ahead }),
        Form::Query { .. } if ahead > SKEW => Err(SigV4Error::Skewed { seconds: ahead }),
        Form::Query { expires } => late(now - signed - i64::from(expires)),
        Form::Until { .. } | Form::Header => Ok(()),
    }
}

fn all_signed(presented: &Presented, request: &RequestView<'_>) -> Result<(), SigV4Error> {
    let named = |name: &str| presented.signed_headers.iter().any(|known| known == name);
    let signed = |name: &str| named(name) || (name == "host" && named(AUTHORITY));
    let url = presented.form != Form::Header;
    // Without x-amz-date the signature's date is that of `Date`, which then must be covered.
    let dated = !url && !request.headers.contains_key("x-amz-date");
    let required = request
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && !(url && UNSIGNED_IN_URL.contains(name)))
        .chain(["host"])
        .chain(dated.then_some("date"));
    for name in required {
        if !signed(name) {
            return Err(SigV4Error::NotSigned(name.to_owned()));
        }
    }
    Ok(())
}

fn day(presented: &Presented) -> &str {
    presented.date.get(..8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    use super::*;
    use crate::aws::BodyView;

    fn covered(form: Form, signed: &[&str], sent: &[&str]) -> Result<(), SigV4Error> {
        let mut headers = HeaderMap::new();
        for name in sent {
            headers.insert(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_static("a"),
            );
        }
        let presented = Presented {
            algorithm: Algorithm::HmacSha256,
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            signed_headers: signed.iter().map(|name| (*name).to_owned()).collect(),
            signature: "0".repeat(64),
            session_token: None,
            form,
            date: "20130524T000000Z".to_owned(),
        };
        all_signed(
            &presented,
            &RequestView {
                method: &Method::GET,
                host: "b.s3.amazonaws.com",
                path: "/",
                query: "",
                headers: &headers,
                body: BodyView::Unread,
            },
        )
    }

    #[test]
    fn an_http2_host_is_signed_by_either_name() {
        let of = |signed: &[&str]| covered(Form::Header, signed, &["x-amz-date"]);
        assert_eq!(of(&[":authority", "x-amz-date"]), Ok(()));
        assert_eq!(of(&["host", "x-amz-date"]), Ok(()));
        assert!(of(&["x-amz-date"]).is_err());
    }

    #[test]
    fn what_aws_acts_on_must_be_signed() {
        let url = Form::Query { expires: 60 };
        for (form, signed, sent, missing) in [
            (
                Form::Header,
                &["host", "x-amz-date"][..],
                &["x-amz-date", "accept"][..],
                None,
            ),
            (Form::Header, &["x-amz-date"], &["x-amz-date"], Some("host")),
            (Form::Header, &["host"], &["x-amz-date"], Some("x-amz-date")),
            (Form::Header, &["host"], &["date"], Some("date")),
            (Form::Header, &["date", "host"], &["date"], None),
            (
                Form::Header,
                &["host", "x-amz-date"],
                &["x-amz-date", "x-amz-acl"],
                Some("x-amz-acl"),
            ),
            (
                Form::Header,
                &["host", "x-amz-date"],
                &["x-amz-date", "x-amz-content-sha256"],
                Some("x-amz-content-sha256"),
            ),
            (
                url,
                &["host"],
                &["date", "range", "x-amz-content-sha256"],
                None,
            ),
            (
                url,
                &["host"],
                &["x-amz-checksum-mode", "x-amz-user-agent"],
                None,
            ),
            (url, &["host"], &["x-amz-acl"], Some("x-amz-acl")),
            (url, &["host", "x-amz-acl"], &["x-amz-acl"], None),
        ] {
            let wanted = missing.map_or(Ok(()), |name| Err(SigV4Error::NotSigned(name.to_owned())));
            assert_eq!(
                covered(form, signed, sent),
                wanted,
                "{form:?} {signed:?} {sent:?}"
            );
        }
    }
}
