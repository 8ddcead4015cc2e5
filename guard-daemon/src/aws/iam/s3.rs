//! S3's actions, which mostly have other names than its operations, and its resources.

use std::borrow::Cow;

use super::{Asked, Input, arn, one, s3_delete};
use crate::aws::{Access, Resource, form, operation::Bucket};

/// What an S3 operation asks for.
pub(super) fn access(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Vec<Access> {
    let target = Target::of(asked);
    match operation {
        "ListBuckets" => vec![one("s3:ListAllMyBuckets", Resource::Any)],
        "ListDirectoryBuckets" => vec![one("s3express:ListAllMyDirectoryBuckets", Resource::Any)],
        "WriteGetObjectResponse" => {
            vec![one(
                "s3-object-lambda:WriteGetObjectResponse",
                Resource::Unknown,
            )]
        }
        // The zone's endpoint asks for the session's permission only.
        _ if matches!(target.host, Some(Bucket::Directory(_))) => {
            vec![one("s3express:CreateSession", target.bucket(asked))]
        }
        "DeleteObjects" => s3_delete::access(asked, input, &target),
        _ => {
            let (names, level) = actions(operation, asked.has_query("versionId"));
            let resource = match level {
                Level::Bucket => target.bucket(asked),
                Level::Object => target.object(asked),
            };
            let mut access: Vec<Access> = names
                .iter()
                .map(|it| one(target.action(it), resource.clone()))
                .collect();
            if names.is_empty() {
                access.push(one(target.action(operation), resource.clone()));
            }
            if matches!(operation, "CopyObject" | "UploadPartCopy") {
                access.push(copy_source(asked));
            }
            for (_, _, action) in FURTHER
                .iter()
                .filter(|it| it.0.contains(&operation) && asked.has_header(it.1))
            {
                let entry = one(target.action(action), resource.clone());
                if !access.contains(&entry) {
                    access.push(entry);
                }
            }
            access
        }
    }
}

enum Level {
    Bucket,
    Object,
}

/// Actions of an operation; none where the action has the operation's own name.
#[expect(clippy::too_many_lines, reason = "a table")]
fn actions(operation: &str, version: bool) -> (&'static [&'static str], Level) {
    use Level::{Bucket, Object};
    let pick = |plain: &'static [&'static str], versioned| if version { versioned } else { plain };
    match operation {
        "GetObject" | "HeadObject" => (pick(&["GetObject"], &["GetObjectVersion"]), Object),
        "SelectObjectContent" => (&["GetObject"], Object),
        "GetObjectAttributes" => (
            pick(
                &["GetObject", "GetObjectAttributes"],
                &["GetObjectVersion", "GetObjectVersionAttributes"],
            ),
            Object,
        ),
        "GetObjectAcl" => (pick(&["GetObjectAcl"], &["GetObjectVersionAcl"]), Object),
        "GetObjectTagging" => (
            pick(&["GetObjectTagging"], &["GetObjectVersionTagging"]),
            Object,
        ),
        "GetObjectTorrent" => (
            pick(&["GetObjectTorrent"], &["GetObjectVersionTorrent"]),
            Object,
        ),
        "PutObjectAcl" => (pick(&["PutObjectAcl"], &["PutObjectVersionAcl"]), Object),
        "PutObjectTagging" => (
            pick(&["PutObjectTagging"], &["PutObjectVersionTagging"]),
            Object,
        ),
        "DeleteObject" => (pick(&["DeleteObject"], &["DeleteObjectVersion"]), Object),
        "DeleteObjectTagging" => (
            pick(&["DeleteObjectTagging"], &["DeleteObjectVersionTagging"]),
            Object,
        ),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload" => (&["PutObject"], Object),
        "ListParts" => (&["ListMultipartUploadParts"], Object),
        "GetObjectAnnotation" => (
            pick(&["GetObjectAnnotation"], &["GetObjectVersionAnnotation"]),
            Object,
        ),
        "PutObjectAnnotation" => (
            pick(&["PutObjectAnnotation"], &["PutObjectVersionAnnotation"]),
            Object,
        ),
        "DeleteObjectAnnotation" => (
            pick(
                &["DeleteObjectAnnotation"],
                &["DeleteObjectVersionAnnotation"],
            ),
            Object,
        ),
        "ListObjectAnnotations" => (
            pick(
                &["ListObjectAnnotations"],
                &["ListObjectVersionAnnotations"],
            ),
            Object,
        ),
        "AbortMultipartUpload"
        | "GetObjectLegalHold"
        | "GetObjectRetention"
        | "PutObjectLegalHold"
        | "PutObjectRetention"
        | "RestoreObject"
        | "RenameObject"
        | "UpdateObjectEncryption" => (&[], Object),
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => (&["ListBucket"], Bucket),
        "ListObjectVersions" => (&["ListBucketVersions"], Bucket),
        "ListMultipartUploads" => (&["ListBucketMultipartUploads"], Bucket),
        "GetBucketAccelerateConfiguration" => (&["GetAccelerateConfiguration"], Bucket),
        "PutBucketAccelerateConfiguration" => (&["PutAccelerateConfiguration"], Bucket),
        "GetBucketAnalyticsConfiguration" | "ListBucketAnalyticsConfigurations" => {
            (&["GetAnalyticsConfiguration"], Bucket)
        }
        "PutBucketAnalyticsConfiguration" | "DeleteBucketAnalyticsConfiguration" => {
            (&["PutAnalyticsConfiguration"], Bucket)
        }
        "GetBucketCors" => (&["GetBucketCORS"], Bucket),
        "PutBucketCors" | "DeleteBucketCors" => (&["PutBucketCORS"], Bucket),
        "GetBucketEncryption" => (&["GetEncryptionConfiguration"], Bucket),
        "PutBucketEncryption" | "DeleteBucketEncryption" => {
            (&["PutEncryptionConfiguration"], Bucket)
        }
        "GetBucketIntelligentTieringConfiguration"
        | "ListBucketIntelligentTieringConfigurations" => {
            (&["GetIntelligentTieringConfiguration"], Bucket)
        }
        "PutBucketIntelligentTieringConfiguration"
        | "DeleteBucketIntelligentTieringConfiguration" => {
            (&["PutIntelligentTieringConfiguration"], Bucket)
        }
        "GetBucketInventoryConfiguration" | "ListBucketInventoryConfigurations" => {
            (&["GetInventoryConfiguration"], Bucket)
        }
        "PutBucketInventoryConfiguration" | "DeleteBucketInventoryConfiguration" => {
            (&["PutInventoryConfiguration"], Bucket)
        }
        "GetBucketLifecycleConfiguration" => (&["GetLifecycleConfiguration"], Bucket),
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => {
            (&["PutLifecycleConfiguration"], Bucket)
        }
        "GetBucketMetricsConfiguration" | "ListBucketMetricsConfigurations" => {
            (&["GetMetricsConfiguration"], Bucket)
        }
        "PutBucketMetricsConfiguration" | "DeleteBucketMetricsConfiguration" => {
            (&["PutMetricsConfiguration"], Bucket)
        }
        "GetBucketNotificationConfiguration" => (&["GetBucketNotification"], Bucket),
        "PutBucketNotificationConfiguration" => (&["PutBucketNotification"], Bucket),
        "DeleteBucketOwnershipControls" => (&["PutBucketOwnershipControls"], Bucket),
        "GetBucketReplication" => (&["GetReplicationConfiguration"], Bucket),
        "PutBucketReplication" | "DeleteBucketReplication" => {
            (&["PutReplicationConfiguration"], Bucket)
        }
        "DeleteBucketTagging" => (&["PutBucketTagging"], Bucket),
        "GetPublicAccessBlock" => (&["GetBucketPublicAccessBlock"], Bucket),
        "PutPublicAccessBlock" | "DeletePublicAccessBlock" => {
            (&["PutBucketPublicAccessBlock"], Bucket)
        }
        "GetObjectLockConfiguration" => (&["GetBucketObjectLockConfiguration"], Bucket),
        "PutObjectLockConfiguration" => (&["PutBucketObjectLockConfiguration"], Bucket),
        "CreateBucketMetadataConfiguration" => {
            (&["CreateBucketMetadataTableConfiguration"], Bucket)
        }
        "GetBucketMetadataConfiguration" => (&["GetBucketMetadataTableConfiguration"], Bucket),
        "DeleteBucketMetadataConfiguration" => {
            (&["DeleteBucketMetadataTableConfiguration"], Bucket)
        }
        _ => (&[], Bucket),
    }
}

