//! From when to when a certificate holds, in whole seconds as certificates have them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::CaError;

/// A fresh certificate must hold for a peer whose clock is a little behind.
pub(super) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// 9999-12-31T23:59:59Z in Unix seconds.
pub(super) const END_OF_9999: u64 = 253_402_300_799;

#[derive(Clone, Copy)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    pub(super) fn new(now: SystemTime, length: Duration) -> Result<Self, CaError> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| CaError::Time)?;
        let first = now.checked_sub(BACKDATED).ok_or(CaError::Time)?.as_secs();
        let last = now.checked_add(length).ok_or(CaError::Time)?.as_secs();
        if last > END_OF_9999 {
            return Err(CaError::Time);
        }
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        Ok(Self { not_before: at(first), not_after: at(last) })
    }

    /// Ends no later than `end`, if at least `least` of it is left then.
    pub(super) fn within(self, end: SystemTime, now: SystemTime, least: Duration) -> Result<Self, CaError> {
        if self.not_after <= end {
            return Ok(self);
        }
        match end.duration_since(now) {
            Ok(left) if left >= least => Ok(Self { not_after: end, ..self }),
            _ => Err(CaError::OutlivesCa),
        }
    }
}

/// From when on a certificate should be renewed: two thirds of its life, so that a third is left for whatever is in the way.
pub fn renew_from(not_before: SystemTime, not_after: SystemTime) -> SystemTime {
    match not_after.duration_since(not_before) {
        Ok(life) => not_before + life / 3 * 2,
        // It ends before it begins, so it should have been renewed already.
        Err(_) => not_after,
    }
}
