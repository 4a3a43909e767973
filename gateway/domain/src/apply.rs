//! Applying: from how a dossier stood and one admitted event to how it stands.
//!
//! All that rebuild, replicas and fsck ever run. It sets the values the event carries; it computes none, looks nothing up
//! and does not ask whether a rule of today would have allowed them. The only thing it checks is that the event is the
//! next one of this dossier, because a gap or a stranger means that the books themselves are damaged.

use lgsp_proto::types::DossierCode;

use crate::dossier::Dossier;
use crate::event::Event;

/// The event cannot follow what stood before: a record is missing, doubled or of another dossier.
///
/// Nothing was applied. No request can cause this, only damage or a fault of ours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Inconsistent {
    /// The first event of a dossier must open it.
    #[error("event {sequence} of {code} has no dossier to follow")]
    NotOpened {
        /// The dossier the event speaks of.
        code: DossierCode,
        /// The event's number.
        sequence: u32,
    },
    /// A dossier is opened once.
    #[error("event {sequence} opens {code} a second time")]
    OpenedTwice {
        /// The dossier.
        code: DossierCode,
        /// The event's number.
        sequence: u32,
    },
    /// The event is of another dossier.
    #[error("an event of {found} was applied to {expected}")]
    OtherDossier {
        /// The dossier it was applied to.
        expected: DossierCode,
        /// The dossier the event speaks of.
        found: DossierCode,
    },
    /// Events are numbered 1, 2, 3 …, and each is applied once.
    #[error("event {found} of {code} was applied where event {expected} belongs")]
    OutOfSequence {
        /// The dossier.
        code: DossierCode,
        /// The number that belongs here.
        expected: u32,
        /// The event's number.
        found: u32,
    },
}

/// How the dossier stands after `event`; `before` is `None` for the event that opens it.
///
/// # Errors
/// [`Inconsistent`] when the event is not the next one of this dossier; the caller's books are damaged.
pub fn apply(before: Option<&Dossier>, event: &Event) -> Result<Dossier, Inconsistent> {
    let mut dossier = match before {
        None => opened(event)?,
        Some(dossier) => following(dossier, event)?,
    };
    let outcome = &event.outcome;
    dossier.status = event.status;
    dossier.hand_over = event.hand_over;
    dossier.sequence = event.sequence;
    dossier.updated_at = event.occurred_at;
    dossier.clock = outcome.clock.clone();
    dossier.resume_to = outcome.resume_to;
    dossier.supplement_until = outcome.supplement_until;
    dossier.resolved_at = outcome.resolved_at;
    dossier.returned_at = outcome.returned_at;
    dossier.documents.extend(outcome.documents.iter().cloned());
    for party in &event.recipients {
        if !dossier.informed.contains(party) {
            dossier.informed.push(party.clone());
        }
    }
    Ok(dossier)
}

/// The dossier that the event opens, with nothing in it yet but what is fixed for good.
fn opened(event: &Event) -> Result<Dossier, Inconsistent> {
    let Some(opening) = &event.opening else {
        return Err(Inconsistent::NotOpened { code: event.code.clone(), sequence: event.sequence });
    };
    in_sequence(event, 1)?;
    Ok(Dossier {
        code: event.code.clone(),
        opening: opening.clone(),
        status: event.status,
        resume_to: None,
        hand_over: None,
        sequence: event.sequence,
        clock: event.outcome.clock.clone(),
        supplement_until: None,
        resolved_at: None,
        returned_at: None,
        updated_at: event.occurred_at,
        registry_version: event.registry_version,
        documents: Vec::new(),
        informed: Vec::new(),
    })
}

fn following(dossier: &Dossier, event: &Event) -> Result<Dossier, Inconsistent> {
    if event.code != dossier.code {
        return Err(Inconsistent::OtherDossier { expected: dossier.code.clone(), found: event.code.clone() });
    }
    in_sequence(event, dossier.sequence.saturating_add(1))?;
    if event.opening.is_some() {
        return Err(Inconsistent::OpenedTwice { code: event.code.clone(), sequence: event.sequence });
    }
    Ok(dossier.clone())
}

fn in_sequence(event: &Event, expected: u32) -> Result<(), Inconsistent> {
    let found = event.sequence;
    if found == expected {
        Ok(())
    } else {
        Err(Inconsistent::OutOfSequence { code: event.code.clone(), expected, found })
    }
}
