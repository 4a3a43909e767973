//! Collects every field at fault, so that a sender mends all of them in one go.

use std::str::FromStr;

use lgsp_proto::types::{BusinessTime, Malformed};
use lgsp_proto::{FieldViolation, Refusal, Wrong};
use prost_types::Timestamp;

/// The problems found so far.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldViolation>);

impl Fields {
    /// Notes a problem.
    pub(crate) fn problem(&mut self, field: &str, problem: impl Into<Wrong>) {
        self.0.push(FieldViolation { field: field.to_owned(), problem: problem.into() });
    }

    /// Reads a field that must be there.
    pub(crate) fn required<T: FromStr<Err = Malformed>>(&mut self, field: &str, text: Option<&str>) -> Option<T> {
        match text {
            Some(text) => self.parse(field, text),
            None => {
                self.problem(field, Wrong::missing());
                None
            }
        }
    }

    /// Reads a field that may be left out; empty is left out, as on the wire.
    pub(crate) fn optional<T: FromStr<Err = Malformed>>(&mut self, field: &str, text: Option<&str>) -> Option<T> {
        text.filter(|text| !text.is_empty()).and_then(|text| self.parse(field, text))
    }

    /// Reads a time that must be there.
    pub(crate) fn time(&mut self, field: &str, text: Option<&str>) -> Option<Timestamp> {
        self.required(field, text).map(timestamp)
    }

    /// Reads a time that may be left out.
    pub(crate) fn optional_time(&mut self, field: &str, text: Option<&str>) -> Option<Timestamp> {
        self.optional(field, text).map(timestamp)
    }

    fn parse<T: FromStr<Err = Malformed>>(&mut self, field: &str, text: &str) -> Option<T> {
        text.parse().map_err(|malformed: Malformed| self.problem(field, malformed)).ok()
    }

    /// `value` if nothing was at fault.
    ///
    /// # Errors
    /// A refusal that names every field at fault.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Refusal> {
        if self.0.is_empty() { Ok(value) } else { Err(Refusal::fields(self.0)) }
    }
}

fn timestamp(time: BusinessTime) -> Timestamp {
    Timestamp { seconds: time.unix_seconds(), nanos: 0 }
}
