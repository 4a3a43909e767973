//! Query, the second way through the bus: a live question to a registered service, answered within a deadline.
//!
//! The order never changes: who speaks → a place in the party's share → what is asked for what (service, purpose, procedure, matter,
//! grant, fields, schema) → a place at the service and a stream that serves it → ask, once → cut → sign → record → answer. Up to the
//! place nothing has happened. From then on there is a record of it, synced before anybody is told anything.
//!
//! A crash between asking and recording leaves nothing: nobody was told, and who asked does not know the outcome.

pub mod board;
pub mod breaker;
mod figures;
mod kept;
pub(crate) mod outcome;
pub mod serving;

pub use figures::{Figures, FiguresWanted};

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_domain::query::{Schema, cut};
use lgsp_domain::registry::{Need, NoProcedure, Owner, Right, Service, Wanted};
use lgsp_domain::roles;
use lgsp_proto::types::{ActorId, DossierCode, PartyId, ProcedureCode, RequestKey};
use lgsp_proto::{Reason, Refusal, Wrong, v1};
use tokio::time::Instant;

use self::board::{Answer, Asked, Board, Line, Slot, Standing};
use self::breaker::Ended;
use self::kept::{Answers, Kept};
use super::access::{Authorized, Peer};
use super::clock::machine_now;
use super::intake::digest;
use super::receipt::machine_timestamp;
use super::shares::{Quota, Shares};
use super::{Engine, read_failed};
use crate::store::{
    Commit, MatterLapsed, Queried, QueriesOf, QueryEnded, QueryId, QueryPage, QueryProof, QueryRecord, intake_digest,
};

/// The longest request. Answers a question that would be passed on to a database at somebody's expense.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// The longest reply.
pub const REPLY_BYTES_MAX: usize = 1 << 20;

/// Fields that one question may ask for.
pub const FIELDS_MAX: usize = lgsp_domain::query::schema::FIELDS_MAX;

/// What is kept back of the caller's own time, so that it hears what became of its question.
const TO_ANSWER: Duration = Duration::from_millis(200);

/// Places for questions of all parties: the services bound them, each by itself, so that none waits here for another.
const PLACES: usize = 1 << 20;

/// Matters that are made to lapse in one go.
const LAPSED_AT_ONCE: usize = 500;

/// What the engine knows of queries while it runs.
#[derive(Debug)]
pub(super) struct Queries {
    board: Board,
    shares: Shares,
    kept: Answers,
}

impl Queries {
    /// With the same share for every party of which the registry says nothing else.
    pub(super) fn new(quota: Quota) -> Self {
        Self { board: Board::default(), shares: Shares::new(PLACES, quota), kept: Answers::default() }
    }
}

/// A question as somebody asks it.
pub struct Ask {
    /// In whose name.
    pub party: PartyId,
    /// The clerk.
    pub actor: ActorId,
    /// The service.
    pub service: String,
    /// Its version; `None` for the newest in force.
    pub version: Option<u32>,
    /// Why.
    pub purpose: String,
    /// For which procedure.
    pub procedure: Option<ProcedureCode>,
    /// For what.
    pub matter: Option<Matter>,
    /// The fields wanted; none for all that are granted.
    pub fields: Vec<String>,
    /// The request.
    pub payload: Bytes,
    /// How long the caller waits.
    pub within: Option<Duration>,
    /// W3C traceparent of the call.
    pub traceparent: Option<String>,
}

/// What a question is asked for.
#[derive(Clone, Debug)]
pub enum Matter {
    /// A dossier, by its code or an alias.
    Dossier(String),
    /// One that will be handed in under this request key.
    Intake(RequestKey),
}

/// What whoever asked is told.
pub struct Told {
    /// The gateway's word.
    pub proof: QueryProof,
    /// The reply, cut to what is granted.
    pub reply: Bytes,
}

/// A service as somebody may ask it.
pub struct Offered {
    /// The service.
    pub service: Service,
    /// What the party is granted of it, by purpose.
    pub granted: Vec<(String, BTreeSet<String>)>,
    /// How it stands.
    pub standing: Standing,
    /// The files of its schemas.
    pub schemas: [Bytes; 2],
}

/// What a question is bound to, as it was found.
#[derive(Default)]
struct Bound {
    dossier: Option<DossierCode>,
    intake: Option<RequestKey>,
    procedure: Option<ProcedureCode>,
}

