//! `[identity]`: whose word guard takes for who a session is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::Uri;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde::Deserialize;
use toml::Spanned;

use super::file::{Misplaced, Problem, within};

/// Issuers, and what each of them may list, at the most.
const MOST: usize = 32;

/// Bytes of an issuer's name: it is in every journal entry.
const LONGEST_URI: usize = 512;

/// `[identity]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IdentityConfig {
    /// A session needs a token that verifies.
    pub required: bool,
    /// A session needs a reason.
    pub require_reason: bool,
    /// A session names its agent.
    pub require_agent: bool,
    /// Whose tokens are believed.
    pub issuers: Vec<IssuerConfig>,
}

/// `[[identity.issuer]]`: an OpenID provider, and what its tokens must say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerConfig {
    /// `iss`, exactly; its discovery document is below it.
    pub issuer: String,
    /// `aud` must be one of these.
    pub audience: Vec<String>,
    /// Where its keys are; by discovery where this is not said.
    pub jwks_uri: Option<String>,
    /// Algorithms that it is trusted with; never one with a shared secret.
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the person.
    pub subject: String,
    /// The claim with the address.
    pub email: String,
    /// When the address counts.
    pub email_verified: EmailVerified,
    /// Claims that must have these values.
    pub required_claims: BTreeMap<String, RequiredClaim>,
    /// How far the provider's clock may be off: at most 60 s.
    pub leeway: Duration,
    /// How long ago a token may have been issued.
    pub max_age: Duration,
}

/// When an e-mail address counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum EmailVerified {
    /// With the claim `email_verified`.
    #[default]
    Required,
    /// Always: the provider hands out only addresses of its own.
    Trust,
}

/// What a claim must be, with its type.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(
    untagged,
    expecting = "a required claim is text, a whole number, true or false"
)]
pub enum RequiredClaim {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

impl IssuerConfig {
    /// The defaults.
    pub fn new(issuer: &str) -> Self {
        use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

        Self {
            issuer: issuer.to_owned(),
            audience: Vec::new(),
            jwks_uri: None,
            algorithms: vec![
                RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA,
            ],
            subject: "sub".to_owned(),
            email: "email".to_owned(),
            email_verified: EmailVerified::Required,
            required_claims: BTreeMap::new(),
            leeway: Duration::from_secs(30),
            max_age: Duration::from_hours(1),
        }
    }
}

impl fmt::Display for RequiredClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Whether a URI is plain HTTP to an address of this host's loopback.
pub(crate) fn is_loopback(uri: &str) -> bool {
    let uri: Option<Uri> = uri.parse().ok();
    uri.is_some_and(|uri| {
        let host = uri.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        let loopback = address.is_ok_and(|address: IpAddr| address.is_loopback());
        uri.scheme_str() == Some("http") && loopback
    })
}

/// `[identity]` as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    required: bool,
    require_reason: bool,
    require_agent: bool,
    issuer: Vec<Spanned<WrittenIssuer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenIssuer {
    issuer: Spanned<String>,
    audience: Spanned<Vec<String>>,
    jwks_uri: Option<Spanned<String>>,
    algorithms: Option<Spanned<Vec<String>>>,
    subject: Option<Spanned<String>>,
    email: Option<Spanned<String>>,
    #[serde(default)]
    email_verified: EmailVerified,
    #[serde(default)]
    required_claims: BTreeMap<Spanned<String>, RequiredClaim>,
    leeway_seconds: Option<Spanned<i64>>,
    max_age_seconds: Option<Spanned<i64>>,
}

impl Written {
    pub(super) fn checked(self) -> Result<IdentityConfig, Misplaced> {
        let mut issuers: Vec<IssuerConfig> = Vec::new();
        let mut seen = BTreeSet::new();
        for issuer in self.issuer {
            let at = issuer.span();
            if issuers.len() == MOST {
                return Err(Misplaced(at, Problem::Issuers(MOST)));
            }
            let place = issuer.get_ref().issuer.span();
            let issuer = issuer.into_inner().checked()?;
            if !seen.insert(issuer.issuer.clone()) {
                return Err(Misplaced(place, Problem::IssuerTwice(issuer.issuer)));
            }
            issuers.push(issuer);
        }
        Ok(IdentityConfig {
            required: self.required,
            require_reason: self.require_reason,
            require_agent: self.require_agent,
            issuers,
        })
    }
}

impl WrittenIssuer {
    fn checked(self) -> Result<IssuerConfig, Misplaced> {
        let mut issuer = IssuerConfig::new(checked_uri(&self.issuer)?);
        issuer.jwks_uri = match &self.jwks_uri {
            Some(uri) => Some(checked_uri(uri)?.to_owned()),
            None => None,
        };
        let audience = self.audience.get_ref();
        let plain = |text: &String| !text.is_empty() && !text.chars().any(char::is_control);
        if audience.is_empty() || audience.len() > MOST || !audience.iter().all(plain) {
            return Err(Misplaced(self.audience.span(), Problem::Audience));
        }
        issuer.audience = self.audience.into_inner();
        if let Some(names) = self.algorithms {
            let algorithms = names.get_ref().iter().map(|name| algorithm(name));
            let algorithms: Option<Vec<Algorithm>> = algorithms.collect();
            let algorithms = algorithms.filter(|it| !it.is_empty());
            issuer.algorithms =
                algorithms.ok_or_else(|| Misplaced(names.span(), Problem::Algorithms))?;
        }
        for (written, claim) in [
            (self.subject, &mut issuer.subject),
            (self.email, &mut issuer.email),
        ] {
            if let Some(written) = written {
                check_claim(&written)?;
                *claim = written.into_inner();
            }
        }
        issuer.email_verified = self.email_verified;
        for (claim, value) in self.required_claims {
            check_claim(&claim)?;
            issuer.required_claims.insert(claim.into_inner(), value);
        }
        let leeway = within("leeway_seconds", self.leeway_seconds, 0..=60)?;
        issuer.leeway = leeway.map_or(issuer.leeway, Duration::from_secs);
        let max_age = within("max_age_seconds", self.max_age_seconds, 60..=86_400)?;
        issuer.max_age = max_age.map_or(issuer.max_age, Duration::from_secs);
        Ok(issuer)
    }
}

/// One whose keys are public: with a shared secret whoever can verify a token can make one.
fn algorithm(name: &str) -> Option<Algorithm> {
    let algorithm: Algorithm = name.parse().ok()?;
    let shared = AlgorithmFamily::Hmac.algorithms().contains(&algorithm);
    (!shared).then_some(algorithm)
}

fn checked_uri(written: &Spanned<String>) -> Result<&str, Misplaced> {
    let text = written.get_ref();
    let uri: Option<Uri> = text.parse().ok();
    let good = uri.is_some_and(|uri| {
        let plain = uri.authority().is_some_and(|it| !it.as_str().contains('@'));
        let safe = uri.scheme_str() == Some("https") || is_loopback(text);
        plain && safe && text.len() <= LONGEST_URI && uri.query().is_none() && !text.contains('#')
    });
    if good {
        return Ok(text);
    }
    Err(Misplaced(written.span(), Problem::IssuerUri(text.clone())))
}

fn check_claim(written: &Spanned<String>) -> Result<(), Misplaced> {
    let claim = written.get_ref();
    if claim.is_empty() || claim.len() > 256 || claim.chars().any(char::is_control) {
        return Err(Misplaced(written.span(), Problem::Claim(claim.clone())));
    }
    Ok(())
}
