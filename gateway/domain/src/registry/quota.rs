//! How much of the gateway a party or a system may take, where that differs from what everybody may.

use super::problem::{Fault, ProblemKind};
use super::source::Entry;

/// `quota = { per_second = 50, at_once = 20 }`: admissions of a party, calls of a system. What is left out is as the gateway's
/// configuration says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Quota {
    /// How many it may begin in a second, over time.
    pub per_second: Option<u32>,
    /// How many it may have under way.
    pub at_once: Option<u32>,
}

impl Quota {
    /// The most that can be written: beyond it something else is meant than a limit.
    const MOST: u64 = 1_000_000;

    pub(super) fn read(entry: &Entry<'_>) -> Self {
        let Some(table) = entry.table("quota") else { return Self::default() };
        let number = |key| {
            let number = table.has(key).then(|| table.number(key)).flatten()?;
            if !(1..=Self::MOST).contains(&number) {
                let most = Self::MOST;
                // Nothing at all is said by ending the party or the system, or by taking its grants.
                let fault = Fault::new(format!("phải từ 1 đến {most}"), format!("must be 1 to {most}"));
                table.problem(key, ProblemKind::Malformed, fault);
                return None;
            }
            u32::try_from(number).ok()
        };
        let quota = Self { per_second: number("per_second"), at_once: number("at_once") };
        table.ask_for(&["per_second", "at_once"]);
        table.finish();
        quota
    }

    pub(super) fn print(self) -> String {
        let part = |key, value: Option<u32>| value.map(|value| format!("{key} {value}"));
        let parts = [part("per_second", self.per_second), part("at_once", self.at_once)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
