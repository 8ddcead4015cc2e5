//! Services by their hosts: PrivateLink, FIPS, dual stack, other partitions, and customers' content.

use super::{Sent, known};
use crate::aws::IdentifyError;

#[test]
fn the_same_call_at_every_kind_of_host() {
    let lambda = "/2015-03-31/functions/f";
    for (host, path, service, operation, partition, region) in [
        (
            "lambda.us-east-1.amazonaws.com",
            lambda,
            "lambda",
            "GetFunction",
            "aws",
            Some("us-east-1"),
        ),
        (
            "lambda-fips.us-east-1.amazonaws.com",
            lambda,
            "lambda",
            "GetFunction",
            "aws",
            Some("us-east-1"),
        ),
        (
            "lambda.us-east-1.api.aws",
            lambda,
            "lambda",
            "GetFunction",
            "aws",
            Some("us-east-1"),
        ),
        (
            "lambda-fips.us-gov-west-1.api.aws",
            lambda,
            "lambda",
            "GetFunction",
            "aws-us-gov",
            Some("us-gov-west-1"),
        ),
        (
            "lambda.us-gov-west-1.amazonaws.com",
            lambda,
            "lambda",
            "GetFunction",
            "aws-us-gov",
            Some("us-gov-west-1"),
        ),
        (
            "lambda.cn-north-1.amazonaws.com.cn",
            lambda,
            "lambda",
            "GetFunction",
            "aws-cn",
            Some("cn-north-1"),
        ),
        (
            "lambda.cn-northwest-1.api.amazonwebservices.com.cn",
            lambda,
            "lambda",
            "GetFunction",
            "aws-cn",
            Some("cn-northwest-1"),
        ),
        (
            "lambda.us-iso-east-1.c2s.ic.gov",
            lambda,
            "lambda",
            "GetFunction",
            "aws-iso",
            Some("us-iso-east-1"),
        ),
        (
            "lambda.us-isob-east-1.sc2s.sgov.gov",
            lambda,
            "lambda",
            "GetFunction",
            "aws-iso-b",
            Some("us-isob-east-1"),
        ),
        (
            "lambda.eu-isoe-west-1.cloud.adc-e.uk",
            lambda,
            "lambda",
            "GetFunction",
            "aws-iso-e",
            Some("eu-isoe-west-1"),
        ),
        (
            "lambda.us-isof-south-1.csp.hci.ic.gov",
            lambda,
            "lambda",
            "GetFunction",
            "aws-iso-f",
            Some("us-isof-south-1"),
        ),
        (
            "lambda.eusc-de-east-1.amazonaws.eu",
            lambda,
            "lambda",
            "GetFunction",
            "aws-eusc",
            Some("eusc-de-east-1"),
        ),
        (
            "vpce-0a-0b.lambda.us-east-1.vpce.amazonaws.com",
            lambda,
            "lambda",
            "GetFunction",
            "aws",
            Some("us-east-1"),
        ),
        (
            "vpce-0a-0b-us-east-1c.lambda.us-east-1.vpce.amazonaws.com",
            lambda,
            "lambda",
            "GetFunction",
            "aws",
            Some("us-east-1"),
        ),
        (
            "vpce-0a-0b.lambda.us-gov-west-1.vpce.amazonaws.com",
            lambda,
            "lambda",
            "GetFunction",
            "aws-us-gov",
            Some("us-gov-west-1"),
        ),
        (
            "vpce-0a-0b.lambda.cn-north-1.vpce.amazonaws.com.cn",
            lambda,
            "lambda",
            "GetFunction",
            "aws-cn",
            Some("cn-north-1"),
        ),
        (
            "vpce-0a-0b.email.us-east-1.vpce.amazonaws.com",
            "/v2/email/account",
            "sesv2",
            "GetAccount",
            "aws",
            Some("us-east-1"),
        ),
        (
            "vpce-0a-0b.elasticfilesystem.us-east-1.vpce.amazonaws.com",
            "/2015-02-01/file-systems",
            "efs",
            "DescribeFileSystems",
            "aws",
            Some("us-east-1"),
        ),
    ] {
        let line = format!("GET {host}{path}");
        let call = Sent::new(&line)
            .identify(None)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(
            (
                call.service,
                known(&call),
                call.partition,
                call.region.as_deref()
            ),
            (Some(service), Some(operation), partition, region),
            "{line}"
        );
    }
}

#[test]
fn customers_content_is_no_api() {
    for host in [
        "abc.execute-api.us-east-1.amazonaws.com",
        "vpce-0a-0b.execute-api.us-east-1.vpce.amazonaws.com",
        "abc.lambda-url.us-east-1.on.aws",
        "b.s3-website-us-east-1.amazonaws.com",
        "b.s3-website.eu-central-1.amazonaws.com",
        "x.appsync-api.us-east-1.amazonaws.com",
        "x.us-east-1.awsapprunner.com",
        "d111111abcdef8.cloudfront.net",
        "git-codecommit.us-east-1.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "s3.amazonaws.com.evil.example",
        "evil-s3.amazonaws.com.evil.example",
        "s3.amazonaws.com.",
        "s3amazonaws.com",
        "[::1]",
        "127.0.0.1",
        "",
    ] {
        let error = Sent::new(&format!("GET {host}/")).identify(None);
        assert!(
            matches!(error, Err(IdentifyError::NotAws { .. })),
            "{host}: {error:?}"
        );
    }
}
