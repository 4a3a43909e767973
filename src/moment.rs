//! Times as people and programs read them: Vietnam's legal time (UTC+7 all year).

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use lgsp_proto::types::{BusinessTime, Date};

use crate::lang::Lang;

/// What this machine's clock says, as business time. A desk's own clock decides when it received something.
pub(crate) fn now() -> anyhow::Result<BusinessTime> {
    Ok(BusinessTime::from_unix_seconds(Timestamp::now().as_second())?)
}

/// Today, by this machine's clock.
pub(crate) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::fixed(Offset::constant(7))).date()
}

/// As the bus sends it.
pub(crate) fn wire(time: BusinessTime) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}

/// To the minute, in the order of the language; nothing for a time that is absent.
pub(crate) fn short(time: Option<&prost_types::Timestamp>, lang: Lang) -> String {
    let form = lang.pick("%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M");
    time.and_then(local).map_or_else(String::new, |time| time.strftime(form).to_string())
}

/// RFC 3339 with its offset, and with milliseconds where there are any: a business time has none, a machine's has.
pub(crate) fn rfc3339(time: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = local(time?)?;
    let form = if time.subsec_nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S.%3f%:z" };
    Some(time.strftime(form).to_string())
}

/// Reads a moment, or a day for its first instant.
pub(crate) fn parse(text: &str) -> Result<BusinessTime, String> {
    match text.parse::<Date>() {
        Ok(date) if date.to_string() == text => format!("{text}T00:00:00+07:00").parse(),
        _ => text.parse(),
    }
    .map_err(|malformed: lgsp_proto::types::Malformed| format!("{malformed}; or a day such as 2025-07-14"))
}

fn local(time: &prost_types::Timestamp) -> Option<Zoned> {
    let moment = Timestamp::new(time.seconds, time.nanos).ok()?;
    Some(moment.to_zoned(TimeZone::fixed(Offset::constant(7))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_vietnams_time() {
        let nine = prost_types::Timestamp { seconds: 1_752_458_400, nanos: 0 };
        assert_eq!(short(Some(&nine), Lang::En), "2025-07-14 09:00");
        assert_eq!(short(Some(&nine), Lang::Vi), "14/07/2025 09:00");
        assert_eq!(rfc3339(Some(&nine)).unwrap(), "2025-07-14T09:00:00+07:00");
        assert_eq!(short(None, Lang::Vi), "");
        let later = prost_types::Timestamp { nanos: 7_900_000, ..nine };
        assert_eq!(rfc3339(Some(&later)).unwrap(), "2025-07-14T09:00:00.007+07:00");
    }

    #[test]
    fn a_day_means_its_first_instant() {
        assert_eq!(parse("2025-07-14").unwrap().to_string(), "2025-07-14T00:00:00+07:00");
        assert_eq!(parse("2025-07-14T09:00:00+07:00").unwrap(), parse("2025-07-14T02:00:00Z").unwrap());
        assert!(parse("yesterday").unwrap_err().contains("RFC 3339"));
    }
}
