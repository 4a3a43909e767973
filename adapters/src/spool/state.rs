//! What the spool knows without reading its records: which call or delivery stands where.
//!
//! Every [`Change`] is a record of the journal, seen from the side that matters here. The same [`State::apply`] runs at the
//! start, over the journal, and afterwards for each record once it is durable; so what is known is always what a restart
//! would find. The only things known beforehand are reservations, which keep a place for what is being synced.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lgsp_journal::Position;
use lgsp_proto::spool_v1::BlockLeased;
use lgsp_proto::types::PartyId;

use super::numbers::Numbers;
use super::offline::{Handled, Offline, UnderWay};
use crate::lanes::Lanes;

/// Names a call: keys are scoped to the acting party.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct CallId {
    pub(crate) party: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// Names a delivery.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct DeliveryId {
    pub(crate) party: Arc<str>,
    pub(crate) dossier: Arc<str>,
    pub(crate) sequence: u32,
}

/// Which way a call goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CallKind {
    Submit,
    Record,
}

/// A record of the spool, without what is only read when it is needed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Queued {
        id: CallId,
        kind: CallKind,
        dossier: Option<Arc<str>>,
        body_sha256: [u8; 32],
        /// The documents it names, by digest.
        documents: Arc<[[u8; 32]]>,
        at_ms: i64,
        /// What the citizen was told without a line.
        offline: Option<Arc<Offline>>,
    },
    Answered {
        id: CallId,
        admitted: bool,
        dossier: Option<Arc<str>>,
        /// The authority that an admitted submission went to.
        authority: Option<Arc<str>>,
        at_ms: i64,
    },
    TakenOver {
        id: DeliveryId,
        at_ms: i64,
        fingerprint: u64,
    },
    HandedOver {
        id: DeliveryId,
        at_ms: i64,
        fingerprint: u64,
    },
    Told {
        id: CallId,
    },
    Confirmed {
        id: DeliveryId,
    },
    /// Given back to the gateway, with all later ones of its dossier that are here; `given_back` when the gateway knows.
    Returned {
        id: DeliveryId,
        reason: Arc<str>,
        permanent: bool,
        given_back: bool,
    },
    /// Only meaningful at the start, where it says how far back to read.
    Restated,
    BlockLeased(BlockLeased),
    /// The gateway's books are in this epoch.
    EpochSeen {
        epoch: u32,
    },
    ExceptionHandled {
        id: CallId,
        at_ms: i64,
    },
}

/// A call and how far it has come.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) kind: CallKind,
    pub(crate) body_sha256: [u8; 32],
    pub(crate) at_ms: i64,
    /// The dossier an entry is about, or the one a submission became.
    pub(crate) dossier: Option<Arc<str>>,
    pub(crate) documents: Arc<[[u8; 32]]>,
    pub(crate) progress: Progress,
    /// Where it is queued; [`Position::ORIGIN`] while that is not durable.
    pub(crate) position: Position,
    /// Set for a submission that was taken in without a line.
    pub(crate) offline: Option<Arc<Offline>>,
    /// The offline submission in whose lane it goes, be it itself.
    pub(crate) behind: Option<CallId>,
    /// The authority that a submission went to.
    pub(crate) authority: Option<Arc<str>>,
    /// A clerk has worked off the refusal of an offline submission.
    pub(crate) handled: Option<Handled>,
}

/// How far a call has come.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// Being made durable; nothing was promised yet.
    Reserved,
    /// To be sent, or being sent.
    Waiting {
        sending: bool,
        attempts: u32,
        last_error: Option<Box<str>>,
        /// Set when it was admitted in an earlier epoch and is sent again.
        earlier: Option<Earlier>,
    },
    /// The gateway has answered for good.
    Answered { position: Position, admitted: bool, at_ms: i64, told: Option<Position> },
}

/// The answer that a call got before the gateway's books were restored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier {
    /// Where it is kept.
    pub(crate) position: Position,
    pub(crate) told: Option<Position>,
}

/// Which event stands, or stood, under a delivery's name.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// 0 when that was not kept.
    fingerprint: u64,
    /// Whether another event stood under the name before.
    renamed: bool,
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
}

/// What is carried to the agency's own system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Parcel {
    /// The delivery taken over at this position.
    Delivery(Position),
    /// The outcome of a call.
    Outcome(CallId),
}

