//! What a guest starts with: an initramfs of busybox, a few modules, and the commands to run.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::images::Image;
use crate::place::{environment, root};

/// Static, from the package `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";

/// What must be there to reach the root file system and to report.
const MODULES: [&str; 5] = [
    "virtio_pci",
    "virtio_console",
    "virtio_rng",
    "virtiofs",
    "overlay",
];

/// The initramfs, in the kernel's `newc` format. `places` are the host's directories that must be visible.
pub(crate) fn initramfs(
    image: &Image,
    commands: &[String],
    places: &[PathBuf],
) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.directory("bin");
    archive.file(
        "bin/busybox",
        &fs::read(BUSYBOX).context("cannot read busybox")?,
    );
    archive.file("init", include_bytes!("init.sh"));

    archive.directory("modules");
    let mut order = String::new();
    for file in image.files_of(&MODULES)? {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let contents =
            fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        archive.file(&format!("modules/{name}"), &contents);
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("modules/order", order.as_bytes());

    archive.directory("guest");
    archive.file("guest/run.sh", include_bytes!("run.sh"));
    archive.file("guest/environment", variables().as_bytes());
    archive.file("guest/modules", image.modules.as_os_str().as_bytes());
    let places: Vec<&[u8]> = places
        .iter()
        .map(|place| place.as_os_str().as_bytes())
        .collect();
    archive.file(
        "guest/places",
        &[&places.join(&b'\n'), b"\n" as &[u8]].concat(),
    );
    for (number, command) in commands.iter().enumerate() {
        archive.file(
            &format!("guest/command.{number}"),
            format!("{command}\n").as_bytes(),
        );
    }
    Ok(archive.finish())
}

/// What the commands find in their environment, as shell assignments.
fn variables() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    [
        ("PATH", Path::new(&path)),
        ("GUARD_BIN", &super::guard()),
        ("GUARD_TEST_ENV", &environment()),
        ("GUARD_VM_DIRECTORY", &root()),
    ]
    .map(|(name, value)| {
        let value = value.to_string_lossy().replace('\'', r"'\''");
        format!("export {name}='{value}'\n")
    })
    .concat()
}

/// A cpio archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, contents: &[u8]) {
        self.entry(name, 0o100_755, contents);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        // Magic, then 13 numbers: inode, mode, owner, group, links, time, size, device, its device, name, checksum.
        let numbers = [
            self.entries as usize,
            mode as usize,
            0,
            0,
            1,
            0,
            contents.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes
                .extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_the_archive_ends() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/a", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        // 110 bytes of header, the name with its zero, up to the next multiple of four.
        assert_eq!(&bytes[116..122], b"070701");
        assert_eq!(&bytes[116 + 116..116 + 121], b"12345");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
