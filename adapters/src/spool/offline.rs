//! What was taken in without a line: the order in which it is forwarded, the numbers it was given, and the list of those
//! that were given in vain.
//!
//! The truth is in the calls themselves; what is kept here follows from them. A number is used from the moment its call is
//! durable, and a refusal later does not give it back: it stands in the list of exceptions until a clerk has worked it off.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use lgsp_journal::Position;
use lgsp_proto::spool_v1::{self as stored, spool_record::Kind};
use lgsp_proto::types::{ActorId, Date, DossierCode, PartyId, RequestKey};
use lgsp_proto::v1;
use prost::Message;

use super::numbers::{Numbers, day_number};
use super::state::{CallId, CallKind, Progress, State};
use super::{Broken, RecordError, Spool, now_ms};

/// What an offline submission told the citizen, as far as it is needed without reading the record.
#[derive(Debug)]
pub(crate) struct Offline {
    /// The code, where one was given out.
    code: Option<DossierCode>,
    /// The day and number of a provisional number.
    provisional: Option<(i32, u32)>,
    pub(crate) authority: Arc<str>,
    /// All names by which the dossier may be spoken of: code, provisional number, aliases.
    pub(crate) names: Vec<Arc<str>>,
}

/// That a clerk has worked off an exception.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handled {
    pub(crate) position: Position,
    pub(crate) at_ms: i64,
}

/// The dossiers taken in without a line, while a call about them waits.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    by_name: HashMap<Arc<str>, CallId>,
    dossiers: HashMap<CallId, Dossier>,
}

#[derive(Debug)]
struct Dossier {
    names: Vec<Arc<str>>,
    waiting: usize,
}

/// An intake that is still in the spool alone.
pub(crate) struct OfflineFound {
    pub(crate) request_key: Arc<str>,
    pub(crate) submission: v1::Submission,
    pub(crate) intake: stored::OfflineIntake,
}

/// A number that was given out and whose intake was refused. No `Debug`: the note may name somebody.
pub(crate) struct Exception {
    /// Names it among the exceptions, in the order of the refusals.
    pub(crate) place: u64,
    pub(crate) request_key: Arc<str>,
    pub(crate) intake: stored::OfflineIntake,
    pub(crate) procedure: String,
    pub(crate) received_at: Option<prost_types::Timestamp>,
    pub(crate) queued_at_ms: i64,
    pub(crate) refused_at_ms: i64,
    /// A serialized `google.rpc.Status`.
    pub(crate) refusal: Bytes,
    pub(crate) handled: Option<stored::ExceptionHandled>,
}

/// What a clerk did about an exception.
pub(crate) struct Handling {
    pub(crate) actor: ActorId,
    pub(crate) note: String,
    pub(crate) replaced_by: Option<RequestKey>,
}

/// Why an exception is not marked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HandleError {
    /// There is none under this key.
    #[error("no exception has this key")]
    Unknown,
    /// It was worked off before, in other words.
    #[error("the exception was worked off before")]
    Already,
    /// The request named as its replacement is not known here.
    #[error("the request that is to take its place is not known")]
    NoSuchReplacement,
    /// The disk failed.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Offline {
    /// Reads what a queued record says. A name that cannot be read as a number marks none, so it cannot be in a block either.
    pub(super) fn read(intake: &stored::OfflineIntake, body: &[u8]) -> Self {
        let code: Option<DossierCode> = intake.dossier_code.parse().ok();
        let aliases = v1::Submission::decode(body).map(|submission| submission.aliases).unwrap_or_default();
        let given = [&intake.dossier_code, &intake.provisional_number];
        let names = given.into_iter().chain(&aliases).filter(|name| !name.is_empty());
        Self {
            code,
            provisional: provisional_parts(&intake.provisional_number),
            authority: intake.competent_authority.as_str().into(),
            names: names.map(|name| name.as_str().into()).collect(),
        }
    }

    /// What is known of the intake without its record.
    pub(super) fn intake(&self) -> stored::OfflineIntake {
        let provisional = self.provisional.and_then(|_| self.names.get(usize::from(self.code.is_some())));
        stored::OfflineIntake {
            dossier_code: self.code.as_ref().map(ToString::to_string).unwrap_or_default(),
            provisional_number: provisional.map(ToString::to_string).unwrap_or_default(),
            competent_authority: self.authority.to_string(),
            ..stored::OfflineIntake::default()
        }
    }

    pub(super) fn mark_used(&self, desk: &str, numbers: &mut Numbers) {
        if let Some(code) = &self.code {
            numbers.used(desk, code);
        }
        if let Some((day, number)) = self.provisional {
            numbers.used_provisional(desk, day, number);
        }
    }
}

