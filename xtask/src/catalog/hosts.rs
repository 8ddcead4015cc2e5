//! Hosts and signing names of a service, from its endpoint rule set and host prefixes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{endpoint, wheel::Model};

/// How a service is reached.
#[derive(Default)]
pub(crate) struct Hosts {
    /// Labels, as `endpoint::classify` gives them.
    pub(crate) whole: BTreeSet<String>,
    /// Labels that follow the customer's own.
    pub(crate) tails: BTreeSet<String>,
    /// Services of credential scopes.
    pub(crate) signers: BTreeSet<String>,
}

/// Reads them.
pub(crate) fn of(model: &Model) -> Hosts {
    let mut hosts = Hosts::default();
    let metadata = &model.service["metadata"];
    let prefix = metadata["endpointPrefix"].as_str().unwrap_or(&model.name);
    hosts.signers.insert(
        metadata["signingName"]
            .as_str()
            .unwrap_or(prefix)
            .to_owned(),
    );
    hosts.add(&format!("{prefix}.us-east-1.amazonaws.com"), "");
    let mut templates = BTreeSet::new();
    collect(&model.rules, &mut hosts, &mut templates);
    for template in templates {
        for template in with_values(&template, &model.service) {
            hosts.add(&fill(&template), VARIABLE);
        }
    }
    let bases = hosts.whole.clone();
    for operation in model.service["operations"]
        .as_object()
        .into_iter()
        .flat_map(|it| it.values())
    {
        let Some(prefix) = operation["endpoint"]["hostPrefix"].as_str() else {
            continue;
        };
        for base in &bases {
            if prefix.contains('{') {
                hosts.tails.insert(base.clone());
            } else {
                hosts.whole.insert(format!("{prefix}{base}"));
            }
        }
    }
    for &(service, labels) in LEGACY.iter().chain(TOLD) {
        if service == model.name {
            hosts.whole.insert(labels.to_owned());
        }
    }
    for &(service, labels) in CUSTOMER {
        if service == model.name {
            hosts.tails.insert(labels.to_owned());
        }
    }
    hosts
}

/// Hosts of before endpoint rule sets.
const LEGACY: &[(&str, &str)] = &[("sqs", "queue"), ("sns", "notify")];

/// Hosts that only answers or documentation tell of.
const TOLD: &[(&str, &str)] = &[("machinelearning", "realtime.machinelearning")];

/// Hosts made per customer, which no rule set has because clients ask for them.
const CUSTOMER: &[(&str, &str)] = &[
    ("cloudsearchdomain", "cloudsearch"),
    ("iot-data", "iot"),
    ("iot-jobs-data", "iot"),
    ("iot-jobs-data", "jobs.iot"),
    ("kinesis-video-archived-media", "kinesisvideo"),
    ("kinesis-video-media", "kinesisvideo"),
    ("kinesis-video-signaling", "kinesisvideo"),
    ("mediastore-data", "mediastore"),
    ("neptunedata", "neptune"),
    ("timestream-query", "timestream"),
    ("timestream-write", "timestream"),
];

impl Hosts {
    fn add(&mut self, host: &str, marker: &str) {
        let Some(found) = endpoint::classify(host) else {
            return;
        };
        let labels: Vec<&str> = found.labels.split('.').collect();
        match labels
            .iter()
            .rposition(|label| !marker.is_empty() && label.contains(marker))
        {
            None => {
                self.whole.insert(found.labels);
            }
            // A variable within the service's own label leaves nothing to look up: S3 Express, Outposts.
            Some(place) if place + 1 < labels.len() => {
                self.tails.insert(labels[place + 1..].join("."));
            }
            Some(_) => {}
        }
    }
}

fn collect(rules: &Value, hosts: &mut Hosts, templates: &mut BTreeSet<String>) {
    match rules {
        Value::Object(members) => {
            if let Some(url) = members.get("endpoint").and_then(|it| it["url"].as_str())
                && let Some(host) = url.strip_prefix("https://")
            {
                templates.insert(host.split('/').next().unwrap_or(host).to_owned());
            }
            let schemes = members.get("authSchemes").and_then(Value::as_array);
            for name in schemes
                .into_iter()
                .flatten()
                .filter_map(|it| it["signingName"].as_str())
            {
                hosts.signers.insert(name.to_owned());
            }
            members
                .values()
                .for_each(|it| collect(it, hosts, templates));
        }
        Value::Array(items) => items.iter().for_each(|it| collect(it, hosts, templates)),
        _ => {}
    }
}

/// The template with each variable replaced that operations give a fixed value: `{OperationType}-kinesis`.
fn with_values(template: &str, service: &Value) -> BTreeSet<String> {
    let mut done = BTreeSet::from([template.to_owned()]);
    let operations = service["operations"].as_object();
    for operation in operations.into_iter().flat_map(|it| it.values()) {
        let fixed = operation["staticContextParams"].as_object();
        for (name, value) in fixed.into_iter().flatten() {
            let Some(value) = value["value"].as_str() else {
                continue;
            };
            let variable = format!("{{{name}}}");
            if template.contains(&variable) {
                done.remove(template);
                done.insert(template.replace(&variable, value));
            }
        }
    }
    done
}

/// What a variable of the customer's becomes in `fill`.
const VARIABLE: &str = "zzvariablezz";

/// Puts an example in for each variable of a URL template.
fn fill(template: &str) -> String {
    let mut host = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        host.push_str(before);
        host.push_str(if name.ends_with("#dnsSuffix") {
            "amazonaws.com"
        } else if name.ends_with("#dualStackDnsSuffix") {
            "api.aws"
        } else if name == "Region" || name.ends_with("#region") || name.ends_with("GlobalRegion") {
            "us-east-1"
        } else {
            VARIABLE
        });
        rest = after;
    }
    host.push_str(rest);
    host
}
