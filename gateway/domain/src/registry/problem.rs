//! What is wrong with the files of a registry, where, and in words a clerk understands.
//!
//! A problem never stops the reading: all of a registry's problems are reported at once, so that one round of
//! corrections is enough.

use std::fmt;

/// The kinds of problems, for programs and tests; people read [`Problem::vi`] and [`Problem::en`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ProblemKind {
    /// A file that the registry does not have.
    UnknownFile,
    /// A file that every registry needs is not there.
    MissingFile,
    /// Not UTF-8, or not TOML.
    Syntax,
    /// A key that does not exist: a slip of the pen would otherwise be a rule silently left out.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A value of the wrong type, e.g. a number where a text belongs.
    WrongType,
    /// A text that is not what it should be, e.g. a malformed identifier.
    Malformed,
    /// Keys that contradict each other, e.g. `party` and `kind` in one grant.
    Contradiction,
    /// Two entries with one identifier.
    Duplicate,
    /// Two versions of one entry in force on the same day.
    Overlap,
    /// `valid_to` before `valid_from`.
    NeverValid,
    /// Something named that is nowhere declared.
    UnknownReference,
    /// Successors that lead back to where they started.
    SuccessorCycle,
    /// A successor named for something that does not end.
    SuccessorWithoutEnd,
    /// A commune without province, or a province with a parent.
    UnitTree,
    /// A procedure without a limit that holds for every case and channel, or with two for the same.
    Limit,
    /// Working hours or days that make no calendar.
    Calendar,
    /// A schema of a data service that is none, or says what the bus cannot check.
    Schema,
    /// A pattern that no party fits.
    PatternMatchesNothing,
    /// Two parties of one kind claim the same unit on the same day, so a route by unit cannot choose.
    AmbiguousAuthority,
    /// A route by unit covers a commune that has no party of that kind.
    NoAuthority,
    /// A route leads to a party that may not decide the procedure, or is no longer there.
    AuthorityWithoutGrant,
    /// Two equally specific routes claim the same matter.
    TiedRoutes,
    /// A route that wins for no procedure, unit and day at all.
    RouteNeverWins,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::UnknownFile,
        Self::MissingFile,
        Self::Syntax,
        Self::UnknownKey,
        Self::MissingKey,
        Self::WrongType,
        Self::Malformed,
        Self::Contradiction,
        Self::Duplicate,
        Self::Overlap,
        Self::NeverValid,
        Self::UnknownReference,
        Self::SuccessorCycle,
        Self::SuccessorWithoutEnd,
        Self::UnitTree,
        Self::Limit,
        Self::Calendar,
        Self::Schema,
        Self::PatternMatchesNothing,
        Self::AmbiguousAuthority,
        Self::NoAuthority,
        Self::AuthorityWithoutGrant,
        Self::TiedRoutes,
        Self::RouteNeverWins,
    ];
}

/// One thing that must be corrected before the files can be applied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What kind of problem it is.
    pub kind: ProblemKind,
    /// The file, e.g. `routes.toml`.
    pub file: String,
    /// The entry and the key, counted from 0, e.g. `route[12].authority`; empty when the file as a whole is at fault.
    pub path: String,
    /// The line, counted from 1; `None` when there is no file to look at.
    pub line: Option<u32>,
    /// What is wrong and what to do, in Vietnamese.
    pub vi: String,
    /// The same in English.
    pub en: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, " {}", self.path)?;
        }
        write!(f, ": {} / {}", self.vi, self.en)
    }
}

/// What is wrong, in both languages of the bus, before anyone knows where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Fault {
    pub(super) vi: String,
    pub(super) en: String,
}

impl Fault {
    pub(super) fn new(vi: impl Into<String>, en: impl Into<String>) -> Self {
        Self { vi: vi.into(), en: en.into() }
    }
}
