//! S3's actions, which mostly have other names than its operations, and its resources.

use super::{Asked, Input, one, s3_copy, s3_delete, s3_role};
use crate::aws::{Access, Resource, catalog, form, operation::Bucket};

/// What an S3 operation asks for.
pub(super) fn access(asked: &Asked<'_>, input: &Input<'_>, operation: &str) -> Vec<Access> {
    let target = Target::of(asked);
    // The zone's endpoint asks for the session's permission only.
    if let Some(Bucket::Directory(name)) = target.host {
        let mut access = vec![session(asked, name)];
        if is_copy(operation) {
            access.extend(s3_copy::source(asked));
        }
        return access;
    }
    let mut access = match operation {
        "ListBuckets" => vec![one("s3:ListAllMyBuckets", Resource::Any)],
        "ListDirectoryBuckets" => vec![one("s3express:ListAllMyDirectoryBuckets", Resource::Any)],
        "WriteGetObjectResponse" => {
            vec![one(
                "s3-object-lambda:WriteGetObjectResponse",
                Resource::Unknown,
            )]
        }
        "DeleteObjects" => s3_delete::access(asked, input, &target),
        _ => on_target(asked, operation, &target),
    };
    access.extend(s3_role::passed(input, operation));
    if let (Some(Bucket::InPath | Bucket::Named(_)), Some(name)) = (target.host, target.bucket) {
        Kind::of(name).also(asked, name, &mut access);
    }
    if is_copy(operation) {
        access.extend(s3_copy::source(asked));
    }
    access
}

