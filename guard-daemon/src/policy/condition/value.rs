//! The values that conditions compare with: read once, by the operator's type.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, OffsetDateTime};

use super::operator::{Comparison, Kind};
use crate::policy::keys::{Facts, Keys};
use crate::policy::pattern::ARN_PARTS;
use crate::policy::text::{Language, Match, Piece, Text, TextError, pieces, split};

/// Bytes of one value.
const LONGEST: usize = 4096;

/// Digits before or after a number's point: two of them fit an `i128`.
const DIGITS: usize = 18;

/// Why a value is not accepted, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// A bad policy variable.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Longer than any value that a request has.
    #[error("the value is longer than {LONGEST} bytes; use a wildcard with StringLike")]
    TooLong,
    /// Not a number.
    #[error(
        "write a number such as 10 or -2.5, of at most {DIGITS} digits before and after the point"
    )]
    Number,
    /// Not a time.
    #[error(
        "write a time such as 2026-01-31T18:30:00Z, a day such as 2026-01-31, or seconds since 1970"
    )]
    Date,
    /// Not a boolean.
    #[error("write true or false")]
    Bool,
    /// Not base64.
    #[error("write the bytes in base64, with padding")]
    Binary,
    /// Not an address.
    #[error(
        "write an address such as 203.0.113.7, or a range such as 203.0.113.0/24 or 2001:db8::/32"
    )]
    Address,
}

/// What a condition's key is compared with.
#[derive(Debug)]
pub(super) enum Values {
    Equals(Vec<Text>),
    EqualsIgnoreCase(Vec<Text>),
    Like(Vec<Text>),
    Number(Comparison, Vec<i128>),
    /// Nanoseconds since 1970.
    Date(Comparison, Vec<i128>),
    Bool {
        yes: bool,
        no: bool,
    },
    Binary(Vec<Vec<u8>>),
    Address(Vec<IpNet>),
    Arn(Vec<ArnText>),
    /// Whether the key's absence and its presence match.
    Null {
        absent: bool,
        present: bool,
    },
}

/// The components of an ARN, each matched for itself.
#[derive(Debug)]
pub(super) struct ArnText(Vec<Text>);

impl Values {
    pub(super) fn parse(
        kind: Kind,
        written: &[Box<str>],
        language: Language,
        keys: &mut Keys,
    ) -> Result<Self, (usize, ValueError)> {
        if let Some(at) = written.iter().position(|value| value.len() > LONGEST) {
            return Err((at, ValueError::TooLong));
        }
        let mut text = |value: &str, wildcards| {
            let pieces = pieces(value, wildcards, language, keys)?;
            Ok(Text::new(pieces))
        };
        Ok(match kind {
            Kind::StringEquals => Self::Equals(each(written, |value| text(value, false))?),
            Kind::StringEqualsIgnoreCase => {
                Self::EqualsIgnoreCase(each(written, |value| text(value, false))?)
            }
            Kind::StringLike => Self::Like(each(written, |value| text(value, true))?),
            Kind::Number(comparison) => Self::Number(
                comparison,
                each(written, |value| number(value).ok_or(ValueError::Number))?,
            ),
            Kind::Date(comparison) => Self::Date(
                comparison,
                each(written, |value| date(value).ok_or(ValueError::Date))?,
            ),
            Kind::Bool => {
                let (yes, no) = booleans(written)?;
                Self::Bool { yes, no }
            }
            Kind::Null => {
                let (absent, present) = booleans(written)?;
                Self::Null { absent, present }
            }
            Kind::Binary => Self::Binary(each(written, |value| {
                STANDARD
                    .decode(value)
                    .map_err(|_undecodable| ValueError::Binary)
            })?),
            Kind::Address => Self::Address(each(written, |value| {
                network(value).ok_or(ValueError::Address)
            })?),
            Kind::ArnEquals | Kind::ArnLike => Self::Arn(each(written, |value| {
                Ok(ArnText::new(&pieces(value, true, language, keys)?))
            })?),
        })
    }