impl Engine {
    /// Asks a service. On record when it returns anything that says it was asked.
    ///
    /// # Errors
    /// Before it was asked, any refusal that says so. After that the refusal of the service, or `QUERY_OUTCOME_UNKNOWN`, each with
    /// `query_id`.
    pub async fn ask(&self, peer: Peer, ask: Ask) -> Result<Told, Refusal> {
        let engine = self.clone();
        // To its end: what was asked is recorded whoever still listens.
        self.to_the_end(async move { engine.ask_now(&peer, ask).await }).await
    }

    async fn ask_now(&self, peer: &Peer, ask: Ask) -> Result<Told, Refusal> {
        let authorized = self.authorize(peer, &ask.party)?;
        let _share = self.inner.queries.shares.enter(authorized.party(), authorized.quota()).await?;
        let (registry, today) = (authorized.registry(), authorized.today());
        let service = registry.service(&ask.service, ask.version, today).map_err(|none| none.refusal())?;
        let bound = self.bind(&authorized, &ask, service).await?;
        let fields = granted(&authorized, &ask, service, bound.procedure.as_ref())?;
        check_payload(service, &ask.payload)?;
        self.check_room()?;

        let id: QueryId = random_id();
        let same = kept::name(service, &ask.payload, &fields);
        if let Some(Kept { reply, connector, answered_at }) = self.inner.queries.kept.find(&same) {
            let asked =
                Ending { id, ask, bound, fields, connector, asked_at: machine_now(), answered_at: Some(answered_at) };
            return self.conclude(peer, &authorized, service, asked, Ok(reply)).await;
        }
        let waits = ask.within.map_or(service.timeout, |within| within.saturating_sub(TO_ANSWER).min(service.timeout));
        let now = Instant::now();
        let (until, service_until) = (now + waits, now + service.timeout);
        let asked = Asked { question: question(id, service, &ask, &bound, &fields), until };
        let (asked_at, may_serve) = (machine_now(), |line: &Line| self.may_serve(line, &authorized, service));
        let slot = self.inner.queries.board.ask(service, id, asked, may_serve);
        let slot = slot.map_err(|refusal| owned(refusal, &authorized, service))?;
        let connector = slot.line.system.clone();
        let ended = self.end_of((&id, slot), (until, service_until), service, &fields).await;
        if let Ok(reply) = &ended {
            let (reply, connector) = (reply.clone(), connector.clone());
            self.inner.queries.kept.keep(same, service, Kept { reply, connector, answered_at: machine_now() });
        }
        let asked = Ending { id, ask, bound, fields, connector, asked_at, answered_at: None };
        self.conclude(peer, &authorized, service, asked, ended).await
    }

    /// Waits for the answer, and cuts it. That there was none by `until` says nothing about a service that may take until
    /// `service_until`.
    async fn end_of(
        &self,
        (id, mut slot): (&QueryId, Slot),
        (until, service_until): (Instant, Instant),
        service: &Service,
        fields: &BTreeSet<String>,
    ) -> Result<Bytes, Reason> {
        let answer = slot.answer(until).await;
        let is_silent = answer.is_none();
        let ended = match answer {
            None => Err(Reason::QueryOutcomeUnknown),
            Some(Answer::Refused(refusal)) => Err(outcome::reason(refusal)),
            Some(Answer::Reply(reply)) => told(service, reply, fields).map_err(|(why, at)| {
                // The stream has no word for it; by the id the owner finds the question in its own log.
                let query_id = HEXLOWER.encode(id);
                tracing::warn!(query_id, service = service.id(), why, at, "a data service answers what it should not");
                Reason::ServiceFailed
            }),
        };
        let in_a_hurry = is_silent && until < service_until && Instant::now() >= until;
        let well = match ended.as_ref().err().is_some_and(|reason| outcome::is_failure(*reason)) {
            true if in_a_hurry => Ended::Unsaid,
            true => Ended::Failed,
            false => Ended::Well,
        };
        if slot.end(well) {
            tracing::warn!(service = service.id(), "a data service fails too often and is left alone for a while");
        }
        ended
    }

