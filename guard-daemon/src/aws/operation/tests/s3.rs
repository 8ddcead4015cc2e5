//! S3 by every host and path: what names a bucket, a key, an operation, and what names none.

use super::{Sent, known};
use crate::aws::{IdentifyError, Operation, Protocol, Resource};

/// The operation and the first resource of a request; a resource that is none is `-`.
fn read(line: &str) -> (Option<&'static str>, String) {
    let call = Sent::new(line)
        .identify(None)
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(call.protocol, Protocol::S3, "{line}");
    let resource = match &call.access[0].resources[0] {
        Resource::Arn(arn) => arn.clone(),
        Resource::Any => "*".to_owned(),
        Resource::Unknown => "-".to_owned(),
    };
    (known(&call), resource)
}

#[test]
fn hosts_name_buckets_and_what_stands_for_them() {
    for (host, resource) in [
        ("b.s3.amazonaws.com", "arn:aws:s3:::b/k"),
        ("b.s3.us-west-2.amazonaws.com", "arn:aws:s3:::b/k"),
        ("b.s3-us-west-2.amazonaws.com", "arn:aws:s3:::b/k"),
        ("b.s3-external-1.amazonaws.com", "arn:aws:s3:::b/k"),
        ("b.s3-fips.us-east-1.amazonaws.com", "arn:aws:s3:::b/k"),
        (
            "b.s3-fips.dualstack.us-east-1.amazonaws.com",
            "arn:aws:s3:::b/k",
        ),
        ("b.s3.dualstack.us-east-1.amazonaws.com", "arn:aws:s3:::b/k"),
        ("b.s3-accelerate.amazonaws.com", "arn:aws:s3:::b/k"),
        (
            "b.s3-accelerate.dualstack.amazonaws.com",
            "arn:aws:s3:::b/k",
        ),
        (
            "my.dotted.bucket.s3.amazonaws.com",
            "arn:aws:s3:::my.dotted.bucket/k",
        ),
        // Names that look like parts of an endpoint.
        ("us-west-2.s3.amazonaws.com", "arn:aws:s3:::us-west-2/k"),
        (
            "a.us-west-2.s3.us-east-1.amazonaws.com",
            "arn:aws:s3:::a.us-west-2/k",
        ),
        ("s3.s3.amazonaws.com", "arn:aws:s3:::s3/k"),
        ("s3-fips.s3.amazonaws.com", "arn:aws:s3:::s3-fips/k"),
        (
            "x.s3-accesspoint.s3.us-east-1.amazonaws.com",
            "arn:aws:s3:::x.s3-accesspoint/k",
        ),
        (
            "x.dualstack.s3.us-east-1.amazonaws.com",
            "arn:aws:s3:::x.dualstack/k",
        ),
        ("vpce-1.s3.us-east-1.amazonaws.com", "arn:aws:s3:::vpce-1/k"),
        // Other partitions.
        ("b.s3.cn-north-1.amazonaws.com.cn", "arn:aws-cn:s3:::b/k"),
        (
            "b.s3.dualstack.cn-north-1.amazonaws.com.cn",
            "arn:aws-cn:s3:::b/k",
        ),
        (
            "b.s3.us-gov-west-1.amazonaws.com",
            "arn:aws-us-gov:s3:::b/k",
        ),
        (
            "b.s3-fips.us-gov-west-1.amazonaws.com",
            "arn:aws-us-gov:s3:::b/k",
        ),
        ("b.s3.us-iso-east-1.c2s.ic.gov", "arn:aws-iso:s3:::b/k"),
        (
            "b.s3.us-isob-east-1.sc2s.sgov.gov",
            "arn:aws-iso-b:s3:::b/k",
        ),
        (
            "b.s3.eu-isoe-west-1.cloud.adc-e.uk",
            "arn:aws-iso-e:s3:::b/k",
        ),
        (
            "b.s3.us-isof-south-1.csp.hci.ic.gov",
            "arn:aws-iso-f:s3:::b/k",
        ),
        ("b.s3.eusc-de-east-1.amazonaws.eu", "arn:aws-eusc:s3:::b/k"),
        // PrivateLink.
        (
            "b.bucket.vpce-0a-0b.s3.us-east-1.vpce.amazonaws.com",
            "arn:aws:s3:::b/k",
        ),
        (
            "b.bucket.vpce-0a-0b-us-east-1a.s3.us-east-1.vpce.amazonaws.com",
            "arn:aws:s3:::b/k",
        ),
        (
            "ap-123456789012.accesspoint.vpce-0a-0b.s3.us-east-1.vpce.amazonaws.com",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/k",
        ),
        // What stands for a bucket.
        (
            "ap-123456789012.s3-accesspoint.us-east-1.amazonaws.com",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/k",
        ),
        (
            "my-ap-123456789012.s3-accesspoint-fips.dualstack.us-gov-west-1.amazonaws.com",
            "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/my-ap/object/k",
        ),
    ] {
        let found = read(&format!("GET {host}/k"));
        assert_eq!(found, (Some("GetObject"), resource.to_owned()), "{host}");
    }
    for (host, operation) in [
        (
            "o-123456789012.s3-object-lambda.us-east-1.amazonaws.com",
            "GetObject",
        ),
        (
            "o-123456789012.s3-object-lambda-fips.us-gov-west-1.amazonaws.com",
            "GetObject",
        ),
        (
            "a-123456789012.op-01ac5d28a6a232904.s3-outposts.us-west-2.amazonaws.com",
            "GetObject",
        ),
        (
            "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com",
            "GetObject",
        ),
        (
            "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
            "GetObject",
        ),
        (
            "b--use1-az4--x-s3.s3express-fips-use1-az4.dualstack.us-east-1.amazonaws.com",
            "GetObject",
        ),
        (
            "a--use1-az4--xa-s3.s3express-use1-az4.us-east-1.amazonaws.com",
            "GetObject",
        ),
    ] {
        assert_eq!(read(&format!("GET {host}/k")).0, Some(operation), "{host}");
    }
    for host in [
        "s3.amazonaws.com",
        "s3.us-west-2.amazonaws.com",
        "s3-us-west-2.amazonaws.com",
        "bucket.vpce-0a-0b.s3.us-east-1.vpce.amazonaws.com",
    ] {
        let found = read(&format!("GET {host}/my.dotted.bucket/k"));
        assert_eq!(
            found,
            (
                Some("GetObject"),
                "arn:aws:s3:::my.dotted.bucket/k".to_owned()
            ),
            "{host}"
        );
    }
}

