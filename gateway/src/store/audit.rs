//! What was administered, as the port tells it: derived from the journal's records, and written by nobody.
//!
//! Entries hold accounts, systems, codes and digests, never personal data: what a clerk wrote in words stays sealed in its record.

use std::time::SystemTime;

use lgsp_proto::types::{ActorId, PartyId};
use lgsp_proto::v1::AuditKind;

/// One administrative act.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditEntry {
    /// Where its record stands in the journal.
    pub position: u64,
    /// What was done.
    pub kind: AuditKind,
    /// When, by the machine clock; `None` when the record does not say.
    pub at: Option<SystemTime>,
    /// In whose name; empty when the act has nobody.
    pub acting_party: String,
    /// The account; empty when the act has none.
    pub actor: String,
    /// The system; empty when the act has none.
    pub system: String,
    /// What it is about.
    pub subject: String,
    /// The ground given, where there is one.
    pub ground: String,
    /// Further facts by name.
    pub facts: Vec<(String, String)>,
}

impl AuditEntry {
    /// Whether it is about `name`: its subject, or a word of one of its facts.
    pub fn is_about(&self, name: &str) -> bool {
        let mut facts = self.facts.iter();
        self.subject == name || facts.any(|(_, value)| value.split(' ').any(|word| word == name))
    }
}

/// Which entries are wanted.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    /// Any of these; empty for all.
    pub kinds: Vec<AuditKind>,
    /// From this moment on. An entry that does not say when is left out by this and by `until`.
    pub since: Option<SystemTime>,
    /// Before this moment.
    pub until: Option<SystemTime>,
    /// Only what this account did.
    pub by_actor: Option<ActorId>,
    /// Only what [is about](AuditEntry::is_about) this.
    pub about: Option<String>,
    /// At most this many, at least 1.
    pub limit: usize,
    /// Before this position: where the previous page ended.
    pub before: Option<u64>,
}

impl AuditQuery {
    /// Whether `entry` is wanted.
    pub fn wants(&self, entry: &AuditEntry) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && self.since.is_none_or(|since| entry.at.is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| entry.at.is_some_and(|at| at < until))
            && self.by_actor.as_ref().is_none_or(|actor| entry.actor == actor.as_str())
            && self.about.as_ref().is_none_or(|name| entry.is_about(name))
    }
}

/// One page of entries.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// Before which position to go on; `None` on the last page.
    pub next: Option<u64>,
}

/// That the books, or a part of them, were copied out of the node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exported {
    /// What was copied: `backup`.
    pub what: String,
    /// The copy's own identity.
    pub identity: [u8; 16],
    /// In whose name; `None` when it was done beside the bus.
    pub party: Option<PartyId>,
    /// Who did it.
    pub actor: ActorId,
    /// Whose system.
    pub system: String,
    /// When it was begun, by the machine clock.
    pub at: SystemTime,
}
