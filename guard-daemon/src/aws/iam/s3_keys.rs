//! S3's condition keys: query members, headers, and tags in a header.

use super::{Asked, keys::entry, s3::is_copy, s3_copy};
use crate::aws::{KeyValue, catalog::OperationModel, form};

/// The value of a key, in lower case; `None` where the request does not tell it.
pub(super) fn value(asked: &Asked<'_>, operation: OperationModel, key: &str) -> Option<KeyValue> {
    if asked.reading.services.first()?.name() != "s3" {
        return None;
    }
    // A copy has its source's tags, which the request does not tell, unless it says that it replaces them.
    if operation.name() == "CopyObject" && key.starts_with("s3:requestobjecttag") {
        let name = "x-amz-tagging-directive";
        if asked.single(Some(name), name) != KeyValue::One("REPLACE".to_owned()) {
            return Some(KeyValue::Unknown);
        }
    }
    // Not the query's: a copy's source has its own, and so has each object in a body.
    if key == "s3:versionid" && is_copy(operation.name()) {
        return Some(s3_copy::version(asked));
    }
    if key == "s3:versionid" && operation.name() == "DeleteObjects" {
        return Some(KeyValue::Unknown);
    }
    let tags = matches!(
        operation.name(),
        "PutObject" | "CopyObject" | "CreateMultipartUpload"
    );
    if let Some(tag) = key.strip_prefix("s3:requestobjecttag/") {
        return tags.then(|| {
            let tags = asked.tags();
            tags.map_or(KeyValue::Unknown, |tags| entry(&tags, tag))
        });
    }
    let name = key.strip_prefix("s3:")?;
    if name == "requestobjecttagkeys" {
        return tags.then(|| match asked.tags() {
            None => KeyValue::Unknown,
            Some(tags) if tags.is_empty() => KeyValue::Absent,
            Some(tags) => KeyValue::Many(tags.into_iter().map(|it| it.0).collect()),
        });
    }
    if let Some((_, query)) = QUERY.iter().find(|it| it.0 == name) {
        return Some(asked.single(None, query));
    }
    match name {
        "signatureversion" => match asked.single(Some("authorization"), "X-Amz-Algorithm") {
            KeyValue::One(text) => {
                let algorithm = text.split(' ').next().unwrap_or_default();
                Some(KeyValue::One(algorithm.to_owned()))
            }
            _ => None,
        },
        "authtype" => {
            let header = asked.request.headers.contains_key("authorization");
            let kind = if header {
                "REST-HEADER"
            } else {
                "REST-QUERY-STRING"
            };
            Some(KeyValue::One(kind.to_owned()))
        }
        // The key is an ARN, and the header may name it otherwise.
        "x-amz-server-side-encryption-aws-kms-key-id" => match asked.single(Some(name), name) {
            KeyValue::One(text) if !text.starts_with("arn:") => None,
            value => Some(value),
        },
        "objectcreationoperation" => Some(KeyValue::One(
            matches!(
                operation.name(),
                "PutObject" | "CopyObject" | "CompleteMultipartUpload"
            )
            .to_string(),
        )),
        _ if name.starts_with("x-amz-") || HEADERS.contains(&name) => {
            let header = match name {
                _ if name.starts_with("x-amz-") || name.starts_with("if-") => name.to_owned(),
                _ => format!("x-amz-{name}"),
            };
            Some(asked.single(Some(&header), &header))
        }
        _ => None,
    }
}

/// Keys that are query members.
const QUERY: &[(&str, &str)] = &[
    ("delimiter", "delimiter"),
    ("max-keys", "max-keys"),
    ("prefix", "prefix"),
    ("versionid", "versionId"),
];

/// Keys that are headers.
const HEADERS: &[&str] = &[
    "if-match",
    "if-none-match",
    "object-lock-legal-hold",
    "object-lock-mode",
    "object-lock-retain-until-date",
];

impl Asked<'_> {
    /// The one value of a header, or of the query member that it may be moved to.
    fn single(&self, header: Option<&str>, query: &str) -> KeyValue {
        let mut values = Vec::new();
        for value in header
            .map(|it| self.request.headers.get_all(it))
            .into_iter()
            .flatten()
        {
            match value.to_str() {
                Ok(text) => values.push(text.to_owned()),
                Err(_) => return KeyValue::Unknown,
            }
        }
        for pair in form::pairs(self.request.query.as_bytes()) {
            let Some((name, value)) = pair else {
                return KeyValue::Unknown;
            };
            if name == query || (header.is_some() && name.eq_ignore_ascii_case(query)) {
                values.push(value.into_owned());
            }
        }
        match values.len() {
            0 => KeyValue::Absent,
            1 => KeyValue::One(values.remove(0)),
            _ => KeyValue::Unknown,
        }
    }

    /// Tags of a new object; `None` where they cannot be read.
    fn tags(&self) -> Option<Vec<(String, String)>> {
        match self.single(Some("x-amz-tagging"), "x-amz-tagging") {
            KeyValue::Absent => Some(Vec::new()),
            KeyValue::One(text) => form::pairs(text.as_bytes())
                .map(|it| it.map(|it| (it.0.into_owned(), it.1.into_owned())))
                .collect(),
            KeyValue::Unknown | KeyValue::Many(_) => None,
        }
    }
}
