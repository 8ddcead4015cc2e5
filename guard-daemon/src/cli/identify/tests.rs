//! Descriptions of requests, good and bad, and how the input is cut.

use std::io::{self, Read};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::answer::Identifier;
use super::input::{Batch, Batches};
use super::request;

/// The one answer to a line.
fn answer(line: &Value) -> Value {
    let batch = Batch::Lines(line.to_string().into_bytes(), 1);
    let answers = Identifier::new(Some("123456789012".to_owned())).answer(&batch);
    serde_json::from_slice(&answers.lines).unwrap()
}

fn get(url: &str, headers: &Value) -> Value {
    json!({ "method": "GET", "url": url, "headers": headers })
}

#[test]
fn urls_are_taken_as_they_would_be_sent() {
    for (url, operation, resource) in [
        (
            "https://b.s3.amazonaws.com/k",
            "GetObject",
            "arn:aws:s3:::b/k",
        ),
        (
            "HTTPS://B.S3.AmazonAWS.com:443/k",
            "GetObject",
            "arn:aws:s3:::b/k",
        ),
        (
            "https://s3.amazonaws.com/b//a/../k%2F",
            "GetObject",
            "arn:aws:s3:::b//a/../k/",
        ),
        (
            "https://b.s3.amazonaws.com?list-type=2",
            "ListObjectsV2",
            "arn:aws:s3:::b",
        ),
        (
            "https://b.s3.amazonaws.com",
            "ListObjects",
            "arn:aws:s3:::b",
        ),
    ] {
        let answer = answer(&get(url, &json!({})));
        assert_eq!(
            (&answer["operation"], &answer["resources"]),
            (&json!(operation), &json!([resource])),
            "{url}"
        );
    }
    for (url, why) in [
        ("http://b.s3.amazonaws.com/k", "use https"),
        ("ftp://b.s3.amazonaws.com/k", "neither https nor http"),
        ("/k", "not absolute"),
        ("b.s3.amazonaws.com/k", "not absolute"),
        ("", "not absolute"),
        ("https:///k", "no host"),
        ("https://:443/k", "no host"),
        ("https://u:p@b.s3.amazonaws.com/k", "user or password"),
        ("https://b.s3.amazonaws.com:8443/k", "443 only"),
        ("https://b.s3.amazonaws.com:/k", "443 only"),
        ("https://b.s3.amazonaws.com/k#f", "a fragment"),
        ("https://b.s3.amazonaws.com#f", "a fragment"),
        ("https://[::1]/k", "not an AWS API endpoint"),
        ("https://[::1]:443/k", "not an AWS API endpoint"),
        ("https://::1/k", "443 only"),
        ("https://example.com/k", "not an AWS API endpoint"),
        ("https://b.s3.amazonaws.com./k", "not an AWS API endpoint"),
        ("https://b.s3.amazonaws.com/a b", "percent-encoded"),
        ("https://b.s3.amazonaws.com/a\u{0}", "percent-encoded"),
        ("https://b.s3.amazonaws.com/a\r\nx: y", "percent-encoded"),
        ("https://b.s3.amazonaws.com/\u{e9}", "not allowed"),
        ("https://b\u{e9}.s3.amazonaws.com/", "not ASCII"),
        ("https://b\n.s3.amazonaws.com/", "a host that is none"),
    ] {
        let answer = answer(&get(url, &json!({})));
        let error = answer["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{url}: {answer}"));
        assert!(error.contains(why), "{url}: {error}");
        assert_eq!(
            (&answer["operation"], &answer["confidence"]),
            (&Value::Null, &json!("unknown"))
        );
    }
}