impl UnderWay {
    /// A submission that waits; entries about any of its names will go behind it.
    pub(super) fn begin(&mut self, id: &CallId, names: &[Arc<str>]) -> CallId {
        for name in names {
            self.by_name.entry(name.clone()).or_insert_with(|| id.clone());
        }
        self.dossiers.insert(id.clone(), Dossier { names: names.to_vec(), waiting: 1 });
        id.clone()
    }

    /// The submission behind which an entry about this name has to go.
    pub(super) fn join(&mut self, name: &Arc<str>) -> Option<CallId> {
        let id = self.by_name.get(name)?.clone();
        self.dossiers.get_mut(&id)?.waiting += 1;
        Some(id)
    }

    /// A call of the dossier was answered. After the last one its entries have nothing to wait for any more.
    pub(super) fn leave(&mut self, id: &CallId) {
        let Some(dossier) = self.dossiers.get_mut(id) else { return };
        dossier.waiting -= 1;
        if dossier.waiting == 0 {
            let names = self.dossiers.remove(id).map(|dossier| dossier.names).unwrap_or_default();
            self.by_name.retain(|name, of| of != id || !names.contains(name));
        }
    }
}

impl State {
    /// What stands for the finished calls when these are not read any more: how far numbers were used up. Epochs are not among
    /// it: where each was noted says which answers are of before, so those records are kept in their places.
    pub(super) fn marks(&self) -> Vec<Kind> {
        self.numbers.marks().into_iter().map(Kind::BlockLeased).collect()
    }

    pub(super) fn open_exceptions(&self) -> usize {
        let open = |id: &&CallId| self.calls.get(*id).is_some_and(|call| call.handled.is_none());
        self.exceptions.values().filter(open).count()
    }
}

impl Spool {
    /// Gives out a number; `None` when no block has one left. It is used for good as soon as a call that carries it is
    /// durable; one whose call never became so may be given again after a restart, because nobody was told of it.
    pub(crate) fn take_number(&self, desk: &PartyId, authority: &PartyId, day: Date) -> Option<u32> {
        self.shared.state().numbers.take(desk.as_str(), authority.as_str(), day)
    }

    /// Gives out a provisional number, unique for this spool, the desk and the day. It cannot be taken for a code, which
    /// has two hyphens and begins with its authority. The four hexadecimal digits in the middle are of this spool, so that a desk that had to
    /// begin a new one gives out other numbers.
    pub(crate) fn take_provisional(&self, desk: &PartyId, day: Date) -> String {
        let number = self.shared.state().numbers.take_provisional(desk.as_str(), day);
        let [a, b, ..] = self.id().0;
        let (year, month, date) = (day.year().rem_euclid(100), day.month(), day.day());
        format!("TN-{desk}-{year:02}{month:02}{date:02}-{a:02x}{b:02x}-{number:04}")
    }

    /// How many numbers are left.
    pub(crate) fn numbers_left(&self, desk: &PartyId, authority: &PartyId, day: Date) -> u32 {
        self.shared.state().numbers.left(desk.as_str(), authority.as_str(), day)
    }

    /// The numbers left of every block in these days, by desk, authority and day.
    pub(crate) fn numbers_overview(&self, from: Date, to: Date) -> Vec<(Arc<str>, Arc<str>, Date, u32)> {
        self.shared.state().numbers.overview(from..=to)
    }

    /// Whether numbers of any of these days were leased or given out.
    pub(crate) fn knows_numbers_of(&self, from: Date, to: Date) -> bool {
        self.shared.state().numbers.know_any_of(from..=to)
    }

    /// Whether this spool gives that number out itself.
    pub(crate) fn holds_number(&self, code: &DossierCode) -> bool {
        self.shared.state().numbers.holds(code)
    }

