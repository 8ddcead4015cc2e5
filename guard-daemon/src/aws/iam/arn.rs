//! ARNs from what a request, the account and the region say.

use super::Asked;
use crate::aws::Resource;

impl Asked<'_> {
    /// An ARN in the account and region of the call; unknown where either is.
    pub(super) fn arn(&self, service: &str, resource: &str) -> Resource {
        self.arn_in(service, self.region, self.account, resource)
    }

    /// An ARN elsewhere.
    pub(super) fn arn_in(
        &self,
        service: &str,
        region: Option<&str>,
        account: Option<&str>,
        resource: &str,
    ) -> Resource {
        match (region, account) {
            (Some(region), Some(account)) => {
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
    /// Service.
    pub(super) service: &'a str,
    /// All the rest.
    pub(super) resource: &'a str,
}

/// Splits an ARN.
pub(super) fn parts(arn: &str) -> Option<Parts<'_>> {
    let mut parts = arn.splitn(6, ':');
    let ("arn", Some(_)) = (parts.next()?, parts.next().filter(|it| !it.is_empty())) else {
        return None;
    };
    let service = parts.next()?;
    let (Some(_region), Some(_account)) = (parts.next(), parts.next()) else {
        return None;
    };
    let parts = Parts {
        service,
        resource: parts.next()?,
    };
    (!parts.service.is_empty() && !parts.resource.is_empty()).then_some(parts)
}

/// What is given as an ARN of this service, as it is.
pub(super) fn given(text: Option<&str>, service: &str) -> Resource {
    match text {
        Some(arn) if parts(arn).is_some_and(|it| it.service == service) => {
            Resource::Arn(arn.to_owned())
        }
        _ => Resource::Unknown,
    }
}

/// Whether a name can stand in an ARN without being taken for more than a name.
pub(super) fn is_name(name: &str, more: &str) -> bool {
    !name.is_empty()
        && name.len() <= 2048
        && name
            .chars()
            .all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it) || more.contains(it))
}