#[test]
fn what_the_gateway_refuses_has_an_error() {
    let url = "https://s3.amazonaws.com/b/k";
    for (headers, why) in [
        (
            json!({ "host": "sts.amazonaws.com" }),
            "connect to the host itself",
        ),
        (
            json!({ "Host": ["s3.amazonaws.com", "s3.amazonaws.com"] }),
            "more than one Host",
        ),
        (
            json!({ "Host": "s3.amazonaws.com", "host": "s3.amazonaws.com" }),
            "more than one Host",
        ),
        (json!({ "X-Amz-Target": ["a.B", "a.B"] }), "more than once"),
        (
            json!({ "X-HTTP-Method-Override": "DELETE" }),
            "change the method",
        ),
        (json!({ "a b": "c" }), "not the name of a header"),
        (json!({ "": "c" }), "not the name of a header"),
        (json!({ "a": "b\r\nx-amz-target: c" }), "no header may have"),
        (json!({ "a": 1 }), "a text or a list of texts"),
        (json!({ "a": ["b", null] }), "not a request"),
        (json!([]), "an object of headers"),
        (
            json!({ "content-length": "3" , "transfer-encoding": "chunked" }),
            "both",
        ),
        (
            json!({ "authorization": "AWS4-HMAC-SHA256 nonsense" }),
            "Authorization",
        ),
        (
            json!({ "authorization": ["AWS x", "AWS y"] }),
            "more than once",
        ),
        (
            json!({ "a": "x".repeat(70_000) }),
            "larger than guard takes",
        ),
    ] {
        let answer = answer(&get(url, &headers));
        let error = answer["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{headers}: {answer}"));
        assert!(error.contains(why), "{headers}: {error}");
    }
    for (line, why) in [
        (json!({ "url": url }), "missing field `method`"),
        (json!({ "method": "GET" }), "missing field `url`"),
        (json!({ "method": "G T", "url": url }), "not an HTTP method"),
        (json!({ "method": "", "url": url }), "not an HTTP method"),
        (json!({ "method": "CONNECT", "url": url }), "CONNECT"),
        (
            json!({ "method": "PUT", "url": url, "body": "?" }),
            "not base64",
        ),
        (
            json!({ "method": "PUT", "url": url, "body": "YQ==", "headers": { "content-length": "2" } }),
            "body was changed",
        ),
        (json!([1]), "not a request"),
        (json!("GET"), "not a request"),
    ] {
        let answer = answer(&line);
        let error = answer["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{line}: {answer}"));
        assert!(error.contains(why), "{line}: {error}");
    }
    // A method that HTTP allows and AWS does not know.
    let unknown = answer(&json!({ "method": "FROB", "url": url }));
    assert_eq!(
        (&unknown["operation"], &unknown["error"]),
        (&Value::Null, &Value::Null),
        "{unknown}"
    );
    assert_eq!(
        (&unknown["actions"], &unknown["resources"]),
        (&json!([null]), &json!([null]))
    );
}

#[test]
fn a_body_that_is_not_there_is_unknown_and_not_empty() {
    let form =
        json!({ "content-type": "application/x-www-form-urlencoded", "content-length": "43" });
    let call = |headers: &Value| json!({ "method": "POST", "url": "https://sts.amazonaws.com/", "headers": headers });
    let unread = answer(&call(&form));
    assert_eq!(
        (&unread["operation"], &unread["error"]),
        (&Value::Null, &Value::Null),
        "{unread}"
    );
    let chunked = json!({ "content-type": "application/x-www-form-urlencoded", "transfer-encoding": "chunked" });
    assert_eq!(answer(&call(&chunked))["operation"], Value::Null);
    let mut whole = call(&form);
    whole["body"] = json!("QWN0aW9uPUdldENhbGxlcklkZW50aXR5JlZlcnNpb249MjAxMS0wNi0xNQ==");
    assert_eq!(answer(&whole)["operation"], json!("GetCallerIdentity"));
}

#[test]
fn a_signature_says_which_service_or_that_guard_takes_none_such() {
    let scope = |service: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE000000000/20261125/eu-west-1/{service}/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "0".repeat(64)
        )
    };
    let signed = |service: &str| {
        let headers = json!({ "authorization": scope(service), "x-amz-date": "20261125T000000Z" });
        answer(&get("https://s3.amazonaws.com/b/k", &headers))
    };
    assert_eq!(signed("s3")["region"], "eu-west-1");
    assert!(
        signed("sts")["error"]
            .as_str()
            .unwrap()
            .contains("signed for service")
    );
    let presigned = "https://sdb.amazonaws.com/?Action=ListDomains&Version=2009-04-15&SignatureVersion=2&Signature=x";
    let answer = answer(&get(presigned, &json!({})));
    assert_eq!(answer["operation"], "ListDomains");
    assert!(
        answer["warning"]
            .as_str()
            .unwrap()
            .contains("Signature Version 2"),
        "{answer}"
    );
}

