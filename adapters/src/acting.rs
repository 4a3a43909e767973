//! The parties this adapter acts for, and those of them that the gateway does not let it act for just now.
//!
//! A commune that merged into another, or that its agency has given to another system, must cost the others nothing. The
//! gateway refuses an inbox stream as a whole and names the party; it is opened again without it, and the party is asked about
//! until it is let in again.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lgsp_proto::types::PartyId;
use lgsp_proto::{Reason, Refusal};

/// See the module.
pub(crate) struct Acting {
    all: Vec<PartyId>,
    refused: Mutex<BTreeSet<PartyId>>,
}

impl Acting {
    /// For these parties, as the configuration says. Whether the gateway agrees, it will say.
    pub(crate) fn new(all: Vec<PartyId>) -> Self {
        Self { all, refused: Mutex::default() }
    }

    /// All parties of the configuration.
    pub(crate) fn all(&self) -> &[PartyId] {
        &self.all
    }

    /// Those that the gateway has not refused.
    pub(crate) fn served(&self) -> Vec<PartyId> {
        let refused = self.refused();
        self.all.iter().filter(|party| !refused.contains(*party)).cloned().collect()
    }

    /// Those that the gateway has refused, and has not let in again since.
    pub(crate) fn shut_out(&self) -> Vec<PartyId> {
        let refused = self.refused();
        self.all.iter().filter(|party| refused.contains(*party)).cloned().collect()
    }

    /// Takes note of a refusal. Gives the party if it is about one of ours that was not refused before.
    pub(crate) fn refused_by(&self, refusal: &Refusal) -> Option<PartyId> {
        let named = refusal.details().get("party").filter(|_| refusal.reason() == Reason::ActsForMissing)?;
        let party = self.all.iter().find(|party| party.as_str() == named)?;
        self.refused().insert(party.clone()).then(|| party.clone())
    }

    /// Takes note that a party is let in again.
    pub(crate) fn let_in(&self, party: &PartyId) {
        self.refused().remove(party);
    }

    fn refused(&self) -> MutexGuard<'_, BTreeSet<PartyId>> {
        // A set that changes in one step; no holder panics.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_takes_away_the_party_it_names_and_no_other() {
        let party = |text: &str| text.parse::<PartyId>().unwrap();
        let acting = Acting::new(vec![party("H57.101"), party("H57.12")]);
        let missing = |party: &str| Refusal::new(Reason::ActsForMissing).detail("party", party);
        assert_eq!(acting.refused_by(&Refusal::new(Reason::SystemUnknown).detail("party", "H57.12")), None);
        assert_eq!(acting.refused_by(&Refusal::new(Reason::ActsForMissing)), None);
        assert_eq!(acting.refused_by(&missing("H57.99")), None);
        assert_eq!(acting.served(), acting.all());
        assert_eq!(acting.refused_by(&missing("H57.101")), Some(party("H57.101")));
        assert_eq!(acting.refused_by(&missing("H57.101")), None, "it is known");
        assert_eq!((acting.served(), acting.shut_out()), (vec![party("H57.12")], vec![party("H57.101")]));
        acting.let_in(&party("H57.101"));
        assert_eq!(acting.served(), acting.all());
    }
}
