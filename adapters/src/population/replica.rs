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
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::asked::{Asked, Born, MemberJson};
use super::fields::{DATE_OF_BIRTH, FIELDS, FULL_NAME, NUMBER, OLD_NUMBER, Wanted};
use crate::config::{self, SchemaName};
use crate::connector::source::failed;
use crate::private_file;

/// Said in the log of a question where nothing more is known.
const NO_CONNECTION: &str = "there is no connection to the replica";

const SCRIPT: &str = include_str!("schema.sql");

/// The form of the replica that this connector reads.
const VERSION: i32 = 1;

/// The longest file with a password.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// How long a connection over TCP is idle before the system looks whether the other end is still there, between two such looks, and how many of
/// them may stay without an answer.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// The most people with one old number, or of a household with the numbers of its members, that are looked at.
const ROWS_MAX: usize = 128;

/// The most statements that are kept on a connection beside those that read every field. Which fields are wanted is the asker's choice, and the
/// database keeps what is prepared for as long as the connection: an asker who tries out all sets must not fill its memory.
const STATEMENTS_MAX: usize = 16;

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

/// A row, and the fields of it that are wanted, which may be fewer than it has; and whether anything may be told of it. No `Debug`: all
/// of it is personal.
pub(super) struct Found {
    row: Row,
    columns: Wanted,
    fields: Wanted,
}

