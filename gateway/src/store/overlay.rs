//! What is committed but not yet in the index on disk, and reading through both.
//!
//! The committer puts a record's changes here before anyone is answered; the follower takes them out once the index below
//! holds them. Invariant: at every moment each change is in the overlay, in the index below, or in both, so a reader that
//! asks the overlay *first* misses nothing that was there when it began.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use super::{ReadError, keys};

/// One write to the index: a value, or its removal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Change {
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

/// Looks up single keys; all that the projection needs.
pub(super) trait Read {
    /// The value under `key`.
    ///
    /// # Errors
    /// The index could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;
}

/// An ordered index that can be read.
pub(super) trait Base: Read {
    /// The first `limit` entries from `from` on, before `to`.
    ///
    /// # Errors
    /// The index could not be read.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Entries, ReadError>;
}

/// Keys and values in the order of the keys.
pub(super) type Entries = Vec<(Bytes, Bytes)>;

/// Changes on their way to the index, the newest one per key.
#[derive(Debug, Default)]
pub(super) struct Overlay(RwLock<BTreeMap<Bytes, Slot>>);

#[derive(Debug)]
struct Slot {
    /// The step that made the change; a later step may have replaced it by the time an earlier one is retired.
    step: u64,
    value: Option<Bytes>,
}

impl Overlay {
    /// Makes all `steps`, numbered from `first`, visible at once.
    pub(super) fn apply(&self, first: u64, steps: &[Vec<Change>]) {
        let mut slots = self.write();
        for (step, changes) in (first..).zip(steps) {
            for Change { key, value } in changes {
                slots.insert(key.clone(), Slot { step, value: value.clone() });
            }
        }
    }

    /// Forgets `changes` of steps up to `step`, which the index below holds by now, unless a later step changed them again.
    pub(super) fn retire<'a>(&self, changes: impl IntoIterator<Item = &'a Change>, step: u64) {
        let mut slots = self.write();
        for change in changes {
            if slots.get(&change.key).is_some_and(|slot| slot.step <= step) {
                slots.remove(&change.key);
            }
        }
    }

    /// What is known here about `key`: nothing, that it was removed, or its value.
    fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.read().get(key).map(|slot| slot.value.clone())
    }

    /// Everything known here from `from` on, before `to`, as far as the first `limit` values.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> BTreeMap<Bytes, Option<Bytes>> {
        let slots = self.read();
        let mut known = BTreeMap::new();
        let mut values = 0;
        for (key, slot) in slots.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if values == limit {
                break;
            }
            values += usize::from(slot.value.is_some());
            known.insert(key.clone(), slot.value.clone());
        }
        known
    }

    /// Whether the index below has everything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// How many keys are on their way.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.read().len()
    }

    // Nothing panics while it holds the lock, and every single insertion leaves the map whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Bytes, Slot>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Bytes, Slot>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The overlay over an index: what every read and every decision sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a, B> {
    pub(super) overlay: &'a Overlay,
    pub(super) base: &'a B,
}

impl<B: Base> Read for View<'_, B> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.overlay.get(key) {
            Some(known) => Ok(known),
            None => self.base.get(key),
        }
    }
}

impl<B: Base> Base for View<'_, B> {
    /// Sees every change that was there before the call; of those made meanwhile, any.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Entries, ReadError> {
        if from >= to || limit == 0 {
            return Ok(Vec::new());
        }
        // With that many values from here, no page reaches beyond them, whatever else is there.
        let mut known = self.overlay.range(from, to, limit);
        let mut from = from.to_vec();
        let mut page = Entries::new();
        loop {
            let below = self.base.range(&from, to, limit)?;
            let next = below.last().filter(|_| below.len() == limit).map(|(last, _)| keys::after(last.to_vec()));
            let later = known.split_off(next.as_deref().unwrap_or(to));
            let mut slice: BTreeMap<Bytes, Option<Bytes>> =
                below.into_iter().map(|(key, value)| (key, Some(value))).collect();
            slice.append(&mut known);
            page.extend(slice.into_iter().filter_map(|(key, value)| Some((key, value?))));
            known = later;
            match next {
                // Removals can swallow any number of entries from below, so one slice need not fill the page.
                Some(next) if page.len() < limit => from = next,
                _ => break,
            }
        }
        page.truncate(limit);
        Ok(page)
    }
}

/// An index in memory, for `fsck` and for models in tests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Memory(pub(super) BTreeMap<Bytes, Bytes>);

impl Memory {
    pub(super) fn apply(&mut self, changes: impl IntoIterator<Item = Change>) {
        for Change { key, value } in changes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl Read for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.0.get(key).cloned())
    }
}

impl Base for Memory {
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Entries, ReadError> {
        if from >= to {
            return Ok(Entries::new());
        }
        let range = self.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Move {
        /// The committer applies one step.
        Commit(Vec<(u8, Option<u8>)>),
        /// The follower writes and retires the oldest steps it has.
        Follow(usize),
        /// A reader asks for a range.
        Range(u8, u8, usize),
        /// A reader asks for a key.
        Get(u8),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let change = (0u8..24, prop::option::weighted(0.6, any::<u8>()));
        let one = prop_oneof![
            4 => prop::collection::vec(change, 1..5).prop_map(Move::Commit),
            2 => (1usize..4).prop_map(Move::Follow),
            4 => (0u8..26, 0u8..26, 1usize..8).prop_map(|(from, to, limit)| Move::Range(from, to, limit)),
            2 => (0u8..24).prop_map(Move::Get),
        ];
        prop::collection::vec(one, 1..80)
    }

    fn byte(byte: u8) -> Bytes {
        Bytes::copy_from_slice(&[byte])
    }

    proptest! {
        /// Whatever has been written through and whatever has not, a reader sees exactly the model.
        #[test]
        fn the_overlay_over_an_index_reads_like_one_map(moves in moves()) {
            let (overlay, mut base, mut model) = (Overlay::default(), Memory::default(), Memory::default());
            let mut steps: std::collections::VecDeque<(u64, Vec<Change>)> = Default::default();
            let mut number = 0;
            for one in moves {
                match one {
                    Move::Commit(changes) => {
                        let mut step: Vec<Change> = Vec::new();
                        for (key, value) in changes {
                            step.retain(|change| change.key != byte(key));
                            step.push(Change { key: byte(key), value: value.map(byte) });
                        }
                        number += 1;
                        overlay.apply(number, std::slice::from_ref(&step));
                        model.apply(step.clone());
                        steps.push_back((number, step));
                    }
                    Move::Follow(count) => {
                        let batch: Vec<_> = steps.drain(..count.min(steps.len())).collect();
                        for (_, step) in &batch {
                            base.apply(step.clone());
                        }
                        if let Some((last, _)) = batch.last() {
                            overlay.retire(batch.iter().flat_map(|(_, step)| step), *last);
                        }
                    }
                    Move::Range(from, to, limit) => {
                        let view = View { overlay: &overlay, base: &base };
                        prop_assert_eq!(
                            view.range(&[from], &[to], limit).unwrap(),
                            model.range(&[from], &[to], limit).unwrap()
                        );
                    }
                    Move::Get(key) => {
                        let view = View { overlay: &overlay, base: &base };
                        prop_assert_eq!(view.get(&[key]).unwrap(), model.get(&[key]).unwrap());
                    }
                }
            }
            let last = number;
            for (_, step) in &steps {
                base.apply(step.clone());
            }
            overlay.retire(steps.iter().flat_map(|(_, step)| step), last);
            prop_assert_eq!(&base, &model);
            prop_assert!(overlay.is_empty());
        }
    }
}
