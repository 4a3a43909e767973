//! The new epoch of restored books: what is recorded before a gateway may start on them, and what of it is kept elsewhere.
//!
//! Invariant: an epoch's number, and the numbers given out in it, are never those of an epoch before it, even of one that the
//! backup knows nothing of because it was restored before. That is noted beside the backup ([`Before`]).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::ToSpan as _;
use jiff::civil::Date;
use lgsp_domain::decide::TimeBounds;
use lgsp_domain::numbering::{LAST_NUMBER, NumberZone};
use lgsp_proto::types::{ActorId, DossierCode, PartyId};

use super::manifest::Identity;
use super::write_whole;
use crate::store::{Commit, CommitError, EpochStarted, GivenBack, GivenBackWhy, Holder, ReadError, Store};

/// How many days ahead numbers may have been leased, with room: a desk's blocks are for the next days of work, and a long
/// holiday may lie between.
const LEASED_AHEAD_DAYS: i64 = 31;

/// How many deliveries go into one record.
const AT_A_TIME: usize = 1_000;

/// In the folder of a backup: what was begun on books that were restored from it, a line for each time.
const NOTE: &str = "RESTORED";

/// What is to be begun.
#[derive(Clone, Debug)]
pub struct Beginning {
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
    /// Where numbers go on, if the operator knows better.
    pub numbers_from: Option<u32>,
    /// What was begun on this backup before.
    pub before: Before,
    /// For whom something may have been taken over.
    pub parties: BTreeSet<PartyId>,
}

/// Why no epoch was begun. Some of what it consists of may be recorded: begin anew with the backup.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
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
    let Beginning { backup, taken_at, actor, now, days, known, numbers_from, before, parties } = beginning;
    let known = known.max(before.highest(&days));
    let from = numbers_from.or_else(|| NumberZone::beyond(known).ok()).unwrap_or(LAST_NUMBER + 1);
    if from > LAST_NUMBER || from <= known {
        return Err(BeginError::NoNumbers { from, known });
    }
    let started = EpochStarted {
        number: store.epoch().await?.max(before.epoch()) + 1,
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

/// Epochs that were begun on books restored from one backup. The books of a later restore from it know nothing of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Before(Vec<(u32, NumberZone)>);

impl Before {
    /// Reads the note in the folder of a backup.
    ///
    /// # Errors
    /// When it is there and cannot be read, or makes no sense.
    pub fn load(backup: &Path) -> io::Result<Self> {
        match fs::read_to_string(backup.join(NOTE)) {
            Ok(text) => text.lines().map(read_line).collect::<Option<_>>().map(Self).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "it should say `epoch numbers-from first-day last-day`")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Notes one more, durably.
    ///
    /// # Errors
    /// When the folder cannot be written to; then the note is as it was.
    pub fn add(&mut self, backup: &Path, started: &EpochStarted) -> io::Result<()> {
        self.note(started);
        let line = |(epoch, zone): &(u32, NumberZone)| {
            format!("{epoch} {} {} {}\n", zone.from, zone.days.start(), zone.days.end())
        };
        write_whole(&backup.join(NOTE), self.0.iter().map(line).collect::<String>().as_bytes())
    }

    /// Notes one more in memory.
    pub fn note(&mut self, started: &EpochStarted) {
        self.0.push((started.number, started.lost.clone()));
    }

    fn epoch(&self) -> u32 {
        self.0.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0)
    }

    /// The highest number of any of `days` that was out of bounds then; from it on they were given out.
    fn highest(&self, days: &RangeInclusive<Date>) -> u32 {
        let concerned =
            self.0.iter().filter(|(_, zone)| zone.days.start() <= days.end() && days.start() <= zone.days.end());
        concerned.map(|(_, zone)| zone.from).max().unwrap_or(0)
    }
}

fn read_line(line: &str) -> Option<(u32, NumberZone)> {
    let mut words = line.split(' ');
    let (epoch, from) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let days = words.next()?.parse().ok()?..=words.next()?.parse().ok()?;
    words.next().is_none().then_some((epoch, NumberZone { days, from }))
}
