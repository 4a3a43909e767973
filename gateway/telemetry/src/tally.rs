//! How often each of a closed set of words was counted since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module. Each word is there from the start, as 0: a rate over a series that appears with its first event misses that event.
#[derive(Debug)]
pub struct Tally(Box<[(&'static str, AtomicU64)]>);

impl Tally {
    /// A tally of these words.
    pub fn of(words: impl IntoIterator<Item = &'static str>) -> Self {
        Self(words.into_iter().map(|word| (word, AtomicU64::new(0))).collect())
    }

    /// Counts one more. A word that is not of the set is not counted: the set is what the documents say.
    pub fn count(&self, word: &str) {
        let counted = self.0.iter().find(|(known, _)| *known == word);
        debug_assert!(counted.is_some(), "{word} is not of the set");
        if let Some((_, times)) = counted {
            times.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The words and how often each was counted.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(word, times)| (*word, times.load(Ordering::Relaxed)))
    }
}
