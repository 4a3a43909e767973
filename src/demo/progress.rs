//! How far the demo is, on standard error: one line that is written over on a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often a line is written where lines stay.
const EVERY: Duration = Duration::from_secs(5);

/// The line.
pub(super) struct Progress {
    terminal: bool,
    last: Option<Instant>,
    begun: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: None, begun: Instant::now() }
    }

    /// Since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A new state of things; shown now or not at all.
    pub(super) fn show(&mut self, text: &str) {
        if !self.terminal && self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        self.write(text);
    }

    /// The last state, shown in any case; what comes next begins on a line of its own.
    pub(super) fn end(&mut self, text: &str) {
        self.write(text);
        if self.terminal {
            eprintln!();
        }
    }

    fn write(&self, text: &str) {
        let seconds = self.begun.elapsed().as_secs();
        let mut out = std::io::stderr().lock();
        // Progress nobody can see is no reason to stop.
        let _ = match self.terminal {
            true => write!(out, "\r\u{1b}[2K[{seconds:>3} s] {text}"),
            false => writeln!(out, "[{seconds:>3} s] {text}"),
        };
        let _ = out.flush();
    }
}
