//! A refusal in full: the reason, the fields at fault, the facts that explain it; and its one way into a
//! `google.rpc.Status` and back.
//!
//! Never holds personal data: details are codes, identifiers, dates and names of rules.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use prost::Message as _;
use tonic::Status;
use tonic_types::pb::{self, bad_request};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::reason::{Bilingual, Reason};
use crate::types::Malformed;

/// How much of a status the fields at fault may take with their Vietnamese texts. It travels in headers, in Base64, and peers cut those at
/// 8 KiB: where all would be more, the first ones only have both, and the others their English text.
const IN_BOTH_MAX: usize = 4 << 10;

/// How the type of a detail is named.
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";

/// What is wrong with a field, in both languages. A predicate, which reads on from the field's name; it never repeats a personal value.
///
/// There is no other way to say so, so that nothing is said in one language only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wrong {
    vi: Cow<'static, str>,
    en: Cow<'static, str>,
}

impl Wrong {
    /// In Vietnamese and in English.
    pub fn new(vi: impl Into<Cow<'static, str>>, en: impl Into<Cow<'static, str>>) -> Self {
        Self { vi: vi.into(), en: en.into() }
    }

    /// Something compulsory was left out.
    pub const fn missing() -> Self {
        Self { vi: Cow::Borrowed("bị thiếu"), en: Cow::Borrowed("is missing") }
    }

    /// In Vietnamese.
    pub fn vi(&self) -> &str {
        &self.vi
    }

    /// In English.
    pub fn en(&self) -> &str {
        &self.en
    }
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        Self::new(malformed.vietnamese(), malformed.to_string())
    }
}

/// One field at fault, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldViolation {
    /// Path in the message, e.g. `applicant.personal_number` or `components[2].document.sha256`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Wrong,
}

/// Why the bus refuses something, with all a caller needs to mend it. Nothing was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    reason: Reason,
    fields: Vec<FieldViolation>,
    details: BTreeMap<String, String>,
}

impl Refusal {
    /// A refusal for `reason`, without fields or details.
    pub fn new(reason: Reason) -> Self {
        Self { reason, fields: Vec::new(), details: BTreeMap::new() }
    }

    /// A refusal that names every field at fault.
    pub fn fields(fields: Vec<FieldViolation>) -> Self {
        Self { reason: Reason::FieldInvalid, fields, details: BTreeMap::new() }
    }

    /// Adds a field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, problem: impl Into<Wrong>) -> Self {
        self.fields.push(FieldViolation { field: field.into(), problem: problem.into() });
        self
    }

    /// Adds a fact that explains the refusal, e.g. `status` = `PROCESSING`. Codes and identifiers only.
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.details.insert(key.into(), value.to_string());
        self
    }

    /// The stable reason.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The fields at fault.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.fields
    }

    /// The facts that explain it.
    pub fn details(&self) -> &BTreeMap<String, String> {
        &self.details
    }

    /// How long to wait before sending again, where the refusal says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.details.get(crate::RETRY_AFTER_MS)?.parse().ok().map(Duration::from_millis)
    }

    /// The command that explains it.
    pub fn explain(&self) -> String {
        crate::explain::command(self.reason.as_str(), &self.details)
    }

    /// Packs the refusal into a status: `ErrorInfo`, both languages, and a `BadRequest` when fields are at fault, each with its
    /// Vietnamese text as `localized_message`.
    ///
    /// `google.rpc.ErrorDetails` carries one localized message; it is the Vietnamese one. The English text is the
    /// status message, and both remedies are in the `ErrorInfo` metadata (`remedy_vi`, `remedy_en`), beside the command that
    /// explains it (`explain`).
    pub fn to_status(&self) -> Status {
        let texts = self.reason.texts();
        let mut metadata: HashMap<String, String> =
            self.details.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        metadata.insert("remedy_en".into(), texts.remedy.en.into());
        metadata.insert("remedy_vi".into(), texts.remedy.vi.into());
        metadata.insert("explain".into(), self.explain());
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason.as_str(), crate::ERROR_DOMAIN, metadata);
        details.set_localized_message("vi", texts.what.vi);
        if let Some(wait) = self.retry_after() {
            details.set_retry_info(Some(wait));
        }
        let status = Status::with_error_details(self.reason.code(), texts.what.en, details);
        if self.fields.is_empty() { status } else { with_fields(&status, &self.fields) }
    }

    /// Reads a refusal back from a status.
    ///
    /// `None` when the status does not carry our `ErrorInfo`, or carries a reason this version does not know: then the
    /// transport or a stranger spoke, and the outcome of the call is unknown.
    pub fn from_status(status: &Status) -> Option<Self> {
        let details = status.get_error_details();
        let info = details.error_info()?;
        if info.domain != crate::ERROR_DOMAIN {
            return None;
        }
        let reason = Reason::parse(&info.reason)?;
        let fields = fields_of(status);
        let ours = |key: &str| !["remedy_en", "remedy_vi", "explain"].contains(&key);
        let facts = info.metadata.iter().filter(|(key, _)| ours(key));
        Some(Self { reason, fields, details: facts.map(|(key, value)| (key.clone(), value.clone())).collect() })
    }
}

