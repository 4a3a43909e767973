//! What the spool does not do, as the caller reads it.

use lgsp_proto::Reason;

use crate::problem::Problem;
use crate::spool::{QueueError, RecordError};

/// A call that was not taken in.
pub(crate) fn not_queued(error: QueueError) -> Problem {
    match error {
        QueueError::Full => Problem::from(Reason::Overloaded).with_detail(error.to_string()),
        QueueError::Disk(shortage) => Problem::of_shortage(&shortage),
        QueueError::KeyReused => Reason::KeyReused.into(),
        QueueError::TooLarge => Reason::MessageTooLarge.into(),
        QueueError::Broken(broken) => Problem::from(Reason::ReadOnly).with_detail(broken.to_string()),
    }
}

/// A record that cannot be read back. The caller is not told why: it is our own disk.
pub(crate) fn unreadable(error: &RecordError) -> Problem {
    tracing::error!(%error, "an outcome cannot be read from the spool");
    Reason::Internal.into()
}
