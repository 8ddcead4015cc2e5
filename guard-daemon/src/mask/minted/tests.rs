use proptest::prelude::*;

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEBYaDK+/==token";

fn sts() -> Minting {
    minting("sts", "AssumeRole").unwrap()
}

fn answer() -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><AssumedRoleId>AROAX:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/R/s</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>ASIAREAL</AccessKeyId><SecretAccessKey>\n{SECRET} </SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>2030-01-02T03:04:05Z</Expiration></Credentials>\
         </AssumeRoleResult></AssumeRoleResponse>",
        TOKEN.replace('+', "&#43;")
    )
}

fn replaced(minting: Minting, protocol: Protocol, body: &str) -> Result<String, MaskError> {
    let mints = find(minting, protocol, body.as_bytes())?;
    let dummies: Vec<_> = mints.found.iter().map(|_| dummy()).collect();
    let bytes = replace(minting, body.as_bytes(), &mints, &dummies)?;
    Ok(String::from_utf8(bytes.into()).unwrap())
}

fn dummy() -> DummyCredentials {
    DummyCredentials {
        access_key_id: "ASIADUMMY".to_owned(),
        secret_access_key: "dummy-secret".to_owned(),
        session_token: Some("dummy-token".to_owned()),
    }
}

#[test]
fn an_xml_answer_keeps_all_but_the_three() {
    let mints = find(sts(), Protocol::Query, answer().as_bytes()).unwrap();
    assert_eq!(mints.found.len(), 1);
    let found = &mints.found[0];
    assert_eq!(found.access_key_id, "ASIAREAL");
    assert_eq!(found.secret_access_key.as_str(), SECRET);
    assert_eq!(found.session_token.as_str(), TOKEN);
    let expiry = OffsetDateTime::from(found.expiry.unwrap());
    assert_eq!(expiry.unix_timestamp(), 1_893_553_445);
    let named = mints.principal.unwrap();
    assert_eq!(
        named.arn.as_deref(),
        Some("arn:aws:sts::123456789012:assumed-role/R/s")
    );
    assert_eq!(named.id.as_deref(), Some("AROAX:s"));
    let expected = answer()
        .replace("ASIAREAL", "ASIADUMMY")
        .replace(SECRET, "dummy-secret")
        .replace(&TOKEN.replace('+', "&#43;"), "dummy-token");
    assert_eq!(replaced(sts(), Protocol::Query, &answer()), Ok(expected));
}

#[test]
fn json_answers_of_every_shape_are_read() {
    let three = |id: &str| {
        format!(
            "\"accessKeyId\": \"{id}\",\"secretAccessKey\":\"{}\",\"sessionToken\":\"{TOKEN}\"",
            SECRET.replace('/', "\\/")
        )
    };
    for (service, operation, body, sets) in [
        (
            "sso",
            "GetRoleCredentials",
            format!(
                "{{\"roleCredentials\":{{{},\"expiration\":1893553445000}}}}",
                three("A")
            ),
            1,
        ),
        (
            "datazone",
            "GetEnvironmentCredentials",
            format!(
                "{{{}, \"expiration\": \"2030-01-02T03:04:05Z\"}}",
                three("A")
            ),
            1,
        ),
        (
            "codepipeline",
            "PollForJobs",
            format!(
                "{{\"jobs\":[{{\"data\":{{\"artifactCredentials\":{{{}}}}}}},{{\"data\":null}},{{\"data\":{{\
                 \"artifactCredentials\":{{{}}}}}}}]}}",
                three("A"),
                three("B")
            ),
            2,
        ),
        (
            "datazone",
            "GetConnection",
            "{\"connectionCredentials\":null}".to_owned(),
            0,
        ),
        ("datazone", "GetConnection", "{}".to_owned(), 0),
        ("datazone", "GetConnection", String::new(), 0),
        (
            "cognito-identity",
            "GetCredentialsForIdentity",
            format!(
                "{{\"Credentials\":{{\"AccessKeyId\":\"A\",\"SecretKey\":\"{SECRET}\",\"SessionToken\":\"{TOKEN}\",\
                 \"Expiration\":1.893553445E9}},\"IdentityId\":\"i\"}}"
            ),
            1,
        ),
    ] {
        let minting = minting(service, operation).unwrap();
        let mints = find(minting, Protocol::Json11, body.as_bytes()).unwrap();
        assert_eq!(mints.found.len(), sets, "{operation}");
        for found in &mints.found {
            assert_eq!(found.secret_access_key.as_str(), SECRET);
            assert_eq!(found.session_token.as_str(), TOKEN);
            if let Some(expiry) = found.expiry {
                assert_eq!(OffsetDateTime::from(expiry).unix_timestamp(), 1_893_553_445);
            }
        }
        let after = replaced(minting, Protocol::Json11, &body).unwrap();
        assert_eq!(after.matches("dummy-secret").count(), sets, "{after}");
        assert!(serde_json::from_str::<serde_json::Value>(&after).is_ok() || body.is_empty());
    }
}

