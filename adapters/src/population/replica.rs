//! A province's own replica in PostgreSQL, answered from by the same rules: number, name and date of birth must all be the citizen's.
//!
//! A few connections, each used by many questions at once: a look-up is one statement, prepared on its connection the first time its
//! fields are wanted, and one round trip. Names are compared here and not in the database. Nothing of a row goes to the log. A connection
//! that took a question and said nothing is not asked again while another can be had.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lgsp_domain::person_name;
use lgsp_proto::types::PersonalNumber;
use lgsp_proto::v1::{Question, ServiceRefusal};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::asked::{Asked, Born, MemberJson};
use super::fields::{DATE_OF_BIRTH, FIELDS, FULL_NAME, NUMBER, OLD_NUMBER, Wanted};
use crate::config::{self, SchemaName};
use crate::connector::source::failed;
use crate::private_file;

const SCRIPT: &str = include_str!("schema.sql");

/// The form of the replica that this connector reads.
const VERSION: i32 = 1;

/// The longest file with a password.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// How long a connection over TCP is idle before the system looks whether the other end is still there, between two such looks, and how many of
/// them may stay without an answer.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// The most people with one old number, or in one household, that are looked at.
const ROWS_MAX: usize = 128;

/// See the module.
pub(super) struct Replica {
    config: config::Replica,
    slots: Vec<Slot>,
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    held: tokio::sync::Mutex<Held>,
    under_way: AtomicUsize,
}

/// What is in the place, and when the last one was taken out though it had not ended.
#[derive(Default)]
struct Held {
    session: Option<Arc<Session>>,
    given_up: Option<Instant>,
}

/// A connection, and what is prepared on it. It is closed when the last question has left it, whatever it may still owe.
struct Session {
    client: Client,
    prepared: Mutex<HashMap<Ask, Statement>>,
    /// How often something was heard on it.
    heard: AtomicUsize,
    /// How often that was when a question was last given up on it without a word.
    lost: AtomicUsize,
    _driver: AbortOnDropHandle<()>,
}

/// A statement: which rows, and which fields of them.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Ask {
    by: By,
    fields: Wanted,
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum By {
    Number,
    OldNumber,
    Household,
}

/// A row with some of the fields, and whether anything may be told of it. No `Debug`: all of it is personal.
pub(super) struct Found {
    row: Row,
    fields: Wanted,
}

/// What a number leads to.
pub(super) enum Match {
    /// All three keys are this citizen's.
    Citizen(Found),
    /// The number is somebody's, but not of this name or not of this birth. With several people of one old number nothing more is
    /// known.
    Differs { name: Option<bool>, born: Option<bool> },
}