#[test]
fn control_endpoints() {
    for (line, service, operation) in [
        (
            "GET 123456789012.s3-control.us-east-1.amazonaws.com/v20180820/accesspoint/ap",
            "s3control",
            Some("GetAccessPoint"),
        ),
        (
            "GET 123456789012.s3-control-fips.dualstack.us-gov-west-1.amazonaws.com/v20180820/jobs",
            "s3control",
            Some("ListJobs"),
        ),
        (
            "GET s3-control.us-east-1.amazonaws.com/v20180820/jobs/j",
            "s3control",
            Some("DescribeJob"),
        ),
        (
            "GET 123456789012.control.vpce-0a-0b.s3.us-east-1.vpce.amazonaws.com/v20180820/jobs",
            "s3control",
            Some("ListJobs"),
        ),
        (
            "GET s3-outposts.us-west-2.amazonaws.com/v20180820/bucket/b",
            "s3control",
            Some("GetBucket"),
        ),
        (
            "GET s3-outposts.us-west-2.amazonaws.com/S3Outposts/ListEndpoints",
            "s3outposts",
            Some("ListEndpoints"),
        ),
        (
            "GET s3express-control.us-east-1.amazonaws.com/",
            "s3",
            Some("ListDirectoryBuckets"),
        ),
        (
            "DELETE s3express-control.us-east-1.amazonaws.com/b--use1-az4--x-s3",
            "s3",
            Some("DeleteBucket"),
        ),
        (
            "PUT s3express-control.us-east-1.amazonaws.com/b--use1-az4--x-s3?policy",
            "s3",
            Some("PutBucketPolicy"),
        ),
        (
            "GET s3express-control.us-east-1.amazonaws.com/v20180820/accesspoint/ap",
            "s3control",
            Some("GetAccessPoint"),
        ),
    ] {
        let call = Sent::new(line)
            .identify(None)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(
            (call.service, known(&call)),
            (Some(service), operation),
            "{line}"
        );
    }
}

