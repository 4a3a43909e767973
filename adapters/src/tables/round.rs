//! One look at the tables: what is queued is taken in, in the order of its numbers; what was handled or refused is said to the spool;
//! what was answered and not written yet is written.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use lgsp_journal::fault;
use lgsp_proto::types::PartyId;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Tables;
use super::outbox::{NotReady, Queued};
use super::session::{Failed, Session, text};
use super::view::Trouble;
use crate::config::Acknowledge;
use crate::digest::sha256;
use crate::office::{AnswerJson, DeliveryNameJson, TakenIn};
use crate::problem::Problem;
use crate::request::MAX_TEXT_BYTES;
use crate::spool::{CallId, DeliveryId, Stage, Standing};
use crate::trouble::Way;

/// The most requests looked at in a round; then what was handled and a stop have their turn.
const MAX_REQUESTS: usize = 200;

/// The most rows settled in a round, and those looked at whether they have been answered.
const MAX_SETTLED: usize = 500;

/// After so many that cannot be taken in just now, the others would not fare better.
const MAX_HELD_BACK: usize = 8;

/// Rows that cannot be answered are known apart up to so many; of more, some are looked at each time.
const MAX_STUCK: usize = 10_000;

/// How often the inbox is counted, and answers are looked for that were not written.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// What became of a look.
struct Round {
    /// There is more to do at once.
    goes_on: bool,
    /// Why what is left was not taken in, though nothing is wrong with it.
    held_back: Option<String>,
}

/// Rows that a rule of the agency's own lets nobody answer, by their numbers: each is looked at again after a backoff of its own.
type Stuck = HashMap<i64, StuckRow>;

struct StuckRow {
    times: u32,
    again: Instant,
    /// What is said of it later waits with it.
    dossier_code: Option<String>,
}

/// What became of a row of the outbox.
enum Became {
    /// It is answered, or waits for the gateway.
    Told,
    /// Nothing is wrong with it, and it cannot be taken in now.
    HeldBack(Problem),
}

/// A request that was refused before it was taken in, as `GET /v1/requests/{key}` would tell it.
#[derive(Serialize)]
struct RejectedJson<'a> {
    party: &'a str,
    request_key: &'a str,
    state: &'static str,
    problem: &'a Problem,
}

impl Tables {
    /// Looks at the tables over a connection of its own until that fails, and says why.
    pub(super) async fn look_until_it_fails(&self, failures: &mut u32) -> Trouble {
        match self.looking(failures).await {
            Err(trouble) => trouble,
            Ok(never) => match never {},
        }
    }

