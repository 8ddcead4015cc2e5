//! Which hosts that are not AWS a profile lets through, by name and port.

/// The port of a pattern that names none.
const HTTPS: u16 = 443;

/// Why a host pattern is not accepted, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostError {
    /// `*` inside.
    #[error(
        "a wildcard stands for all names (\"*\") or as the whole first label (\"*.example.com\"); list the names you need"
    )]
    Wildcard,
    /// An address.
    #[error(
        "hosts are allowed by name, not by address, since guard checks the TLS server name; write the name"
    )]
    Address,
    /// Not a name.
    #[error(
        "this is not a host name; write `name` or `name:port` without scheme, path or final dot"
    )]
    NotName,
    /// Not a port.
    #[error("a port is a number from 1 to 65535, or `*` for any")]
    Port,
}

/// The `[network]` table's `allow`.
#[derive(Debug, Default)]
pub(super) struct AllowList(Vec<HostPattern>);

#[derive(Debug)]
struct HostPattern {
    /// Lower case; for `*.example.com`, `.example.com`; for `*`, nothing.
    name: Box<str>,
    any_in_front: bool,
    /// `None` is any.
    port: Option<u16>,
}

impl AllowList {
    /// Adds a pattern.
    pub(super) fn add(&mut self, text: &str) -> Result<(), HostError> {
        if text.parse::<std::net::IpAddr>().is_ok() || text.starts_with('[') {
            return Err(HostError::Address);
        }
        let (host, port) = match text.split_once(':') {
            None => (text, Some(HTTPS)),
            Some((host, "*")) => (host, None),
            Some((host, port)) => (host, Some(parse_port(port).ok_or(HostError::Port)?)),
        };
        let (name, any_in_front) = match host.strip_prefix('*') {
            Some(rest @ "") => (rest, true),
            Some(rest) => {
                check_name(rest.strip_prefix('.').ok_or(HostError::Wildcard)?)?;
                (rest, true)
            }
            None => {
                check_name(host)?;
                (host, false)
            }
        };
        let name = name.to_ascii_lowercase();
        self.0.push(HostPattern {
            name: name.into(),
            any_in_front,
            port,
        });
        Ok(())
    }

    /// Whether a host may be reached on a port.
    pub(super) fn allows(&self, host: &str, port: u16) -> bool {
        self.0
            .iter()
            .any(|pattern| pattern.port.is_none_or(|it| it == port) && pattern.matches(host))
    }

    /// Whether a host may be reached on some port.
    pub(super) fn allows_name(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(host))
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        if !self.any_in_front {
            return self.name.eq_ignore_ascii_case(host);
        }
        // Something must stand before the dot: `*.x` is not `.x`.
        let split = host.len().checked_sub(self.name.len()).filter(|&n| n > 0);
        split
            .and_then(|n| host.get(n..))
            .is_some_and(|end| self.name.eq_ignore_ascii_case(end))
    }
}

/// Decimal digits only: `u16::from_str` would take `+443`, too.
fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port != 0)
}

fn check_name(name: &str) -> Result<(), HostError> {
    if name.contains('*') {
        return Err(HostError::Wildcard);
    }
    if !is_host_name(name) {
        return Err(HostError::NotName);
    }
    // All digits and dots: an address, or what some resolvers take for one (`127.1`).
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostError::Address);
    }
    Ok(())
}

/// Labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes in all (RFC 1035 §2.3; `_` as in practice).
pub(crate) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_by_name_and_port() {
        let mut list = AllowList::default();
        for pattern in [
            "pypi.org",
            "*.npmjs.org:443",
            "GitHub.com:22",
            "localhost:8080",
            "db.internal:*",
        ] {
            list.add(pattern).unwrap();
        }
        for (host, port, allowed, named) in [
            ("pypi.org", 443, true, true),
            ("PyPI.org", 443, true, true),
            ("pypi.org", 80, false, true),
            ("pypi.org.", 443, false, false),
            ("x.pypi.org", 443, false, false),
            ("registry.npmjs.org", 443, true, true),
            ("a.b.npmjs.org", 443, true, true),
            ("npmjs.org", 443, false, false),
            (".npmjs.org", 443, false, false),
            ("evilnpmjs.org", 443, false, false),
            ("registry.npmjs.org.evil", 443, false, false),
            ("github.com", 22, true, true),
            ("github.com", 443, false, true),
            ("localhost", 8080, true, true),
            ("db.internal", 5432, true, true),
            ("", 443, false, false),
            ("\u{e9}.npmjs.org", 443, true, true),
            ("\u{e9}npmjs.org", 443, false, false),
        ] {
            assert_eq!(list.allows(host, port), allowed, "{host}:{port}");
            assert_eq!(list.allows_name(host), named, "{host}");
        }
    }

    #[test]
    fn a_star_is_all_names() {
        let mut list = AllowList::default();
        list.add("*:8443").unwrap();
        assert!(list.allows("pypi.org", 8443) && list.allows_name("x"));
        assert!(!list.allows("pypi.org", 443) && !list.allows_name(""));
        list.add("*:*").unwrap();
        assert!(list.allows("pypi.org", 22));
    }

    #[test]
    fn refuses_what_is_no_name_and_port() {
        for (text, error) in [
            ("", HostError::NotName),
            ("**", HostError::Wildcard),
            ("*.", HostError::NotName),
            ("a.*.org", HostError::Wildcard),
            ("*a.org", HostError::Wildcard),
            ("*.*.org", HostError::Wildcard),
            ("10.0.0.1", HostError::Address),
            ("10.0.0.1:443", HostError::Address),
            ("127.1", HostError::Address),
            ("::1", HostError::Address),
            ("[::1]:443", HostError::Address),
            ("https://pypi.org", HostError::Port),
            ("pypi.org/simple", HostError::NotName),
            ("pypi.org.", HostError::NotName),
            ("a..b", HostError::NotName),
            ("p\u{ff}.org", HostError::NotName),
            ("pypi.org:", HostError::Port),
            ("pypi.org:0", HostError::Port),
            ("pypi.org:+443", HostError::Port),
            ("pypi.org:65536", HostError::Port),
        ] {
            assert_eq!(AllowList::default().add(text).unwrap_err(), error, "{text}");
        }
    }
}
