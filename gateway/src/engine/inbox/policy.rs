//! How long things rest before they are tried again, and how often.

use std::time::Duration;

/// What an operator may set about deliveries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// How long a delivery may be under way before it is delivered again.
    pub lease: Duration,
    /// How long a declined delivery rests at first, and always when its receiver was only busy.
    pub pause: Duration,
    /// The longest it rests, however often it has failed.
    pub pause_max: Duration,
    /// After so many failures its dossier is parked for the party.
    pub attempts: u32,
}

impl Policy {
    /// How long a delivery rests that has failed so often: twice as long each time up to the limit, of which `jitter` (0 to 1)
    /// leaves between a half and all, so that what failed together does not come back together.
    pub fn rest(&self, failures: u32, jitter: f64) -> Duration {
        let doubled = self.pause.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.pause_max);
        doubled.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            pause: Duration::from_secs(5),
            pause_max: Duration::from_secs(600),
            attempts: 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_the_limit_and_keep_between_their_half_and_their_whole() {
        let policy = Policy::default();
        for (failures, most) in [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (60, 600), (u32::MAX, 600)] {
            let most = Duration::from_secs(most);
            assert_eq!(policy.rest(failures, 1.0), most, "{failures} failures");
            assert_eq!(policy.rest(failures, 0.0), most / 2, "{failures} failures");
            let between = policy.rest(failures, 0.5);
            assert!(most / 2 < between && between < most, "{failures} failures: {between:?}");
        }
    }
}
