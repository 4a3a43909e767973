//! What waits for a party: read, acknowledged, refused.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use lgsp_journal::Position;
use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::Office;
use crate::json::whole;
use crate::problem::Problem;
use crate::spool::{DeliveryId, Stage};

/// By what a delivery is named.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[schema(as = DeliveryName)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveryNameJson {
    dossier_code: String,
    #[serde(deserialize_with = "whole")]
    sequence: u32,
    /// As it came with the delivery. After a restore of the gateway another event may stand under the same code and sequence;
    /// with this, what is said about the one is never taken for the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_id: Option<String>,
}

impl DeliveryNameJson {
    /// The name of a delivery, as it came with it.
    pub(crate) fn new(id: &DeliveryId, delivery_id: String) -> Self {
        Self { dossier_code: id.dossier.to_string(), sequence: id.sequence, delivery_id: Some(delivery_id) }
    }
}

impl Office {
    /// What waits for a party after a place in its inbox and can be read, the oldest first, each with its own place. What cannot be
    /// keeps back what follows of its own dossier, and of no other; each is `told` to the operator once, and with the same `told`
    /// keeps back what follows on later pages too.
    pub(crate) fn readable(
        &self,
        party: &PartyId,
        after: Position,
        limit: usize,
        told: &Mutex<HashSet<Position>>,
    ) -> Vec<(Position, v1::Delivery)> {
        // Held for a moment only: others read at the same time, each for as long as the disk takes.
        let told = || told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut deliveries = Vec::new();
        let passed: HashSet<_> = told()
            .iter()
            .filter(|position| **position <= after)
            .filter_map(|position| Some(self.spool.pending_at(*position)?.dossier))
            .collect();
        // Only when something is left out, what follows has to make up for it.
        for most in [limit, usize::MAX] {
            let mut kept_back = passed.clone();
            deliveries.clear();
            for position in self.spool.pending_after(party.as_str(), after, most) {
                if deliveries.len() == limit {
                    break;
                }
                // It has been handed over or has gone back meanwhile.
                let Some(id) = self.spool.pending_at(position) else { continue };
                if kept_back.contains(&id.dossier) {
                    continue;
                }
                match self.spool.delivery(position) {
                    Ok(delivery) => deliveries.push((position, delivery)),
                    Err(error) => {
                        if told().insert(position) {
                            tracing::error!(
                                party.id = %party, dossier.code = %id.dossier, id.sequence, %error,
                                "a delivery cannot be read from the spool and keeps its dossier back"
                            );
                        }
                        kept_back.insert(id.dossier);
                    }
                }
            }
            if kept_back.is_empty() {
                break;
            }
        }
        deliveries
    }

    /// The agency's system has these. Durable when this returns; once more does no harm.
    ///
    /// # Errors
    /// `DELIVERY_UNKNOWN` with every one that is not there; then nothing was done about any. `READ_ONLY`: some may be marked.
    pub(crate) async fn acknowledge(&self, party: &PartyId, deliveries: &[DeliveryNameJson]) -> Result<(), Problem> {
        self.check_pending(party, deliveries, |stage| matches!(stage, Stage::TakenOver(_) | Stage::HandedOver { .. }))?;
        let id = |name: &DeliveryNameJson| delivery_id(party, name);
        // Side by side, so that they share syncs.
        let mut marking = JoinSet::new();
        for id in deliveries.iter().map(id) {
            let (spool, event) = (self.spool.clone(), self.spool.fingerprint(&id));
            marking.spawn(async move { spool.handed_over(&id, event).await });
        }
        while let Some(marked) = marking.join_next().await {
            if !matches!(marked, Ok(Ok(()))) {
                return Err(Problem::from(Reason::ReadOnly).with_detail("the spool cannot write any more"));
            }
        }
        Ok(())
    }

    /// The agency's system will not take these as they are. They go back to the gateway, with all later ones of their dossiers, and
    /// wait there for a person. Durable when this returns.
    ///
    /// # Errors
    /// `FIELD_INVALID`: the reason is no stable word. As for [`Office::acknowledge`]. `EARLIER_EVENTS_MISSING`: refuse it once it
    /// has been delivered again.
    pub(crate) async fn refuse(
        &self,
        party: &PartyId,
        deliveries: &[DeliveryNameJson],
        reason: &str,
    ) -> Result<(), Problem> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !(1..=64).contains(&reason.len()) || !reason.chars().all(is_word) {
            let what = Wrong::new(
                "không phải một từ gồm 1 đến 64 ký tự A-Z a-z 0-9 _ - .",
                "is not a word of 1 to 64 of A-Z a-z 0-9 _ - .",
            );
            return Err(Refusal::new(Reason::FieldInvalid).field("reason", what).into());
        }
        self.check_pending(party, deliveries, |stage| matches!(stage, Stage::TakenOver(_)))?;
        for id in deliveries.iter().map(|name| delivery_id(party, name)) {
            let (spool, reason, name) = (self.spool.clone(), reason.to_owned(), id.clone());
            // To its end, even if the caller goes away: what was begun keeps the dossier's next deliveries out.
            let returned = tokio::spawn(async move { spool.give_back(&name, &reason, true).await }).await;
            if !matches!(returned, Ok(Ok(()))) {
                return Err(Problem::from(Reason::ReadOnly).with_detail("the spool cannot write any more"));
            }
            if matches!(self.spool.stage(&id), Some(Stage::TakenOver(_))) {
                let what = "the gateway was restored and has not delivered this again yet; refuse it then";
                return Err(Problem::from(Reason::EarlierEventsMissing).with_detail(what));
            }
        }
        Ok(())
    }

    /// All are looked at before anything is done about any, so that a refusal means that nothing was.
    fn check_pending(
        &self,
        party: &PartyId,
        deliveries: &[DeliveryNameJson],
        is_fine: impl Fn(Stage) -> bool,
    ) -> Result<(), Problem> {
        let mut unknown = Refusal::new(Reason::DeliveryUnknown);
        for (number, name) in deliveries.iter().enumerate() {
            let id = delivery_id(party, name);
            let stale = |given: &String| *given != self.spool.delivery_name(&id);
            if !self.spool.stage(&id).is_some_and(&is_fine) {
                unknown = unknown.field(
                    format!("deliveries[{number}]"),
                    Wrong::new("không có trong hộp thư đến của cơ quan", "is not in this party's inbox"),
                );
            } else if name.delivery_id.as_ref().is_some_and(stale) {
                let what = Wrong::new(
                    "thuộc sự kiện không còn nữa; hãy lấy sự kiện thay thế",
                    "is of an event that is gone; fetch what took its place",
                );
                unknown = unknown.field(format!("deliveries[{number}].delivery_id"), what);
            }
        }
        if unknown.violations().is_empty() { Ok(()) } else { Err(unknown.into()) }
    }
}

fn delivery_id(party: &PartyId, name: &DeliveryNameJson) -> DeliveryId {
    DeliveryId { party: party.as_str().into(), dossier: name.dossier_code.as_str().into(), sequence: name.sequence }
}
