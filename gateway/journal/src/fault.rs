//! Named points at which a process under test dies or its disk fails (feature `faults`).
//!
//! Without the feature, which no default build has, [`reached`] is nothing at all. With it, `LGSP_FAULT_AT` in the
//! environment names one point, the how-manieth time and what happens there: `journal.sync:3`, `journal.append:1:full`.
//! Whoever starts the process decides; nothing inside it does. The fault campaign (`tests/faults`) is who it is for.
//! It has no weeks, either, in which a spool grows old or an index is due for a snapshot: see [`spool_keeps`] and [`snapshot_every`].

use std::io;
use std::time::Duration;

/// Before a frame is handed to the disk.
pub const JOURNAL_APPEND: &str = "journal.append";
/// After a frame was written and before it is synced.
pub const JOURNAL_SYNC: &str = "journal.sync";
/// After the sync and before anybody is answered.
pub const JOURNAL_ANSWER: &str = "journal.answer";
/// Before a new file's bytes are synced: segments at a start and at a roll-over, blocks of keys.
pub const PUBLISH_SYNC: &str = "publish.sync";
/// After them, before the file gets its name.
pub const PUBLISH_NAME: &str = "publish.name";
/// After the name was given, before it is durable.
pub const PUBLISH_FOLDER: &str = "publish.folder";
/// Before the index is made durable.
pub const CHECKPOINT_FLUSH: &str = "checkpoint.flush";
/// After the index is durable, before that is noted.
pub const CHECKPOINT_NOTE: &str = "checkpoint.note";
/// After a part of a snapshot was written.
pub const SNAPSHOT_WRITE: &str = "snapshot.write";
/// After all of it was made durable, before it gets its name.
pub const SNAPSHOT_NAME: &str = "snapshot.name";
/// After the name was given, before it is durable and what is older is removed.
pub const SNAPSHOT_FOLDER: &str = "snapshot.folder";
/// After a dossier was written to an archive.
pub const ARCHIVE_WRITE: &str = "archive.write";
/// Before an archive's bytes are synced.
pub const ARCHIVE_SYNC: &str = "archive.sync";
/// After them, before it gets its name.
pub const ARCHIVE_NAME: &str = "archive.name";
/// After the name was given, before it is durable.
pub const ARCHIVE_FOLDER: &str = "archive.folder";
/// After the archive was read back, before that is recorded.
pub const ARCHIVE_RECORD: &str = "archive.record";
/// Before the files of archived documents are removed, and after some of them were.
pub const ARCHIVE_REMOVE: &str = "archive.remove";
/// After the key of somebody who joins was made durable, before the gateway is asked.
pub const JOIN_KEY: &str = "join.key";
/// After the gateway has issued the certificate, before any of it is written.
pub const JOIN_ANSWER: &str = "join.answer";
/// After the first configuration of somebody who joins was written, before it has its name.
pub const JOIN_CONFIG: &str = "join.config";
/// Before a file of an identity's new set is synced.
pub const IDENTITY_FILE: &str = "identity.file";
/// After the set is durable, before it is put in force.
pub const IDENTITY_FORCE: &str = "identity.force";
/// After it was put in force, before that is durable and what is older is removed.
pub const IDENTITY_FOLDER: &str = "identity.folder";
/// After a request of a watched folder was taken in, before that is written there.
pub const FOLDER_TAKEN: &str = "folder.taken";
/// After a file in a watched folder was written, before it has its name.
pub const FOLDER_NAME: &str = "folder.name";
/// After it got its name, before that is durable.
pub const FOLDER_SYNC: &str = "folder.sync";
/// After the last answer to a request is durable, before the request is moved away.
pub const FOLDER_MOVE: &str = "folder.move";
/// After it was moved away, before the spool notes that the agency was told.
pub const FOLDER_TOLD: &str = "folder.told";
/// After a delivery is durable in a watched folder, before the spool notes that it was handed over.
pub const FOLDER_DELIVERED: &str = "folder.delivered";
/// After a request of the agency's tables was taken in, before that is written there.
pub const TABLES_TAKEN: &str = "tables.taken";
/// After what became of a request is committed there, before anybody else learns that it was told.
pub const TABLES_TOLD: &str = "tables.told";
/// After a delivery is committed in the agency's tables, before the spool notes that it was handed over.
pub const TABLES_DELIVERED: &str = "tables.delivered";
/// After the spool knows that the agency has handled or refused a delivery, before that is written in the tables.
pub const TABLES_SETTLED: &str = "tables.settled";
/// After the portal has a dossier's record, before it is told the steps.
pub const PORTAL_RECORD: &str = "portal.record";
/// After the portal has all of an event, before the spool notes that it was handed over.
pub const PORTAL_TOLD: &str = "portal.told";

/// The process has come to `point`. The one that was asked for does not return, or returns an error.
///
/// # Errors
/// The one that was asked for: of a disk that fails (`EIO`) or is full (`ENOSPC`).
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn reached(_point: &str) -> io::Result<()> {
    Ok(())
}