const WRITES: &[&str] = &["PutObject", "CopyObject", "CreateMultipartUpload"];
const GRANTS: &[&str] = &["PutObject", "CopyObject", "CreateMultipartUpload"];

/// Operations, header, and the further action that the header asks for.
const FURTHER: &[(&[&str], &str, &str)] = &[
    (GRANTS, "x-amz-acl", "PutObjectAcl"),
    (GRANTS, "x-amz-grant-full-control", "PutObjectAcl"),
    (GRANTS, "x-amz-grant-read", "PutObjectAcl"),
    (GRANTS, "x-amz-grant-read-acp", "PutObjectAcl"),
    (GRANTS, "x-amz-grant-write-acp", "PutObjectAcl"),
    (WRITES, "x-amz-tagging", "PutObjectTagging"),
    (WRITES, "x-amz-object-lock-mode", "PutObjectRetention"),
    (
        WRITES,
        "x-amz-object-lock-retain-until-date",
        "PutObjectRetention",
    ),
    (WRITES, "x-amz-object-lock-legal-hold", "PutObjectLegalHold"),
    (
        &["DeleteObject", "PutObjectRetention"],
        "x-amz-bypass-governance-retention",
        "BypassGovernanceRetention",
    ),
    (&["CreateBucket"], "x-amz-acl", "PutBucketAcl"),
    (
        &["CreateBucket"],
        "x-amz-grant-full-control",
        "PutBucketAcl",
    ),
    (&["CreateBucket"], "x-amz-grant-read", "PutBucketAcl"),
    (&["CreateBucket"], "x-amz-grant-read-acp", "PutBucketAcl"),
    (&["CreateBucket"], "x-amz-grant-write", "PutBucketAcl"),
    (&["CreateBucket"], "x-amz-grant-write-acp", "PutBucketAcl"),
    (
        &["CreateBucket"],
        "x-amz-bucket-object-lock-enabled",
        "PutBucketObjectLockConfiguration",
    ),
    (
        &["CreateBucket"],
        "x-amz-bucket-object-lock-enabled",
        "PutBucketVersioning",
    ),
    (
        &["CreateBucket"],
        "x-amz-object-ownership",
        "PutBucketOwnershipControls",
    ),
];

