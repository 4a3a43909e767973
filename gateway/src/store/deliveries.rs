//! What the port says about deliveries on their way: who has them, which dossiers are parked, and what was done about it.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use lgsp_proto::types::{ActorId, DossierCode, PartyId};
use lgsp_proto::v1;

use super::InboxPosition;

/// What an installation is called that names none.
pub const MAIN: &str = "main";

/// One installation of a system: it has one spool.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Installation {
    /// The system, by its certificate.
    pub system: String,
    /// Which of its installations; [`MAIN`] when it names none.
    pub instance: String,
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system, self.instance)
    }
}

/// Who has what was taken over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The installation.
    pub installation: Installation,
    /// Its spool; empty when it named none.
    pub spool: Bytes,
}

/// How the deliveries of one dossier to one party stand together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lane {
    /// Who has those that were taken over and not handed over. The next ones are for nobody else.
    pub holder: Option<Holder>,
    /// From which event on the dossier is parked for the party.
    pub parked: Option<u32>,
}

/// A delivery that was taken over and not handed over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TakenOver {
    /// Where it stands in the party's inbox.
    pub position: InboxPosition,
    /// The dossier.
    pub code: DossierCode,
    /// The event.
    pub sequence: u32,
    /// Who has it.
    pub holder: Holder,
}

/// Deliveries that are owed again although they had been taken over. Those that are not with their holder any more are
/// ignored.
#[derive(Clone, Debug)]
pub struct GivenBack {
    /// The party.
    pub party: PartyId,
    /// Which deliveries.
    pub deliveries: Vec<(DossierCode, u32)>,
    /// Who had them.
    pub holder: Holder,
    /// Why.
    pub why: GivenBackWhy,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// Why deliveries were given back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GivenBackWhy {
    /// The installation opened with another spool.
    SpoolReplaced,
    /// The receiver gave them back.
    Declined,
    /// The books were restored: what had become of them since the backup is not known.
    Restored,
    /// An operator took them from a receiver that does not come back.
    Released {
        /// In whose name.
        acting_party: PartyId,
        /// The clerk.
        actor: ActorId,
        /// The system through which.
        system: String,
        /// The ground: a stable word, no personal data.
        ground: String,
    },
}

/// A dossier whose deliveries to one party wait for a person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parked {
    /// The party.
    pub party: PartyId,
    /// The dossier.
    pub code: DossierCode,
    /// The event whose delivery failed.
    pub sequence: u32,
    /// The receiver's word, `LEASE_EXPIRED`, or `UNREADABLE` when the gateway cannot read what it is to deliver.
    pub reason: String,
    /// Whether it failed for good or too often.
    pub kind: v1::DeclineKind,
    /// How often it was tried.
    pub attempts: u32,
    /// Who declined it.
    pub system: String,
    /// When, by the machine clock.
    pub at: SystemTime,
}

/// A parked dossier as it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParkedStanding {
    /// Orders them, the longest parked first.
    pub position: u64,
    /// What happened.
    pub parked: Parked,
    /// How many of its deliveries wait, the failed one included.
    pub waiting: u64,
}

/// What a person did about a parked dossier.
#[derive(Clone)]
pub struct Handled {
    /// The party whose inbox it is.
    pub party: PartyId,
    /// The dossier.
    pub code: DossierCode,
    /// The event whose delivery had failed.
    pub sequence: u32,
    /// What was done.
    pub action: ParkedAction,
    /// In whose name.
    pub acting_party: PartyId,
    /// The clerk.
    pub actor: ActorId,
    /// The system through which.
    pub system: String,
    /// When, by the machine clock.
    pub at: SystemTime,
    /// Why, in the clerk's words. Sealed with the dossier's key by the engine; empty where it was not opened, or was erased.
    pub why: String,
}

impl fmt::Debug for Handled {
    /// Leaves out the clerk's words: they may name people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handled")
            .field("party", &self.party)
            .field("code", &self.code)
            .field("sequence", &self.sequence)
            .field("action", &self.action)
            .field("acting_party", &self.acting_party)
            .field("actor", &self.actor)
            .field("system", &self.system)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// What may be done about a parked dossier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParkedAction {
    /// Deliver it again, and the later ones after it.
    Retry,
    /// Count the failed delivery as handed over, and go on with the next one.
    Skip,
}
