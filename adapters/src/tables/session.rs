//! One connection to the agency's database, what is said over it, and what its failures mean.
//!
//! Nothing of a failure but its code goes to the log: a message of the database may quote a row.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::view::Trouble;
use crate::config;

/// The form of the tables that this adapter works with.
pub(super) const VERSION: i32 = 1;

/// What has to be there of that form: what is missing is said at once, and not when the first row needs it.
const TABLES: [(&str, &str); 4] = [
    (
        "outbox",
        "party, request_key, actor, kind, dossier_code, body, offline, traceparent, state, provisional_number, slip, instance, \
         result, number, queued_at, taken_in_at, answered_at",
    ),
    ("outbox_document", "party, request_key, name, media_type, content"),
    (
        "inbox",
        "delivery_id, type, party, dossier_code, sequence, request_key, body, number, received_at, handled_at, refused_reason, \
         settled_at, instance, problem",
    ),
    ("inbox_document", "delivery_id, sha256, media_type, content, problem"),
];

/// The longest file with a password.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// A value for a statement, with its type: so a statement is one round trip, and the library never writes its values to a log.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// A text for a statement.
pub(super) fn text<'a, T: ToSql + Sync>(value: &'a T) -> Value<'a> {
    (value, Type::TEXT)
}

/// A connection.
pub(super) struct Session {
    client: Client,
    timeout: Duration,
    /// Something was queued or handled, as the database tells it.
    pub(super) woken: Arc<Notify>,
    /// Cancelled when the connection has ended.
    pub(super) ended: CancellationToken,
    _closes: DropGuard,
}

/// What did not work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failed {
    /// Because of the database or the line; nothing is wrong with what was said.
    Trouble(Trouble),
    /// What was said is not taken, by a rule of the agency's own or because it cannot be kept as it is.
    NotTaken,
}

impl Session {
    /// Connects.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) async fn open(config: &config::Tables) -> Result<Self, Trouble> {
        let mut wanted = tokio_postgres::Config::new();
        wanted
            .host(&config.host)
            .port(config.port)
            .dbname(&config.database)
            .user(&config.user)
            .connect_timeout(config.timeout)
            .application_name("lgsp adapter");
        if let Some(file) = &config.password_file {
            wanted.password(password(file).map_err(|error| {
                tracing::warn!(%error, "the password of the tables cannot be read");
                Trouble::LoginRefused
            })?);
        }
        let (woken, ended) = (Arc::new(Notify::new()), CancellationToken::new());
        let connecting = async {
            match &config.bundle {
                Some(bundle) => {
                    let mut tls = lgsp_certs::tls::https_client_config(bundle).map_err(|error| {
                        tracing::warn!(%error, "tables.bundle cannot be used");
                        Trouble::TlsFailed
                    })?;
                    // As PostgreSQL 17 asks for it; earlier ones do not look.
                    tls.alpn_protocols = vec![b"postgresql".to_vec()];
                    wanted.ssl_mode(SslMode::Require);
                    let connected = wanted.connect(MakeRustlsConnect::new(tls)).await;
                    let (client, connection) = connected.map_err(|error| connect_trouble(&error))?;
                    tokio::spawn(drive(connection, woken.clone(), ended.clone()));
                    Ok(client)
                }
                None => {
                    wanted.ssl_mode(SslMode::Disable);
                    let connected = wanted.connect(NoTls).await;
                    let (client, connection) = connected.map_err(|error| connect_trouble(&error))?;
                    tokio::spawn(drive(connection, woken.clone(), ended.clone()));
                    Ok(client)
                }
            }
        };
        let client = tokio::time::timeout(config.timeout, connecting).await.map_err(|_| Trouble::Unreachable)??;
        Ok(Self { client, timeout: config.timeout, woken, _closes: ended.clone().drop_guard(), ended })
    }

    /// Looks whether the tables are there, and are those that this adapter knows.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn check(&self, schema: &config::SchemaName) -> Result<(), Trouble> {
        let found = self.query(&format!("SELECT version FROM {schema}.version"), &[]).await;
        let rows = found.map_err(Failed::trouble)?;
        match rows.first().map(|row| row.try_get::<_, i32>(0)) {
            Some(Ok(VERSION)) => {}
            None => return Err(Trouble::Missing),
            Some(_) => return Err(Trouble::OtherVersion),
        }
        for (table, columns) in TABLES {
            let found = self.query(&format!("SELECT {columns} FROM {schema}.{table} LIMIT 0"), &[]).await;
            found.map_err(Failed::trouble)?;
        }
        Ok(())
    }

    /// Asks for rows.
    ///
    /// # Errors
    /// See [`Failed`]. Whether a statement that changes something did is not known then; each here may be said again.
    pub(super) async fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failed> {
        match tokio::time::timeout(self.timeout, self.client.query_typed(sql, values)).await {
            Ok(rows) => rows.map_err(|error| Failed::of(&error)),
            Err(_) => {
                // What it answers later would be taken for the next answer's delay.
                self.ended.cancel();
                Err(Failed::Trouble(Trouble::Unreachable))
            }
        }
    }

    /// Changes something. Committed when this returns; gives how many rows it concerned.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub(super) async fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Failed> {
        match tokio::time::timeout(self.timeout, self.client.execute_typed(sql, values)).await {
            Ok(rows) => rows.map_err(|error| Failed::of(&error)),
            Err(_) => {
                self.ended.cancel();
                Err(Failed::Trouble(Trouble::Unreachable))
            }
        }
    }

    /// Runs a script.
    ///
    /// # Errors
    /// What the database says: here a person runs it, and reads it.
    pub(super) async fn script(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    /// Whether it is of no more use.
    pub(super) fn is_over(&self) -> bool {
        self.ended.is_cancelled() || self.client.is_closed()
    }
}