impl Asked<'_> {
    fn has_query(&self, key: &str) -> bool {
        form::pairs(self.request.query.as_bytes())
            .flatten()
            .any(|it| it.0 == key)
    }

    /// A header, or the query member that presigning makes of it.
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.request.headers.contains_key(name)
            || form::pairs(self.request.query.as_bytes())
                .flatten()
                .any(|it| it.0.eq_ignore_ascii_case(name))
    }
}

/// What stands in for the bucket.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    host: Option<Bucket<'a>>,
    bucket: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn of(asked: &Asked<'a>) -> Self {
        let object = asked.reading.object.as_ref();
        let host = object.map(|it| it.host);
        let bucket = match host {
            Some(Bucket::Named(name) | Bucket::Directory(name)) => Some(name),
            _ => object.and_then(|it| it.bucket.as_deref()),
        };
        Self {
            host,
            bucket,
            key: object.and_then(|it| it.key.as_deref()),
        }
    }

    /// The action, at the service of this host.
    pub(super) fn action(&self, name: &str) -> String {
        let prefix = match self.host {
            Some(Bucket::DirectoryControl) => "s3express",
            Some(Bucket::ObjectLambda(_)) => "s3-object-lambda",
            Some(Bucket::Outpost(_)) => "s3-outposts",
            _ => "s3",
        };
        format!("{prefix}:{name}")
    }

    fn bucket(&self, asked: &Asked<'_>) -> Resource {
        self.container(asked)
            .map_or(Resource::Unknown, Resource::Arn)
    }

    /// Another object of the same bucket.
    pub(super) fn other(self, asked: &Asked<'_>, key: &'a str) -> Resource {
        let key = Some(key);
        Self { key, ..self }.object(asked)
    }

    fn object(&self, asked: &Asked<'_>) -> Resource {
        match (self.container(asked), self.key) {
            (Some(container), Some(key)) if self.bucket.is_some() => {
                Resource::Arn(format!("{container}/{key}"))
            }
            (Some(container), Some(key)) => Resource::Arn(format!("{container}/object/{key}")),
            _ => Resource::Unknown,
        }
    }

    /// The ARN of bucket or access point.
    fn container(&self, asked: &Asked<'_>) -> Option<String> {
        let partition = asked.endpoint.partition;
        let region = asked.region;
        let point = |service: &str, named: &str, outpost: Option<&str>| {
            // `{name}-{account}`, the account always 12 digits.
            let (name, account) = named.rsplit_once('-')?;
            let digits = account.len() == 12 && account.bytes().all(|it| it.is_ascii_digit());
            let middle = outpost
                .map(|it| format!("outpost/{it}/"))
                .unwrap_or_default();
            digits.then(|| {
                format!(
                    "arn:{partition}:{service}:{}:{account}:{middle}accesspoint/{name}",
                    region.unwrap_or_default()
                )
            })
        };
        match self.host? {
            Bucket::InPath | Bucket::Named(_) => {
                let bucket = self.bucket?;
                Some(format!("arn:{partition}:s3:::{bucket}"))
            }
            Bucket::Directory(_) | Bucket::DirectoryControl => {
                let bucket = self.bucket?;
                Some(format!(
                    "arn:{partition}:s3express:{}:{}:bucket/{bucket}",
                    region?, asked.account?
                ))
            }
            Bucket::AccessPoint(named) => point("s3", named, None).filter(|_| region.is_some()),
            Bucket::ObjectLambda(named) => {
                point("s3-object-lambda", named, None).filter(|_| region.is_some())
            }
            Bucket::Outpost(named) => {
                let (named, outpost) = named.split_once('.')?;
                point("s3-outposts", named, Some(outpost)).filter(|_| region.is_some())
            }
            // The owner's account is not in the host.
            Bucket::MultiRegion(_) => None,
        }
    }
}