    /// Signs, records, and only then tells.
    async fn conclude(
        &self,
        peer: &Peer,
        authorized: &Authorized,
        service: &Service,
        asked: Ending,
        ended: Result<Bytes, Reason>,
    ) -> Result<Told, Refusal> {
        let Ending { id, ask, bound, fields, connector, asked_at, answered_at } = asked;
        let (ended_at, query_id) = (machine_now(), HEXLOWER.encode(&id));
        let reply_sha256 = ended.as_ref().ok().map(|reply| digest(reply));
        let fields: Vec<String> = fields.into_iter().collect();
        let intake = bound.intake.as_ref().map(intake_digest);
        let proof = reply_sha256.as_ref().map(|reply_sha256| {
            let answer = v1::QueryAnswer {
                query_id: Bytes::copy_from_slice(&id),
                service: service.name.clone(),
                version: service.version,
                purpose: ask.purpose.clone(),
                procedure_code: text(bound.procedure.as_ref()),
                dossier_code: text(bound.dossier.as_ref()),
                intake_key_sha256: intake.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default(),
                acting_party: ask.party.to_string(),
                actor: ask.actor.to_string(),
                fields: fields.clone(),
                registry_version: authorized.registry().version(),
                asked_at: Some(machine_timestamp(asked_at)),
                answered_at: Some(machine_timestamp(answered_at.unwrap_or(ended_at))),
                connector: connector.clone(),
                reply_sha256: Bytes::copy_from_slice(reply_sha256.as_bytes()),
                gateway: self.inner.signer.gateway().to_owned(),
            };
            peer.signer().unwrap_or(&self.inner.signer).query_answer(&answer)
        });
        let subject = self.subject(service, &ask.payload)?;
        let (reply, refused) = match &ended {
            Ok(reply) => (reply.clone(), None),
            Err(reason) => (Bytes::new(), Some(reason.to_string())),
        };
        let envelope = Queried {
            id,
            service: service.name.clone(),
            version: service.version,
            purpose: ask.purpose,
            procedure: bound.procedure,
            dossier: bound.dossier,
            intake,
            party: ask.party,
            actor: ask.actor,
            system: authorized.system().to_owned(),
            connector,
            fields,
            refused,
            asked_at,
            ended_at,
            reply_sha256,
            subject,
            registry_version: authorized.registry().version(),
            traceparent: ask.traceparent,
            proof: proof.clone(),
            key_id: 0,
        };
        let record = QueryEnded { envelope, intake_key: bound.intake, payload: ask.payload, reply };
        let told_of = |reason| owned(Refusal::new(reason).detail("query_id", &query_id), authorized, service);
        if let Err(error) = self.inner.store.commit(Commit::Query(Box::new(record))).await {
            // It was asked, and nobody may be told what is not on record.
            tracing::error!(query_id, error = &error as &dyn std::error::Error, "a query could not be recorded");
            self.counts().queries.count(outcome::UNRECORDED);
            return Err(told_of(Reason::QueryOutcomeUnknown).detail("cause", "not_recorded"));
        }
        self.counts().queries.count(ended.as_ref().err().map_or(outcome::ANSWERED, |reason| outcome::word(*reason)));
        match (ended, proof) {
            (Ok(reply), Some(proof)) => Ok(Told { proof, reply }),
            (Ok(_), None) => unreachable!("what is answered is signed"),
            (Err(reason), _) => Err(told_of(reason)),
        }
    }

    /// Whether a stream may still be asked: its system is the one that opened it, and acts for the service's owner.
    fn may_serve(&self, line: &Line, asking: &Authorized, service: &Service) -> bool {
        let owner = asking.registry().current_of(&service.owner, asking.today());
        owner == line.party
            && self.authorize(&line.peer, &line.party).is_ok_and(|serving| serving.system() == line.system)
    }

