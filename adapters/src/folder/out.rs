//! The way out: a delivery is a file in `inbox`, an outcome the last word in `answers`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lgsp_journal::fault;
use tokio::runtime::Handle;

use super::answers::{self, ERROR, RESULT};
use super::disk::{Dir, Entry};
use super::documents::NotThere;
use super::view::Trouble;
use super::{Folder, Open, Requests, names};
use crate::handover::{About, Carrier, Message, NotTaken};
use crate::office::AnswerJson;
use crate::papers::documents_named;
use crate::spool::{CallId, DeliveryId};
use crate::trace::TraceParent;
use crate::trouble::Way;

/// The most answers that are looked through for the one to an outcome that nobody waits for.
const MAX_ANSWERS: usize = 50_000;

/// How long an outcome waits for the first look at the outbox before it is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The way out to a watched folder.
pub(crate) struct ToFolder(pub(crate) Arc<Folder>);

impl Carrier for ToFolder {
    /// Writes it: taken when the file is durable under its name.
    async fn carry(&self, message: &Message) -> Result<(), NotTaken> {
        let folder = self.0.clone();
        let carried = match &message.about {
            About::Delivery(id) => {
                let (id, delivery) = (id.clone(), message.id.clone());
                let (body, trace) = (message.body.clone(), message.trace.clone());
                let handle = Handle::current();
                let names_papers = folder.config.documents && !documents_named(&message.body).is_empty();
                let place = if names_papers { self.0.papers.place().await } else { None };
                if names_papers && place.is_none() {
                    return Err(NotTaken::NotYet);
                }
                let delivering = move || folder.deliver(&handle, &id, &delivery, &body, trace.as_ref());
                tokio::task::spawn_blocking(delivering).await
            }
            About::Outcome(id) => {
                let mut looked = folder.looked.subscribe();
                let first_look = tokio::time::timeout(LONGEST_WAIT, looked.wait_for(|looked| *looked));
                if first_look.await.is_err() {
                    return Err(NotTaken::Unreachable);
                }
                let id = id.clone();
                tokio::task::spawn_blocking(move || Ok(folder.outcome(&id)?)).await
            }
        };
        let trouble = match carried {
            Ok(Ok(())) => None,
            Ok(Err(NotThere::NoPapers)) => {
                self.0.view.went(Way::Out, Some(Trouble::NoDocuments));
                return Err(NotTaken::NotYet);
            }
            Ok(Err(NotThere::Trouble(trouble))) => Some(trouble),
            Err(_) => Some(Trouble::Failing),
        };
        self.0.view.went(Way::Out, trouble);
        // Whatever is the matter with a folder is not the message's fault, and concerns all of them.
        trouble.map_or(Ok(()), |_| Err(NotTaken::Unreachable))
    }
}

impl Folder {
    /// Writes a delivery. `delivery` names it for ever: come again, it is the same file.
    fn deliver(
        &self,
        handle: &Handle,
        id: &DeliveryId,
        delivery: &str,
        body: &[u8],
        trace: Option<&TraceParent>,
    ) -> Result<(), NotThere> {
        if self.view.inbox() >= self.config.max_inbox.get() {
            return Err(Trouble::InboxFull.into());
        }
        let name = names::of_delivery(id, delivery);
        let open = self.open().map_err(|error| told(&error))?;
        let dossier = || open.inbox.own(&names::of_dossier(id));
        if self.config.documents {
            let dossier = dossier().map_err(|error| told(&error))?;
            let files = format!("{name}.files");
            self.put_beside(handle, &dossier, &files, id, trace, body)?;
        }
        let file = format!("{name}.json");
        let write = || dossier()?.write(&file, body);
        let written = match write() {
            // The dossier's folder was empty, and somebody removed it in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => write(),
            written => written,
        };
        written.map_err(|error| told(&error))?;
        self.view.delivered();
        Ok(fault::reached(fault::FOLDER_DELIVERED).map_err(|error| told(&error))?)
    }

    /// Tells what became of a request, under every name it came by.
    fn outcome(&self, id: &CallId) -> Result<(), Trouble> {
        let tell = || {
            let open = self.open()?;
            self.tell(&open, &mut self.requests(), id)
        };
        tell().map_err(|error| told(&error))
    }

    /// Writes the last answer to a request, then moves the request away.
    pub(super) fn tell(&self, open: &Open, requests: &mut Requests, id: &CallId) -> io::Result<()> {
        // What has no outcome that can be read is told by REST as well: as nothing.
        let result =
            |request| answers::to_json(&AnswerJson { party: &id.party, request, code_pending: false, offline: None });
        let Ok(text) = self.office.request(id).map(result) else { return Ok(()) };
        let names = match requests.waiting.get(id) {
            Some(names) => names.iter().cloned().collect(),
            None => vec![self.name_of(open, requests, id)?],
        };
        for name in &names {
            let answers = open.answers.own(name)?;
            answers.write(RESULT, &text)?;
            answers.remove(OsStr::new(ERROR))?;
            fault::reached(fault::FOLDER_MOVE)?;
            // Under the same name another request may lie by now, which nobody has read.
            let taken = requests.names.get(name).copied();
            let is_it = taken.is_none() || open.outbox.inode(OsStr::new(name)).is_ok_and(|now| Some(now) == taken);
            if requests.waiting.contains_key(id) && is_it {
                match open.outbox.move_to(OsStr::new(name), &open.done, name) {
                    Ok(()) => {}
                    // Somebody has removed it.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => self.stays(requests, OsStr::new(name), &error),
                }
            }
            requests.names.remove(name);
        }
        requests.waiting.remove(id);
        fault::reached(fault::FOLDER_TOLD)
    }

    /// Under which name a request is answered that nobody waits for: it was answered before, or it came by another way in.
    fn name_of(&self, open: &Open, requests: &mut Requests, id: &CallId) -> io::Result<String> {
        let answered = match &mut requests.answered {
            Some(answered) => answered,
            none => none.insert(read_answers(&open.answers)?),
        };
        // The name may have been used again since, and then it is another's.
        let is_still = |name: &String| {
            let folder = open.answers.sub(OsStr::new(name)).ok();
            folder.and_then(|folder| answers::answered(&folder)).as_ref() == Some(id)
        };
        Ok(answered.get(id).cloned().filter(is_still).unwrap_or_else(|| names::of_request(id)))
    }
}

/// Who is answered under which name.
fn read_answers(answers: &Dir) -> io::Result<HashMap<CallId, String>> {
    let mut answered = HashMap::new();
    for Entry { name, .. } in answers.entries(MAX_ANSWERS)? {
        let Some(name) = name.to_str() else { continue };
        let id = answers.sub(OsStr::new(name)).ok().and_then(|folder| answers::answered(&folder));
        answered.extend(id.map(|id| (id, name.to_owned())));
    }
    Ok(answered)
}

/// How many deliveries lie in the inbox, counted no further than `most`.
pub(super) fn count(inbox: &Dir, most: usize) -> io::Result<usize> {
    let mut files = 0;
    for Entry { name, is_folder } in inbox.entries(usize::MAX)? {
        if files >= most {
            break;
        }
        if is_folder && let Ok(dossier) = inbox.sub(&name) {
            files += dossier.entries(most - files)?.iter().filter(|entry| !entry.is_folder).count();
        }
    }
    Ok(files)
}

/// What a failure means; what is out of the ordinary gets a line in the log.
fn told(error: &io::Error) -> Trouble {
    let trouble = Trouble::of(error);
    if trouble == Trouble::Failing {
        tracing::warn!(%error, "the watched folder fails");
    }
    trouble
}
