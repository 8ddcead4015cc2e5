//! Host → partition, region, service: is a host AWS, and which endpoint?
//!
//! Suffixes are those of botocore's `partitions.json` and endpoint rule sets. The catalog's generator runs
//! this very code over the rule sets' URLs, so that its host table and `classify` cannot disagree.

/// The host that guard serves itself, for tokens. `.internal` is nobody's in the public DNS, and guard's resolver
/// answers this name inside a session.
pub const OWN_HOST: &str = "token.guard.internal";

/// An AWS API endpoint, as its host name tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The partition (`aws`, `aws-cn`, …).
    pub partition: &'static str,
    /// The region in the host name, where there is one.
    pub region: Option<String>,
    /// The host's service labels, before region and suffix (`s3`, `bucket.s3`, `monitoring`, …), in
    /// one form: without `fips`, `dualstack`, `global` and PrivateLink's own labels.
    pub labels: String,
}

/// Classifies a lower-case host name; `None` where it is not an AWS API endpoint (customer content under
/// amazonaws.com, such as `execute-api`, is not).
pub fn classify(host: &str) -> Option<Endpoint> {
    if host.len() > 253 || !host.split('.').all(is_label) {
        return None;
    }
    if let Some(found) = sign_in(host) {
        return Some(found);
    }
    let (head, partition, open) = SUFFIXES
        .iter()
        .find_map(|&(suffix, partition)| Some((before(host, suffix)?, partition, true)))
        .or_else(|| Some((before(host, "on.aws")?, "aws", false)))?;
    let (head, private_link) = match before(head, "vpce") {
        Some(rest) => (rest, true),
        None => (head, false),
    };
    let mut labels: Vec<&str> = head.split('.').collect();
    let mut region = take_region(&mut labels);
    let mut partition = partition;
    // Not all endpoints of other partitions have their partition's suffix.
    if partition == "aws" {
        partition = match region {
            _ if labels.last() == Some(&"us-gov") => "aws-us-gov",
            Some(region) => partition_of(region),
            None => partition,
        };
    }
    while labels.len() > 1 && matches!(labels.last(), Some(&("us-gov" | "global" | "dualstack"))) {
        labels.pop();
    }
    if private_link {
        return private(&labels, partition, region);
    }
    if !open {
        let last = labels.last()?;
        let known = matches!(*last, "neptune-graph" | "osm");
        return known.then(|| endpoint(partition, region, &labels));
    }
    let last = *labels.last()?;
    if let Some((service, legacy_region)) = storage_label(last) {
        let place = labels.len() - 1;
        labels[place] = &service;
        region = region.or(legacy_region);
        return Some(endpoint(partition, region, &labels));
    }
    if region.is_none() && labels.len() > 1 && is_region(labels[0]) && REGION_FIRST.contains(&last)
    {
        region = Some(labels.remove(0));
    }
    if is_content(&labels) {
        return None;
    }
    // `search-x.us-east-1.es`: these services put the region between the customer's label and theirs.
    if let Some(place) = labels.iter().position(|label| is_region(label)) {
        if region.is_some() || place + 2 != labels.len() || !REGION_INSIDE.contains(&last) {
            return None;
        }
        region = Some(labels.remove(place));
    }
    labels.retain(|label| *label != "fips");
    for label in &mut labels {
        *label = label.strip_suffix("-fips").unwrap_or(label);
    }
    (!labels.is_empty()).then(|| endpoint(partition, region, &labels))
}

/// The DNS suffixes under which guard intercepts, and the host that it serves itself: the name constraints of its
/// authority. Every host that
/// `classify` accepts is under one of them; the reverse does not hold.
pub fn intercepted_suffixes() -> &'static [&'static str] {
    INTERCEPTED
}

/// The partition that a region is in: by its first letters, as botocore's `partitions.json` has them.
pub fn partition_of(region: &str) -> &'static str {
    REGIONS
        .iter()
        .find(|(start, _)| region.starts_with(start))
        .map_or("aws", |(_, partition)| partition)
}

/// The DNS suffix of a partition's regional hosts.
pub fn suffix_of(partition: &str) -> &'static str {
    // GovCloud's are those of the partition `aws`.
    let own = SUFFIXES.iter().find(|(_, owner)| *owner == partition);
    own.map_or("amazonaws.com", |(suffix, _)| suffix)
}

