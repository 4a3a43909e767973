//! `lgsp adapter tables`: the tables between an agency's own software and the adapter, printed or made.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lgsp_adapters::Config;
use lgsp_adapters::config::SchemaName;
use lgsp_adapters::tables::{self, InstallError};
use tokio::runtime::Builder;

use crate::failure::{Failure, because};
use crate::lang::Lang;
use crate::node::environment;

const EXAMPLES: &str = "\
Read it, then run it as somebody who may create a schema in the agency's database:
  lgsp adapter tables schema > lgsp.sql
  psql -d mot_cua -f lgsp.sql

Or have it run, in the database of the adapter's [tables], by a role of yours (its password in a file, if it needs one):
  lgsp adapter tables install --config adapter.toml --as postgres

Both may be done again: what is there stays as it is. What is in the tables: docs/tables.md.";

/// The tables in the agency's own PostgreSQL: print them, or make them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tables {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the SQL that makes the tables, with the rights that the adapter's role needs.
    Schema {
        /// The schema that they are in: tables.schema of the adapter's configuration.
        #[arg(long, default_value = "lgsp")]
        schema: String,
        /// The adapter's role: tables.user.
        #[arg(long, default_value = "lgsp_adapter")]
        role: String,
    },
    /// Make the tables in the database that the adapter's configuration names.
    Install {
        /// The adapter's configuration.
        #[arg(long)]
        config: PathBuf,
        /// The role that makes them, and owns them then; it may create a schema.
        #[arg(long = "as", value_name = "ROLE")]
        owner: String,
        /// A file with its password.
        #[arg(long)]
        password_file: Option<PathBuf>,
    },
}

impl Tables {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Schema { schema, role } => {
                let schema: SchemaName =
                    schema.parse().map_err(|problem| Failure::usage(format!("--schema {schema} {problem}")))?;
                std::io::stdout().write_all(tables::script(&schema, &role).as_bytes())?;
            }
            Action::Install { config, owner, password_file } => {
                let config = Config::load(&config, environment()).map_err(|error| Failure::usage(error.to_string()))?;
                let Some(mut wanted) = config.tables else {
                    return Err(Failure::usage_in(
                        "Tệp cấu hình không có [tables]; xem docs/tables.vi.md.",
                        "The configuration has no [tables]; see docs/tables.md.",
                    ));
                };
                let role = std::mem::replace(&mut wanted.user, owner);
                wanted.password_file = password_file;
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let installed = runtime.block_on(tables::install(&wanted, &role));
                installed.map_err(|error| match error {
                    InstallError::Connection { word, en, vi } => {
                        Failure::usage_in(format!("{word}: {vi}"), format!("{word}: {en}"))
                    }
                    error @ InstallError::Database(_) => Failure::usage(because(&error)),
                })?;
                let schema = &wanted.schema;
                let said = lang.pick(
                    format!("Đã có các bảng trong lược đồ {schema}; tài khoản {role} có các quyền cần thiết."),
                    format!("The tables are in the schema {schema}; the role {role} has the rights that it needs."),
                );
                writeln!(std::io::stdout(), "{said}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
