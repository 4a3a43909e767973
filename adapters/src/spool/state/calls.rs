//! Calls, and how far each has come: reserved, waiting, answered, told.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use lgsp_journal::Position;
use lgsp_proto::types::DossierCode;

use super::State;
use crate::spool::offline::{Handled, Offline};

/// Names a call: keys are scoped to the acting party.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct CallId {
    pub(crate) party: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// Which way a call goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CallKind {
    Submit,
    Record,
}

/// A call was taken in.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    pub(crate) id: CallId,
    pub(crate) kind: CallKind,
    pub(crate) dossier: Option<Arc<str>>,
    pub(crate) body_sha256: [u8; 32],
    /// The documents it names, by digest.
    pub(crate) documents: Arc<[[u8; 32]]>,
    pub(crate) at_ms: i64,
    /// What the citizen was told without a line.
    pub(crate) offline: Option<Arc<Offline>>,
}

/// The gateway has answered a call for good.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) id: CallId,
    pub(crate) admitted: bool,
    pub(crate) dossier: Option<Arc<str>>,
    /// The number of the event, if it was admitted.
    pub(crate) sequence: u32,
    /// The authority that an admitted submission went to.
    pub(crate) authority: Option<Arc<str>>,
    pub(crate) at_ms: i64,
}

/// A call and how far it has come.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) kind: CallKind,
    pub(crate) body_sha256: [u8; 32],
    pub(crate) at_ms: i64,
    /// The dossier an entry is about, or the one a submission became.
    pub(crate) dossier: Option<Arc<str>>,
    /// The number of the event that it became; 0 as long as it has not.
    pub(crate) sequence: u32,
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

/// What is sent again, and an entry that is new has to wait for: it would take the number of an event that has a receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SentBefore {
    /// Nothing about its dossier.
    Nothing,
    /// Something, of which nobody here knows whether it is about its dossier: an alias may be anybody's.
    Perhaps,
    /// Something about its dossier.
    Something,
}

/// The answer that a call got before the gateway's books were restored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier {
    /// Where it is kept.
    pub(crate) position: Position,
    pub(crate) at_ms: i64,
    pub(crate) told: Option<Position>,
}