/// Everything known.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) calls: HashMap<CallId, Call>,
    /// Calls without an answer, reserved ones included.
    pub(crate) unanswered: usize,
    /// Calls that have an answer of an earlier epoch and are sent again.
    pub(crate) again: usize,
    /// Those of them that are in no lane yet, in the order in which they were admitted.
    not_in_lanes: Vec<CallId>,
    /// The gateway's epoch; 0 while it is not known.
    pub(crate) epoch: u32,
    /// Where its epochs are noted: a replay needs all of them, to know what was answered in which.
    epochs: Vec<Position>,
    events: HashMap<DeliveryId, Known>,
    pub(crate) outgoing: Lanes<CallId>,
    pub(crate) deliveries: HashMap<DeliveryId, Stage>,
    /// Taken over and not handed over, in the order of arrival.
    pub(crate) pending: BTreeMap<Position, Pending>,
    /// Being taken over just now.
    pub(crate) arriving: usize,
    /// What goes back to the gateway, by party and dossier, until the gateway knows.
    pub(crate) returned: HashMap<(Arc<str>, Arc<str>), Returned>,
    /// Handed over, and the gateway does not know it yet.
    pub(crate) unconfirmed: BTreeMap<Position, DeliveryId>,
    /// To which place things are carried for each party; a party without one fetches.
    pushed: HashMap<Box<str>, usize>,
    /// What is to be carried to each place.
    pub(crate) parcels: Vec<Lanes<Parcel>>,
    /// Records that may be read again, and all there are.
    pub(crate) records: u64,
    /// The numbers that may be given out here.
    pub(crate) numbers: Numbers,
    /// Dossiers taken in without a line that the gateway does not have yet.
    pub(crate) under_way: UnderWay,
    /// Offline submissions that the gateway refused, by where the refusal is kept.
    pub(crate) exceptions: BTreeMap<Position, CallId>,
}

impl State {
    /// Nothing known yet. `places` says which party's things are carried where.
    pub(crate) fn new(places: &HashMap<PartyId, usize>) -> Self {
        let count = places.values().max().map_or(0, |last| last + 1);
        Self {
            pushed: places.iter().map(|(party, place)| (party.as_str().into(), *place)).collect(),
            parcels: (0..count).map(|_| Lanes::default()).collect(),
            ..Self::default()
        }
    }

