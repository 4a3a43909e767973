//! What has happened to each dossier: one line of the chronicle for each event, and the stories these lines make.
//!
//! Invariant: an event is in the chronicle before the delivery that told it is answered, so that a sandbox that is started
//! again knows every story whose deliveries do not come again. No citizen is in it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;
use lgsp_domain::transition::Act;
use lgsp_proto::types::{BusinessTime, Status};
use serde::{Deserialize, Serialize};

use super::scenario::Scenario;

/// One event of a dossier, as the chronicle and `--json` have it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Happened {
    pub(super) admitted_at: Option<String>,
    pub(super) dossier_code: String,
    pub(super) sequence: u32,
    /// The word of the act.
    pub(super) event: String,
    /// The word of the status after it.
    pub(super) status: String,
    pub(super) from: String,
    /// The dossier's other places, who are told.
    pub(super) to: Vec<String>,
    pub(super) occurred_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due_at: Option<String>,
    pub(super) scenario: Scenario,
    #[serde(flatten)]
    pub(super) matter: Matter,
}

/// What stays the same about a dossier.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Matter {
    pub(super) procedure_code: String,
    pub(super) intake_desk: String,
    pub(super) competent_authority: String,
    pub(super) return_desk: String,
    pub(super) return_channel: String,
}

impl Matter {
    /// Everybody with a place in the dossier but `party`, each once.
    pub(super) fn others(&self, party: &str) -> Vec<String> {
        let mut others: Vec<String> = Vec::new();
        for place in [&self.intake_desk, &self.competent_authority, &self.return_desk] {
            if place != party && !others.contains(place) {
                others.push(place.clone());
            }
        }
        others
    }
}

impl Happened {
    /// The act; nothing for one that this version does not know.
    pub(super) fn act(&self) -> Option<Act> {
        Act::ALL.iter().copied().find(|act| act.as_str() == self.event)
    }

    /// The status after it; nothing for one that this version does not know.
    pub(super) fn status(&self) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == self.status)
    }
}

/// One dossier's story.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// What was done, in order.
    pub(super) acts: Vec<Act>,
    /// The last of it.
    pub(super) last: Happened,
}

impl Story {
    /// When the last event occurred: nothing may be dated before it.
    pub(super) fn last_at(&self) -> Option<BusinessTime> {
        self.last.occurred_at.parse().ok()
    }

    /// The date the citizen was promised.
    pub(super) fn due(&self) -> Option<BusinessTime> {
        self.last.due_at.as_deref()?.parse().ok()
    }
}

/// All stories, and the file they are written to.
pub(super) struct Chronicle {
    file: File,
    stories: HashMap<String, Story>,
}

impl Chronicle {
    /// Reads what was written so far. A last line that a crash has cut off counts as not written: what it told comes again.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.with_context(|| path.display().to_string())?,
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let file = File::options().create(true).append(true).open(path)?;
        file.set_len(whole as u64)?;
        let mut chronicle = Self { file, stories: HashMap::new() };
        for line in text[..whole].lines() {
            let happened: Happened = serde_json::from_str(line).with_context(|| path.display().to_string())?;
            chronicle.note(happened);
        }
        Ok(chronicle)
    }

    /// Writes an event down. Says whether it is news: what is told twice counts once.
    ///
    /// # Errors
    /// It cannot be written; then it is not known either.
    pub(super) fn write(&mut self, happened: &Happened) -> anyhow::Result<bool> {
        let known = self.stories.get(&happened.dossier_code).map_or(0, |story| story.last.sequence);
        if happened.sequence <= known {
            return Ok(false);
        }
        let mut line = serde_json::to_vec(happened)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.note(happened.clone());
        Ok(true)
    }

    /// The story of a dossier.
    pub(super) fn of(&self, code: &str) -> Option<&Story> {
        self.stories.get(code)
    }

    /// Every story.
    pub(super) fn all(&self) -> impl Iterator<Item = &Story> {
        self.stories.values()
    }

    fn note(&mut self, happened: Happened) {
        let act = happened.act();
        let story = self
            .stories
            .entry(happened.dossier_code.clone())
            .or_insert_with(|| Story { acts: Vec::new(), last: happened.clone() });
        story.acts.extend(act);
        story.last = happened;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn happened(sequence: u32, event: &str) -> Happened {
        Happened {
            admitted_at: None,
            dossier_code: "H57.102-261122-0001".to_owned(),
            sequence,
            event: event.to_owned(),
            status: "processing".to_owned(),
            from: "H57.102".to_owned(),
            to: vec!["H57.101".to_owned()],
            occurred_at: "2026-11-20T09:00:00+07:00".to_owned(),
            due_at: None,
            scenario: Scenario::Late,
            matter: Matter {
                procedure_code: "1.001193".to_owned(),
                intake_desk: "H57.101".to_owned(),
                competent_authority: "H57.102".to_owned(),
                return_desk: "H57.101".to_owned(),
                return_channel: "direct".to_owned(),
            },
        }
    }

    #[test]
    fn what_is_told_twice_counts_once_also_after_another_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chronicle.jsonl");
        let mut chronicle = Chronicle::open(&path).unwrap();
        for (event, news) in [(happened(1, "submitted"), true), (happened(1, "submitted"), false)] {
            assert_eq!(chronicle.write(&event).unwrap(), news);
        }
        assert!(chronicle.write(&happened(2, "accepted")).unwrap());
        // The last line is cut off, as by a crash.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();

        let mut chronicle = Chronicle::open(&path).unwrap();
        let story = chronicle.of("H57.102-261122-0001").unwrap();
        assert_eq!((&story.acts[..], story.last.scenario), (&[Act::Submit][..], Scenario::Late));
        assert!(!chronicle.write(&happened(1, "submitted")).unwrap());
        assert!(chronicle.write(&happened(2, "accepted")).unwrap());
        assert_eq!(Chronicle::open(&path).unwrap().all().next().unwrap().acts, [Act::Submit, Act::Accept]);
    }

    #[test]
    fn everybody_with_a_place_is_told_once_and_not_who_speaks() {
        let matter = happened(1, "submitted").matter;
        assert_eq!(matter.others("H57.101"), ["H57.102"]);
        assert_eq!(matter.others("H57.102"), ["H57.101"]);
        assert_eq!(matter.others("H57.TTO"), ["H57.101", "H57.102"]);
    }
}
