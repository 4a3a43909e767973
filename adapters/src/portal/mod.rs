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
//! | `reading`, `turns` | a dossier as the gateway has it, whole; and one reader of it at a time until he has told it |
//! | `record` | a dossier in the portal's words |
//! | `there`, `reconcile`, `run` | what the portal has; what that is beside what it was told; comparing both, for as long as it takes |
//! | `trouble`, `view` | what is the matter, and how old what the portal does not have is |

mod line;
mod reading;
mod reconcile;
mod record;
mod run;
mod there;
mod trouble;
mod turns;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lgsp_journal::fault;
use lgsp_proto::v1::{GetRequest, GetResponse};
use prost_types::Timestamp;
use serde_json::{Value, json};

use crate::config;
use crate::handover::{About, Carrier, Message, NotTaken};
use crate::link::CallError;
use crate::office::Office;
use crate::spool::DeliveryId;
use crate::trace::TraceParent;
use line::{Failure, Line};
use reading::Whole;
use record::Story;
use run::Comparisons;
pub(crate) use run::{AnotherRuns, ComparisonJson};
pub(crate) use trouble::Trouble;
use turns::Turns;
pub(crate) use view::PortalJson;
use view::View;

/// The account in whose name the adapter itself reads dossiers.
const ACTOR: &str = "adapter";

/// What the portal keeps a dossier's record by, and its steps, and how both are looked for.
const SYNCHRONISE: &str = "DongBoHoSoMC";
const STEPS: &str = "CapNhatTienDoHoSoMC";

/// The most dossiers of which is remembered whether the portal has them; a wrong guess costs one call.
const REMEMBERED_MAX: usize = 10_000;

/// How many waiting deliveries are looked at for the time of the oldest, if the first cannot be read.
const LOOKED_AT: usize = 16;

/// See the module.
pub(crate) struct Portal {
    config: config::Portal,
    office: Arc<Office>,
    line: Line,
    turns: Turns,
    comparisons: Comparisons,
    /// Whether the portal had a dossier when it was last asked.
    there: Mutex<HashMap<Box<str>, bool>>,
    view: View,
}

/// The way out to the portal.
pub(crate) struct ToPortal(pub(crate) Arc<Portal>);

/// Why the portal was not told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
        Ok(Arc::new(Self {
            config: config.clone(),
            office,
            line,
            turns: Turns::default(),
            comparisons: Comparisons::default(),
            there: Mutex::default(),
            view: View::default(),
        }))
    }

    /// How it is with the portal.
    pub(crate) fn to_json(&self) -> PortalJson {
        let spool = &self.office.spool;
        let oldest = self.config.parties.iter().filter_map(|party| {
            let waiting = spool.pending_after(party.as_str(), lgsp_journal::Position::ORIGIN, LOOKED_AT);
            waiting.into_iter().find_map(|position| {
                let event = spool.delivery(position).ok()?.event?.event?;
                event.admitted_at.as_ref().map(milliseconds)
            })
        });
        self.view.to_json(oldest.min())
    }

    /// When the oldest event was admitted that the portal does not have, in milliseconds; for the figures.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.to_json().oldest_ms
    }

    /// Says how a dossier stands after an event, and after all before it.
    async fn tell(&self, id: &DeliveryId, trace: Option<&TraceParent>) -> Result<(), NotTold> {
        let _turn = self.turns.of(&id.dossier).await;
        let whole = self.whole(&id.party, &id.dossier, Some(id.sequence), trace).await?;
        self.tell_of(&whole, &id.party).await
    }

    /// Says how a dossier stands after the last of its events. Whoever calls has had its turn since before reading it.
    async fn tell_of(&self, whole: &Whole, party: &str) -> Result<(), NotTold> {
        let registry = self.office.desk.copy.registry();
        let documents_url = self.config.documents_url.as_ref().map(ToString::to_string);
        let Some(story) = Story::of(whole, party, registry.as_deref(), documents_url.as_deref()) else {
            // Its content was erased meanwhile; there is nothing that anybody could be told.
            return Ok(());
        };
        self.upsert(story.code(), &json!([story.record()]), whole.sequence()).await?;
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

    /// A dossier as the gateway has it, with all that was said up to an event, or to the last one.
    async fn whole(
        &self,
        party: &str,
        code: &str,
        until: Option<u32>,
        trace: Option<&TraceParent>,
    ) -> Result<Whole, NotTold> {
        Whole::read(until, |after| self.page(party, code, after, trace)).await
    }

    async fn page(
        &self,
        party: &str,
        code: &str,
        after: u32,
        trace: Option<&TraceParent>,
    ) -> Result<GetResponse, NotTold> {
        let request = GetRequest {
            acting_party: party.to_owned(),
            actor: ACTOR.to_owned(),
            dossier_code: code.to_owned(),
            with_bodies: true,
            after_sequence: after,
        };
        let request = self.office.link.request(request, trace);
        let found = self.office.link.dossiers().get(request).await;
        found.map(tonic::Response::into_inner).map_err(|status| of_reading(CallError::from_status(status)))
    }
}