/// Why the replica's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// The CA certificates.
    #[error("population.replica.bundle")]
    Bundle(#[from] lgsp_certs::tls::TlsFileError),
    /// The password.
    #[error("population.replica.password_file {}", file.display())]
    Password {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
}

/// The script that makes the replica's tables in a schema, with the right to read them for a role.
pub fn script(schema: &SchemaName, role: &str) -> String {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    SCRIPT.replace("{schema}", schema.as_str()).replace("{role}", &role)
}

impl Replica {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn open(config: &config::Replica) -> Result<Self, NotUsable> {
        if let Some(bundle) = &config.bundle {
            lgsp_certs::tls::https_client_config(bundle)?;
        }
        if let Some(file) = &config.password_file {
            password(file).map_err(|source| NotUsable::Password { file: file.clone(), source })?;
        }
        let slots = (0..config.connections.get()).map(|_| Slot::default()).collect();
        Ok(Self { config: config.clone(), slots })
    }

    /// The citizen whom the keys name, with the wanted fields.
    pub(super) async fn find(
        &self,
        question: &Question,
        asked: &Asked,
        wanted: Wanted,
    ) -> Result<Match, ServiceRefusal> {
        let by = match &asked.number {
            PersonalNumber::Citizen(_) => By::Number,
            PersonalNumber::Card(_) => By::OldNumber,
        };
        let fields = wanted.with(FULL_NAME).with(DATE_OF_BIRTH);
        let rows = self.rows(question, Ask { by, fields }, asked.number.as_str()).await?;
        let name = person_name::key(&asked.name);
        let agrees = |found: &Found| (found.is_named(&asked.name, &name), found.is_born(asked.born));
        let mut found = rows.into_iter().map(|row| Found { row, fields });
        let Some(first) = found.next() else { return Err(ServiceRefusal::NotFound) };
        let rest: Vec<_> = found.collect();
        if rest.is_empty() {
            return match agrees(&first) {
                (true, true) => first.told().map(Match::Citizen),
                (name, born) => Ok(Match::Differs { name: Some(name), born: Some(born) }),
            };
        }
        let mut all = std::iter::once(first).chain(rest).filter(|found| agrees(found) == (true, true));
        match (all.next(), all.next()) {
            (None, _) => Ok(Match::Differs { name: None, born: None }),
            (Some(one), None) => one.told().map(Match::Citizen),
            (Some(_), Some(_)) => Err(ServiceRefusal::Ambiguous),
        }
    }

    /// Whether each of the members is registered in a household, under the name that was said.
    pub(super) async fn are_of(
        &self,
        question: &Question,
        household: &str,
        members: &[MemberJson],
    ) -> Result<Vec<bool>, ServiceRefusal> {
        let fields = Wanted::default().with(NUMBER).with(OLD_NUMBER).with(FULL_NAME);
        let rows = self.rows(question, Ask { by: By::Household, fields }, household).await?;
        let rows: Vec<_> = rows.into_iter().map(|row| Found { row, fields }).collect();
        let is_of = |member: &MemberJson| {
            let has_number = |found: &&Found| {
                [NUMBER, OLD_NUMBER].iter().any(|field| found.value(*field) == Some(&*member.personal_number))
            };
            let key = person_name::key(&member.full_name);
            rows.iter().filter(has_number).any(|found| found.is_named(&member.full_name, &key))
        };
        Ok(members.iter().map(is_of).collect())
    }

    async fn rows(&self, question: &Question, ask: Ask, key: &str) -> Result<Vec<Row>, ServiceRefusal> {
        let no = |why| move |()| failed(question, why);
        // The one with the least to do; the statements of one connection wait for each other.
        let slot = self.slots.iter().min_by_key(|slot| slot.under_way.load(Ordering::Relaxed));
        let slot = slot.expect("there is one connection at least");
        let _under_way = UnderWay::begin(&slot.under_way);
        let session = self.session(slot).await.map_err(no("there is no connection to the replica"))?;
        let _waiting = Waiting::begin(&session);
        let answered = async {
            let statement = session.prepared(&self.config.schema, ask).await;
            let statement = statement.map_err(no("the replica is not as it should be"))?;
            let rows = session.heard(session.client.query(&statement, &[&key]).await);
            rows.map_err(|error| {
                tracing::debug!(
                    sqlstate = error.code().map(|code| code.code()),
                    "the replica does not answer a statement"
                );
                failed(question, "the replica does not answer")
            })
        };
        // The server has the same limit, but nobody hears of it over a connection that is dead.
        let rows = tokio::time::timeout(self.config.timeout, answered).await;
        let rows = rows.unwrap_or_else(|_| Err(failed(question, "the replica does not answer in time")))?;
        if rows.len() > ROWS_MAX { Err(ServiceRefusal::Ambiguous) } else { Ok(rows) }
    }

    /// The connection of a place, opened if need be.
    ///
    /// One that is lost is taken out, and closed when the last question has left it. What the server had begun on it may go on for as long as
    /// a statement may last; before that no other is taken out, so that a database that is only slow has two of a place at most.
    async fn session(&self, slot: &Slot) -> Result<Arc<Session>, ()> {
        let mut held = slot.held.lock().await;
        let may_give_up = held.given_up.is_none_or(|before| before.elapsed() >= self.config.timeout);
        match held.session.take() {
            Some(session) if session.client.is_closed() => {}
            Some(session) if session.is_lost() && may_give_up => {
                tracing::warn!("a connection to the replica says nothing and is given up");
                held.given_up = Some(Instant::now());
            }
            Some(session) => {
                held.session = Some(session.clone());
                return Ok(session);
            }
            None => {}
        }
        let session = Arc::new(Session::open(&self.config).await?);
        held.session = Some(session.clone());
        Ok(session)
    }
}

/// Counts a question in and, however it ends, out.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A question that waits for a connection's answer. When it goes, and nothing was heard there since it came, the connection counts as lost
/// until something is.
struct Waiting<'a> {
    session: &'a Session,
    heard: usize,
}

