//! How a dossier stands: what every party may know about it without opening its content.
//!
//! No personal data here; names, numbers and papers are in the sealed bodies of the events.

use lgsp_proto::types::{
    Alias, BusinessTime, CaseCode, DossierCode, IntakeChannel, MediaType, PartyId, ProcedureCode, ReturnChannel,
    Sha256Digest, Status, UnitCode,
};

use crate::deadline::Clock;
use crate::numbering::NumberSource;

/// The four places of a dossier. All routing, authority and statistics follow from these, not from a user's own office.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Places {
    /// The agent point that helped to file (điểm đại lý); not a receiving agency.
    pub support_point: Option<PartyId>,
    /// Where it was officially taken in (nơi tiếp nhận).
    pub intake_desk: PartyId,
    /// Who decides it (cơ quan có thẩm quyền).
    pub competent_authority: PartyId,
    /// Where the citizen wants the result (nơi trả kết quả).
    pub return_desk: PartyId,
}

/// The non-territorial hand-over. Numbers are those of the national field `TrangThaiPhiDiaGioi` and of `lgsp.v1.HandOver`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HandOver {
    /// 1: received at the intake desk, not yet with the bus. No dossier of the bus is in it; adapters' spools are.
    AtDesk = 1,
    /// 4: with the bus, waiting for the competent authority's clerk.
    Waiting = 4,
    /// 2: the competent authority works on it.
    Processing = 2,
    /// 3: the result has been handed out.
    Returned = 3,
}

impl HandOver {
    /// The number in the national field.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The hand-over of a number; `None` for one this version does not know.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::AtDesk, Self::Waiting, Self::Processing, Self::Returned]
            .into_iter()
            .find(|state| state.number() == number)
    }
}

/// A document attached to a dossier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachedDocument {
    /// SHA-256 of the content.
    pub sha256: Sha256Digest,
    /// Size of the content in bytes.
    pub size_bytes: u64,
    /// What kind of content it is.
    pub media_type: MediaType,
    /// Where the document store keeps it.
    pub document_id: u64,
}

/// The facts fixed when a dossier is opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opening {
    /// Other codes it already carries.
    pub aliases: Vec<Alias>,
    /// The procedure; its version is the one of the registry version it was admitted under.
    pub procedure: ProcedureCode,
    /// The case of the procedure; `None` for the ordinary one.
    pub case: Option<CaseCode>,
    /// The unit the matter belongs to.
    pub locality: UnitCode,
    /// How it came in.
    pub intake_channel: IntakeChannel,
    /// How the result goes out.
    pub return_channel: ReturnChannel,
    /// Who has to do with it.
    pub places: Places,
    /// Whether the intake desk lies outside the competent authority's territory.
    pub non_territorial: bool,
    /// When the desk received it.
    pub received_at: BusinessTime,
    /// Until when the authority must have answered an online filing; `None` for what came in otherwise.
    pub acceptance_due: Option<BusinessTime>,
    /// The identifier of the route that won.
    pub route_rule: String,
    /// Who chose its number.
    pub number_source: NumberSource,
}

/// How a dossier stands after its last event.
#[derive(Clone, Debug, PartialEq)]
pub struct Dossier {
    /// Its public number.
    pub code: DossierCode,
    /// What was fixed at the start.
    pub opening: Opening,
    /// One of the ten statuses.
    pub status: Status,
    /// The status to come back to from 5 and 6.
    pub resume_to: Option<Status>,
    /// `Some` when non-territorial.
    pub hand_over: Option<HandOver>,
    /// The number of its last event: 1, 2, 3 …
    pub sequence: u32,
    /// Its deadline.
    pub clock: Clock,
    /// Until when the citizen may supplement; set in status 5.
    pub supplement_until: Option<BusinessTime>,
    /// When the result was there.
    pub resolved_at: Option<BusinessTime>,
    /// When the result was handed out.
    pub returned_at: Option<BusinessTime>,
    /// When the last event happened.
    pub updated_at: BusinessTime,
    /// The registry version it was admitted under.
    pub registry_version: u64,
    /// Everything attached so far.
    pub documents: Vec<AttachedDocument>,
    /// Every party that has been told of it; what it may not know exists is *not found*.
    pub informed: Vec<PartyId>,
}

impl Dossier {
    /// Whether `party` has to do with the dossier, in any capacity: only then may it know that it exists.
    ///
    /// Knows nothing of successors; [`crate::roles::concerns`] does.
    pub fn concerns(&self, party: &PartyId) -> bool {
        self.told().any(|told| told == party)
    }

    /// Every party that has to do with the dossier: its places, and whoever was told of it. Some may come twice.
    pub fn told(&self) -> impl Iterator<Item = &PartyId> {
        let Places { support_point, intake_desk, competent_authority, return_desk } = &self.opening.places;
        [intake_desk, competent_authority, return_desk].into_iter().chain(support_point).chain(&self.informed)
    }
}
