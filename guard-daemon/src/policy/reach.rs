//! What of the host itself a profile lets a session reach and see: loopback ports, unix sockets, its own
//! published ports, files in directories that are otherwise private.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Bytes of a path that a unix socket's address can hold (unix(7)): `sun_path` with its final zero byte.
const LONGEST_PATH: usize = 107;

/// What of the host a session may reach and see. Empty and `Private` unless the profile says more.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reach {
    /// TCP ports of the host's loopback (`network.allow_loopback`).
    pub loopback: Vec<u16>,
    /// Ports of the session that the host reaches (`network.publish`).
    pub publish: Vec<Publish>,
    /// Unix sockets of the host, by absolute path (`network.allow_unix`).
    pub unix: Vec<PathBuf>,
    /// Whose directories for temporary files it has (`sandbox.tmp`).
    pub temporary: Temporary,
    /// Files and directories of the host that stay visible where their place is private or holds AWS keys
    /// (`sandbox.show`).
    pub show: Vec<PathBuf>,
}

/// Whose `/tmp`, `/var/tmp` and `/dev/shm` a session of `guard run` has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Temporary {
    /// Its own, empty, gone with it.
    #[default]
    Private,
    /// The host's. A program outside can then offer the session a unix socket there.
    Shared,
}

/// A port of the session that is reachable on the host.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Publish {
    /// Where on the host; 127.0.0.1 unless the profile names an address.
    pub host: SocketAddr,
    /// The port on the session's loopback.
    pub port: u16,
}

/// Why an entry is not accepted, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReachError {
    /// Not a port.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// Not a port to publish.
    #[error(
        "write `PORT`, `HOST_PORT:PORT` or `ADDRESS:HOST_PORT:PORT`, as in \"8080:3000\"; an IPv6 address in brackets"
    )]
    Publish,
    /// Not an absolute path without detours.
    #[error("write an absolute path without `.` and `..`, at most {LONGEST_PATH} bytes long")]
    Path,
}

impl Publish {
    /// Reads `PORT`, `HOST_PORT:PORT` or `ADDRESS:HOST_PORT:PORT`.
    pub fn parse(text: &str) -> Result<Self, ReachError> {
        let port = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let port: u16 = text.parse().map_err(|_overflow| ReachError::Publish)?;
            if digits && port != 0 {
                Ok(port)
            } else {
                Err(ReachError::Publish)
            }
        };
        let Some((front, last)) = text.rsplit_once(':') else {
            let port = port(text)?;
            return Ok(Self {
                host: (Ipv4Addr::LOCALHOST, port).into(),
                port,
            });
        };
        let (address, host_port) = match front.rsplit_once(':') {
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), front),
            Some((address, host_port)) => {
                let bare = address
                    .strip_prefix('[')
                    .and_then(|rest| rest.strip_suffix(']'));
                let address: IpAddr = bare
                    .unwrap_or(address)
                    .parse()
                    .map_err(|_unreadable| ReachError::Publish)?;
                // Without brackets an IPv6 address would swallow the port.
                if address.is_ipv6() != bare.is_some() {
                    return Err(ReachError::Publish);
                }
                (address, host_port)
            }
        };
        Ok(Self {
            host: (address, port(host_port)?).into(),
            port: port(last)?,
        })
    }
}

/// Reads a path of the host.
pub(super) fn path(text: &str) -> Result<PathBuf, ReachError> {
    let path = Path::new(text);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    // `components` passes over `/./` and `//`.
    let direct = !text.contains("//") && !text.split('/').any(|part| part == ".");
    if path.is_absolute()
        && plain
        && direct
        && path.parent().is_some()
        && text.len() <= LONGEST_PATH
        && !text.contains('\0')
    {
        Ok(path.to_owned())
    } else {
        Err(ReachError::Path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_to_publish_have_three_forms() {
        let parse = |text| Publish::parse(text).map(|p| (p.host.to_string(), p.port));
        for (text, host, port) in [
            ("3000", "127.0.0.1:3000", 3000),
            ("8080:3000", "127.0.0.1:8080", 3000),
            ("0.0.0.0:8080:3000", "0.0.0.0:8080", 3000),
            ("[::1]:8080:3000", "[::1]:8080", 3000),
        ] {
            assert_eq!(parse(text), Ok((host.to_owned(), port)), "{text}");
        }
        for text in [
            "",
            "0",
            "+1",
            "65536",
            "1:",
            ":1",
            "1:0",
            "x:1:2",
            "::1:1:2",
            "[127.0.0.1]:1:2",
            "1:2:3:4",
            " 1",
            "localhost:1:2",
        ] {
            assert_eq!(parse(text), Err(ReachError::Publish), "{text}");
        }
    }

    #[test]
    fn paths_are_absolute_and_direct() {
        assert_eq!(path("/run/x.sock"), Ok("/run/x.sock".into()));
        let long = format!("/{}", "a".repeat(LONGEST_PATH));
        for text in [
            "", "/", "x", "./x", "/a/../b", "/a/./b", "/a//b", "~/x", "/a\0b", &long,
        ] {
            assert_eq!(path(text), Err(ReachError::Path), "{text:?}");
        }
    }
}