/// Whether a label is written like a region (`us-east-1`, `us-gov-west-1`, `eusc-de-east-1`).
pub fn is_region(label: &str) -> bool {
    let mut parts = label.split('-');
    let (Some(area), Some(number)) = (parts.next(), parts.next_back()) else {
        return false;
    };
    let middle = parts.fold(0, |count, part| {
        let word = part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
        if word { count + 1 } else { usize::MAX / 2 }
    });
    (2..=4).contains(&area.len())
        && area.bytes().all(|byte| byte.is_ascii_lowercase())
        && (1..=2).contains(&middle)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Of a partition the suffix of regional hosts first, then that of dual-stack hosts.
const SUFFIXES: &[(&str, &str)] = &[
    ("amazonaws.com", "aws"),
    ("api.aws", "aws"),
    ("amazonaws.com.cn", "aws-cn"),
    ("api.amazonwebservices.com.cn", "aws-cn"),
    ("amazonaws.eu", "aws-eusc"),
    ("api.amazonwebservices.eu", "aws-eusc"),
    ("c2s.ic.gov", "aws-iso"),
    ("api.aws.ic.gov", "aws-iso"),
    ("sc2s.sgov.gov", "aws-iso-b"),
    ("api.aws.scloud", "aws-iso-b"),
    ("cloud.adc-e.uk", "aws-iso-e"),
    ("api.cloud-aws.adc-e.uk", "aws-iso-e"),
    ("csp.hci.ic.gov", "aws-iso-f"),
    ("api.aws.hci.ic.gov", "aws-iso-f"),
];

/// How the regions of partitions other than `aws` begin.
const REGIONS: &[(&str, &str)] = &[
    ("cn-", "aws-cn"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
];

/// The sign-in service's own domains: `{region}.` before them, or nothing.
const SIGN_IN: &[(&str, &str)] = &[
    ("signin.aws.amazon.com", "aws"),
    ("oauth.signin.aws", "aws"),
    ("signin.amazonaws.cn", "aws-cn"),
    ("signin.amazonaws-us-gov.com", "aws-us-gov"),
    ("signin-fips.amazonaws-us-gov.com", "aws-us-gov"),
    ("signin.amazonaws-eusc.eu", "aws-eusc"),
    ("signin.c2shome.ic.gov", "aws-iso"),
    ("signin.sc2shome.sgov.gov", "aws-iso-b"),
    ("signin.csphome.adc-e.uk", "aws-iso-e"),
    ("signin.csphome.hci.ic.gov", "aws-iso-f"),
];

const INTERCEPTED: &[&str] = &[
    "amazonaws.com",
    "api.aws",
    "on.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
    "api.aws.hci.ic.gov",
    "csp.hci.ic.gov",
    OWN_HOST,
    "signin.aws.amazon.com",
    "oauth.signin.aws",
    "signin.amazonaws.cn",
    "signin.amazonaws-us-gov.com",
    "signin-fips.amazonaws-us-gov.com",
    "signin.amazonaws-eusc.eu",
    "signin.c2shome.ic.gov",
    "signin.sc2shome.sgov.gov",
    "signin.csphome.adc-e.uk",
    "signin.csphome.hci.ic.gov",
];

/// Services that once stood, or stand, behind the region.
const REGION_FIRST: &[&str] = &["elasticmapreduce", "neptune-graph", "queue", "signin"];

/// Services whose customers' endpoints are signed API calls and have the region before the service.
const REGION_INSIDE: &[&str] = &["aoss", "cloudsearch", "es", "neptune", "neptune-graph"];

/// Labels that make a host a customer's, wherever they stand.
const CONTENT: &[&str] = &[
    "appsync-api",
    "appsync-realtime-api",
    "awsapprunner",
    "cache",
    "compute",
    "compute-1",
    "dax-clusters",
    "eks-cluster",
    "elb",
    "execute-api",
    "git-codecommit",
    "git-codecommit-fips",
    "lambda-url",
    "s3-website",
];

/// Services whose API host is the bare label and whose customers' hosts are under it.
const CONTENT_BELOW: &[&str] = &[
    "airflow",
    "docdb",
    "ecr",
    "efs",
    "eks",
    "elasticfilesystem",
    "fsx",
    "kafka",
    "kafka-serverless",
    "memorydb",
    "mq",
    "rds",
    "redshift",
    "redshift-serverless",
];

/// Prefixes that are AWS's own labels, not customers'.
const API_PREFIXES: &[&str] = &["api", "env", "fips", "ops"];

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        })
}

/// What stands before `.suffix`, if something does.
fn before<'a>(host: &'a str, suffix: &str) -> Option<&'a str> {
    host.strip_suffix(suffix)?
        .strip_suffix('.')
        .filter(|head| !head.is_empty())
}

fn endpoint(partition: &'static str, region: Option<&str>, labels: &[&str]) -> Endpoint {
    Endpoint {
        partition,
        region: region.map(str::to_owned),
        labels: labels.join("."),
    }
}

