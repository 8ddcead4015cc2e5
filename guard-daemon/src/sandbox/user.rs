//! Who invoked `guard run`: the person behind `sudo`, else the caller.

use std::ffi::CString;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist, getgroups, setegid, seteuid, setgroups};

/// The user that the command runs as.
#[derive(Clone, Debug)]
pub struct Invoker {
    /// User id.
    pub uid: Uid,
    /// Primary group.
    pub gid: Gid,
    /// All groups, the primary one among them.
    pub groups: Vec<Gid>,
    /// The account's name, or the number where the host knows no name.
    pub name: String,
    /// The account's home, where the host knows the account.
    pub home: Option<PathBuf>,
    /// The account's shell, where the host knows the account.
    pub shell: Option<PathBuf>,
    /// Whether `sudo` stands between this user and us.
    pub through_sudo: bool,
}

/// Why the invoking user could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// `guard run` needs root for namespaces, cgroups and eBPF.
    #[error("guard run must be started as root; run it through sudo: sudo guard run -- COMMAND")]
    NotRoot,
    /// A variable of sudo's is not what sudo writes.
    #[error("{variable}={value:?} is not a numeric id; run guard through sudo itself, or unset it")]
    BadVariable {
        /// Which one.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// The user database could not be read.
    #[error("the user database does not answer for user {uid}: {source}")]
    Database {
        /// Who was asked about.
        uid: Uid,
        /// What the system said.
        source: nix::Error,
    },
}

impl Invoker {
    /// The user behind this process, which must be root: `SUDO_UID` and `SUDO_GID` name the person
    /// behind `sudo`.
    pub fn find() -> Result<Self, UserError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(UserError::NotRoot);
        }
        let variable = |name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        Self::of(
            numeric("SUDO_UID", variable("SUDO_UID"))?,
            numeric("SUDO_GID", variable("SUDO_GID"))?,
        )
    }

    /// Does something with the user's rights to files, in a process of root's. For all of its threads: it must have no
    /// other that needs root's.
    pub fn with_rights<T>(&self, work: impl FnOnce() -> T) -> nix::Result<T> {
        let groups = getgroups()?;
        setgroups(&self.groups)?;
        setegid(self.gid)?;
        seteuid(self.uid)?;
        let result = work();
        seteuid(Uid::from_raw(0))?;
        setegid(Gid::from_raw(0))?;
        setgroups(&groups)?;
        Ok(result)
    }

    fn of(person: Option<u32>, group: Option<u32>) -> Result<Self, UserError> {
        let uid = person.map_or_else(nix::unistd::getuid, Uid::from_raw);
        let database = |source| UserError::Database { uid, source };
        let account = User::from_uid(uid).map_err(database)?;
        let gid = match (&account, group) {
            (Some(account), _) => account.gid,
            (None, Some(gid)) => Gid::from_raw(gid),
            // A user that the host does not know has no group it could be trusted with.
            (None, None) => Gid::from_raw(uid.as_raw()),
        };
        let groups = match &account {
            Some(account) => {
                let name = CString::new(account.name.as_str())
                    .map_err(|_nul| database(nix::Error::EINVAL))?;
                getgrouplist(&name, gid).map_err(database)?
            }
            None => vec![gid],
        };
        Ok(Self {
            uid,
            gid,
            groups,
            name: account
                .as_ref()
                .map_or_else(|| uid.to_string(), |account| account.name.clone()),
            home: account.as_ref().map(|account| account.dir.clone()),
            shell: account.map(|account| account.shell),
            through_sudo: person.is_some(),
        })
    }
}

fn numeric(variable: &'static str, value: Option<String>) -> Result<Option<u32>, UserError> {
    let Some(value) = value else { return Ok(None) };
    match value.parse() {
        // The kernel takes the last number for "leave unchanged".
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(UserError::BadVariable { variable, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sudos_variables_strictly() {
        let parse = |text: &str| numeric("SUDO_UID", Some(text.to_owned()));
        assert_eq!(parse("1000").unwrap(), Some(1000));
        assert_eq!(numeric("SUDO_UID", None).unwrap(), None);
        for bad in ["", "-1", "root", "4294967295", "4294967296", "1000 "] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_user_has_only_the_group_that_sudo_names() {
        let invoker = Invoker::of(Some(3_999_999_999), Some(77)).unwrap();
        assert_eq!(invoker.groups, [Gid::from_raw(77)]);
        assert_eq!(invoker.name, "3999999999");
        assert_eq!(invoker.home, None);
    }

    #[test]
    fn a_known_user_has_the_groups_of_the_database() {
        let root = Invoker::of(Some(0), Some(1234)).unwrap();
        assert_eq!(root.gid, Gid::from_raw(0));
        assert!(root.groups.contains(&Gid::from_raw(0)));
        assert_eq!(root.name, "root");
    }
}
