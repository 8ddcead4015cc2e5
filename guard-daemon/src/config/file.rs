//! `guard.toml` as it is written, and the way to `Config`: every value is checked where it stands.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::identity::{self, IdentityConfig};
use super::{Limits, UpstreamConfig, upstream};
use crate::policy::{Length, LengthError};

/// What is wrong with a value, and what to write instead.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not TOML, an unknown key, or a value of another type.
    #[error("{0}; docs/configuration.md lists what the file may say")]
    Syntax(String),
    /// A number out of bounds.
    #[error("`{key}` is {value}, and must be from {least} to {most}")]
    OutOfBounds {
        /// The key.
        key: &'static str,
        /// What it says.
        value: i64,
        /// At least this.
        least: i64,
        /// At most this.
        most: i64,
    },
    /// A bad length of time.
    #[error("`{0}`: {1}")]
    Length(&'static str, LengthError),
    /// A path that depends on where the daemon was started.
    #[error("{0:?} is not an absolute path; write it from `/` on")]
    RelativePath(PathBuf),
    /// A bad key of `upstream.connect`.
    #[error(
        "{0:?} is not a host pattern; write a lower-case host name, or `*.` and a domain such as \
         \"*.amazonaws.com\""
    )]
    HostPattern(String),
    /// A bad value of `upstream.connect`.
    #[error(
        "{0:?} is not `host:port`; write it as \"127.0.0.1:5443\", \"[::1]:5443\" or \"proxy.internal:443\""
    )]
    HostPort(String),
    /// More issuers than are looked at.
    #[error("there are more than {0} issuers; leave some out")]
    Issuers(usize),
    /// An issuer that is there twice.
    #[error("the issuer {0:?} is there twice; put its audiences into one [[identity.issuer]]")]
    IssuerTwice(String),
    /// Not the address of an issuer or of its keys.
    #[error(
        "{0:?} is no address of a provider; write it as the provider does: https, without query (http only for \
         127.0.0.1 and [::1])"
    )]
    IssuerUri(String),
    /// A bad `audience`.
    #[error(
        "`audience` must list 1 to 32 texts: whom this host's tokens are for, as they are asked for at the provider"
    )]
    Audience,
    /// A bad `algorithms`.
    #[error(
        "`algorithms` must be some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; none and those with a \
         shared secret (HS256) are never accepted"
    )]
    Algorithms,
    /// Not the name of a claim.
    #[error("{0:?} is no name of a claim; write 1 to 256 characters, such as \"repository_owner\"")]
    Claim(String),
    /// A root that cannot be used.
    #[error("{path:?} cannot be used as a file of trusted roots: {why}; name a readable PEM file")]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// A problem, and the bytes where it is.
pub(super) struct Misplaced(pub(super) Range<usize>, pub(super) Problem);

/// What the file says, checked.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) profile_dir: Option<PathBuf>,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) upstream: UpstreamConfig,
    pub(super) hold: Option<Duration>,
    pub(super) identity: IdentityConfig,
    pub(super) limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profile_dir: Option<Spanned<PathBuf>>,
    source_ip: Option<IpAddr>,
    #[serde(default)]
    upstream: Upstream,
    #[serde(default)]
    approval: Approval,
    #[serde(default)]
    identity: identity::Written,
    #[serde(default)]
    limits: Limited,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Upstream {
    connect: BTreeMap<Spanned<String>, Spanned<String>>,
    roots: Vec<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Approval {
    hold_seconds: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limited {
    head_bytes: Option<Spanned<i64>>,
    request_body_bytes: Option<Spanned<i64>>,
    response_body_bytes: Option<Spanned<i64>>,
    connections: Option<Spanned<i64>>,
    head_timeout_seconds: Option<Spanned<i64>>,
    max_session: Option<Spanned<String>>,
}

const MIB: i64 = 1024 * 1024;

pub(super) fn parse(text: &str) -> Result<Said, Misplaced> {
    let file: File = toml::from_str(text).map_err(|error| {
        let message = error.message().trim_end().replace('\n', ", ");
        Misplaced(error.span().unwrap_or_default(), Problem::Syntax(message))
    })?;
    let profile_dir = file.profile_dir.as_ref().map(absolute).transpose()?;
    let hold = within("hold_seconds", file.approval.hold_seconds, 1..=3600)?;
    Ok(Said {
        profile_dir,
        source_ip: file.source_ip,
        upstream: file.upstream.checked()?,
        hold: hold.map(Duration::from_secs),
        identity: file.identity.checked()?,
        limits: file.limits.checked()?,
    })
}

impl Upstream {
    fn checked(self) -> Result<UpstreamConfig, Misplaced> {
        let mut checked = UpstreamConfig::default();
        for (pattern, target) in self.connect {
            upstream::check_pattern(pattern.get_ref()).map_err(|p| Misplaced(pattern.span(), p))?;
            upstream::check_target(target.get_ref()).map_err(|p| Misplaced(target.span(), p))?;
            checked
                .connect
                .insert(pattern.into_inner(), target.into_inner());
        }
        for root in self.roots {
            let path = absolute(&root)?;
            upstream::check_root(&path).map_err(|problem| Misplaced(root.span(), problem))?;
            checked.roots.push(path);
        }
        Ok(checked)
    }
}

impl Limited {
    fn checked(self) -> Result<Limits, Misplaced> {
        let default = Limits::default();
        let head = within("head_bytes", self.head_bytes, 8 * 1024..=MIB)?;
        let request = within(
            "request_body_bytes",
            self.request_body_bytes,
            MIB..=1024 * MIB,
        )?;
        let response = within(
            "response_body_bytes",
            self.response_body_bytes,
            MIB..=1024 * MIB,
        )?;
        let connections = within("connections", self.connections, 1..=65_536)?;
        let timeout = within("head_timeout_seconds", self.head_timeout_seconds, 1..=300)?;
        let size = |value: Option<u64>, default| {
            value.map_or(default, |n| usize::try_from(n).unwrap_or(default))
        };
        Ok(Limits {
            head_bytes: size(head, default.head_bytes),
            request_body_bytes: request.unwrap_or(default.request_body_bytes),
            response_body_bytes: response.unwrap_or(default.response_body_bytes),
            connections: size(connections, default.connections),
            max_session: self.max_session.as_ref().map(length).transpose()?,
            head_timeout: timeout.map_or(default.head_timeout, Duration::from_secs),
        })
    }
}

fn length(text: &Spanned<String>) -> Result<Length, Misplaced> {
    Length::parse(text.get_ref())
        .map_err(|error| Misplaced(text.span(), Problem::Length("max_session", error)))
}

fn absolute(path: &Spanned<PathBuf>) -> Result<PathBuf, Misplaced> {
    if path.get_ref().is_absolute() {
        return Ok(path.get_ref().clone());
    }
    Err(Misplaced(
        path.span(),
        Problem::RelativePath(path.get_ref().clone()),
    ))
}

/// Checks a number's bounds, which are never negative.
pub(super) fn within(
    key: &'static str,
    value: Option<Spanned<i64>>,
    bounds: RangeInclusive<i64>,
) -> Result<Option<u64>, Misplaced> {
    let Some(spanned) = value else {
        return Ok(None);
    };
    let value = *spanned.get_ref();
    match u64::try_from(value) {
        Ok(number) if bounds.contains(&value) => Ok(Some(number)),
        _ => {
            let (least, most) = bounds.into_inner();
            Err(Misplaced(
                spanned.span(),
                Problem::OutOfBounds {
                    key,
                    value,
                    least,
                    most,
                },
            ))
        }
    }
}
