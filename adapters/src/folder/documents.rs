//! The documents that a delivery names, put beside it before it is there itself. [`crate::papers`] fetches them.
//!
//! They lie in `<delivery>.files/`, named by digest and kind: what people called them may be somebody's name. One that the
//! gateway does not give away for good has `<digest>.problem.json` in its place.

use std::ffi::OsStr;
use std::io::{self, Write as _};

use lgsp_proto::types::Sha256Digest;
use tokio::runtime::Handle;

use super::disk::Dir;
use super::view::Trouble;
use super::{Folder, answers};
use crate::office::Caller;
use crate::papers::{self, AtGateway, Instead, NameJson, PACE, Paper, documents_named};
use crate::problem::Problem;
use crate::request::ending_of;
use crate::spool::DeliveryId;
use crate::trace::TraceParent;

/// Why a delivery is not there yet.
pub(super) enum NotThere {
    Trouble(Trouble),
    /// It waits for papers of its own; others need not.
    NoPapers,
}

impl From<Trouble> for NotThere {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Folder {
    /// Puts every document that a delivery names into a folder of this name in `dossier`; there is no folder if it names none.
    ///
    /// # Errors
    /// What is the matter with the folder or the line. What is there already is not fetched again.
    pub(super) fn put_beside(
        &self,
        handle: &Handle,
        dossier: &Dir,
        name: &str,
        id: &DeliveryId,
        trace: Option<&TraceParent>,
        delivery: &[u8],
    ) -> Result<(), NotThere> {
        let documents = documents_named(delivery);
        let Some(caller) = papers::caller(&id.party, trace).filter(|_| !documents.is_empty()) else { return Ok(()) };
        let files = dossier.own(name).map_err(|error| Trouble::of(&error))?;
        let mut all_there = true;
        for NameJson { sha256, media_type } in documents {
            let Ok(digest) = sha256.parse::<Sha256Digest>() else { continue };
            let file = ending_of(&media_type).map_or_else(|| sha256.clone(), |ending| format!("{sha256}.{ending}"));
            let instead = format!("{sha256}.problem.json");
            if [&file, &instead].iter().any(|file| files.looks(OsStr::new(file)).is_ok()) {
                continue;
            }
            let fetched = self.fetch(handle, &files, &file, &caller, &id.dossier, digest.as_bytes());
            match fetched.map_err(|error| Trouble::of(&error))? {
                Ok(()) => self.papers.came(name, &sha256),
                Err(problem) => match self.papers.judge(name, &sha256, problem) {
                    Instead::Put(problem) => {
                        let written = files.write(&instead, &answers::to_json(&problem));
                        written.map_err(|error| Trouble::of(&error))?;
                    }
                    // Its others are fetched all the same.
                    Instead::WaitAlone => all_there = false,
                    Instead::Wait => return Err(Trouble::NoDocuments.into()),
                },
            }
        }
        if all_there { Ok(()) } else { Err(NotThere::NoPapers) }
    }

    /// Fetches one, if the gateway gives it.
    fn fetch(
        &self,
        handle: &Handle,
        files: &Dir,
        name: &str,
        caller: &Caller,
        dossier: &str,
        sha256: &[u8; 32],
    ) -> io::Result<Result<(), Problem>> {
        let source = AtGateway { office: &self.office, caller, dossier, sha256, download: None };
        let mut paper = match handle.block_on(Paper::begin(source, sha256, PACE)) {
            Ok(paper) => paper,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut said = None;
        let written = files.write_with(name, |file| {
            let mut next = || handle.block_on(paper.chunk()).map_err(|problem| said = Some(problem));
            while let Some(chunk) = next().map_err(|()| io::Error::other("the download broke off"))? {
                file.write_all(&chunk)?;
            }
            Ok(())
        });
        match said {
            Some(problem) => Ok(Err(problem)),
            None => written.map(Ok),
        }
    }
}
