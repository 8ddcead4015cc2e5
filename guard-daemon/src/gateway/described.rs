//! Holds a request that is described, not received, to what the gateway demands of one that is.

use http::request::Parts;

use super::{admit, head};
use crate::config::Limits;

/// Writes the request's head as HTTP/1.1 has it, and checks it as one that arrived on a connection to
/// `server_name` (lower case). `head` is scratch space, kept from one request to the next.
///
/// # Errors
/// What the gateway would answer, for people.
pub fn check_described(parts: &Parts, server_name: &str, head: &mut Vec<u8>) -> Result<(), String> {
    head.clear();
    let target = parts.uri.path_and_query().map_or("", |it| it.as_str());
    for part in [parts.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &parts.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    if head.len() > Limits::default().head_bytes {
        return Err("the request head is larger than guard takes by default".to_owned());
    }
    head::inspect(head).map_err(|malformed| malformed.to_string())?;
    admit::check(parts, server_name).map_err(|refused| refused.to_string())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn what_the_gateway_refuses_is_refused() {
        let check = |uri: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method("PUT").uri(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            check_described(&parts, "s3.amazonaws.com", &mut b"left over".to_vec())
        };
        let host = ("host", "S3.amazonaws.com:443");
        assert_eq!(
            check("/b/k%2F//..?x", &[host, ("content-length", "3")]),
            Ok(())
        );
        let large = "x".repeat(64 * 1024);
        for (headers, why) in [
            (&[][..], "no Host"),
            (&[host, host], "more than one Host"),
            (
                &[("host", "sts.amazonaws.com")],
                "connect to the host itself",
            ),
            (
                &[host, ("content-length", "03")],
                "not a plain decimal number",
            ),
            (
                &[host, ("transfer-encoding", "gzip, chunked")],
                "not exactly `chunked`",
            ),
            (&[host, ("upgrade", "h2c")], "an upgrade"),
            (
                &[host, ("connection", "x-amz-target")],
                "Connection names a header",
            ),
            (&[host, ("x", &large)], "larger than guard takes"),
        ] {
            let error = check("/b/k", headers).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }
}