    /// Takes note of a durable record. After an interrupted restatement some come twice, which does no harm.
    /// Says whether it was news.
    pub(crate) fn apply(&mut self, position: Position, change: &Change) -> bool {
        self.records += 1;
        match change {
            Change::Queued { id, kind, dossier, body_sha256, documents, at_ms, offline } => {
                if let Some(offline) = offline {
                    // Whatever becomes of the call, its number was written down.
                    offline.mark_used(&id.party, &mut self.numbers);
                }
                match self.calls.get(id) {
                    Some(Call { progress: Progress::Reserved, .. }) => {}
                    // Written twice by an interrupted restatement.
                    Some(known) if known.is_waiting() || known.at_ms == *at_ms => return false,
                    // An answer whose time was over was forgotten, and then the key came again.
                    None | Some(_) => self.unanswered += 1,
                }
                let behind = match (kind, offline) {
                    (CallKind::Submit, Some(offline)) => Some(self.under_way.begin(id, &offline.names)),
                    (CallKind::Submit, None) => None,
                    (CallKind::Record, _) => dossier.as_ref().and_then(|name| self.under_way.join(name)),
                };
                let call = Call {
                    kind: *kind,
                    body_sha256: *body_sha256,
                    at_ms: *at_ms,
                    dossier: dossier.clone(),
                    documents: documents.clone(),
                    progress: Progress::Waiting { sending: false, attempts: 0, last_error: None, earlier: None },
                    position,
                    authority: offline.as_ref().map(|offline| offline.authority.clone()),
                    offline: offline.clone(),
                    behind,
                    handled: None,
                };
                self.calls.insert(id.clone(), call);
                true
            }
            Change::Answered { id, admitted, dossier, authority, at_ms } => {
                let Some(call) = self.calls.get_mut(id).filter(|call| call.is_waiting()) else { return false };
                let earlier = match &call.progress {
                    Progress::Waiting { earlier, .. } => *earlier,
                    Progress::Reserved | Progress::Answered { .. } => None,
                };
                // Told once that it was admitted, the agency's system hears of it again only if that is no longer so.
                let told = earlier.filter(|_| *admitted).and_then(|earlier| earlier.told);
                call.progress = Progress::Answered { position, admitted: *admitted, at_ms: *at_ms, told };
                call.dossier = dossier.clone().or(call.dossier.take());
                if call.kind == CallKind::Submit {
                    call.authority = authority.clone().or(call.authority.take());
                }
                if call.offline.is_some() && !admitted {
                    self.exceptions.insert(position, id.clone());
                }
                match earlier {
                    Some(_) => self.again -= 1,
                    None => {
                        if let Some(behind) = &call.behind {
                            self.under_way.leave(behind);
                        }
                        self.unanswered -= 1;
                    }
                }
                true
            }
            Change::TakenOver { id, at_ms, fingerprint } => {
                let another = self.is_another(id, *fingerprint);
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
                let renamed = another || self.events.get(id).is_some_and(|known| known.renamed);
                self.events.insert(id.clone(), Known { fingerprint: *fingerprint, renamed });
                self.deliveries.insert(id.clone(), Stage::TakenOver(position));
                self.pending.insert(position, Pending { id: id.clone(), at_ms: *at_ms });
                true
            }
            Change::HandedOver { id, at_ms, fingerprint } => {
                self.events.entry(id.clone()).or_insert(Known { fingerprint: *fingerprint, renamed: false });
                match self.deliveries.get(id) {
                    Some(Stage::HandedOver { .. }) => return false,
                    Some(Stage::TakenOver(taken_over)) => {
                        self.pending.remove(taken_over);
                    }
                    Some(Stage::Reserved) | None => {}
                }
                self.deliveries.insert(id.clone(), Stage::HandedOver { position, at_ms: *at_ms, confirmed: None });
                self.unconfirmed.insert(position, id.clone());
                true
            }
            Change::Told { id } => match self.calls.get_mut(id).map(|call| &mut call.progress) {
                Some(
                    Progress::Answered { told, .. } | Progress::Waiting { earlier: Some(Earlier { told, .. }), .. },
                ) => told.replace(position).is_none(),
                _ => false,
            },
            Change::Confirmed { id } => {
                let Some(Stage::HandedOver { position: handed_over, confirmed, .. }) = self.deliveries.get_mut(id)
                else {
                    return false;
                };
                self.unconfirmed.remove(handed_over);
                confirmed.replace(position).is_none()
            }
            Change::Returned { id, reason, permanent, given_back: false } => {
                let of_dossier = (id.party.clone(), id.dossier.clone());
                if self.returned.get(&of_dossier).is_some_and(|known| known.position != Position::ORIGIN) {
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
                self.returned.insert(of_dossier, Returned { id, position, reason, permanent: *permanent });
                true
            }
            Change::Returned { id, given_back: true, .. } => {
                self.returned.remove(&(id.party.clone(), id.dossier.clone())).is_some()
            }
            Change::Restated => false,
            Change::BlockLeased(leased) => self.numbers.leased(leased),
            Change::EpochSeen { epoch } => {
                self.numbers.seen_epoch(*epoch);
                if *epoch <= self.epoch {
                    return false;
                }
                self.epochs.push(position);
                // The first one seen says nothing about what was before it.
                if std::mem::replace(&mut self.epoch, *epoch) != 0 {
                    self.send_again();
                }
                true
            }
            Change::ExceptionHandled { id, at_ms } => {
                let Some(call) = self.calls.get_mut(id).filter(|call| call.is_exception()) else { return false };
                call.handled.replace(Handled { position, at_ms: *at_ms }).is_none()
            }
        }
    }

    /// Keeps everything later of a dossier from being taken over while a delivery of it is given back. False when it is not
    /// here to be given back, or that has begun already.
    pub(crate) fn begin_returning(&mut self, id: &DeliveryId, reason: &Arc<str>, permanent: bool) -> bool {
        let of_dossier = (id.party.clone(), id.dossier.clone());
        if !matches!(self.deliveries.get(id), Some(Stage::TakenOver(_))) || self.returned.contains_key(&of_dossier) {
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

    /// Whatever was admitted is to be sent again: the gateway may have lost it.
    fn send_again(&mut self) {
        let mut again = Vec::new();
        for (id, call) in &mut self.calls {
            if let Progress::Answered { position, admitted: true, told, .. } = call.progress {
                let earlier = Some(Earlier { position, told });
                call.progress = Progress::Waiting { sending: false, attempts: 0, last_error: None, earlier };
                // What was taken in without a line has a code by now, and goes in the lane of its dossier.
                call.behind = None;
                again.push((position, id.clone()));
            }
        }
        self.again += again.len();
        again.sort_unstable_by_key(|(position, _)| *position);
        self.not_in_lanes.extend(again.into_iter().map(|(_, id)| id));
    }

    /// Whether another event than the one known stands under a delivery's name.
    pub(crate) fn is_another(&self, id: &DeliveryId, fingerprint: u64) -> bool {
        self.events.get(id).is_some_and(|known| known.fingerprint != 0 && known.fingerprint != fingerprint)
    }

    /// Which event stands under a delivery's name; 0 when that is not known.
    pub(crate) fn fingerprint(&self, id: &DeliveryId) -> u64 {
        self.events.get(id).map_or(0, |known| known.fingerprint)
    }

    /// What tells a delivery from another one of its name; empty as long as there was none.
    pub(crate) fn suffix(&self, id: &DeliveryId) -> String {
        match self.events.get(id) {
            Some(Known { fingerprint, renamed: true }) => format!("~{fingerprint:016x}"),
            _ => String::new(),
        }
    }

    /// Whether something about a dossier was delivered here, or admitted from here. By its code, or by a name that was told
    /// without a line.
    pub(crate) fn knows_dossier(&self, name: &str) -> bool {
        let goes_by = |call: &Call| {
            let told = call.offline.as_ref().is_some_and(|offline| offline.names.iter().any(|one| &**one == name));
            told || call.dossier.as_deref() == Some(name)
        };
        self.deliveries.keys().any(|id| &*id.dossier == name)
            || self.calls.values().any(|call| call.was_admitted() && goes_by(call))
    }

    /// Keeps a place for a call that is being made durable.
    pub(crate) fn reserve_call(&mut self, id: &CallId, kind: CallKind, body_sha256: [u8; 32]) {
        let progress = Progress::Reserved;
        let (documents, position) = (Arc::default(), Position::ORIGIN);
        let call = Call {
            kind,
            body_sha256,
            at_ms: 0,
            dossier: None,
            documents,
            progress,
            position,
            offline: None,
            behind: None,
            authority: None,
            handled: None,
        };
        self.calls.insert(id.clone(), call);
        self.unanswered += 1;
    }

    /// Gives the place back if the call did not become durable.
    pub(crate) fn release_call(&mut self, id: &CallId) {
        if self.calls.get(id).is_some_and(|call| matches!(call.progress, Progress::Reserved)) {
            self.calls.remove(id);
            self.unanswered -= 1;
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

    /// Puts what a change brings into its lane. Not part of [`State::apply`]: at the start lanes are filled once, at the end.
    pub(crate) fn enqueue(&mut self, position: Position, change: &Change) {
        match change {
            Change::Queued { id, .. } => {
                let lane = self.calls.get(id).map(|call| outgoing_lane(id, call));
                if let Some(lane) = lane {
                    self.outgoing.push(&lane, id.clone());
                }
            }
            Change::Answered { id, .. } => {
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
            | Change::Returned { .. }
            | Change::BlockLeased(_)
            | Change::ExceptionHandled { .. }
            | Change::Restated => {}
        }
    }

    /// Fills the lanes after the start with all that is unfinished, in the order in which it came.
    pub(crate) fn enqueue_all(&mut self) {
        let mut waiting: Vec<_> = self.calls.iter().filter(|(_, call)| call.is_waiting()).collect();
        // What is sent again goes before all that is new, in the order in which it was admitted.
        waiting.sort_unstable_by_key(|(_, call)| match &call.progress {
            Progress::Waiting { earlier: Some(earlier), .. } => (0, earlier.position),
            _ => (1, call.position),
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

    /// The documents of what was admitted, in the order of the answers.
    pub(crate) fn admitted_documents(&self) -> Vec<(Arc<str>, [u8; 32])> {
        let mut admitted: Vec<_> = self.calls.iter().filter(|(_, call)| call.was_admitted()).collect();
        admitted.sort_unstable_by_key(|(_, call)| match &call.progress {
            Progress::Answered { position, .. } => *position,
            _ => call.position,
        });
        let named = |(id, call): (&CallId, &Call)| {
            call.documents.iter().map(|sha256| (id.party.clone(), *sha256)).collect::<Vec<_>>()
        };
        admitted.into_iter().flat_map(named).collect()
    }

    /// Whether a call without an answer names this document of its party.
    pub(crate) fn names_document(&self, party: &str, sha256: &[u8; 32]) -> bool {
        let mut waiting = self.calls.iter().filter(|(id, call)| call.is_waiting() && &*id.party == party);
        waiting.any(|(_, call)| call.documents.contains(sha256))
    }

    /// The records that a restart still needs, in order.
    pub(crate) fn needed(&self, forget_before_ms: i64) -> Vec<Position> {
        let mut needed = Vec::new();
        for (id, call) in &self.calls {
            if self.is_forgettable(id, call, forget_before_ms) {
                continue;
            }
            needed.push(call.position);
            match &call.progress {
                Progress::Answered { position, told, .. }
                | Progress::Waiting { earlier: Some(Earlier { position, told }), .. } => {
                    needed.push(*position);
                    needed.extend(told);
                    needed.extend(call.handled.map(|handled| handled.position));
                }
                Progress::Reserved | Progress::Waiting { earlier: None, .. } => {}
            }
        }
        needed.extend(&self.epochs);
        needed.extend(self.pending.keys());
        needed.extend(self.returned.values().map(|returned| returned.position));
        for stage in self.deliveries.values() {
            if let Stage::HandedOver { position, confirmed, .. } = stage
                && !stage.is_forgettable(forget_before_ms)
            {
                needed.push(*position);
                needed.extend(confirmed);
            }
        }
        needed.sort_unstable();
        needed
    }

    /// Forgets what was finished before a time.
    pub(crate) fn forget(&mut self, before_ms: i64) {
        let pushed = std::mem::take(&mut self.pushed);
        self.calls.retain(|id, call| !is_forgettable(&pushed, id, call, before_ms));
        self.exceptions.retain(|_, id| self.calls.contains_key(id));
        self.pushed = pushed;
        self.deliveries.retain(|_, stage| !stage.is_forgettable(before_ms));
        self.events.retain(|id, _| self.deliveries.contains_key(id));
    }

    /// When the oldest call without an answer was queued.
    pub(crate) fn oldest_unanswered_ms(&self) -> Option<i64> {
        self.calls.values().filter(|call| call.is_waiting()).map(|call| call.at_ms).min()
    }

    fn carry_delivery(&mut self, position: Position, id: &DeliveryId) {
        if let Some(place) = self.pushed.get(&*id.party) {
            let lane = parcel_lane(&id.party, Some(&id.dossier), "");
            self.parcels[*place].push(&lane, Parcel::Delivery(position));
        }
    }

    fn carry_outcome(&mut self, id: &CallId) {
        let Some(call) = self.calls.get(id) else { return };
        if let Some(place) = self.pushed.get(&*id.party) {
            let lane = parcel_lane(&id.party, call.dossier.as_ref(), &id.key);
            self.parcels[*place].push(&lane, Parcel::Outcome(id.clone()));
        }
    }

    fn is_forgettable(&self, id: &CallId, call: &Call, before_ms: i64) -> bool {
        is_forgettable(&self.pushed, id, call, before_ms)
    }
}

impl Call {
    /// Whether the gateway has admitted it, in this epoch or in an earlier one.
    fn was_admitted(&self) -> bool {
        matches!(self.progress, Progress::Answered { admitted: true, .. } | Progress::Waiting { earlier: Some(_), .. })
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Waiting { .. })
    }

    /// Whether a number was given out for it and the gateway refused it.
    pub(crate) fn is_exception(&self) -> bool {
        self.offline.is_some() && matches!(self.progress, Progress::Answered { admitted: false, .. })
    }
}

impl Stage {
    fn is_forgettable(&self, before_ms: i64) -> bool {
        matches!(self, Self::HandedOver { at_ms, confirmed: Some(_), .. } if *at_ms < before_ms)
    }
}

/// An outcome is kept for its time, and until the agency's own system was told where it is to be told. A number given out
/// in vain is kept until a clerk has worked it off, and for its time after that.
fn is_forgettable(pushed: &HashMap<Box<str>, usize>, id: &CallId, call: &Call, before_ms: i64) -> bool {
    if call.is_exception() && call.handled.is_none_or(|handled| handled.at_ms >= before_ms) {
        return false;
    }
    match call.progress {
        Progress::Answered { at_ms, told, .. } => {
            at_ms < before_ms && (told.is_some() || !pushed.contains_key(&*id.party))
        }
        Progress::Reserved | Progress::Waiting { .. } => false,
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
