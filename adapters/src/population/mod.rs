//! The connector to the national population database: whoever owns the service on the bus runs it beside the database.
//!
//! It confirms and returns, it does not search: number, name and date of birth must all be the citizen's (domain.md §5). Owns what the four
//! services say; the stream, a question's time and the last cut of a reply are `crate::connector`'s. Nothing registered that a question may
//! not hear is put into its reply, or judged for it.
//!
//! | service | asks |
//! |---|---|
//! | `dan-cu-tra-cuu` | 037: the citizen's registered data |
//! | `dan-cu-xac-nhan-so` | 033: whether the number is this citizen's |
//! | `dan-cu-ho-gia-dinh` | 034: whether people are of this citizen's household |
//! | `dan-cu-doi-chieu` | 037: whether what was claimed is what is registered, without any of it |
//!
//! | module | owns |
//! |---|---|
//! | `asked` | whom a question is about |
//! | `fields` | what is known of a citizen, and the reply |
//! | `verify` | verdicts instead of data |
//! | `ministry` | the ministry's own endpoint: SOAP, signed, in the clerk's name there |
//! | `replica` | a province's replica in PostgreSQL |

mod asked;
mod fields;
mod ministry;
mod replica;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lgsp_proto::v1::{Question, ServiceRefusal};

use crate::config;
use crate::connector::source::{Serving, Source};
use asked::{Asked, MembersJson, read};
use fields::Wanted;
use ministry::Ministry;
pub use replica::script;
use replica::{Match, Replica};
use verify::{Claims, Verdict};