    /// Takes note of the gateway's epoch and of blocks leased in it; what is not known yet is durable when this returns. Blocks
    /// of an epoch that is over are left alone. Gives the number of new blocks.
    ///
    /// # Errors
    /// [`Broken`]; numbers of blocks that are not durable are not given out.
    pub(crate) async fn leased(&self, desk: &PartyId, epoch: u32, blocks: &[v1::NumberBlock]) -> Result<usize, Broken> {
        let newest = self.shared.state().numbers.epoch();
        if epoch < newest {
            tracing::error!(
                epoch,
                known = newest,
                "the gateway leases numbers of an epoch that is over; they are left alone"
            );
            return Ok(0);
        }
        if epoch > newest {
            self.write_epoch(epoch).await?;
        }
        let mut new = 0;
        for block in blocks {
            let Some(day) = block.day.parse::<Date>().ok().filter(|_| block.count > 0 && block.first > 0) else {
                continue;
            };
            let leased = stored::BlockLeased {
                desk: desk.to_string(),
                authority: block.authority.clone(),
                day: day_number(day),
                first: block.first,
                count: block.count,
                epoch,
                next: block.first,
            };
            if block.authority.is_empty() {
                continue;
            }
            let news = self.shared.state().numbers.news_of(&leased);
            for part in news {
                self.write(Kind::BlockLeased(part)).await?;
                new += 1;
            }
        }
        Ok(new)
    }

    /// The authorities that a desk's dossiers went to lately, the most frequent first.
    pub(crate) fn recent_authorities(&self, desk: &PartyId) -> Vec<Arc<str>> {
        let state = self.shared.state();
        let mut counts: HashMap<&Arc<str>, usize> = HashMap::new();
        let of_desk =
            state.calls.iter().filter(|(id, call)| &*id.party == desk.as_str() && call.kind == CallKind::Submit);
        for authority in of_desk.filter_map(|(_, call)| call.authority.as_ref()) {
            *counts.entry(authority).or_default() += 1;
        }
        let mut authorities: Vec<_> = counts.into_iter().collect();
        authorities.sort_unstable_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        authorities.into_iter().map(|(authority, _)| authority.clone()).collect()
    }

