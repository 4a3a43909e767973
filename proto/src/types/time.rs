//! Business time: what the clock on the office wall says, to the second.
//!
//! Owns one zone and two spellings. There is no `now` here: business time is an argument everywhere, so that a day can be replayed, and
//! it is never compared with the machine's clock.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
pub use jiff::civil::Date;
use jiff::civil::DateTime;

use super::malformed::{Malformed, compact, is_digits, rule};

/// A moment in Vietnam's legal time, UTC+7 all year (QĐ 134/2002/QĐ-TTg), to the second, in the years 1900 to 2999.
///
/// Read and printed as RFC 3339 with the offset spelled out, `2025-07-14T09:00:00+07:00`. Other offsets are converted and fractions of a
/// second dropped on reading. [`national`](Self::national) is the spelling of the national systems.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BusinessTime(DateTime);

/// Midnight UTC of 1 January 1970 on a clock in Vietnam's legal time.
const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 7, 0, 0, 0);
const OFFSET_SECONDS: i64 = 7 * 3600;
/// Wide enough for any dossier, and far enough from both ends of the calendar that sums and differences stay exact.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2999;

const FORM: Malformed = rule(
    "TIME_FORM",
    "is not a time with its offset as in RFC 3339, for example 2025-07-14T09:00:00+07:00",
    "không phải thời điểm có múi giờ theo RFC 3339, ví dụ 2025-07-14T09:00:00+07:00",
);
const NATIONAL_FORM: Malformed = rule(
    "TIME_NATIONAL_FORM",
    "is not a time of the form yyyyMMddHHmmss, for example 20250714090000",
    "không đúng dạng thời gian yyyyMMddHHmmss, ví dụ 20250714090000",
);
const NO_SUCH_TIME: Malformed =
    rule("TIME_NOT_IN_CALENDAR", "is a time that is not in the calendar", "là thời điểm không tồn tại trong lịch");
const OUT_OF_RANGE: Malformed =
    rule("TIME_OUT_OF_RANGE", "is not in the years 1900 to 2999", "không nằm trong các năm từ 1900 đến 2999");

impl BusinessTime {
    /// The moment that is `seconds` after midnight UTC of 1 January 1970.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if that is not in the years 1900 to 2999.
    pub fn from_unix_seconds(seconds: i64) -> Result<Self, Malformed> {
        UNIX_EPOCH.checked_add(SignedDuration::from_secs(seconds)).map_err(|_| OUT_OF_RANGE)?.try_into()
    }

    /// Seconds since midnight UTC of 1 January 1970.
    pub fn unix_seconds(self) -> i64 {
        self.0.duration_since(UNIX_EPOCH).as_secs()
    }

    /// Reads `yyyyMMddHHmmss`, the spelling of the national systems: legal time, no zone.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the text has another form or names no moment.
    pub fn from_national(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        if !is_digits(text, 14) {
            return Err(NATIONAL_FORM);
        }
        moment([&text[..4], &text[4..6], &text[6..8], &text[8..10], &text[10..12], &text[12..]])?.try_into()
    }

    /// Prints `yyyyMMddHHmmss`, the spelling of the national systems.
    pub fn national(self) -> String {
        let (date, time) = (self.0.date(), self.0.time());
        let (year, month, day) = (date.year(), date.month(), date.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }

    /// What calendar and clock on the wall say, for deadlines and office hours.
    pub fn civil(self) -> DateTime {
        self.0
    }

    /// The day.
    pub fn date(self) -> Date {
        self.0.date()
    }

    /// The moment `duration` later, or earlier if it is negative; `None` outside of the years 1900 to 2999.
    pub fn checked_add(self, duration: SignedDuration) -> Option<Self> {
        self.0.checked_add(duration).ok()?.try_into().ok()
    }

    /// How long after `earlier` this is; negative if it is before.
    pub fn duration_since(self, earlier: BusinessTime) -> SignedDuration {
        self.0.duration_since(earlier.0)
    }
}

/// Takes what a clock in Vietnam's legal time shows; fractions of a second are dropped.
impl TryFrom<DateTime> for BusinessTime {
    type Error = Malformed;

    fn try_from(civil: DateTime) -> Result<Self, Malformed> {
        if !YEARS.contains(&civil.year()) {
            return Err(OUT_OF_RANGE);
        }
        let whole = civil.with().subsec_nanosecond(0).build().map_err(|_| OUT_OF_RANGE)?;
        Ok(Self(whole))
    }
}

impl FromStr for BusinessTime {
    type Err = Malformed;

