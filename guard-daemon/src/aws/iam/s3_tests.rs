//! Actions and resources of S3 calls as SDKs make them.

use super::tests::{ACCOUNT, call, shown};
use crate::aws::Confidence;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn s3() {
    for (line, headers, expected) in [
        ("GET s3.amazonaws.com/", &[][..], "s3:ListAllMyBuckets *"),
        (
            "GET b.s3.amazonaws.com/?list-type=2",
            &[],
            "s3:ListBucket s3:::b",
        ),
        ("HEAD b.s3.amazonaws.com/", &[], "s3:ListBucket s3:::b"),
        (
            "GET s3.amazonaws.com/b/a%20b/c",
            &[],
            "s3:GetObject s3:::b/a b/c",
        ),
        (
            "HEAD b.s3.amazonaws.com/k?versionId=v",
            &[],
            "s3:GetObjectVersion s3:::b/k",
        ),
        (
            "DELETE b.s3.amazonaws.com/k?versionId=v",
            &[("x-amz-bypass-governance-retention", "true")],
            "s3:DeleteObjectVersion s3:::b/k; s3:BypassGovernanceRetention s3:::b/k",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            &[("x-amz-acl", "public-read"), ("x-amz-tagging", "a=b")],
            "s3:PutObject s3:::b/k; s3:PutObjectAcl s3:::b/k; s3:PutObjectTagging s3:::b/k",
        ),
        (
            "PUT b.s3.amazonaws.com/k?x-amz-acl=public-read&X-Amz-Signature=x",
            &[],
            "s3:PutObject s3:::b/k; s3:PutObjectAcl s3:::b/k",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            &[("x-amz-copy-source", "/src/a%2Fb?versionId=v")],
            "s3:PutObject s3:::b/k; s3:GetObjectVersion s3:::src/a/b",
        ),
        (
            "PUT b.s3.amazonaws.com/k?x-amz-copy-source=src%2Fkey",
            &[],
            "s3:PutObject s3:::b/k; s3:GetObject s3:::src/key",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            &[("x-amz-copy-source", "x"), ("x-amz-copy-source", "src/k")],
            "s3:PutObject s3:::b/k; s3:GetObject ?; s3:GetObjectVersion ?",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            &[(
                "x-amz-copy-source",
                "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/k%2A",
            )],
            "s3:PutObject s3:::b/k; s3:GetObject s3:us-east-1:123456789012:accesspoint/ap/object/k*",
        ),
        (
            "PUT b.s3.amazonaws.com/k",
            &[(
                "x-amz-copy-source",
                "arn:aws:s3-outposts:us-east-1:123456789012:outpost/op-1/object/k?versionId=v",
            )],
            "s3:PutObject s3:::b/k; s3-outposts:GetObjectVersion ?",
        ),
        (
            "PUT b.s3.amazonaws.com/k?uploadId=u&partNumber=1",
            &[],
            "s3:PutObject s3:::b/k",
        ),
        (
            "GET b.s3.amazonaws.com/k?uploadId=u",
            &[],
            "s3:ListMultipartUploadParts s3:::b/k",
        ),
        (
            "GET b.s3.amazonaws.com/?location",
            &[],
            "s3:GetBucketLocation s3:::b",
        ),
        (
            "GET b.s3.amazonaws.com/?versions",
            &[],
            "s3:ListBucketVersions s3:::b",
        ),
        (
            "GET b.s3.amazonaws.com/?lifecycle",
            &[],
            "s3:GetLifecycleConfiguration s3:::b",
        ),
        (
            "GET b.s3.amazonaws.com/?encryption",
            &[],
            "s3:GetEncryptionConfiguration s3:::b",
        ),
        (
            "DELETE b.s3.amazonaws.com/?publicAccessBlock",
            &[],
            "s3:PutBucketPublicAccessBlock s3:::b",
        ),
        (
            "GET b.s3.amazonaws.com/k?attributes",
            &[("x-amz-object-attributes", "ETag")],
            "s3:GetObject s3:::b/k; s3:GetObjectAttributes s3:::b/k",
        ),
        (
            "GET ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com/k",
            &[],
            "s3:GetObject s3:us-east-1:123456789012:accesspoint/ap/object/k",
        ),
        (
            "GET ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com/?list-type=2",
            &[],
            "s3:ListBucket s3:us-east-1:123456789012:accesspoint/ap",
        ),
        (
            "GET m.mrap.accesspoint.s3-global.amazonaws.com/k",
            &[],
            "s3:GetObject ?",
        ),
        (
            "GET ap-123456789012.op-1.s3-outposts.us-east-1.amazonaws.com/k",
            &[],
            "s3-outposts:GetObject s3-outposts:us-east-1:123456789012:outpost/op-1/accesspoint/ap/object/k",
        ),
        (
            "GET b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com/k",
            &[],
            "s3express:CreateSession s3express:us-east-1:123456789012:bucket/b--use1-az4--x-s3",
        ),
    ] {
        let scope = if line.contains("outposts") {
            "s3-outposts"
        } else {
            "s3"
        };
        let scope = if line.contains("s3express") {
            "s3express"
        } else {
            scope
        };
        assert_eq!(
            shown(&call(line, scope, headers, "", Some(ACCOUNT))),
            expected,
            "{line}"
        );
    }
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key><VersionId>1</VersionId></Object></Delete>";
    let deletes = call("POST x.s3.amazonaws.com/?delete", "s3", &[], body, None);
    assert_eq!(
        shown(&deletes),
        "s3:DeleteObject s3:::x/a; s3:DeleteObjectVersion s3:::x/b"
    );
    assert_eq!(deletes.confidence, Confidence::Exact);
    let unread = call(
        "POST x.s3.amazonaws.com/?delete",
        "s3",
        &[],
        "nonsense",
        None,
    );
    assert_eq!(
        shown(&unread),
        "s3:DeleteObject ?; s3:DeleteObjectVersion ?"
    );
    assert_eq!(unread.confidence, Confidence::Partial);
}