/// What a number leads to.
pub(super) enum Match {
    /// All three keys are this citizen's.
    Citizen(Found),
    /// The number is somebody's, but not of this name or not of this birth. With several people of one old number nothing more is
    /// known. Whoever is not current is nobody here: that there was such a person is for who knows all three keys.
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
        let found = self.rows(question, Ask { by, fields }, &[&asked.number.as_str()]).await?;
        let name = person_name::key(&asked.name);
        let agrees = |found: &Found| (found.is_named(&asked.name, &name), found.is_born(asked.born));
        let (named, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|found| agrees(found) == (true, true));
        let mut named = named.into_iter();
        match (named.next(), named.next()) {
            (Some(one), None) => one.told().map(Match::Citizen),
            (Some(_), Some(_)) => Err(ServiceRefusal::Ambiguous),
            (None, _) => {
                let mut others = others.iter().filter(|found| found.is_current());
                match (others.next(), others.next()) {
                    (None, _) => Err(ServiceRefusal::NotFound),
                    (Some(one), None) => {
                        let (name, born) = agrees(one);
                        Ok(Match::Differs { name: Some(name), born: Some(born) })
                    }
                    (Some(_), Some(_)) => Ok(Match::Differs { name: None, born: None }),
                }
            }
        }
    }

    /// Whether each of the members is registered in a household, under the name that was said, and current.
    pub(super) async fn are_of(
        &self,
        question: &Question,
        household: &str,
        members: &[MemberJson],
    ) -> Result<Vec<bool>, ServiceRefusal> {
        let fields = Wanted::default().with(NUMBER).with(OLD_NUMBER).with(FULL_NAME);
        let numbers: Vec<&str> = members.iter().map(|member| &*member.personal_number).collect();
        let rows = self.rows(question, Ask { by: By::Household, fields }, &[&household, &numbers]).await?;
        let is_of = |member: &MemberJson| {
            let has_number = |found: &&Found| {
                [NUMBER, OLD_NUMBER].iter().any(|field| found.value(*field) == Some(&*member.personal_number))
            };
            let key = person_name::key(&member.full_name);
            let mut rows = rows.iter().filter(|found| found.is_current()).filter(has_number);
            rows.any(|found| found.is_named(&member.full_name, &key))
        };
        Ok(members.iter().map(is_of).collect())
    }

    async fn rows(
        &self,
        question: &Question,
        ask: Ask,
        keys: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Found>, ServiceRefusal> {
        // The one with the least to do; the statements of one connection wait for each other.
        let slot = self.slots.iter().min_by_key(|slot| slot.under_way.load(Ordering::Relaxed));
        let slot = slot.expect("there is one connection at least");
        let _under_way = UnderWay::begin(&slot.under_way);
        let session = self.session(slot).await.map_err(|why| failed(question, why))?;
        let _waiting = Waiting::begin(&session);
        let answered = async {
            let statement = session.prepared(&self.config.schema, ask).await;
            let (statement, columns) = statement.map_err(|why| failed(question, why))?;
            let rows = session.heard(session.client.query(&statement, keys).await);
            let rows = rows.map_err(|error| {
                tracing::debug!(
                    sqlstate = error.code().map(|code| code.code()),
                    "the replica does not answer a statement"
                );
                failed(question, "the replica does not answer")
            })?;
            Ok(rows.into_iter().map(|row| Found { row, columns, fields: ask.fields }).collect::<Vec<_>>())
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
    async fn session(&self, slot: &Slot) -> Result<Arc<Session>, &'static str> {
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
    /// Connects, and sees whether this is a replica of the form that is known here. The error says why not, in words for the log.
    async fn open(config: &config::Replica) -> Result<Self, &'static str> {
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
            let password = password(file).map_err(|error| {
                tracing::warn!(%error, "the replica's password cannot be read");
                NO_CONNECTION
            })?;
            wanted.password(password.as_bytes());
        }
        let opened = tokio::time::timeout(config.timeout, Self::connect(config, wanted)).await;
        opened.unwrap_or_else(|_| {
            tracing::warn!("the replica does not answer in time");
            Err(NO_CONNECTION)
        })
    }

    async fn connect(config: &config::Replica, mut wanted: tokio_postgres::Config) -> Result<Self, &'static str> {
        // A message of the database may quote what it was given: its code is enough.
        let told = |error: tokio_postgres::Error| {
            let why = in_words(&error).unwrap_or(NO_CONNECTION);
            tracing::warn!(sqlstate = error.code().map(|code| code.code()), why, "the replica cannot be used");
            why
        };
        let (client, driver) = match &config.bundle {
            Some(bundle) => {
                let tls = lgsp_certs::tls::https_client_config(bundle);
                let mut tls = tls.map_err(|error| {
                    tracing::warn!(%error, "population.replica.bundle cannot be used");
                    NO_CONNECTION
                })?;
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
                let why = "the replica's tables are of another version than this connector reads";
                tracing::warn!("{why}");
                Err(why)
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

    /// The statement for what is asked, and the fields that it reads: those, or all where many other sets were asked for before.
    async fn prepared(&self, schema: &SchemaName, ask: Ask) -> Result<(Statement, Wanted), &'static str> {
        let kept = || self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = {
            let kept = kept();
            let has_room = kept.len() < STATEMENTS_MAX || kept.contains_key(&ask);
            let ask = if has_room { ask } else { ask.of_everything() };
            if let Some(statement) = kept.get(&ask) {
                return Ok((statement.clone(), ask.fields));
            }
            ask
        };
        let types = &[Type::TEXT, Type::TEXT_ARRAY][..ask.by.keys()];
        let statement = self.heard(self.client.prepare_typed(&sql(schema, ask), types).await);
        let statement = statement.map_err(|error| {
            let why = in_words(&error).unwrap_or("the replica is not as it should be");
            tracing::warn!(
                sqlstate = error.code().map(|code| code.code()),
                why,
                "a statement does not fit the replica"
            );
            why
        })?;
        // Others may have prepared this one or filled the room meanwhile: then it serves once, and goes.
        let mut kept = kept();
        if kept.len() < STATEMENTS_MAX || ask == ask.of_everything() {
            kept.entry(ask).or_insert_with(|| statement.clone());
        }
        Ok((statement, ask.fields))
    }
}

impl Ask {
    /// The same rows, with every field.
    fn of_everything(self) -> Self {
        Self { fields: Wanted::all(), ..self }
    }
}

impl By {
    /// How many keys its statement takes.
    fn keys(self) -> usize {
        match self {
            Self::Number | Self::OldNumber => 1,
            Self::Household => 2,
        }
    }
}

/// What whoever runs the replica has left out, where the database's refusal says that; a fixed text, for a message of the database may
/// quote what it was given.
fn in_words(error: &tokio_postgres::Error) -> Option<&'static str> {
    match error.code()? {
        code if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME => {
            Some("the replica's tables are not there; make them: lgsp adapter population schema")
        }
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Some("population.replica.user may not read the replica's tables: lgsp adapter population schema --role")
        }
        code if *code == SqlState::INVALID_CATALOG_NAME => Some("there is no database population.replica.database"),
        _ => None,
    }
}

