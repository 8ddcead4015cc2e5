use std::time::{Duration, UNIX_EPOCH};

use http::Request;
use http::request::Parts;
use proptest::prelude::*;

use super::*;
use crate::broker::{DummyCredentials, Issued};

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

const TTL: &str = "X-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "X-aws-ec2-metadata-token";
const NOW: u64 = 1_800_000_000;

fn token(own: &DummyCredentials, seconds: &str) -> Answer {
    let request = request("PUT", "/latest/api/token", &[(TTL, seconds)]);
    instance::answer(&request, own, None, at(NOW))
}

#[test]
fn each_address_has_its_service() {
    for (address, service) in [
        ("169.254.169.254:80", Some(Service::Instance)),
        ("[fd00:ec2::254]:80", Some(Service::Instance)),
        ("[::ffff:169.254.169.254]:80", Some(Service::Instance)),
        ("169.254.170.2:80", Some(Service::Task)),
        ("169.254.170.23:80", Some(Service::Pod)),
        ("[fd00:ec2::23]:80", Some(Service::Pod)),
        ("169.254.169.254:443", None),
        ("169.254.169.253:80", None),
        ("[fd00:ec2::253]:80", None),
        ("198.18.0.1:80", None),
    ] {
        assert_eq!(Service::at(address.parse().unwrap()), service, "{address}");
    }
}

#[test]
fn nothing_comes_without_a_token_that_holds() {
    let own = DummyCredentials::random();
    let Answer::Token {
        token: good,
        seconds: 60,
    } = token(&own, "60")
    else {
        panic!("no token");
    };
    let Answer::Token { token: foreign, .. } = token(&DummyCredentials::random(), "60") else {
        panic!("no token");
    };
    let get = |token: Option<&str>, now| {
        let headers: Vec<_> = token.iter().map(|token| (TOKEN, *token)).collect();
        let request = request(
            "GET",
            "/latest/meta-data/iam/security-credentials/guard",
            &headers,
        );
        instance::answer(&request, &own, None, at(now))
    };
    assert_eq!(get(Some(&good), NOW + 59), Answer::InstanceCredentials);
    let longer = format!("{:x}.{}", NOW + 600, good.split_once('.').unwrap().1);
    for (token, now) in [
        (None, NOW),
        (Some(good.as_str()), NOW + 60),
        (Some(foreign.as_str()), NOW),
        (Some(longer.as_str()), NOW),
        (Some(""), NOW),
        (Some("."), NOW),
    ] {
        let answer = get(token, now);
        assert!(
            matches!(answer, Answer::Refused(StatusCode::UNAUTHORIZED, _)),
            "{token:?} {answer:?}"
        );
    }
    for seconds in ["0", "21601", "x", "-1", ""] {
        let answer = token(&own, seconds);
        assert!(
            matches!(answer, Answer::Refused(StatusCode::BAD_REQUEST, _)),
            "{seconds} {answer:?}"
        );
    }
    let forwarded = request(
        "PUT",
        "/latest/api/token",
        &[(TTL, "60"), ("X-Forwarded-For", "a")],
    );
    let answer = instance::answer(&forwarded, &own, None, at(NOW));
    assert!(matches!(answer, Answer::Refused(StatusCode::FORBIDDEN, _)));
}

#[test]
fn the_instance_knows_its_role_and_region_and_no_more() {
    let own = DummyCredentials::random();
    let Answer::Token { token, .. } = token(&own, "60") else {
        panic!("no token");
    };
    let get = |path: &str, region| {
        instance::answer(
            &request("GET", path, &[(TOKEN, &token)]),
            &own,
            region,
            at(NOW),
        )
    };
    let text = |text: &str| Answer::Text(text.to_owned());
    let data = "/latest/meta-data/";
    let region = Some("eu-west-1");
    assert_eq!(
        get(&format!("{data}iam/security-credentials/"), region),
        text("guard")
    );
    assert_eq!(
        get(&format!("{data}iam/security-credentials"), region),
        text("guard")
    );
    assert_eq!(
        get(&format!("{data}placement/region"), region),
        text("eu-west-1")
    );
    assert_eq!(
        get(&format!("{data}placement/availability-zone/"), region),
        text("eu-west-1a")
    );
    let Answer::Text(info) = get(&format!("{data}iam/info"), None) else {
        panic!("no profile");
    };
    assert!(info.contains("\"Code\":\"Success\""), "{info}");
    assert_eq!(
        get("/latest/dynamic/instance-identity/document", region),
        text("{\"region\":\"eu-west-1\"}")
    );
    for path in [
        "/latest/dynamic/instance-identity/document",
        "/latest/meta-data/placement/region",
        "/latest/meta-data/placement/availability-zone",
        "/latest/user-data",
        "/latest/meta-data/",
        "/latest/meta-data/iam/security-credentials-extended/",
        "/latest/meta-data/iam/security-credentials/other",
        "/",
    ] {
        assert_eq!(get(path, None), Answer::NotFound, "{path}");
    }
}

