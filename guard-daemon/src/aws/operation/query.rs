//! The query protocols: `Action` and `Version` in a form body or the query string.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;

use super::{Reading, is_form, plain_body, rest, shown};
use crate::aws::{BodyView, IdentifyError, Protocol, RequestView, catalog::protocol, form};

/// A decoded name and value.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// More pairs than any AWS call has.
const MOST_PAIRS: usize = 20_000;

/// Reads a query call; false where the request is none and may be REST.
pub(super) fn read<'a>(
    request: &RequestView<'a>,
    reading: &mut Reading<'a>,
) -> Result<bool, IdentifyError> {
    let bits = protocol::QUERY | protocol::EC2;
    if !reading.services.iter().any(|it| it.speaks(bits)) {
        return Ok(false);
    }
    let rest_too = reading
        .services
        .iter()
        .any(|it| it.speaks(protocol::REST_JSON | protocol::REST_XML));
    let mut form = Vec::new();
    take(request.query.as_bytes(), &mut form)?;
    if is_form(request) || !rest_too {
        if !utf8(request) {
            return Err(IdentifyError::Unreadable {
                what: "the form's character set",
            });
        }
        match plain_body(request) {
            Some(body) => take(body, &mut form)?,
            // What the body says is not known, so nothing is: it could name a second action.
            None if !body_is_absent(request) => return Ok(!rest_too),
            None => {}
        }
    }
    let mut actions = form
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Action"));
    let Some((name, action)) = actions.next() else {
        return Ok(!rest_too);
    };
    if actions.next().is_some() {
        return Err(IdentifyError::Repeated {
            what: "Action".to_owned(),
        });
    }
    if name != "Action" {
        return Err(IdentifyError::Repeated { what: shown(name) });
    }
    if rest_too && request.path != "/" && rest::any(request, &reading.services) {
        return Err(IdentifyError::TwoOperations {
            one: "Action",
            other: "the path",
        });
    }
    let mut versions = form
        .iter()
        .filter(|(name, _)| name == "Version")
        .map(|it| &it.1);
    let version = versions.next();
    if versions.any(|it| Some(it) != version) {
        return Err(IdentifyError::Repeated {
            what: "Version".to_owned(),
        });
    }
    if matches!(request.method.as_str(), "GET" | "POST") {
        let candidates = reading.services.iter().filter(|it| it.speaks(bits));
        let mut found: Vec<_> = candidates
            .filter_map(|it| Some((*it, it.operation(action)?)))
            .collect();
        if found
            .iter()
            .any(|it| Some(it.0.api_version()) == version.map(AsRef::as_ref))
        {
            found.retain(|it| Some(it.0.api_version()) == version.map(AsRef::as_ref));
        }
        reading.operations = found;
    }
    if !reading.operations.is_empty() {
        reading.services = reading.operations.iter().map(|it| it.0).collect();
    }
    let ec2 = reading.services.iter().any(|it| it.speaks(protocol::EC2));
    reading.protocol = if ec2 { Protocol::Ec2 } else { Protocol::Query };
    reading.form = form;
    Ok(true)
}

fn take<'a>(raw: &'a [u8], form: &mut Vec<Pair<'a>>) -> Result<(), IdentifyError> {
    for pair in form::pairs(raw) {
        form.push(pair.ok_or(IdentifyError::Unreadable { what: "the form" })?);
        if form.len() > MOST_PAIRS {
            return Err(IdentifyError::Unreadable {
                what: "the form (too many members)",
            });
        }
    }
    Ok(())
}

fn body_is_absent(request: &RequestView<'_>) -> bool {
    matches!(request.body, BodyView::Whole(body) if body.is_empty())
}

/// A form in another character set would be decoded otherwise by AWS.
fn utf8(request: &RequestView<'_>) -> bool {
    let Some(value) = request.headers.get(CONTENT_TYPE) else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    value.split(';').skip(1).all(|parameter| {
        let (name, set) = parameter.split_once('=').unwrap_or((parameter, ""));
        let set = set.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || set.eq_ignore_ascii_case("utf-8")
            || set.eq_ignore_ascii_case("utf8")
    })
}
