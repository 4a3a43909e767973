//! The new epoch of restored books: what is recorded before a gateway may start on them, and what of it is kept elsewhere.
//!
//! Invariant: an epoch's number, and the numbers given out in it, are never those of an epoch before it, even of one that the
//! backup knows nothing of because it was restored before. That is noted beside the backup ([`Begun`]).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use jiff::ToSpan as _;
use jiff::civil::Date;
use lgsp_domain::decide::TimeBounds;
use lgsp_domain::numbering::{LAST_NUMBER, NumberZone};
use lgsp_proto::types::{ActorId, DossierCode, PartyId};

use super::begun::Begun;
use super::manifest::Identity;
use crate::engine::clock::unix_seconds;
use crate::store::{Commit, CommitError, EpochStarted, GivenBack, GivenBackWhy, Holder, ReadError, Store};

/// How many days ahead numbers may have been leased, with room: a desk's blocks are for the next days of work, and a long
/// holiday may lie between.
const LEASED_AHEAD_DAYS: i64 = 31;

/// How many deliveries go into one record.
const AT_A_TIME: usize = 1_000;

/// What is to be begun.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The epoch's number, if the operator chose one.
    pub number: Option<u32>,
    /// The backup's identity.
    pub backup: Identity,
    /// When it was taken.
    pub taken_at: SystemTime,
    /// Who restores.
    pub actor: ActorId,
    /// Now, by the machine clock.
    pub now: SystemTime,
    /// The days in whose names numbers may have been given out and lost; see [`days_at_risk`].
    pub days: RangeInclusive<Date>,
    /// The highest number of these days that the books know.
    pub known: u32,
    /// Where numbers go on, if the operator knows better; whoever says it answers for every earlier restore.
    pub numbers_from: Option<u32>,
    /// What was begun from this backup before.
    pub before: Begun,
    /// For whom something may have been taken over.
    pub parties: BTreeSet<PartyId>,
}

/// Why no epoch was begun. Some of what it consists of may be recorded: begin anew with the backup.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The epoch asked for is not a new one.
    #[error("epoch {epoch} is not greater than {known}, which there has been")]
    NoEpoch {
        /// The number asked for.
        epoch: u32,
        /// The greatest one known.
        known: u32,
    },
    /// No number is left beyond those that may have been given out.
    #[error(
        "numbers cannot go on from {from}: the last one of a day is {LAST_NUMBER}, the highest one known is {known}"
    )]
    NoNumbers {
        /// Where they would go on.
        from: u32,
        /// The highest one that the books know.
        known: u32,
    },
    /// The books cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something could not be recorded.
    #[error("the new epoch could not be recorded")]
    Commit(#[from] CommitError),
}

/// Begins a new epoch of restored books. All that had been taken over is owed again: it may have been handed over, or given
/// back, since the backup, and whoever has it knows it again.
///
/// # Errors
/// See [`BeginError`].
pub async fn begin(store: &dyn Store, beginning: Beginning) -> Result<EpochStarted, BeginError> {
    let Beginning { number, backup, taken_at, actor, now, days, known, numbers_from, before, parties } = beginning;
    let from = numbers_from
        .unwrap_or_else(|| NumberZone::beyond(before.highest_number(&days).max(known)).unwrap_or(LAST_NUMBER + 1));
    if from > LAST_NUMBER || from <= known {
        return Err(BeginError::NoNumbers { from, known });
    }
    let started = EpochStarted {
        number: number_after(store.epoch().await?.max(before.newest()), number, now)?,
        backup,
        backup_taken_at: taken_at,
        actor,
        at: now,
        lost: NumberZone { days, from },
    };
    store.commit(Commit::Epoch(started.clone())).await?;
    for party in &parties {
        owe_again(store, party, now).await?;
    }
    Ok(started)
}

/// The number of an epoch after `known`. By the clock it also comes after those that only other backups know of; whichever comes
/// later, adapters take it for the newer one and send again.
fn number_after(known: u32, asked: Option<u32>, now: SystemTime) -> Result<u32, BeginError> {
    match asked {
        Some(epoch) if epoch <= known => Err(BeginError::NoEpoch { epoch, known }),
        Some(epoch) => Ok(epoch),
        None => {
            let by_the_clock = u32::try_from(unix_seconds(now)).unwrap_or(0);
            Ok(by_the_clock.max(known.saturating_add(1)))
        }
    }
}

async fn owe_again(store: &dyn Store, party: &PartyId, at: SystemTime) -> Result<(), BeginError> {
    loop {
        let taken = store.taken_over(party, None, AT_A_TIME).await?;
        if taken.is_empty() {
            return Ok(());
        }
        let mut by_holder: Vec<(Holder, Vec<(DossierCode, u32)>)> = Vec::new();
        for one in taken {
            let delivery = (one.code, one.sequence);
            match by_holder.iter_mut().find(|(holder, _)| *holder == one.holder) {
                Some((_, deliveries)) => deliveries.push(delivery),
                None => by_holder.push((one.holder, vec![delivery])),
            }
        }
        for (holder, deliveries) in by_holder {
            let back = GivenBack { party: party.clone(), deliveries, holder, why: GivenBackWhy::Restored, at };
            store.commit(Commit::GivenBack(back)).await?;
        }
    }
}

/// The days in whose names numbers may have been given out between the day of a backup and today: a reception may lie as far
/// back as the bounds allow, and a block may have been leased ahead.
pub fn days_at_risk(taken: Date, today: Date, bounds: &TimeBounds) -> RangeInclusive<Date> {
    let back = bounds.back + bounds.ahead + Duration::from_secs(24 * 3600);
    let back_days = i64::try_from(back.as_secs().div_ceil(24 * 3600)).unwrap_or(i64::MAX);
    let moved = |day: Date, days: i64| day.checked_add(days.days()).unwrap_or(day);
    moved(taken.min(today), -back_days)..=moved(today, LEASED_AHEAD_DAYS)
}
