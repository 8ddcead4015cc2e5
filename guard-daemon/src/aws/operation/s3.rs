//! S3: virtual-host and path style, access points, Outposts, Object Lambda, directory buckets.
//!
//! A query key that an operation does not have may be a subresource that names another one. It makes the
//! operation unknown, never GetObject or PutObject.

use std::borrow::Cow;

use super::{Reading, rest};
use crate::aws::{
    IdentifyError, Protocol, RequestView,
    catalog::{Route, Segment, Service},
    endpoint::Endpoint,
    form,
};

/// Whose names a host's objects go by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bucket<'a> {
    /// In the first path segment.
    InPath,
    /// In the first path segment; the control endpoint of directory buckets.
    DirectoryControl,
    /// A bucket.
    Named(&'a str),
    /// A directory bucket, at its zone.
    Directory(&'a str),
    /// `{name}-{account}` of an access point.
    AccessPoint(&'a str),
    /// `{name}-{account}` of an Object Lambda access point, or a response route.
    ObjectLambda(&'a str),
    /// `{name}-{account}.{outpost}`.
    Outpost(&'a str),
    /// A multi-Region access point.
    MultiRegion(&'a str),
}

/// What an S3 request names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Object<'a> {
    /// By the host.
    pub(crate) host: Bucket<'a>,
    /// By the path, in the path styles.
    pub(crate) bucket: Option<Cow<'a, str>>,
    /// The key, decoded.
    pub(crate) key: Option<Cow<'a, str>>,
}

/// How the host names buckets; `None` where it is not S3's object API.
pub(super) fn bucket<'a>(
    request: &RequestView<'_>,
    services: &mut Vec<Service>,
    endpoint: &'a Endpoint,
) -> Option<Bucket<'a>> {
    if !services.iter().any(|it| it.name() == "s3") {
        return None;
    }
    // The control endpoint of directory buckets has both APIs; no such bucket has this name.
    if endpoint.labels == "s3express-control" && request.path.starts_with("/v20180820/") {
        services.retain(|it| it.name() != "s3");
        return None;
    }
    let labels = endpoint.labels.as_str();
    let (head, own) = labels
        .rsplit_once('.')
        .map_or(("", labels), |(head, own)| (head, own));
    match (head, own) {
        ("", "s3express-control") => Some(Bucket::DirectoryControl),
        ("", "s3" | "s3-accelerate") => Some(Bucket::InPath),
        ("", _) => None,
        (name, "s3" | "s3-accelerate") => Some(Bucket::Named(name)),
        (name, "s3-accesspoint") => Some(Bucket::AccessPoint(name)),
        (name, "s3-object-lambda") => Some(Bucket::ObjectLambda(name)),
        (name, "s3-outposts") => Some(Bucket::Outpost(name)),
        (name, "s3-global") => name.strip_suffix(".accesspoint").map(Bucket::MultiRegion),
        (name, _) if own.starts_with("s3express-") => Some(Bucket::Directory(name)),
        _ => None,
    }
}

/// Reads an S3 call.
pub(super) fn read<'a>(
    request: &RequestView<'a>,
    host: &Bucket<'a>,
    reading: &mut Reading<'a>,
) -> Result<(), IdentifyError> {
    reading.services.retain(|it| it.name() == "s3");
    reading.protocol = Protocol::S3;
    let query = rest::Query::of(request)?;
    // S3 has no list in a query, and which of two values it takes is not known.
    query.single()?;
    let Some(service) = reading.services.first().copied() else {
        return Ok(());
    };
    if let (Bucket::ObjectLambda(_), "/WriteGetObjectResponse", "POST") =
        (host, request.path, request.method.as_str())
    {
        reading.operations.extend(
            service
                .operation("WriteGetObjectResponse")
                .map(|it| (service, it)),
        );
        return Ok(());
    }
    let Some(object) = object(request, host) else {
        return Ok(());
    };
    let level = usize::from(object.is_bucket()) + usize::from(object.key.is_some());
    let method = request.method.as_str();
    let taken = service
        .routes()
        .equal(|it| {
            it.method()
                .cmp(method)
                .then(it.segments().len().cmp(&level))
        })
        .iter()
        .filter(|it| it.level() == Some(level) && query.keys().all(|key| it.knows(key)))
        .filter_map(|it| rest::Match::new(service, it))
        .collect();
    let mut operations = rest::choose(request, &query, taken, level, true)?;
    if operations.len() > 1 {
        // The one pair that only the host tells apart.
        let directory = *host == Bucket::DirectoryControl;
        operations.retain(|it| (it.1.name() == "ListDirectoryBuckets") == directory);
    }
    if operations.len() > 1 {
        return Err(IdentifyError::TwoOperations {
            one: "one subresource",
            other: "another",
        });
    }
    reading.operations = operations;
    reading.object = Some(object);
    Ok(())
}

impl Object<'_> {
    /// Whether a bucket or what stands for one is named.
    fn is_bucket(&self) -> bool {
        self.bucket.is_some() || !matches!(self.host, Bucket::InPath | Bucket::DirectoryControl)
    }
}

impl Route {
    /// 0 for the service, 1 for a bucket, 2 for an object.
    fn level(self) -> Option<usize> {
        let mut segments = self.segments();
        match (segments.next(), segments.next(), segments.next()) {
            (None, ..) => Some(0),
            (Some(Segment::Label), None, _) => Some(1),
            (Some(Segment::Label), Some(Segment::Greedy), None) => Some(2),
            _ => None,
        }
    }

    /// Whether a query key is this operation's, or of the signature, or a header moved to the query.
    fn knows(self, key: &str) -> bool {
        self.statics().any(|it| it.0 == key)
            || self.query().any(|it| it == key)
            || matches!(key, "x-id" | "AWSAccessKeyId" | "Signature" | "Expires")
            || key
                .get(..6)
                .is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
    }
}

/// Bucket and key. `None` where they cannot be decoded, or the bucket could be taken for part of an ARN.
fn object<'a>(request: &RequestView<'a>, host: &Bucket<'a>) -> Option<Object<'a>> {
    let path = request.path.strip_prefix('/')?;
    let (bucket, key) = match host {
        Bucket::InPath | Bucket::DirectoryControl => match path.split_once('/') {
            None if path.is_empty() => (None, ""),
            None => (Some(path), ""),
            Some((bucket, key)) => (Some(bucket), key),
        },
        _ => (None, path),
    };
    let bucket = match bucket {
        None => None,
        Some(raw) => {
            let name = form::decode(raw.as_bytes(), false)?;
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            // `..` is a step up to whoever normalises paths on the way.
            let dots = name.bytes().all(|byte| byte == b'.');
            if dots || name.len() > 255 || !name.bytes().all(plain) {
                return None;
            }
            Some(name)
        }
    };
    let key = match key {
        "" => None,
        raw => Some(form::decode(raw.as_bytes(), false)?),
    };
    Some(Object {
        host: *host,
        bucket,
        key,
    })
}
