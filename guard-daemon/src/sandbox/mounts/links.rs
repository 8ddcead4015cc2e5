//! Links in directories of keys: what they lead to holds keys, too. Tools for configuration files (GNU stow, chezmoi,
//! home-manager) keep the files elsewhere and put links in their places.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::super::report::{Report, Stage, on};

/// Levels of directories below a store, names in it, and files and directories elsewhere that all of a session's
/// stores lead to, at the most.
const DEEPEST: usize = 16;
const MOST_NAMES: usize = 65_536;
const MOST_TARGETS: usize = 256;

/// Where the host has its programs. They are no keys, and the session needs them.
const PROGRAMS: [&str; 12] = [
    "/bin",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/sbin",
    "/usr/share",
];

/// What links in the stores lead to elsewhere, but for links in what is `shown`. To be called with the rights of the
/// user, `uid`. One whose target's owner is another counts only if the link is the user's own: nobody else hides
/// files from a session of root's. What is too much is an error in the user's own stores, and passed over in those of
/// others.
pub(super) fn targets(
    stores: &BTreeSet<PathBuf>,
    shown: &[PathBuf],
    uid: u32,
) -> Result<BTreeSet<PathBuf>, Report> {
    let real = |path: &PathBuf| fs::canonicalize(path).ok();
    let mut walk = Walk {
        hidden: stores.iter().filter_map(real).collect(),
        shown,
        uid,
        found: BTreeSet::new(),
    };
    let owner = |store: &&PathBuf| fs::metadata(store).ok().map(|found| found.uid());
    let (own, others): (Vec<_>, Vec<_>) =
        stores.iter().partition(|store| owner(store) == Some(uid));
    for store in own {
        walk.directory(store).map_err(on(Stage::Stores, store))?;
    }
    for store in others {
        let _ = walk.directory(store);
    }
    Ok(walk.found)
}

struct Walk<'a> {
    hidden: BTreeSet<PathBuf>,
    shown: &'a [PathBuf],
    uid: u32,
    found: BTreeSet<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, store: &Path) -> nix::Result<()> {
        let mut ahead = vec![(store.to_owned(), 0)];
        let mut names = 0;
        while let Some((directory, depth)) = ahead.pop() {
            // What the user may not list, the session may not either.
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                names += 1;
                if names > MOST_NAMES || depth > DEEPEST {
                    return Err(Errno::E2BIG);
                }
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => ahead.push((path, depth + 1)),
                    Ok(kind) if kind.is_symlink() => {
                        // One found before was looked into then.
                        if let Some(target) = self.target(&path)?
                            && self.found.insert(target.clone())
                            && target.is_dir()
                        {
                            ahead.push((target, depth + 1));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// What a link leads to, if that is to be hidden.
    fn target(&self, link: &Path) -> nix::Result<Option<PathBuf>> {
        let (Ok(own), Ok(found), Ok(real)) = (
            fs::symlink_metadata(link),
            fs::metadata(link),
            fs::canonicalize(link),
        ) else {
            return Ok(None);
        };
        let is_theirs = own.uid() == self.uid || own.uid() == found.uid();
        let is_hidden = self.hidden.iter().any(|store| real.starts_with(store));
        let is_shown = self.shown.iter().any(|shown| link.starts_with(shown));
        let is_program = PROGRAMS.iter().any(|place| real.starts_with(place));
        if !is_theirs || is_hidden || is_shown || is_program {
            return Ok(None);
        }
        // Nothing can be mounted over the root that processes have already.
        if real.parent().is_none() {
            return Err(Errno::EBUSY);
        }
        if self.found.len() >= MOST_TARGETS {
            return Err(Errno::E2BIG);
        }
        Ok(Some(real))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            for directory in [".aws/sso/cache", ".granted", "files/deep"] {
                fs::create_dir_all(home.at(directory)).unwrap();
            }
            for file in ["files/keys", "files/deep/token", ".granted/config"] {
                fs::write(home.at(file), "").unwrap();
            }
            home
        }

        fn at(&self, path: &str) -> PathBuf {
            fs::canonicalize(self.0.path()).unwrap().join(path)
        }

        fn links(&self, links: &[(&str, &str)]) {
            for (link, target) in links {
                symlink(target, self.at(link)).unwrap();
            }
        }

        fn targets(&self, shown: &[&str]) -> Result<Vec<String>, Report> {
            let shown: Vec<PathBuf> = shown.iter().map(|path| self.at(path)).collect();
            let stores = [".aws", ".granted", ".absent"].map(|name| self.at(name));
            let uid = fs::metadata(self.0.path()).unwrap().uid();
            let found = targets(&stores.into(), &shown, uid)?;
            let base = self.at("");
            let name = |path: PathBuf| {
                path.strip_prefix(&base)
                    .unwrap_or(&path)
                    .display()
                    .to_string()
            };
            Ok(found.into_iter().map(name).collect())
        }
    }

    #[test]
    fn links_lead_to_files_and_directories_elsewhere() {
        let home = Home::new();
        home.links(&[
            (".aws/credentials", "../files/keys"),
            (".aws/sso/cache/again", "../../credentials"),
            (".aws/deep", "../files/deep"),
            ("files/deep/next", "../other"),
            ("files/other", "deep"),
            (".aws/inside", "../.granted/config"),
            (".aws/gone", "../nothing"),
            (".aws/python", "/usr/bin/env"),
        ]);
        assert_eq!(home.targets(&[]).unwrap(), ["files/deep", "files/keys"]);
        let shown = [".aws/credentials", ".aws/sso"];
        assert_eq!(home.targets(&shown).unwrap(), ["files/deep"]);
        assert!(home.targets(&[".aws"]).unwrap().is_empty());
    }

    #[test]
    fn what_is_linked_from_a_linked_directory_is_found() {
        let home = Home::new();
        home.links(&[
            (".aws/deep", "../files/deep"),
            ("files/deep/next", "../keys"),
        ]);
        assert_eq!(home.targets(&[]).unwrap(), ["files/deep", "files/keys"]);
    }

    #[test]
    fn what_cannot_be_hidden_is_an_error() {
        let home = Home::new();
        home.links(&[(".aws/all", "/")]);
        assert_eq!(home.targets(&[]).unwrap_err().errno, Errno::EBUSY as i32);
        let home = Home::new();
        fs::create_dir_all(home.at(&format!(".aws{}", "/d".repeat(DEEPEST + 2)))).unwrap();
        assert_eq!(home.targets(&[]).unwrap_err().errno, Errno::E2BIG as i32);
        let home = Home::new();
        for number in 0..=MOST_TARGETS {
            fs::write(home.at(&format!("files/{number}")), "").unwrap();
            home.links(&[(&format!(".aws/{number}"), &format!("../files/{number}"))]);
        }
        assert_eq!(home.targets(&[]).unwrap_err().errno, Errno::E2BIG as i32);
    }
}
