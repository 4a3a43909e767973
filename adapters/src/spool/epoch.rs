//! The gateway's epoch, which a restore of its books begins anew: what the gateway may have lost by that is sent again.
//!
//! The newest epoch seen is a record; whether it is that of the gateway we speak with just now is known in memory only.

use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};

use super::Spool;
use super::state::{Call, CallId, CallKind, SentBefore};
use super::writing::Broken;

/// What the gateway we speak with has told of its epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// Nothing yet: it may have been restored without our knowing.
    Nothing { since: Instant },
    /// The epoch known is its own, or it never will tell us.
    Known,
    /// An epoch before the one known. No restore gives that: it is an old copy, or somebody else.
    Behind { epoch: u32 },
}

/// What the end of an inbox stream says about the next one, which would tell the epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StreamEnd {
    /// The next one may be let in, and to a gateway that was restored.
    MayComeBack,
    /// Our certificate was refused, or our system is not known: no call is let in either, and when that is mended a stream is.
    TurnedAway,
    /// Calls are let in, and a stream for nobody of ours: the gateway will not tell us its epoch, and we go by the one known.
    LetInForNobody,
}

impl Told {
    /// What is known once a stream has ended like this.
    ///
    /// Who was turned away begins to wait anew: being let in again, on whatever connection and however late, a stream has to be
    /// given the time to come first.
    pub(crate) fn after(self, end: StreamEnd, now: Instant) -> Self {
        match (end, self) {
            (StreamEnd::LetInForNobody, _) => Self::Known,
            (StreamEnd::MayComeBack, Self::Nothing { since }) => Self::Nothing { since },
            (StreamEnd::MayComeBack | StreamEnd::TurnedAway, _) => Self::Nothing { since: now },
        }
    }
}

impl Spool {
    /// Notes the epoch of the gateway we speak with: durable when this returns. If it has grown, whatever was admitted before is
    /// sent again, before anything new about the same dossier, and nothing is said any more of what was delivered before: the
    /// gateway owes it again. One that is lower than the one known is not believed.
    ///
    /// # Errors
    /// [`Broken`]; it will be noted after the restart.
    pub(crate) async fn epoch_seen(&self, epoch: u32) -> Result<(), Broken> {
        let known = self.epoch();
        if epoch < known {
            tracing::error!(
                epoch,
                known,
                "the gateway is in an epoch that is over; it may be an old copy, and gets nothing new"
            );
            *self.told_now() = Told::Behind { epoch };
            return Ok(());
        }
        if epoch > known {
            self.write_epoch(epoch).await?;
            if known != 0 {
                let again = self.shared.state().again;
                tracing::warn!(epoch, again, "the gateway was restored; what it had admitted is sent again");
            }
        }
        *self.told_now() = Told::Known;
        self.hurry();
        Ok(())
    }

    /// Writes that the gateway is in a later epoch than the one known.
    pub(super) async fn write_epoch(&self, epoch: u32) -> Result<(), Broken> {
        // The first one seen says nothing about what was before it.
        if self.epoch() != 0 {
            *self.restored.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.write(Kind::EpochSeen(stored::EpochSeen { epoch })).await.map(drop)
    }

    /// For how long it has been known that the gateway was restored; `None` when that was before this start, and nothing was
    /// left to be sent again then.
    pub(crate) fn restored_for(&self) -> Option<Duration> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner).map(|restored| restored.elapsed())
    }

    /// The gateway's epoch; 0 while it is not known.
    pub(crate) fn epoch(&self) -> u32 {
        self.shared.state().epoch
    }

    /// An inbox stream has ended, or was not let in: what is known of the epoch from now on.
    pub(crate) fn stream_ended(&self, end: StreamEnd) {
        let mut told = self.told_now();
        *told = told.after(end, Instant::now());
        let is_certain = *told == Told::Known;
        drop(told);
        if is_certain {
            self.hurry();
        }
    }

    /// What the gateway we speak with has told of its epoch.
    pub(crate) fn epoch_told(&self) -> Told {
        *self.told_now()
    }

    fn told_now(&self) -> MutexGuard<'_, Told> {
        self.epoch_told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waited for the epoch goes now.
    fn hurry(&self) {
        self.shared.state().outgoing.hurry();
        self.shared.changed();
    }

    /// Whether the epoch known is that of the gateway we speak with, as far as it will ever tell.
    pub(crate) fn is_epoch_certain(&self) -> bool {
        self.epoch_told() == Told::Known
    }

    /// Whether a dossier was known here in an epoch before this one, so that the gateway may be waiting for it to come back.
    pub(crate) fn may_come_back(&self, dossier: &str) -> bool {
        let state = self.shared.state();
        state.epoch > 1 && state.knows_dossier(dossier)
    }

    /// Whether this is an entry that no gateway has admitted yet.
    pub(crate) fn is_new_entry(&self, id: &CallId) -> bool {
        let is_new = |call: &Call| call.kind == CallKind::Record && !call.was_admitted();
        self.shared.state().calls.get(id).is_some_and(is_new)
    }

    /// Which of the calls that are sent again an entry has to wait for.
    pub(crate) fn sent_before(&self, id: &CallId) -> SentBefore {
        let state = self.shared.state();
        let Some(name) = state.calls.get(id).and_then(|call| call.dossier.as_ref()) else { return SentBefore::Nothing };
        state.sent_before(name)
    }
}