    // Written out, because general parsers of times take far more than RFC 3339 does, and a signed text should have few spellings.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        compact(text, 64)?;
        // All of RFC 3339 is ASCII; with that out of the way the text can be cut anywhere.
        let Some((clock, rest)) = text.is_ascii().then(|| text.split_at_checked(19)).flatten() else {
            return Err(FORM);
        };
        for (at, mark) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
            if clock.as_bytes()[at] != mark {
                return Err(FORM);
            }
        }
        let fields = [&clock[..4], &clock[5..7], &clock[8..10], &clock[11..13], &clock[14..16], &clock[17..]];
        if !fields.iter().all(|field| field.bytes().all(|b| b.is_ascii_digit())) {
            return Err(FORM);
        }
        let offset = offset_seconds(without_fraction(rest).ok_or(FORM)?).ok_or(FORM)?;
        let shift = SignedDuration::from_secs(OFFSET_SECONDS - offset);
        moment(fields)?.checked_add(shift).map_err(|_| OUT_OF_RANGE)?.try_into()
    }
}

impl TryFrom<&str> for BusinessTime {
    type Error = Malformed;

    fn try_from(text: &str) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl fmt::Display for BusinessTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.0.date(), self.0.time());
        write!(f, "{:04}-{:02}-{:02}T", date.year(), date.month(), date.day())?;
        write!(f, "{:02}:{:02}:{:02}+07:00", time.hour(), time.minute(), time.second())
    }
}

impl fmt::Debug for BusinessTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BusinessTime({self})")
    }
}

/// The moment of year, month, day, hour, minute and second, each in as many digits as fit it.
fn moment([year, month, day, hour, minute, second]: [&str; 6]) -> Result<DateTime, Malformed> {
    let small = |digits: &str| digits.parse::<i8>().map_err(|_| NO_SUCH_TIME);
    let year = year.parse().map_err(|_| NO_SUCH_TIME)?;
    DateTime::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?, small(second)?, 0)
        .map_err(|_| NO_SUCH_TIME)
}

/// What follows the seconds, less a fraction of 1 to 9 digits.
fn without_fraction(rest: &str) -> Option<&str> {
    let Some(fraction) = rest.strip_prefix('.') else { return Some(rest) };
    let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (1..=9).contains(&(fraction.len() - offset.len())).then_some(offset)
}

