//! Between the messages of the wire and the types behind it: parsed once, here, and never looked at again.
//!
//! [`submission`] and [`entry`] read what is signed, [`reading`], [`can_i`], [`numbers`], [`parked`], [`queries`], [`auditing`] and [`document`] what is asked, [`standing`] writes how
//! things stand, [`page`] makes tokens. All problems of a message are found at once, each named by its path; none repeats a value,
//! because it may be a citizen's. What the domain does not need (people, texts) is checked for form and then lives on in
//! the signed body only.

pub(super) mod auditing;
pub(super) mod can_i;
pub(super) mod certificates;
pub(super) mod document;
pub(super) mod entry;
pub(super) mod numbers;
pub(super) mod operating;
pub(super) mod page;
pub(super) mod parked;
pub(super) mod queries;
pub(super) mod query_figures;
pub(super) mod reading;
pub(super) mod standing;
pub(super) mod submission;
pub(super) mod warning;

use std::str::FromStr;

use lgsp_proto::types::{
    BusinessTime, FileName, IntakeChannel, Malformed, MediaType, ReturnChannel, Sha256Digest, Text,
};
use lgsp_proto::{FieldViolation, Refusal, Wrong, v1};
use prost_types::Timestamp;

use crate::engine::intake::NamedDocument;

/// The most problems named in one refusal. It travels in response headers, which peers cut at 8 KiB; a sender with more
/// wrong than this has one mistake made many times.
const PROBLEMS_SHOWN: usize = 32;

/// The problems of one message so far.
///
/// Every method gives `None` exactly when it has noted a problem, so that [`Fields::finish`] never has to guess.
#[derive(Debug, Default)]
pub(super) struct Fields {
    problems: Vec<FieldViolation>,
}

impl Fields {
    /// Notes a problem. `problem` reads on from the field's name and repeats nothing of its value.
    pub(super) fn problem<T>(&mut self, field: impl Into<String>, problem: impl Into<Wrong>) -> Option<T> {
        self.problems.push(FieldViolation { field: field.into(), problem: problem.into() });
        None
    }

    /// A text that must be there and of its type's form.
    pub(super) fn required<T: FromStr<Err = Malformed>>(&mut self, field: &str, text: &str) -> Option<T> {
        text.parse().map_or_else(|malformed| self.problem(field, malformed), Some)
    }

