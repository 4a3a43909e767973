//! Times as RFC 3339 text in Vietnam's legal time (UTC+7, no summer time, QĐ 134/2002/QĐ-TTg).

use jiff::tz::{Offset, TimeZone};
use prost_types::Timestamp;

/// Prints a moment, with milliseconds where there are any: a business time has none, a machine's has.
pub(crate) fn print(time: &Timestamp) -> Option<String> {
    let moment = jiff::Timestamp::new(time.seconds, time.nanos).ok()?;
    let local = moment.to_zoned(TimeZone::fixed(Offset::constant(7)));
    let form = if time.nanos == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S.%3f%:z" };
    Some(local.strftime(form).to_string())
}

/// Prints a time of the machine clock, given in milliseconds.
pub(crate) fn machine_time(unix_ms: i64) -> Option<String> {
    let nanos = i32::try_from(unix_ms.rem_euclid(1000)).ok()? * 1_000_000;
    print(&Timestamp { seconds: unix_ms.div_euclid(1000), nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_printed_in_vietnams_time() {
        let time = |seconds, nanos| print(&Timestamp { seconds, nanos }).unwrap();
        assert_eq!(time(1_752_458_400, 0), "2025-07-14T09:00:00+07:00");
        assert_eq!(time(1_752_458_400, 7_900_000), "2025-07-14T09:00:00.007+07:00");
        assert_eq!(machine_time(1_752_458_400_007).unwrap(), "2025-07-14T09:00:00.007+07:00");
        assert_eq!(print(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
    }
}
