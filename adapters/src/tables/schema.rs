//! The tables themselves: the script that makes them, for people to read and run, or to have run.

use lgsp_proto::reason::Bilingual;

use crate::config::{SchemaName, Tables};
use crate::tables::session::Session;
use crate::trouble::Trouble as _;

const SCRIPT: &str = include_str!("schema.sql");

/// Why the tables were not made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no connection.
    #[error("{word}: {en}")]
    Connection {
        /// The stable word.
        word: &'static str,
        /// What is the matter, and what to do.
        en: &'static str,
        /// The same in Vietnamese.
        vi: &'static str,
    },
    /// The database says no.
    #[error("the database does not make them: {0}")]
    Database(String),
}

/// The script for a schema, and the role that the adapter has there.
pub fn script(schema: &SchemaName, role: &str) -> String {
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    SCRIPT.replace("{schema}", schema.as_str()).replace("{role}", &role)
}

/// Makes the tables, as this configuration says but for the role: whoever may create a schema. Once more changes nothing.
///
/// # Errors
/// See [`InstallError`].
pub async fn install(tables: &Tables, role: &str) -> Result<(), InstallError> {
    let session = Session::open(tables).await.map_err(|trouble| {
        let Bilingual { en, vi } = trouble.texts();
        InstallError::Connection { word: trouble.word(), en, vi }
    })?;
    // Told in full: whoever installs reads it, and there are no rows yet.
    session.script(&script(&tables.schema, role)).await.map_err(|error| {
        InstallError::Database(error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_is_more_than_a_name_in_the_script() {
        let script = script(&"lgsp".parse().unwrap(), "x\"; DROP TABLE y; --");
        assert!(script.contains("TO \"x\"\"; DROP TABLE y; --\";"));
        assert!(!script.contains("{schema}") && !script.contains("{role}"));
    }
}