    /// A text that may be empty.
    pub(super) fn optional<T: FromStr<Err = Malformed>>(&mut self, field: &str, text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.required(field, text).map(Some) }
    }

    /// A free text of at most `MAX` characters that may be empty; only its form counts.
    pub(super) fn text<const MAX: usize>(&mut self, field: &str, text: &str) {
        let _ = self.optional::<Text<MAX>>(field, text);
    }

    /// A list of at most `max` items, each read by `item`, which gets its path.
    pub(super) fn list<'a, I, T>(
        &mut self,
        field: &str,
        items: &'a [I],
        max: usize,
        mut item: impl FnMut(&mut Self, &str, &'a I) -> Option<T>,
    ) -> Option<Vec<T>> {
        if items.len() > max {
            return self
                .problem(field, Wrong::new(format!("có nhiều hơn {max} mục"), format!("has more than {max} items")));
        }
        let read: Vec<Option<T>> =
            items.iter().enumerate().map(|(at, one)| item(self, &format!("{field}[{at}]"), one)).collect();
        read.into_iter().collect()
    }

    /// A business time that must be there.
    pub(super) fn time(&mut self, field: &str, time: Option<&Timestamp>) -> Option<BusinessTime> {
        match self.optional_time(field, time)? {
            Some(time) => Some(time),
            None => self.problem(field, Malformed::Empty),
        }
    }

    /// A business time that may be absent.
    pub(super) fn optional_time(&mut self, field: &str, time: Option<&Timestamp>) -> Option<Option<BusinessTime>> {
        let Some(time) = time else { return Some(None) };
        if !(0..1_000_000_000).contains(&time.nanos) {
            return self.problem(
                field,
                Wrong::new(
                    "không phải thời điểm: phần nano giây vượt quá một giây",
                    "is no time: its nanoseconds lie outside of a second",
                ),
            );
        }
        let time = BusinessTime::from_unix_seconds(time.seconds);
        time.map_or_else(|malformed| self.problem(field, malformed), |time| Some(Some(time)))
    }

    /// A SHA-256 in 32 bytes.
    pub(super) fn digest(&mut self, field: &str, bytes: &[u8]) -> Option<Sha256Digest> {
        match Sha256Digest::try_from(bytes) {
            Ok(digest) => Some(digest),
            Err(_) => self.problem(field, Wrong::new("không dài 32 byte", "is not 32 bytes")),
        }
    }

    /// A document that a message names.
    pub(super) fn document(&mut self, field: &str, document: &v1::DocumentRef) -> Option<NamedDocument> {
        let sha256 = self.digest(&format!("{field}.sha256"), &document.sha256);
        let _ = self.optional::<MediaType>(&format!("{field}.media_type"), &document.media_type);
        let _ = self.optional::<FileName>(&format!("{field}.file_name"), &document.file_name);
        Some(NamedDocument { field: field.to_owned(), sha256: sha256?, size_bytes: document.size_bytes })
    }

    /// How a dossier came in.
    pub(super) fn intake_channel(&mut self, field: &str, number: i32) -> Option<IntakeChannel> {
        let known = IntakeChannel::ALL.into_iter().find(|channel| i32::from(channel.number()) == number);
        known.or_else(|| self.unknown_number(field, number))
    }

    /// How a result goes out. On the wire its numbers begin at 1, because 0 means that nothing was said.
    pub(super) fn return_channel(&mut self, field: &str, number: i32) -> Option<ReturnChannel> {
        let known = ReturnChannel::ALL.into_iter().find(|channel| standing::return_channel(*channel) == number);
        known.or_else(|| self.unknown_number(field, number))
    }

    /// A number of an enumeration that must say something this version knows.
    pub(super) fn number<E: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<E> {
        let known = if number == 0 { None } else { E::try_from(number).ok() };
        known.or_else(|| self.unknown_number(field, number))
    }

    fn unknown_number<T>(&mut self, field: &str, number: i32) -> Option<T> {
        if number == 0 { self.problem(field, Malformed::Empty) } else { self.unknown(field) }
    }

    /// A value that a later version may know.
    pub(super) fn unknown<T>(&mut self, field: &str) -> Option<T> {
        self.problem(
            field,
            Wrong::new("là giá trị mà phiên bản này chưa biết", "is a value this version does not know"),
        )
    }

    /// A page that is longer than there are.
    pub(super) fn page_too_long<T>(&mut self, most: u32) -> Option<T> {
        self.problem("page_size", Wrong::new(format!("lớn hơn {most}"), format!("is more than {most}")))
    }

    /// What was read, or the refusal that names everything that could not be.
    ///
    /// # Errors
    /// `FIELD_INVALID` with every problem, up to a bound.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Refusal> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => {
                let found = self.problems.len();
                debug_assert!(found > 0, "something was not read, and nobody said why");
                self.problems.truncate(PROBLEMS_SHOWN);
                let refusal = Refusal::fields(self.problems);
                Err(if found > PROBLEMS_SHOWN { refusal.detail("problems", found) } else { refusal })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lgsp_proto::Reason;
    use lgsp_proto::types::PartyId;

    use super::*;

    #[test]
    fn every_problem_is_told_up_to_a_bound() {
        let mut fields = Fields::default();
        let parties: Vec<String> = (0..100).map(|_| "not a party".to_owned()).collect();
        let read = fields.list("parties", &parties, 256, |fields, field, text| fields.required::<PartyId>(field, text));
        let refusal = fields.finish(read).unwrap_err();
        assert_eq!((refusal.reason(), refusal.violations().len()), (Reason::FieldInvalid, PROBLEMS_SHOWN));
        assert_eq!(refusal.violations()[3].field, "parties[3]");
        assert_eq!(refusal.details()["problems"], "100");
    }

    #[test]
    fn a_list_that_is_too_long_is_not_even_looked_at() {
        let mut fields = Fields::default();
        let read = fields.list("parties", &[0, 1, 2], 2, |_, _, _| -> Option<()> { panic!("looked at") });
        assert_eq!(fields.finish(read).unwrap_err().violations()[0].problem.en(), "has more than 2 items");
    }

    #[test]
    fn a_time_outside_of_the_calendar_is_a_problem_and_no_time_is_none() {
        let mut fields = Fields::default();
        assert_eq!(fields.optional_time("at", None), Some(None));
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000)] {
            assert_eq!(fields.optional_time("at", Some(&Timestamp { seconds, nanos })), None);
        }
        assert_eq!(fields.problems.len(), 3);
    }
}
