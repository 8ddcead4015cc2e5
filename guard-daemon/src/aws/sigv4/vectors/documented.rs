//! Amazon S3 API Reference, "Signature Calculations for the Authorization Header" and "Authenticating
//! Requests: Using Query Parameters": the examples with their published signatures.

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOST: &str = "examplebucket.s3.amazonaws.com";

fn example(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    signature: &str,
) -> Wire {
    let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    names.extend(["host", "x-amz-date"]);
    names.sort_unstable();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={},Signature={signature}",
        names.join(";")
    );
    let mut all = headers.to_vec();
    all.extend([
        ("host", HOST),
        ("x-amz-date", "20130524T000000Z"),
        ("authorization", authorization.as_str()),
    ]);
    Wire::new(method, HOST, target, &all, body)
}

fn examples() -> [Wire; 5] {
    let hash = ("x-amz-content-sha256", EMPTY);
    [
        example(
            "GET",
            "/test.txt",
            &[("range", "bytes=0-9"), hash],
            b"",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        example(
            "PUT",
            // As published; the canonical request has `%24`.
            "/test$file.text",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                (
                    "x-amz-content-sha256",
                    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                ),
            ],
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        example(
            "GET",
            "/?lifecycle",
            &[hash],
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        example(
            "GET",
            "/?max-keys=2&prefix=J",
            &[hash],
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        Wire::new(
            "GET",
            HOST,
            "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
            &[("host", HOST)],
            b"",
        ),
    ]
}

#[test]
fn s3_examples_verify() {
    let now = at("20130524T000000Z");
    for wire in examples() {
        assert_eq!(
            wire.check(SECRET, now),
            Ok(()),
            "{} {}?{}",
            wire.method,
            wire.path,
            wire.query
        );
        assert_eq!(wire.check("another secret", now), Err(SigV4Error::Mismatch));
    }
}

#[test]
fn s3_examples_hold_for_their_time() {
    let [header, .., url] = examples();
    let signed = at("20130524T000000Z");
    let after = |wire: &Wire, seconds| wire.check(SECRET, signed + Duration::from_secs(seconds));
    assert_eq!(after(&header, 900), Ok(()));
    assert_eq!(
        after(&header, 901),
        Err(SigV4Error::Skewed { seconds: -901 })
    );
    assert_eq!(after(&url, 86_400), Ok(()));
    assert_eq!(after(&url, 86_401), Err(SigV4Error::Expired { seconds: 1 }));
    for wire in [&header, &url] {
        let before = |seconds| wire.check(SECRET, signed - Duration::from_secs(seconds));
        assert_eq!(before(900), Ok(()));
        assert_eq!(before(901), Err(SigV4Error::Skewed { seconds: 901 }));
    }
}

/// The aws-sig-v4-test-suite. Its access key id, AKIDEXAMPLE, is shorter than any real one, so that
/// these do not go through `presented`.
#[test]
fn test_suite_verifies() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    for (method, target, signature) in [
        (
            "GET",
            "/",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "POST",
            "/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "GET",
            "/example/..",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "//",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ] {
        let date = "20150830T123600Z";
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", date)];
        let wire = Wire::new(method, "example.amazonaws.com", target, &headers, b"");
        let presented = Presented {
            algorithm: Algorithm::HmacSha256,
            access_key_id: "AKIDEXAMPLE".to_owned(),
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
            signed_headers: vec!["host".to_owned(), "x-amz-date".to_owned()],
            signature: signature.to_owned(),
            session_token: None,
            form: Form::Header,
            date: date.to_owned(),
        };
        let verified = verify(
            &presented,
            &wire.view(),
            Payload::Bytes(b""),
            secret,
            at(date),
        );
        assert_eq!(verified, Ok(()), "{method} {target}");
    }
}