    /// Whether one of them matches a value of the request's. What does not have the operator's type is
    /// unknown: AWS may read it in another way.
    pub(super) fn matches(&self, value: &str, facts: &Facts<'_>) -> Match {
        let typed = |matches: Option<bool>| matches.map_or(Match::Unknown, Match::from);
        match self {
            Self::Equals(texts) | Self::Like(texts) => {
                Match::any(texts.iter().map(|text| text.matches::<false>(value, facts)))
            }
            Self::EqualsIgnoreCase(texts) => {
                Match::any(texts.iter().map(|text| text.matches::<true>(value, facts)))
            }
            Self::Arn(arns) => Match::any(arns.iter().map(|arn| arn.matches(value, facts))),
            Self::Number(comparison, numbers) => typed(number(value).map(|value| {
                numbers
                    .iter()
                    .any(|number| comparison.holds(value.cmp(number)))
            })),
            Self::Date(comparison, dates) => typed(
                date(value).map(|value| dates.iter().any(|date| comparison.holds(value.cmp(date)))),
            ),
            Self::Bool { yes, no } => {
                typed(boolean(value).map(|value| if value { *yes } else { *no }))
            }
            Self::Binary(wanted) => typed(
                STANDARD
                    .decode(value)
                    .ok()
                    .map(|value| wanted.contains(&value)),
            ),
            Self::Address(networks) => typed(value.parse::<IpAddr>().ok().map(|address| {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            })),
            // Whether the key exists is asked before its value.
            Self::Null { present, .. } => Match::from(*present),
        }
    }
}

impl ArnText {
    fn new(pieces: &[Piece]) -> Self {
        Self(
            split(pieces, ARN_PARTS)
                .into_iter()
                .map(Text::new)
                .collect(),
        )
    }

    /// "Each of the six colon-delimited components of the ARN is checked separately." What a pattern or a value
    /// with fewer of them matches is not documented.
    fn matches(&self, arn: &str, facts: &Facts<'_>) -> Match {
        if self.0.len() < ARN_PARTS || arn.splitn(ARN_PARTS, ':').count() < ARN_PARTS {
            return Match::Unknown;
        }
        let mut all = Match::Yes;
        for (part, text) in self.0.iter().zip(arn.splitn(ARN_PARTS, ':')) {
            match part.matches::<false>(text, facts) {
                Match::No => return Match::No,
                Match::Void => all = Match::Void,
                Match::Unknown if all == Match::Yes => all = Match::Unknown,
                Match::Unknown | Match::Yes => {}
            }
        }
        all
    }
}

fn each<T>(
    written: &[Box<str>],
    mut parse: impl FnMut(&str) -> Result<T, ValueError>,
) -> Result<Vec<T>, (usize, ValueError)> {
    written
        .iter()
        .enumerate()
        .map(|(at, value)| parse(value).map_err(|error| (at, error)))
        .collect()
}

/// A decimal number, times 10^18.
fn number(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // `1.` is no number.
    let complete = !whole.is_empty() && (!fraction.is_empty() || !digits.contains('.'));
    if !complete || whole.len() > DIGITS || fraction.len() > DIGITS || !all(whole) || !all(fraction)
    {
        return None;
    }
    let scaled: i128 = format!("{whole}{fraction:0<DIGITS$}").parse().ok()?;
    Some(if negative { -scaled } else { scaled })
}

/// A time, in nanoseconds since 1970: the W3C's forms of ISO 8601 that have a day, or seconds since 1970. Four
/// digits could be a year, too, and are neither.
fn date(text: &str) -> Option<i128> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: i64 = text.parse().ok().filter(|_| text.len() != 4)?;
        return Some(
            OffsetDateTime::from_unix_timestamp(seconds)
                .ok()?
                .unix_timestamp_nanos(),
        );
    }
    let day = format_description!("[year]-[month]-[day]");
    let minutes = format_description!(
        "[year]-[month]-[day]T[hour]:[minute][offset_hour sign:mandatory]:[offset_minute]"
    );
    let time = if text.len() == "2026-01-31".len() {
        Date::parse(text, day)
            .ok()?
            .with_time(time!(0:00))
            .assume_utc()
    } else if text.matches(':').count() == 1 || text.len() == "2026-01-31T18:30+01:00".len() {
        let utc = text.strip_suffix('Z').map(|local| format!("{local}+00:00"));
        OffsetDateTime::parse(utc.as_deref().unwrap_or(text), minutes)
            .or_else(|_| OffsetDateTime::parse(text, &Rfc3339))
            .ok()?
    } else {
        OffsetDateTime::parse(text, &Rfc3339).ok()?
    };
    Some(time.unix_timestamp_nanos())
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Whether `true` and `false` are among them.
fn booleans(written: &[Box<str>]) -> Result<(bool, bool), (usize, ValueError)> {
    let values = each(written, |value| boolean(value).ok_or(ValueError::Bool))?;
    Ok((values.contains(&true), values.contains(&false)))
}

fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