#[test]
fn guards_own_path_needs_its_token() {
    let own = DummyCredentials::random();
    let good = own.container_token();
    let ask = |service, method, path: &str, token: Option<&str>| {
        let headers: Vec<_> = token
            .iter()
            .map(|token| ("authorization", *token))
            .collect();
        container::answer(&request(method, path, &headers), &own, service)
    };
    let given = Answer::ContainerCredentials;
    assert_eq!(
        ask(Service::Pod, "GET", "/guard/credentials", Some(&good)),
        given
    );
    assert_eq!(
        ask(Service::Pod, "GET", "/v1/credentials", Some("theirs")),
        given
    );
    for path in [
        "/v2/credentials/id",
        "/v2/credentials",
        "/creds/id?x",
        "/_sagemaker-instance-credentials/id",
    ] {
        assert_eq!(ask(Service::Task, "GET", path, None), given, "{path}");
    }
    for token in [None, Some("theirs"), Some("")] {
        let answer = ask(Service::Pod, "GET", "/guard/credentials", token);
        assert!(
            matches!(answer, Answer::Refused(StatusCode::UNAUTHORIZED, _)),
            "{answer:?}"
        );
    }
    for (service, path) in [
        (Service::Task, "/"),
        (Service::Task, "/guard/credentials"),
        (Service::Task, "/v2/metadata"),
        (Service::Task, "/v3/id/task"),
        (Service::Task, "/v4/id"),
        (Service::Pod, "/"),
        (Service::Pod, "/credentials"),
        (Service::Pod, "/v2/credentials/id"),
    ] {
        assert_eq!(
            ask(service, "GET", path, Some(&good)),
            Answer::NotFound,
            "{path}"
        );
    }
    let posted = ask(Service::Task, "POST", "/v2/credentials/id", None);
    assert!(matches!(
        posted,
        Answer::Refused(StatusCode::METHOD_NOT_ALLOWED, _)
    ));
}

#[test]
fn credentials_have_the_form_that_sdks_read() {
    let issued = Issued::new(DummyCredentials::random());
    let issue = issued.lent(at(NOW));
    for text in [
        instance::credentials(&issue, at(NOW)),
        container::credentials(&issue),
    ] {
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["AccessKeyId"], issue.dummy.access_key_id);
        assert_eq!(read["Expiration"], "2027-01-15T09:00:00Z");
        assert!(
            read["Token"]
                .as_str()
                .is_some_and(|token| token.len() == 128)
        );
    }
}

#[test]
fn a_process_and_its_dummies_are_told_once() {
    let lent = Lent::default();
    let process = |pid, started| Process {
        pid,
        started: Some(started),
        ..Process::default()
    };
    assert!(!lent.knows(&process(1, 5), "a"));
    lent.note(&process(1, 5), "a");
    assert!(lent.knows(&process(1, 5), "a"));
    // Other dummies, another process, and another one of the same number.
    for (other, key) in [
        (process(1, 5), "b"),
        (process(2, 5), "a"),
        (process(1, 6), "a"),
    ] {
        assert!(!lent.knows(&other, key));
    }
    for pid in 0..10_000 {
        lent.note(&process(pid, 5), "c");
    }
    assert!(lent.0.lock().unwrap().len() <= MOST_LENT);
}

proptest! {
    #[test]
    fn never_panics(path in "/[ -~&&[^ ]]{0,60}", token in "[ -~]{0,80}") {
        if let Ok(request) = Request::builder().uri(path.as_str()).header(TOKEN, &token).body(()) {
            let parts = request.into_parts().0;
            let own = DummyCredentials::random();
            let answer = instance::answer(&parts, &own, Some("r"), at(NOW));
            prop_assert!(matches!(answer, Answer::Refused(..)), "{answer:?}");
        }
    }
}