#[test]
fn har_entries_are_read_strictly_too() {
    let entry = |request: Value| request::of_entry(&json!({ "request": request }).to_string());
    let sts = |data: Value| {
        entry(
            json!({ "method": "POST", "url": "https://sts.amazonaws.com/", "headers": [], "postData": data }),
        )
    };
    let body = |data: Value| sts(data).unwrap().body.unwrap();
    assert_eq!(
        body(json!({ "text": "a=\u{e9}", "params": [] })),
        "a=\u{e9}".as_bytes()
    );
    assert_eq!(
        body(json!({ "text": "AP8=", "encoding": "base64" })),
        [0, 255]
    );
    assert_eq!(
        body(json!({ "text": "", "params": [{ "name": "a b", "value": "&" }, { "name": "c" }] })),
        b"a%20b=%26&c="
    );
    assert_eq!(body(json!({ "text": null })), b"");
    for (data, why) in [
        (json!({ "text": "?", "encoding": "base64" }), "not base64"),
        (json!({ "text": "x", "encoding": "rot13" }), "is not known"),
        (json!({ "text": 1 }), "not a request"),
    ] {
        assert!(sts(data).unwrap_err().to_string().contains(why));
    }
    let lost = json!({ "method": "PUT", "url": "https://s3.amazonaws.com/b/k", "headers": [], "bodySize": 3 });
    assert_eq!(entry(lost).unwrap().body, None);
    let other = [json!({ "name": ":authority", "value": "sts.amazonaws.com" })];
    let other = json!({ "method": "PUT", "url": "https://s3.amazonaws.com/b/k", "headers": other });
    assert!(entry(other).unwrap_err().to_string().contains(":authority"));
}

/// Gives so many bytes at a time.
struct Trickle(io::Cursor<Vec<u8>>, usize);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = buffer.len().min(self.1);
        self.0.read(&mut buffer[..end])
    }
}

fn batches(input: &[u8], at_once: usize) -> Vec<Batch> {
    let mut found = Vec::new();
    let source = Trickle(io::Cursor::new(input.to_vec()), at_once);
    Batches::new(Box::new(source))
        .each(|batch| {
            found.push(batch);
            true
        })
        .unwrap();
    found
}

#[test]
fn har_is_told_from_lines_by_how_it_begins() {
    for (text, entries) in [
        (&br#"{"log":{"entries":[1,{"a":"b"}]}}"#[..], 2),
        (b" \n{ \"log\" : {\"version\":\"1\",\"entries\":[]}}", 0),
        (b"\xef\xbb\xbf{\"log\":{\"entries\":[1]}}", 1),
    ] {
        let found = batches(text, 3);
        assert_eq!(found.len(), entries, "{found:?}");
        assert!(found.iter().all(|it| matches!(it, Batch::Entry(..))));
    }
    for text in [
        &b"{\"logs\":1}"[..],
        b"{\"method\":1}",
        b"[]",
        b"{",
        b"log",
        b"\xef\xbb\xbf{}",
    ] {
        let found = batches(text, 3);
        assert!(matches!(&found[..], [Batch::Lines(..)]), "{found:?}");
    }
    for text in [
        "{\"log\":{}}",
        "{\"log\":{\"entries\":1}}",
        "{\"log\":{\"entries\":[]}} x",
        "{\"log\":{\"entries\":[1,",
    ] {
        let found = batches(text.as_bytes(), 100);
        assert!(
            matches!(found.last(), Some(Batch::Broken(..))),
            "{text}: {found:?}"
        );
    }
}

proptest! {
    /// However the input arrives, the lines and their numbers are the same.
    #[test]
    fn lines_are_never_lost(lines in prop::collection::vec("[a-z]{0,12}", 0..40), at_once in 1_usize..50) {
        let text = lines.join("\n");
        let mut found = Vec::new();
        for batch in batches(text.as_bytes(), at_once) {
            let Batch::Lines(bytes, first) = batch else { panic!("lines") };
            prop_assert_eq!(first, found.len() as u64 + 1);
            found.extend(String::from_utf8(bytes).unwrap().lines().map(str::to_owned));
        }
        let mut expected = lines;
        while expected.last().is_some_and(String::is_empty) {
            expected.pop();
        }
        found.truncate(found.iter().rposition(|it| !it.is_empty()).map_or(0, |it| it + 1));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn never_panics(line in prop::collection::vec(any::<u8>(), 0..200), url in "\\PC{0,60}", name in "\\PC{0,10}") {
        let _ = request::of_line(&line);
        let _ = request::of_entry(&String::from_utf8_lossy(&line));
        let _ = answer(&get(&url, &json!({ name: "x" })));
        let _ = answer(&get(&format!("https://b.s3.amazonaws.com/{url}"), &json!({})));
    }
}
