//! Deliveries, and how far each has come: reserved, taken over, handed over, confirmed; or going back.
//!
//! Its name is all that a delivery is known by; only after a restore of the gateway's books may another event come under it.

use std::sync::Arc;

use lgsp_journal::Position;

use super::State;

/// Names a delivery.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct DeliveryId {
    pub(crate) party: Arc<str>,
    pub(crate) dossier: Arc<str>,
    pub(crate) sequence: u32,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Being made durable; nothing was acknowledged yet.
    Reserved,
    /// Here, waiting for the agency's own system.
    TakenOver(Position),
    /// The agency's own system has it.
    HandedOver { position: Position, at_ms: i64, confirmed: Option<Position> },
}

/// A delivery that goes back to the gateway. Until that knows, nothing later of the dossier is taken over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Returned {
    pub(crate) id: DeliveryId,
    /// Where that is recorded; [`Position::ORIGIN`] while it is not durable.
    pub(crate) position: Position,
    pub(crate) reason: Arc<str>,
    pub(crate) permanent: bool,
}

/// A delivery that the agency's own system does not have yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: DeliveryId,
    pub(crate) at_ms: i64,
    /// It was taken over from books that were restored since. By its name the gateway may mean another event, so nothing is said
    /// of it.
    pub(crate) is_of_before: bool,
    /// Where it is recorded that the restored gateway serves it as well.
    pub(crate) served_anew: Option<Position>,
}

/// Which event stands, or stood, under a delivery's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// 0 when that was not kept.
    pub(crate) fingerprint: u64,
    /// Whether another event stood under the name before.
    pub(crate) renamed: bool,
}

impl State {
    pub(super) fn taken_over(&mut self, position: Position, id: &DeliveryId, at_ms: i64, known: Known) -> bool {
        let Known { fingerprint, renamed } = known;
        let another = self.is_another(id, fingerprint);
        match self.deliveries.get(id) {
            Some(Stage::TakenOver(_)) if !another => return false,
            // The books were restored, and this is what now stands under that name: the other event never happened.
            Some(Stage::TakenOver(before)) => {
                self.pending.remove(before);
            }
            // Forgotten here, and served once more all the same, by a gateway that was restored.
            Some(Stage::HandedOver { position, .. }) => {
                self.unconfirmed.remove(position);
            }
            Some(Stage::Reserved) => self.arriving -= 1,
            None => {}
        }
        let renamed = renamed || another || self.events.get(id).is_some_and(|known| known.renamed);
        self.events.insert(id.clone(), Known { fingerprint, renamed });
        self.deliveries.insert(id.clone(), Stage::TakenOver(position));
        self.pending.insert(position, Pending { id: id.clone(), at_ms, is_of_before: false, served_anew: None });
        true
    }

    /// The restored gateway serves what is here already. It keeps its place.
    pub(super) fn served_anew(&mut self, position: Position, id: &DeliveryId) -> bool {
        let Some(Stage::TakenOver(taken_over)) = self.deliveries.get(id) else { return false };
        let Some(pending) = self.pending.get_mut(taken_over).filter(|pending| pending.is_of_before) else {
            return false;
        };
        pending.is_of_before = false;
        pending.served_anew = Some(position);
        true
    }

    pub(super) fn handed_over(
        &mut self,
        position: Position,
        id: &DeliveryId,
        at_ms: i64,
        known: Known,
        untold: bool,
    ) -> bool {
        if known.fingerprint != 0 && self.is_another(id, known.fingerprint) {
            // It was about an event that is gone; what took its name has not been handed over by that.
            return false;
        }
        self.events.entry(id.clone()).or_insert(known);
        match self.deliveries.get(id) {
            Some(Stage::HandedOver { .. }) => return false,
            Some(Stage::TakenOver(taken_over)) => {
                self.pending.remove(taken_over);
            }
            Some(Stage::Reserved) | None => {}
        }
        // Should the gateway deliver one of before again, it will be told.
        let confirmed = untold.then_some(position);
        self.deliveries.insert(id.clone(), Stage::HandedOver { position, at_ms, confirmed });
        if confirmed.is_none() {
            self.unconfirmed.insert(position, id.clone());
        }
        true
    }

    /// The gateway's books were restored. It owes again whatever it does not know as handed over, and what it does not know at
    /// all it may never deliver: so what is here is handed over all the same, and nothing is said of it to the gateway until it
    /// delivers it again.
    pub(super) fn owed_anew(&mut self, position: Position) {
        for pending in self.pending.values_mut() {
            (pending.is_of_before, pending.served_anew) = (true, None);
        }
        self.returned.clear();
        self.unconfirmed.clear();
        for stage in self.deliveries.values_mut() {
            if let Stage::HandedOver { confirmed, .. } = stage {
                confirmed.get_or_insert(position);
            }
        }
    }