    /// Finds the matter of a question, and refuses what the service needs and does not get.
    async fn bind(&self, authorized: &Authorized, ask: &Ask, service: &Service) -> Result<Bound, Refusal> {
        let mut bound = match &ask.matter {
            None => Bound { procedure: ask.procedure.clone(), ..Bound::default() },
            Some(Matter::Dossier(name)) => {
                let code = self.resolve(name).await?;
                self.bind_dossier(authorized, ask, code).await?
            }
            Some(Matter::Intake(key)) => {
                let known = self.inner.store.by_key(authorized.party(), key).await.map_err(read_failed)?;
                let bound = match known {
                    Some(answered) => self.bind_dossier(authorized, ask, answered.code).await?,
                    None => Bound { procedure: ask.procedure.clone(), ..Bound::default() },
                };
                Bound { intake: Some(key.clone()), ..bound }
            }
        };
        let mut missing = Refusal::new(Reason::FieldInvalid);
        if service.needs.contains(&Need::Dossier) && ask.matter.is_none() {
            missing = missing.field(
                "matter",
                Wrong::new(
                    "bị thiếu: dịch vụ này được hỏi cho một hồ sơ (dossier_code, --dossier), hoặc một hồ sơ sắp nộp (intake_key, --intake-key)",
                    "is missing: the service is asked for a dossier (dossier_code, --dossier), or for one to come (intake_key, --intake-key)",
                ),
            );
        }
        if service.needs.contains(&Need::Procedure) && bound.procedure.is_none() {
            missing = missing.field(
                "procedure_code",
                Wrong::new(
                    "bị thiếu: dịch vụ này được hỏi cho một thủ tục",
                    "is missing: the service is asked for a procedure",
                ),
            );
        }
        if !missing.violations().is_empty() {
            return Err(missing);
        }
        if bound.dossier.is_some() {
            return Ok(bound);
        }
        let (registry, today) = (authorized.registry(), authorized.today());
        if let Some(code) = &bound.procedure {
            registry.procedure(code, today).map(drop).map_err(not_in_force)?;
        }
        if bound.intake.is_some() {
            // Whoever can hand nothing in has nothing to ask for.
            let may = |right| authorized.require(right, bound.procedure.as_ref());
            may(Right::Submit).or_else(|refusal| may(Right::Support).map_err(|_| refusal))?;
        }
        Ok(std::mem::take(&mut bound))
    }

    async fn bind_dossier(&self, authorized: &Authorized, ask: &Ask, code: DossierCode) -> Result<Bound, Refusal> {
        let store = &self.inner.store;
        let Some(dossier) = store.dossier(&code).await.map_err(read_failed)? else {
            return Err(self.not_here(authorized, &code).await);
        };
        if !authorized.may_know(&dossier) {
            return Err(Refusal::new(Reason::DossierNotFound));
        }
        // To be told of a dossier is no ground to ask about its citizen; to work on it is.
        if roles::roles_of(&dossier, authorized.party(), authorized.registry(), authorized.today()).is_empty() {
            return Err(Refusal::new(Reason::RoleMissing).detail("dossier_code", &code));
        }
        if store.erasure(&code).await.map_err(read_failed)?.is_some() {
            return Err(Refusal::new(Reason::ContentErased));
        }
        let procedure = dossier.opening.procedure.clone();
        if ask.procedure.as_ref().is_some_and(|asked| *asked != procedure) {
            return Err(Refusal::new(Reason::FieldInvalid)
                .field("procedure_code", Wrong::new("không phải thủ tục của hồ sơ", "is not that of the dossier")));
        }
        Ok(Bound { dossier: Some(code), intake: None, procedure: Some(procedure) })
    }

    /// The keyed hash of whom a request is about.
    fn subject(&self, service: &Service, payload: &[u8]) -> Result<Option<[u8; 32]>, Refusal> {
        let named = service.subject.iter().filter_map(|field| Some((field, Schema::text_in(payload, field)?)));
        let named: Vec<String> = named.map(|(field, text)| format!("{field}={}\n", text.trim())).collect();
        if named.is_empty() {
            return Ok(None);
        }
        self.inner.store.subject_hash(named.concat().as_bytes()).map(Some).map_err(read_failed)
    }

