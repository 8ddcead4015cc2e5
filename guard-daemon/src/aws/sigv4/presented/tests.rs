use http::Method;

use super::*;
use crate::aws::BodyView;

const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";

fn read(query: &str, headers: &[(&str, &str)]) -> Result<Option<Presented>, SigV4Error> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            http::HeaderName::try_from(*name).unwrap(),
            value.parse().unwrap(),
        );
    }
    presented(&RequestView {
        method: &Method::GET,
        host: "examplebucket.s3.amazonaws.com",
        path: "/test.txt",
        query,
        headers: &map,
        body: BodyView::Unread,
    })
}

fn header(credential: &str, signed: &str, signature: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}"
    )
}

fn url(drop: &str) -> String {
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned(),
        format!("X-Amz-Credential={}", CREDENTIAL.replace('/', "%2F")),
        "X-Amz-Date=20130524T000000Z".to_owned(),
        "X-Amz-Expires=86400".to_owned(),
        "X-Amz-SignedHeaders=host".to_owned(),
        format!("X-Amz-Signature={SIGNATURE}"),
    ]
    .into_iter()
    .filter(|pair| drop.is_empty() || !pair.starts_with(drop))
    .collect::<Vec<_>>()
    .join("&")
}

const DATE_HEADER: (&str, &str) = ("x-amz-date", "20130524T000000Z");

fn expected(form: Form, signed: &[&str]) -> Presented {
    Presented {
        algorithm: Algorithm::HmacSha256,
        access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        region: "us-east-1".to_owned(),
        service: "s3".to_owned(),
        signed_headers: signed.iter().map(|name| (*name).to_owned()).collect(),
        signature: SIGNATURE.to_owned(),
        session_token: None,
        form,
        date: "20130524T000000Z".to_owned(),
    }
}

#[test]
fn reads_both_forms() {
    let value = header(CREDENTIAL, "host;range;x-amz-date", SIGNATURE);
    let signed = ["host", "range", "x-amz-date"];
    let wanted = Ok(Some(expected(Form::Header, &signed)));
    assert_eq!(read("", &[("authorization", &value), DATE_HEADER]), wanted);
    // Without spaces after the commas, and dated by `Date`.
    let tight = value.replace(", ", ",");
    let date = ("date", "Fri, 24 May 2013 00:00:00 GMT");
    assert_eq!(
        read("list-type=2", &[("authorization", &tight), date]),
        wanted
    );

    let wanted = Ok(Some(expected(Form::Query { expires: 86_400 }, &["host"])));
    assert_eq!(read(&url(""), &[]), wanted);
    assert_eq!(
        read(
            &url("")
                .to_lowercase()
                .replace("aws4-hmac-sha256", "AWS4-HMAC-SHA256")
                .replace("akiaiosfodnn7example", "AKIAIOSFODNN7EXAMPLE")
                .replace("20130524t000000z", "20130524T000000Z"),
            &[]
        ),
        wanted
    );

    // As the SDK for JavaScript signs over HTTP/2.
    let value = header(CREDENTIAL, ":authority;x-amz-date", SIGNATURE);
    let wanted = Ok(Some(expected(Form::Header, &[":authority", "x-amz-date"])));
    assert_eq!(read("", &[("authorization", &value), DATE_HEADER]), wanted);

    assert_eq!(read("", &[]), Ok(None));
    assert_eq!(
        read("list-type=2&x-id=ListObjectsV2", &[DATE_HEADER]),
        Ok(None)
    );
}

#[test]
fn refuses_two_of_anything() {
    let value = header(CREDENTIAL, "host", SIGNATURE);
    let once = ("authorization", value.as_str());
    assert!(matches!(
        read("", &[once, once, DATE_HEADER]),
        Err(SigV4Error::Doubled(_))
    ));
    assert_eq!(
        read("", &[once, DATE_HEADER, DATE_HEADER]),
        Err(SigV4Error::Doubled("x-amz-date"))
    );
    assert_eq!(
        read(&url(""), &[once, DATE_HEADER]),
        Err(SigV4Error::BothForms)
    );
    assert_eq!(
        read("%58-amz-signature=1", &[once, DATE_HEADER]),
        Err(SigV4Error::BothForms)
    );
    for part in ["Credential=a", "SignedHeaders=a", "Signature=a"] {
        let doubled = format!("{value}, {part}");
        let headers = [("authorization", doubled.as_str()), DATE_HEADER];
        assert!(
            matches!(read("", &headers), Err(SigV4Error::Doubled(_))),
            "{part}"
        );
    }
    for name in crate::aws::sigv4::SIGNATURE_PARAMETERS {
        let twice = format!("{}&{name}=1&{name}=1", url(""));
        assert_eq!(read(&twice, &[]), Err(SigV4Error::Doubled(name)), "{name}");
    }
}

