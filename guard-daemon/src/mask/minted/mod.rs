//! Credentials in answers: which operations mint them, where they stand, and how dummies take their places.
//!
//! The gateway reads them here, has `broker` make dummies for them, and puts those in their places before masks
//! are applied. Every other byte stays. What cannot be understood is an error, and nothing of it reaches the client.

mod json;
mod operations;
#[cfg(test)]
mod tests;
mod xml;

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use zeroize::{Zeroize, Zeroizing};

use super::MaskError;
use crate::aws::Protocol;
use crate::broker::DummyCredentials;

pub use operations::{Minting, minting};

/// Sets of credentials in one answer, at the most.
const MOST: usize = 64;

/// One set of credentials in an answer.
pub struct Found {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: Zeroizing<String>,
    /// The session token.
    pub session_token: Zeroizing<String>,
    /// When they end, where the answer says so.
    pub expiry: Option<SystemTime>,
    /// Where the three stand in the body, in this order, without quotes.
    places: [Range<usize>; 3],
}

/// What an answer mints.
#[derive(Default)]
pub struct Mints {
    /// In the order of the answer.
    pub found: Vec<Found>,
    /// Whose they are, as STS says: `AssumedRoleUser` or `FederatedUser`.
    pub principal: Option<Named>,
}

/// A principal that an answer of STS names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Named {
    /// Its ARN.
    pub arn: Option<String>,
    /// Its identifier.
    pub id: Option<String>,
}

/// Finds what an answer mints.
///
/// # Errors
/// Where the body is not a document of its protocol, or has a part of a set of credentials and not the whole.
pub fn find(minting: Minting, protocol: Protocol, body: &[u8]) -> Result<Mints, MaskError> {
    let format = match protocol {
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => "JSON",
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml | Protocol::S3 => "XML",
        Protocol::Cbor => return Err(MaskError::Unsupported { what: "CBOR" }),
    };
    let text = str::from_utf8(body).map_err(|error| MaskError::Malformed {
        format,
        reason: error.to_string(),
    })?;
    let mut mints = Mints::default();
    if format == "JSON" {
        json::find(minting, text, &mut mints)?;
    } else {
        let wrappers = if protocol == Protocol::Query { 2 } else { 1 };
        xml::find(minting, text, wrappers, &mut mints)?;
    }
    Ok(mints)
}

/// Puts a dummy in the place of each set, in the same order.
///
/// # Errors
/// Where a secret or token would still be in the body: it stands there twice.
pub fn replace(
    minting: Minting,
    body: &[u8],
    mints: &Mints,
    dummies: &[DummyCredentials],
) -> Result<Bytes, MaskError> {
    let mut edits: Vec<(&Range<usize>, &str)> = Vec::new();
    for (found, dummy) in mints.found.iter().zip(dummies) {
        let token = dummy.session_token.as_deref().unwrap_or_default();
        let with = [&dummy.access_key_id, &dummy.secret_access_key, token];
        edits.extend(found.places.iter().zip(with));
    }
    edits.sort_by_key(|(place, _)| place.start);
    let mut replaced = Vec::with_capacity(body.len());
    let mut done = 0;
    for (place, with) in edits {
        replaced.extend_from_slice(&body[done..place.start]);
        replaced.extend_from_slice(with.as_bytes());
        done = place.end;
    }
    replaced.extend_from_slice(&body[done..]);
    let left = mints.found.iter().any(|found| {
        holds(&replaced, &found.secret_access_key) || holds(&replaced, &found.session_token)
    });
    if mints.found.len() != dummies.len() || left {
        replaced.zeroize();
        return Err(MaskError::Contradiction {
            path: minting.path().to_owned(),
        });
    }
    Ok(replaced.into())
}

fn holds(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The three members and the expiry of a structure, as they come.
#[derive(Default)]
struct Members {
    key: Option<(Range<usize>, String)>,
    secret: Option<(Range<usize>, String)>,
    token: Option<(Range<usize>, String)>,
    expiry: Option<SystemTime>,
}

/// What a member of such a structure is.
enum Member {
    Key,
    Secret,
    Token,
    Expiry,
    Other,
}

impl Member {
    /// By its name, in any of the spellings of the models.
    fn named(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("AccessKeyId") {
            Self::Key
        } else if is("SecretAccessKey") || is("SecretKey") {
            Self::Secret
        } else if is("SessionToken") {
            Self::Token
        } else if is("Expiration") || is("ExpirationTime") || is("ExpiresAt") {
            Self::Expiry
        } else {
            Self::Other
        }
    }
}

impl Members {
    /// Takes a text in; the same member twice is an error.
    fn take(&mut self, member: &Member, place: Range<usize>, mut text: String) -> bool {
        let slot = match member {
            Member::Key => &mut self.key,
            Member::Secret => &mut self.secret,
            Member::Token => &mut self.token,
            Member::Expiry => {
                self.expiry = expiry(&text);
                return true;
            }
            Member::Other => return true,
        };
        if slot.is_some() || text.is_empty() {
            text.zeroize();
            return false;
        }
        *slot = Some((place, text));
        true
    }

    /// The set; `None` where it has no part of one.
    fn finish(mut self, minting: Minting) -> Result<Option<Found>, MaskError> {
        match (self.key.take(), self.secret.take(), self.token.take()) {
            (None, None, None) => Ok(None),
            (Some((key, access_key_id)), Some((secret, secret_text)), Some((token, token_text))) => {
                Ok(Some(Found {
                    access_key_id,
                    secret_access_key: secret_text.into(),
                    session_token: token_text.into(),
                    expiry: self.expiry,
                    places: [key, secret, token],
                }))
            }
            (_, secret, token) => {
                for (_, mut text) in secret.into_iter().chain(token) {
                    text.zeroize();
                }
                contradiction(minting)
            }
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for (_, text) in self.secret.iter_mut().chain(&mut self.token) {
            text.zeroize();
        }
    }
}

impl Mints {
    fn add(&mut self, members: Members, minting: Minting) -> Result<(), MaskError> {
        if let Some(found) = members.finish(minting)? {
            if self.found.len() == MOST {
                return contradiction(minting);
            }
            self.found.push(found);
        }
        Ok(())
    }
}

fn contradiction<T>(minting: Minting) -> Result<T, MaskError> {
    Err(MaskError::Contradiction {
        path: minting.path().to_owned(),
    })
}

/// A time as the protocols write it: RFC 3339, RFC 2822, seconds or (IAM Identity Center) milliseconds.
fn expiry(text: &str) -> Option<SystemTime> {
    if let Ok(number) = text.parse::<f64>() {
        // The year 5138 in seconds, 1973 in milliseconds.
        let seconds = if number > 1e11 { number / 1000.0 } else { number };
        return UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?);
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, &Rfc2822));
    time.ok().map(SystemTime::from)
}
