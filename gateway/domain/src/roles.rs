//! Which roles a party holds in a dossier, and whether it may know that the dossier exists.
//!
//! Places are fixed when a dossier is opened; organisations change afterwards. When a party has merged into another, the
//! successor stands where it stood: both questions are therefore asked of the registry for a day, never of the dossier
//! alone.

use lgsp_proto::types::{Date, PartyId, ReturnChannel, Status};

use crate::deadline::clock::PauseCause;
use crate::dossier::Dossier;
use crate::registry::{Registry, Right};
use crate::transition::Role;

impl Role {
    /// What a party must have been granted, for the procedure, to act in this role. There is no act without a grant.
    pub const fn right(self) -> Right {
        match self {
            Self::Citizen | Self::IntakeDesk => Right::Submit,
            Self::CompetentAuthority => Right::Decide,
            Self::Payment => Right::Payment,
            Self::Post => Right::Post,
            Self::ReturnDesk => Right::HandOut,
        }
    }
}

/// The roles `party` holds in the dossier as it stands, on the day of the act, in the order of their numbers.
///
/// The citizen has no account on the bus and speaks through the intake desk, which therefore holds both roles. Payment
/// platforms and the post hold theirs by grant, and only while it is their turn: a fee is open; the result goes by post,
/// or paper is under way.
pub fn roles_of(dossier: &Dossier, party: &PartyId, registry: &Registry, on: Date) -> Vec<Role> {
    let places = &dossier.opening.places;
    let stands_at = |place: &PartyId| registry.current_of(place, on) == *party;
    let granted = |right| registry.grant(party, right, Some(&dossier.opening.procedure), on).is_ok();
    let holds = |role: &Role| match role {
        Role::Citizen | Role::IntakeDesk => stands_at(&places.intake_desk),
        Role::CompetentAuthority => stands_at(&places.competent_authority),
        Role::ReturnDesk => stands_at(&places.return_desk),
        Role::Payment => dossier.status == Status::PaymentRequested && granted(Right::Payment),
        Role::Post => (goes_by_post(dossier) || has_paper_under_way(dossier)) && granted(Right::Post),
    };
    Role::ALL.iter().copied().filter(holds).collect()
}

/// Whether `party`, or one it succeeds, has to do with the dossier in any capacity. Only then may it know that the dossier
/// exists; to everybody else it is *not found*.
pub fn concerns(dossier: &Dossier, party: &PartyId, registry: &Registry, on: Date) -> bool {
    dossier.concerns(party) || dossier.told().any(|told| registry.succeeds(party, told, on))
}

pub(crate) fn goes_by_post(dossier: &Dossier) -> bool {
    dossier.opening.return_channel == ReturnChannel::Post
}

fn has_paper_under_way(dossier: &Dossier) -> bool {
    dossier.clock.open_pauses().iter().any(|pause| pause.cause == PauseCause::PaperTransit)
}