#[test]
fn paths_are_taken_as_they_stand() {
    for (target, operation, resource) in [
        // S3 does not normalise paths: these are keys.
        ("/b//k", Some("GetObject"), "arn:aws:s3:::b//k"),
        ("/b/a/../k", Some("GetObject"), "arn:aws:s3:::b/a/../k"),
        (
            "/b/../../c/k",
            Some("GetObject"),
            "arn:aws:s3:::b/../../c/k",
        ),
        ("/b/%2e%2e/k", Some("GetObject"), "arn:aws:s3:::b/../k"),
        ("/b/./k", Some("GetObject"), "arn:aws:s3:::b/./k"),
        ("/b/a%2Fk", Some("GetObject"), "arn:aws:s3:::b/a/k"),
        ("/b/a%252Fk", Some("GetObject"), "arn:aws:s3:::b/a%2Fk"),
        ("/b/a%2Bb%20c", Some("GetObject"), "arn:aws:s3:::b/a+b c"),
        // S3 takes the `+` for a space.
        ("/b/a+b%20c", Some("GetObject"), "-"),
        ("/b/%C3%A9", Some("GetObject"), "arn:aws:s3:::b/\u{e9}"),
        ("/b/k/", Some("GetObject"), "arn:aws:s3:::b/k/"),
        ("/b/acl", Some("GetObject"), "arn:aws:s3:::b/acl"),
        (
            "/b/v20180820/jobs",
            Some("GetObject"),
            "arn:aws:s3:::b/v20180820/jobs",
        ),
        ("/%62/k", Some("GetObject"), "arn:aws:s3:::b/k"),
        ("/b/", Some("ListObjects"), "arn:aws:s3:::b"),
        ("/b", Some("ListObjects"), "arn:aws:s3:::b"),
        // Not a name of a bucket, so nothing is known.
        ("//b/k", None, "-"),
        ("/./b/k", None, "-"),
        ("/../b/k", None, "-"),
        ("/%2e%2e/b/k", None, "-"),
        ("/%2E/k", None, "-"),
        ("/b%2Fk", None, "-"),
        ("/b%2fk/l", None, "-"),
        ("/b:c/k", None, "-"),
        ("/b%00/k", None, "-"),
        ("/b*/k", None, "-"),
        ("/%/k", None, "-"),
        ("/b/%", None, "-"),
        ("/b/%zz", None, "-"),
        ("/b/%ff", None, "-"),
        ("/b/%c0%af", None, "-"),
        ("/b/%u002f", None, "-"),
    ] {
        let found = read(&format!("GET s3.amazonaws.com{target}"));
        assert_eq!(found, (operation, resource.to_owned()), "{target}");
    }
    for target in ["/b/%00", "/b/%3Facl", "/b/policy%3Fx=1", "/b/*"] {
        let found = read(&format!("GET s3.amazonaws.com{target}"));
        assert_eq!(found.0, Some("GetObject"), "{target}");
    }
    for (target, key) in [
        ("/../k", "../k"),
        ("//k", "/k"),
        ("/b/k", "b/k"),
        ("/%2e", "."),
    ] {
        let found = read(&format!("GET b.s3.amazonaws.com{target}"));
        assert_eq!(
            found,
            (Some("GetObject"), format!("arn:aws:s3:::b/{key}")),
            "{target}"
        );
    }
}

#[test]
fn queries_name_operations_exactly() {
    for (line, operation) in [
        ("GET /k?acl", Some("GetObjectAcl")),
        ("GET /k?acl=", Some("GetObjectAcl")),
        ("GET /k?%61cl", Some("GetObjectAcl")),
        ("GET /k?&acl&", Some("GetObjectAcl")),
        ("GET /k?acl&versionId=1", Some("GetObjectAcl")),
        ("GET /?acl", Some("GetBucketAcl")),
        ("GET /?location", Some("GetBucketLocation")),
        ("GET /?versions&prefix=a", Some("ListObjectVersions")),
        ("GET /?uploads", Some("ListMultipartUploads")),
        (
            "GET /?list-type=2&prefix=&delimiter=%2F",
            Some("ListObjectsV2"),
        ),
        (
            "GET /?analytics&id=x",
            Some("GetBucketAnalyticsConfiguration"),
        ),
        ("GET /?analytics", Some("ListBucketAnalyticsConfigurations")),
        ("GET /k?partNumber=1&versionId=2", Some("GetObject")),
        ("GET /k?uploadId=u&max-parts=1", Some("ListParts")),
        ("GET /k?attributes", None),
        ("HEAD /", Some("HeadBucket")),
        ("HEAD /k", Some("HeadObject")),
        ("PUT /k", Some("PutObject")),
        ("PUT /k?x-amz-copy-source=%2Fa%2Fb", Some("CopyObject")),
        ("PUT /k?tagging", Some("PutObjectTagging")),
        ("PUT /k?partNumber=1&uploadId=u", Some("UploadPart")),
        (
            "PUT /k?partNumber=1&uploadId=u&X-Amz-Copy-Source=a%2Fb",
            Some("UploadPartCopy"),
        ),
        ("POST /k?uploads", Some("CreateMultipartUpload")),
        ("POST /k?uploadId=u", Some("CompleteMultipartUpload")),
        ("POST /k?restore", Some("RestoreObject")),
        ("POST /k?select&select-type=2", Some("SelectObjectContent")),
        ("POST /?delete", Some("DeleteObjects")),
        ("DELETE /k?versionId=1", Some("DeleteObject")),
        ("DELETE /?policy", Some("DeleteBucketPolicy")),
        // Odd case is another key, and what S3 makes of it is not known.
        ("GET /k?ACL", None),
        ("GET /k?Acl", None),
        ("GET /?List-Type=2", None),
        ("GET /k?versionID=1", None),
        ("DELETE /k?UploadId=u", None),
        // Not keys of any operation there.
        ("GET /k?acl%00", None),
        ("GET /k?acl+", None),
        ("GET /k?acl;versionId=1", None),
        ("GET /k?=acl", None),
        ("GET /k?list-type=2", None),
        ("GET /?list-type=3", None),
        ("GET /k?acl&tagging", None),
        ("PUT /k?acl&tagging", None),
        ("PUT /k?uploads", None),
        ("POST /k?select&select-type=3", None),
        ("POST /k", None),
        ("POST /", None),
        ("PATCH /k", None),
        ("TRACE /k", None),
        ("get /k", None),
    ] {
        let (method, target) = line.split_once(' ').unwrap();
        let host = if target.contains("attributes") {
            "b.s3.us-east-1"
        } else {
            "b.s3"
        };
        let found = read(&format!("{method} {host}.amazonaws.com{target}"));
        assert_eq!(found.0, operation, "{line}");
    }
    for query in [
        "acl&acl",
        "acl&%61cl",
        "versionId=1&versionId=2",
        "versionId=1&versionId=1",
        "partNumber=1&partNumber=1",
    ] {
        let error = Sent::new(&format!("GET b.s3.amazonaws.com/k?{query}")).identify(None);
        assert!(
            matches!(error, Err(IdentifyError::Repeated { .. })),
            "{query}: {error:?}"
        );
    }
    for query in [
        "prefix=a&prefix=b",
        "list-type=2&list-type=2",
        "list-type=2&prefix=a&prefix=a",
    ] {
        let error = Sent::new(&format!("GET b.s3.amazonaws.com/?{query}")).identify(None);
        assert!(
            matches!(error, Err(IdentifyError::Repeated { .. })),
            "{query}: {error:?}"
        );
    }
    for query in ["%", "a=%f", "%ff=1", "acl&%c0%af"] {
        let error = Sent::new(&format!("GET b.s3.amazonaws.com/k?{query}")).identify(None);
        assert!(
            matches!(error, Err(IdentifyError::Unreadable { .. })),
            "{query}: {error:?}"
        );
    }
}

