//! What waits for a person: parked dossiers, what is done about them, and what an installation that is gone had taken over.
//!
//! A system that acts for a party may look at its parked dossiers and decide about them; operators may for everybody, and
//! auditors may look. Whatever is done is recorded with who and why.

use lgsp_domain::registry::Right;
use lgsp_proto::types::{ActorId, DossierCode, PartyId};
use lgsp_proto::{Reason, Refusal, Wrong, v1};

use super::access::{Authorized, Peer};
use super::clock::machine_now;
use super::inbox::ComingBack;
use super::{Engine, commit_failed, read_failed};
use crate::store::{
    Bodies, Commit, CommitError, DeliveryStage, GivenBackWhy, Handled, Holder, Installation, ParkedAction,
    ParkedStanding, ReadError,
};

/// How many past actions are shown of one dossier: the newest.
const HISTORY: usize = 100;

/// What is asked about parked dossiers.
#[derive(Clone, Debug)]
pub struct ParkedQuery {
    /// For whom; empty for all that may be seen.
    pub parties: Vec<PartyId>,
    /// Only this dossier, by code or alias.
    pub dossier: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// After this one.
    pub after: Option<u64>,
}

/// A parked dossier as it is listed.
#[derive(Clone, Debug)]
pub struct ParkedView {
    /// How it stands.
    pub standing: ParkedStanding,
    /// What the event is whose delivery failed; 0 when that cannot be read.
    pub kind: i32,
}

/// An answer to a [`ParkedQuery`].
#[derive(Clone, Debug, Default)]
pub struct ParkedPage {
    /// The longest parked first.
    pub dossiers: Vec<ParkedView>,
    /// After which one to go on; `None` on the last page.
    pub next: Option<u64>,
    /// What was done before, when one dossier was asked for.
    pub history: Vec<Handled>,
}

/// A decision about a parked dossier.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The clerk.
    pub actor: ActorId,
    /// The party whose inbox it is.
    pub party: PartyId,
    /// The dossier.
    pub code: DossierCode,
    /// The event whose delivery failed.
    pub sequence: u32,
    /// What to do.
    pub action: ParkedAction,
    /// Why, in the clerk's words.
    pub why: String,
}

impl Engine {
    /// Parked dossiers, the longest parked first.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`], for the first party that may not be asked about.
    pub async fn parked(&self, peer: &Peer, asking: &PartyId, query: &ParkedQuery) -> Result<ParkedPage, Refusal> {
        let authorized = self.authorize(peer, asking)?;
        let oversees = authorized.oversees();
        if !oversees {
            for party in &query.parties {
                let _ = self.authorize(peer, party)?;
            }
        }
        let parties = match (query.parties.is_empty(), oversees) {
            (false, _) => Some(query.parties.clone()),
            (true, true) => None,
            (true, false) => Some(parties_of(&authorized)),
        };
        match &query.dossier {
            Some(dossier) => self.parked_dossier(parties, dossier).await,
            None => self.parked_page(parties.as_deref(), query).await,
        }
    }

    async fn parked_page(&self, parties: Option<&[PartyId]>, query: &ParkedQuery) -> Result<ParkedPage, Refusal> {
        // One more, to know whether there is one.
        let parked = self.inner.store.parked(parties, query.after, query.limit + 1).await;
        let mut parked = parked.map_err(read_failed)?;
        let more = parked.len() > query.limit;
        parked.truncate(query.limit);
        let next = parked.last().filter(|_| more).map(|last| last.position);
        let mut page = ParkedPage { next, ..ParkedPage::default() };
        for standing in parked {
            page.dossiers.push(self.parked_view(standing).await?);
        }
        Ok(page)
    }

    async fn parked_dossier(&self, parties: Option<Vec<PartyId>>, dossier: &str) -> Result<ParkedPage, Refusal> {
        let store = &self.inner.store;
        let code = self.resolve(dossier).await?;
        let parties = match parties {
            Some(parties) => parties,
            // Whoever was ever told of it.
            None => {
                let dossier = store.dossier(&code).await.map_err(read_failed)?;
                dossier.map(|dossier| dossier.informed.to_vec()).unwrap_or_default()
            }
        };
        let mut page = ParkedPage::default();
        for party in parties {
            if let Some(standing) = store.parked_dossier(&party, &code).await.map_err(read_failed)? {
                page.dossiers.push(self.parked_view(standing).await?);
            }
            page.history.extend(store.handled(&party, &code, HISTORY).await.map_err(read_failed)?);
        }
        page.dossiers.sort_by_key(|parked| parked.standing.position);
        page.history.sort_by_key(|handled| handled.at);
        Ok(page)
    }

    async fn parked_view(&self, standing: ParkedStanding) -> Result<ParkedView, Refusal> {
        let parked = &standing.parked;
        let event = self.inner.store.event(&parked.code, parked.sequence, Bodies::Without).await;
        let kind = match event {
            Ok(recorded) => recorded.map_or(0, |recorded| recorded.event.kind),
            // It may be parked for just that.
            Err(ReadError::Damaged(_)) => 0,
            Err(error) => return Err(read_failed(error)),
        };
        Ok(ParkedView { standing, kind })
    }

