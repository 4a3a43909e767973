//! What the spool knows without reading its records: which call or delivery stands where.
//!
//! Every [`Change`] is a record of the journal, seen from the side that matters here. The same [`State::apply`] runs at the
//! start, over the journal, and afterwards for each record once it is durable; so what is known is always what a restart
//! would find. The only things known beforehand are reservations, which keep a place for what is being synced.

mod calls;
mod deliveries;
mod keeping;
mod lanes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lgsp_journal::Position;
use lgsp_proto::spool_v1::BlockLeased;
use lgsp_proto::types::PartyId;

use super::numbers::Numbers;
use super::offline::UnderWay;
use crate::lanes::Lanes;
pub(crate) use calls::{Answered, Call, CallId, CallKind, Earlier, Progress, Queued, SentBefore};
pub(crate) use deliveries::{DeliveryId, Known, Pending, Returned, Stage};
pub(crate) use lanes::Parcel;

/// A record of the spool, without what is only read when it is needed.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Queued(Queued),
    Answered(Answered),
    TakenOver {
        id: DeliveryId,
        at_ms: i64,
        known: Known,
    },
    HandedOver {
        id: DeliveryId,
        at_ms: i64,
        known: Known,
        untold: bool,
    },
    ServedAnew {
        id: DeliveryId,
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

/// Everything known.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) calls: HashMap<CallId, Call>,
    /// Calls without an answer, reserved ones included.
    pub(crate) unanswered: usize,
    /// Calls that have an answer of an earlier epoch and are sent again.
    pub(crate) again: usize,
    /// How many of them are about each dossier.
    again_about: HashMap<Arc<str>, usize>,
    /// Those of them that are in no lane yet, in the order in which they were admitted.
    not_in_lanes: Vec<CallId>,
    /// The documents that waiting calls name, and how often each is named.
    wanted: HashMap<(Arc<str>, [u8; 32]), usize>,
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
            Change::Queued(queued) => self.queued(position, queued),
            Change::Answered(answered) => self.answered(position, answered),
            Change::TakenOver { id, at_ms, known } => self.taken_over(position, id, *at_ms, *known),
            Change::HandedOver { id, at_ms, known, untold } => self.handed_over(position, id, *at_ms, *known, *untold),
            Change::ServedAnew { id } => self.served_anew(position, id),
            Change::Told { id } => self.told(position, id),
            Change::Confirmed { id } => self.confirmed(position, id),
            Change::Returned { id, reason, permanent, given_back: false } => {
                self.returns(position, id, reason, *permanent)
            }
            Change::Returned { id, given_back: true, .. } => self.given_back(id),
            Change::Restated => false,
            Change::BlockLeased(leased) => self.numbers.leased(leased),
            Change::EpochSeen { epoch } => self.epoch_seen(position, *epoch),
            Change::ExceptionHandled { id, at_ms } => self.exception_handled(position, id, *at_ms),
        }
    }

    fn epoch_seen(&mut self, position: Position, epoch: u32) -> bool {
        self.numbers.seen_epoch(epoch);
        if epoch <= self.epoch {
            return false;
        }
        self.epochs.push(position);
        let before = std::mem::replace(&mut self.epoch, epoch);
        // Before the first one was seen something may have been admitted in an earlier one.
        if epoch > 1 {
            self.send_again();
        }
        if before != 0 {
            self.owed_anew(position);
        }
        true
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
}
