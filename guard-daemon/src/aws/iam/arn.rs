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