fn on_target(asked: &Asked<'_>, operation: &str, target: &Target<'_>) -> Vec<Access> {
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

/// Whether the body names objects or roles.
pub(super) fn reads_body(operation: &str) -> bool {
    operation == "DeleteObjects" || s3_role::may_pass(operation)
}

/// Whether the call reads another object.
pub(super) fn is_copy(operation: &str) -> bool {
    matches!(operation, "CopyObject" | "UploadPartCopy")
}

/// What calls on a directory bucket, or on an access point of one, go under.
pub(super) fn session(asked: &Asked<'_>, name: &str) -> Access {
    let kind = match Kind::of(name) {
        Kind::DirectoryPoint => "accesspoint",
        _ => "bucket",
    };
    let resource = asked.arn("s3express", &format!("{kind}/{name}"));
    one("s3express:CreateSession", resource)
}

/// What the name of a bucket stands for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A general purpose bucket.
    Bucket,
    /// A directory bucket.
    Directory,
    /// An access point of a directory bucket.
    DirectoryPoint,
    /// An access point, which its alias does not tell; with the service whose actions may be asked for instead.
    Alias(Option<&'static str>),
    /// The files of a table in S3 Tables.
    Table,
}

/// How names end that S3 makes itself, and that no bucket's own name may end in.
const ENDINGS: &[(&str, Kind)] = &[
    ("--x-s3", Kind::Directory),
    ("--xa-s3", Kind::DirectoryPoint),
    ("-s3alias", Kind::Alias(None)),
    (".mrap", Kind::Alias(None)),
    ("--ol-s3", Kind::Alias(Some("s3-object-lambda"))),
    ("--op-s3", Kind::Alias(Some("s3-outposts"))),
    ("--table-s3", Kind::Table),
];

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        let ends = |ending: &str| {
            let start = name.len().checked_sub(ending.len());
            start
                .and_then(|it| name.get(it..))
                .is_some_and(|it| it.eq_ignore_ascii_case(ending))
        };
        let found = ENDINGS.iter().find(|it| ends(it.0));
        found.map_or(Self::Bucket, |it| it.1)
    }

    /// Adds what may be asked for beside, or instead of, S3's own actions, whose resource is unknown then. A deny of
    /// either shall hold.
    pub(super) fn also(self, asked: &Asked<'_>, name: &str, access: &mut Vec<Access>) {
        let actions = access.iter().filter_map(|it| it.action.as_deref());
        let mut names = actions.filter_map(|it| it.strip_prefix("s3:"));
        let more: Vec<Access> = match self {
            Self::Bucket | Self::Alias(None) => return,
            Self::Directory | Self::DirectoryPoint => vec![session(asked, name)],
            Self::Alias(Some(service)) => names
                .map(|it| format!("{service}:{it}"))
                .filter(|it| catalog::action(it).is_some())
                .map(|it| one(it, Resource::Unknown))
                .collect(),
            Self::Table if names.all(|it| it.starts_with("Get") || it.starts_with("List")) => {
                vec![one("s3tables:GetTableData", Resource::Unknown)]
            }
            Self::Table => vec![one("s3tables:PutTableData", Resource::Unknown)],
        };
        access.extend(more);
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
            Some(Bucket::Named(name)) => Some(name),
            _ => object.and_then(|it| it.bucket.as_deref()),
        };
        Self {
            host,
            bucket,
            // S3 takes a `+` in a path for a space, which other readers of paths do not; SDKs send `%2B`.
            key: object
                .and_then(|it| it.key.as_deref())
                .filter(|_| !asked.request.path.contains('+')),
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
            // Its objects are no resources of their own.
            (Some(container), Some(_)) if matches!(self.host, Some(Bucket::ObjectLambda(_))) => {
                Resource::Arn(container)
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
                let bucket = self
                    .bucket
                    .filter(|it| matches!(Kind::of(it), Kind::Bucket))?;
                Some(format!("arn:{partition}:s3:::{bucket}"))
            }
            Bucket::DirectoryControl => {
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
            // The owner's account is not in the host; a directory bucket's calls ask for its session.
            Bucket::MultiRegion(_) | Bucket::Directory(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::aws::iam::tests::{ACCOUNT, call, shown};

    #[test]
    fn names_of_no_bucket() {
        for (name, wanted) in [
            ("a-s3alias", "s3:GetObject ?"),
            ("m.mrap", "s3:GetObject ?"),
            ("a--ol-s3", "s3:GetObject ?; s3-object-lambda:GetObject ?"),
            ("a--op-s3", "s3:GetObject ?; s3-outposts:GetObject ?"),
            ("a--table-s3", "s3:GetObject ?; s3tables:GetTableData ?"),
            (
                "d--use1-az4--x-s3",
                "s3:GetObject ?; s3express:CreateSession s3express:us-east-1:123456789012:bucket/d--use1-az4--x-s3",
            ),
            ("a-s3alias.b", "s3:GetObject s3:::a-s3alias.b/k"),
            ("-s3aliasb", "s3:GetObject s3:::-s3aliasb/k"),
        ] {
            for line in [
                format!("GET {name}.s3.amazonaws.com/k"),
                format!("GET s3.us-east-1.amazonaws.com/{name}/k"),
                format!("GET {name}.s3-accelerate.amazonaws.com/k"),
            ] {
                let found = call(&line, "s3", &[], "", Some(ACCOUNT));
                assert_eq!(shown(&found), wanted, "{line}");
            }
        }
        for (line, wanted) in [
            (
                "GET a-s3alias.s3.amazonaws.com/?list-type=2",
                "s3:ListBucket ?",
            ),
            (
                "PUT a--table-s3.s3.amazonaws.com/k",
                "s3:PutObject ?; s3tables:PutTableData ?",
            ),
            (
                "DELETE a--ol-s3.s3.amazonaws.com/k?versionId=v",
                "s3:DeleteObjectVersion ?; s3-object-lambda:DeleteObjectVersion ?",
            ),
            (
                "POST a--ol-s3.s3.amazonaws.com/?delete",
                "s3:DeleteObject ?; s3:DeleteObjectVersion ?; s3-object-lambda:DeleteObject ?; s3-object-lambda:DeleteObjectVersion ?",
            ),
            // Object Lambda has no such action.
            (
                "GET a--ol-s3.s3.amazonaws.com/?lifecycle",
                "s3:GetLifecycleConfiguration ?",
            ),
            (
                "GET s3.us-east-1.amazonaws.com/a-S3ALIAS/k",
                "s3:GetObject ?",
            ),
        ] {
            let found = call(line, "s3", &[], "", Some(ACCOUNT));
            assert_eq!(shown(&found), wanted, "{line}");
        }
        let line = "GET o-123456789012.s3-object-lambda.us-east-1.amazonaws.com/k";
        let found = call(line, "s3-object-lambda", &[], "", Some(ACCOUNT));
        let wanted =
            "s3-object-lambda:GetObject s3-object-lambda:us-east-1:123456789012:accesspoint/o";
        assert_eq!(shown(&found), wanted);
    }
}
