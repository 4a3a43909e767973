//! How long to wait before trying again: twice as long each time, up to a limit, with jitter.

use std::time::Duration;

use crate::digest::random;

/// Limits between which the waits grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait of all.
    pub limit: Duration,
}

impl Backoff {
    /// The wait after this many failures in a row: between half of what the doubling gives and all of it, at random, so
    /// that what failed together does not come back together.
    pub fn delay(&self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.limit);
        let fraction = f64::from(u32::from_le_bytes(random())) / f64::from(u32::MAX);
        doubled.mul_f64(0.5 + fraction / 2.0)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), limit: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_differ() {
        let backoff = Backoff { first: Duration::from_millis(100), limit: Duration::from_secs(5) };
        for (failures, most) in [(1, 100), (2, 200), (3, 400), (6, 3200), (7, 5000), (60, 5000), (u32::MAX, 5000)] {
            let most = Duration::from_millis(most);
            for _ in 0..100 {
                let delay = backoff.delay(failures);
                assert!(delay >= most / 2 && delay <= most, "{failures} failures: {delay:?}");
            }
        }
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| backoff.delay(5)).collect();
        assert!(waits.len() > 1);
    }
}
