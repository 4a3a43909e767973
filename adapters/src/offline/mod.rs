//! The desk without a line: it goes on taking dossiers in, by the registry it last synced and with numbers leased ahead.
//!
//! | module | owns |
//! |---|---|
//! | `copy` | the registry's copy on this machine |
//! | `keeper` | keeping copy and numbers fresh while there is a line, and the clock compared |
//! | `intake` | deciding here what the gateway would decide, and giving out the number |
//!
//! What only the gateway can know (whether an alias is taken, whether a document was uploaded) stays its own to judge; it has
//! the last word on everything, and what it refuses later stands in the list of exceptions.

mod copy;
mod intake;
mod keeper;

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use jiff::ToSpan as _;
use lgsp_domain::decide::TimeBounds;
use lgsp_proto::reason::Bilingual;
use lgsp_proto::types::BusinessTime;
use lgsp_proto::v1;

use crate::config;
use crate::spool::{Spool, now_ms};
pub(crate) use copy::{Copy, CopyError};
pub(crate) use intake::{as_before, refuse_own_number};
pub(crate) use keeper::Keeper;

/// The warning on an intake whose desk's clock is known to be wrong.
const CLOCK_SKEWED: &str = "DESK_CLOCK_SKEWED";
const CLOCK_SKEWED_TEXT: Bilingual = Bilingual {
    en: "The clock of this machine differs from the gateway's by more than the tolerance; set it, and check the time of reception.",
    vi: "Đồng hồ của máy này lệch so với trục quá mức cho phép; chỉnh lại đồng hồ và kiểm tra thời điểm tiếp nhận.",
};

/// Beyond this the two clocks mean different days: codes would carry the wrong one.
const ANOTHER_DAY_MS: u64 = 12 * 3600 * 1000;

/// Everything a desk needs to work without a line.
pub(crate) struct Desk {
    pub(crate) config: config::Offline,
    pub(crate) copy: Copy,
    /// How far the gateway's business clock is ahead of ours, in milliseconds, when it was last compared.
    skew_ms: Mutex<Option<i64>>,
    /// One intake at a time, so that one request never gets two numbers, and the order of numbers is that of intakes.
    pub(crate) intakes: tokio::sync::Mutex<()>,
}

impl Desk {
    pub(crate) fn new(config: config::Offline, copy: Copy) -> Self {
        Self { config, copy, skew_ms: Mutex::default(), intakes: tokio::sync::Mutex::default() }
    }

    /// How far the gateway's business clock is ahead of ours, in milliseconds; `None` before they were first compared.
    pub(crate) fn skew_ms(&self) -> Option<i64> {
        *self.skew_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the clocks are known to differ by more than the tolerance.
    pub(crate) fn is_skewed(&self) -> bool {
        self.skew_ms().is_some_and(|skew| u128::from(skew.unsigned_abs()) > self.config.skew_tolerance.as_millis())
    }

    /// Whether this machine's clock may decide what day it is. One that is half a day off, or a gateway that replays another
    /// year, leaves the decision to the gateway.
    pub(crate) fn knows_the_day(&self) -> bool {
        self.skew_ms().is_none_or(|skew| skew.unsigned_abs() <= ANOTHER_DAY_MS)
    }

    /// Whether this machine's clock may date an intake. Before it was compared, as after a start without a line, it has to show
    /// a day near those of which there are numbers: one that has lost its battery shows another year, and would have every
    /// citizen refused.
    pub(crate) fn may_date(&self, spool: &Spool) -> bool {
        if self.skew_ms().is_some() {
            return self.knows_the_day();
        }
        let (today, back) = (wall_clock().date(), self.config.back.as_secs().div_ceil(24 * 3600).min(3_650));
        let from = today.checked_sub(i64::try_from(back).expect("ten years at most").days());
        let to = today.checked_add(i64::from(self.config.days_ahead).days());
        from.is_ok_and(|from| to.is_ok_and(|to| spool.knows_numbers_of(from, to)))
    }

    /// Keeps a comparison of the clocks. The crossing of the tolerance is worth a line in the log, staying there is not.
    fn compared(&self, skew_ms: i64) {
        let before = self.is_skewed();
        *self.skew_ms.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew_ms);
        match (before, self.is_skewed()) {
            (false, true) => tracing::warn!(skew_ms, "the clock of this machine differs from the gateway's"),
            (true, false) => tracing::info!(skew_ms, "the clock of this machine fits the gateway's again"),
            _ => {}
        }
    }

    fn bounds(&self) -> TimeBounds {
        TimeBounds { ahead: self.config.ahead, back: self.config.back, ..TimeBounds::default() }
    }

    fn skew_warning(&self) -> Option<v1::Warning> {
        self.is_skewed().then(|| v1::Warning {
            reason: CLOCK_SKEWED.to_owned(),
            field: "received_at".to_owned(),
            message_vi: CLOCK_SKEWED_TEXT.vi.to_owned(),
            message_en: CLOCK_SKEWED_TEXT.en.to_owned(),
        })
    }
}

/// The desk's own business time: what the clock on its wall says. The gateway bounds it, and so does [`Desk`] here.
pub(crate) fn wall_clock() -> BusinessTime {
    business_time(now_ms())
}

fn business_time(unix_ms: i64) -> BusinessTime {
    BusinessTime::from_unix_seconds(unix_ms.div_euclid(1000)).expect("a machine's clock is within the calendar")
}

/// Milliseconds since 1970 of a machine's time.
fn unix_ms(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
