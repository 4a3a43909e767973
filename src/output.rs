//! Writing results: to standard output, as a table for people or as JSON for programs. What is not a result goes to
//! standard error.

use std::fmt::Display;
use std::io::{self, Write as _};

use clap::Args;
use serde_json::Value;

/// How a result is shown.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Print JSON, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Output {
    /// Prints the one or the other.
    pub(crate) fn print(self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> io::Result<()> {
        if self.json { print(format!("{:#}\n", json())) } else { print(text()) }
    }
}

/// Prints to standard output, as it is. Unlike `print!` it doesn't panic when the reader has gone away.
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Whether an error only says that whoever read our output has seen enough, as `head` does.
pub(crate) fn reader_left(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}
