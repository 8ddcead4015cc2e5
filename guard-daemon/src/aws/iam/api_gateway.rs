//! API Gateway: its actions are HTTP methods, its resources paths.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Asked, arn, one};
use crate::aws::{Access, Resource, form};

/// What an ARN within an ARN is encoded with: all but what RFC 3986 leaves alone.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What an operation of either version asks for, where the action is the request's method.
pub(super) fn access(asked: &Asked<'_>) -> Vec<Access> {
    let method = asked.request.method.as_str();
    let action = format!("apigateway:{method}");
    // As for the operation's route.
    let path = asked.request.path;
    let path = path.strip_suffix('/').unwrap_or(path);
    let at = |path: &str| asked.arn_in("apigateway", asked.region, Some(""), path);
    if let Some(tagged) = path.strip_prefix("/tags/") {
        let tagged = form::decode(tagged.as_bytes(), false);
        let tagged = arn::given(tagged.as_deref(), "apigateway");
        let tags = match &tagged {
            Resource::Arn(arn) => at(&format!("/tags/{}", utf8_percent_encode(arn, ENCODED))),
            _ => Resource::Unknown,
        };
        let mut access = vec![one(action, tags)];
        if method == "PUT" {
            access.push(one("apigateway:PATCH", tagged));
        }
        return access;
    }
    let second = path.strip_prefix("/v2").filter(|it| it.starts_with('/'));
    let resource = match (second, plain(second.unwrap_or(path))) {
        // How its tags' path is written is not documented.
        (Some(path), _) if path.starts_with("/tags/") => Resource::Unknown,
        (_, Some(path)) => at(&path),
        (_, None) => Resource::Unknown,
    };
    vec![one(action, resource)]
}

/// A path with its segments decoded; `None` where one could then be taken for more than itself.
fn plain(path: &str) -> Option<String> {
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/').skip(1) {
        let segment = form::decode(segment.as_bytes(), false)?;
        if segment.contains(|it: char| it.is_control() || matches!(it, '*' | '?' | '/')) {
            return None;
        }
        plain.push('/');
        plain.push_str(&segment);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use crate::aws::iam::tests::{ACCOUNT, call, shown};

    #[test]
    fn paths_are_those_of_the_reference() {
        for (line, wanted) in [
            (
                "DELETE /restapis/abc/",
                "apigateway:DELETE apigateway:us-east-1::/restapis/abc",
            ),
            ("GET /restapis/a%2Fb", "apigateway:GET ?"),
            ("GET /restapis/%2A", "apigateway:GET ?"),
            (
                "GET /domainnames/d.example/basepathmappings/%28none%29",
                "apigateway:GET apigateway:us-east-1::/domainnames/d.example/basepathmappings/(none)",
            ),
            (
                "GET /v2/apis/abc/",
                "apigateway:GET apigateway:us-east-1::/apis/abc",
            ),
            (
                "GET /tags/arn%3Aaws%3aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc/",
                "apigateway:GET apigateway:us-east-1::/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc",
            ),
            (
                "PUT /tags/arn:aws:apigateway:us-east-1::%2Frestapis%2Fabc",
                "apigateway:PUT apigateway:us-east-1::/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc; \
                 apigateway:PATCH apigateway:us-east-1::/restapis/abc",
            ),
            (
                "DELETE /tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2F%2A?tagKeys=a",
                "apigateway:DELETE ?",
            ),
            (
                "GET /v2/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Fapis%2Fabc",
                "apigateway:GET ?",
            ),
        ] {
            let (method, path) = line.split_once(' ').unwrap();
            let line = format!("{method} apigateway.us-east-1.amazonaws.com{path}");
            let read = call(&line, "apigateway", &[], "", Some(ACCOUNT));
            assert_eq!(shown(&read), wanted, "{line}");
        }
    }
}
