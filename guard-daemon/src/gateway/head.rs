//! Reads a raw HTTP/1.1 request head strictly, before hyper sees it, and says how its body is framed.
//!
//! hyper's own parser is lenient by design: where `Transfer-Encoding` stands it drops `Content-Length` without
//! a word, and it takes bare line feeds. Two parsers that disagree on where a request ends are what request
//! smuggling is made of (RFC 9112 §11.2), so whatever is ambiguous is refused here. Pure: bytes in, verdict
//! out; `framing` does the reading.

use http::StatusCode;
use http::uri::PathAndQuery;

/// Header fields a request may have.
pub(super) const MAX_HEADERS: usize = 100;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Framing {
    /// So many bytes; zero where the request has no body.
    Length(u64),
    /// Chunks, whose end only the parser of the chunks knows.
    Chunked,
}

/// Why a head is refused: the status of the answer and one sentence for people.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{why}")]
pub(super) struct Malformed {
    /// 400, 408 or 431.
    pub(super) status: StatusCode,
    /// What is wrong. Never holds bytes of the request.
    pub(super) why: &'static str,
}

impl Malformed {
    /// A head that breaks the rules.
    const fn new(why: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            why,
        }
    }

    /// A head that is larger than the limit, or has too many fields.
    pub(super) const fn too_large(why: &'static str) -> Self {
        Self {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            why,
        }
    }

    /// A head that did not arrive in time.
    pub(super) const fn too_slow() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            why: "the request head did not arrive in time",
        }
    }
}

/// Inspects a whole head, from the request line to the empty line that ends it, both included.
pub(super) fn inspect(head: &[u8]) -> Result<Framing, Malformed> {
    check_bytes(head)?;
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Malformed::new("the request head is not complete")),
        Err(error) => return Err(refused_by_parser(error)),
    }
    if request.version != Some(1) {
        return Err(Malformed::new("the protocol is not HTTP/1.1"));
    }
    check_method(request.method.unwrap_or_default())?;
    check_target(request.path.unwrap_or_default())?;
    check_fields(request.headers)
}

/// Whether a line feed without a carriage return stands at `from` or later.
pub(super) fn has_bare_line_feed(head: &[u8], from: usize) -> bool {
    let bare = |at: usize| at == 0 || head[at - 1] != b'\r';
    (from..head.len()).any(|at| head[at] == b'\n' && bare(at))
}

pub(super) fn bare_line_feed() -> Malformed {
    Malformed::new("a line of the request head ends in a bare line feed")
}

/// What httparse lets pass, or repairs, is looked for in the raw bytes.
fn check_bytes(head: &[u8]) -> Result<(), Malformed> {
    let mut previous = 0;
    for (at, &byte) in head.iter().enumerate() {
        match byte {
            b'\n' if previous != b'\r' => {
                return Err(bare_line_feed());
            }
            b'\r' if head.get(at + 1) != Some(&b'\n') => {
                return Err(Malformed::new(
                    "the request head has a bare carriage return",
                ));
            }
            b' ' | b'\t' if previous == b'\n' => {
                return Err(Malformed::new(
                    "a header field is folded over several lines",
                ));
            }
            0 => return Err(Malformed::new("the request head has a NUL byte")),
            _ => {}
        }
        previous = byte;
    }
    if head.starts_with(b"\r\n") {
        return Err(Malformed::new("the request begins with an empty line"));
    }
    Ok(())
}

fn refused_by_parser(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::HeaderName => Malformed::new(
            "a header name has a byte that is not allowed, or white space before the colon",
        ),
        httparse::Error::HeaderValue => {
            Malformed::new("a header value has a byte that is not allowed")
        }
        httparse::Error::NewLine => Malformed::new("a line of the request head ends wrongly"),
        httparse::Error::Status | httparse::Error::Token => {
            Malformed::new("the request line has a byte that is not allowed")
        }
        httparse::Error::TooManyHeaders => {
            Malformed::too_large("the request has more than 100 header fields")
        }
        httparse::Error::Version => Malformed::new("the protocol is not HTTP/1.1"),
    }
}

fn check_method(method: &str) -> Result<(), Malformed> {
    match method {
        "CONNECT" => Err(Malformed::new(
            "the method CONNECT asks for a proxy; guard is none",
        )),
        _ => Ok(()),
    }
}