impl State {
    pub(super) fn queued(&mut self, position: Position, queued: &Queued) -> bool {
        let Queued { id, kind, dossier, body_sha256, documents, at_ms, offline } = queued;
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
            sequence: 0,
            documents: documents.clone(),
            progress: Progress::Waiting { sending: false, attempts: 0, last_error: None, earlier: None },
            position,
            authority: offline.as_ref().map(|offline| offline.authority.clone()),
            offline: offline.clone(),
            behind,
            handled: None,
        };
        self.calls.insert(id.clone(), call);
        self.wants(id, documents);
        true
    }

    /// A call that waits names these documents.
    fn wants(&mut self, id: &CallId, documents: &[[u8; 32]]) {
        for sha256 in documents {
            *self.wanted.entry((id.party.clone(), *sha256)).or_default() += 1;
        }
    }

    /// A call that named these documents waits no longer.
    fn wants_no_more(&mut self, id: &CallId, documents: &[[u8; 32]]) {
        for sha256 in documents {
            if let Entry::Occupied(mut calls) = self.wanted.entry((id.party.clone(), *sha256)) {
                *calls.get_mut() -= 1;
                if *calls.get() == 0 {
                    calls.remove();
                }
            }
        }
    }

    pub(super) fn answered(&mut self, position: Position, answered: &Answered) -> bool {
        let Answered { id, admitted, dossier, sequence, authority, at_ms } = answered;
        let Some(call) = self.calls.get_mut(id).filter(|call| call.is_waiting()) else { return false };
        let earlier = match &call.progress {
            // The earlier answer itself, written twice by an interrupted restatement.
            Progress::Waiting { earlier: Some(earlier), .. } if earlier.at_ms == *at_ms => return false,
            Progress::Waiting { earlier, .. } => *earlier,
            Progress::Reserved | Progress::Answered { .. } => None,
        };
        // Told once that it was admitted, the agency's system hears of it again only if that is no longer so.
        let told = earlier.filter(|_| *admitted).and_then(|earlier| earlier.told);
        call.progress = Progress::Answered { position, admitted: *admitted, at_ms: *at_ms, told };
        let was_about = call.dossier.clone();
        call.dossier = dossier.clone().or(call.dossier.take());
        call.sequence = *sequence;
        if call.kind == CallKind::Submit {
            call.authority = authority.clone().or(call.authority.take());
        }
        if call.offline.is_some() && !admitted {
            self.exceptions.insert(position, id.clone());
        }
        match earlier {
            Some(_) => {
                self.again -= 1;
                if let Some(Entry::Occupied(mut left)) = was_about.map(|dossier| self.again_about.entry(dossier)) {
                    *left.get_mut() -= 1;
                    if *left.get() == 0 {
                        left.remove();
                    }
                }
                if self.again == 0 {
                    self.outgoing.hurry();
                }
            }
            None => {
                if let Some(behind) = &call.behind {
                    self.under_way.leave(behind);
                }
                self.unanswered -= 1;
            }
        }
        let documents = call.documents.clone();
        self.wants_no_more(id, &documents);
        true
    }

    /// The agency's own system was told of an outcome.
    pub(super) fn told(&mut self, position: Position, id: &CallId) -> bool {
        match self.calls.get_mut(id).map(|call| &mut call.progress) {
            Some(Progress::Answered { told, .. } | Progress::Waiting { earlier: Some(Earlier { told, .. }), .. }) => {
                told.replace(position).is_none()
            }
            _ => false,
        }
    }

    /// A clerk has worked off the refusal of an offline submission.
    pub(super) fn exception_handled(&mut self, position: Position, id: &CallId, at_ms: i64) -> bool {
        let Some(call) = self.calls.get_mut(id).filter(|call| call.is_exception()) else { return false };
        call.handled.replace(Handled { position, at_ms }).is_none()
    }

    /// Whatever was admitted is to be sent again: the gateway may have lost it.
    pub(super) fn send_again(&mut self) {
        let mut again = Vec::new();
        for (id, call) in &mut self.calls {
            if let Progress::Answered { position, admitted: true, at_ms, told } = call.progress {
                let earlier = Some(Earlier { position, at_ms, told });
                call.progress = Progress::Waiting { sending: false, attempts: 0, last_error: None, earlier };
                // What was taken in without a line has a code by now, and goes in the lane of its dossier.
                call.behind = None;
                if let Some(dossier) = &call.dossier {
                    *self.again_about.entry(dossier.clone()).or_default() += 1;
                }
                // In the order of a dossier's events, which is not always that of the answers: an entry may have been answered
                // at once, and the submission at the second try.
                again.push(((call.sequence, position), id.clone(), call.documents.clone()));
            }
        }
        for (_, id, documents) in &again {
            self.wants(id, documents);
        }
        self.again += again.len();
        again.sort_unstable_by_key(|(order, ..)| *order);
        self.not_in_lanes.extend(again.into_iter().map(|(_, id, _)| id));
    }

    /// What is sent again before a new entry about a dossier of this name. Lanes see to that only among what goes by the same
    /// name.
    pub(crate) fn sent_before(&self, name: &Arc<str>) -> SentBefore {
        if self.again == 0 {
            return SentBefore::Nothing;
        }
        if self.again_about.contains_key(name) {
            return SentBefore::Something;
        }
        if name.parse::<DossierCode>().is_ok() {
            return SentBefore::Nothing;
        }
        let goes_by = |call: &&Call| {
            call.offline.as_ref().is_some_and(|offline| offline.names.contains(name)) && call.was_admitted()
        };
        match self.calls.values().find(goes_by).and_then(|call| call.dossier.as_ref()) {
            Some(code) if self.again_about.contains_key(code) => SentBefore::Something,
            Some(_) => SentBefore::Nothing,
            None => SentBefore::Perhaps,
        }
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
            sequence: 0,
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
        self.wanted.contains_key(&(party.into(), *sha256))
    }

    /// Whether a call names this document of its party that is to be sent, or would be sent again to a gateway that was restored.
    pub(crate) fn may_send_document(&self, party: &str, sha256: &[u8; 32]) -> bool {
        let may_send = |(id, call): (&CallId, &Call)| {
            &*id.party == party && call.was_admitted() && call.documents.contains(sha256)
        };
        self.names_document(party, sha256) || self.calls.iter().any(may_send)
    }

    /// When the oldest call without an answer was queued.
    pub(crate) fn oldest_unanswered_ms(&self) -> Option<i64> {
        self.calls.values().filter(|call| call.is_waiting()).map(|call| call.at_ms).min()
    }
}

impl Call {
    /// Whether the gateway has admitted it, in this epoch or in an earlier one.
    pub(crate) fn was_admitted(&self) -> bool {
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
