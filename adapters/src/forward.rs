//! Sends what the agency's system wants sent: first the documents a body names, then the body itself.
//!
//! Different dossiers side by side, one dossier's entries one after the other. A call goes out until the gateway has
//! answered for good, always the same bytes under the same key, so that its effect is had once.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use lgsp_journal::ReadError;
use lgsp_proto::types::DossierCode;
use lgsp_proto::v1;
use lgsp_proto::{Reason, Refusal};
use prost::Message;
use tokio::sync::{Semaphore, watch};

use crate::lanes::{Job, Lanes};
use crate::link::{Admitted, CallError, DocumentUpload, Link, Refused, TurnedAway, UploadError, documents_of};
use crate::problem::LocalReason;
use crate::pump::{Verdict, Work};
use crate::spool::{CallId, CallKind, Outcome, QueuedCall, RecordError, SentBefore, Spool, Told};

/// How often a disk that fails is asked again for the same call. What is read and is wrong is not asked for again.
const READS: u32 = 10;

/// How long after a restore other adapters are given to bring back what they had recorded: each sends again as soon as it is
/// connected, and one that is not by then may be away for days.
const COMING_BACK: Duration = Duration::from_secs(600);

/// How long a new entry waits for an inbox stream while there is a connection, and since one was last turned away: longer than a
/// stream takes to come back, and a gateway that opens none must not hold entries up for ever.
const WITHOUT_A_STREAM: Duration = Duration::from_secs(120);

/// How many documents are brought at once: half of the sixteen that a gateway takes from one system or party unless it is told
/// otherwise, so that two machines of one system fit in. More would not be faster on a commune's line.
const UPLOADS: usize = 8;

/// For how long at most a party is not even tried that was over its rate once.
const LONGEST_OVER_RATE: Duration = Duration::from_secs(60);

/// Sends the spool's calls over a link.
pub(crate) struct Forward {
    spool: Arc<Spool>,
    link: Link,
    uploads: Semaphore,
    /// How often the disk failed, by call.
    failed_reads: Mutex<HashMap<CallId, u32>>,
    /// The parties that are over their rate, and until when.
    over_rate: Mutex<HashMap<Arc<str>, Instant>>,
}

