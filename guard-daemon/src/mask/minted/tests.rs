//! Credentials in answers of real operations, by the catalog.

use std::time::{Duration, SystemTime};

use http::Response;
use proptest::prelude::*;

use super::*;
use crate::aws::{Protocol, catalog};
use crate::broker::DummyCredentials;
use crate::mask::{MaskError, Minting, mask_response};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "FwoGZXIvYXdzEBYaDK+/==token";

fn dummy() -> DummyCredentials {
    DummyCredentials {
        access_key_id: "ASIADUMMY".to_owned(),
        secret_access_key: "dummysecret".to_owned(),
        session_token: Some("dummytoken".to_owned()),
    }
}

struct Minted<B = String> {
    body: B,
    paths: Vec<String>,
    fresh: Vec<Fresh>,
}

fn mint(
    service: &str,
    operation: &str,
    protocol: Protocol,
    masks: bool,
    body: &str,
) -> Result<Minted, MaskError> {
    let minted = mint_bytes(service, operation, protocol, masks, body.into())?;
    Ok(Minted {
        body: String::from_utf8(minted.body).expect("UTF-8"),
        paths: minted.paths,
        fresh: minted.fresh,
    })
}

fn mint_bytes(
    service: &str,
    operation: &str,
    protocol: Protocol,
    masks: bool,
    body: Vec<u8>,
) -> Result<Minted<Vec<u8>>, MaskError> {
    let output = catalog::output(service, operation).expect("an output");
    let mut fresh = Vec::new();
    let mut issue = |it| {
        fresh.push(it);
        dummy()
    };
    let mut minting = Minting {
        mints: Mints::of(service, operation).expect("it mints"),
        issue: &mut issue,
    };
    let (mut parts, ()) = Response::new(()).into_parts();
    let (body, paths) = mask_response(
        output,
        protocol,
        &mut parts,
        body.into(),
        &|_| masks,
        Some(&mut minting),
    )?;
    Ok(Minted {
        body: body.into(),
        paths,
        fresh,
    })
}

fn answer() -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
         <AssumedRoleUser><AssumedRoleId>AROAX:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/R/s</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>ASIAREAL</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>2030-01-02T03:04:05Z</Expiration></Credentials>\
         </AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>",
        TOKEN.replace('+', "&#43;")
    )
}

fn sts(body: &str) -> Result<Minted, MaskError> {
    mint("sts", "AssumeRole", Protocol::Query, true, body)
}

#[test]
fn an_answer_keeps_all_but_the_three() {
    for masks in [true, false] {
        let minted = mint("sts", "AssumeRole", Protocol::Query, masks, &answer()).unwrap();
        let expected = answer()
            .replace("ASIAREAL", "ASIADUMMY")
            .replace(SECRET, "dummysecret")
            .replace(&TOKEN.replace('+', "&#43;"), "dummytoken");
        assert_eq!(minted.body, expected);
        assert_eq!(
            minted.paths,
            [
                "Credentials.AccessKeyId",
                "Credentials.SecretAccessKey",
                "Credentials.SessionToken"
            ]
        );
        let [fresh] = minted.fresh.as_slice() else {
            panic!("one set")
        };
        assert_eq!(fresh.access_key_id, "ASIAREAL");
        assert_eq!(fresh.secret_access_key.as_str(), SECRET);
        assert_eq!(fresh.session_token.as_str(), TOKEN);
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_553_445);
        assert_eq!(fresh.expiry, Some(expiry));
        let arn = "arn:aws:sts::123456789012:assumed-role/R/s";
        assert_eq!(fresh.arn.as_deref(), Some(arn));
        assert_eq!(fresh.user_id.as_deref(), Some("AROAX:s"));
    }
}