#[test]
fn names_what_it_does_not_take() {
    for (value, text) in [
        ("AWS4-ECDSA-P384-SHA384 Credential=a", "this kind"),
        ("Bearer abc", "bearer"),
        ("bearer abc", "bearer"),
        ("Basic abc", "basic"),
        ("aws4-hmac-sha256 Credential=a", "this kind"),
        ("", "this kind"),
    ] {
        let error = read("", &[("authorization", value), DATE_HEADER]).unwrap_err();
        assert!(
            matches!(error, SigV4Error::Unsupported(_)),
            "{value}: {error:?}"
        );
        assert!(error.to_string().contains(text), "{value}: {error}");
    }
    for query in [
        "Action=ListDomains&SignatureVersion=2",
        &url("").replace("HMAC-SHA256", "ECDSA-P384-SHA384"),
        &url("").replace("AWS4-HMAC-SHA256", "AWS5"),
    ] {
        assert!(
            matches!(read(query, &[]), Err(SigV4Error::Unsupported(_))),
            "{query}"
        );
    }
}

#[test]
fn reads_version_4a() {
    let credential = "AKIAIOSFODNN7EXAMPLE/20130524/s3/aws4_request";
    let signature = "3045".repeat(36);
    let value = header(credential, "host;x-amz-date;x-amz-region-set", &signature)
        .replace("HMAC", "ECDSA-P256");
    let with = |value: &str, regions: &str| {
        let mut headers = vec![("authorization", value), DATE_HEADER];
        if !regions.is_empty() {
            headers.push(("x-amz-region-set", regions));
        }
        read("", &headers)
    };
    for regions in ["*", "us-east-1", "us-east-1,eu-*"] {
        let found = with(&value, regions).unwrap().unwrap();
        assert_eq!(found.algorithm, Algorithm::EcdsaP256);
        assert_eq!(found.region, regions);
        assert_eq!(found.service, "s3");
        let url = url("")
            .replace("HMAC", "ECDSA-P256")
            .replace(&CREDENTIAL.replace('/', "%2F"), credential)
            .replace(SIGNATURE, &signature);
        let query = format!("{url}&X-Amz-Region-Set={}", regions.replace('*', "%2A"));
        let found = read(&query, &[]).unwrap().unwrap();
        assert_eq!(
            (found.region.as_str(), &found.signature),
            (regions, &signature)
        );
    }
    let missing = Err(SigV4Error::Missing("X-Amz-Region-Set"));
    assert_eq!(with(&value, ""), missing);
    let long = "a,".repeat(600);
    for (value, regions) in [
        (value.as_str(), ","),
        (&value, "us east"),
        (&value, &long),
        (&value.replace("/s3/", "/us-east-1/s3/"), "*"),
        (&value.replace(&signature, &signature[1..]), "*"),
        (&value.replace(&signature, &format!("{signature}00")), "*"),
        (
            &value.replace(&signature, &signature.replace('5', "g")),
            "*",
        ),
    ] {
        let found = with(value, regions);
        assert!(
            matches!(found, Err(SigV4Error::Malformed { .. })),
            "{value} {regions}: {found:?}"
        );
    }
    let twice = [
        ("authorization", value.as_str()),
        DATE_HEADER,
        ("x-amz-region-set", "*"),
        ("x-amz-region-set", "*"),
    ];
    assert_eq!(
        read("", &twice),
        Err(SigV4Error::Doubled("x-amz-region-set"))
    );
}

