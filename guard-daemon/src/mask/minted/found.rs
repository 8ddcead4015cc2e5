//! What a walk through an answer found of credentials.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{Part, Unit};

/// Sets in one answer.
const SETS: usize = 256;
/// Bytes of an access key id, a secret, an ARN or a time.
const SHORT: usize = 2048;
/// Bytes of a session token.
const LONG: usize = 16 * 1024;
/// The last second of the year 9999, the last that RFC 3339 can write.
const LAST: f64 = 253_402_300_799.0;

/// A set of credentials as an operation minted it.
pub struct Fresh {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: Zeroizing<String>,
    /// The session token.
    pub session_token: Zeroizing<String>,
    /// When they end, where the answer tells.
    pub expiry: Option<SystemTime>,
    /// The ARN of whom they stand for, where the answer tells.
    pub arn: Option<String>,
    /// Its unique identifier, where the answer tells.
    pub user_id: Option<String>,
}

/// A value where it stands.
pub(in crate::mask) struct Spot {
    /// Its bytes in the document: what a replacement replaces.
    pub(in crate::mask) range: Range<usize>,
    /// The value, decoded.
    pub(in crate::mask) text: Zeroizing<String>,
    /// How a replacement is written.
    pub(in crate::mask) form: Form,
}

/// How a text is written in a document.
#[derive(Clone, Copy, Debug)]
pub(in crate::mask) enum Form {
    /// XML: as it is, what needs no escape.
    Bare,
    /// JSON: between quotes, what needs no escape.
    Quoted,
    /// CBOR: with its length.
    Cbor,
}

impl Form {
    /// Writes letters and digits, of which dummies are made.
    pub(in crate::mask) fn write(self, text: &str) -> Vec<u8> {
        match self {
            Self::Bare => text.into(),
            Self::Quoted => format!("\"{text}\"").into(),
            // Memory takes whatever is written; were it not so, an empty item fails the client's parser.
            Self::Cbor => minicbor::to_vec(text).unwrap_or_default(),
        }
    }
}

/// What was found.
#[derive(Default)]
pub(in crate::mask) struct Found {
    sets: Vec<Spots>,
    open: bool,
    arn: Option<String>,
    user_id: Option<String>,
}

#[derive(Default)]
struct Spots {
    access_key_id: Option<Spot>,
    secret_access_key: Option<Spot>,
    session_token: Option<Spot>,
    expiry: Option<SystemTime>,
}

/// It is not as the table says.
#[derive(Debug)]
pub(in crate::mask) struct Odd;

impl Found {
    /// A set begins.
    pub(in crate::mask) fn begin(&mut self) -> Result<(), Odd> {
        if self.open || self.sets.len() >= SETS {
            return Err(Odd);
        }
        self.open = true;
        self.sets.push(Spots::default());
        Ok(())
    }

    /// A set ends: it is whole, or not there at all.
    pub(in crate::mask) fn end(&mut self) -> Result<(), Odd> {
        self.open = false;
        match self.sets.last() {
            Some(Spots {
                access_key_id: None,
                secret_access_key: None,
                session_token: None,
                ..
            }) => drop(self.sets.pop()),
            Some(Spots {
                access_key_id: Some(_),
                secret_access_key: Some(_),
                session_token: Some(_),
                ..
            }) => {}
            _ => return Err(Odd),
        }
        Ok(())
    }

    /// Takes a value, which may stand once.
    pub(in crate::mask) fn take(&mut self, part: Part, spot: Spot) -> Result<(), Odd> {
        let most = if part == Part::SessionToken {
            LONG
        } else {
            SHORT
        };
        if spot.text.is_empty() || spot.text.len() > most {
            return Err(Odd);
        }
        let whole = match part {
            Part::Arn => Some(&mut self.arn),
            Part::UserId => Some(&mut self.user_id),
            _ => None,
        };
        if let Some(whole) = whole {
            return once(whole, spot.text.to_string());
        }
        let open = self.open;
        let set = self.sets.last_mut().filter(|_| open).ok_or(Odd)?;
        match part {
            Part::AccessKeyId => once(&mut set.access_key_id, spot),
            Part::SecretAccessKey => once(&mut set.secret_access_key, spot),
            Part::SessionToken => once(&mut set.session_token, spot),
            Part::Expiration(unit) => once(&mut set.expiry, time(&spot.text, unit)?),
            Part::Arn | Part::UserId => Err(Odd),
        }
    }

    pub(in crate::mask) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The sets, each with where its access key id, secret and session token stand.
    pub(in crate::mask) fn sets(self) -> impl Iterator<Item = (Fresh, [(Range<usize>, Form); 3])> {
        let (arn, user_id) = (self.arn, self.user_id);
        self.sets.into_iter().filter_map(move |set| {
            let (id, secret, token) = (
                set.access_key_id?,
                set.secret_access_key?,
                set.session_token?,
            );
            let fresh = Fresh {
                access_key_id: id.text.to_string(),
                secret_access_key: secret.text,
                session_token: token.text,
                expiry: set.expiry,
                arn: arn.clone(),
                user_id: user_id.clone(),
            };
            let places = [
                (id.range, id.form),
                (secret.range, secret.form),
                (token.range, token.form),
            ];
            Some((fresh, places))
        })
    }
}

/// Two values: which of them a client believes is not known.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Odd> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Odd),
    }
}

fn time(text: &str, unit: Unit) -> Result<SystemTime, Odd> {
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(time.into());
    }
    let number: f64 = text.parse().map_err(|_not_a_number| Odd)?;
    let seconds = match unit {
        Unit::Seconds => number,
        Unit::Milliseconds => number / 1000.0,
    };
    if !(0.0..=LAST).contains(&seconds) {
        return Err(Odd);
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form_that_services_write() {
        let expected = SystemTime::UNIX_EPOCH + Duration::from_hours(490_000);
        for (text, unit) in [
            ("2025-11-24T16:00:00Z", Unit::Seconds),
            ("2025-11-24T17:00:00.000+01:00", Unit::Milliseconds),
            ("1764000000", Unit::Seconds),
            ("1.764E9", Unit::Seconds),
            ("1764000000000", Unit::Milliseconds),
        ] {
            assert_eq!(time(text, unit).unwrap(), expected, "{text}");
        }
        for odd in ["", "soon", "-1", "NaN", "inf", "1e300", "2025-11-24"] {
            assert!(time(odd, Unit::Seconds).is_err(), "{odd}");
        }
    }
}
