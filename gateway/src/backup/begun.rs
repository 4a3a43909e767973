//! What was begun from a backup: a note of every restore, in the backup's folder, so that the next one goes beyond it.
//!
//! Restored books are as old as the backup, so they cannot tell. The note is durable before a gateway may start on what was
//! restored, and stays when a newer backup is taken into the folder.
//!
//! ```text
//! lgsp-restores 1
//! epoch 1784707200 2025-06-28 2025-08-14 10001
//! …
//! end <sha256 of all lines before>
//! ```
//!
//! A line is an epoch's number, the first and the last day of its zone, and where numbers go on in it. A stored format: a later
//! version may add lines that begin with other words, which a reader passes over, or raise the number, which it refuses.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use lgsp_domain::numbering::NumberZone;

use super::manifest::{sealed, unsealed};
use super::write_whole;

/// The note's name in a backup.
const NOTE: &str = "RESTORED";

const VERSION: &str = "lgsp-restores 1";

/// The epochs that were begun from a backup.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Begun(Vec<(u32, NumberZone)>);

impl Begun {
    /// Where the note of the backup `dir` is.
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join(NOTE)
    }

    /// Reads the note, and writes it again to see that it can be written.
    ///
    /// # Errors
    /// Why it cannot be read or written; `InvalidData` for one that was changed, or written by a later version.
    pub(super) fn load(dir: &Path) -> io::Result<Self> {
        let begun = match std::fs::read_to_string(Self::path(dir)) {
            Ok(text) => Self::parse(&text).ok_or(io::ErrorKind::InvalidData)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error),
        };
        begun.store(dir)?;
        Ok(begun)
    }

    /// Adds an epoch, durably.
    ///
    /// # Errors
    /// The note could not be written; it is as it was.
    pub(super) fn note(mut self, dir: &Path, number: u32, lost: NumberZone) -> io::Result<()> {
        self.0.push((number, lost));
        self.store(dir)
    }

    /// The greatest number of an epoch; 0 when there is none.
    pub(super) fn newest(&self) -> u32 {
        self.0.iter().map(|(number, _)| *number).max().unwrap_or(0)
    }

    /// The highest number that is known to have been open to be given out on any of `days`; 0 when there is none.
    pub(super) fn highest_number(&self, days: &RangeInclusive<Date>) -> u32 {
        let touches = |zone: &NumberZone| zone.days.start() <= days.end() && days.start() <= zone.days.end();
        self.0.iter().filter(|(_, zone)| touches(zone)).map(|(_, zone)| zone.from).max().unwrap_or(0)
    }

    fn store(&self, dir: &Path) -> io::Result<()> {
        let line =
            |(number, NumberZone { days, from })| format!("epoch {number} {} {} {from}\n", days.start(), days.end());
        let lines: String = self.0.iter().cloned().map(line).collect();
        write_whole(&Self::path(dir), sealed(format!("{VERSION}\n{lines}")).as_bytes())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = unsealed(text)?.lines();
        if lines.next() != Some(VERSION) {
            return None;
        }
        lines.filter_map(|line| line.strip_prefix("epoch ")).map(epoch).collect::<Option<_>>().map(Self)
    }
}

fn epoch(line: &str) -> Option<(u32, NumberZone)> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let days = words.next()?.parse().ok()?..=words.next()?.parse().ok()?;
    Some((number, NumberZone { days, from: words.next()?.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn every_restore_is_read_back_and_a_changed_note_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let zone = |first, last, from| NumberZone { days: date(2025, 7, first)..=date(2025, 7, last), from };
        assert_eq!(Begun::load(dir).unwrap(), Begun::default());
        Begun::load(dir).unwrap().note(dir, 7, zone(1, 9, 10_001)).unwrap();
        Begun::load(dir).unwrap().note(dir, 9, zone(5, 20, 20_001)).unwrap();
        let begun = Begun::load(dir).unwrap();
        assert_eq!((begun.newest(), &begun.0[0]), (9, &(7, zone(1, 9, 10_001))));
        let highest = |first, last| begun.highest_number(&(date(2025, 7, first)..=date(2025, 7, last)));
        assert_eq!([highest(1, 4), highest(9, 9), highest(20, 30), highest(21, 30)], [10_001, 20_001, 20_001, 0]);

        let text = std::fs::read_to_string(Begun::path(dir)).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            std::fs::write(Begun::path(dir), bytes).unwrap();
            assert!(Begun::load(dir).is_err(), "byte {at}");
        }
        std::fs::write(Begun::path(dir), sealed("lgsp-restores 2\n".to_owned())).unwrap();
        assert!(Begun::load(dir).is_err(), "a later version may mean anything");
        let later = format!("{VERSION}\nepoch 3 2025-07-01 2025-07-02 5\nground drill\n");
        std::fs::write(Begun::path(dir), sealed(later)).unwrap();
        assert_eq!(Begun::load(dir).unwrap().newest(), 3);
    }
}