#[test]
fn what_is_not_a_whole_set_is_withheld() {
    for body in [
        answer().replace("SecretAccessKey>", "Other>"),
        answer().replace("<AccessKeyId>ASIAREAL</AccessKeyId>", ""),
        answer().replace("<SessionToken>", "<SessionToken><b/>"),
        answer().replace("<SessionToken>", "<SessionToken><![CDATA[a]]>"),
        answer().replace("<SessionToken>", "<SessionToken><!-- a -->"),
        answer().replace(
            "<AccessKeyId>",
            "<SecretAccessKey>x</SecretAccessKey><AccessKeyId>",
        ),
        answer().replace(
            "<AssumedRoleUser>",
            &format!("<Copy>{SECRET}</Copy><AssumedRoleUser>"),
        ),
        answer().replace("<?xml version=\"1.0\"?>", "<!DOCTYPE a>"),
        answer().replace("</AssumeRoleResponse>", ""),
        answer().replace("ASIAREAL", ""),
        // Another structure than the model's: a client would not find them, but an agent could.
        answer().replace("Credentials>", "credentials>"),
        answer().replace("AssumeRoleResult>", "A><B>"),
        answer().replace("2030-01-02T03:04:05Z", "soon"),
        "<AssumeRoleResponse/>".to_owned(),
        String::from(" "),
    ] {
        let after = sts(&body).map(|it| it.body);
        assert!(after.is_err(), "{body}\n{after:?}");
    }
    let pods = |body: &str| {
        let (service, operation) = ("eks-auth", "AssumeRoleForPodIdentity");
        let minted = mint(service, operation, Protocol::RestJson, false, body);
        minted.map(|it| it.body)
    };
    for body in [
        "{\"credentials\":{\"accessKeyId\":\"A\"}}".to_owned(),
        "{\"credentials\":[]}".to_owned(),
        "{\"credentials\":null}".to_owned(),
        "{}".to_owned(),
        "{\"credentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":1,\"sessionToken\":\"t\"}}"
            .to_owned(),
        format!(
            "{{\"credentials\":{{\"accessKeyId\":\"A\",\"secretAccessKey\":\"x\",\"secretAccessKey\":\"{SECRET}\",\
             \"sessionToken\":\"t\"}}}}"
        ),
        "[".to_owned(),
    ] {
        assert!(pods(&body).is_err(), "{body}");
    }
}

#[test]
fn what_need_not_be_there_may_be_absent() {
    for body in [
        "{\"connectionCredentials\":null}",
        "{\"connectionCredentials\":{}}",
        "{\"connectionCredentials\":{\"expiration\":\"2030-01-02T03:04:05Z\"}}",
        "{}",
        "",
    ] {
        let minted = mint("datazone", "GetConnection", Protocol::RestJson, false, body).unwrap();
        assert_eq!(minted.body, body);
        assert!(minted.fresh.is_empty());
    }
}

#[test]
fn each_of_several_sets_has_its_own_dummies() {
    let set = |key: &str| {
        format!(
            "{{\"data\":{{\"artifactCredentials\":{{\"accessKeyId\": \"{key}\",\"secretAccessKey\":\"{}\",\
             \"sessionToken\":\"{TOKEN}{key}\"}}}}}}",
            SECRET.replace('/', "\\/")
        )
    };
    let body = format!(
        "{{\"jobs\":[{},{{\"data\":null}},null,{}]}}",
        set("A"),
        set("B")
    );
    let minted = mint("codepipeline", "PollForJobs", Protocol::Json11, true, &body).unwrap();
    let keys: Vec<_> = minted
        .fresh
        .iter()
        .map(|it| it.access_key_id.as_str())
        .collect();
    assert_eq!(keys, ["A", "B"]);
    assert!(
        minted
            .fresh
            .iter()
            .all(|it| it.secret_access_key.as_str() == SECRET)
    );
    assert_eq!(minted.body.matches("\"dummysecret\"").count(), 2);
    assert!(serde_json::from_str::<serde_json::Value>(&minted.body).is_ok());
}

#[test]
fn what_else_is_secret_is_masked_as_ever() {
    let body = format!(
        "{{\"accessToken\":{{\"accessKeyId\":\"A\",\"secretAccessKey\":\"{SECRET}\",\"sessionToken\":\"{TOKEN}\"}},\
         \"tokenType\":\"aws_sigv4\",\"expiresIn\":900,\"refreshToken\":\"hunter2\"}}"
    );
    let minted = mint(
        "signin",
        "CreateOAuth2Token",
        Protocol::RestJson,
        true,
        &body,
    )
    .unwrap();
    assert!(!minted.body.contains("hunter"), "{}", minted.body);
    assert!(minted.body.contains("\"accessKeyId\":\"ASIADUMMY\""));
    assert!(minted.body.contains("aws_sigv4"), "{}", minted.body);
}