#[test]
fn what_is_not_a_whole_set_is_withheld() {
    let xml = [
        answer().replace("SecretAccessKey>", "Other>"),
        answer().replace("<AccessKeyId>ASIAREAL</AccessKeyId>", ""),
        answer().replace("<SessionToken>", "<SessionToken><b/>"),
        answer().replace("<SessionToken>", "<SessionToken><![CDATA[a]]>"),
        answer().replace(
            "<AccessKeyId>",
            "<SecretAccessKey>x</SecretAccessKey><AccessKeyId>",
        ),
        answer().replace("<Credentials>", "<Credentials></Credentials><Credentials>"),
        answer().replace(
            "<AssumedRoleUser>",
            &format!("<Copy>{SECRET}</Copy><AssumedRoleUser>"),
        ),
        answer().replace("<?xml version=\"1.0\"?>", "<!DOCTYPE a>"),
        answer().replace("</AssumeRoleResponse>", ""),
        answer().replace("ASIAREAL", ""),
    ];
    for body in xml {
        let after = replaced(sts(), Protocol::Query, &body);
        assert!(after.is_err(), "{body}\n{after:?}");
    }
    let of = minting("eks-auth", "AssumeRoleForPodIdentity").unwrap();
    for body in [
        "{\"credentials\":{\"accessKeyId\":\"A\"}}".to_owned(),
        "{\"credentials\":[]}".to_owned(),
        "{\"credentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":1,\"sessionToken\":\"t\"}}"
            .to_owned(),
        format!(
            "{{\"credentials\":null,\"credentials\":{{\"accessKeyId\":\"A\",\"secretAccessKey\":\"{SECRET}\",\
             \"sessionToken\":\"t\"}}}}"
        ),
        format!(
            "{{\"credentials\":{{\"accessKeyId\":\"A\",\"secretAccessKey\":\"x\",\"secretAccessKey\":\"{SECRET}\",\
             \"sessionToken\":\"t\"}}}}"
        ),
        "[".to_owned(),
    ] {
        assert!(replaced(of, Protocol::RestJson, &body).is_err(), "{body}");
    }
    let cbor = find(of, Protocol::Cbor, b"\xa0").map(|_| ());
    assert_eq!(cbor, Err(MaskError::Unsupported { what: "CBOR" }));
}

proptest! {
    #[test]
    fn no_document_with_one_change_yields_the_secret(at in 0usize..800, with in "[ -~]{0,12}", cut in 0usize..12) {
        let body = answer();
        let at = body.floor_char_boundary(at.min(body.len()));
        let end = body.floor_char_boundary((at + cut).min(body.len()));
        let changed = format!("{}{with}{}", &body[..at], &body[end..]);
        let outside = !changed.contains("<Credentials>") || !changed.contains("Result>");
        if let Ok(after) = replaced(sts(), Protocol::Query, &changed) {
            // A document that is no longer STS's has no credentials for any client.
            let told = after.contains("dummy-secret") || outside || !after.contains("<AssumeRoleResult>");
            prop_assert!(told || !after.contains(SECRET), "{after}");
        }
    }

    #[test]
    fn never_panics(body in "[ -~<>/\"{}\\[\\]]{0,200}") {
        let _ = find(sts(), Protocol::Query, body.as_bytes());
        let _ = find(sts(), Protocol::Json10, body.as_bytes());
    }
}