/// Why the connector cannot be started: a file that the configuration names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// The ministry's.
    #[error(transparent)]
    Ministry(#[from] ministry::NotUsable),
    /// The replica's.
    #[error(transparent)]
    Replica(#[from] replica::NotUsable),
}

/// Looks whether the files can be used, before anything is started; nobody is asked.
///
/// # Errors
/// See [`NotUsable`].
pub fn check(config: &config::Population) -> Result<(), NotUsable> {
    Backend::open(config).map(drop)
}

/// The four services.
///
/// # Errors
/// See [`NotUsable`].
pub(crate) fn serving(config: &config::Population) -> Result<Serving, NotUsable> {
    let backend = Arc::new(Backend::open(config)?);
    let mut sources: BTreeMap<_, Arc<dyn Source>> = BTreeMap::new();
    for (name, ask) in [
        ("dan-cu-tra-cuu", Ask::LookUp),
        ("dan-cu-xac-nhan-so", Ask::Number),
        ("dan-cu-ho-gia-dinh", Ask::Household),
        ("dan-cu-doi-chieu", Ask::Verify),
    ] {
        sources.insert((name.to_owned(), 1), Arc::new(Service { ask, backend: backend.clone() }));
    }
    Ok(Serving { party: config.party.clone(), at_once: config.at_once, sources })
}

/// See [`crate::fuzz::population`].
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz(bytes: &[u8]) {
    ministry::fuzz(bytes);
}

/// One of the four.
struct Service {
    ask: Ask,
    backend: Arc<Backend>,
}

#[derive(Clone, Copy)]
enum Ask {
    LookUp,
    Number,
    Household,
    Verify,
}

/// Where the register is.
enum Backend {
    Ministry(Box<Ministry>),
    Replica(Replica),
}

#[async_trait]
impl Source for Service {
    async fn reply(&self, question: &Question) -> Result<Bytes, ServiceRefusal> {
        let asked = Asked::of(question)?;
        let reply = match self.ask {
            Ask::LookUp => self.backend.look_up(question, &asked).await?,
            Ask::Number => {
                let confirmed = self.backend.confirms(question, &asked).await?;
                format!("{{\"confirmed\":{confirmed}}}").into_bytes()
            }
            Ask::Household => self.backend.household(question, &asked).await?,
            Ask::Verify => self.backend.verify(question, &asked).await?,
        };
        Ok(reply.into())
    }
}

impl Backend {
    fn open(config: &config::Population) -> Result<Self, NotUsable> {
        Ok(match &config.backend {
            config::PopulationBackend::Ministry(ministry) => {
                Self::Ministry(Box::new(Ministry::open(ministry, config.at_once.get())?))
            }
            config::PopulationBackend::Replica(replica) => Self::Replica(Replica::open(replica)?),
        })
    }

    async fn look_up(&self, question: &Question, asked: &Asked) -> Result<Vec<u8>, ServiceRefusal> {
        let wanted = Wanted::of(question.fields.iter().map(String::as_str));
        match self {
            Self::Ministry(ministry) => {
                let citizen = ministry.look_up(question, asked).await?;
                Ok(fields::reply(wanted, |field| citizen.value(field)))
            }
            Self::Replica(replica) => match replica.find(question, asked, wanted).await? {
                Match::Citizen(citizen) => Ok(fields::reply(wanted, |field| citizen.value(field))),
                Match::Differs { .. } => Err(ServiceRefusal::Mismatch),
            },
        }
    }

    async fn confirms(&self, question: &Question, asked: &Asked) -> Result<bool, ServiceRefusal> {
        match self {
            Self::Ministry(ministry) => match ministry.confirms(question, asked).await {
                Err(ServiceRefusal::Mismatch) => Ok(false),
                confirmed => confirmed,
            },
            Self::Replica(replica) => {
                let found = replica.find(question, asked, Wanted::default()).await?;
                Ok(matches!(found, Match::Citizen(_)))
            }
        }
    }

    async fn household(&self, question: &Question, asked: &Asked) -> Result<Vec<u8>, ServiceRefusal> {
        let MembersJson { members } = read(question)?;
        let (confirmed, each) = match self {
            Self::Ministry(ministry) => ministry.household(question, asked, &members).await?,
            Self::Replica(replica) => {
                let wanted = Wanted::of(["household.number"]);
                let Match::Citizen(citizen) = replica.find(question, asked, wanted).await? else {
                    return Err(ServiceRefusal::Mismatch);
                };
                let household = wanted.each().next().and_then(|field| citizen.value(field));
                let each = match household {
                    Some(household) => replica.are_of(question, household, &members).await?,
                    None => vec![false; members.len()],
                };
                (each.iter().all(|is_of| *is_of), each)
            }
        };
        // The numbers are those of the request; nothing of the register is said but yes or no.
        let member = |(member, confirmed): (&asked::MemberJson, bool)| serde_json::json!({ "personal_number": member.personal_number, "confirmed": confirmed });
        let members: Vec<_> = members.iter().zip(each).map(member).collect();
        Ok(serde_json::json!({ "confirmed": confirmed, "members": members }).to_string().into_bytes())
    }

    async fn verify(&self, question: &Question, asked: &Asked) -> Result<Vec<u8>, ServiceRefusal> {
        let claims = Claims::of(question)?;
        let warnings = asked.warnings(claims.sex());
        let all = [Verdict::Match; 3];
        match self {
            Self::Ministry(ministry) => match ministry.look_up(question, asked).await {
                Ok(citizen) => Ok(verify::reply(all, &claims, &warnings, |field| citizen.value(field))),
                // It does not say what does not match.
                Err(ServiceRefusal::Mismatch) => Ok(verify::reply([Verdict::Unknown; 3], &claims, &warnings, |_| None)),
                Err(refusal) => Err(refusal),
            },
            Self::Replica(replica) => match replica.find(question, asked, claims.fields()).await? {
                Match::Citizen(citizen) => Ok(verify::reply(all, &claims, &warnings, |field| citizen.value(field))),
                Match::Differs { name, born } => {
                    let keys = [Verdict::Match, Verdict::of(name), Verdict::of(born)];
                    Ok(verify::reply(keys, &claims, &warnings, |_| None))
                }
            },
        }
    }
}
