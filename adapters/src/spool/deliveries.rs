//! Deliveries on their way to the agency's own system: taken over from the gateway, handed over, and both sides told.
//!
//! A delivery is known by party, dossier and sequence, however often it comes. What the agency refuses goes back with all later
//! ones of its dossier; until the gateway knows that, nothing of the dossier is taken over.

use std::future::Future;
use std::ops::Bound;
use std::sync::Arc;

use lgsp_journal::room::Shortage;
use lgsp_journal::{MAX_RECORD_BYTES, Position};
use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use lgsp_proto::v1;
use prost::Message;

use super::replay::RecordError;
use super::state::{DeliveryId, Known, Parcel, Returned, Stage};
use super::writing::Broken;
use super::{Shared, Spool, now_ms, records};
use crate::lanes::Lanes;

/// What a record has beside the delivery in it: its name, its time, the seal.
const RECORD_OVERHEAD: usize = 1024;

/// Why a delivery was not taken over. It must not be acknowledged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TakeOverError {
    /// Too many deliveries wait for the agency's own system.
    #[error("too many deliveries wait for the agency's own system")]
    Full,
    /// The disk is nearly full.
    #[error(transparent)]
    Disk(#[from] Shortage),
    /// It does not name itself.
    #[error("the delivery has no name")]
    Nameless,
    /// It does not fit into a record.
    #[error("the delivery is longer than a record of the spool")]
    TooLarge,
    /// It, or an earlier one of its dossier, goes back to the gateway.
    #[error("the dossier's deliveries go back to the gateway")]
    Returning(Box<Returned>),
    /// The disk failed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Spool {
    /// Takes deliveries over in the order of the calls. A delivery is durable, and may be acknowledged as the stage says, when
    /// the future that this returns is done. The same delivery again is the same delivery.
    ///
    /// # Errors
    /// See [`TakeOverError`].
    pub(crate) async fn take_over(
        &self,
        delivery: &v1::Delivery,
    ) -> Result<impl Future<Output = Result<Stage, TakeOverError>> + Send + 'static + use<>, TakeOverError> {
        let id = DeliveryId::from(delivery.r#ref.as_ref().ok_or(TakeOverError::Nameless)?);
        if delivery.encoded_len() > MAX_RECORD_BYTES - RECORD_OVERHEAD {
            return Err(TakeOverError::TooLarge);
        }
        let fingerprint = records::fingerprint(delivery.event.as_ref());
        let kind = {
            let mut state = self.shared.state();
            if let Some(returned) = state.returned.get(&(id.party.clone(), id.dossier.clone())) {
                return Err(TakeOverError::Returning(Box::new(returned.clone())));
            }
            let is_known = state.deliveries.contains_key(&id);
            let another = state.is_another(&id, fingerprint);
            let is_new = !is_known || another;
            if is_new && state.pending.len() + state.arriving >= self.max_incoming {
                return Err(TakeOverError::Full);
            }
            if is_new {
                self.disk.for_more()?;
            }
            if !is_known {
                state.reserve_delivery(&id);
            }
            let (party, dossier_code) = (id.party.to_string(), id.dossier.to_string());
            if is_new {
                let (delivery, renamed) = (delivery.encode_to_vec(), another || state.known(&id).renamed);
                let taken_over_at_unix_ms = now_ms();
                Some(Kind::TakenOver(stored::TakenOver { delivery, taken_over_at_unix_ms, renamed }))
            } else {
                let served = stored::ServedAnew { party, dossier_code, sequence: id.sequence };
                state.is_of_before(&id).then_some(Kind::ServedAnew(served))
            }
        };
        let shared = self.shared.clone();
        let writing = match kind {
            Some(kind) => {
                let reservation = DeliveryReservation { shared: shared.clone(), id: id.clone() };
                Some((reservation, self.submit(kind).await?))
            }
            None => None,
        };
        Ok(async move {
            if let Some((reservation, written)) = writing {
                written.durable().await?;
                drop(reservation);
            }
            let mut changes = shared.changes.subscribe();
            loop {
                changes.mark_unchanged();
                match shared.state().deliveries.get(&id) {
                    Some(Stage::Reserved) => {}
                    Some(stage) => return Ok(*stage),
                    None => return Err(Broken.into()),
                }
                // The same delivery is being made durable for an earlier stream. The sender lives as long as the spool.
                let _ = changes.changed().await;
            }
        })
    }

    /// The delivery taken over at `position`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn delivery(&self, position: Position) -> Result<v1::Delivery, RecordError> {
        let Some(Kind::TakenOver(taken_over)) = self.read(position)?.kind else {
            return Err(RecordError::Unknown(position));
        };
        v1::Delivery::decode(&taken_over.delivery[..]).map_err(|_| RecordError::Unknown(position))
    }

    /// Looks at what is to be carried to a place, or changes its lanes.
    pub(crate) fn parcels<R>(&self, place: usize, with: impl FnOnce(&mut Lanes<Parcel>) -> R) -> R {
        with(&mut self.shared.state().parcels[place])
    }

    /// Has a delivery that waits to be carried again carried now: something was said about it.
    pub(crate) fn carry_now(&self, id: &DeliveryId) {
        self.shared.state().carry_now(id);
        self.shared.changed();
    }

    /// What waits for a party's system, the oldest first.
    #[cfg(test)]
    pub(crate) fn pending(&self, party: &str, limit: usize) -> Vec<Position> {
        self.pending_after(party, Position::ORIGIN, limit)
    }

    /// What waits for a party's system after a place, the oldest first.
    pub(crate) fn pending_after(&self, party: &str, after: Position, limit: usize) -> Vec<Position> {
        let state = self.shared.state();
        let later = state.pending.range((Bound::Excluded(after), Bound::Unbounded));
        let of_party = later.filter(|(_, pending)| &*pending.id.party == party);
        of_party.map(|(position, _)| *position).take(limit).collect()
    }

    /// How far a delivery has come; `None` if it was never here.
    pub(crate) fn stage(&self, id: &DeliveryId) -> Option<Stage> {
        self.shared.state().deliveries.get(id).copied()
    }

    /// What a delivery is called towards the agency's own system. An event that took the place of another one, because the
    /// gateway's books were restored, has a name of its own.
    pub(crate) fn delivery_name(&self, id: &DeliveryId) -> String {
        format!("{}/{}/{}{}", id.party, id.dossier, id.sequence, self.shared.state().suffix(id))
    }

    /// Which event stands under a delivery's name; 0 when that is not known.
    pub(crate) fn fingerprint(&self, id: &DeliveryId) -> u64 {
        self.shared.state().known(id).fingerprint
    }

    /// Notes that the agency's own system has this event: durable when this returns. If it is not the one that now stands under
    /// its name, or not here to be handed over, there is nothing to note.
    ///
    /// # Errors
    /// [`Broken`]; it will be handed over again after the restart.
    pub(crate) async fn handed_over(&self, id: &DeliveryId, event: u64) -> Result<(), Broken> {
        let (Known { fingerprint, renamed }, untold) = {
            let state = self.shared.state();
            let known = state.known(id);
            if !matches!(state.deliveries.get(id), Some(Stage::TakenOver(_))) || known.fingerprint != event {
                return Ok(());
            }
            (known, state.is_of_before(id))
        };
        let record = stored::HandedOver {
            party: id.party.to_string(),
            dossier_code: id.dossier.to_string(),
            sequence: id.sequence,
            handed_over_at_unix_ms: now_ms(),
            fingerprint,
            renamed,
            untold,
        };
        self.write(Kind::HandedOver(record)).await.map(drop)
    }

    /// What was handed over after `after` and the gateway does not know of.
    pub(crate) fn unconfirmed(&self, after: Position, limit: usize) -> Vec<(Position, DeliveryId)> {
        let state = self.shared.state();
        let later = state.unconfirmed.range(after.next()..).take(limit);
        later.map(|(position, id)| (*position, id.clone())).collect()
    }

    /// Notes that the gateway knows of a hand-over.
    ///
    /// # Errors
    /// [`Broken`]; the gateway will be told again, which is safe.
    pub(crate) async fn confirmed(&self, id: &DeliveryId) -> Result<(), Broken> {
        if !matches!(self.stage(id), Some(Stage::HandedOver { confirmed: None, .. })) {
            return Ok(());
        }
        let (party, dossier_code) = (id.party.to_string(), id.dossier.to_string());
        self.write(Kind::Confirmed(stored::Confirmed { party, dossier_code, sequence: id.sequence })).await.map(drop)
    }

    /// Gives a delivery back to the gateway, with all later ones of its dossier that are here: durable when this returns, and
    /// told to the gateway until it knows. What is not here any more is not given back.
    ///
    /// # Errors
    /// [`Broken`]; it is handed over, or given back, after the restart.
    pub(crate) async fn give_back(&self, id: &DeliveryId, reason: &str, permanent: bool) -> Result<(), Broken> {
        if !self.shared.state().begin_returning(id, &reason.into(), permanent) {
            return Ok(());
        }
        // What was being taken over before this began comes before it in the journal, and so goes back with it.
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            if !self.shared.state().is_arriving(id) {
                break;
            }
            // The sender lives as long as the spool.
            let _ = changes.changed().await;
        }
        self.write_returned(id, reason, permanent, false).await
    }

    /// Notes that the gateway knows what was given back: from now on it may be taken over anew.
    ///
    /// # Errors
    /// [`Broken`]; the gateway will be told again, which is safe.
    pub(crate) async fn given_back(&self, id: &DeliveryId) -> Result<(), Broken> {
        let known = self.shared.state().returned.get(&(id.party.clone(), id.dossier.clone())).cloned();
        match known {
            Some(known) if known.id == *id && known.position != Position::ORIGIN => {
                self.write_returned(id, &known.reason, known.permanent, true).await
            }
            _ => Ok(()),
        }
    }

    async fn write_returned(
        &self,
        id: &DeliveryId,
        reason: &str,
        permanent: bool,
        given_back: bool,
    ) -> Result<(), Broken> {
        let record = stored::Returned {
            party: id.party.to_string(),
            dossier_code: id.dossier.to_string(),
            sequence: id.sequence,
            reason: reason.to_owned(),
            permanent,
            given_back,
            at_unix_ms: now_ms(),
        };
        self.write(Kind::Returned(record)).await.map(drop)
    }

    /// What goes back since `after` and the gateway does not know of, in the order in which it was recorded.
    pub(crate) fn returned(&self, after: Position) -> Vec<Returned> {
        let state = self.shared.state();
        let mut later: Vec<_> = state.returned.values().filter(|returned| returned.position > after).cloned().collect();
        later.sort_unstable_by_key(|returned| returned.position);
        later
    }
}

/// Gives a delivery's place back, unless it has become durable meanwhile.
struct DeliveryReservation {
    shared: Arc<Shared>,
    id: DeliveryId,
}

impl Drop for DeliveryReservation {
    fn drop(&mut self) {
        self.shared.state().release_delivery(&self.id);
        self.shared.changed();
    }
}
