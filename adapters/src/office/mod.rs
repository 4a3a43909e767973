//! What the agency's own system can have done here, whichever way in it comes by: REST, a folder, tables.
//!
//! Owns what a request does and what is told about it. How it is written down and carried is each way in's; what is kept is the
//! spool's. Whatever a function here has returned `Ok` for is durable, and the same again under the same key is the same.

mod documents;
mod inbox;
mod intake;
mod queries;
mod requests;
mod spooled;
mod uploads;

use std::sync::Arc;

use lgsp_proto::types::{ActorId, PartyId};
use lgsp_proto::{Reason, Refusal};

pub(crate) use documents::Download;
pub(crate) use inbox::DeliveryNameJson;
pub(crate) use intake::{OfflineJson, TakenIn};
pub(crate) use queries::Asked;
pub(crate) use requests::{AnswerJson, RequestJson, RequestOverviewJson, RequestPlace, RequestState};
pub(crate) use spooled::{not_queued, unreadable};
pub(crate) use uploads::{Begun, Busy, PIECE_BYTES, Progress};

use crate::acting::Acting;
use crate::link::Link;
use crate::offline::Desk;
use crate::problem::Problem;
use crate::spool::Spool;
use crate::trace::TraceParent;

/// See the module.
pub(crate) struct Office {
    pub(crate) spool: Arc<Spool>,
    pub(crate) link: Link,
    /// What there is to work with without a line.
    pub(crate) desk: Arc<Desk>,
    /// The parties this adapter acts for.
    pub(crate) acting: Arc<Acting>,
    /// The largest document.
    pub(crate) max_document_bytes: u64,
}

/// Who asks for something.
pub(crate) struct Caller {
    /// In whose name.
    pub(crate) party: PartyId,
    /// The clerk's account.
    pub(crate) actor: ActorId,
    /// The trace it belongs to.
    pub(crate) trace: TraceParent,
}

impl Office {
    /// Whether this adapter acts for a party.
    ///
    /// # Errors
    /// `ACTS_FOR_MISSING` with the party.
    pub(crate) fn acts_for(&self, party: &PartyId) -> Result<(), Problem> {
        if self.acting.all().contains(party) {
            Ok(())
        } else {
            Err(Refusal::new(Reason::ActsForMissing).detail("party", party).into())
        }
    }
}
