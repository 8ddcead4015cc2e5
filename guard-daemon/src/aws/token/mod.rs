//! Tokens that AWS's clients compute by themselves instead of asking for them: what each of them gives
//! access to (`call`), and how it is made (`mint`).
//!
//! Such a token is a signature of a request that the client hands to a server instead of sending it. No call is
//! made for it, so nothing would pass guard: the agent asks guard for the token (`guard token`), in the form of
//! `Asked`, and the policy decides on what the token is good for. What the agent asks for is checked here once;
//! whatever could mean more than it says is refused.

mod call;
mod mint;

use serde::{Deserialize, Serialize};

pub use mint::Minted;

use super::endpoint;

/// The host that guard answers for tokens.
pub const HOST: &str = endpoint::OWN_HOST;

/// The signing name of a request for a token.
pub const SERVICE: &str = "guard-token";

/// Bytes of a request for a token.
pub const LARGEST: usize = 16 * 1024;

/// What a token is asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case", deny_unknown_fields)]
pub enum Asked {
    /// The password of a database user of RDS or Aurora.
    Rds {
        /// The endpoint.
        hostname: String,
        /// Its port.
        port: u16,
        /// The database user.
        username: String,
        /// The endpoint's region.
        region: String,
    },
    /// The bearer token for the API server of an EKS cluster.
    Eks {
        /// The cluster's name.
        cluster: String,
        /// Its region.
        region: String,
    },
    /// User name and password for git over HTTPS.
    Codecommit {
        /// The host, `git-codecommit.REGION.SUFFIX` in one of its forms.
        host: String,
        /// The path as git gives it, `v1/repos/NAME`.
        path: String,
    },
    /// The SASL/OAUTHBEARER token for clusters of Amazon MSK.
    Msk {
        /// The clusters' region.
        region: String,
    },
    /// The password of a user of an ElastiCache cache.
    Elasticache {
        /// The replication group's or the serverless cache's name.
        cache: String,
        /// Whether the cache is serverless.
        serverless: bool,
        /// The user's id, which is its name.
        username: String,
        /// The cache's region.
        region: String,
    },
    /// The password of a user of a MemoryDB cluster.
    Memorydb {
        /// The cluster's name.
        cluster: String,
        /// The user's name.
        username: String,
        /// The cluster's region.
        region: String,
    },
    /// The password for an Aurora DSQL cluster.
    Dsql {
        /// The endpoint, `ID.dsql.REGION.on.aws`.
        hostname: String,
        /// For the role `admin` rather than another one.
        admin: bool,
        /// The cluster's region.
        region: String,
    },
}