/// Why a call has no outcome yet.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error(transparent)]
    Call(#[from] CallError),
    /// A document of the call cannot be read on this machine.
    #[error("a document cannot be read from the spool")]
    Document(#[source] io::Error),
    /// The gateway was restarted, or somebody else brings the same document: it holds another part of it than it had said.
    #[error("the gateway wants a document from another place than it had said")]
    DocumentMoved,
    /// Other dossiers with the same document were faster, each time it was brought.
    #[error("a document went to another dossier that names it as well")]
    DocumentTaken,
}

impl Work for Forward {
    type Item = CallId;

    fn lanes<R>(&self, with: impl FnOnce(&mut Lanes<CallId>) -> R) -> R {
        self.spool.outgoing(with)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.spool.changes()
    }

    async fn perform(&self, job: Job<CallId>) -> Verdict {
        let id = job.item;
        if let Some(reason) = self.must_wait(&id) {
            self.spool.not_sent(&id, reason);
            return Verdict::Again;
        }
        if let Some(wait) = self.is_over_its_rate(&id.party) {
            return Verdict::LaterAlone(wait);
        }
        let call = match self.spool.begin_sending(&id) {
            Ok(Some(call)) => call,
            Ok(None) => return Verdict::Done,
            Err(error) if is_of_the_disk(&error) && !self.gives_up(&id) => {
                tracing::warn!(party.id = %id.party, %error, "a queued call cannot be read just now");
                self.spool.not_sent(&id, "the call cannot be read from the spool");
                return Verdict::Again;
            }
            Err(error) => return self.lost(&id, &error).await,
        };
        let epoch = self.spool.epoch();
        let outcome = match self.send(&id, &call, job.attempt).await {
            Ok(admitted) => Outcome::Admitted(v1::SubmitResponse {
                receipt: Some(admitted.signed),
                repeated: admitted.repeated,
                warnings: admitted.warnings,
            }),
            // Nothing is wrong with the call: it waits until there is a certificate that is let in.
            Err(NotYet::Call(CallError::Refused(refused))) if let Some(turned_away) = of_the_certificate(&refused) => {
                self.spool.not_sent(&id, turned_away.texts()[1]);
                return Verdict::LineDown;
            }
            Err(NotYet::Call(CallError::Refused(refused))) => {
                if self.may_be_premature(&call, epoch, &refused) {
                    self.spool.not_sent(&id, "the gateway was restored, and not everything is back yet");
                    return Verdict::Again;
                }
                tracing::info!(party.id = %id.party, %refused, "the gateway refused a call");
                Outcome::Refused(status_bytes(&refused))
            }
            Err(NotYet::Call(CallError::Body(error))) => return self.lost(&id, &error).await,
            Err(error) => return self.not_yet(&id, job.attempt, &error),
        };
        self.answered(&id, &outcome).await
    }
}

impl Forward {
    /// Sends over `link`.
    pub(crate) fn new(spool: Arc<Spool>, link: Link) -> Self {
        let uploads = Semaphore::new(UPLOADS);
        Self { spool, link, uploads, failed_reads: Mutex::default(), over_rate: Mutex::default() }
    }

    /// How much longer a party has to wait. Asked before anything is sent: whoever is over its rate would only use up what the
    /// system may send for all its parties.
    fn is_over_its_rate(&self, party: &Arc<str>) -> Option<Duration> {
        let mut over_rate = self.over_rate.lock().unwrap_or_else(PoisonError::into_inner);
        let left = over_rate.get(party)?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        if left.is_none() {
            over_rate.remove(party);
        }
        left
    }

    /// Why an entry may not be sent yet: what has a receipt of the books before may still have to come back, and a new entry
    /// would take its number. Asked without reading anything; what waits is woken by the epoch.
    fn must_wait(&self, id: &CallId) -> Option<&'static str> {
        if !self.spool.is_new_entry(id) {
            return None;
        }
        let connected = self.link.connectivity().borrow().connected_since;
        let connected_for = connected.and_then(|since| SystemTime::now().duration_since(since).ok());
        if waits_for_the_epoch(self.spool.epoch_told(), connected_for) {
            return Some("the gateway has not told yet whether it was restored");
        }
        let lately = self.spool.restored_for().is_some_and(|since| since < COMING_BACK);
        match self.spool.sent_before(id) {
            SentBefore::Nothing => None,
            SentBefore::Perhaps if !lately => None,
            SentBefore::Perhaps | SentBefore::Something => {
                Some("the gateway was restored, and not everything is back yet")
            }
        }
    }

    async fn answered(&self, id: &CallId, outcome: &Outcome) -> Verdict {
        self.failed_reads.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        match self.spool.answered(id, outcome).await {
            Ok(()) => Verdict::Done,
            Err(_) => Verdict::Again,
        }
    }

    /// A call that cannot be read any more ends here: its sender is told, and what waits behind it goes on.
    async fn lost(&self, id: &CallId, error: &(impl std::fmt::Display + Sync)) -> Verdict {
        tracing::error!(party.id = %id.party, %error, "a queued call cannot be read, and its sender is told so");
        self.answered(id, &Outcome::Refused(LocalReason::SpoolRecordDamaged.to_kept())).await
    }

    /// Counts a failure of the disk; true when there were enough of them.
    fn gives_up(&self, id: &CallId) -> bool {
        let mut failed = self.failed_reads.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failed.entry(id.clone()).or_default();
        *times += 1;
        *times >= READS
    }

    /// Whether a refusal may only come from a restore: the gateway's books are behind ours for a while, and what was recorded
    /// before must come back first. Until the inbox has told in which epoch the gateway is, nobody knows.
    fn may_be_premature(&self, call: &QueuedCall, epoch: u32, refused: &Refused) -> bool {
        if !self.spool.is_epoch_certain() || self.spool.epoch() != epoch {
            return true;
        }
        let Some(reason) = refused.refusal().map(Refusal::reason) else { return false };
        if call.kind != CallKind::Record || !depends_on_the_books(reason) {
            return false;
        }
        let Ok(entry) = v1::Entry::decode(call.body.clone()) else { return false };
        let standing = Named {
            was_known: self.spool.may_come_back(&entry.dossier_code),
            is_code: entry.dossier_code.parse::<DossierCode>().is_ok(),
        };
        is_premature(reason, standing, self.spool.restored_for())
    }

    async fn send(&self, id: &CallId, call: &QueuedCall, attempt: u32) -> Result<Admitted, NotYet> {
        // An earlier attempt may have been admitted without our hearing of it. Then its documents belong to the dossier, and
        // bringing them once more would be for nothing.
        // The same holds for what was admitted before a restore.
        if attempt == 1 && call.earlier.is_none() {
            self.bring_documents(id, call).await?;
        }
        match self.call(call).await {
            Err(CallError::Refused(refused)) if lacks_documents(&refused) => {
                // They went to another dossier of this party, perhaps a moment ago, or were never brought.
                let are_there = self.bring_documents(id, call).await?;
                match self.call(call).await {
                    // And once more, to a third dossier that names the same: no refusal as long as we can bring them.
                    Err(CallError::Refused(refused)) if are_there && lacks_documents(&refused) => {
                        Err(NotYet::DocumentTaken)
                    }
                    answer => Ok(answer?),
                }
            }
            answer => Ok(answer?),
        }
    }

    async fn call(&self, call: &QueuedCall) -> Result<Admitted, CallError> {
        match call.kind {
            CallKind::Submit => {
                self.link.submit_again(call.body.clone(), call.trace.as_ref(), call.earlier.clone()).await
            }
            CallKind::Record => {
                self.link.record_again(call.body.clone(), call.trace.as_ref(), call.earlier.clone()).await
            }
        }
    }

    /// Says whether all of them were there for a moment at least.
    async fn bring_documents(&self, id: &CallId, call: &QueuedCall) -> Result<bool, NotYet> {
        let mut are_there = true;
        for document in documents_of(call.kind == CallKind::Submit, &call.body) {
            match self.bring(document, call.trace.as_ref()).await {
                Err(NotYet::Document(error)) if is_damage(&error) || self.gives_up(id) => {
                    tracing::error!(party.id = %id.party, %error, "a document cannot be read from the spool and is as if it were not here");
                    are_there = false;
                }
                brought => are_there &= brought?,
            }
        }
        Ok(are_there)
    }

    /// Sees to it that the gateway has a document, as far as we have it. One that nobody has, or that cannot be read any more,
    /// the gateway will name in its refusal.
    async fn bring(&self, document: DocumentUpload, trace: Option<&crate::trace::TraceParent>) -> Result<bool, NotYet> {
        let documents = self.spool.documents();
        if !documents.holds(&document.acting_party, &document.sha256) {
            return Ok(false);
        }
        // Taken before it is asked where to go on, so that the answer is not an old one when its turn comes.
        let _place = self.uploads.acquire().await;
        let Some(offset) = self.link.missing_from(&document, trace).await? else { return Ok(true) };
        let content = documents.read(&document.acting_party, &document.sha256, offset).map_err(NotYet::Document)?;
        match self.link.upload(&document, offset, content, trace).await {
            Ok(()) => Ok(true),
            // Nobody's mistake, and no answer to the call: the next attempt asks anew where to go on.
            Err(UploadError::Call(CallError::Refused(refused))) if holds_another_part(&refused) => {
                Err(NotYet::DocumentMoved)
            }
            Err(UploadError::Call(error)) => Err(error.into()),
            Err(UploadError::Read(error)) => Err(NotYet::Document(error)),
        }
    }

    fn not_yet(&self, id: &CallId, attempt: u32, error: &NotYet) -> Verdict {
        let (verdict, reason) = match error {
            NotYet::Call(CallError::Unknown(_)) => (Verdict::LineDown, "no answer from the gateway".to_owned()),
            NotYet::Call(CallError::NotNow(refused)) => (self.later(id, refused.refusal()), error.to_string()),
            error => (Verdict::Again, error.to_string()),
        };
        // The first failures of a line are everyday; what stays is worth a warning.
        if attempt.is_power_of_two() && attempt > 2 {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(party.id = %id.party, attempt, %error, cause, "a call is still waiting for the gateway");
        }
        self.spool.not_sent(id, &reason);
        verdict
    }

    /// When a refusal lets a call come again, and whom else it concerns.
    fn later(&self, id: &CallId, refusal: Option<&Refusal>) -> Verdict {
        let Some(refusal) = refusal else { return Verdict::Again };
        let Some(wait) = refusal.retry_after() else { return Verdict::Again };
        match Limit::of(refusal) {
            // Some of what is under way ends at any moment, and others get in meanwhile.
            Some(Limit::AtOnce) => Verdict::LaterAlone(wait),
            Some(Limit::RateOfParty) => {
                let mut over_rate = self.over_rate.lock().unwrap_or_else(PoisonError::into_inner);
                over_rate.insert(id.party.clone(), Instant::now() + wait.min(LONGEST_OVER_RATE));
                Verdict::LaterAlone(wait)
            }
            None => Verdict::Later(wait),
        }
    }
}