    /// The services in force, as `party` may ask them.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`].
    pub fn services(&self, peer: &Peer, party: &PartyId) -> Result<Vec<Offered>, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let (registry, today) = (authorized.registry(), authorized.today());
        let in_force = registry.services().iter().filter(|service| service.validity.contains(today));
        let schema = |name: &String| registry.files().get(name).cloned().unwrap_or_default().into();
        Ok(in_force
            .map(|service| Offered {
                granted: service
                    .purposes
                    .iter()
                    .filter_map(|purpose| granted_for(&authorized, service, purpose))
                    .collect(),
                standing: self.inner.queries.board.standing(service, |line| self.may_serve(line, &authorized, service)),
                schemas: [schema(&service.request_file), schema(&service.reply_file)],
                service: service.clone(),
            })
            .collect())
    }

    /// An earlier query with its content, for whoever made it and for the authority of its dossier.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `QUERY_NOT_FOUND`, also when it is none of the party's.
    pub async fn look_at_query(&self, peer: &Peer, party: &PartyId, id: &QueryId) -> Result<QueryRecord, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let not_found = || Refusal::new(Reason::QueryNotFound);
        let store = &self.inner.store;
        let mut record = store.query(id).await.map_err(read_failed)?.ok_or_else(not_found)?;
        let decides = match &record.envelope.dossier {
            Some(code) => {
                let dossier = store.dossier(code).await.map_err(read_failed)?;
                let authority = dossier.map(|dossier| dossier.opening.places.competent_authority.clone());
                authority.is_some_and(|it| authorized.may_know_of(&[it]))
            }
            None => false,
        };
        if decides || authorized.may_know_of(std::slice::from_ref(&record.envelope.party)) {
            record.envelope.subject = record.envelope.subject.filter(|_| authorized.oversees());
            return Ok(record);
        }
        if !authorized.oversees() {
            return Err(not_found());
        }
        // Who oversees sees that it was asked, and nothing of what.
        record.content = None;
        Ok(record)
    }

    /// Queries without content, newest first.
    ///
    /// # Errors
    /// Those of [`Engine::authorize`]; `DOSSIER_NOT_FOUND` when the party has nothing to do with it.
    pub async fn list_queries(
        &self,
        peer: &Peer,
        party: &PartyId,
        dossier: Option<&str>,
        (before, limit): (Option<u64>, usize),
    ) -> Result<QueryPage, Refusal> {
        let authorized = self.authorize(peer, party)?;
        let (store, oversees) = (&self.inner.store, authorized.oversees());
        let of = match dossier {
            None if oversees => QueriesOf::All,
            None => QueriesOf::Party(party.clone()),
            Some(name) => {
                let code = self.resolve(name).await?;
                let Some(dossier) = store.dossier(&code).await.map_err(read_failed)? else {
                    return Err(self.not_here(&authorized, &code).await);
                };
                if !oversees && !authorized.may_know(&dossier) {
                    return Err(Refusal::new(Reason::DossierNotFound));
                }
                let authority = std::slice::from_ref(&dossier.opening.places.competent_authority);
                if !oversees && !authorized.may_know_of(authority) {
                    return self.own_queries_of(party, code, (before, limit)).await;
                }
                QueriesOf::Dossier(code)
            }
        };
        let mut page = store.queries(&of, before, limit).await.map_err(read_failed)?;
        if !oversees {
            page.queries.iter_mut().for_each(|query| query.envelope.subject = None);
        }
        Ok(page)
    }

    /// Those that a party made itself for a dossier which another one decides. A page may be short, or empty, and not be the last.
    async fn own_queries_of(
        &self,
        party: &PartyId,
        code: DossierCode,
        (before, limit): (Option<u64>, usize),
    ) -> Result<QueryPage, Refusal> {
        let page = self.inner.store.queries(&QueriesOf::Dossier(code), before, limit).await;
        let mut page = page.map_err(read_failed)?;
        page.queries.retain(|query| query.envelope.party == *party);
        page.queries.iter_mut().for_each(|query| query.envelope.subject = None);
        Ok(page)
    }

    /// Lets go of what was asked for dossiers that have not come in for so long. Answers for how many; a large number of them is
    /// worked off in several calls.
    ///
    /// # Errors
    /// The store could not be read or written; the rest is left for the next time.
    pub async fn lapse_matters(&self, after: Duration) -> Result<usize, Refusal> {
        let mut lapsed = 0;
        let Some(until) = machine_now().checked_sub(after) else { return Ok(0) };
        let open = self.inner.store.open_matters(until, LAPSED_AT_ONCE).await.map_err(read_failed)?;
        for matter in open {
            let end =
                MatterLapsed { party: matter.party, intake: matter.intake, key_id: matter.key_id, at: machine_now() };
            let gone = self.inner.store.lapse(end).await.map_err(|error| super::commit_failed(&error))?;
            lapsed += usize::from(gone);
        }
        Ok(lapsed)
    }
}

/// A question that was sent.
struct Ending {
    id: QueryId,
    ask: Ask,
    bound: Bound,
    fields: BTreeSet<String>,
    connector: String,
    asked_at: SystemTime,
    /// When the owner answered, if that was before.
    answered_at: Option<SystemTime>,
}

