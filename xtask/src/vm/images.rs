//! Debian's kernels: found with apt, unpacked without being installed, and kept.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Kernel, share};
use crate::place::{run, target};
use crate::setup::debian_if_known;

/// QEMU, its guests' first programs, and what indexes the kernels' modules.
const PACKAGES: [&str; 3] = ["busybox-static", "kmod", "qemu-system-x86"];

/// A kernel ready to be booted.
pub(crate) struct Image {
    /// Its package's version, `6.1.192-2`.
    pub(crate) version: String,
    /// The compressed kernel.
    pub(crate) kernel: PathBuf,
    /// The directory of its modules, `…/lib/modules/RELEASE`, with `modules.dep`.
    pub(crate) modules: PathBuf,
    /// The security modules that it was built to start with, `bpf` left out.
    pub(crate) security_modules: String,
}

/// Installs what guests need; `Some` tells why this host cannot have it.
pub(crate) fn install() -> anyhow::Result<Option<String>> {
    let id = Command::new("id").arg("-u").output()?;
    if id.stdout.trim_ascii() != b"0" {
        return Ok(Some("needs root: it shares the host's files".to_owned()));
    }
    if !debian_if_known(&PACKAGES)? {
        return Ok(Some(format!(
            "this release has no packages {}",
            PACKAGES.join(", ")
        )));
    }
    // QEMU has its own file system daemon up to version 7.
    if share::program().is_none()
        && !(debian_if_known(&["virtiofsd"])? && share::program().is_some())
    {
        return Ok(Some("this release has no virtiofsd".to_owned()));
    }
    Ok(None)
}

/// Where kernels are kept, by version: `GUARD_VM_CACHE`, else below the target directory. To get a newer kernel,
/// remove the kept one.
pub(crate) fn cache() -> PathBuf {
    let place =
        std::env::var_os("GUARD_VM_CACHE").map_or_else(|| target().join("vm"), PathBuf::from);
    std::path::absolute(&place).unwrap_or(place)
}

/// The newest kernel of a series that is kept, else the newest that apt knows; the inner `Err` tells why there is
/// none.
pub(crate) fn image(kernel: Kernel) -> anyhow::Result<Result<Image, String>> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    if let Some(kept) = newest(kept(&cache)?, kernel) {
        return read(&cache.join(kept)).map(Ok);
    }
    run(Command::new("apt-get").args(["-q", "update"]))?;
    let Some(package) = newest(known()?, kernel) else {
        let series = kernel.series();
        return Ok(Err(format!(
            "this release has no kernel {series} for clouds"
        )));
    };
    read(&download(&cache, &package)?).map(Ok)
}

