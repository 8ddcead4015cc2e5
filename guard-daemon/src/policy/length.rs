//! Lengths of time as people write them: `8h`, `90m`, `1h30m`, `45s`.

use std::fmt;
use std::time::Duration;

/// The longest: a year.
const LONGEST: u64 = 365 * 24 * 3600;

/// Units, longest first, in seconds.
const UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// A length of time, in whole seconds: from one second to a year.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Length(u64);

/// A text is no length of time.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no length of time; write numbers with units, the longest first, from \"1s\" to \"365d\": \"8h\", \"90m\", \"1h30m\""
)]
pub struct LengthError(String);

impl Length {
    /// Reads one. Each unit stands once at the most, the longest first.
    pub fn parse(text: &str) -> Result<Self, LengthError> {
        let wrong = || LengthError(text[..text.floor_char_boundary(64)].to_owned());
        let mut units = UNITS.iter();
        let mut rest = text;
        let mut sum = 0_u64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let unit = after.chars().next().ok_or_else(wrong)?;
            let (_, seconds) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            let number: u64 = number.parse().map_err(|_not_a_number| wrong())?;
            let part = number.checked_mul(*seconds).ok_or_else(wrong)?;
            sum = sum.checked_add(part).ok_or_else(wrong)?;
            rest = &after[1..];
        }
        if (1..=LONGEST).contains(&sum) {
            Ok(Self(sum))
        } else {
            Err(wrong())
        }
    }

    /// So many seconds, within the bounds.
    pub fn seconds(seconds: u64) -> Self {
        Self(seconds.clamp(1, LONGEST))
    }

    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        for (name, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{name}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write_and_nothing_else() {
        for (text, seconds) in [
            ("8h", 28_800),
            ("90m", 5_400),
            ("1h30m", 5_400),
            ("1d2h3m4s", 93_784),
            ("365d", LONGEST),
        ] {
            assert_eq!(Length::parse(text), Ok(Length(seconds)), "{text}");
        }
        for text in [
            "",
            "8",
            "h",
            "0s",
            "366d",
            "1h 30m",
            "30m1h",
            "1h1h",
            "1.5h",
            "-1h",
            "8H",
            "1é",
            "99999999999999999999h",
            "9999999999999999h",
        ] {
            assert!(Length::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(seconds in 1..=LONGEST) {
            let length = Length(seconds);
            prop_assert_eq!(Length::parse(&length.to_string()), Ok(length));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", near in "[0-9dhms]{0,30}") {
            let _ = Length::parse(&text);
            let _ = Length::parse(&near);
        }
    }
}