/// A quota that concerns less than everything we send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Limit {
    /// Too much is under way.
    AtOnce,
    /// One party sends too fast. One adapter acts for many, and the others have their own.
    RateOfParty,
}

impl Limit {
    fn of(refusal: &Refusal) -> Option<Self> {
        let details = refusal.details();
        let names = |key| details.contains_key(key);
        match refusal.reason() {
            Reason::QuotaExceeded if names("at_once") => Some(Self::AtOnce),
            Reason::QuotaExceeded if names("party") => Some(Self::RateOfParty),
            _ => None,
        }
    }
}

/// Whether a new entry waits for an inbox stream to tell the epoch.
fn waits_for_the_epoch(told: Told, connected_for: Option<Duration>) -> bool {
    match told {
        Told::Known => false,
        Told::Behind { .. } => true,
        Told::Nothing { since } => {
            since.elapsed() < WITHOUT_A_STREAM || connected_for.is_none_or(|connected| connected < WITHOUT_A_STREAM)
        }
    }
}

/// What is known of the name by which an entry speaks of a dossier.
#[derive(Clone, Copy)]
struct Named {
    /// It was known here in an epoch before this one.
    was_known: bool,
    /// It is a code. Any other name may be that of a dossier that is known here by its code.
    is_code: bool,
}