/// Why a token is not made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The request is not one.
    #[error(
        "the request for a token is not understood ({0}); are daemon and command of the same version?"
    )]
    Form(String),
    /// A value that could be taken for something else.
    #[error("{what} {value:?} is not {wanted}; correct it")]
    Value {
        /// What it is for.
        what: &'static str,
        /// What was given, shortened.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// It cannot be signed.
    #[error(transparent)]
    Signature(#[from] super::sigv4::SigV4Error),
}

impl Asked {
    /// Reads and checks a request's body.
    pub fn parse(body: &[u8]) -> Result<Self, TokenError> {
        let asked: Self =
            serde_json::from_slice(body).map_err(|error| TokenError::Form(error.to_string()))?;
        asked.check()?;
        Ok(asked)
    }

    /// Holds every value to what it must look like.
    pub fn check(&self) -> Result<(), TokenError> {
        match self {
            Self::Rds {
                hostname,
                port,
                username,
                region,
            } => {
                check_host(hostname)?;
                if *port == 0 {
                    return Err(wrong("the port", "0", "a port"));
                }
                check_user(username)?;
                check_region(region)
            }
            Self::Eks { cluster, region } => {
                check_name("the cluster", cluster)?;
                check_region(region)
            }
            Self::Codecommit { host, path } => {
                if repository_region(host).is_none() {
                    return Err(wrong(
                        "the host",
                        host,
                        "CodeCommit's (git-codecommit.REGION.amazonaws.com, in China .amazonaws.com.cn)",
                    ));
                }
                match repository(path) {
                    Some(_) => Ok(()),
                    None => Err(wrong(
                        "the path",
                        path,
                        "a repository's (v1/repos/NAME, without .git); have git tell it: git config --global \
                         credential.useHttpPath true",
                    )),
                }
            }
            Self::Msk { region } => check_region(region),
            Self::Elasticache {
                cache: name,
                username,
                region,
                ..
            }
            | Self::Memorydb {
                cluster: name,
                username,
                region,
            } => {
                check_stored("the name", name)?;
                check_stored("the user", username)?;
                check_region(region)
            }
            Self::Dsql {
                hostname, region, ..
            } => {
                check_host(hostname)?;
                check_region(region)
            }
        }
    }

    /// The region that the token is for.
    pub fn region(&self) -> &str {
        match self {
            Self::Codecommit { host, .. } => repository_region(host).unwrap_or_default(),
            Self::Rds { region, .. }
            | Self::Eks { region, .. }
            | Self::Msk { region }
            | Self::Elasticache { region, .. }
            | Self::Memorydb { region, .. }
            | Self::Dsql { region, .. } => region,
        }
    }
}

/// The region in CodeCommit's host: `git-codecommit[-fips].REGION.SUFFIX`, or
/// `vpce-LINK.git-codecommit[-fips].REGION.vpce.SUFFIX`, with the suffix of the region's partition.
fn repository_region(host: &str) -> Option<&str> {
    check_host(host).ok()?;
    let (link, rest) = match host.split_once('.')? {
        (link, rest) if link.starts_with("vpce-") => (Some(link), rest),
        _ => (None, host),
    };
    let (service, rest) = rest.split_once('.')?;
    let (region, rest) = rest.split_once('.')?;
    let domain = match link {
        Some(_) => rest.strip_prefix("vpce.")?,
        None => rest,
    };
    let known = matches!(service, "git-codecommit" | "git-codecommit-fips")
        && endpoint::is_region(region)
        && domain == endpoint::suffix_of(endpoint::partition_of(region));
    known.then_some(region)
}

/// The repository in the path that git gives. Its name has at most 100 characters and does not end in `.git`
/// (<https://docs.aws.amazon.com/codecommit/latest/APIReference/API_CreateRepository.html>).
fn repository(path: &str) -> Option<&str> {
    let name = path.strip_prefix("v1/repos/")?;
    let plain = name
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'_' | b'-'));
    let reserved = matches!(name, "." | "..") || name.to_ascii_lowercase().ends_with(".git");
    ((1..=100).contains(&name.len()) && plain && !reserved).then_some(name)
}

fn check_region(region: &str) -> Result<(), TokenError> {
    if endpoint::is_region(region) {
        return Ok(());
    }
    Err(wrong("the region", region, "a region such as eu-central-1"))
}

fn check_host(host: &str) -> Result<(), TokenError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
    };
    if host.len() <= 253 && host.split('.').all(label) {
        return Ok(());
    }
    Err(wrong(
        "the host",
        host,
        "a host name in lower case, without port or final dot",
    ))
}

fn check_name(what: &'static str, name: &str) -> Result<(), TokenError> {
    let plain = name
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'));
    if (1..=120).contains(&name.len()) && plain {
        return Ok(());
    }
    Err(wrong(what, name, "a name of letters, digits, `-` and `_`"))
}

/// ElastiCache and MemoryDB keep names and users' ids in lower case whatever they were given in, and policies name them
/// as they are kept.
fn check_stored(what: &'static str, name: &str) -> Result<(), TokenError> {
    check_name(what, name)?;
    if name.bytes().any(|it| it.is_ascii_uppercase()) {
        return Err(wrong(what, name, "in lower case, as the service keeps it"));
    }
    Ok(())
}

/// PostgreSQL's names have 63 bytes at the most, MySQL's 32 characters.
fn check_user(user: &str) -> Result<(), TokenError> {
    if (1..=128).contains(&user.len()) && !user.chars().any(char::is_control) {
        return Ok(());
    }
    Err(wrong(
        "the user",
        user,
        "1 to 128 bytes without control characters",
    ))
}