    /// Does what a person decided about a parked dossier; how many of its deliveries flow again.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `PARKED_NOT_FOUND` when it is not parked at this delivery (any more); `PARKED_HELD`
    /// when an installation still has it.
    pub async fn handle_parked(&self, peer: &Peer, asking: &PartyId, decision: Decision) -> Result<u64, Refusal> {
        let authorized = self.authorize(peer, asking)?;
        if authorized.require(Right::Operate, None).is_err() {
            let _ = self.authorize(peer, &decision.party)?;
        }
        let Decision { actor, party, code, sequence, action, why } = decision;
        let store = &self.inner.store;
        let parked = store.parked_dossier(&party, &code).await.map_err(read_failed)?;
        let not_found = || {
            let refusal = Refusal::new(Reason::ParkedNotFound).detail("party", &party);
            refusal.detail("dossier_code", &code).detail("sequence", sequence)
        };
        let parked = parked.filter(|parked| parked.parked.sequence == sequence).ok_or_else(not_found)?;
        let stage = store.delivery_stage(&party, &code, sequence).await.map_err(read_failed)?;
        match stage {
            Some(DeliveryStage::Parked) => {}
            // Parked, and then the process ended before its holder had given it back.
            Some(DeliveryStage::TakenOver) => return Err(self.parked_held(&party, &code).await?),
            _ => return Err(not_found()),
        }
        let waiting = parked.waiting - u64::from(action == ParkedAction::Skip);
        let handled = Handled {
            party: party.clone(),
            code: code.clone(),
            sequence,
            action,
            acting_party: asking.clone(),
            actor,
            system: authorized.system().to_owned(),
            at: machine_now(),
            why,
        };
        tracing::info!(
            party.id = %party, dossier.code = %code, sequence, ?action, actor = %handled.actor, "a parked dossier was handled"
        );
        let (engine, coming_back) = (self.clone(), ComingBack::begin(self, &party));
        // To its end, so that the inbox learns of it even if whoever asked goes away.
        let writing = async move {
            let _coming_back = coming_back;
            Ok(engine.inner.store.commit(Commit::Handled(handled)).await)
        };
        match self.to_the_end(writing).await? {
            Ok(()) => Ok(waiting),
            // Somebody else was faster.
            Err(CommitError::Conflict) => Err(not_found()),
            Err(error) => Err(commit_failed(&error)),
        }
    }

    async fn parked_held(&self, party: &PartyId, code: &DossierCode) -> Result<Refusal, Refusal> {
        let refusal = Refusal::new(Reason::ParkedHeld).detail("party", party).detail("dossier_code", code);
        let holder = self.inner.store.lane(party, code).await.map_err(read_failed)?.holder;
        Ok(match holder {
            Some(Holder { installation, .. }) => {
                refusal.detail("system", &installation.system).detail("instance", &installation.instance)
            }
            None => refusal,
        })
    }

    /// Takes from an installation that does not come back what it had taken over for `party` and not handed over; how many
    /// deliveries.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `GRANT_MISSING` for others than operators; `INSTANCE_IN_USE` while it is connected;
    /// `FIELD_INVALID` for a system that the registry does not have and that had taken over nothing: a slip of the pen. Not
    /// `SYSTEM_UNKNOWN`, which says of whoever asks that he is not known.
    pub async fn release(
        &self,
        peer: &Peer,
        asking: &PartyId,
        (actor, ground): (ActorId, String),
        (party, installation): (&PartyId, &Installation),
    ) -> Result<u64, Refusal> {
        let authorized = self.authorize(peer, asking)?;
        authorized.require(Right::Operate, None)?;
        let away = self.inner.inboxes.keep_out(installation)?;
        let (acting_party, system) = (asking.clone(), authorized.system().to_owned());
        let why = GivenBackWhy::Released { acting_party, actor, system, ground };
        let (engine, party, installation) = (self.clone(), party.clone(), installation.clone());
        // One that has left the registry may have taken over something before.
        let is_known = authorized.registry().systems().any(|system| system.name == installation.system);
        // To its end, and kept out until then, even if whoever asked goes away.
        let taking_back = async move {
            let _away = away;
            let released = engine.take_back(&party, &installation, |_| true, &why).await?;
            if released == 0 && !is_known {
                let problem = Wrong::new(
                    "không có trong sổ đăng ký và chưa nhận giao gì; xem `lgsp registry show system`",
                    "is no system of the registry, and had taken over nothing; see `lgsp registry show system`",
                );
                return Err(Refusal::new(Reason::FieldInvalid).field("system", problem));
            }
            Ok(released)
        };
        self.to_the_end(taking_back).await
    }
}

/// All the parties that a system acts for.
fn parties_of(authorized: &Authorized) -> Vec<PartyId> {
    let (registry, today) = (authorized.registry(), authorized.today());
    let system = registry.system(authorized.system(), today);
    system.map(|system| registry.parties_of_system(system, today).cloned().collect()).unwrap_or_default()
}

/// The wire's word for what was done.
pub(crate) const fn action_number(action: ParkedAction) -> v1::ParkedActionKind {
    match action {
        ParkedAction::Retry => v1::ParkedActionKind::Retry,
        ParkedAction::Skip => v1::ParkedActionKind::Skip,
    }
}
