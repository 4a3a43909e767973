//! The validated types that both sides of the bus parse into: codes, identifiers, statuses, times.
//!
//! A value of any type here is well formed by construction, so code behind the wire never checks it again. What *exists* (a
//! party, a procedure, a commune) is the registry's to say; here only form is known. Nothing is trimmed or repaired on the way in:
//! a blank is refused, and said. [`Malformed`] holds fixed texts and limits only, so no refusal can repeat what a citizen sent.
//!
//! Types that carry personal data ([`PersonalNumber`], [`FileName`], [`Text`]) have no `Display` and a masked `Debug`; their
//! content leaves through `as_str` and nowhere else.

/// Gives a type that keeps its own text (`FromStr` and `as_str`) the conversions and prints that all such types share.
///
/// The rule that makes each type different stays in its `FromStr`, in plain Rust; this only spares ten copies of the rest.
macro_rules! printed_as_text {
    ($type:ident) => {
        impl TryFrom<&str> for $type {
            type Error = <$type as std::str::FromStr>::Err;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.as_str())
            }
        }
    };
}

mod channel;
mod document;
mod dossier;
mod join;
mod key;
mod malformed;
mod name;
mod party;
mod person;
mod procedure;
mod status;
mod text;
mod time;
mod unit;

pub use channel::{IntakeChannel, ReturnChannel};
pub use document::{FileName, MediaType, Sha256Digest};
pub use dossier::{Alias, CannotIssue, DossierCode, Generation};
pub use join::JoinToken;
pub use key::{ActorId, RequestKey};
pub use malformed::{Malformed, Rule};
pub use name::name_key;
pub use party::PartyId;
pub use person::{CardNumber, CitizenNumber, NumberWarning, PersonalNumber, Sex};
pub use procedure::{CaseCode, ProcedureCode};
pub use status::{ReportClass, Status};
pub use text::Text;
pub use time::{BusinessTime, Date};
pub use unit::{UnitCode, UnitLevel};
