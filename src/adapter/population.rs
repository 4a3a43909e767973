//! `lgsp adapter population`: the tables of a replica of the population database, printed.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lgsp_adapters::config::SchemaName;
use lgsp_adapters::population;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Read it, then run it as somebody who may create a schema in the replica's database:
  createuser lgsp_adapter
  lgsp adapter population schema > dan-cu.sql
  psql -v ON_ERROR_STOP=1 -d dan_cu -f dan-cu.sql

It may be done again: what is there stays as it is. How the connector is set up: docs/population.md.";

/// The connector to the national population database: print the tables of a replica.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Population {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the SQL that makes the replica's tables, with the right to read them for the connector's role.
    Schema {
        /// The schema that they are in: population.replica.schema of the adapter's configuration.
        #[arg(long, default_value = "dan_cu")]
        schema: String,
        /// The connector's role: population.replica.user.
        #[arg(long, default_value = "lgsp_adapter")]
        role: String,
    },
}

impl Population {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Action::Schema { schema, role } = self.action;
        let schema: SchemaName =
            schema.parse().map_err(|problem| Failure::usage(format!("--schema {schema} {problem}")))?;
        std::io::stdout().write_all(population::script(&schema, &role).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