/// Whether what was recorded about the dossier before decides about this refusal, so that it may be another one when that is
/// back.
fn depends_on_the_books(reason: Reason) -> bool {
    use Reason::{DossierNotFound, IllegalTransition, RoleMissing, StaleVersion};
    matches!(reason, DossierNotFound | IllegalTransition | RoleMissing | StaleVersion)
}

/// Whether such a refusal is to be asked again. A dossier that was known comes back, or an operator has to look for it; whether
/// what other adapters bring back about it is still under way nobody can tell, so that is waited for a while only.
fn is_premature(reason: Reason, named: Named, restored_for: Option<Duration>) -> bool {
    let lately = restored_for.is_some_and(|since| since < COMING_BACK);
    if reason == Reason::DossierNotFound && named.was_known {
        return true;
    }
    lately && (named.was_known || !named.is_code)
}

/// Whether a later try may read what this one could not.
fn is_of_the_disk(error: &RecordError) -> bool {
    matches!(error, RecordError::Journal(ReadError::Io(_)))
}

/// Whether what was read is wrong, or there is nothing to read.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::NotFound)
}

fn lacks_documents(refused: &Refused) -> bool {
    let reason = refused.refusal().map(Refusal::reason);
    matches!(reason, Some(Reason::DocumentUnknown | Reason::DocumentOfAnotherDossier))
}

fn of_the_certificate(refused: &Refused) -> Option<TurnedAway> {
    TurnedAway::of_reason(refused.refusal()?.reason())
}

fn holds_another_part(refused: &Refused) -> bool {
    refused.refusal().map(Refusal::reason) == Some(Reason::DocumentOffsetWrong)
}

/// A refusal as it is kept: the `google.rpc.Status` that came.
fn status_bytes(refused: &Refused) -> Bytes {
    Bytes::copy_from_slice(refused.status().details())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::StreamEnd;
    use std::time::Instant;

    #[test]
    fn a_gateway_that_opens_no_stream_is_waited_for_while_only_as_long_as_one_that_works_would_take() {
        let begun = Told::Nothing { since: Instant::now() };
        let long_ago = Told::Nothing { since: Instant::now().checked_sub(WITHOUT_A_STREAM).unwrap() };
        let (long, short) = (Some(WITHOUT_A_STREAM), Some(WITHOUT_A_STREAM / 2));
        assert!(!waits_for_the_epoch(long_ago, long));
        assert!(waits_for_the_epoch(begun, long) && waits_for_the_epoch(long_ago, short));
        assert!(waits_for_the_epoch(long_ago, None), "nobody was there to tell it");
        assert!(!waits_for_the_epoch(Told::Known, None));
        assert!(waits_for_the_epoch(Told::Behind { epoch: 1 }, long), "an old copy stays one");
    }

    #[test]
    fn a_system_that_was_unknown_for_long_waits_for_the_epoch_when_it_is_let_in_on_the_same_connection() {
        let (now, long) = (Instant::now(), WITHOUT_A_STREAM + Duration::from_secs(80));
        let told = Told::Nothing { since: now.checked_sub(long).unwrap() };
        let goes_out = |end| !waits_for_the_epoch(told.after(end, now), Some(long));
        assert!(!goes_out(StreamEnd::TurnedAway), "the first stream that is let in may tell of a restore");
        assert!(goes_out(StreamEnd::MayComeBack), "a gateway that opens none holds nothing up for ever");
        assert!(goes_out(StreamEnd::LetInForNobody));
    }

    #[test]
    fn after_a_restore_only_what_may_still_come_back_is_waited_for_and_not_for_ever() {
        let (known, stranger) = (Named { was_known: true, is_code: true }, Named { was_known: false, is_code: true });
        let other_name = Named { was_known: false, is_code: false };
        let (soon, late) = (Some(COMING_BACK / 2), Some(COMING_BACK));
        for reason in Reason::ALL.iter().copied().filter(|reason| depends_on_the_books(*reason)) {
            assert!(is_premature(reason, known, soon) && is_premature(reason, other_name, soon), "{reason}");
            let for_ever = reason == Reason::DossierNotFound;
            for restored_for in [late, None] {
                assert_eq!(is_premature(reason, known, restored_for), for_ever, "{reason}");
                assert!(!is_premature(reason, other_name, restored_for), "{reason}");
            }
            assert!([soon, late, None].iter().all(|restored_for| !is_premature(reason, stranger, *restored_for)));
        }
    }
}
