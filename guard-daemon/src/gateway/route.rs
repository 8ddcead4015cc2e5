//! Where a host is dialled: the `upstream.connect` overrides, and the addresses a name may not lead to.
//!
//! The gateway runs with the host's own network, outside the confinement. A name that resolves to this
//! host, its private networks or the metadata service would turn it into the confined tree's way there,
//! so such an answer is refused unless the operator named the host in `upstream.connect`.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::upstream::UpstreamError;

/// The overrides of `upstream.connect`, checked.
#[derive(Debug, Default)]
pub(super) struct Routes {
    exact: HashMap<String, Target>,
    /// By suffix: `amazonaws.com` for `*.amazonaws.com`.
    below: HashMap<String, Target>,
}

/// What is dialled instead of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// A name or an address; IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Routes {
    /// Reads the table; every pattern and target must be well formed.
    pub(super) fn new(connect: &BTreeMap<String, String>) -> Result<Self, UpstreamError> {
        let mut routes = Self::default();
        for (pattern, target) in connect {
            let wrong = |why| UpstreamError::Override {
                pattern: pattern.clone(),
                target: target.clone(),
                why,
            };
            let parsed =
                Target::parse(target).ok_or_else(|| wrong("the target is not host:port"))?;
            let lower = pattern.to_ascii_lowercase();
            let (table, name) = match lower.strip_prefix("*.") {
                Some(suffix) => (&mut routes.below, suffix),
                None => (&mut routes.exact, lower.as_str()),
            };
            if !is_host_name(name) {
                return Err(wrong(
                    "the pattern is neither a host name nor `*.` and a host name",
                ));
            }
            table.insert(name.to_owned(), parsed);
        }
        Ok(routes)
    }

    /// The override for a lower-case host: an exact one before the longest pattern.
    pub(super) fn of(&self, host: &str) -> Option<&Target> {
        self.exact.get(host).or_else(|| {
            host.match_indices('.')
                .find_map(|(dot, _)| self.below.get(&host[dot + 1..]))
        })
    }
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port != 0)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
            None => Some(host.to_ascii_lowercase()).filter(|host| is_host_name(host))?,
        };
        Some(Self { host, port })
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Why an address is not one of a public host; `None` where it is.
pub(super) fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => not_public_v4(address),
        IpAddr::V6(address) => not_public_v6(address),
    }
}

/// The IANA special-purpose registry (RFC 6890), and what clouds have put among public addresses.
fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "unspecified",
        [127, ..] => "loopback",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "private",
        [169, 254, ..] => "link-local (where the metadata service is)",
        [100, 64..=127, ..] => "shared (carrier-grade NAT)",
        [198, 18..=19, ..] => "synthetic (guard's resolver or a benchmark's)",
        [168, 63, 129, 16] => "Azure's host agent (a metadata service)",
        [224..=239, ..] => "multicast",
        [192, 0, 0 | 2, _]
        // AS112 and AMT anycast, and the former 6to4 relays: never an API's host.
        | [192, 31, 196, _] | [192, 52, 193, _] | [192, 88, 99, _] | [192, 175, 48, _]
        | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => "reserved",
        _ => return None,
    })
}

/// Global unicast is 2000::/3 (RFC 4291); what is public is that, less the special-purpose registry.
fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        not_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "unspecified",
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        // IPv4-mapped, NAT64 (RFC 6052) and 6to4 are as good as the IPv4 address in them.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            return embedded(high, low);
        }
        [0x2002, high, low, ..] => return embedded(high, low),
        // Protocol assignments (Teredo, benchmarks, ORCHID and others) and documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "reserved",
        [0x2000..=0x3fff, ..] => return None,
        [0xfc00..=0xfdff, ..] => "private",
        [0xfe80..=0xfeff, ..] => "link-local",
        [0xff00..=0xffff, ..] => "multicast",
        _ => "reserved",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(entries: &[(&str, &str)]) -> Result<Routes, UpstreamError> {
        let owned = entries
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        Routes::new(&owned.collect())
    }

    #[test]
    fn the_most_specific_override_is_taken() {
        let routes = routes(&[
            ("*.amazonaws.com", "127.0.0.1:5443"),
            ("*.s3.amazonaws.com", "[::1]:5444"),
            ("STS.amazonaws.com", "sts.internal:443"),
        ])
        .expect("well formed");
        let of = |host| routes.of(host).map(|t| format!("{}|{}", t.host, t.port));
        assert_eq!(
            of("s3.us-east-1.amazonaws.com").as_deref(),
            Some("127.0.0.1|5443")
        );
        assert_eq!(
            of("a.b.c.d.amazonaws.com").as_deref(),
            Some("127.0.0.1|5443")
        );
        assert_eq!(of("bucket.s3.amazonaws.com").as_deref(), Some("::1|5444"));
        assert_eq!(of("s3.amazonaws.com").as_deref(), Some("127.0.0.1|5443"));
        assert_eq!(of("sts.amazonaws.com").as_deref(), Some("sts.internal|443"));
        for host in [
            "amazonaws.com",
            "evilamazonaws.com",
            "amazonaws.com.evil",
            "",
            "x.org",
        ] {
            assert_eq!(of(host), None, "{host}");
        }
    }

    #[test]
    fn malformed_overrides_are_refused() {
        let cases = [
            ("*", "127.0.0.1:443"),
            ("*.", "127.0.0.1:443"),
            ("a.*.com", "127.0.0.1:443"),
            ("*.*.com", "127.0.0.1:443"),
            ("a..b", "127.0.0.1:443"),
            ("a.com:443", "127.0.0.1:443"),
            ("a.com", "127.0.0.1"),
            ("a.com", "127.0.0.1:0"),
            ("a.com", "127.0.0.1:65536"),
            ("a.com", ":443"),
            ("a.com", "::1:443"),
            ("a.com", "[::g]:443"),
            ("a.com", "https://b:443"),
        ];
        for (pattern, target) in cases {
            let error = routes(&[(pattern, target)]).expect_err(pattern).to_string();
            assert!(error.contains(pattern) && error.contains(target), "{error}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_named() {
        let not = [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.170.23",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "168.63.129.16",
            "192.88.99.1",
            "192.175.48.1",
            "192.0.0.192",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fec0::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "::ffff:0:7f00:1",
            "::ffff:100.64.0.1",
            "1::1",
            "100::1",
            "1fff::1",
            "4000::1",
            "5f00::1",
            "fe00::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff::1",
            "3fff::1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:0:0:1::a00:1",
            "2002:a00:1::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
            "2001:db8::1",
        ];
        for address in not {
            assert!(
                not_public(address.parse().expect(address)).is_some(),
                "{address}"
            );
        }
        let public = [
            "52.94.5.1",
            "3.5.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "168.63.129.15",
            "192.0.1.1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2002:345e:501::1",
            "2600:1f18::1",
            "3ffe::1",
            "2a05:d000::1",
            "::ffff:52.94.5.1",
            "64:ff9b::345e:501",
        ];
        for address in public {
            assert_eq!(
                not_public(address.parse().expect(address)),
                None,
                "{address}"
            );
        }
    }
}
