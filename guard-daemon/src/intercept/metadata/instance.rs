//! EC2's instance metadata, version 2: a session token is asked for by PUT, and every GET must carry it. Version 1
//! is off, so that no request that a confined server was tricked into makes out the dummies.
//!
//! Source: Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::json;

use super::{Answer, parts_of, time};
use crate::broker::{DummyCredentials, Issue};

/// The role that the instance seems to have.
const ROLE: &str = "guard";
/// Seconds that a token may last: six hours.
const LONGEST: u32 = 21_600;
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// Below this the metadata is.
const DATA: &str = "/latest/meta-data/";

/// Answers one request. `own` are the session's dummies, whose secret the tokens are made with: they need no
/// storing, and hold for this session alone.
pub(super) fn answer(
    parts: &Parts,
    own: &DummyCredentials,
    region: Option<&str>,
    now: SystemTime,
) -> Answer {
    let seconds = |at: SystemTime| {
        at.duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    };
    let path = parts.uri.path();
    if path == "/latest/api/token" {
        return give(parts, own, seconds(now));
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return Answer::Refused(StatusCode::METHOD_NOT_ALLOWED, "it takes GET and PUT alone");
    }
    let token = parts.headers.get(TOKEN).map(http::HeaderValue::as_bytes);
    if !token.is_some_and(|token| holds(token, own, seconds(now))) {
        return Answer::Refused(
            StatusCode::UNAUTHORIZED,
            "a token is needed (IMDSv2), and this one is missing or not good any more",
        );
    }
    if path == "/latest/dynamic/instance-identity/document" {
        return match region {
            Some(region) => Answer::Text(json!({ "region": region }).to_string()),
            None => Answer::NotFound,
        };
    }
    match path.strip_prefix(DATA) {
        Some("iam/security-credentials" | "iam/security-credentials/") => {
            Answer::Text(ROLE.to_owned())
        }
        Some(path) if path.strip_prefix("iam/security-credentials/") == Some(ROLE) => {
            Answer::InstanceCredentials
        }
        Some("placement/region" | "placement/region/") => {
            region.map_or(Answer::NotFound, |region| Answer::Text(region.to_owned()))
        }
        // Older SDKs cut the region out of the zone. Which one it is, guard does not know.
        Some("placement/availability-zone" | "placement/availability-zone/") => region
            .map_or(Answer::NotFound, |region| {
                Answer::Text(format!("{region}a"))
            }),
        // What the SDK for .NET reads first.
        Some("iam/info" | "iam/info/") => Answer::Text(
            json!({
                "Code": "Success",
                "LastUpdated": time(now),
                "InstanceProfileArn": format!("arn:aws:iam::000000000000:instance-profile/{ROLE}"),
                "InstanceProfileId": "AIPAGUARDGUARDGUARD00",
            })
            .to_string(),
        ),
        _ => Answer::NotFound,
    }
}

/// The credentials, as the service writes them.
pub(super) fn credentials(issue: &Issue, now: SystemTime) -> String {
    let mut all = parts_of(issue);
    all["Code"] = "Success".into();
    all["Type"] = "AWS-HMAC".into();
    all["LastUpdated"] = time(now).into();
    all.to_string()
}

fn give(parts: &Parts, own: &DummyCredentials, now: u64) -> Answer {
    if parts.method != Method::PUT {
        return Answer::Refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "a token is asked for by PUT",
        );
    }
    // As the real one: a request that came through a proxy is none of the instance's own.
    if parts.headers.contains_key("x-forwarded-for") {
        return Answer::Refused(StatusCode::FORBIDDEN, "it was forwarded (X-Forwarded-For)");
    }
    let seconds = parts.headers.get(TTL).and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|text| text.trim().parse().ok());
    match seconds.filter(|seconds| (1..=LONGEST).contains(seconds)) {
        Some(seconds) => {
            let until = now + u64::from(seconds);
            Answer::Token {
                token: format!("{until:x}.{}", seal(own, until)),
                seconds,
            }
        }
        None => Answer::Refused(
            StatusCode::BAD_REQUEST,
            "X-aws-ec2-metadata-token-ttl-seconds must be 1 to 21600",
        ),
    }
}

fn holds(token: &[u8], own: &DummyCredentials, now: u64) -> bool {
    let Some((until, sealed)) = str::from_utf8(token).ok().and_then(|it| it.split_once('.')) else {
        return false;
    };
    let Ok(until) = u64::from_str_radix(until, 16) else {
        return false;
    };
    until > now && verify_slices_are_equal(seal(own, until).as_bytes(), sealed.as_bytes()).is_ok()
}

fn seal(own: &DummyCredentials, until: u64) -> String {
    let key = Key::new(HMAC_SHA256, own.secret_access_key.as_bytes());
    hex::encode(hmac::sign(
        &key,
        format!("guard metadata token {until:x}").as_bytes(),
    ))
}