impl<'a> Waiting<'a> {
    fn begin(session: &'a Session) -> Self {
        Self { session, heard: session.heard.load(Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.session.lost.fetch_max(self.heard, Ordering::Relaxed);
    }
}

impl Session {
    /// Connects, and sees whether this is a replica of the form that is known here.
    async fn open(config: &config::Replica) -> Result<Self, ()> {
        let mut wanted = tokio_postgres::Config::new();
        wanted
            .host(&config.host)
            .port(config.port)
            .dbname(&config.database)
            .user(&config.user)
            .connect_timeout(config.timeout)
            .tcp_user_timeout(config.timeout)
            .keepalives_idle(KEEPALIVE.0)
            .keepalives_interval(KEEPALIVE.1)
            .keepalives_retries(KEEPALIVE.2)
            .application_name("lgsp population connector")
            // What a question's own time does not end; nothing here writes.
            .options(format!(
                "-c statement_timeout={} -c default_transaction_read_only=on",
                config.timeout.as_millis().min(i32::MAX as u128)
            ));
        if let Some(file) = &config.password_file {
            let password =
                password(file).map_err(|error| tracing::warn!(%error, "the replica's password cannot be read"))?;
            wanted.password(password.as_bytes());
        }
        let opened = tokio::time::timeout(config.timeout, Self::connect(config, wanted)).await;
        opened.unwrap_or_else(|_| {
            tracing::warn!("the replica does not answer in time");
            Err(())
        })
    }

    async fn connect(config: &config::Replica, mut wanted: tokio_postgres::Config) -> Result<Self, ()> {
        // A message of the database may quote what it was given: its code is enough.
        let told = |error: tokio_postgres::Error| {
            tracing::warn!(sqlstate = error.code().map(|code| code.code()), "no connection to the replica");
        };
        let (client, driver) = match &config.bundle {
            Some(bundle) => {
                let tls = lgsp_certs::tls::https_client_config(bundle);
                let mut tls =
                    tls.map_err(|error| tracing::warn!(%error, "population.replica.bundle cannot be used"))?;
                tls.alpn_protocols = vec![b"postgresql".to_vec()];
                wanted.ssl_mode(SslMode::Require);
                driven(wanted.connect(MakeRustlsConnect::new(tls)).await.map_err(told)?)
            }
            None => {
                wanted.ssl_mode(SslMode::Disable);
                driven(wanted.connect(NoTls).await.map_err(told)?)
            }
        };
        // It has been heard, and nothing was lost since.
        let (heard, lost) = (AtomicUsize::new(1), AtomicUsize::new(0));
        let session = Self { client, prepared: Mutex::default(), heard, lost, _driver: driver };
        let version = session.client.query(&format!("SELECT version FROM {}.version", config.schema), &[]).await;
        match version.map_err(told)?.first().map(|row| row.try_get::<_, i32>(0)) {
            Some(Ok(VERSION)) => Ok(session),
            _ => {
                tracing::warn!("the replica's tables are of another version than this connector reads");
                Err(())
            }
        }
    }

    /// Notes that there was an answer, whatever it says.
    fn heard<T>(&self, answer: T) -> T {
        self.heard.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) == self.heard.load(Ordering::Relaxed)
    }

    async fn prepared(&self, schema: &SchemaName, ask: Ask) -> Result<Statement, ()> {
        if let Some(statement) = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(&ask) {
            return Ok(statement.clone());
        }
        let statement = self.heard(self.client.prepare_typed(&sql(schema, ask), &[Type::TEXT]).await);
        let statement = statement.map_err(|error| {
            tracing::warn!(sqlstate = error.code().map(|code| code.code()), "a statement does not fit the replica");
        })?;
        // Two may have prepared it at once; one of them is kept. There are as many as there are sets of fields that somebody may have.
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(prepared.entry(ask).or_insert(statement).clone())
    }
}

fn sql(schema: &SchemaName, ask: Ask) -> String {
    let mut sql = "SELECT ".to_owned();
    for field in ask.fields.each() {
        sql += FIELDS[field].column;
        sql += ", ";
    }
    let key = match ask.by {
        By::Number => "number",
        By::OldNumber => "old_number",
        By::Household => "household",
    };
    // One more than may be, to see that there are too many.
    sql + &format!("state FROM {schema}.citizen WHERE {key} = $1 LIMIT {}", ROWS_MAX + 1)
}

/// Carries what is said to and fro in a task of its own, which ends with the connection or its handle.
fn driven<S, T>((client, connection): (Client, tokio_postgres::Connection<S, T>)) -> (Client, AbortOnDropHandle<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(sqlstate = error.code().map(|code| code.code()), "a connection to the replica ended");
        }
    });
    (client, AbortOnDropHandle::new(driver))
}

