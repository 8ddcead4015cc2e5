//! ARNs from what a request, the account and the region say.

use super::Asked;
use crate::aws::{Resource, is_region};

/// Bytes of an ARN, or of what stands in one (IAM's limit for a policy's ARNs).
pub(super) const LONGEST: usize = 2048;

impl Asked<'_> {
    /// An ARN in the account and region of the call; unknown where either is.
    pub(super) fn arn(&self, service: &str, resource: &str) -> Resource {
        self.arn_in(service, self.region, self.account, resource)
    }

    /// An ARN elsewhere; unknown where region or account, which a request may name, are not written like one.
    pub(super) fn arn_in(
        &self,
        service: &str,
        region: Option<&str>,
        account: Option<&str>,
        resource: &str,
    ) -> Resource {
        match (region, account) {
            (Some(region), Some(account)) if is_place(region, account) => {
                let partition = self.endpoint.partition;
                Resource::Arn(format!(
                    "arn:{partition}:{service}:{region}:{account}:{resource}"
                ))
            }
            _ => Resource::Unknown,
        }
    }
}

/// The parts of an ARN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    /// Partition.
    pub(super) partition: &'a str,
    /// Service.
    pub(super) service: &'a str,
    /// Region; empty for services without.
    pub(super) region: &'a str,
    /// Account; empty for services without.
    pub(super) account: &'a str,
    /// All the rest.
    pub(super) resource: &'a str,
}

/// Splits an ARN.
pub(super) fn parts(arn: &str) -> Option<Parts<'_>> {
    let mut fields = arn.splitn(6, ':');
    if fields.next() != Some("arn") {
        return None;
    }
    let parts = Parts {
        partition: fields.next()?,
        service: fields.next()?,
        region: fields.next()?,
        account: fields.next()?,
        resource: fields.next()?,
    };
    let named = [parts.partition, parts.service, parts.resource];
    named.iter().all(|it| !it.is_empty()).then_some(parts)
}

/// What is given as an ARN of this service, as it is.
pub(super) fn given(text: Option<&str>, service: &str) -> Resource {
    match text {
        Some(arn) if is_usable(arn) && parts(arn).is_some_and(|it| it.service == service) => {
            Resource::Arn(arn.to_owned())
        }
        _ => Resource::Unknown,
    }
}

/// Whether a name can stand in an ARN without being taken for more than a name.
pub(super) fn is_name(name: &str, more: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it) || more.contains(it))
}

/// Whether text that a request gives can be a resource's: IAM's wildcards would make it more than one, and white
/// space at its ends a service may cut off.
pub(super) fn is_usable(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && text.trim() == text
        && !text.contains(|it: char| matches!(it, '*' | '?') || it.is_control())
}

/// Whether region and account are written like ones, or left out.
pub(super) fn is_place(region: &str, account: &str) -> bool {
    is_region(region) && account.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::aws::iam::tests::{ACCOUNT, call, shown};

    type Headers<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn sources_that_are_no_access_points_are_unknown() {
        for source in [
            "arn:aws:s2:us-east-1:123456789012:accesspoint/ap/object/k",
            "arn:aws-cn:s3:us-east-1:123456789012:accesspoint/ap/object/k",
            "arn:aws:s3:*:123456789012:accesspoint/ap/object/k",
            "arn:aws:s3:us-east-1:*:accesspoint/ap/object/k",
            "arn:aws:s3:us-east-1::accesspoint/ap/object/k",
            "arn:aws:s3::123456789012:accesspoint/m.mrap/object/k",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/*/object/k",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/a/b/object/k",
            "arn:aws:s3:us-east-1:123456789012:accesspoint/ap/object/",
            "arn:aws:s3:us-east-1:123456789012:bucket/b/object/k",
            "arn:aws:s3:::bucket/object/k",
        ] {
            let headers = [("x-amz-copy-source", source)];
            let read = call(
                "PUT b.s3.amazonaws.com/k",
                "s3",
                &headers,
                "",
                Some(ACCOUNT),
            );
            let wanted = "s3:PutObject s3:::b/k; s3:GetObject ?";
            assert_eq!(shown(&read), wanted, "{source}");
        }
    }

    #[test]
    fn arns_and_accounts_with_wildcards_are_unknown() {
        let json = |target| [("x-amz-target", target)];
        let cases: [(&str, &str, Headers<'_>, &str, &str); 5] = [
            (
                "POST sts.us-east-1.amazonaws.com/",
                "sts",
                &[("content-type", "application/x-www-form-urlencoded")],
                "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/%2A&Version=2011-06-15",
                "sts:AssumeRole ?",
            ),
            (
                "POST sqs.us-east-1.amazonaws.com/",
                "sqs",
                &json("AmazonSQS.GetQueueUrl"),
                r#"{"QueueName":"q","QueueOwnerAWSAccountId":"*"}"#,
                "sqs:GetQueueUrl ?",
            ),
            (
                "POST kms.us-east-1.amazonaws.com/",
                "kms",
                &json("TrentService.DescribeKey"),
                r#"{"KeyId":"arn:aws:kms:us-east-1:1:key/?"}"#,
                "kms:DescribeKey ?",
            ),
            (
                "POST lambda.us-east-1.amazonaws.com/2015-03-31/functions/arn:aws:lambda:us-east-1:*:function:f/invocations",
                "lambda",
                &[],
                "",
                "lambda:InvokeFunction ?",
            ),
            (
                "GET lambda.us-east-1.amazonaws.com/2018-10-31/layers/arn:aws:lambda:*:1:layer:l/versions/1",
                "lambda",
                &[],
                "",
                "lambda:GetLayerVersion ?",
            ),
        ];
        for (line, service, headers, body, wanted) in cases {
            let read = call(line, service, headers, body, Some(ACCOUNT));
            assert_eq!(shown(&read), wanted, "{line}");
        }
    }
}
