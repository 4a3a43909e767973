//! What answers a data service's questions: the border between the stream and whatever stands behind a service.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::{Question, ServiceRefusal};

/// The longest reply, as the gateway takes it.
pub(crate) const REPLY_BYTES_MAX: usize = 1 << 20;

/// Whatever answers the questions to one service and version.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// The reply to a question, a JSON document by the service's schema; what may not be told of it is cut out by the caller.
    ///
    /// It is called once for a question, and dropped where it stands when the question's time is over: a database that was asked
    /// is then not asked again.
    ///
    /// # Errors
    /// Why there is no reply. What went wrong on the way is [`failed`], and logged there without content.
    async fn reply(&self, question: &Question) -> Result<Bytes, ServiceRefusal>;
}

/// Services of one owner, with what answers each.
pub(crate) struct Serving {
    /// The owner.
    pub(crate) party: PartyId,
    /// Questions under way at one time.
    pub(crate) at_once: NonZeroUsize,
    /// By name and version.
    pub(crate) sources: BTreeMap<(String, u32), Arc<dyn Source>>,
}

/// Notes that a question could not be answered, and why; nothing of the question itself.
pub(crate) fn failed(question: &Question, why: &'static str) -> ServiceRefusal {
    tracing::warn!(query_id = HEXLOWER.encode(&question.query_id), why, "a question could not be answered");
    ServiceRefusal::Failed
}