impl Found {
    /// A field of those that were asked for.
    pub(super) fn value(&self, field: usize) -> Option<&str> {
        if !self.fields.has(field) {
            return None;
        }
        self.row.try_get(self.fields.before(field)).ok().flatten()
    }

    fn is_named(&self, name: &str, key: &str) -> bool {
        // Mostly it is written the same; the key costs more.
        self.value(FULL_NAME).is_some_and(|full| full == name || person_name::key(full) == key)
    }

    fn is_born(&self, born: Born) -> bool {
        self.value(DATE_OF_BIRTH).and_then(Born::read) == Some(born)
    }

    /// Itself, if anything may be told of it.
    fn told(self) -> Result<Self, ServiceRefusal> {
        match self.row.try_get::<_, &str>(self.fields.each().count()) {
            Ok("current") => Ok(self),
            _ => Err(ServiceRefusal::Locked),
        }
    }
}

fn password(file: &Path) -> std::io::Result<zeroize::Zeroizing<String>> {
    let text = private_file::read(file, MAX_PASSWORD_BYTES)?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it holds no password")),
        password => Ok(password.to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_is_more_than_a_name_in_the_script() {
        let script = script(&"dan_cu".parse().unwrap(), "x\"; DROP TABLE y; --");
        assert!(script.contains("TO \"x\"\"; DROP TABLE y; --\";"));
        assert!(!script.contains("{schema}") && !script.contains("{role}"));
    }

    #[test]
    fn a_statement_asks_for_what_is_wanted_and_the_script_has_every_column() {
        let fields = Wanted::of(["sex", "residence.commune_code"]).with(FULL_NAME);
        let sql = sql(&"dan_cu".parse().unwrap(), Ask { by: By::OldNumber, fields });
        assert_eq!(
            sql,
            "SELECT full_name, sex, residence_commune, state FROM dan_cu.citizen WHERE old_number = $1 LIMIT 129"
        );
        assert_eq!(fields.before(FULL_NAME), 0);
        for field in FIELDS {
            assert!(SCRIPT.contains(&format!("\n    {} ", field.column)), "{}", field.column);
        }
    }
}