    /// Whether a delivery is here from books that were restored since, and was not served anew.
    pub(crate) fn is_of_before(&self, id: &DeliveryId) -> bool {
        match self.deliveries.get(id) {
            Some(Stage::TakenOver(position)) => self.pending.get(position).is_some_and(|pending| pending.is_of_before),
            _ => false,
        }
    }

    /// The gateway knows of a hand-over.
    pub(super) fn confirmed(&mut self, position: Position, id: &DeliveryId) -> bool {
        let Some(Stage::HandedOver { position: handed_over, confirmed, .. }) = self.deliveries.get_mut(id) else {
            return false;
        };
        self.unconfirmed.remove(handed_over);
        confirmed.replace(position).is_none()
    }

    /// A delivery goes back, with all later ones of its dossier that are here.
    pub(super) fn returns(&mut self, position: Position, id: &DeliveryId, reason: &Arc<str>, permanent: bool) -> bool {
        let of_dossier = (id.party.clone(), id.dossier.clone());
        if self.returned.get(&of_dossier).is_some_and(|known| known.position != Position::ORIGIN) {
            return false;
        }
        if self.is_of_before(id) {
            // The books were restored while this was being written.
            self.returned.remove(&of_dossier);
            return false;
        }
        let goes = |other: &DeliveryId| {
            (&other.party, &other.dossier) == (&id.party, &id.dossier) && other.sequence >= id.sequence
        };
        let deliveries = &mut self.deliveries;
        self.pending.retain(|_, pending| {
            let goes = goes(&pending.id);
            if goes {
                deliveries.remove(&pending.id);
            }
            !goes
        });
        let (id, reason) = (id.clone(), reason.clone());
        self.returned.insert(of_dossier, Returned { id, position, reason, permanent });
        true
    }

    /// The gateway knows that a delivery went back.
    pub(super) fn given_back(&mut self, id: &DeliveryId) -> bool {
        self.returned.remove(&(id.party.clone(), id.dossier.clone())).is_some()
    }

    /// Keeps everything later of a dossier from being taken over while a delivery of it is given back. False when it is not
    /// here to be given back, when that has begun already, or when the gateway may mean another event by its name.
    pub(crate) fn begin_returning(&mut self, id: &DeliveryId, reason: &Arc<str>, permanent: bool) -> bool {
        let of_dossier = (id.party.clone(), id.dossier.clone());
        let is_here = matches!(self.deliveries.get(id), Some(Stage::TakenOver(_)));
        if !is_here || self.is_of_before(id) || self.returned.contains_key(&of_dossier) {
            return false;
        }
        let (id, position, reason) = (id.clone(), Position::ORIGIN, reason.clone());
        self.returned.insert(of_dossier, Returned { id, position, reason, permanent });
        true
    }

    /// Whether a delivery of the dossier is being taken over just now.
    pub(crate) fn is_arriving(&self, id: &DeliveryId) -> bool {
        let is = |(other, stage): (&DeliveryId, &Stage)| {
            *stage == Stage::Reserved && other.party == id.party && other.dossier == id.dossier
        };
        self.arriving > 0 && self.deliveries.iter().any(is)
    }

    /// Whether another event than the one known stands under a delivery's name.
    pub(crate) fn is_another(&self, id: &DeliveryId, fingerprint: u64) -> bool {
        self.events.get(id).is_some_and(|known| known.fingerprint != 0 && known.fingerprint != fingerprint)
    }

    /// Which event stands under a delivery's name.
    pub(crate) fn known(&self, id: &DeliveryId) -> Known {
        self.events.get(id).copied().unwrap_or(Known { fingerprint: 0, renamed: false })
    }

    /// What tells a delivery from another one of its name; empty as long as there was none.
    pub(crate) fn suffix(&self, id: &DeliveryId) -> String {
        match self.events.get(id) {
            Some(Known { fingerprint, renamed: true }) => format!("~{fingerprint:016x}"),
            _ => String::new(),
        }
    }

    /// Keeps a place for a delivery that is being made durable.
    pub(crate) fn reserve_delivery(&mut self, id: &DeliveryId) {
        self.deliveries.insert(id.clone(), Stage::Reserved);
        self.arriving += 1;
    }

    /// Gives the place back if the delivery did not become durable.
    pub(crate) fn release_delivery(&mut self, id: &DeliveryId) {
        if self.deliveries.get(id) == Some(&Stage::Reserved) {
            self.deliveries.remove(id);
            self.arriving -= 1;
        }
    }
}
