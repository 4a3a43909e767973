//! A way out to the national public service portal: every dossier that its party is told of is kept in step there.
//!
//! Nothing is kept on disk of what the portal has. At each delivery the dossier is read from the gateway up to that event, and said as a whole: the
//! record (`DongBoHoSoMC`) and its steps (`CapNhatTienDoHoSoMC`). Said again, it is the same; so whoever dies anywhere, or does not know what became of what
//! was sent, says it again. The portal tells inserting from updating and refuses the wrong one of them; then the other is asked for.
//! A delivery is handed over once the portal has said that it has both.
//!
//! | module | owns |
//! |---|---|
//! | `line` | login, session, and what answers mean |
//! | `record` | a dossier in the portal's words |
//! | `reconcile` | what the portal has beside what it was told |
//! | `trouble`, `view` | what is the matter, and how old what the portal does not have is |

mod line;
mod reconcile;
mod record;
mod trouble;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lgsp_journal::fault;
use lgsp_proto::v1::{GetRequest, GetResponse};
use serde_json::{Value, json};

use crate::config;
use crate::handover::{About, Carrier, Message, NotTaken};
use crate::link::CallError;
use crate::office::Office;
use crate::spool::DeliveryId;
use crate::trace::TraceParent;
use line::{Failure, Line};
pub(crate) use reconcile::ReconciledJson;
use record::Story;
pub(crate) use trouble::Trouble;
pub(crate) use view::PortalJson;
use view::View;

/// The account in whose name the adapter itself reads dossiers.
const ACTOR: &str = "adapter";

/// What the portal keeps a dossier's record by, and its steps, and how both are looked for.
const SYNCHRONISE: &str = "DongBoHoSoMC";
const STEPS: &str = "CapNhatTienDoHoSoMC";
const LOOK_UP: &str = "TraCuuHoSo";

/// The most dossiers of which is remembered whether the portal has them; a wrong guess costs one call.
const REMEMBERED_MAX: usize = 10_000;

/// See the module.
pub(crate) struct Portal {
    config: config::Portal,
    office: Arc<Office>,
    line: Line,
    /// Whether the portal had a dossier when it was last asked.
    there: Mutex<HashMap<Box<str>, bool>>,
    view: View,
}

/// The way out to the portal.
pub(crate) struct ToPortal(pub(crate) Arc<Portal>);

/// Why the portal was not told.
enum NotTold {
    Trouble(Trouble),
    /// The portal refuses this dossier.
    Refused,
    /// The gateway refuses it to us.
    NotOurs,
}

impl From<Trouble> for NotTold {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Failure> for NotTold {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Trouble(trouble) => Self::Trouble(trouble),
            // Both were tried by then, or neither was asked for: it contradicts itself, and may come to its senses.
            Failure::Exists | Failure::Missing => Self::Trouble(Trouble::Failing),
            Failure::Refused => Self::Refused,
        }
    }
}

impl Portal {
    /// A portal as the configuration says. Nothing is said to it before there is something to say.
    ///
    /// # Errors
    /// The CA certificates of `portal.bundle` cannot be used.
    pub(crate) fn new(
        config: &config::Portal,
        office: Arc<Office>,
    ) -> Result<Arc<Self>, lgsp_certs::tls::TlsFileError> {
        let line = Line::open(config)?;
        Ok(Arc::new(Self { config: config.clone(), office, line, there: Mutex::default(), view: View::default() }))
    }

    /// How it is with the portal.
    pub(crate) fn to_json(&self) -> PortalJson {
        let oldest = self.config.parties.iter().filter_map(|party| {
            let first = self.office.spool.pending_after(party.as_str(), lgsp_journal::Position::ORIGIN, 1);
            let delivery = self.office.spool.delivery(*first.first()?).ok()?;
            let admitted_at = delivery.event?.event?.admitted_at?;
            Some(admitted_at.seconds.saturating_mul(1000) + i64::from(admitted_at.nanos) / 1_000_000)
        });
        self.view.to_json(oldest.min())
    }