    /// A submission as it was queued, and what it told the citizen; `None` if the key is not that of one.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn submission(
        &self,
        id: &CallId,
    ) -> Result<Option<(v1::Submission, Option<stored::OfflineIntake>)>, RecordError> {
        let known = |id| {
            let state = self.shared.state();
            let call = state.calls.get(id).filter(|call| call.kind == CallKind::Submit)?;
            (call.position != Position::ORIGIN).then_some(call.position)
        };
        let Some(position) = known(id) else { return Ok(None) };
        let Some(Kind::Queued(queued)) = self.read(position)?.kind else { return Err(RecordError::Unknown(position)) };
        let submission = v1::Submission::decode(&queued.body[..]).map_err(|_| RecordError::Unknown(position))?;
        Ok(Some((submission, queued.offline)))
    }

    /// What an offline submission told the citizen, as far as that is known without its record.
    pub(crate) fn known_intake(&self, id: &CallId) -> Option<stored::OfflineIntake> {
        self.shared.state().calls.get(id)?.offline.as_ref().map(|offline| offline.intake())
    }

    /// The offline intake of a party that goes by this name and that the gateway does not have.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn offline_by_name(&self, party: &PartyId, name: &str) -> Result<Option<OfflineFound>, RecordError> {
        let found = {
            let state = self.shared.state();
            let goes_by = |offline: &Arc<Offline>| offline.names.iter().any(|one| &**one == name);
            let mut calls = state.calls.iter().filter(|(id, _)| &*id.party == party.as_str());
            let found = calls.find(|(_, call)| call.is_waiting() && call.offline.as_ref().is_some_and(goes_by));
            found.map(|(id, _)| id.clone())
        };
        let Some(id) = found else { return Ok(None) };
        let Some((submission, Some(intake))) = self.submission(&id)? else { return Ok(None) };
        Ok(Some(OfflineFound { request_key: id.key, submission, intake }))
    }

    /// Exceptions of a party after a place, in the order of the refusals; those worked off too, if wanted.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn exceptions(
        &self,
        party: &PartyId,
        after: u64,
        with_handled: bool,
        limit: usize,
    ) -> Result<Vec<Exception>, RecordError> {
        let ids: Vec<CallId> = {
            let state = self.shared.state();
            let later = state.exceptions.range(Position(after).next()..).map(|(_, id)| id);
            let of_party = later.filter(|id| &*id.party == party.as_str());
            let wanted = |id: &&CallId| state.calls.get(*id).is_some_and(|call| with_handled || call.handled.is_none());
            of_party.filter(wanted).take(limit).cloned().collect()
        };
        let read = ids.iter().map(|id| self.exception(id));
        Ok(read.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// One exception; `None` if there is none under this key.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub(crate) fn exception(&self, id: &CallId) -> Result<Option<Exception>, RecordError> {
        let (queued_at_ms, answered_at, handled_at) = {
            let state = self.shared.state();
            let Some(call) = state.calls.get(id).filter(|call| call.is_exception()) else { return Ok(None) };
            let Progress::Answered { position, .. } = call.progress else { return Ok(None) };
            (call.at_ms, position, call.handled.map(|handled| handled.position))
        };
        let Some(Kind::Answered(answered)) = self.read(answered_at)?.kind else {
            return Err(RecordError::Unknown(answered_at));
        };
        let Some(stored::answered::Outcome::Refused(refusal)) = answered.outcome else {
            return Err(RecordError::Unknown(answered_at));
        };
        let handled = match handled_at.map(|position| self.read(position)).transpose()?.and_then(|record| record.kind) {
            Some(Kind::ExceptionHandled(handled)) => Some(handled),
            _ => None,
        };
        let (submission, intake) = match self.submission(id) {
            Ok(Some((submission, intake))) => (submission, intake),
            // That may be the very reason why it stands here: the number is shown all the same.
            Ok(None) | Err(_) => (v1::Submission::default(), self.known_intake(id)),
        };
        Ok(Some(Exception {
            place: answered_at.0,
            request_key: id.key.clone(),
            intake: intake.unwrap_or_default(),
            procedure: submission.procedure_code,
            received_at: submission.received_at,
            queued_at_ms,
            refused_at_ms: answered.answered_at_unix_ms,
            refusal: refusal.into(),
            handled,
        }))
    }

    /// Notes that a clerk has worked an exception off: durable when this returns. The same again changes nothing.
    ///
    /// # Errors
    /// See [`HandleError`]; nothing was noted, unless the disk failed.
    pub(crate) async fn handle_exception(&self, id: &CallId, handling: &Handling) -> Result<(), HandleError> {
        let replaced_by = handling.replaced_by.as_ref().map_or("", RequestKey::as_str);
        let before = {
            let state = self.shared.state();
            let call = state.calls.get(id).filter(|call| call.is_exception()).ok_or(HandleError::Unknown)?;
            let replacement = CallId { party: id.party.clone(), key: replaced_by.into() };
            if !replaced_by.is_empty() && (replacement == *id || !state.calls.contains_key(&replacement)) {
                return Err(HandleError::NoSuchReplacement);
            }
            call.handled
        };
        let new = stored::ExceptionHandled {
            acting_party: id.party.to_string(),
            request_key: id.key.to_string(),
            actor: handling.actor.to_string(),
            note: handling.note.clone(),
            replaced_by_request_key: replaced_by.to_owned(),
            at_unix_ms: now_ms(),
        };
        if let Some(before) = before {
            let known = match self.read(before.position).ok().and_then(|record| record.kind) {
                Some(Kind::ExceptionHandled(known)) => known,
                _ => return Err(HandleError::Already),
            };
            let same = stored::ExceptionHandled { at_unix_ms: known.at_unix_ms, ..new } == known;
            return if same { Ok(()) } else { Err(HandleError::Already) };
        }
        self.write(Kind::ExceptionHandled(new)).await?;
        Ok(())
    }
}

/// Day and number of a provisional number.
fn provisional_parts(text: &str) -> Option<(i32, u32)> {
    let mut parts = text.rsplit('-');
    let (number, _spool, day) = (parts.next()?, parts.next()?, parts.next()?);
    let number = number.parse().ok()?;
    // The same reading of the two digits of the year as in a code.
    let day = format!("H57-{day}-0001").parse::<DossierCode>().ok()?.date();
    Some((day_number(day), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provisional_number_is_no_code_and_says_its_day() {
        let text = "TN-H57.101-250714-0a1b-0012";
        assert!(text.parse::<DossierCode>().is_err());
        assert!(text.parse::<lgsp_proto::types::Alias>().is_ok());
        assert_eq!(provisional_parts(text), Some((day_number(Date::constant(2025, 7, 14)), 12)));
        assert_eq!(provisional_parts(""), None);
    }
}