    async fn looking(&self, failures: &mut u32) -> Result<std::convert::Infallible, Trouble> {
        let session = Session::open(&self.config).await?;
        session.check(&self.config.schema).await?;
        session.execute(&format!("LISTEN {}", self.config.schema), &[]).await.map_err(Failed::trouble)?;
        let (mut is_active, mut counted, mut held_back, mut stuck) = (false, None, 0, Stuck::new());
        loop {
            if !is_active {
                is_active = self.lock(&session).await?;
            }
            if is_due(&mut counted, COUNT_EVERY) || self.view.inbox() >= self.config.max_inbox.get() {
                self.count(&session).await?;
                self.write_what_was_answered(&session).await?;
            }
            let settled = self.settle(&session).await?;
            let round =
                if is_active { self.take_in_what_is_queued(&session, &mut stuck).await? } else { Round::nothing() };
            *failures = 0;
            self.view.went(Way::In, (!stuck.is_empty()).then_some(Trouble::Failing));
            held_back = if round.held_back.is_some() { held_back + 1 } else { 0 };
            let pause = match held_back {
                _ if round.goes_on || settled == MAX_SETTLED => Duration::ZERO,
                0 => {
                    let now = Instant::now();
                    let again = stuck.values().map(|row| row.again.saturating_duration_since(now)).min();
                    again.map_or(self.config.poll, |again| again.min(self.config.poll))
                }
                times => self.backoff.delay(times).max(self.config.poll),
            };
            tokio::select! {
                () = session.ended.cancelled() => return Err(Trouble::Unreachable),
                () = session.woken.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether this adapter is the one that takes in. The lock is the connection's, and ends with it.
    async fn lock(&self, session: &Session) -> Result<bool, Trouble> {
        // Locks are the database's, so the schema is all that tells them apart.
        let digest = sha256(format!("lgsp tables {}", self.config.schema).as_bytes());
        let key = i64::from_be_bytes(digest[..8].try_into().expect("it has eight bytes"));
        let rows = session.query("SELECT pg_try_advisory_lock($1)", &[(&key, Type::INT8)]).await;
        let rows = rows.map_err(Failed::trouble)?;
        Ok(rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)))
    }

    /// Counts what the agency has not handled, no further than matters.
    async fn count(&self, session: &Session) -> Result<(), Trouble> {
        let schema = &self.config.schema;
        let sql =
            format!("SELECT count(*) FROM (SELECT FROM {schema}.inbox WHERE handled_at IS NULL LIMIT $1) AS waiting");
        let most = i64::try_from(self.config.max_inbox.get()).unwrap_or(i64::MAX);
        let rows = session.query(&sql, &[(&most, Type::INT8)]).await.map_err(Failed::trouble)?;
        let count: i64 = rows.first().map_or(0, |row| row.try_get(0).unwrap_or(0));
        self.view.counted(usize::try_from(count).unwrap_or(0));
        Ok(())
    }

    /// Takes in what is queued, in order. A row that cannot be answered by a rule of the agency's own stops no other: it is left
    /// alone for a while.
    async fn take_in_what_is_queued(&self, session: &Session, stuck: &mut Stuck) -> Result<Round, Trouble> {
        let schema = &self.config.schema;
        // Those that could not be answered come last, so that others have their turn however many they are.
        let now = Instant::now();
        let known: Vec<i64> = stuck.keys().copied().collect();
        let mut waiting: HashSet<String> = stuck.values().filter_map(|row| row.dossier_code.clone()).collect();
        let tried: Stuck = stuck.extract_if(|_, row| row.again <= now).collect();
        let due: Vec<i64> = tried.keys().copied().collect();
        let queued =
            format!("SELECT party, request_key, number FROM {schema}.outbox WHERE state = 'queued' AND number");
        let mut rows = Vec::new();
        for (which, numbers) in [("<> ALL", &known), ("= ANY", &due)] {
            let sql = format!("{queued} {which} ($1) ORDER BY number LIMIT {MAX_REQUESTS}");
            rows.extend(session.query(&sql, &[(numbers, Type::INT8_ARRAY)]).await.map_err(Failed::trouble)?);
        }
        let goes_on = rows.len() >= MAX_REQUESTS;
        let mut left = stuck.len();
        let mut held_back: Vec<Problem> = Vec::new();
        for row in &rows {
            // One after the other, so that no more than one is in memory.
            let Some(queued) = self.queued(session, row).await? else { continue };
            let number: i64 = row.try_get(2).unwrap_or_default();
            // What is said about a dossier stays in order.
            let is_known = tried.contains_key(&number);
            let overtakes = !is_known && queued.dossier_code.as_ref().is_some_and(|code| waiting.contains(code));
            if overtakes || held_back.len() == MAX_HELD_BACK {
                left += 1;
                continue;
            }
            match self.entry(session, &queued).await {
                Ok(Became::Told) => continue,
                Ok(Became::HeldBack(problem)) => held_back.push(problem),
                Err(Failed::NotTaken) => {
                    let times = tried.get(&number).map_or(1, |row| row.times.saturating_add(1));
                    if stuck.len() < MAX_STUCK {
                        let again = Instant::now() + self.backoff.delay(times);
                        let dossier_code = queued.dossier_code.clone();
                        stuck.insert(number, StuckRow { times, again, dossier_code });
                    }
                }
                Err(Failed::Trouble(trouble)) => return Err(trouble),
            }
            left += 1;
            waiting.extend(queued.dossier_code);
        }
        let held_back = held_back.first().map(|problem| problem.reason().to_owned());
        let goes_on = goes_on && held_back.is_none();
        self.view.looked(true, left, held_back.clone());
        Ok(Round { goes_on, held_back })
    }

    /// Reads a row that was queued a moment ago; `None` if it is not any more.
    async fn queued(&self, session: &Session, row: &Row) -> Result<Option<Queued>, Trouble> {
        let (Ok(party), Ok(key)) = (row.try_get::<_, &str>(0), row.try_get::<_, &str>(1)) else { return Ok(None) };
        let (schema, columns) = (&self.config.schema, Queued::COLUMNS);
        let sql =
            format!("SELECT {columns} FROM {schema}.outbox WHERE party = $2 AND request_key = $3 AND state = 'queued'");
        let longest = i64::try_from(MAX_TEXT_BYTES).unwrap_or(i64::MAX);
        let values = [(&longest as _, Type::INT8), text(&party), text(&key)];
        let rows = session.query(&sql, &values).await.map_err(Failed::trouble)?;
        match rows.first() {
            Some(row) => Queued::of(row).map(Some).ok_or(Trouble::OtherVersion),
            None => Ok(None),
        }
    }

    async fn entry(&self, session: &Session, queued: &Queued) -> Result<Became, Failed> {
        let id = queued.id();
        let mut request = match queued.request(self) {
            Ok(request) => request,
            Err(problem) => return self.reject(session, queued, &problem).await,
        };
        let is_known = self.office.spool.call(&id).is_some();
        let brought = self.bring_documents(session, queued, &mut request, is_known).await;
        let ready = brought.and_then(|()| request.ready().map_err(NotReady::from));
        let taken = match ready {
            Ok((caller, key, ready)) => ready.take_in(&self.office, caller, key, queued.queued_at).await,
            Err(NotReady::Problem(problem)) => Err(problem),
            Err(NotReady::Trouble(trouble)) => return Err(Failed::Trouble(trouble)),
        };
        match taken {
            Ok(taken) => {
                reached(fault::TABLES_TAKEN)?;
                self.taken_in(session, &id, &queued.read, taken).await?;
                Ok(Became::Told)
            }
            Err(problem) if problem.may_pass() => Ok(Became::HeldBack(problem)),
            Err(problem) => self.reject(session, queued, &problem).await,
        }
    }

    /// Writes that a request is in the spool, or what became of it if that is known already: into the row that was read. One that was
    /// mended meanwhile stays queued, and the next look says that its key belongs to what it was before.
    async fn taken_in(&self, session: &Session, id: &CallId, read: &String, taken: TakenIn) -> Result<(), Failed> {
        let TakenIn { view, offline, code_pending } = taken;
        if matches!(view.standing, Standing::Answered(_)) {
            return self.write_answer(session, id, Some(read)).await;
        }
        // It was queued a moment ago; if it cannot be read back, its outcome will say so.
        let Ok(request) = self.office.request(id) else { return Ok(()) };
        let (code, number) = (request.dossier_code.clone(), request.provisional_number.clone());
        let answer = AnswerJson { party: &id.party, request: request.at_rest(), code_pending, offline: None };
        let (result, slip) = (to_json(&answer), offline.as_ref().map(to_json));
        let schema = &self.config.schema;
        let sql = format!(
            "UPDATE {schema}.outbox SET state = 'taken_in', taken_in_at = now(), instance = $3, result = $4::jsonb, \
             dossier_code = coalesce($5, dossier_code), provisional_number = $6, slip = $7::jsonb \
             WHERE party = $1 AND request_key = $2 AND state = 'queued' AND xmin::text = $8"
        );
        let (party, key) = (&*id.party, &*id.key);
        let values = [
            text(&party),
            text(&key),
            text(&self.instance),
            text(&result),
            text(&code),
            text(&number),
            text(&slip),
            text(read),
        ];
        session.execute(&sql, &values).await?;
        // An outcome that came before this was written has left the row alone, as one that was not read.
        let standing = self.office.spool.call(id).map(|call| call.standing);
        if matches!(standing, Some(Standing::Answered(_))) {
            self.write_answer(session, id, None).await
        } else {
            Ok(())
        }
    }

    /// Writes what became of a request into its row; a restored gateway may have answered otherwise than the one before. That the key
    /// is in use already is no news of a row that another adapter had admitted. A row that is queued is another's word until it was
    /// `read`, and so is one that was refused because the request is not what it says.
    pub(super) async fn write_answer(
        &self,
        session: &Session,
        id: &CallId,
        read: Option<&String>,
    ) -> Result<(), Failed> {
        // What has no outcome that can be read is told by REST as well: as nothing.
        let Ok(request) = self.office.request(id) else { return Ok(()) };
        let (state, code) = (request.state, request.dossier_code.clone());
        if !matches!(state, "admitted" | "refused") {
            return Ok(());
        }
        let is_key_reused = request.is_key_reused();
        let result = to_json(&AnswerJson { party: &id.party, request, code_pending: false, offline: None });
        let schema = &self.config.schema;
        let sql = format!(
            "UPDATE {schema}.outbox SET state = $3, answered_at = now(), taken_in_at = coalesce(taken_in_at, now()), \
             instance = $4, result = $5::jsonb, dossier_code = coalesce($6, dossier_code) \
             WHERE party = $1 AND request_key = $2 AND state <> $3 \
             AND NOT ($7 AND state = 'admitted' AND instance <> $4) \
             AND CASE WHEN state = 'queued' THEN xmin::text = $8 \
             ELSE taken_in_at IS NOT NULL OR result->'problem'->>'reason' IS DISTINCT FROM 'KEY_REUSED' END"
        );
        let (party, key) = (&*id.party, &*id.key);
        let values = [
            text(&party),
            text(&key),
            text(&state),
            text(&self.instance),
            text(&result),
            text(&code),
            (&is_key_reused as _, Type::BOOL),
            text(&read),
        ];
        session.execute(&sql, &values).await?;
        Ok(())
    }

    /// Answers in the row itself that nothing was taken in of what was read there.
    async fn reject(&self, session: &Session, queued: &Queued, problem: &Problem) -> Result<Became, Failed> {
        let rejected = RejectedJson { party: &queued.party, request_key: &queued.key, state: "refused", problem };
        let result = to_json(&rejected);
        let schema = &self.config.schema;
        let sql = format!(
            "UPDATE {schema}.outbox SET state = 'refused', answered_at = now(), taken_in_at = NULL, instance = $3, \
             result = $4::jsonb WHERE party = $1 AND request_key = $2 AND state = 'queued' AND xmin::text = $5"
        );
        let values = [text(&queued.party), text(&queued.key), text(&self.instance), text(&result), text(&queued.read)];
        session.execute(&sql, &values).await?;
        tracing::info!(reason = problem.reason(), "a request in the tables is refused");
        self.view.rejected();
        Ok(Became::Told)
    }

    /// Writes answers that nobody else will come to write: those to rows of a database that was itself restored, say, or behind a
    /// delivery that the agency has not handled.
    async fn write_what_was_answered(&self, session: &Session) -> Result<(), Trouble> {
        let schema = &self.config.schema;
        let sql = format!(
            "SELECT party, request_key FROM {schema}.outbox WHERE state = 'taken_in' AND instance = $1 \
             ORDER BY number LIMIT {MAX_SETTLED}"
        );
        let rows = session.query(&sql, &[text(&self.instance)]).await.map_err(Failed::trouble)?;
        for row in &rows {
            let (Ok(party), Ok(key)) = (row.try_get::<_, &str>(0), row.try_get::<_, &str>(1)) else { continue };
            let id = crate::spool::call_id(party, key);
            let standing = self.office.spool.call(&id).map(|call| call.standing);
            if matches!(standing, Some(Standing::Answered(_))) {
                match self.write_answer(session, &id, None).await {
                    Ok(()) | Err(Failed::NotTaken) => {}
                    Err(Failed::Trouble(trouble)) => return Err(trouble),
                }
            }
        }
        Ok(())
    }

    /// Says to the spool what the agency has handled or refused, and notes it in the row. Gives how many rows there were. A row that
    /// could not be refused counts again once it is handled, whatever word still stands in it.
    async fn settle(&self, session: &Session) -> Result<usize, Trouble> {
        if self.config.acknowledge == Acknowledge::Stored {
            return Ok(0);
        }
        let schema = &self.config.schema;
        let sql = format!(
            "SELECT delivery_id, party, dossier_code, sequence, CASE WHEN problem IS NULL THEN refused_reason END \
             FROM {schema}.inbox WHERE settled_at IS NULL AND (handled_at IS NOT NULL OR refused_reason IS NOT NULL) \
             AND instance = $1 AND (problem IS NULL OR handled_at IS NOT NULL) ORDER BY number LIMIT {MAX_SETTLED}"
        );
        let rows = session.query(&sql, &[text(&self.instance)]).await.map_err(Failed::trouble)?;
        for row in &rows {
            let Some((name, id, reason)) = settled(row) else { continue };
            let (problem, is_settled) = match self.say(&name, &id, reason.as_deref()).await {
                Ok(()) => (None, true),
                Err(problem) if problem.may_pass() => continue,
                // Another word may do; nothing else will.
                Err(problem) => (Some(to_json(&problem)), problem.reason() != "FIELD_INVALID"),
            };
            reached(fault::TABLES_SETTLED).map_err(Failed::trouble)?;
            let sql = format!(
                "UPDATE {schema}.inbox SET settled_at = CASE WHEN $2 THEN now() END, problem = $3::jsonb WHERE delivery_id = $1"
            );
            let values = [text(&name), (&is_settled as _, Type::BOOL), text(&problem)];
            session.execute(&sql, &values).await.map_err(Failed::trouble)?;
            self.office.spool.carry_now(&id);
        }
        Ok(rows.len())
    }

    /// Says what became of a delivery. What the spool no longer waits for was said before, or is not to be said any more.
    async fn say(&self, name: &str, id: &DeliveryId, reason: Option<&str>) -> Result<(), Problem> {
        let stage = self.office.spool.stage(id).filter(|_| self.office.spool.delivery_name(id) == name);
        let is_awaited = matches!(stage, Some(Stage::TakenOver(_)));
        let Ok(party) = id.party.parse::<PartyId>() else { return Ok(()) };
        let delivery = [DeliveryNameJson::new(id, name.to_owned())];
        match reason {
            // It has gone back, and that was not written in the row any more.
            Some(_) if stage.is_none() => Ok(()),
            Some(reason) => self.office.refuse(&party, &delivery, reason).await,
            None if is_awaited => self.office.acknowledge(&party, &delivery).await,
            None => Ok(()),
        }
    }
}

impl Round {
    fn nothing() -> Self {
        Self { goes_on: false, held_back: None }
    }
}

/// A row of the inbox that the agency has said something about.
fn settled(row: &Row) -> Option<(String, DeliveryId, Option<String>)> {
    let (party, dossier): (&str, &str) = (row.try_get(1).ok()?, row.try_get(2).ok()?);
    let sequence = row.try_get::<_, i32>(3).ok()?.try_into().ok()?;
    let id = DeliveryId { party: party.into(), dossier: dossier.into(), sequence };
    Some((row.try_get(0).ok()?, id, row.try_get(4).ok()?))
}

/// The process has come to a point between two commits.
pub(super) fn reached(point: &str) -> Result<(), Failed> {
    fault::reached(point).map_err(|_| Failed::Trouble(Trouble::Failing))
}

/// JSON for a column.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have text keys and finite numbers only")
}

fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}
