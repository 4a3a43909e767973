//! One look at the outbox: what is new and settled is taken in or rejected, in the order of its names.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::time::{Duration, Instant};

use lgsp_journal::fault;
use lgsp_proto::Wrong;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::answers::{self, ERROR, ErrorJson, RESULT, RequestKeyJson};
use super::disk::{Dir, Entry, Looks};
use super::request::{NotReady, REQUEST, Request};
use super::{Folder, Open, Requests, Trouble, names};
use crate::office::{AnswerJson, TakenIn, not_queued};
use crate::problem::{LocalReason, Problem};
use crate::request::MAX_DOCUMENTS;
use crate::spool::{CallId, Standing, call_id};

/// The most names of one folder that are looked at in a round.
const MAX_NAMES: usize = 20_000;

/// The most requests taken in or rejected in a round; then outcomes and a stop have their turn.
const MAX_REQUESTS: usize = 200;

/// The most files of one request, `request.json` among them.
const MAX_FILES: usize = MAX_DOCUMENTS + 1;

/// How often the inbox is counted, and what is old removed.
const COUNT_EVERY: Duration = Duration::from_secs(10);
const REMOVE_EVERY: Duration = Duration::from_secs(600);

/// What was seen in earlier rounds.
#[derive(Default)]
pub(super) struct Seen {
    /// What is not taken in yet, as it looked, and since when it has not changed.
    looks: HashMap<OsString, (Snapshot, Instant)>,
    counted: Option<Instant>,
    removed: Option<Instant>,
}

impl Seen {
    /// Whether something has not changed for so long; it is `now` that it looks like this.
    fn is_settled(&mut self, name: &OsStr, snapshot: &Snapshot, settle: Duration, now: Instant) -> bool {
        match self.looks.get(name) {
            Some((before, since)) if before == snapshot => now.duration_since(*since) >= settle,
            _ => {
                self.looks.insert(name.to_owned(), (snapshot.clone(), now));
                false
            }
        }
    }
}

/// All files of a request, or what else lies under its name.
type Snapshot = BTreeMap<OsString, Looks>;

/// What became of a round.
pub(super) struct Round {
    /// There is more to do at once.
    pub(super) goes_on: bool,
    /// Why what is left was not taken in, though nothing is wrong with it.
    pub(super) held_back: Option<String>,
}

/// What became of one entry of the outbox.
enum Became {
    /// It is being written, or was not looked at long enough.
    Unsettled,
    TakenIn,
    Rejected,
    /// Nothing is wrong with it, and it cannot be taken in now.
    HeldBack(Problem),
    /// Nothing had to be done.
    Nothing,
}

/// Why something is rejected, and whose it is as far as that is known.
struct Rejected {
    problem: Problem,
    id: Option<(String, RequestKeyJson)>,
}

impl Folder {
    /// Looks at the outbox once.
    ///
    /// # Errors
    /// The folder cannot be worked with. What was begun is found again by the next round.
    pub(super) fn round(&self, handle: &Handle, seen: &mut Seen, stop: &CancellationToken) -> Result<Round, Trouble> {
        self.look(handle, seen, stop).map_err(|error| {
            let trouble = Trouble::of(&error);
            if trouble == Trouble::Failing {
                tracing::warn!(%error, "the watched folder fails");
            }
            trouble
        })
    }