#[test]
fn presigned_urls_are_what_they_presign() {
    let v4 = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20261125%2Fus-east-1%2Fs3%2Faws4_request\
              &X-Amz-Date=20261125T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t&X-Amz-Signature=s";
    let v2 = "AWSAccessKeyId=A&Signature=s&Expires=1764000000&x-amz-security-token=t";
    for signature in [v4, v2] {
        for (line, operation) in [
            ("GET b.s3.amazonaws.com/k?", Some("GetObject")),
            (
                "GET b.s3.amazonaws.com/k?response-content-disposition=x&versionId=1&",
                Some("GetObject"),
            ),
            ("PUT b.s3.amazonaws.com/k?", Some("PutObject")),
            (
                "PUT s3.us-west-2.amazonaws.com/b/k?partNumber=2&uploadId=u&",
                Some("UploadPart"),
            ),
            ("GET s3.amazonaws.com/b?list-type=2&", Some("ListObjectsV2")),
            ("DELETE b.s3.amazonaws.com/k?", Some("DeleteObject")),
            ("HEAD b.s3.amazonaws.com/k?", Some("HeadObject")),
            ("GET b.s3.amazonaws.com/k?newthing&", None),
        ] {
            assert_eq!(
                read(&format!("{line}{signature}")).0,
                operation,
                "{line}{signature}"
            );
        }
    }
}

#[test]
fn headers_that_name_the_operation() {
    let put = |query: &str, name: &'static str| {
        let sent = Sent::new(&format!("PUT b.s3.amazonaws.com/k{query}")).header(name, "/a/b");
        known(&sent.identify(None).unwrap())
    };
    assert_eq!(put("", "x-amz-copy-source"), Some("CopyObject"));
    assert_eq!(
        put("?partNumber=1&uploadId=u", "x-amz-copy-source"),
        Some("UploadPartCopy")
    );
    assert_eq!(put("", "x-amz-copy-sourc"), Some("PutObject"));
    assert_eq!(
        put("?renameObject", "x-amz-rename-source"),
        Some("RenameObject")
    );
    let attributes =
        Sent::new("GET b.s3.amazonaws.com/k?attributes").header("x-amz-object-attributes", "ETag");
    assert_eq!(
        known(&attributes.identify(None).unwrap()),
        Some("GetObjectAttributes")
    );
}

#[test]
fn other_subresources_never_read_or_write_an_object() {
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let call = Sent::new(&format!(
            "{method} b.s3.amazonaws.com/k?subresource-of-next-year"
        ));
        assert_eq!(call.identify(None).unwrap().operation, Operation::Unknown);
    }
}
