//! `[network] allow`: which hosts that are not AWS may be reached, by name and port.

/// One entry: a host, or `*.` and a suffix, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct HostPattern {
    /// Lower case; without the `*.`.
    name: String,
    /// Any number of labels stand in front of `name`, at least one.
    below: bool,
    port: u16,
}

impl HostPattern {
    /// Reads `host`, `*.host` or either with `:port`; 443 where there is none.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "an allowed host is \"name\", \"*.name\" or \"name:port\", as \"pypi.org\" or \"github.com:22\"";
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (
                name,
                port.parse().ok().filter(|port| *port != 0).ok_or(FORM)?,
            ),
            None => (text, 443),
        };
        let (name, below) = name
            .strip_prefix("*.")
            .map_or((name, false), |name| (name, true));
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(FORM);
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err("an allowed host is a name, not an address: guard dials by name");
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            below,
            port,
        })
    }

    pub(super) fn matches_name(&self, host: &str) -> bool {
        if self.below {
            host.strip_suffix(&self.name)
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty())
        } else {
            host == self.name
        }
    }

    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        self.port == port && self.matches_name(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ports_match_exactly_or_below_a_suffix() {
        let exact = HostPattern::parse("PyPI.org").unwrap();
        assert!(exact.matches("pypi.org", 443));
        assert!(!exact.matches("pypi.org", 80) && !exact.matches("evil-pypi.org", 443));
        let below = HostPattern::parse("*.npmjs.org:8443").unwrap();
        assert!(below.matches("a.registry.npmjs.org", 8443));
        assert!(!below.matches("npmjs.org", 8443) && !below.matches("evilnpmjs.org", 8443));
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for text in [
            "",
            "*",
            "*.",
            "a..b",
            "a:0",
            "a:x",
            "a:70000",
            "192.0.2.1",
            "a b",
            "[::1]",
            "*.*.a",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }
}