fn check_target(target: &str) -> Result<(), Malformed> {
    if !target.starts_with('/') {
        return Err(Malformed::new("the request target is not a path"));
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::new(
            "the request target has a byte that is not allowed",
        ));
    }
    // The parser both deciding and dialling use must keep every byte: it drops a fragment, for one.
    match PathAndQuery::try_from(target) {
        Ok(read) if read.as_str() == target => Ok(()),
        _ => Err(Malformed::new(
            "the request target has a character that must be percent-encoded",
        )),
    }
}

fn check_fields(fields: &[httparse::Header<'_>]) -> Result<Framing, Malformed> {
    let (mut host, mut length, mut chunked) = (false, None, false);
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            if std::mem::replace(&mut host, true) {
                return Err(Malformed::new("the request has more than one Host"));
            }
        } else if is("content-length") {
            if length.replace(read_length(field.value)?).is_some() {
                return Err(Malformed::new(
                    "the request has more than one Content-Length",
                ));
            }
        } else if is("transfer-encoding") {
            if std::mem::replace(&mut chunked, true) {
                return Err(Malformed::new(
                    "the request has more than one Transfer-Encoding",
                ));
            }
            if field.value != b"chunked" {
                return Err(Malformed::new(
                    "the Transfer-Encoding is not exactly `chunked`",
                ));
            }
        } else if is("upgrade") {
            return Err(Malformed::new(
                "the request asks for an upgrade of the protocol",
            ));
        } else if is("expect") && !field.value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Malformed::new(
                "the request expects something other than 100-continue",
            ));
        }
    }
    match (host, length, chunked) {
        (false, ..) => Err(Malformed::new("the request has no Host")),
        (true, Some(_), true) => Err(Malformed::new(
            "the request has both Content-Length and Transfer-Encoding",
        )),
        (true, None, true) => Ok(Framing::Chunked),
        (true, length, false) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

/// 18 digits hold any length there is, and no leading zero keeps one length in one spelling.
fn read_length(value: &[u8]) -> Result<u64, Malformed> {
    let odd = Malformed::new("the Content-Length is not a plain decimal number");
    let plain = matches!(value, [b'0'] | [b'1'..=b'9', ..])
        && value.len() <= 18
        && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| plain);
    text.and_then(|digits| digits.parse().ok()).ok_or(odd)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(lines: &str) -> Vec<u8> {
        format!("PUT /b/k HTTP/1.1\r\nHost: s3.amazonaws.com\r\n{lines}\r\n").into_bytes()
    }

    #[test]
    fn ordinary_heads_pass() {
        let cases = [
            ("", Framing::Length(0)),
            ("Content-Length: 0\r\n", Framing::Length(0)),
            ("content-length:12\r\n", Framing::Length(12)),
            ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
            (
                "Expect: 100-continue\r\nContent-Length: 3\r\n",
                Framing::Length(3),
            ),
            (
                "X-Amz-Meta-Name: caf\u{e9}\r\nContent-Length: 3\r\n",
                Framing::Length(3),
            ),
        ];
        for (lines, framing) in cases {
            assert_eq!(inspect(&head(lines)), Ok(framing), "{lines:?}");
        }
        let raw = b"GET /bucket//a/../b%2F?list-type=2&prefix=a%20b HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(inspect(raw), Ok(Framing::Length(0)));
    }

    #[test]
    fn every_smuggling_shape_is_refused_with_its_reason() {
        let cases: &[(&str, &str)] = &[
            (
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                "both Content-Length and",
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                "both Content-Length and",
            ),
            (
                "Content-Length: 3\r\nContent-Length: 4\r\n",
                "more than one Content-Length",
            ),
            (
                "Content-Length: 3\r\nContent-Length: 3\r\n",
                "more than one Content-Length",
            ),
            ("Content-Length: 3, 3\r\n", "plain decimal"),
            ("Content-Length: +3\r\n", "plain decimal"),
            ("Content-Length: -1\r\n", "plain decimal"),
            ("Content-Length: 0x3\r\n", "plain decimal"),
            ("Content-Length: 03\r\n", "plain decimal"),
            ("Content-Length: 3 3\r\n", "plain decimal"),
            ("Content-Length:\r\n", "plain decimal"),
            ("Content-Length: 18446744073709551616\r\n", "plain decimal"),
            ("Host: other\r\n", "more than one Host"),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                "more than one Transfer",
            ),
            ("Transfer-Encoding: chunked, identity\r\n", "not exactly"),
            ("Transfer-Encoding: gzip, chunked\r\n", "not exactly"),
            ("Transfer-Encoding: identity\r\n", "not exactly"),
            ("Transfer-Encoding: Chunked\r\n", "not exactly"),
            ("Transfer-Encoding: xchunked\r\n", "not exactly"),
            (
                "Transfer-Encoding : chunked\r\n",
                "white space before the colon",
            ),
            ("Content-Length : 3\r\n", "white space before the colon"),
            ("X-A: 1\r\n Content-Length: 3\r\n", "folded"),
            ("X-A: 1\r\n\tb\r\n", "folded"),
            ("X-A: 1\nContent-Length: 3\r\n", "bare line feed"),
            ("X-A: 1\rContent-Length: 3\r\n", "bare carriage return"),
            ("X-A: a\0b\r\n", "NUL"),
            ("X-A: a\x01b\r\n", "header value"),
            ("X-A: a\x7fb\r\n", "header value"),
            ("X A: b\r\n", "header name"),
            (": b\r\n", "header name"),
            ("Transfer-Encoding\u{b}: chunked\r\n", "header name"),
            ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "upgrade"),
            ("Expect: 200-ok\r\n", "100-continue"),
        ];
        for (lines, reason) in cases {
            let malformed = inspect(&head(lines)).expect_err(lines);
            assert!(
                malformed.why.contains(reason),
                "{lines:?}: {}",
                malformed.why
            );
            assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn request_lines_that_are_not_origin_form_on_http_1_1_are_refused() {
        let cases: &[(&str, &str)] = &[
            ("GET http://other/ HTTP/1.1", "not a path"),
            ("GET https://s3.amazonaws.com/ HTTP/1.1", "not a path"),
            ("CONNECT s3.amazonaws.com:443 HTTP/1.1", "CONNECT"),
            ("OPTIONS * HTTP/1.1", "not a path"),
            ("GET s3.amazonaws.com HTTP/1.1", "not a path"),
            ("GET / HTTP/1.0", "not HTTP/1.1"),
            ("GET / HTTP/2.0", "not HTTP/1.1"),
            ("GET /", "not allowed"),
            ("GET /a b HTTP/1.1", "not HTTP/1.1"),
            ("GET  / HTTP/1.1", "not allowed"),
            ("GET /caf\u{e9} HTTP/1.1", "not allowed"),
            ("GET /a\tb HTTP/1.1", "not allowed"),
            ("GET /a#b HTTP/1.1", "percent-encoded"),
            ("GET /a<b HTTP/1.1", "percent-encoded"),
            ("G(T / HTTP/1.1", "not allowed"),
            ("\r\nGET / HTTP/1.1", "empty line"),
        ];
        for (line, reason) in cases {
            let raw = format!("{line}\r\nHost: s3.amazonaws.com\r\n\r\n");
            let malformed = inspect(raw.as_bytes()).expect_err(line);
            assert!(
                malformed.why.contains(reason),
                "{line:?}: {}",
                malformed.why
            );
        }
        let no_host = inspect(b"GET / HTTP/1.1\r\nX-A: b\r\n\r\n").expect_err("no host");
        assert!(no_host.why.contains("no Host"));
    }

    #[test]
    fn too_many_header_fields_are_too_large() {
        let many = "X-A: b\r\n".repeat(MAX_HEADERS);
        let malformed = inspect(&head(&many)).expect_err("101 fields");
        assert_eq!(
            malformed.status,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        );
        assert!(inspect(&head(&"X-A: b\r\n".repeat(MAX_HEADERS - 1))).is_ok());
    }

    proptest! {
        #[test]
        fn never_panics_and_never_accepts_two_framings(lines in "[ -~\r\n\t]{0,200}") {
            let raw = head(&lines);
            if inspect(&raw).is_ok() {
                let text = String::from_utf8_lossy(&raw).to_ascii_lowercase();
                let framings = text.matches("\ncontent-length:").count()
                    + text.matches("\ntransfer-encoding:").count();
                prop_assert!(framings <= 1);
                prop_assert_eq!(text.matches("\nhost:").count(), 1);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = inspect(&bytes);
        }
    }
}
