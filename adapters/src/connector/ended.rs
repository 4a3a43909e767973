//! Why a stream ended or never began, in words for the log: whoever wrote `[connector]` can mend it by them.
//!
//! Nothing of a question is in it: the details of a refusal are codes and identifiers.

use lgsp_proto::{Reason, Refusal};
use tonic::Status;

use crate::link::CallError;

/// Why, and of what.
pub(super) struct Why {
    /// Opening it again changes nothing as long as nobody mends the configuration or the registry.
    pub(super) is_final: bool,
    /// What is the matter, and for a refusal what to do.
    pub(super) text: String,
    /// The refusal's details, as `party=H57.01 service=thua-dat/1`.
    pub(super) details: String,
}

impl Why {
    pub(super) fn of(status: &Status) -> Self {
        let unsaid = |is_final| Self { is_final, text: status.message().to_owned(), details: String::new() };
        match CallError::from_status(status.clone()) {
            CallError::Refused(refused) => refused.refusal().map_or_else(|| unsaid(true), Self::refused),
            _ => unsaid(false),
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        let texts = refusal.reason().texts();
        // The same reason as for a system that may not act for us at all, which it may: the service is not ours.
        let is_anothers = refusal.reason() == Reason::ActsForMissing && refusal.details().contains_key("service");
        let text = match is_anothers {
            true => {
                "The service is another party's: `party` under [connector] must be its owner; see lgsp query services."
                    .to_owned()
            }
            false => format!("{} {}", texts.what.en, texts.remedy.en),
        };
        let details: Vec<String> = refusal.details().iter().map(|(key, value)| format!("{key}={value}")).collect();
        Self { is_final: true, text, details: details.join(" ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_another_party_is_told_from_a_party_that_the_system_may_not_act_for() {
        let missing = || Refusal::new(Reason::ActsForMissing).detail("system", "mo-phong").detail("party", "H57.01");
        let foreign = Why::of(&missing().detail("service", "thua-dat/1").to_status());
        assert!(foreign.is_final && foreign.text.starts_with("The service is another party's"), "{}", foreign.text);
        assert_eq!(foreign.details, "party=H57.01 service=thua-dat/1 system=mo-phong");
        let other = Why::of(&missing().to_status());
        assert!(other.text.contains(Reason::ActsForMissing.texts().what.en), "{}", other.text);
        assert_eq!(other.details, "party=H57.01 system=mo-phong");
    }

    #[test]
    fn what_passes_by_itself_is_not_taken_for_a_fault_of_the_configuration() {
        assert!(!Why::of(&Status::unavailable("no connection")).is_final);
        assert!(!Why::of(&Refusal::new(Reason::ReadOnly).to_status()).is_final);
        assert!(Why::of(&Refusal::new(Reason::ServiceUnknown).to_status()).is_final);
    }
}
