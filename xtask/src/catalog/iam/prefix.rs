//! Under which prefixes of IAM's a service's actions may be.

use super::data::Reference;
use crate::catalog::wheel::Model;

/// Prefixes, the likeliest first; each one is in the reference.
pub(crate) fn of(model: &Model, reference: &Reference) -> Vec<String> {
    let metadata = &model.service["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default().to_owned();
    let endpoint = text("endpointPrefix");
    let signing = metadata["signingName"]
        .as_str()
        .map_or_else(|| endpoint.clone(), str::to_owned);
    let listed = LISTED
        .iter()
        .filter(|it| it.0 == model.name)
        .map(|it| it.1.to_owned());
    let mut found: Vec<String> = Vec::new();
    for name in listed.chain([signing, model.name.clone(), endpoint]) {
        if reference.services.contains_key(&name) && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// Where IAM's prefix is not the signing name, or a second one is in use.
const LISTED: &[(&str, &str)] = &[
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