fn sql(schema: &SchemaName, ask: Ask) -> String {
    let mut sql = "SELECT ".to_owned();
    for field in ask.fields.each() {
        sql += FIELDS[field].column;
        sql += ", ";
    }
    let key = match ask.by {
        By::Number => "number = $1",
        By::OldNumber => "old_number = $1",
        // A household may be a dormitory, and only its members that were named are looked at.
        By::Household => "household = $1 AND (number = ANY ($2) OR old_number = ANY ($2))",
    };
    // One more than may be, to see that there are too many.
    sql + &format!("state FROM {schema}.citizen WHERE {key} LIMIT {}", ROWS_MAX + 1)
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
    /// A field of those that are wanted.
    pub(super) fn value(&self, field: usize) -> Option<&str> {
        if !self.fields.has(field) {
            return None;
        }
        self.row.try_get(self.columns.before(field)).ok().flatten()
    }

    fn is_named(&self, name: &str, key: &str) -> bool {
        // Mostly it is written the same; the key costs more.
        self.value(FULL_NAME).is_some_and(|full| full == name || person_name::key(full) == key)
    }

    fn is_born(&self, born: Born) -> bool {
        self.value(DATE_OF_BIRTH).and_then(Born::read) == Some(born)
    }

    /// Whether anything may be told of it.
    fn is_current(&self) -> bool {
        matches!(self.row.try_get::<_, &str>(self.columns.each().count()), Ok("current"))
    }

    /// Itself, if anything may be told of it.
    fn told(self) -> Result<Self, ServiceRefusal> {
        if self.is_current() { Ok(self) } else { Err(ServiceRefusal::Locked) }
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
    use super::super::fields::SEX;
    use super::super::tests::{Province, keys, question};
    use super::*;

    #[test]
    fn no_role_is_more_than_a_name_in_the_script() {
        let script = script(&"dan_cu".parse().unwrap(), "x\"; DROP TABLE y; --");
        assert!(script.contains("TO \"x\"\"; DROP TABLE y; --\";"));
        assert!(!script.contains("{schema}") && !script.contains("{role}"));
    }

    #[tokio::test]
    async fn what_is_left_out_at_a_replica_is_named() {
        let province = Province::start();
        let with = |schema: &str, database: &str, user: &str| config::Replica {
            schema: schema.parse().unwrap(),
            database: database.into(),
            user: user.into(),
            ..province.config()
        };
        let good = province.config();
        let (schema, database, user) = (good.schema.to_string(), good.database.to_string(), good.user.to_string());
        province.0.sql("CREATE ROLE stranger LOGIN");
        for (config, said) in [
            (with("elsewhere", &database, &user), "tables are not there"),
            (with(&schema, "elsewhere", &user), "no database"),
            (with(&schema, &database, "stranger"), "may not read"),
            (with(&schema, &database, "nobody_at_all"), NO_CONNECTION),
        ] {
            let why = Session::open(&config).await.err().unwrap();
            assert!(why.contains(said), "{why:?} is not {said:?}");
        }
    }

    #[tokio::test]
    async fn however_many_sets_of_fields_are_wanted_few_statements_are_kept() {
        let province = Province::start();
        let config = config::Replica { connections: 1.try_into().unwrap(), ..province.config() };
        let replica = Replica::open(&config).unwrap();
        let question = question(&[], &keys("046088654321", "Trần Văn Thử", "1988-05-05"));
        let asked = Asked::of(&question).unwrap();
        for set in 0..200_u64 {
            let wanted =
                (0..8).filter(|bit| set >> bit & 1 == 1).fold(Wanted::default(), |wanted, bit| wanted.with(SEX + bit));
            let Ok(Match::Citizen(citizen)) = replica.find(&question, &asked, wanted).await else { panic!("{set}") };
            // And what is not wanted is not told, whatever was read.
            assert_eq!(citizen.value(SEX), wanted.has(SEX).then_some("male"), "{set}");
            assert_eq!(citizen.value(SEX + 2), wanted.has(SEX + 2).then_some("01"), "{set}");
        }
        let session = replica.session(&replica.slots[0]).await.ok().unwrap();
        let kept = session.client.query_one("SELECT count(*) FROM pg_prepared_statements", &[]).await.unwrap();
        let kept = kept.get::<_, i64>(0);
        // This one is prepared for its own time as well.
        assert!((2..=20).contains(&kept), "{kept}");
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
