//! What becomes of a question, in the words of its figures, and what a connector's refusal means to whoever asked.

use lgsp_proto::Reason;
use lgsp_proto::v1::ServiceRefusal;

use crate::store::End;

/// Answered.
pub(crate) const ANSWERED: &str = "answered";
/// The service gave a reason and is well.
pub(crate) const REFUSED: &str = "refused";
/// The service failed, is being maintained, or answered what its schema does not allow.
pub(crate) const FAILED: &str = "failed";
/// It was asked, and there is no answer in time.
pub(crate) const UNKNOWN: &str = "unknown";
/// An answer came when nobody waited for it any more.
pub(crate) const LATE: &str = "late";
/// What became of it could not be written down, so nobody was told.
pub(crate) const UNRECORDED: &str = "unrecorded";

/// All of them.
pub(crate) const ALL: [&str; 6] = [ANSWERED, REFUSED, FAILED, UNKNOWN, LATE, UNRECORDED];

/// What a connector's refusal is to whoever asked.
pub(super) const fn reason(refusal: ServiceRefusal) -> Reason {
    match refusal {
        ServiceRefusal::NotFound => Reason::SubjectNotFound,
        ServiceRefusal::Ambiguous => Reason::SubjectAmbiguous,
        ServiceRefusal::Mismatch => Reason::SubjectMismatch,
        ServiceRefusal::Locked => Reason::SubjectLocked,
        ServiceRefusal::ClerkNotAuthorised => Reason::ClerkNotAuthorised,
        ServiceRefusal::PurposeNotPermitted => Reason::PurposeNotPermitted,
        ServiceRefusal::Quota => Reason::ServiceQuotaExceeded,
        ServiceRefusal::Maintenance => Reason::ServiceMaintenance,
        ServiceRefusal::Failed | ServiceRefusal::Unspecified => Reason::ServiceFailed,
    }
}

/// How a question that was not answered is counted.
pub(super) const fn word(reason: Reason) -> &'static str {
    match End::of(reason) {
        End::Unknown => UNKNOWN,
        End::Failed => FAILED,
        End::Refused | End::Answered => REFUSED,
    }
}

/// Whether the service is to blame, so that it is left alone when that happens too often.
pub(super) fn is_failure(reason: Reason) -> bool {
    word(reason) != REFUSED
}
