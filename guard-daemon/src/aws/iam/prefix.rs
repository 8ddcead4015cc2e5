//! A service's prefix in IAM actions: its signing name, but for these.

use crate::aws::catalog::Service;

/// The prefix.
pub(super) fn of(service: Service) -> &'static str {
    let name = service.name();
    match BY_SERVICE.binary_search_by(|it| it.0.cmp(name)) {
        Ok(place) => BY_SERVICE[place].1,
        Err(_) => service.signing_name(),
    }
}

/// botocore's name → IAM prefix, by the Service Authorization Reference; sorted.
const BY_SERVICE: &[(&str, &str)] = &[
    ("cloudcontrol", "cloudformation"),
    ("cloudwatch", "cloudwatch"),
    ("iot-data", "iot"),
    ("iot-jobs-data", "iotjobsdata"),
    ("iotsecuretunneling", "iot"),
    ("mturk", "mechanicalturk"),
    ("partnercentral-account", "partnercentral"),
    ("partnercentral-benefits", "partnercentral"),
    ("partnercentral-channel", "partnercentral"),
    ("partnercentral-selling", "partnercentral"),
    ("resourcegroupstaggingapi", "tag"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::catalog;

    #[test]
    fn sorted_and_real() {
        assert!(BY_SERVICE.is_sorted_by(|one, other| one.0 < other.0));
        for (name, prefix) in BY_SERVICE {
            let service = catalog::service(name).unwrap_or_else(|| panic!("no service {name}"));
            assert_ne!(service.signing_name(), *prefix, "{name} needs no entry");
        }
    }
}