/// Why the gateway gave no page of a dossier.
fn of_reading(error: CallError) -> NotTold {
    match error {
        _ if error.is_final() => NotTold::NotOurs,
        // Ours, not the gateway's: the answer was longer than is taken. It will be, whenever it is asked for.
        CallError::Unknown(status) if status.code() == tonic::Code::OutOfRange => Trouble::DossierTooLarge.into(),
        _ => Trouble::NoDossier.into(),
    }
}

fn milliseconds(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

impl Carrier for ToPortal {
    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        let About::Delivery(id) = &message.about else {
            // The portal asks for nothing through this adapter, so no answer is for it.
            return Ok(());
        };
        let portal = &self.0;
        let told = portal.tell(id, message.trace.as_ref()).await;
        let admitted_ms = message.time.as_ref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
        let admitted_ms = admitted_ms.map(jiff::Timestamp::as_millisecond);
        match told {
            Ok(()) => {
                portal.view.told(&id.dossier);
                Ok(())
            }
            Err(NotTold::Trouble(trouble)) => {
                portal.view.failed(&id.dossier, trouble, admitted_ms);
                Err(trouble.not_taken())
            }
            Err(NotTold::Refused) => {
                portal.view.refused(&id.dossier, admitted_ms);
                Err(NotTaken::ForGood)
            }
            Err(NotTold::NotOurs) => {
                portal.view.failed(&id.dossier, Trouble::NoDossier, admitted_ms);
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

#[cfg(test)]
mod tests {
    use lgsp_proto::{Reason, Refusal};
    use tonic::Status;

    use super::*;
    use crate::handover::Blame;

    #[test]
    fn a_page_that_is_too_long_is_the_dossiers_trouble_and_a_silent_gateway_is_the_lines() {
        let of = |status| of_reading(CallError::from_status(status));
        // As the library says that it will not take so much.
        let too_long = of(Status::out_of_range("Error, decoded message length too large: found 17 bytes"));
        assert_eq!(too_long, NotTold::Trouble(Trouble::DossierTooLarge));
        assert_eq!(Trouble::DossierTooLarge.not_taken().blames(), Blame::This);
        let silent = of(Status::unavailable("no connection"));
        assert_eq!(silent, NotTold::Trouble(Trouble::NoDossier));
        assert_eq!(Trouble::NoDossier.not_taken().blames(), Blame::Line);
        assert_eq!(of(Refusal::new(Reason::DossierNotFound).to_status()), NotTold::NotOurs);
    }

    #[test]
    fn a_dossier_of_which_events_are_missing_waits_alone_and_is_never_held_against_it() {
        assert_eq!(Trouble::EventsMissing.not_taken(), NotTaken::NotYet);
        assert_eq!(Trouble::EventsMissing.not_taken().blames(), Blame::Line);
    }

    #[test]
    fn a_session_that_is_refused_right_after_the_login_is_held_against_a_dossier_while_others_pass() {
        assert_eq!(Trouble::SessionRefused.not_taken().blames(), Blame::ThisIfOthersPass);
    }
}
