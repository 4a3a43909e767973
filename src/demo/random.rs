//! Chance with a seed: the same seed gives the same day on every machine.
//!
//! SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): enough for a scenario, no good for secrets.

/// A stream of draws.
pub(super) struct Draw(u64);

impl Draw {
    /// The stream of a seed and a number: streams of different numbers have nothing to do with each other, so that one
    /// dossier's course does not depend on how much another one drew.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0. The bias of the remainder is far below anything a scenario shows.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1).unsigned_abs()) as i64
    }

    /// A fraction from 0 to 1.
    pub(super) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True in that share of all cases.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.fraction() < share
    }

    /// One of `items`, which are not empty.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// One of `items`, each as often as its weight says; not all weights are 0.
    pub(super) fn weighted<'a, T>(&mut self, items: &'a [(T, u32)]) -> &'a T {
        let total: u64 = items.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut left = self.next() % total;
        for (item, weight) in items {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return item,
            }
        }
        unreachable!("the draw is below the sum of the weights")
    }

    /// Puts `items` into any order (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Takes `count` of `pool`, or all there are, out of it.
    pub(super) fn take(&mut self, pool: &mut Vec<usize>, count: usize) -> Vec<usize> {
        self.shuffle(pool);
        pool.split_off(pool.len().saturating_sub(count))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_and_another_seed_others() {
        let draws = |seed| {
            let mut draw = Draw::new(seed, 7);
            (0..5).map(|_| draw.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn weights_are_kept() {
        let mut draw = Draw::new(1, 1);
        let items = [("never", 0), ("seldom", 1), ("often", 9)];
        let often = (0..10_000).filter(|_| *draw.weighted(&items) == "often").count();
        assert!((8_800..9_200).contains(&often), "{often}");
        assert!((0..1_000).all(|_| *draw.weighted(&items) != "never"));
    }

    #[test]
    fn what_is_taken_is_no_longer_in_the_pool() {
        let mut pool: Vec<usize> = (0..10).collect();
        let taken = Draw::new(3, 0).take(&mut pool, 4);
        assert_eq!((taken.len(), pool.len()), (4, 6));
        assert!(taken.iter().all(|one| !pool.contains(one)));
        assert_eq!(Draw::new(3, 0).take(&mut pool, 40).len(), 6);
    }
}