fn wrong(what: &'static str, value: &str, wanted: &'static str) -> TokenError {
    TokenError::Value {
        what,
        value: value[..value.floor_char_boundary(128)].to_owned(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_mean_more_than_it_says_is_refused() {
        for (body, fits) in [
            (
                r#"{"for":"eks","cluster":"prod","region":"eu-west-1"}"#,
                true,
            ),
            (r#"{"for":"eks","cluster":"*","region":"eu-west-1"}"#, false),
            (
                r#"{"for":"eks","cluster":"p","region":"eu-west-1","x":1}"#,
                false,
            ),
            (
                r#"{"for":"eks","cluster":"p","cluster":"q","region":"eu-west-1"}"#,
                false,
            ),
            (r#"{"for":"eks","cluster":"p","region":"a/b"}"#, false),
            (
                r#"{"for":"rds","hostname":"db.x.eu-west-1.rds.amazonaws.com","port":5432,"username":"a b&c","region":"eu-west-1"}"#,
                true,
            ),
            (
                r#"{"for":"rds","hostname":"db/?x","port":5432,"username":"a","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"rds","hostname":"DB","port":5432,"username":"a","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"rds","hostname":"db","port":0,"username":"a","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"rds","hostname":"db","port":5432,"username":"a\n","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"elasticache","cache":"Sessions","serverless":false,"username":"app","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"elasticache","cache":"sessions","serverless":true,"username":"App","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"memorydb","cluster":"M","username":"app","region":"eu-west-1"}"#,
                false,
            ),
            (
                r#"{"for":"memorydb","cluster":"m","username":"app","region":"eu-west-1"}"#,
                true,
            ),
            ("", false),
            ("[]", false),
        ] {
            assert_eq!(Asked::parse(body.as_bytes()).is_ok(), fits, "{body}");
        }
    }

    #[test]
    fn only_codecommits_hosts_and_paths_are_taken() {
        for (host, region) in [
            ("git-codecommit.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (
                "git-codecommit-fips.us-gov-west-1.amazonaws.com",
                Some("us-gov-west-1"),
            ),
            (
                "vpce-0a1-b2.git-codecommit.eu-west-1.vpce.amazonaws.com",
                Some("eu-west-1"),
            ),
            (
                "git-codecommit.cn-north-1.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            (
                "vpce-0a1.git-codecommit.cn-north-1.vpce.amazonaws.com.cn",
                Some("cn-north-1"),
            ),
            ("git-codecommit.cn-north-1.amazonaws.com", None),
            ("git-codecommit.eu-west-1.amazonaws.com.cn", None),
            ("git-codecommit.eu-west-1.api.aws", None),
            ("vpce-0a1.git-codecommit.eu-west-1.amazonaws.com", None),
            ("vpce-0_1.git-codecommit.eu-west-1.vpce.amazonaws.com", None),
            ("git-codecommit.eu-west-1.vpce.amazonaws.com", None),
            ("git-codecommit.eu-west-1.amazonaws.com.evil.example", None),
            ("evil.git-codecommit.eu-west-1.amazonaws.com", None),
            ("s3.eu-west-1.amazonaws.com", None),
            ("git-codecommit.x/.amazonaws.com", None),
        ] {
            assert_eq!(repository_region(host), region, "{host}");
        }
        assert_eq!(repository("v1/repos/My.Repo_1-a"), Some("My.Repo_1-a"));
        for path in [
            "",
            "v1/repos/",
            "/v1/repos/a",
            "v1/repos/a/b",
            "v1/repos/..",
            "v1/repos/a?x",
            "v1/repos/a.git",
            "v1/repos/a.Git",
            "v1/repos/.git",
            "v2/repos/a",
        ] {
            assert_eq!(repository(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Asked::parse(body.as_bytes());
            let _ = Asked::parse(&bytes);
        }

        #[test]
        fn no_value_makes_it_panic(host in "[a-z0-9./-]{0,80}", path in "[a-z0-9./_-]{0,80}") {
            let _ = Asked::Codecommit { host, path }.check();
        }
    }
}