/// The status with one detail more. What `tonic_types` makes by itself has no place for a second language.
fn with_fields(status: &Status, fields: &[FieldViolation]) -> Status {
    // What is said of every field comes first; the second language has what is left.
    let mut bytes: usize = fields.iter().map(|violation| violation.field.len() + violation.problem.en.len()).sum();
    let packed = |violation: &FieldViolation| {
        let FieldViolation { field, problem } = violation;
        bytes += problem.vi.len();
        let vi = || pb::LocalizedMessage { locale: "vi".into(), message: problem.vi.clone().into_owned() };
        bad_request::FieldViolation {
            field: field.clone(),
            description: problem.en.clone().into_owned(),
            reason: String::new(),
            localized_message: (bytes <= IN_BOTH_MAX).then(vi),
        }
    };
    let bad = pb::BadRequest { field_violations: fields.iter().map(packed).collect() };
    let mut details = pb::Status::decode(status.details()).unwrap_or_default();
    details.details.push(prost_types::Any { type_url: BAD_REQUEST.into(), value: bad.encode_to_vec() });
    Status::with_details(status.code(), status.message(), details.encode_to_vec().into())
}

/// Every field that a status names. One without a Vietnamese text, of an earlier gateway or far down the list, has the English one twice.
fn fields_of(status: &Status) -> Vec<FieldViolation> {
    let Ok(details) = pb::Status::decode(status.details()) else { return Vec::new() };
    let bad = details.details.iter().find(|detail| detail.type_url == BAD_REQUEST);
    let Some(Ok(bad)) = bad.map(|detail| pb::BadRequest::decode(&*detail.value)) else { return Vec::new() };
    let violation = |violation: bad_request::FieldViolation| {
        let bad_request::FieldViolation { field, description: en, localized_message, .. } = violation;
        let vi = localized_message.filter(|text| text.locale == "vi").map_or_else(|| en.clone(), |text| text.message);
        FieldViolation { field, problem: Wrong::new(vi, en) }
    };
    bad.field_violations.into_iter().map(violation).collect()
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.to_status()
    }
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Bilingual { en, .. } = self.reason.texts().what;
        write!(f, "{}: {en}", self.reason)?;
        for violation in &self.fields {
            write!(f, " [{}: {}]", violation.field, violation.problem.en())?;
        }
        for (key, value) in &self.details {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_wire() {
        let wrong = Wrong::new("đã giải thể ngày 2025-07-01", "ceased on 2025-07-01");
        let refusal = Refusal::new(Reason::UnitCeased).field("locality", wrong).detail("successor", "19753");
        let status = refusal.to_status();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(Refusal::from_status(&status), Some(refusal));
    }

    #[test]
    fn a_field_at_fault_is_told_in_both_languages_as_google_says_it() {
        let refusal = Refusal::new(Reason::FieldInvalid).field("applicant", Wrong::missing());
        let status = refusal.to_status();
        // Whoever reads the standard message only finds the field and the English text as ever.
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(
            (bad.field_violations[0].field.as_str(), bad.field_violations[0].description.as_str()),
            ("applicant", "is missing")
        );
        let details = pb::Status::decode(status.details()).unwrap();
        let bad = details.details.iter().find(|detail| detail.type_url == BAD_REQUEST).unwrap();
        let bad = pb::BadRequest::decode(&*bad.value).unwrap();
        let vi = bad.field_violations[0].localized_message.as_ref().unwrap();
        assert_eq!((vi.locale.as_str(), vi.message.as_str()), ("vi", "bị thiếu"));
    }

    #[test]
    fn many_fields_are_all_named_and_the_first_ones_in_both_languages() {
        let fields = (0..48).map(|at| FieldViolation {
            field: format!("components[{at}].document.sha256"),
            problem: Wrong::new(
                "không phải 64 chữ số thập lục phân viết liền",
                "is not 64 hexadecimal digits in one word",
            ),
        });
        let status = Refusal::fields(fields.collect()).to_status();
        let read = Refusal::from_status(&status).unwrap();
        assert_eq!(read.violations().len(), 48);
        assert!(read.violations()[0].problem.vi().starts_with("không"));
        let last = &read.violations()[47].problem;
        assert_eq!(last.vi(), last.en());
    }

    #[test]
    fn as_many_fields_as_a_gateway_shows_fit_into_what_peers_read_of_headers() {
        // The first ones have much to say; those behind them must still fit.
        let long = |text: &str, times: usize| text.repeat(times);
        let fields = (0..32).map(|at| FieldViolation {
            field: format!("components[{at}].document.sha256"),
            problem: Wrong::new(long("không phải số ", if at < 14 { 12 } else { 1 }), long("is not a number ", 4)),
        });
        let refusal = Refusal::fields(fields.collect()).detail("problems", 200);
        let status = refusal.to_status();
        assert_eq!(Refusal::from_status(&status).unwrap().violations().len(), 32);
        let in_base64 = status.details().len().div_ceil(3) * 4;
        assert!(in_base64 < 8 << 10, "{in_base64}");
    }

    #[test]
    fn an_earlier_gateway_that_says_it_in_english_is_understood() {
        let mut details = ErrorDetails::with_error_info("FIELD_INVALID", crate::ERROR_DOMAIN, HashMap::new());
        details.add_bad_request_violation("applicant", "is missing");
        let status = Status::with_error_details(tonic::Code::InvalidArgument, "", details);
        let read = Refusal::from_status(&status).unwrap();
        assert_eq!(
            (read.violations()[0].problem.en(), read.violations()[0].problem.vi()),
            ("is missing", "is missing")
        );
    }

    #[test]
    fn how_long_to_wait_is_said_as_google_says_it() {
        let refusal = Refusal::new(Reason::QuotaExceeded).detail(crate::RETRY_AFTER_MS, 250);
        let wait = refusal.to_status().get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!((wait, refusal.retry_after()), (Some(Duration::from_millis(250)), wait));
        assert!(Refusal::new(Reason::Overloaded).to_status().get_details_retry_info().is_none());
    }

    #[test]
    fn a_refusal_carries_the_command_that_explains_it_and_it_is_no_fact() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(*reason);
            let status = refusal.to_status();
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.metadata["explain"], refusal.explain(), "{reason}");
            assert_eq!(Refusal::from_status(&status).unwrap().details().len(), 0, "{reason}");
        }
    }

    #[test]
    fn a_status_of_the_transport_is_no_refusal_of_ours() {
        assert_eq!(Refusal::from_status(&Status::unavailable("connection reset")), None);
    }
}