/// The names of the directories in the cache.
fn kept(cache: &Path) -> anyhow::Result<Vec<String>> {
    let entries =
        fs::read_dir(cache).with_context(|| format!("cannot read {}", cache.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// The kernels for clouds that apt knows.
fn known() -> anyhow::Result<Vec<String>> {
    let output = Command::new("apt-cache")
        .args(["pkgnames", "linux-image-6."])
        .output()
        .context("apt-cache did not start")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// The newest of a series among `linux-image-6.1.0-56-cloud-amd64` (and, in the cache, `…_6.1.192-2`).
fn newest(names: Vec<String>, kernel: Kernel) -> Option<String> {
    let prefix = format!("linux-image-{}.", kernel.series());
    names
        .into_iter()
        .filter(|name| name.starts_with(&prefix))
        .filter(|name| {
            let package = name.split('_').next().unwrap_or(name);
            package.ends_with("-cloud-amd64")
        })
        .max_by_key(|name| numbers(name))
}

/// The numbers in a name, which order versions of one series.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Downloads and unpacks a kernel's package to `PACKAGE_VERSION` in the cache.
fn download(cache: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let scratch = tempfile::Builder::new().prefix(".new-").tempdir_in(cache)?;
    run(Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
        .current_dir(scratch.path()))?;
    let archive = fs::read_dir(scratch.path())?
        .next()
        .with_context(|| format!("apt-get downloaded nothing for {package}"))??
        .path();
    let field = Command::new("dpkg-deb")
        .args(["--field"])
        .arg(&archive)
        .arg("Version")
        .output()?;
    let version = String::from_utf8(field.stdout)?.trim().to_owned();
    ensure!(!version.is_empty(), "{} has no version", archive.display());
    let unpacked = scratch.path().join("unpacked");
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(&archive)
        .arg(&unpacked))?;
    // Debian does this when the package is installed.
    let release = package.trim_start_matches("linux-image-");
    run(Command::new("depmod").arg("-b").arg(&unpacked).arg(release))?;
    let place = cache.join(format!("{package}_{version}"));
    // Another run may have been faster; what it kept is the same.
    if let Err(error) = fs::rename(&unpacked, &place)
        && !place.exists()
    {
        return Err(error).with_context(|| format!("cannot make {}", place.display()));
    }
    Ok(place)
}

/// Finds a kernel's parts where its package was unpacked.
fn read(place: &Path) -> anyhow::Result<Image> {
    let name = place
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (package, version) = name
        .split_once('_')
        .with_context(|| format!("{} is not named by version", place.display()))?;
    let release = package.trim_start_matches("linux-image-");
    let config = place.join(format!("boot/config-{release}"));
    let config = fs::read_to_string(&config).with_context(|| {
        format!(
            "cannot read {}; remove {}",
            config.display(),
            place.display()
        )
    })?;
    Ok(Image {
        version: version.to_owned(),
        kernel: place.join(format!("boot/vmlinuz-{release}")),
        modules: place.join("lib/modules").join(release),
        security_modules: security_modules(&config)
            .with_context(|| format!("{package} has no CONFIG_LSM"))?,
    })
}

fn security_modules(config: &str) -> Option<String> {
    let line = config
        .lines()
        .find_map(|line| line.strip_prefix("CONFIG_LSM="))?;
    let modules: Vec<&str> = line
        .trim_matches('"')
        .split(',')
        .filter(|module| *module != "bpf")
        .collect();
    Some(modules.join(","))
}

impl Image {
    /// The files of these modules and of all that they need, in an order in which they load; what is built into
    /// the kernel is left out.
    pub(crate) fn files_of(&self, wanted: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        let index = self.modules.join("modules.dep");
        let index = fs::read_to_string(&index)
            .with_context(|| format!("cannot read {}", index.display()))?;
        Ok(in_order(&index, wanted)
            .into_iter()
            .map(|file| self.modules.join(file))
            .collect())
    }
}

/// Reads `modules.dep`: `kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko`, the needed ones last to first.
fn in_order<'a>(index: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let by_name: HashMap<&str, (&str, &str)> = index
        .lines()
        .filter_map(|line| {
            let (file, needs) = line.split_once(':')?;
            let name = file.rsplit('/').next()?.split('.').next()?;
            Some((name, (file, needs)))
        })
        .collect();
    let mut order = Vec::new();
    for (file, needs) in wanted.iter().filter_map(|name| by_name.get(name)) {
        for file in needs.split_whitespace().rev().chain([*file]) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_taken() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-unsigned",
            "linux-image-6.12.100+deb12-cloud-amd64",
            "linux-image-6.12.9+deb12-cloud-amd64",
        ];
        let of = |kernel| newest(names.map(str::to_owned).to_vec(), kernel);
        assert_eq!(of(Kernel::V6_1).as_deref(), Some(names[1]));
        assert_eq!(of(Kernel::V6_12).as_deref(), Some(names[3]));
    }

    #[test]
    fn modules_load_after_what_they_need() {
        let index = "kernel/a.ko.xz: kernel/b.ko.xz kernel/c.ko.xz\nkernel/b.ko.xz: kernel/c.ko.xz\n\
                     kernel/c.ko.xz:\nkernel/d.ko.xz: kernel/c.ko.xz\n";
        assert_eq!(
            in_order(index, &["a", "d", "built_in"]),
            [
                "kernel/c.ko.xz",
                "kernel/b.ko.xz",
                "kernel/a.ko.xz",
                "kernel/d.ko.xz"
            ]
        );
    }

    #[test]
    fn the_built_in_list_is_read_without_bpf() {
        let config = "CONFIG_X=y\nCONFIG_LSM=\"landlock,yama,apparmor,bpf,ipe\"\n";
        assert_eq!(
            security_modules(config).as_deref(),
            Some("landlock,yama,apparmor,ipe")
        );
    }
}