/// The seconds that `Z` or `+hh:mm` is ahead of UTC.
fn offset_seconds(offset: &str) -> Option<i64> {
    if offset == "Z" {
        return Some(0);
    }
    let (sign, rest) = match offset.as_bytes() {
        [b'+', ..] => (1, &offset[1..]),
        [b'-', ..] => (-1, &offset[1..]),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    if !is_digits(hours, 2) || !is_digits(minutes, 2) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, datetime};
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> BusinessTime {
        text.parse().unwrap()
    }

    #[test]
    fn nine_in_the_morning_is_two_in_utc() {
        let nine = time("2025-07-14T09:00:00+07:00");
        assert_eq!(nine.unix_seconds(), 1_752_458_400);
        assert_eq!(nine, BusinessTime::from_unix_seconds(1_752_458_400).unwrap());
        assert_eq!(nine.civil(), datetime(2025, 7, 14, 9, 0, 0, 0));
        assert_eq!(nine.date(), date(2025, 7, 14));
        assert_eq!(nine.national(), "20250714090000");
        assert_eq!(BusinessTime::from_national("20250714090000"), Ok(nine));
        assert_eq!(format!("{nine} {nine:?}"), "2025-07-14T09:00:00+07:00 BusinessTime(2025-07-14T09:00:00+07:00)");
    }

    #[test]
    fn other_offsets_name_the_same_moment() {
        let nine = time("2025-07-14T09:00:00+07:00");
        for text in [
            "2025-07-14T02:00:00Z",
            "2025-07-14T02:00:00+00:00",
            "2025-07-14T02:00:00-00:00",
            "2025-07-13T21:00:00-05:00",
            "2025-07-14T07:30:00+05:30",
            "2025-07-14T02:00:00.000Z",
            "2025-07-14T02:00:00.999999999Z",
        ] {
            assert_eq!(time(text), nine, "{text}");
        }
        assert_eq!(time("2025-07-14T18:30:00Z").date(), date(2025, 7, 15));
    }

    #[test]
    fn there_is_no_summer_time() {
        let winter = time("2025-01-14T09:00:00+07:00");
        let summer = time("2025-07-14T09:00:00+07:00");
        assert_eq!(summer.duration_since(winter).as_secs() % 86_400, 0);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "2025-07-14",
            "2025-07-14T09:00:00",
            "2025-07-14T09:00+07:00",
            "2025-07-14t09:00:00+07:00",
            "2025-07-14T09:00:00z",
            "2025-07-14T09:00:00+0700",
            "2025-07-14T09:00:00+07",
            "2025-07-14T09:00:00+7:00",
            "2025-07-14T09:00:00+24:00",
            "2025-07-14T09:00:00+07:60",
            "2025-07-14T09:00:00.Z",
            "2025-07-14T09:00:00.1234567890Z",
            "2025-07-14T09:00:00+07:00[Asia/Ho_Chi_Minh]",
            "+025-07-14T09:00:00Z",
            "2025-07-14T09:00:+1Z",
            "20250714090000",
            "2025-07-14T09:00:0đZ",
        ] {
            assert_eq!(text.parse::<BusinessTime>(), Err(FORM), "{text:?}");
        }
        assert_eq!("2025-07-14 09:00:00+07:00".parse::<BusinessTime>(), Err(Malformed::Blank));
        assert_eq!("".parse::<BusinessTime>(), Err(Malformed::Empty));
        for text in ["2025071409000", "202507140900000", "2025071409000x", "+2025071409000"] {
            assert_eq!(BusinessTime::from_national(text), Err(NATIONAL_FORM), "{text:?}");
        }
        assert_eq!(BusinessTime::from_national(""), Err(Malformed::Empty));
    }

    #[test]
    fn moments_that_never_come_are_refused() {
        for text in [
            "2025-02-29T09:00:00Z",
            "2025-13-01T09:00:00Z",
            "2025-07-14T24:00:00Z",
            "2025-07-14T09:60:00Z",
            "2025-07-14T09:00:60Z",
        ] {
            assert_eq!(text.parse::<BusinessTime>(), Err(NO_SUCH_TIME), "{text:?}");
        }
        assert_eq!(BusinessTime::from_national("20250230090000"), Err(NO_SUCH_TIME));
    }

    #[test]
    fn the_range_is_that_of_the_converted_time() {
        assert!("2999-12-31T16:59:59Z".parse::<BusinessTime>().is_ok());
        assert!("1899-12-31T17:00:00Z".parse::<BusinessTime>().is_ok());
        for text in
            ["2999-12-31T17:00:00Z", "1900-01-01T00:59:59+08:00", "9999-12-31T23:00:00Z", "0000-01-01T00:00:00Z"]
        {
            assert_eq!(text.parse::<BusinessTime>(), Err(OUT_OF_RANGE), "{text:?}");
        }
        assert_eq!(BusinessTime::from_national("18991231235959"), Err(OUT_OF_RANGE));
        assert_eq!(BusinessTime::from_unix_seconds(i64::MAX), Err(OUT_OF_RANGE));
        assert_eq!(BusinessTime::from_unix_seconds(i64::MIN), Err(OUT_OF_RANGE));
        assert_eq!(BusinessTime::try_from(datetime(-1, 1, 1, 0, 0, 0, 0)), Err(OUT_OF_RANGE));
    }

    #[test]
    fn durations_add_in_both_directions_and_stop_at_the_end() {
        let nine = time("2025-07-14T09:00:00+07:00");
        let later = nine.checked_add(SignedDuration::from_hours(16)).unwrap();
        assert_eq!(later.to_string(), "2025-07-15T01:00:00+07:00");
        assert_eq!(later.duration_since(nine), SignedDuration::from_hours(16));
        assert_eq!(later.checked_add(SignedDuration::from_hours(-16)), Some(nine));
        assert_eq!(nine.checked_add(SignedDuration::MAX), None);
        assert_eq!(nine.checked_add(SignedDuration::MIN), None);
        assert!(nine < later);
    }

    #[test]
    fn fractions_do_not_survive() {
        let nine = time("2025-07-14T09:00:00+07:00");
        assert_eq!(BusinessTime::try_from(datetime(2025, 7, 14, 9, 0, 0, 999_999_999)), Ok(nine));
        assert_eq!(nine.checked_add(SignedDuration::from_millis(999)), Some(nine));
    }

    /// The years 1900 to 2999.
    fn seconds() -> std::ops::RangeInclusive<i64> {
        let first = time("1900-01-01T00:00:00+07:00").unix_seconds();
        let last = time("2999-12-31T23:59:59+07:00").unix_seconds();
        first..=last
    }

    proptest! {
        #[test]
        fn every_spelling_comes_back(seconds in seconds()) {
            let time = BusinessTime::from_unix_seconds(seconds).unwrap();
            prop_assert_eq!(time.unix_seconds(), seconds);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            prop_assert_eq!(BusinessTime::from_national(&time.national()), Ok(time));
        }

        #[test]
        fn order_is_the_order_of_seconds(a in seconds(), b in seconds()) {
            let (one, other) = (BusinessTime::from_unix_seconds(a).unwrap(), BusinessTime::from_unix_seconds(b).unwrap());
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            prop_assert_eq!(one.duration_since(other).as_secs(), a - b);
            prop_assert_eq!(other.checked_add(SignedDuration::from_secs(a - b)), Some(one));
        }

        #[test]
        fn no_text_makes_it_panic(
            text in any::<String>(),
            near in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9][.Z+đ]{0,2}[0-9:]{0,6}",
        ) {
            for text in [text, near] {
                let _ = BusinessTime::from_national(&text);
                if let Ok(time) = text.parse::<BusinessTime>() {
                    prop_assert_eq!(time.to_string().parse(), Ok(time));
                }
            }
        }
    }
}