    /// When the oldest event was admitted that the portal does not have, in milliseconds; for the figures.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.to_json().oldest_ms
    }

    /// Says how a dossier stands after an event, and after all before it.
    async fn tell(&self, id: &DeliveryId, trace: Option<&TraceParent>) -> Result<(), NotTold> {
        let found = self.dossier(&id.party, &id.dossier, trace).await?;
        self.tell_of(&found, &id.party, id.sequence).await
    }

    async fn tell_of(&self, found: &GetResponse, party: &str, sequence: u32) -> Result<(), NotTold> {
        let registry = self.office.desk.copy.registry();
        let documents_url = self.config.documents_url.as_ref().map(ToString::to_string);
        let Some(story) = Story::until(sequence, found, party, registry.as_deref(), documents_url.as_deref()) else {
            // Its content was erased meanwhile; there is nothing that anybody could be told.
            return Ok(());
        };
        self.upsert(story.code(), &json!([story.record()]), sequence).await?;
        // The adapter is allowed to die here: what was said is said again.
        fault::reached(fault::PORTAL_RECORD).map_err(|_| Trouble::BrokenOff)?;
        for steps in story.steps() {
            self.line.call(STEPS, None, &steps).await?;
        }
        fault::reached(fault::PORTAL_TOLD).map_err(|_| Trouble::BrokenOff)?;
        Ok(())
    }

    /// Inserts or updates, whichever the portal wants. Unless it is remembered, an event after the first says that one before was told, or
    /// that the portal took the dossier in itself.
    async fn upsert(&self, code: &str, data: &Value, sequence: u32) -> Result<(), Failure> {
        let is_there = self.remembered(code).unwrap_or(sequence > 1);
        let mut told = self.line.call(SYNCHRONISE, Some(is_there), data).await;
        let other = match told {
            Err(Failure::Exists) => true,
            Err(Failure::Missing) => false,
            _ => is_there,
        };
        if other != is_there {
            // Whatever becomes of the next call: this is known.
            self.remember(code, other);
            told = self.line.call(SYNCHRONISE, Some(other), data).await;
        }
        told?;
        self.remember(code, true);
        Ok(())
    }

    fn remembered(&self, code: &str) -> Option<bool> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner).get(code).copied()
    }

    fn remember(&self, code: &str, is_there: bool) {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        if there.len() >= REMEMBERED_MAX {
            there.clear();
        }
        there.insert(code.into(), is_there);
    }

    /// A dossier as the gateway has it, with all that was said.
    async fn dossier(&self, party: &str, code: &str, trace: Option<&TraceParent>) -> Result<GetResponse, NotTold> {
        let request = GetRequest {
            acting_party: party.to_owned(),
            actor: ACTOR.to_owned(),
            dossier_code: code.to_owned(),
            with_bodies: true,
            after_sequence: 0,
        };
        let request = self.office.link.request(request, trace);
        let found = self.office.link.dossiers().get(request).await;
        found.map(tonic::Response::into_inner).map_err(|status| match CallError::from_status(status).is_final() {
            true => NotTold::NotOurs,
            false => Trouble::NoDossier.into(),
        })
    }
}

impl Carrier for ToPortal {
    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        let About::Delivery(id) = &message.about else {
            // The portal asks for nothing through this adapter, so no answer is for it.
            return Ok(());
        };
        let portal = &self.0;
        let told = portal.tell(id, message.trace.as_ref()).await;
        match told {
            Ok(()) => {
                portal.view.told(&id.dossier);
                Ok(())
            }
            Err(NotTold::Trouble(trouble)) => {
                portal.view.failed(&id.dossier, trouble);
                Err(trouble.not_taken())
            }
            Err(NotTold::Refused) => {
                portal.view.refused(&id.dossier);
                Err(NotTaken::ForGood)
            }
            Err(NotTold::NotOurs) => {
                portal.view.failed(&id.dossier, Trouble::NoDossier);
                Err(NotTaken::ByItsOwnRule)
            }
        }
    }
}

/// Whether the files of a configuration can be used.
///
/// # Errors
/// The CA certificates of `portal.bundle` cannot be.
pub fn check(config: &config::Portal) -> Result<(), lgsp_certs::tls::TlsFileError> {
    Line::open(config).map(drop)
}
