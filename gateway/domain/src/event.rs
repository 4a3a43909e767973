//! One admitted fact about a dossier, and everything it changed.
//!
//! An [`Event`] is complete: [`crate::apply`] needs nothing else, no registry, no calendar, no clock. A rule corrected
//! tomorrow therefore never makes yesterday's books wrong.

use lgsp_proto::types::{ActorId, BusinessTime, DossierCode, PartyId, Status};

use crate::deadline::Clock;
use crate::dossier::{AttachedDocument, HandOver, Opening};
use crate::transition::{Act, Role};

/// One admitted fact about a dossier.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The dossier.
    pub code: DossierCode,
    /// Its number within the dossier: 1, 2, 3 …
    pub sequence: u32,
    /// What was recorded.
    pub act: Act,
    /// By which party.
    pub by: PartyId,
    /// In which role.
    pub role: Role,
    /// By which clerk.
    pub actor: ActorId,
    /// When it happened, by the business clock.
    pub occurred_at: BusinessTime,
    /// The status after it.
    pub status: Status,
    /// The hand-over after it; `None` when the dossier is territorial.
    pub hand_over: Option<HandOver>,
    /// The facts fixed by the first event; `None` on every later one.
    pub opening: Option<Opening>,
    /// What it set.
    pub outcome: Outcome,
    /// Who must be told, in the order of the rules; never the party that recorded it.
    pub recipients: Vec<PartyId>,
    /// The registry version it was decided under.
    pub registry_version: u64,
}

/// The values an event set. Each replaces what stood before.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The clock after the event.
    pub clock: Clock,
    /// See [`crate::dossier::Dossier::resume_to`].
    pub resume_to: Option<Status>,
    /// See [`crate::dossier::Dossier::supplement_until`].
    pub supplement_until: Option<BusinessTime>,
    /// See [`crate::dossier::Dossier::resolved_at`].
    pub resolved_at: Option<BusinessTime>,
    /// See [`crate::dossier::Dossier::returned_at`].
    pub returned_at: Option<BusinessTime>,
    /// Documents this event attached.
    pub documents: Vec<AttachedDocument>,
}
