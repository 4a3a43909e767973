//! What the demo and its agencies say to each other, one JSON document a line. Closing standard input ends the agency.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// To the agency.
#[derive(Deserialize, Serialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(in crate::demo) enum Order {
    /// Where its adapter's REST API is. Not answered.
    Connect { adapter: String },
    /// Do everything due by then, and answer when the outcome of all of it is known.
    Act { until: DateTime },
}

/// From the agency.
#[derive(Deserialize, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(in crate::demo) enum Answer {
    /// It has started; the address takes webhooks.
    Listening { webhooks: String },
    /// It has done what was due, and everything it sent has been answered.
    Done {
        /// So many steps were due and could not be done, because the event before them has not come.
        stuck: u64,
    },
    /// It could not.
    Failed { why: String },
}
