//! A refusal in full: the reason, the fields at fault, the facts that explain it; and its one way into a
//! `google.rpc.Status` and back.
//!
//! Never holds personal data: details are codes, identifiers, dates and names of rules.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::reason::{Bilingual, Reason};

/// One field at fault, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldViolation {
    /// Path in the message, e.g. `applicant.personal_number` or `components[2].document.sha256`.
    pub field: String,
    /// What is wrong with it, in English; never repeats a personal value.
    pub problem: String,
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
    pub fn field(mut self, field: impl Into<String>, problem: impl Into<String>) -> Self {
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

    /// Packs the refusal into a status: `ErrorInfo`, both languages, and a `BadRequest` when fields are at fault.
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
        for violation in &self.fields {
            details.add_bad_request_violation(&violation.field, &violation.problem);
        }
        Status::with_error_details(self.reason.code(), texts.what.en, details)
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
        let fields = details.bad_request().map_or_else(Vec::new, |bad| {
            let violation = |v: &tonic_types::FieldViolation| FieldViolation {
                field: v.field.clone(),
                problem: v.description.clone(),
            };
            bad.field_violations.iter().map(violation).collect()
        });
        let ours = |key: &str| !["remedy_en", "remedy_vi", "explain"].contains(&key);
        let facts = info.metadata.iter().filter(|(key, _)| ours(key));
        Some(Self { reason, fields, details: facts.map(|(key, value)| (key.clone(), value.clone())).collect() })
    }
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
            write!(f, " [{}: {}]", violation.field, violation.problem)?;
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
        let refusal =
            Refusal::new(Reason::UnitCeased).field("locality", "ceased on 2025-07-01").detail("successor", "19753");
        let status = refusal.to_status();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(Refusal::from_status(&status), Some(refusal));
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
