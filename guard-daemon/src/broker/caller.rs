//! STS GetCallerIdentity: whose credentials they are.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use quick_xml::Reader;
use quick_xml::events::Event;

use crate::aws::Scope;
use crate::aws::sigv4::{self, Payload, SigV4Error, SignAs};

const BODY: &[u8] = b"Action=GetCallerIdentity&Version=2011-06-15";
/// Bytes of a response that are looked at.
const RESPONSE_BYTES: usize = 64 * 1024;

/// The signed request, with an absolute URI.
pub(super) fn request(
    region: Option<&str>,
    credentials: &Credentials,
    now: SystemTime,
) -> Result<Request<Bytes>, SigV4Error> {
    let (host, region) = endpoint(region);
    let request = Request::post(format!("https://{host}/"))
        .header(
            CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .header(CONTENT_LENGTH, BODY.len())
        .body(Bytes::from_static(BODY))
        .map_err(|_invalid| SigV4Error::Unsignable("its region is not part of a host name"))?;
    let (mut parts, body) = request.into_parts();
    let scope = Scope {
        region,
        service: "sts",
    };
    sigv4::sign(
        &mut parts,
        &host,
        Payload::Bytes(BODY),
        scope,
        credentials,
        SignAs::default(),
        now,
    )?;
    Ok(Request::from_parts(parts, body))
}

/// STS's host for a region, and the region to sign for. Without a region it is the global endpoint.
pub(super) fn endpoint(region: Option<&str>) -> (String, &str) {
    let Some(region) = region.filter(|region| !region.is_empty() && *region != "aws-global") else {
        return ("sts.amazonaws.com".to_owned(), "us-east-1");
    };
    // The partitions of botocore's partitions.json, by the prefix of their regions.
    let suffix = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isof-", "csp.hci.ic.gov"),
    ]
    .into_iter()
    .find(|(prefix, _)| region.starts_with(prefix))
    .map_or("amazonaws.com", |(_, suffix)| suffix);
    (format!("sts.{region}.{suffix}"), region)
}

/// Whose credentials they are, as STS says.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// The account, 12 digits.
    pub account: String,
    /// The ARN of the user or assumed role; `None` where STS was not asked, or said something else.
    pub arn: Option<String>,
    /// The unique identifier (`aws:userid`).
    pub user_id: Option<String>,
}

/// The principal in a response; else what is wrong with it.
pub(super) fn principal(response: &Response<Bytes>) -> Result<Principal, String> {
    if response.status() != StatusCode::OK {
        return Err(format!("STS answered {}", response.status()));
    }
    let body = response.body();
    let body = body.get(..RESPONSE_BYTES).unwrap_or(body.as_ref());
    let mut reader = Reader::from_reader(body);
    let [mut account, mut arn, mut user_id] = [None, None, None];
    let mut inside = String::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => start.local_name().as_ref().clone_into(&mut inside),
            Ok(Event::Text(text)) => {
                let member = match inside.as_str() {
                    "Account" => &mut account,
                    "Arn" => &mut arn,
                    "UserId" => &mut user_id,
                    _ => continue,
                };
                *member = Some(text.trim().to_owned());
            }
            Ok(Event::End(_)) => inside.clear(),
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => return Err(format!("STS's answer is not XML: {error}")),
        }
    }
    let account: String = account.ok_or("STS's answer has no account")?;
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err("STS's answer has an account that is not 12 digits".to_owned());
    }
    Ok(Principal {
        account,
        arn: arn.filter(|it: &String| it.starts_with("arn:")),
        user_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Principal, String> {
        principal(
            &Response::builder()
                .status(status)
                .body(Bytes::from(body.to_owned()))
                .unwrap(),
        )
    }

    #[test]
    fn reads_the_principal() {
        let body = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
            <GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/a</Arn><UserId>AIDA</UserId>\
            <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
        let principal = Principal {
            account: "123456789012".to_owned(),
            arn: Some("arn:aws:iam::123456789012:user/a".to_owned()),
            user_id: Some("AIDA".to_owned()),
        };
        assert_eq!(answer(200, body), Ok(principal));
        assert!(answer(403, body).is_err());
        for odd in [
            "",
            "{}",
            "<Account>1</Account>",
            "<Account/>123456789012",
            "<a><Account>",
        ] {
            assert!(answer(200, odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn knows_the_endpoint() {
        for (region, host, scope) in [
            (None, "sts.amazonaws.com", "us-east-1"),
            (Some("aws-global"), "sts.amazonaws.com", "us-east-1"),
            (
                Some("eu-west-1"),
                "sts.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                Some("us-gov-west-1"),
                "sts.us-gov-west-1.amazonaws.com",
                "us-gov-west-1",
            ),
            (
                Some("cn-north-1"),
                "sts.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                Some("us-isob-east-1"),
                "sts.us-isob-east-1.sc2s.sgov.gov",
                "us-isob-east-1",
            ),
        ] {
            assert_eq!(endpoint(region), (host.to_owned(), scope));
        }
    }

    #[test]
    fn the_request_is_signed() {
        let credentials = Credentials::new("AKIAREALREALREALREAL", "secret", None, None, "test");
        let request = request(Some("eu-west-1"), &credentials, SystemTime::now()).unwrap();
        let authorization = request.headers()["authorization"].to_str().unwrap();
        assert!(
            authorization.contains("/eu-west-1/sts/aws4_request"),
            "{authorization}"
        );
        assert_eq!(request.uri(), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(request.headers()["host"], "sts.eu-west-1.amazonaws.com");
        let odd = super::request(Some("eu west/1"), &credentials, SystemTime::now());
        assert!(matches!(odd, Err(SigV4Error::Unsignable(_))));
    }
}