#[test]
fn cbor_keeps_all_but_the_three() {
    // {"UploadCredentials": {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration": 1(seconds)}, "n": 7}
    let answer = |id: &str, secret: &str, token: &str, expiration: &[u8]| {
        let item = |text: &str| minicbor::to_vec(text).unwrap();
        let mut body = vec![0xa2];
        body.extend(item("UploadCredentials"));
        body.push(0xbf);
        for (name, value) in [
            ("SecretAccessKey", item(secret)),
            ("AccessKeyId", item(id)),
            ("SessionToken", item(token)),
            ("Expiration", expiration.to_vec()),
        ] {
            body.extend(item(name));
            body.extend(value);
        }
        body.extend([0xff, 0x61, b'n', 0x07]);
        body
    };
    let run = |body: Vec<u8>| {
        mint_bytes(
            "gamelift",
            "RequestUploadCredentials",
            Protocol::Cbor,
            false,
            body,
        )
    };
    for expiration in [
        &b"\xc1\x1a\x70\xdd\x55\x25"[..],
        b"\xc1\xfb\x41\xdc\x37\x55\x49\x40\x00\x00",
        b"\x1a\x70\xdd\x55\x25",
    ] {
        let Minted { body, paths, fresh } =
            run(answer("ASIAREAL", SECRET, TOKEN, expiration)).unwrap();
        assert_eq!(
            body,
            answer("ASIADUMMY", "dummysecret", "dummytoken", expiration)
        );
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert_eq!(fresh[0].secret_access_key.as_str(), SECRET);
        assert_eq!(fresh[0].session_token.as_str(), TOKEN);
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_553_445);
        assert_eq!(fresh[0].expiry, Some(expiry));
    }
    let whole = || answer("ASIAREAL", SECRET, TOKEN, b"\x00");
    let twice = [
        &whole()[..whole().len() - 1],
        &minicbor::to_vec(SECRET).unwrap(),
    ]
    .concat();
    for body in [
        answer("", SECRET, TOKEN, b"\x00"),
        answer("ASIAREAL", SECRET, TOKEN, b"\x61s"),
        answer("ASIAREAL", SECRET, TOKEN, b"\xc2\x41\x01"),
        answer("ASIAREAL", SECRET, TOKEN, b"\xf9\x3e\x00"),
        answer("ASIAREAL", SECRET, TOKEN, b"\x20"),
        twice,
        vec![0x01],
    ] {
        assert!(run(body.clone()).is_err(), "{body:x?}");
    }
}

#[test]
fn every_operation_of_the_table_is_in_the_catalog() {
    for mints in table::TABLE {
        let output = catalog::output(mints.service, mints.operation);
        assert!(output.is_some(), "{mints}");
    }
    assert!(Mints::of("sts", "GetCallerIdentity").is_none());
    assert!(Mints::of("iam", "CreateAccessKey").is_none());
}

proptest! {
    #[test]
    fn whatever_is_changed_in_an_answer_the_secret_is_not_in_it(
        at in 0usize..900,
        with in "[ -~]{0,12}",
        cut in 0usize..12,
    ) {
        let body = answer();
        let at = at.min(body.len());
        let end = (at + cut).min(body.len());
        let changed = format!("{}{with}{}", &body[..at], &body[end..]);
        if let Ok(minted) = sts(&changed) {
            prop_assert!(!minted.body.contains(SECRET), "{}", minted.body);
            prop_assert_eq!(minted.fresh.len(), 1);
        }
    }

    #[test]
    fn never_panics(body in "[ -~<>/\"{}\\[\\]]{0,200}") {
        let _ = sts(&body);
        let _ = mint("sso", "GetRoleCredentials", Protocol::RestJson, true, &body);
    }
}
