//! The first look at a request: is it for the host the connection was made to, and unambiguous?
//!
//! `head` has held HTTP/1.1 to its syntax already; this is what must hold for HTTP/2 as well.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method};

/// Why a request is not let in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// It is for another host than the TLS server name.
    #[error(
        "the request is for {asked:?}, but the connection was made to {server_name:?}; connect to the host itself"
    )]
    OtherHost { asked: String, server_name: String },
    /// It breaks a rule of HTTP that guard insists on.
    #[error("guard refused this request: {0}")]
    Malformed(&'static str),
}

impl NotAdmitted {
    /// A stable code for the journal.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::OtherHost { .. } => "host-mismatch",
            Self::Malformed(_) => "malformed-request",
        }
    }
}

/// Checks a request that came on a connection to `server_name` (lower case), which is then its host.
pub(super) fn check(parts: &Parts, server_name: &str) -> Result<(), NotAdmitted> {
    check_shape(parts).map_err(NotAdmitted::Malformed)?;
    let authority = parts.uri.authority().map(Authority::as_str);
    let mut asked = Vec::new();
    for host in parts.headers.get_all(HOST) {
        asked.push(
            host.to_str()
                .map_err(|_opaque| NotAdmitted::Malformed("its Host is not ASCII"))?,
        );
    }
    if asked.len() > 1 {
        return Err(NotAdmitted::Malformed("it has more than one Host"));
    }
    asked.extend(authority);
    if asked.is_empty() {
        return Err(NotAdmitted::Malformed("it has no Host"));
    }
    // Every way of naming a host must name the same one: AWS may act on either.
    for host in asked {
        let name = host.strip_suffix(":443").unwrap_or(host);
        if !name.eq_ignore_ascii_case(server_name) {
            return Err(NotAdmitted::OtherHost {
                asked: super::outcome::bounded(host),
                server_name: server_name.to_owned(),
            });
        }
    }
    Ok(())
}

fn check_shape(parts: &Parts) -> Result<(), &'static str> {
    let headers = &parts.headers;
    if parts.method == Method::CONNECT {
        return Err("the method CONNECT asks for a proxy; guard is none");
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("", |target| target.as_str());
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("its target is not a plain path");
    }
    if headers.len() > super::head::MAX_HEADERS {
        return Err("it has more than 100 header fields");
    }
    if headers.contains_key(UPGRADE) {
        return Err("it asks for an upgrade of the protocol");
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 || (lengths > 0 && headers.contains_key(TRANSFER_ENCODING)) {
        return Err("it gives the length of its body more than once");
    }
    // `Connection` names fields that end here (RFC 9110 §7.6.1). One that AWS acts on would be there for
    // the decision and gone from what is forwarded.
    let plain = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value.split(',').map(str::trim).all(|token| {
                ["keep-alive", "close", "te", ""]
                    .iter()
                    .any(|known| token.eq_ignore_ascii_case(known))
            })
        })
    };
    if !headers.get_all(CONNECTION).iter().all(plain) {
        return Err("its Connection names a header field");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_host_must_be_the_server_name_however_it_is_given() {
        let ok: &[(&str, &[(&str, &str)])] = &[
            ("/", &[("host", "s3.amazonaws.com")]),
            ("/", &[("host", "S3.AmazonAWS.com:443")]),
            ("https://s3.amazonaws.com/k", &[]),
            (
                "https://s3.amazonaws.com:443/k",
                &[("host", "s3.amazonaws.com")],
            ),
        ];
        for (uri, headers) in ok {
            assert_eq!(
                check(&parts(uri, headers), "s3.amazonaws.com"),
                Ok(()),
                "{uri} {headers:?}"
            );
        }
        let mismatch: &[(&str, &[(&str, &str)])] = &[
            ("/", &[("host", "sts.amazonaws.com")]),
            ("/", &[("host", "s3.amazonaws.com:8443")]),
            ("/", &[("host", "s3.amazonaws.com.")]),
            ("/", &[("host", "user@s3.amazonaws.com")]),
            ("/", &[("host", "s3.amazonaws.com, evil")]),
            ("/", &[("host", "")]),
            ("https://user@s3.amazonaws.com/k", &[]),
            (
                "https://sts.amazonaws.com/k",
                &[("host", "s3.amazonaws.com")],
            ),
            (
                "https://s3.amazonaws.com/k",
                &[("host", "sts.amazonaws.com")],
            ),
        ];
        for (uri, headers) in mismatch {
            let error = check(&parts(uri, headers), "s3.amazonaws.com").expect_err(uri);
            assert_eq!(error.code(), "host-mismatch", "{uri} {headers:?}: {error}");
        }
    }

    #[test]
    fn ambiguous_requests_are_malformed() {
        let host = ("host", "h");
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("/", &[]),
            ("/", &[host, host]),
            (
                "/",
                &[host, ("content-length", "3"), ("content-length", "3")],
            ),
            (
                "/",
                &[
                    host,
                    ("content-length", "3"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
            ("/", &[host, ("upgrade", "websocket")]),
            ("/", &[host, ("connection", "x-amz-copy-source")]),
            ("/", &[host, ("connection", "close, Content-Type")]),
            ("*", &[host]),
        ];
        for (uri, headers) in cases {
            let error = check(&parts(uri, headers), "h").expect_err(uri);
            assert_eq!(
                error.code(),
                "malformed-request",
                "{uri} {headers:?}: {error}"
            );
        }
        let fine = [
            host,
            ("connection", "keep-alive, Close"),
            ("content-length", "3"),
        ];
        assert_eq!(check(&parts("/", &fine), "h"), Ok(()));
    }
}