/// The process has come to `point`. The one that was asked for does not return, or returns an error.
///
/// # Errors
/// The one that was asked for: of a disk that fails (`EIO`) or is full (`ENOSPC`).
#[cfg(feature = "faults")]
pub fn reached(point: &str) -> io::Result<()> {
    armed::of_the_environment().map_or(Ok(()), |armed| armed.reached(point))
}

/// How long a spool keeps outcomes, and after how many finished records it is tidied up, if somebody wants to see that soon:
/// with the feature `faults`, `LGSP_SPOOL_KEEPS=2000:64` in the environment says milliseconds and records.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn spool_keeps() -> Option<(Duration, u64)> {
    None
}

/// How long a spool keeps outcomes, and after how many finished records it is tidied up, if somebody wants to see that soon:
/// `LGSP_SPOOL_KEEPS=2000:64` in the environment says milliseconds and records.
///
/// # Panics
/// It says something else.
#[cfg(feature = "faults")]
pub fn spool_keeps() -> Option<(Duration, u64)> {
    let wish = std::env::var("LGSP_SPOOL_KEEPS").ok()?;
    Some(keeps(&wish).unwrap_or_else(|| panic!("LGSP_SPOOL_KEEPS={wish} is not milliseconds:records")))
}

/// After how many records the index is photographed again, if somebody wants to see that soon: with the feature `faults`,
/// `LGSP_SNAPSHOT_EVERY=1` in the environment says so, however large the index is.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn snapshot_every() -> Option<u64> {
    None
}

/// After how many records the index is photographed again, if somebody wants to see that soon: `LGSP_SNAPSHOT_EVERY=1` in the
/// environment says so, however large the index is.
///
/// # Panics
/// It says something else.
#[cfg(feature = "faults")]
pub fn snapshot_every() -> Option<u64> {
    let wish = std::env::var("LGSP_SNAPSHOT_EVERY").ok()?;
    Some(wish.parse().unwrap_or_else(|_| panic!("LGSP_SNAPSHOT_EVERY={wish} is no number of records")))
}

#[cfg(feature = "faults")]
fn keeps(wish: &str) -> Option<(Duration, u64)> {
    let (millis, records) = wish.split_once(':')?;
    Some((Duration::from_millis(millis.parse().ok()?), records.parse().ok()?))
}

#[cfg(feature = "faults")]
mod armed {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What was asked for.
    pub(super) struct Armed {
        point: String,
        /// Passes left until it happens.
        left: AtomicU64,
        kind: Kind,
    }

    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Kind {
        /// The process ends there and then, as if killed.
        Die,
        /// The disk fails.
        Fail,
        /// The disk is full.
        Full,
    }

    /// What the environment asks for; read once, since a process dies once.
    pub(super) fn of_the_environment() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        ARMED
            .get_or_init(|| {
                let wish = std::env::var("LGSP_FAULT_AT").ok()?;
                Some(Armed::read(&wish).unwrap_or_else(|| panic!("LGSP_FAULT_AT={wish} is not point:number[:kind]")))
            })
            .as_ref()
    }

    impl Armed {
        fn read(wish: &str) -> Option<Self> {
            let mut words = wish.split(':');
            let (point, number) = (words.next()?, words.next()?.parse().ok().filter(|number| *number > 0)?);
            let kind = match words.next() {
                None | Some("die") => Kind::Die,
                Some("fail") => Kind::Fail,
                Some("full") => Kind::Full,
                Some(_) => return None,
            };
            words.next().is_none().then(|| Self { point: point.to_owned(), left: AtomicU64::new(number), kind })
        }

        pub(super) fn reached(&self, point: &str) -> io::Result<()> {
            if point != self.point || self.left.fetch_sub(1, Ordering::Relaxed) != 1 {
                return Ok(());
            }
            match self.kind {
                Kind::Die => std::process::abort(),
                Kind::Fail => Err(io::Error::from_raw_os_error(5)),
                Kind::Full => Err(io::Error::from_raw_os_error(28)),
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_happens_once_at_its_point_and_at_its_turn() {
            let armed = Armed::read("journal.sync:2:full").unwrap();
            armed.reached("journal.append").unwrap();
            armed.reached("journal.sync").unwrap();
            assert_eq!(armed.reached("journal.sync").unwrap_err().kind(), io::ErrorKind::StorageFull);
            armed.reached("journal.sync").unwrap();
        }

        #[test]
        fn what_a_spool_keeps_is_a_time_and_a_number_of_records() {
            assert_eq!(super::super::keeps("2000:64"), Some((std::time::Duration::from_secs(2), 64)));
            for wish in ["", "2000", "2000:", ":64", "2s:64", "-1:64"] {
                assert_eq!(super::super::keeps(wish), None, "{wish}");
            }
        }

        #[test]
        fn a_wish_that_is_not_understood_is_none() {
            for wish in ["journal.sync", "journal.sync:0", "journal.sync:x", "journal.sync:1:bang", "a:1:die:more"] {
                assert!(Armed::read(wish).is_none(), "{wish}");
            }
        }
    }
}