/// Why the files that `[tables]` names cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The CA certificates.
    #[error("tables.bundle cannot be used")]
    Bundle(#[source] lgsp_certs::tls::TlsFileError),
    /// The password.
    #[error("tables.password_file {} cannot be used", file.display())]
    Password {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
}

/// Looks whether the files can be used, before anything is started; the database is not asked.
///
/// # Errors
/// See [`CheckError`].
pub fn check(config: &config::Tables) -> Result<(), CheckError> {
    if let Some(bundle) = &config.bundle {
        lgsp_certs::tls::https_client_config(bundle).map_err(CheckError::Bundle)?;
    }
    match &config.password_file {
        Some(file) => {
            let read = password(file).map(drop);
            read.map_err(|source| CheckError::Password { file: file.clone(), source })
        }
        None => Ok(()),
    }
}

/// Carries what is said to and fro until the connection ends or nobody needs it.
async fn drive<S, T>(mut connection: Connection<S, T>, woken: Arc<Notify>, ended: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let carrying = async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(_))) => woken.notify_one(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    };
    tokio::select! {
        () = carrying => ended.cancel(),
        () = ended.cancelled() => {}
    }
}

fn password(file: &Path) -> std::io::Result<String> {
    let length = std::fs::metadata(file)?.len();
    let text = if length <= MAX_PASSWORD_BYTES { std::fs::read_to_string(file)? } else { String::new() };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it holds no password")),
        password => Ok(password.to_owned()),
    }
}

/// Why there is no connection.
fn connect_trouble(error: &tokio_postgres::Error) -> Trouble {
    match Failed::of(error) {
        Failed::Trouble(trouble) => trouble,
        Failed::NotTaken => Trouble::Failing,
    }
}

impl Failed {
    fn of(error: &tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            // The library tells these apart by their words only.
            let said = error.to_string();
            return Self::Trouble(match &*said {
                "error performing TLS handshake" => Trouble::TlsFailed,
                "authentication error" | "invalid configuration" => Trouble::LoginRefused,
                _ => Trouble::Unreachable,
            });
        };
        let failed = Self::of_code(code.code());
        if matches!(failed, Self::NotTaken | Self::Trouble(Trouble::Failing)) {
            tracing::warn!(sqlstate = code.code(), "the agency's database does not take something");
        }
        failed
    }

    /// What a code of the database means (PostgreSQL, Appendix A).
    fn of_code(code: &str) -> Self {
        Self::Trouble(match code {
            "25006" => Trouble::ReadOnly,
            "3D000" => Trouble::LoginRefused,
            "3F000" | "42P01" | "42703" | "42P10" | "42883" => Trouble::Missing,
            "42501" => Trouble::Denied,
            "53100" => Trouble::DiskFull,
            "P0001" => return Self::NotTaken,
            _ => match code.get(..2) {
                Some("08" | "57" | "53") => Trouble::Unreachable,
                Some("28") => Trouble::LoginRefused,
                Some("22" | "23" | "54") => return Self::NotTaken,
                _ => Trouble::Failing,
            },
        })
    }

    /// What is the matter, for who has said nothing of its own that could be refused.
    pub(super) fn trouble(self) -> Trouble {
        match self {
            Self::Trouble(trouble) => trouble,
            Self::NotTaken => Trouble::Failing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_a_line_and_an_empty_file_is_none() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("password");
        for (content, expected) in
            [("synthetic\n", Some("synthetic")), (" a b\r\n", Some(" a b")), ("\n", None), ("", None)]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(password(&file).ok().as_deref(), expected, "{content:?}");
        }
        std::fs::write(&file, vec![b'x'; 5000]).unwrap();
        assert!(password(&file).is_err());
    }

    #[test]
    fn only_what_a_rule_refuses_is_held_against_the_row() {
        for code in ["22P05", "23514", "23505", "54000", "P0001"] {
            assert_eq!(Failed::of_code(code), Failed::NotTaken, "{code}");
        }
        for (code, trouble) in [
            ("57P01", Trouble::Unreachable),
            ("57P03", Trouble::Unreachable),
            ("53300", Trouble::Unreachable),
            ("08006", Trouble::Unreachable),
            ("53100", Trouble::DiskFull),
            ("28P01", Trouble::LoginRefused),
            ("3D000", Trouble::LoginRefused),
            ("42P01", Trouble::Missing),
            ("3F000", Trouble::Missing),
            ("42501", Trouble::Denied),
            ("25006", Trouble::ReadOnly),
            ("XX000", Trouble::Failing),
            ("", Trouble::Failing),
        ] {
            assert_eq!(Failed::of_code(code), Failed::Trouble(trouble), "{code}");
        }
    }
}
