//! Times, numbers and words that records and states share.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime};
use lgsp_domain::deadline::clock::PauseCause;
use lgsp_domain::dossier::HandOver;
use lgsp_domain::numbering::{NumberSource, SpoolId};
use lgsp_proto::store_v1;
use lgsp_proto::types::{BusinessTime, IntakeChannel, ReturnChannel, Sha256Digest};
use lgsp_proto::v1;
use prost_types::Timestamp;

use super::Unreadable;

/// Unix time 0 on the office wall.
const UNIX_EPOCH_CIVIL: DateTime = DateTime::constant(1970, 1, 1, 7, 0, 0, 0);
const FIRST_DAY: Date = Date::constant(1970, 1, 1);

pub(super) fn parse<T: FromStr>(field: &'static str, text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable(field))
}

/// An empty text says that there is none.
pub(super) fn parse_some<T: FromStr>(field: &'static str, text: &str) -> Result<Option<T>, Unreadable> {
    if text.is_empty() { Ok(None) } else { parse(field, text).map(Some) }
}

pub(in super::super) fn digest(field: &'static str, bytes: &[u8]) -> Result<Sha256Digest, Unreadable> {
    Sha256Digest::try_from(bytes).map_err(|_| Unreadable(field))
}

pub(super) fn business(field: &'static str, seconds: i64) -> Result<BusinessTime, Unreadable> {
    BusinessTime::from_unix_seconds(seconds).map_err(|_| Unreadable(field))
}

pub(super) fn business_some(field: &'static str, seconds: Option<i64>) -> Result<Option<BusinessTime>, Unreadable> {
    seconds.map(|seconds| business(field, seconds)).transpose()
}

pub(super) fn business_of(field: &'static str, time: Option<&Timestamp>) -> Result<BusinessTime, Unreadable> {
    business(field, time.ok_or(Unreadable(field))?.seconds)
}

pub(super) fn timestamp(time: BusinessTime) -> Timestamp {
    Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}

pub(super) fn timestamp_of_civil(time: DateTime) -> Timestamp {
    Timestamp { seconds: civil_seconds(time), nanos: 0 }
}

pub(super) fn civil_seconds(time: DateTime) -> i64 {
    time.duration_since(UNIX_EPOCH_CIVIL).as_secs()
}

pub(super) fn civil(field: &'static str, seconds: i64) -> Result<DateTime, Unreadable> {
    business(field, seconds).map(BusinessTime::civil)
}

pub(super) fn civil_some(field: &'static str, seconds: Option<i64>) -> Result<Option<DateTime>, Unreadable> {
    seconds.map(|seconds| civil(field, seconds)).transpose()
}

/// Days since 1970-01-01.
pub(in super::super) fn day_number(date: Date) -> i32 {
    // The calendar of `Date` has some seven million days.
    (date.duration_since(FIRST_DAY).as_hours() / 24) as i32
}

pub(super) fn date(field: &'static str, day: i32) -> Result<Date, Unreadable> {
    let days = jiff::Span::new().try_days(day).map_err(|_| Unreadable(field))?;
    FIRST_DAY.checked_add(days).map_err(|_| Unreadable(field))
}

/// Milliseconds since 1970 by the machine clock; negative before.
pub(in super::super) fn unix_ms(time: SystemTime) -> i64 {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -ms(before.duration()), ms)
}

