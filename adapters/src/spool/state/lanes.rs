//! What is to be sent and carried next: one dossier's things in order, different dossiers side by side.
//!
//! Lanes are filled once at the end of a start, and from then on by each record once it is durable.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lgsp_journal::Position;

use super::{Answered, Call, CallId, CallKind, Change, DeliveryId, Progress, Queued, State};

/// What is carried to the agency's own system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Parcel {
    /// The delivery taken over at this position.
    Delivery(Position),
    /// The outcome of a call.
    Outcome(CallId),
}

impl State {
    /// Puts what a change brings into its lane. Not part of [`State::apply`]: at the start lanes are filled once, at the end.
    pub(crate) fn enqueue(&mut self, position: Position, change: &Change) {
        match change {
            Change::Queued(Queued { id, .. }) => {
                let lane = self.calls.get(id).map(|call| outgoing_lane(id, call));
                if let Some(lane) = lane {
                    self.outgoing.push(&lane, id.clone());
                }
            }
            Change::Answered(Answered { id, .. }) => {
                let told =
                    self.calls.get(id).map(|call| matches!(call.progress, Progress::Answered { told: Some(_), .. }));
                if told == Some(false) {
                    self.carry_outcome(id);
                }
            }
            Change::TakenOver { id, .. } => self.carry_delivery(position, &id.clone()),
            Change::EpochSeen { .. } => {
                let mut lanes: HashMap<Arc<str>, Vec<CallId>> = HashMap::new();
                for id in std::mem::take(&mut self.not_in_lanes) {
                    let Some(lane) = self.calls.get(&id).map(|call| outgoing_lane(&id, call)) else { continue };
                    lanes.entry(lane).or_default().push(id);
                }
                for (lane, ids) in lanes {
                    self.outgoing.put_first(&lane, ids);
                }
            }
            Change::HandedOver { .. }
            | Change::Told { .. }
            | Change::Confirmed { .. }
            | Change::ServedAnew { .. }
            | Change::Returned { .. }
            | Change::BlockLeased(_)
            | Change::ExceptionHandled { .. }
            | Change::Restated => {}
        }
    }

    /// Fills the lanes after the start with all that is unfinished, in the order in which it came.
    pub(crate) fn enqueue_all(&mut self) {
        let mut waiting: Vec<_> = self.calls.iter().filter(|(_, call)| call.is_waiting()).collect();
        // What is sent again goes before all that is new, as in `send_again`.
        waiting.sort_unstable_by_key(|(_, call)| match &call.progress {
            Progress::Waiting { earlier: Some(earlier), .. } => (0, call.sequence, earlier.position),
            _ => (1, 0, call.position),
        });
        self.not_in_lanes.clear();
        for (id, call) in waiting {
            self.outgoing.push(&outgoing_lane(id, call), id.clone());
        }
        let mut parcels: BTreeMap<_, _> =
            self.pending.keys().map(|position| (*position, Parcel::Delivery(*position))).collect();
        parcels.extend(self.calls.iter().filter_map(|(id, call)| match call.progress {
            Progress::Answered { position, told: None, .. } => Some((position, Parcel::Outcome(id.clone()))),
            _ => None,
        }));
        for (_, parcel) in parcels {
            match parcel {
                Parcel::Delivery(position) => {
                    let id = self.pending[&position].id.clone();
                    self.carry_delivery(position, &id);
                }
                Parcel::Outcome(id) => self.carry_outcome(&id),
            }
        }
    }

    fn carry_delivery(&mut self, position: Position, id: &DeliveryId) {
        if let Some(place) = self.pushed.get(&*id.party) {
            let lane = parcel_lane(&id.party, Some(&id.dossier), "");
            self.parcels[*place].push(&lane, Parcel::Delivery(position));
        }
    }

    /// Has what waits to be carried again for a delivery's dossier carried now.
    pub(crate) fn carry_now(&mut self, id: &DeliveryId) {
        if let Some(place) = self.pushed.get(&*id.party) {
            self.parcels[*place].wake(&parcel_lane(&id.party, Some(&id.dossier), ""));
        }
    }

    fn carry_outcome(&mut self, id: &CallId) {
        let Some(call) = self.calls.get(id) else { return };
        if let Some(place) = self.pushed.get(&*id.party) {
            let lane = parcel_lane(&id.party, call.dossier.as_ref(), &id.key);
            self.parcels[*place].push(&lane, Parcel::Outcome(id.clone()));
        }
    }
}

/// Entries of one dossier go one after the other, whoever records them; submissions have nobody to wait for. What a desk took
/// in without a line goes one after the other, and what was said about it meanwhile goes in between, where it was said.
fn outgoing_lane(id: &CallId, call: &Call) -> Arc<str> {
    if let Some(first) = &call.behind {
        return format!("{}//offline", first.party).into();
    }
    match (&call.kind, &call.dossier) {
        (CallKind::Record, Some(dossier)) => dossier.clone(),
        // What is said about it again waits for it.
        (CallKind::Submit, Some(code)) if call.was_admitted() => code.clone(),
        _ => format!("{}/{}", id.party, id.key).into(),
    }
}

/// What one party is told about one dossier comes in order.
fn parcel_lane(party: &str, dossier: Option<&Arc<str>>, key: &str) -> Arc<str> {
    match dossier {
        Some(dossier) => format!("{party}/{dossier}").into(),
        // A refused submission never became a dossier.
        None => format!("{party}//{key}").into(),
    }
}
