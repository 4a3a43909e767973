//! What is the matter with a way in or out that others keep: since when, why, and what to do. For `/status` and the log; no names
//! in it, they are the agency's.

use std::time::Instant;

use lgsp_proto::reason::Bilingual;
use serde::Serialize;
use utoipa::ToSchema;

/// Why a way cannot be worked with just now. It ends by itself when its cause does.
pub(crate) trait Trouble: Copy + Eq {
    /// A stable word.
    fn word(self) -> &'static str;

    /// What is the matter, and what to do.
    fn texts(self) -> Bilingual;
}

/// One of the two ways.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    In = 0,
    Out = 1,
}

/// What is the matter with each way, and since when.
pub(crate) struct Troubles<T>([Option<(T, Instant)>; 2]);

impl<T> Default for Troubles<T> {
    fn default() -> Self {
        Self([None, None])
    }
}

/// Why one of the two ways cannot be worked with.
#[derive(Serialize, ToSchema)]
#[schema(as = WayTrouble)]
pub(crate) struct TroubleJson {
    /// `in` or `out`.
    way: &'static str,
    /// The stable word.
    trouble: &'static str,
    /// For how long.
    for_seconds: u64,
    /// What is the matter, and what to do.
    problem: &'static str,
    problem_vi: &'static str,
}

impl<T: Trouble> Troubles<T> {
    /// Notes how it went with `what`. Only what is new is worth a line in the log.
    pub(crate) fn went(&mut self, what: &'static str, way: Way, trouble: Option<T>) {
        let slot = &mut self.0[way as usize];
        let before = slot.map(|(trouble, _)| trouble);
        if before == trouble {
            return;
        }
        *slot = trouble.map(|trouble| (trouble, Instant::now()));
        match (before, trouble) {
            (_, Some(trouble)) => {
                tracing::warn!(what, trouble = trouble.word(), "an agency's place cannot be worked with")
            }
            (Some(before), None) => tracing::info!(what, trouble = before.word(), "an agency's place is well again"),
            (None, None) => {}
        }
    }

    /// For `/status`.
    pub(crate) fn to_json(&self) -> Vec<TroubleJson> {
        let trouble = |(way, trouble): (&'static str, &Option<(T, Instant)>)| {
            let (trouble, since) = (*trouble)?;
            let Bilingual { en, vi } = trouble.texts();
            let for_seconds = since.elapsed().as_secs();
            Some(TroubleJson { way, trouble: trouble.word(), for_seconds, problem: en, problem_vi: vi })
        };
        ["in", "out"].into_iter().zip(&self.0).filter_map(trouble).collect()
    }
}