/// `[/]bucket/key[?versionId=…]`, or an access point's ARN with `/object/key`; percent-encoded.
fn copy_source(asked: &Asked<'_>) -> Access {
    let unknown = || one("s3:GetObject", Resource::Unknown);
    let mut headers = asked.request.headers.get_all("x-amz-copy-source").iter();
    let moved: Vec<Cow<'_, str>> = form::pairs(asked.request.query.as_bytes())
        .flatten()
        .filter(|it| it.0.eq_ignore_ascii_case("x-amz-copy-source"))
        .map(|it| it.1)
        .collect();
    let source: Cow<'_, str> = match (headers.next(), headers.next(), moved.as_slice()) {
        (Some(value), None, []) => match value.to_str() {
            Ok(value) => Cow::Borrowed(value),
            Err(_) => return unknown(),
        },
        (None, None, [value]) => Cow::Borrowed(value.as_ref()),
        _ => return unknown(),
    };
    let (path, version) = match source.split_once('?') {
        Some((path, query)) if query.starts_with("versionId=") => (path, true),
        Some(_) => return unknown(),
        None => (source.as_ref(), false),
    };
    let action = if version {
        "s3:GetObjectVersion"
    } else {
        "s3:GetObject"
    };
    let Some(path) = form::decode(path.as_bytes(), false) else {
        return unknown();
    };
    if path.starts_with("arn:") {
        if arn::parts(&path).is_some_and(|it| it.service == "s3-outposts") {
            let action = action.replacen("s3:", "s3-outposts:", 1);
            return one(action, Resource::Unknown);
        }
        return one(action, source_by_point(asked, path));
    }
    let resource = match path.strip_prefix('/').unwrap_or(&path).split_once('/') {
        Some((bucket, key)) if arn::is_name(bucket, "") && !key.is_empty() => Resource::Arn(
            format!("arn:{}:s3:::{bucket}/{key}", asked.endpoint.partition),
        ),
        _ => Resource::Unknown,
    };
    one(action, resource)
}

/// The object that a copy source names by an access point: `arn:…:s3:{region}:{account}:accesspoint/{name}/object/{key}`.
/// What others stand for (a multi-region access point) the request does not tell.
fn source_by_point(asked: &Asked<'_>, arn: Cow<'_, str>) -> Resource {
    let known = arn::parts(&arn).is_some_and(|it| {
        let object = it
            .resource
            .strip_prefix("accesspoint/")
            .and_then(|rest| rest.split_once("/object/"));
        it.partition == asked.endpoint.partition
            && it.service == "s3"
            && !it.region.is_empty()
            && !it.account.is_empty()
            && arn::is_place(it.region, it.account)
            && object.is_some_and(|(name, key)| arn::is_name(name, "") && !key.is_empty())
    });
    if known {
        Resource::Arn(arn.into_owned())
    } else {
        Resource::Unknown
    }
}
