//! Requests as the targets' inputs write them.

use guard_daemon::aws::{BodyView, RequestView, Scope};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// A request and the scope that it is signed with.
///
/// ```text
/// POST dynamodb.us-east-1.amazonaws.com / - us-east-1 dynamodb
/// x-amz-target: DynamoDB_20120810.GetItem
///
/// {"TableName": "t"}
/// ```
///
/// The first line is method, host, path, query (`-` where there is none), region and service of the scope (neither where
/// it is not signed). Fields that HTTP does not allow are left out.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its method.
    pub method: Method,
    /// Its host.
    pub host: &'a str,
    /// Its path, as it stands in the request target.
    pub path: &'a str,
    /// Its query, without the `?`.
    pub query: &'a str,
    /// Region and service.
    pub scope: Option<(&'a str, &'a str)>,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads one; `None` where the input is none that guard's HTTP server could pass on.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
            Some(at) => (&data[..at], &data[at + 2..]),
            None => (data, &[][..]),
        };
        let mut lines = std::str::from_utf8(head).ok()?.split('\n');
        let mut words = lines.next()?.split(' ');
        let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
        let (host, path) = (words.next()?, words.next()?);
        let query = words.next().filter(|query| *query != "-").unwrap_or("");
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        // The TLS server name, which rustls has checked.
        let named =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if !path.starts_with('/') || path.contains(['?', '#']) || query.contains('#') {
            return None;
        }
        if !host.bytes().all(named) || !plain(path) || !plain(query) {
            return None;
        }
        let mut headers = HeaderMap::new();
        for line in lines.take(100) {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.trim());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Some(Self {
            method,
            host,
            path,
            query,
            scope: words.next().zip(words.next()).filter(is_scope),
            headers,
            body,
        })
    }

    /// What `aws` sees of it.
    pub fn view(&'a self, body: BodyView<'a>) -> RequestView<'a> {
        RequestView {
            method: &self.method,
            host: self.host,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            body,
        }
    }

    /// Its scope.
    pub fn scope(&self) -> Option<Scope<'a>> {
        let (region, service) = self.scope?;
        Some(Scope { region, service })
    }
}

/// As `sigv4::presented` lets them through, which the target `signature` holds it to.
pub(crate) fn is_scope((region, service): &(&str, &str)) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let plain = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(plain);
    plain(region) && plain(service)
}
