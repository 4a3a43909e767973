//! Another way in and out: tables in the agency's own PostgreSQL. For agencies whose software writes and reads rows.
//!
//! | table | who writes | what |
//! |---|---|---|
//! | `outbox`, `outbox_document` | the agency | a request and its documents, in one transaction with its own rows |
//! | `outbox.state`, `.result` … | the adapter | what became of it |
//! | `inbox`, `inbox_document` | the adapter | deliveries and outcomes, one row each, under the name that each has for ever |
//! | `inbox.handled_at`, `.refused_reason` | the agency | that it has it, or will never take it |
//!
//! Nothing is kept of a row but in the spool and in the row itself, so a process or a database that dies anywhere finds out where it
//! was: a row that is queued is taken in again, which is the same call by its key; a delivery is inserted again, which is the same row.
//! Each statement commits by itself, and nothing is said to the spool before its own is committed.
//!
//! | module | owns |
//! |---|---|
//! | `session` | a connection, and what its failures mean |
//! | `round` | one look: what is queued, what was handled or refused, what has been answered |
//! | `outbox` | a request as a row, and its documents |
//! | `out` | deliveries and outcomes written |
//! | `schema` | the tables themselves, for whoever makes them |
//! | `view` | the part of `/status` |
//!
//! One connection looks and is woken, another carries. Of several adapters on the same tables one takes in, by an advisory lock that
//! its connection holds, so that what a party says about a dossier stays in order; the others stand by. All of them deliver.

mod out;
mod outbox;
mod round;
pub(crate) mod schema;
mod session;
mod view;

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config;
use crate::office::Office;
use crate::papers::Papers;
use crate::request::Limits;
pub(crate) use out::ToTables;
pub use schema::{InstallError, install, script};
use session::Session;
pub use session::{CheckError, check};
pub(crate) use view::TablesJson;
use view::View;

/// Deliveries and outcomes under way at one time: they share a connection, and its round trips.
pub(crate) const AT_ONCE: NonZeroUsize = NonZeroUsize::new(8).expect("it is not zero");

/// See the module.
pub(crate) struct Tables {
    config: config::Tables,
    /// Which of the system's installations this is: what it wrote, it settles.
    instance: String,
    limits: Limits,
    backoff: Backoff,
    office: Arc<Office>,
    /// The connection that carries, once there is one.
    carrying: tokio::sync::Mutex<Option<Arc<Session>>>,
    papers: Papers,
    view: View,
}

impl Tables {
    /// Tables as the configuration says. Nothing is said to the database before it is looked at.
    pub(crate) fn new(
        config: &config::Tables,
        spool: &config::Spool,
        exchange: &config::Exchange,
        office: Arc<Office>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config: config.clone(),
            instance: exchange.instance.clone(),
            limits: Limits::of(spool),
            backoff: exchange.backoff,
            office,
            carrying: tokio::sync::Mutex::default(),
            papers: Papers::new(),
            view: View::default(),
        })
    }

    /// For `/status`.
    pub(crate) fn to_json(&self) -> TablesJson {
        self.view.to_json()
    }

    /// Looks at the tables until `stop`, over one connection after the other.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            // What is dropped half way is found again: nothing is taken in but by tasks of its own.
            let trouble = tokio::select! {
                () = stop.cancelled() => return,
                trouble = self.look_until_it_fails(&mut failures) => trouble,
            };
            failures += 1;
            self.view.stopped(trouble);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.backoff.delay(failures)) => {}
            }
        }
    }
}