    fn look(&self, handle: &Handle, seen: &mut Seen, stop: &CancellationToken) -> io::Result<Round> {
        let open = self.open()?;
        let mut entries = open.outbox.entries(MAX_NAMES)?;
        entries.retain(|entry| !names::is_unfinished(&entry.name));
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let is_first = !*self.looked.borrow();
        let (mut done, mut left, mut held_back, mut failed, mut goes_on) = (0, 0, None, None, false);
        let mut still_seen = HashMap::new();
        for entry in &entries {
            if self.is_over_and_done_with(entry) {
                continue;
            }
            if stop.is_cancelled() {
                return Ok(Round { goes_on: false, held_back: None });
            }
            if done == MAX_REQUESTS {
                (goes_on, left) = (true, left + 1);
                still_seen.extend(seen.looks.remove_entry(&entry.name));
                continue;
            }
            match self.entry(handle, &open, entry, seen, is_first, held_back.is_some()) {
                // A disk that cannot read the one may read the others; what concerns all of them ends the round.
                Err(error) if Trouble::of(&error) == Trouble::Failing => {
                    left += 1;
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
                Ok(Became::TakenIn | Became::Rejected) => done += 1,
                Ok(Became::Nothing) => {}
                Ok(Became::Unsettled) => {
                    left += 1;
                    still_seen.extend(seen.looks.remove_entry(&entry.name));
                }
                Ok(Became::HeldBack(problem)) => {
                    left += 1;
                    held_back.get_or_insert_with(|| problem.reason().to_owned());
                    still_seen.extend(seen.looks.remove_entry(&entry.name));
                }
            }
        }
        seen.looks = still_seen;
        let (under_way, stuck) = {
            let mut requests = self.requests();
            let there: std::collections::HashSet<_> = entries.iter().map(|entry| &*entry.name).collect();
            requests.stuck.retain(|name| there.contains(&**name));
            (requests.waiting.len(), requests.stuck.len())
        };
        self.view.looked(left, under_way, stuck, held_back.clone());
        if !goes_on {
            self.looked.send_replace(true);
        }
        if is_due(&mut seen.counted, COUNT_EVERY) || self.view.inbox() >= self.config.max_inbox.get() {
            self.view.counted(super::out::count(&open.inbox, self.config.max_inbox.get())?);
        }
        if is_due(&mut seen.removed, REMOVE_EVERY) {
            self.remove_what_is_old(&open)?;
        }
        failed.map_or(Ok(Round { goes_on, held_back }), Err)
    }

    /// Whether nothing is left to be done about an entry but to wait.
    fn is_over_and_done_with(&self, entry: &Entry) -> bool {
        let requests = self.requests();
        entry.name.to_str().is_some_and(|name| requests.names.contains_key(name))
            || requests.stuck.contains(&entry.name)
    }

    fn entry(
        &self,
        handle: &Handle,
        open: &Open,
        entry: &Entry,
        seen: &mut Seen,
        is_first: bool,
        is_held_back: bool,
    ) -> io::Result<Became> {
        let nameless = |problem: Wrong| Rejected {
            problem: Problem::from(LocalReason::FolderEntryInvalid).with_field("name", problem),
            id: None,
        };
        let name = names::usable(&entry.name);
        let no_folder = || Wrong::new("không phải của thư mục chứa yêu cầu", "is not of a folder that holds a request");
        let wrong = name.as_ref().err().cloned().or_else(|| (!entry.is_folder).then(no_folder));
        if let Some(wrong) = wrong {
            let snapshot = match open.outbox.looks(&entry.name) {
                Ok(looks) => Snapshot::from([(entry.name.clone(), looks)]),
                Err(error) => return gone_or(error),
            };
            if !seen.is_settled(&entry.name, &snapshot, self.config.settle, Instant::now()) {
                return Ok(Became::Unsettled);
            }
            let name = name.map_or_else(|_| names::instead_of(&entry.name), str::to_owned);
            return self.reject(open, &entry.name, &name, &nameless(wrong));
        }
        let name = name.unwrap_or_default();
        let folder = match open.outbox.sub(&entry.name) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.reject(
                    open,
                    &entry.name,
                    name,
                    &nameless(Wrong::new("bộ kết nối không được phép đọc", "may not be read by the adapter")),
                );
            }
            Err(error) => return gone_or(error),
        };
        let snapshot = match snapshot(&folder) {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => {
                return self.reject(
                    open,
                    &entry.name,
                    name,
                    &nameless(Wrong::new("có nhiều hơn 201 tệp", "has more than 201 files")),
                );
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.reject(
                    open,
                    &entry.name,
                    name,
                    &nameless(Wrong::new("bộ kết nối không được phép đọc", "may not be read by the adapter")),
                );
            }
            Err(error) => return Err(error),
        };
        let is_settled = seen.is_settled(&entry.name, &snapshot, self.config.settle, Instant::now());
        if !is_settled && !is_first {
            return Ok(Became::Unsettled);
        }
        let request = Request::read(&folder, &self.config.parties);
        let known = match &request {
            Ok(request) => self.office.spool.call(&request.id()).is_some(),
            Err(_) => false,
        };
        // What the spool knows was whole before, and its outcome must find it.
        if !is_settled && !known {
            return Ok(Became::Unsettled);
        }
        if is_held_back && !known && request.is_ok() {
            return Ok(Became::Unsettled);
        }
        let request = match request {
            Ok(request) => request,
            Err(NotReady::Problem(problem)) => {
                return self.reject(open, &entry.name, name, &Rejected { problem, id: None });
            }
            Err(NotReady::Disk(error)) => return gone_or(error),
        };
        let id = request.id();
        if known && self.waits_on(open, name, &id) {
            return Ok(Became::Nothing);
        }
        let whose = (id.party.to_string(), RequestKeyJson::from(request.key()));
        // Its documents may be a gigabyte, and would be brought again at each look.
        if !known && let Some(full) = self.office.spool.no_room() {
            return Ok(Became::HeldBack(not_queued(full)));
        }
        let spool = (!known).then(|| (self.office.spool.documents(), handle));
        let taken = match request.ready(&folder, self.limits, spool) {
            // Somebody writes to it all the same.
            Ok(_) if self::snapshot(&folder)?.is_none_or(|after| after != snapshot) => {
                seen.looks.remove(&entry.name);
                return Ok(Became::Unsettled);
            }
            Ok((caller, key, ready)) => {
                // It was read, so it is there.
                let written_at = snapshot.get(OsStr::new(REQUEST)).map_or(0, Looks::written_at);
                let mut requests = self.requests();
                match handle.block_on(ready.take_in(&self.office, caller, key, written_at)) {
                    Ok(taken) => return self.taken_in(open, &mut requests, name, &id, taken),
                    Err(problem) => problem,
                }
            }
            Err(NotReady::Problem(problem)) => problem,
            Err(NotReady::Disk(error)) => return gone_or(error),
        };
        if taken.may_pass() {
            return Ok(Became::HeldBack(taken));
        }
        self.reject(open, &entry.name, name, &Rejected { problem: taken, id: Some(whose) })
    }

    /// A request is in the spool: from now on its outcome finds it under this name. Tells how it stands.
    fn taken_in(
        &self,
        open: &Open,
        requests: &mut Requests,
        name: &str,
        id: &CallId,
        taken: TakenIn,
    ) -> io::Result<Became> {
        let TakenIn { view, offline, code_pending } = taken;
        requests.waiting.entry(id.clone()).or_default().insert(name.to_owned());
        fault::reached(fault::FOLDER_TAKEN)?;
        if matches!(view.standing, Standing::Answered(_)) && self.office.spool.is_told(id) {
            // Nobody else will come to say so.
            self.tell(open, requests, id)?;
            return Ok(Became::TakenIn);
        }
        // It was queued a moment ago; if it cannot be read back, its outcome will say so.
        if let Ok(request) = self.office.request(id) {
            let answers = open.answers.own(name)?;
            let result = AnswerJson { party: &id.party, request: request.at_rest(), code_pending, offline };
            answers.write(RESULT, &answers::to_json(&result))?;
            answers.remove(OsStr::new(ERROR))?;
        }
        // If somebody has removed it, there is nothing to look at again.
        if let Ok(inode) = open.outbox.inode(OsStr::new(name)) {
            requests.names.insert(name.to_owned(), inode);
        }
        if let Some(answered) = &mut requests.answered {
            answered.insert(id.clone(), name.to_owned());
        }
        Ok(Became::TakenIn)
    }

    /// Whether a request was taken in before and told so: then its outcome is all that it waits for.
    fn waits_on(&self, open: &Open, name: &str, id: &CallId) -> bool {
        let answers = open.answers.sub(OsStr::new(name)).ok();
        let told = answers.is_some_and(|answers| answers::answered(&answers).as_ref() == Some(id));
        if !told || self.office.spool.is_told(id) {
            return false;
        }
        let Ok(inode) = open.outbox.inode(OsStr::new(name)) else { return false };
        let mut requests = self.requests();
        requests.waiting.entry(id.clone()).or_default().insert(name.to_owned());
        requests.names.insert(name.to_owned(), inode);
        true
    }

    /// Answers that nothing was taken in, and moves it away.
    fn reject(&self, open: &Open, entry: &OsStr, name: &str, rejected: &Rejected) -> io::Result<Became> {
        let Rejected { problem, id } = rejected;
        let error = ErrorJson {
            party: id.as_ref().map(|(party, _)| &**party),
            request_key: id.as_ref().map(|(_, key)| key),
            state: "rejected",
            problem: problem.clone(),
        };
        let answers = open.answers.own(name)?;
        // What another request of this name was answered is no answer to this one, and who looks for it first would take it for one.
        let is_of_this = |known: CallId| id.as_ref().is_some_and(|(party, key)| known == call_id(party, key.as_str()));
        if !answers::answered(&answers).is_some_and(is_of_this) {
            answers.remove(OsStr::new(RESULT))?;
        }
        answers.write(ERROR, &answers::to_json(&error))?;
        tracing::info!(reason = problem.reason(), "a request in the watched folder is rejected");
        self.view.rejected();
        fault::reached(fault::FOLDER_MOVE)?;
        if let Err(error) = open.outbox.move_to(entry, &open.rejected, name)
            && error.kind() != io::ErrorKind::NotFound
        {
            self.stays(&mut self.requests(), entry, &error);
        }
        Ok(Became::Rejected)
    }

    /// What cannot be moved stays in the outbox, and is left alone until the next start or until somebody else removes it.
    pub(super) fn stays(&self, requests: &mut Requests, entry: &OsStr, error: &io::Error) {
        if requests.stuck.insert(entry.to_owned()) {
            tracing::warn!(%error, "an answered request cannot be moved out of the outbox");
        }
    }

    /// Removes what was done long ago, and its answers; what was rejected stays until a person has seen to it.
    fn remove_what_is_old(&self, open: &Open) -> io::Result<()> {
        let keep = i64::try_from(self.config.keep.as_secs()).unwrap_or(i64::MAX);
        let now = crate::spool::now_ms() / 1000;
        let is_old = |folder: &Dir, name: &OsStr| folder.changed_at(name).is_ok_and(|at| at < now.saturating_sub(keep));
        for Entry { name, .. } in open.done.entries(MAX_NAMES)? {
            if is_old(&open.done, &name)
                && let Err(error) = open.done.remove_all(&name)
            {
                tracing::warn!(%error, "an old request stays in done");
            }
        }
        for Entry { name, is_folder } in open.answers.entries(MAX_NAMES)? {
            let lies = |folder: &Dir| folder.looks(&name).is_ok();
            if is_folder && is_old(&open.answers, &name) && !lies(&open.outbox) && !lies(&open.rejected) {
                open.answers.remove_all(&name)?;
                let mut requests = self.requests();
                if let (Some(answered), Some(name)) = (&mut requests.answered, name.to_str()) {
                    answered.retain(|_, known| known != name);
                }
            }
        }
        for Entry { name, .. } in open.inbox.entries(MAX_NAMES)? {
            if is_old(&open.inbox, &name) {
                open.inbox.remove_empty(&name);
            }
        }
        Ok(())
    }
}