#[test]
fn finds_the_session_token() {
    let value = header(CREDENTIAL, "host", SIGNATURE);
    let token = |query: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("authorization", value.as_str()), DATE_HEADER];
        headers.extend(more);
        let url = if query.is_empty() {
            String::new()
        } else {
            format!("{}&{query}", url(""))
        };
        let headers = if query.is_empty() { &headers[..] } else { more };
        read(&url, headers).map(|found| found.unwrap().session_token)
    };
    let long = "a".repeat(SESSION_TOKEN_BYTES);
    let header = "x-amz-security-token";
    let session = "x-amz-s3session-token";
    assert_eq!(token("", &[]), Ok(None));
    for name in [header, session] {
        assert_eq!(token("", &[(name, &long)]), Ok(Some(long.clone())));
        let escaped = token(&format!("{name}=a%2Fb%2B%3D"), &[]);
        assert_eq!(escaped, Ok(Some("a/b+=".to_owned())));
    }
    let same = token("X-Amz-Security-Token=a", &[(header, "a"), (session, "a")]);
    assert_eq!(same, Ok(Some("a".to_owned())));
    let doubled = Err(SigV4Error::Doubled("a session token"));
    assert_eq!(token("", &[(header, "a"), (session, "b")]), doubled);
    assert_eq!(token("X-Amz-Security-Token=a", &[(header, "b")]), doubled);
    assert_eq!(
        token("X-Amz-Security-Token=a&x-amz-s3session-token=b", &[]),
        doubled
    );
    let longer = format!("{long}a");
    for refused in [
        token("", &[(header, &longer)]),
        token(&format!("{header}={longer}"), &[]),
        token(&format!("{header}=%FF"), &[]),
    ] {
        assert!(
            matches!(refused, Err(SigV4Error::Malformed { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn refuses_what_is_missing() {
    for name in [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    ] {
        assert_eq!(read(&url(name), &[]), Err(SigV4Error::Missing(name)));
    }
    let value = header(CREDENTIAL, "host", SIGNATURE);
    assert_eq!(
        read("", &[("authorization", &value)]),
        Err(SigV4Error::Missing("x-amz-date"))
    );
    for part in ["Credential", "SignedHeaders", "Signature"] {
        let others: Vec<&str> = value
            .trim_start_matches("AWS4-HMAC-SHA256 ")
            .split(", ")
            .filter(|p| !p.starts_with(part))
            .collect();
        // `Signature` is no prefix of `SignedHeaders`, so that one part goes at a time.
        let value = format!("AWS4-HMAC-SHA256 {}", others.join(", "));
        let headers = [("authorization", value.as_str()), DATE_HEADER];
        assert_eq!(read("", &headers), Err(SigV4Error::Missing(part)));
    }
}

#[test]
fn refuses_what_is_malformed() {
    let long = "a;".repeat(200);
    for (credential, signed, signature) in [
        (
            "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3",
            "host",
            SIGNATURE,
        ),
        (
            "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request/x",
            "host",
            SIGNATURE,
        ),
        (
            "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws5_request",
            "host",
            SIGNATURE,
        ),
        (
            "AKIAIOSFODNN7EXAMPLE/20130525/us-east-1/s3/aws4_request",
            "host",
            SIGNATURE,
        ),
        ("AKIA/20130524/us-east-1/s3/aws4_request", "host", SIGNATURE),
        (
            "AKIAIOSFODNN7EXAM LE/20130524/us-east-1/s3/aws4_request",
            "host",
            SIGNATURE,
        ),
        (
            "AKIAIOSFODNN7EXAMPLE/20130524//s3/aws4_request",
            "host",
            SIGNATURE,
        ),
        (CREDENTIAL, "", SIGNATURE),
        (CREDENTIAL, "host;host", SIGNATURE),
        (CREDENTIAL, "range;host", SIGNATURE),
        (CREDENTIAL, "Host", SIGNATURE),
        (CREDENTIAL, &long, SIGNATURE),
        (CREDENTIAL, "host", &SIGNATURE[1..]),
        (CREDENTIAL, "host", &SIGNATURE.to_uppercase()),
    ] {
        let value = header(credential, signed, signature);
        let read = read("", &[("authorization", &value), DATE_HEADER]);
        assert!(
            matches!(read, Err(SigV4Error::Malformed { .. })),
            "{value}: {read:?}"
        );
    }
    let value = header(CREDENTIAL, "range", SIGNATURE);
    assert_eq!(
        read("", &[("authorization", &value), DATE_HEADER]),
        Err(SigV4Error::NotSigned("host".to_owned()))
    );
    for expires in ["0", "604801", "-1", "+1", "", "99999999999"] {
        let query = url("").replace("=86400", &format!("={expires}"));
        assert!(
            matches!(read(&query, &[]), Err(SigV4Error::Malformed { .. })),
            "{expires}"
        );
    }
    let huge = "a".repeat(AUTHORIZATION_BYTES + 1);
    assert!(matches!(
        read("", &[("authorization", &huge), DATE_HEADER]),
        Err(SigV4Error::Malformed { .. })
    ));
    assert!(matches!(
        read(&format!("X-Amz-Credential={huge}"), &[]),
        Err(SigV4Error::Malformed { .. })
    ));
}
