//! Fills a replica of the population database with the invented citizens, for connectors that read one instead of asking the ministry.
//!
//! The tables are there already (`adapters/src/population/schema.sql`); rows that are there stay, so whatever breaks off goes on when it is
//! done again. A replica has one row for a number: whom the ministry has twice (`doubled`) it has once.

use std::path::Path;

use lgsp_certs::tls::{TlsFileError, https_client_config};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::citizens::{Born, Citizen, Population, State};

/// Rows of one statement, and of one transaction.
const ROWS: u32 = 5_000;

/// What a database says that has no such tables, or not for this user.
const NOT_THERE: [SqlState; 3] =
    [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::INSUFFICIENT_PRIVILEGE];

/// The columns that are filled, in the order of [`row`].
const COLUMNS: [&str; 32] = [
    "number",
    "old_number",
    "full_name",
    "date_of_birth",
    "sex",
    "ethnicity",
    "religion",
    "marital_status",
    "nationality",
    "origin_province",
    "origin_commune",
    "residence_province",
    "residence_commune",
    "residence_detail",
    "residence_country",
    "current_province",
    "current_commune",
    "current_detail",
    "current_country",
    "father_name",
    "father_nationality",
    "father_number",
    "mother_name",
    "mother_nationality",
    "mother_number",
    "spouse_name",
    "spouse_nationality",
    "spouse_number",
    "household",
    "head_relation",
    "head_name",
    "head_number",
];

/// Why a replica was not filled. What was filled until then stays.
#[derive(Debug, thiserror::Error)]
pub enum NotFilled {
    /// Not an address of a database.
    #[error("the URL of the database cannot be used; it is postgresql://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url,
    /// The schema's name would have to be quoted.
    #[error("the name of a schema is of small letters, digits and _")]
    Schema,
    /// The roots of the database's certificate cannot be used.
    #[error(transparent)]
    Bundle(#[from] TlsFileError),
    /// There are no tables to fill, or this user may not write them.
    #[error("there is no {0}.citizen that this user may fill; make the tables first: lgsp adapter population schema")]
    NoTables(String, #[source] tokio_postgres::Error),
    /// The database refused, or the connection broke.
    #[error("the database did not take it")]
    Database(#[source] tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for NotFilled {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// Writes the whole population into `schema` of the database at `url`, over TLS when there is a `bundle` of roots. `told` is called with how many there
/// are, after every few thousand.
///
/// # Errors
/// Why it is not complete; done again it goes on.
pub async fn fill(
    population: Population,
    url: &str,
    schema: &str,
    bundle: Option<&Path>,
    mut told: impl FnMut(u32),
) -> Result<(), NotFilled> {
    let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    if schema.is_empty() || schema.as_bytes()[0].is_ascii_digit() || !schema.bytes().all(is_plain) {
        return Err(NotFilled::Schema);
    }
    let mut wanted: tokio_postgres::Config = url.parse().map_err(|_| NotFilled::Url)?;
    let client = match bundle {
        Some(bundle) => {
            let mut tls = https_client_config(bundle)?;
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
            wanted.ssl_mode(tokio_postgres::config::SslMode::Require);
            let (client, connection) = wanted.connect(MakeRustlsConnect::new(tls)).await?;
            // It ends with the client; what goes wrong on it is told by the client's calls.
            tokio::spawn(connection);
            client
        }
        None => {
            let (client, connection) = wanted.connect(NoTls).await?;
            tokio::spawn(connection);
            client
        }
    };
    let columns = COLUMNS.join(", ");
    // The state is the last: it is never empty.
    let values: Vec<String> = (1..=COLUMNS.len()).map(|at| format!("nullif(f[{at}], '')")).collect();
    let insert = format!(
        "INSERT INTO {schema}.citizen ({columns}, state) SELECT {}, f[{}] \
         FROM (SELECT string_to_array(line, E'\\t') AS f FROM unnest($1::text[]) AS line) AS lines ON CONFLICT DO NOTHING",
        values.join(", "),
        COLUMNS.len() + 1,
    );
    // A right that is missing shows at the first row only.
    let prepared = match client.prepare(&insert).await {
        Ok(prepared) => client.execute(&prepared, &[&Vec::<String>::new()]).await.map(|_| prepared),
        Err(error) => Err(error),
    };
    let insert = prepared.map_err(|error| match error.code() {
        Some(code) if NOT_THERE.contains(code) => NotFilled::NoTables(schema.to_owned(), error),
        _ => NotFilled::Database(error),
    })?;
    let mut place = 0;
    while place < population.citizens() {
        let end = population.citizens().min(place + ROWS);
        let rows: Vec<String> = (place..end).map(|place| row(population, &population.citizen(place))).collect();
        client.execute(&insert, &[&rows]).await?;
        place = end;
        told(place);
    }
    Ok(())
}

/// A citizen's columns, with a tab between them: no text of ours has one.
fn row(population: Population, citizen: &Citizen) -> String {
    let (parents, spouse) = (population.parents(citizen), population.spouse(citizen));
    let [father, mother] = parents.as_ref().map_or([None, None], |[father, mother]| [Some(father), Some(mother)]);
    let head = population.head(citizen);
    let relation = match &head {
        None => "Chủ hộ",
        Some(_) if citizen.place == citizen.head + 1 => "Vợ chồng",
        Some(_) => "Con",
    };
    let head = head.as_ref().unwrap_or(citizen);
    let born = match citizen.born {
        Born::Day(day) => day.to_string(),
        Born::Year(year) => year.to_string(),
    };
    let state = match citizen.state {
        State::Current | State::Doubled => "current",
        State::Deceased => "deceased",
        State::Locked => "locked",
    };
    let person = |of: Option<&Citizen>| {
        let text = |text: fn(&Citizen) -> &str| of.map_or_else(String::new, |of| text(of).to_owned());
        [text(|of| &of.full_name), text(|_| "VN"), text(|of| &of.number)]
    };
    let [[father, father_of, father_number], [mother, mother_of, mother_number], [spouse, spouse_of, spouse_number]] =
        [person(father), person(mother), person(spouse.as_ref())];
    let (commune, street) = (citizen.commune, citizen.street.as_str());
    let columns: [&str; COLUMNS.len() + 1] = [
        &citizen.number,
        citizen.old_number.as_deref().unwrap_or_default(),
        &citizen.full_name,
        &born,
        if citizen.is_female { "female" } else { "male" },
        "01",
        "00",
        if spouse.is_empty() { "1" } else { "2" },
        "VN",
        "46",
        commune,
        "46",
        commune,
        street,
        "VN",
        "46",
        commune,
        street,
        "VN",
        &father,
        &father_of,
        &father_number,
        &mother,
        &mother_of,
        &mother_number,
        &spouse,
        &spouse_of,
        &spouse_number,
        &citizen.household,
        relation,
        &head.full_name,
        &head.number,
        state,
    ];
    columns.join("\t")
}