pub(in super::super) fn system_time(unix_ms: i64) -> SystemTime {
    let distance = Duration::from_millis(unix_ms.unsigned_abs());
    let time = if unix_ms < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// A machine time to the millisecond, as in receipts.
pub(super) fn machine_timestamp(time: SystemTime) -> Timestamp {
    let unix_ms = unix_ms(time);
    // A remainder of a thousand milliseconds always fits.
    Timestamp { seconds: unix_ms.div_euclid(1_000), nanos: unix_ms.rem_euclid(1_000) as i32 * 1_000_000 }
}

pub(super) fn hand_over_number(hand_over: Option<HandOver>) -> i32 {
    let stored = match hand_over {
        None => v1::HandOver::Unspecified,
        Some(HandOver::AtDesk) => v1::HandOver::AtDesk,
        Some(HandOver::Processing) => v1::HandOver::Processing,
        Some(HandOver::Returned) => v1::HandOver::Returned,
        Some(HandOver::Waiting) => v1::HandOver::Waiting,
    };
    stored.into()
}

pub(super) fn hand_over(field: &'static str, number: i32) -> Result<Option<HandOver>, Unreadable> {
    Ok(match v1::HandOver::try_from(number).map_err(|_| Unreadable(field))? {
        v1::HandOver::Unspecified => None,
        v1::HandOver::AtDesk => Some(HandOver::AtDesk),
        v1::HandOver::Processing => Some(HandOver::Processing),
        v1::HandOver::Returned => Some(HandOver::Returned),
        v1::HandOver::Waiting => Some(HandOver::Waiting),
    })
}

pub(super) fn pause_cause_number(cause: PauseCause) -> i32 {
    let stored = match cause {
        PauseCause::Supplement => v1::PauseCause::Supplement,
        PauseCause::FinancialObligation => v1::PauseCause::FinancialObligation,
        PauseCause::PaperTransit => v1::PauseCause::PaperTransit,
        PauseCause::Expertise => v1::PauseCause::Expertise,
        PauseCause::PublicNotice => v1::PauseCause::PublicNotice,
        PauseCause::OtherAgency => v1::PauseCause::OtherAgency,
    };
    stored.into()
}

pub(super) fn pause_cause(field: &'static str, number: i32) -> Result<PauseCause, Unreadable> {
    Ok(match v1::PauseCause::try_from(number) {
        Ok(v1::PauseCause::Supplement) => PauseCause::Supplement,
        Ok(v1::PauseCause::FinancialObligation) => PauseCause::FinancialObligation,
        Ok(v1::PauseCause::PaperTransit) => PauseCause::PaperTransit,
        Ok(v1::PauseCause::Expertise) => PauseCause::Expertise,
        Ok(v1::PauseCause::PublicNotice) => PauseCause::PublicNotice,
        Ok(v1::PauseCause::OtherAgency) => PauseCause::OtherAgency,
        Ok(v1::PauseCause::Unspecified) | Err(_) => return Err(Unreadable(field)),
    })
}

pub(super) fn intake_channel_number(channel: IntakeChannel) -> i32 {
    let stored = match channel {
        IntakeChannel::Direct => v1::IntakeChannel::Direct,
        IntakeChannel::Online => v1::IntakeChannel::Online,
        IntakeChannel::Postal => v1::IntakeChannel::Postal,
    };
    stored.into()
}

pub(super) fn intake_channel(field: &'static str, number: i32) -> Result<IntakeChannel, Unreadable> {
    Ok(match v1::IntakeChannel::try_from(number) {
        Ok(v1::IntakeChannel::Direct) => IntakeChannel::Direct,
        Ok(v1::IntakeChannel::Online) => IntakeChannel::Online,
        Ok(v1::IntakeChannel::Postal) => IntakeChannel::Postal,
        Ok(v1::IntakeChannel::Unspecified) | Err(_) => return Err(Unreadable(field)),
    })
}

pub(super) fn number_source_number(source: NumberSource) -> i32 {
    let stored = match source {
        NumberSource::Unrecorded => store_v1::NumberSource::Unspecified,
        NumberSource::Taken => store_v1::NumberSource::Taken,
        NumberSource::Leased => store_v1::NumberSource::Leased,
        NumberSource::Own => store_v1::NumberSource::Own,
    };
    stored.into()
}

pub(super) fn number_source(field: &'static str, number: i32) -> Result<NumberSource, Unreadable> {
    Ok(match store_v1::NumberSource::try_from(number).map_err(|_| Unreadable(field))? {
        store_v1::NumberSource::Unspecified => NumberSource::Unrecorded,
        store_v1::NumberSource::Taken => NumberSource::Taken,
        store_v1::NumberSource::Leased => NumberSource::Leased,
        store_v1::NumberSource::Own => NumberSource::Own,
    })
}

/// Empty when there is none.
pub(in super::super) fn spool_bytes(spool: Option<SpoolId>) -> Vec<u8> {
    spool.map_or_else(Vec::new, |spool| spool.as_bytes().to_vec())
}

pub(in super::super) fn spool(field: &'static str, bytes: &[u8]) -> Result<Option<SpoolId>, Unreadable> {
    if bytes.is_empty() {
        return Ok(None);
    }
    bytes.try_into().map(|bytes| Some(SpoolId::new(bytes))).map_err(|_| Unreadable(field))
}

pub(super) fn return_channel_number(channel: ReturnChannel) -> i32 {
    let stored = match channel {
        ReturnChannel::Direct => v1::ReturnChannel::Direct,
        ReturnChannel::Post => v1::ReturnChannel::Post,
        ReturnChannel::Online => v1::ReturnChannel::Online,
    };
    stored.into()
}

pub(super) fn return_channel(field: &'static str, number: i32) -> Result<ReturnChannel, Unreadable> {
    Ok(match v1::ReturnChannel::try_from(number) {
        Ok(v1::ReturnChannel::Direct) => ReturnChannel::Direct,
        Ok(v1::ReturnChannel::Post) => ReturnChannel::Post,
        Ok(v1::ReturnChannel::Online) => ReturnChannel::Online,
        Ok(v1::ReturnChannel::Unspecified) | Err(_) => return Err(Unreadable(field)),
    })
}
