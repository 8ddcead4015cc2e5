//! Why a session has no identity, and so does not start.
//!
//! A token is the invoker's text: what an error quotes of it is escaped and cut short.

/// Characters of a token's text that an error quotes.
const SHOWN: usize = 200;

/// Why a session has no identity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// `[identity] required`, and no token.
    #[error(
        "sessions on this host need a person's or workload's token ([identity] required = true); give one with \
         --identity-token-file FILE, from an issuer that this host trusts ({issuers})"
    )]
    TokenRequired {
        /// Who is trusted.
        issuers: String,
    },
    /// `[identity] require_reason`, and none.
    #[error(
        "sessions on this host need a reason ([identity] require_reason = true); give one with --reason TEXT"
    )]
    ReasonRequired,
    /// `[identity] require_agent`, and none.
    #[error(
        "sessions on this host name their agent ([identity] require_agent = true); name it with --agent NAME"
    )]
    AgentRequired,
    /// Something that the starter says is out of bounds.
    #[error("{what} {why}")]
    Said {
        /// What of it.
        what: String,
        /// What is wrong, and what to write instead.
        why: String,
    },
    /// The token.
    #[error("the identity token is not accepted: {0}")]
    Token(#[from] TokenError),
}

/// Which check a token failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a signed JSON Web Token.
    #[error("{0}; give the provider's ID token as it is: three parts of base64url, joined by dots")]
    Malformed(String),
    /// Its issuer is not one of the host's.
    #[error(
        "it is issued by {issuer}, which this host does not trust (it trusts {trusted}); have root add an \
         [[identity.issuer]] to guard.toml, or use another token"
    )]
    Issuer {
        /// `iss`.
        issuer: String,
        /// Who is trusted.
        trusted: String,
    },
    /// Its algorithm is not one of the issuer's.
    #[error(
        "it is signed with {algorithm}, and of {issuer} only {allowed} are accepted; `algorithms` of its \
         [[identity.issuer]] says so, and can never name `none` or HS256"
    )]
    Algorithm {
        /// `alg`.
        algorithm: String,
        /// The issuer.
        issuer: String,
        /// What is accepted.
        allowed: String,
    },
    /// The issuer has no such key.
    #[error(
        "{issuer} publishes no key {key} for {algorithm} (as of {age} s ago); the token is of another issuer or of a \
         key that was taken back: get a new one{later}"
    )]
    Key {
        /// The issuer.
        issuer: String,
        /// `kid`.
        key: String,
        /// `alg`.
        algorithm: String,
        /// Seconds since the keys were fetched.
        age: u64,
        /// When the keys are looked up again, where they were not now.
        later: String,
    },
    /// The keys could not be had.
    #[error("the keys of {issuer} cannot be had: {why}")]
    Keys {
        /// The issuer.
        issuer: String,
        /// Why not, and what to do.
        why: String,
    },
    /// The signature is wrong.
    #[error(
        "its signature does not match the keys that {issuer} published {age} s ago; it was changed, or somebody else \
         made it{later}"
    )]
    Signature {
        /// The issuer.
        issuer: String,
        /// Seconds since the keys were fetched.
        age: u64,
        /// When the keys are looked up again, where they were not now.
        later: String,
    },
    /// It is for somebody else.
    #[error(
        "it is for {found}, and this host accepts tokens for {accepted}; ask the provider for a token with such an \
         audience"
    )]
    Audience {
        /// `aud`.
        found: String,
        /// What is accepted.
        accepted: String,
    },
    /// It is over.
    #[error("it expired {seconds} s ago; get a new one (or set this host's clock)")]
    Expired {
        /// How long ago.
        seconds: u64,
    },
    /// It is not valid yet.
    #[error("its `{claim}` is {seconds} s ahead of this host's clock; wait, or set the clock")]
    Early {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// How long.
        seconds: u64,
    },
    /// It was issued too long ago.
    #[error(
        "it was issued {seconds} s ago, and at most {most} s are accepted (`max_age_seconds` of its \
         [[identity.issuer]]); get a new one"
    )]
    Old {
        /// How long ago.
        seconds: u64,
        /// How long at most.
        most: u64,
    },
    /// A claim is missing, or is not what it must be.
    #[error("its claim `{claim}` {why}")]
    Claim {
        /// Which one.
        claim: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A token's text, for an error.
pub(super) fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
