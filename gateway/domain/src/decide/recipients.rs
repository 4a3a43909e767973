//! Who must be told of an event.
//!
//! The order is that of the rules: the places of the dossier, those whose turn it is or was, subscribers. Nobody is told
//! twice, nor is the party that recorded the event. Whoever was told that it is their turn is told, too, when it is over:
//! a payment platform of a withdrawn dossier, the post of a recalled result.
//! Deliveries go to the party that stands where the named one stood on that day.

use lgsp_proto::types::{Date, PartyId, ProcedureCode, Status};

use super::Warning;
use crate::deadline::clock::PauseCause;
use crate::dossier::{Dossier, Opening};
use crate::registry::{Registry, Right};
use crate::roles::goes_by_post;

/// How many parties one event is delivered to at most; answers a registry with subscribers without end.
pub const MAX_RECIPIENTS: usize = 32;

/// Collects the recipients of one event.
pub(super) struct Recipients<'a> {
    registry: &'a Registry,
    procedure: &'a ProcedureCode,
    on: Date,
    recorder: &'a PartyId,
    parties: Vec<PartyId>,
    left_out: bool,
}

impl<'a> Recipients<'a> {
    /// Everybody to tell of a new dossier: the authority, the return desk, subscribers. Support points helped to file, and
    /// are not told.
    pub(super) fn of_opening(opening: &'a Opening, recorder: &'a PartyId, registry: &'a Registry) -> Self {
        let mut recipients = Self {
            registry,
            procedure: &opening.procedure,
            on: opening.received_at.date(),
            recorder,
            parties: Vec::new(),
            left_out: false,
        };
        recipients.places(opening);
        recipients.granted(Right::Subscribe);
        recipients
    }

    /// Everybody to tell of an entry that leads to `after`. The return desk is told from the beginning: it is asked by
    /// the citizen how things stand.
    pub(super) fn of_entry(
        dossier: &'a Dossier,
        after: Status,
        paused_for: Option<PauseCause>,
        recorder: &'a PartyId,
        registry: &'a Registry,
        on: Date,
    ) -> Self {
        let opening = &dossier.opening;
        let mut recipients =
            Self { registry, procedure: &opening.procedure, on, recorder, parties: Vec::new(), left_out: false };
        let enters_or_leaves = |status| dossier.status == status || after == status;
        recipients.places(opening);
        if enters_or_leaves(Status::PaymentRequested) {
            recipients.granted(Right::Payment);
        }
        let result_by_post = goes_by_post(dossier) && enters_or_leaves(Status::Resolved);
        if result_by_post || paused_for == Some(PauseCause::PaperTransit) {
            recipients.granted(Right::Post);
        }
        recipients.granted(Right::Subscribe);
        recipients
    }

    /// The list, and a warning when it is not whole.
    pub(super) fn list(self) -> (Vec<PartyId>, Option<Warning>) {
        (self.parties, self.left_out.then_some(Warning::SubscribersLeftOut))
    }

    fn places(&mut self, opening: &Opening) {
        let places = &opening.places;
        for place in [&places.intake_desk, &places.competent_authority, &places.return_desk] {
            self.tell(self.registry.current_of(place, self.on));
        }
    }

    fn granted(&mut self, right: Right) {
        let registry = self.registry;
        for party in registry.parties_with(right, self.on) {
            if registry.grant(party, right, Some(self.procedure), self.on).is_ok() {
                self.tell(party.clone());
            }
        }
    }

    fn tell(&mut self, party: PartyId) {
        if party == *self.recorder || self.parties.contains(&party) {
            return;
        }
        if self.parties.len() == MAX_RECIPIENTS {
            self.left_out = true;
            return;
        }
        self.parties.push(party);
    }
}
