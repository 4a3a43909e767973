//! Where a record stands in the journal.

use std::fmt;

/// The number of a record: 1, 2, 3, … for the life of the journal.
///
/// A position is logical. It survives the copying of a tail to a new segment and is never given to a second record once
/// it has been answered or served. (What was neither, because a crash tore it, gives its number back.)
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record. Names no record; as a "last position" it says *none yet*.
    pub const ORIGIN: Self = Self(0);

    /// The first record's position.
    pub const FIRST: Self = Self(1);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        self.plus(1)
    }

    /// The position before this one; of [`Position::ORIGIN`], itself.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The position `records` further on.
    ///
    /// It saturates: a journal cannot write 2⁶⁴ records, but a damaged header may claim to have.
    #[must_use]
    pub fn plus(self, records: u64) -> Self {
        Self(self.0.saturating_add(records))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
