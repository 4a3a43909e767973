//! The connector to the national procedure database (*CSDLQG về TTHC*): answers `thu-tuc-danh-sach` and `thu-tuc-chi-tiet` from it.
//!
//! - `client`: the wire: log-in, the session, the two services of the national side.
//! - `sources`: the two services of ours, as the bus knows them.
//!
//! One session serves all questions. It is renewed when the other side says that it is over, once for all who found it so; a question is
//! put once more after that and never a third time. No citizen is in any of it.

mod client;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config;
use crate::connector::source::{Serving, Source};

use client::National;
pub(crate) use client::OpenError;
use sources::{List, One};

/// The list of all procedures.
const LIST: (&str, u32) = ("thu-tuc-danh-sach", 1);

/// One procedure with everything that is published about it.
const ONE: (&str, u32) = ("thu-tuc-chi-tiet", 1);

/// The two services, answered by the national database.
///
/// # Errors
/// The CA certificates or the password cannot be read. The database itself is first spoken to when a question comes.
pub(crate) fn serving(config: config::Procedures) -> Result<Serving, OpenError> {
    let (party, at_once) = (config.party.clone(), config.at_once);
    let national = Arc::new(National::open(config)?);
    let named = |(name, version): (&str, u32)| (name.to_owned(), version);
    let mut sources: BTreeMap<_, Arc<dyn Source>> = BTreeMap::new();
    sources.insert(named(LIST), Arc::new(List::new(Arc::clone(&national))));
    sources.insert(named(ONE), Arc::new(One(national)));
    Ok(Serving { party, at_once, sources })
}
