//! The gateway's epoch, which a restore of its books begins anew: what the gateway may have lost by that is sent again.
//!
//! The newest epoch seen is a record; whether it is that of the gateway we speak with just now is known in memory only.

use std::sync::atomic::Ordering;

use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};

use super::Spool;
use super::writing::Broken;

impl Spool {
    /// Notes the epoch of the gateway we speak with: durable when this returns. If it has grown, whatever was admitted before is
    /// sent again, before anything new about the same dossier.
    ///
    /// # Errors
    /// [`Broken`]; it will be noted after the restart.
    pub(crate) async fn epoch_seen(&self, epoch: u32) -> Result<(), Broken> {
        let known = self.epoch();
        if epoch > known {
            self.write(Kind::EpochSeen(stored::EpochSeen { epoch })).await?;
            if known != 0 {
                let again = self.shared.state().again;
                tracing::warn!(epoch, again, "the gateway was restored; what it had admitted is sent again");
            }
        }
        self.epoch_is_certain.store(true, Ordering::Release);
        Ok(())
    }

    /// The gateway's epoch; 0 while it is not known.
    pub(crate) fn epoch(&self) -> u32 {
        self.shared.state().epoch
    }

    /// Notes whether the epoch known is that of the gateway we speak with.
    pub(crate) fn set_epoch_certain(&self, certain: bool) {
        self.epoch_is_certain.store(certain, Ordering::Release);
    }

    /// Whether the gateway we speak with may have been restored without our knowing.
    pub(crate) fn is_epoch_certain(&self) -> bool {
        self.epoch_is_certain.load(Ordering::Acquire)
    }

    /// Whether a dossier was known here in an epoch before this one, so that the gateway may be waiting for it to come back.
    pub(crate) fn may_come_back(&self, dossier: &str) -> bool {
        let state = self.shared.state();
        state.epoch > 1 && state.knows_dossier(dossier)
    }
}