fn sign_in(host: &str) -> Option<Endpoint> {
    SIGN_IN.iter().find_map(|&(suffix, partition)| {
        let region = match host.strip_suffix(suffix)? {
            "" => None,
            head => Some(head.strip_suffix('.').filter(|label| is_region(label))?),
        };
        Some(endpoint(partition, region, &["signin"]))
    })
}

/// Takes the region off the end, under a trailing `us-gov` as some services have it.
fn take_region<'a>(labels: &mut Vec<&'a str>) -> Option<&'a str> {
    let place = labels
        .iter()
        .rposition(|label| !matches!(*label, "us-gov" | "global"))?;
    (place > 0 && is_region(labels[place])).then(|| labels.remove(place))
}

/// S3's own label, without `-fips` and the region that old hosts carry in it.
fn storage_label(label: &str) -> Option<(String, Option<&str>)> {
    let plain = label.strip_suffix("-fips").unwrap_or(label);
    match plain {
        "s3" | "s3-accelerate" | "s3-accesspoint" | "s3-control" | "s3-global"
        | "s3-object-lambda" | "s3-outposts" | "s3express-control" => {
            Some((plain.to_owned(), None))
        }
        "s3-external-1" => Some(("s3".to_owned(), Some("us-east-1"))),
        _ => {
            if let Some(region) = plain.strip_prefix("s3-").filter(|it| is_region(it)) {
                return Some(("s3".to_owned(), Some(region)));
            }
            let zone = plain.strip_prefix("s3express-")?;
            Some((
                format!("s3express-{}", zone.strip_prefix("fips-").unwrap_or(zone)),
                None,
            ))
        }
    }
}

/// `vpce-0abc.monitoring.R.vpce…`, and S3's `[my-bucket.]{bucket|accesspoint|control}.vpce-0abc.s3.R.vpce…`.
fn private(labels: &[&str], partition: &'static str, region: Option<&str>) -> Option<Endpoint> {
    let place = labels.iter().position(|label| label.starts_with("vpce-"))?;
    let service = labels.get(place + 1..).filter(|rest| !rest.is_empty())?;
    if service.iter().any(|label| CONTENT.contains(label)) {
        return None;
    }
    if service != ["s3"] {
        return (place == 0).then(|| endpoint(partition, region, service));
    }
    let (kind, customer) = labels[..place].split_last()?;
    let name = match *kind {
        "bucket" => "s3",
        "accesspoint" => "s3-accesspoint",
        "control" => "s3-control",
        _ => return None,
    };
    Some(endpoint(partition, region, &[customer, &[name]].concat()))
}

