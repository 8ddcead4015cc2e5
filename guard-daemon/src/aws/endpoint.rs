//! Host → partition, region, service: is a host AWS, and which endpoint?

/// An AWS API endpoint, as its host name tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The partition (`aws`, `aws-cn`, …).
    pub partition: &'static str,
    /// The region in the host name, where there is one.
    pub region: Option<String>,
    /// The host's service labels, before region and suffix (`s3`, `bucket.s3`, `monitoring`, …).
    pub labels: String,
}

/// Classifies a lower-case host name; `None` where it is not an AWS API endpoint (customer content under
/// amazonaws.com, such as `execute-api`, is not).
pub fn classify(_host: &str) -> Option<Endpoint> {
    unimplemented!("contract")
}

/// The DNS suffixes under which guard intercepts: the name constraints of its authority.
pub fn intercepted_suffixes() -> &'static [&'static str] {
    unimplemented!("contract")
}
