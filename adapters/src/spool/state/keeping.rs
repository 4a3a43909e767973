//! What a restart still needs, and what may be forgotten.

use std::collections::HashMap;

use lgsp_journal::Position;

use super::{Call, CallId, Earlier, Progress, Stage, State};

impl State {
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
                | Progress::Waiting { earlier: Some(Earlier { position, told, .. }), .. } => {
                    needed.push(*position);
                    needed.extend(told);
                    needed.extend(call.handled.map(|handled| handled.position));
                }
                Progress::Reserved | Progress::Waiting { earlier: None, .. } => {}
            }
        }
        needed.extend(&self.epochs);
        needed.extend(self.pending.keys());
        needed.extend(self.pending.values().filter_map(|pending| pending.served_anew));
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
        // Where the books were restored counts for all that it settled.
        needed.dedup();
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

    fn is_forgettable(&self, id: &CallId, call: &Call, before_ms: i64) -> bool {
        is_forgettable(&self.pushed, id, call, before_ms)
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