fn is_content(labels: &[&str]) -> bool {
    let (Some(last), rest) = (labels.last(), &labels[..labels.len() - 1]) else {
        return true;
    };
    labels
        .iter()
        .any(|label| CONTENT.contains(label) || label.starts_with("s3-website-"))
        || (CONTENT_BELOW.contains(last)
            && !rest.is_empty()
            && !rest.iter().all(|label| API_PREFIXES.contains(label)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[allow(clippy::too_many_lines, reason = "a table of cases")]
    fn api_hosts() {
        for (host, partition, region, labels) in [
            ("s3.amazonaws.com", "aws", None, "s3"),
            ("b.s3.amazonaws.com", "aws", None, "b.s3"),
            (
                "my-fips.s3-fips.dualstack.us-east-2.amazonaws.com",
                "aws",
                Some("us-east-2"),
                "my-fips.s3",
            ),
            (
                "my.dotted.us-east-1.s3.us-west-2.amazonaws.com",
                "aws",
                Some("us-west-2"),
                "my.dotted.us-east-1.s3",
            ),
            ("us-east-1.s3.amazonaws.com", "aws", None, "us-east-1.s3"),
            (
                "b.s3-us-west-2.amazonaws.com",
                "aws",
                Some("us-west-2"),
                "b.s3",
            ),
            (
                "s3-external-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "s3",
            ),
            (
                "b.s3-accelerate.dualstack.amazonaws.com",
                "aws",
                None,
                "b.s3-accelerate",
            ),
            (
                "ap-123.s3-accesspoint-fips.dualstack.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "ap-123.s3-accesspoint",
            ),
            (
                "m.mrap.accesspoint.s3-global.amazonaws.com",
                "aws",
                None,
                "m.mrap.accesspoint.s3-global",
            ),
            (
                "b--use1-az4--x-s3.s3express-fips-use1-az4.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "b--use1-az4--x-s3.s3express-use1-az4",
            ),
            (
                "123456789012.s3-control.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "123456789012.s3-control",
            ),
            (
                "monitoring.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "monitoring",
            ),
            (
                "monitoring-fips.us-gov-west-1.amazonaws.com",
                "aws-us-gov",
                Some("us-gov-west-1"),
                "monitoring",
            ),
            ("iam.us-gov.amazonaws.com", "aws-us-gov", None, "iam"),
            ("iam.global.api.aws", "aws", None, "iam"),
            (
                "routes.geo.us-gov-west-1.us-gov.api.aws",
                "aws-us-gov",
                Some("us-gov-west-1"),
                "routes.geo",
            ),
            ("sts.amazonaws.com", "aws", None, "sts"),
            (
                "dynamodb.cn-north-1.amazonaws.com.cn",
                "aws-cn",
                Some("cn-north-1"),
                "dynamodb",
            ),
            (
                "123456789012.ddb.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "123456789012.ddb",
            ),
            (
                "lambda.eusc-de-east-1.api.amazonwebservices.eu",
                "aws-eusc",
                Some("eusc-de-east-1"),
                "lambda",
            ),
            (
                "fips.batch.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "batch",
            ),
            (
                "api-fips.sagemaker.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "api.sagemaker",
            ),
            (
                "us-east-1.queue.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "queue",
            ),
            (
                "g-1.us-east-1.neptune-graph.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "g-1.neptune-graph",
            ),
            (
                "search-x.us-east-1.es.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "search-x.es",
            ),
            (
                "vpce-0a-b.monitoring.us-east-1.vpce.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "monitoring",
            ),
            (
                "bucket.vpce-0a-b.s3.us-east-1.vpce.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "s3",
            ),
            (
                "mine.bucket.vpce-0a-b.s3.us-east-1.vpce.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "mine.s3",
            ),
            (
                "us-east-1.signin.aws.amazon.com",
                "aws",
                Some("us-east-1"),
                "signin",
            ),
            (
                "api.airflow.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "api.airflow",
            ),
            (
                "api.ecr.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "api.ecr",
            ),
            (
                "rds.us-east-1.amazonaws.com",
                "aws",
                Some("us-east-1"),
                "rds",
            ),
        ] {
            let found = classify(host).unwrap_or_else(|| panic!("{host} is AWS"));
            let found = (
                found.partition,
                found.region.as_deref(),
                found.labels.as_str(),
            );
            assert_eq!(found, (partition, region, labels), "{host}");
        }
    }

    #[test]
    fn content_and_strangers() {
        for host in [
            "amazonaws.com",
            "example.com",
            "amazonaws.com.evil.example",
            "evilamazonaws.com",
            "s3..amazonaws.com",
            "a b.s3.amazonaws.com",
            "x.execute-api.us-east-1.amazonaws.com",
            "vpce-1.execute-api.us-east-1.vpce.amazonaws.com",
            "x.lambda-url.us-east-1.on.aws",
            "b.s3-website-us-east-1.amazonaws.com",
            "b.s3-website.eu-central-1.amazonaws.com",
            "x.us-east-1.elb.amazonaws.com",
            "x.y.us-east-1.rds.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "x.gr7.us-east-1.eks.amazonaws.com",
            "x.gr7.eks-cluster.us-east-1.api.aws",
            "x.gr7.eks-cluster.cn-north-1.api.amazonwebservices.com.cn",
            "clustercfg.m.abc.memorydb.us-east-1.amazonaws.com",
            "m-0001-001.m.abc.memorydb.us-east-1.amazonaws.com",
            "git-codecommit.us-east-1.amazonaws.com",
            "git-codecommit-fips.us-east-1.amazonaws.com",
            "git-codecommit.cn-north-1.amazonaws.com.cn",
            "vpce-0a.git-codecommit.us-east-1.vpce.amazonaws.com",
            "vpce-0a.git-codecommit-fips.us-east-1.vpce.amazonaws.com",
            "ec2-1-2-3-4.us-west-2.compute.amazonaws.com",
            "b-1.x.kafka.us-east-1.amazonaws.com",
            "d1.cloudfront.net",
        ] {
            assert_eq!(classify(host), None, "{host}");
        }
    }

    /// As botocore's `partitions.json` has them (`dnsSuffix`).
    #[test]
    fn each_partition_has_its_own_suffix() {
        for (region, partition, suffix) in [
            ("eu-west-1", "aws", "amazonaws.com"),
            ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
            ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
            ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
            ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
            ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
            ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
            ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
        ] {
            assert_eq!(partition_of(region), partition, "{region}");
            assert_eq!(suffix_of(partition), suffix, "{region}");
        }
    }

    proptest! {
        #[test]
        fn accepted_hosts_are_under_a_constraint(head in "[a-z0-9.-]{0,40}", which in 0..INTERCEPTED.len(), dot in "\\.?") {
            let host = format!("{head}{dot}{}", INTERCEPTED[which]);
            if classify(&host).is_some() {
                let under = |suffix: &str| host == suffix || before(&host, suffix).is_some();
                prop_assert!(intercepted_suffixes().iter().any(|it| under(it)));
            }
        }
    }
}
