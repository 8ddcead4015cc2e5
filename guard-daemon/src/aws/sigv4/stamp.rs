//! The time stamps of a signature: `YYYYMMDDTHHMMSSZ`, and the HTTP date that may stand in for it.

use ::time::format_description::BorrowedFormatItem;
use ::time::macros::format_description;
use ::time::{OffsetDateTime, PrimitiveDateTime};

const BASIC: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");
/// RFC 9110 §5.6.7, IMF-fixdate: what botocore writes where a caller set `Date`.
const HTTP: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Reads `YYYYMMDDTHHMMSSZ`, in seconds since the epoch; `None` unless it is exactly that and a real date.
pub(super) fn seconds(stamp: &str) -> Option<i64> {
    let shape = stamp.len() == 16
        && stamp.bytes().enumerate().all(|(i, b)| match i {
            8 => b == b'T',
            15 => b == b'Z',
            _ => b.is_ascii_digit(),
        });
    if !shape {
        return None;
    }
    let moment = PrimitiveDateTime::parse(stamp, BASIC).ok()?;
    Some(moment.assume_utc().unix_timestamp())
}

/// Writes `YYYYMMDDTHHMMSSZ`; `None` beyond the year 9999 or before the year 0.
pub(super) fn of(moment: OffsetDateTime) -> Option<String> {
    let text = moment.format(BASIC).ok()?;
    (text.len() == 16).then_some(text)
}

/// The basic form of a `Date` header, which may already be in it.
pub(super) fn from_date_header(value: &str) -> Option<String> {
    if seconds(value).is_some() {
        return Some(value.to_owned());
    }
    // s3cmd's way to write GMT.
    let value = value.replace(" +0000", " GMT");
    if value.len() != 29 {
        return None;
    }
    let moment: OffsetDateTime = PrimitiveDateTime::parse(&value, HTTP).ok()?.assume_utc();
    of(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stamps_strictly() {
        assert_eq!(seconds("20130524T000000Z"), Some(1_369_353_600));
        for bad in [
            "",
            "20130524T000000",
            "20131324T000000Z",
            "20130524T250000Z",
            "+0130524T000000Z",
            "2013-05-24T0000Z",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_date_headers() {
        let basic = Some("20130524T000000Z".to_owned());
        assert_eq!(from_date_header("Fri, 24 May 2013 00:00:00 GMT"), basic);
        assert_eq!(from_date_header("Fri, 24 May 2013 00:00:00 +0000"), basic);
        assert_eq!(from_date_header("20130524T000000Z"), basic);
        assert_eq!(from_date_header("Fri, 24 May 2013 00:00:00 +0100"), None);
        assert_eq!(from_date_header("yesterday"), None);
    }
}