/// All files of a request; `None` if they are too many.
fn snapshot(folder: &Dir) -> io::Result<Option<Snapshot>> {
    let entries = folder.entries(MAX_FILES + 1)?;
    if entries.len() > MAX_FILES {
        return Ok(None);
    }
    let mut snapshot = Snapshot::new();
    for Entry { name, .. } in entries {
        match folder.looks(&name) {
            Ok(looks) => snapshot.insert(name, looks),
            // It went away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
    }
    Ok(Some(snapshot))
}

/// What was there a moment ago may be gone.
fn gone_or(error: io::Error) -> io::Result<Became> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Became::Nothing),
        _ => Err(error),
    }
}

fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_changes_is_settled_only_when_it_has_stopped_for_long_enough() {
        let place = tempfile::tempdir().unwrap();
        let (file, name) = (place.path().join("to-khai.pdf"), OsStr::new("ho-so-1"));
        let look = || snapshot(&Dir::open(place.path()).unwrap()).unwrap().unwrap();
        let (begun, settle) = (Instant::now(), Duration::from_secs(2));
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut seen = Seen::default();
        fs::write(&file, "half").unwrap();
        assert!(!seen.is_settled(name, &look(), settle, at(0)));
        assert!(!seen.is_settled(name, &look(), settle, at(1)));
        fs::write(&file, "half and half").unwrap();
        assert!(!seen.is_settled(name, &look(), settle, at(2)), "it was written to");
        assert!(!seen.is_settled(name, &look(), settle, at(3)));
        // Another of the same length, put in its place.
        fs::write(place.path().join("new"), "half and HALF").unwrap();
        fs::rename(place.path().join("new"), &file).unwrap();
        assert!(!seen.is_settled(name, &look(), settle, at(4)), "it is another");
        assert!(!seen.is_settled(OsStr::new("ho-so-2"), &look(), settle, at(6)), "nobody has looked at this one yet");
        assert!(seen.is_settled(name, &look(), settle, at(6)));
    }
}