/// The fields that may be told: asked for, granted, and there in this version.
fn granted(
    authorized: &Authorized,
    ask: &Ask,
    service: &Service,
    procedure: Option<&ProcedureCode>,
) -> Result<BTreeSet<String>, Refusal> {
    let mut wrong = Refusal::new(Reason::FieldInvalid);
    if !service.purposes.contains(&ask.purpose) {
        let (vi, en) =
            ("không phải mục đích của dịch vụ này; các mục đích", "is no purpose of this service; there are");
        let purposes = service.purposes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        wrong = wrong.field("purpose", Wrong::new(format!("{vi}: {purposes}"), format!("{en}: {purposes}")));
    }
    for (at, field) in ask.fields.iter().enumerate() {
        if !service.reply.fields().contains(field) {
            wrong = wrong.field(
                format!("fields[{at}]"),
                Wrong::new("không phải trường của bản dịch vụ này", "is no field of this version of the service"),
            );
        }
    }
    if !wrong.violations().is_empty() {
        return Err(wrong);
    }
    let wanted = Wanted { service: &service.name, purpose: &ask.purpose, fields: &ask.fields, procedure };
    let (registry, party) = (authorized.registry(), authorized.party());
    let granted = registry.may_call(party, wanted, authorized.today());
    let granted = granted.map_err(|missing| authorized.explained(missing.refusal()))?;
    let fields = service.fields_among(&granted.fields);
    if fields.is_empty() {
        return Err(Refusal::new(Reason::FieldInvalid)
            .field("version", Wrong::new("không có trường nào được cấp", "has none of the fields that are granted")));
    }
    Ok(fields)
}

/// What a party is granted of a service for one purpose, whatever the procedure; `None` for nothing.
fn granted_for(authorized: &Authorized, service: &Service, purpose: &str) -> Option<(String, BTreeSet<String>)> {
    let registry = authorized.registry();
    let fields = registry.callable_fields(authorized.party(), &service.name, purpose, authorized.today())?;
    Some((purpose.to_owned(), service.fields_among(&fields)))
}

fn check_payload(service: &Service, payload: &[u8]) -> Result<(), Refusal> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        let refusal = Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", PAYLOAD_BYTES_MAX);
        return Err(refusal
            .field("payload", Wrong::new("dài hơn mức cho phép của một câu hỏi", "is longer than a request may be")));
    }
    service.request.check_request(payload).map_err(Refusal::fields)
}

/// What may be told of a reply; or what is wrong with it, and at which field.
fn told(service: &Service, reply: Bytes, fields: &BTreeSet<String>) -> Result<Bytes, (&'static str, String)> {
    let whole = |why| (why, String::new());
    if reply.len() > REPLY_BYTES_MAX {
        return Err(whole("the reply is too long"));
    }
    let checked = service.reply.check_reply(&reply);
    checked.map_err(|mut found| ("the reply does not fit its schema", found.swap_remove(0).field))?;
    let told = cut(&reply, fields).map_err(|_| whole("the reply is no object"))?;
    Ok(match told {
        std::borrow::Cow::Borrowed(_) => reply.clone(),
        std::borrow::Cow::Owned(cut) => cut.into(),
    })
}

fn question(id: QueryId, service: &Service, ask: &Ask, bound: &Bound, fields: &BTreeSet<String>) -> v1::Question {
    v1::Question {
        query_id: Bytes::copy_from_slice(&id),
        service: Some(v1::ServiceRef { name: service.name.clone(), version: service.version }),
        purpose: ask.purpose.clone(),
        procedure_code: text(bound.procedure.as_ref()),
        dossier_code: text(bound.dossier.as_ref()),
        acting_party: ask.party.to_string(),
        actor: ask.actor.to_string(),
        fields: fields.iter().cloned().collect(),
        payload: ask.payload.clone(),
        time_left_ms: 0,
        traceparent: ask.traceparent.clone().unwrap_or_default(),
    }
}

/// A refusal with the service and its owner, whom to ask about it.
fn owned(refusal: Refusal, authorized: &Authorized, service: &Service) -> Refusal {
    let (registry, today) = (authorized.registry(), authorized.today());
    let id = registry.current_of(&service.owner, today);
    let name = registry.party(&id).map_or("", |party| &party.name).into();
    Owner::named_in(Some(&Owner { id, name }), refusal.detail("service", service.id()))
}

fn not_in_force(absent: NoProcedure) -> Refusal {
    let refusal = |reason| {
        Refusal::new(reason).field("procedure_code", Wrong::new("hôm nay không có hiệu lực", "is not in force today"))
    };
    match absent {
        NoProcedure::Unknown => refusal(Reason::ProcedureUnknown),
        NoProcedure::NotYet { from } => refusal(Reason::ProcedureNotYetInForce).detail("valid_from", from),
        NoProcedure::Abolished { successor: Some(successor) } => {
            refusal(Reason::ProcedureAbolished).detail("successor", successor)
        }
        NoProcedure::Abolished { successor: None } => refusal(Reason::ProcedureAbolished),
    }
}

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn random_id() -> QueryId {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).expect("a generator that was seeded once does not fail");
    id
}
