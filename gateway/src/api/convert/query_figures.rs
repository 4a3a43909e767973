//! Messages about how often was asked.

use jiff::civil::Date;
use lgsp_proto::{Refusal, Wrong, v1};

use super::Fields;
use super::reading::{Asking, asking};
use crate::engine::queries::{Figures, FiguresWanted};
use crate::store::{CountBy, CountName, Counts, DAYS_MAX};

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Reads what somebody wants to be told.
///
/// # Errors
/// `FIELD_INVALID`.
pub(crate) fn wanted(request: &v1::FiguresRequest) -> Result<FiguresWanted, Refusal> {
    let mut fields = Fields::default();
    let asking = asking(&mut fields, &request.acting_party, &request.actor);
    let by = match request.by() {
        v1::FiguresBy::Unspecified | v1::FiguresBy::Clerk => CountBy::Clerk,
        v1::FiguresBy::Party => CountBy::Party,
        v1::FiguresBy::Procedure => CountBy::Procedure,
        v1::FiguresBy::Service => CountBy::Service,
        v1::FiguresBy::Day => CountBy::Day,
    };
    let (from, to) = (day(&mut fields, "from_day", &request.from_day), day(&mut fields, "to_day", &request.to_day));
    let days = from.zip(to).and_then(|days| period(&mut fields, days));
    let read = asking.zip(days);
    let (Asking { party, .. }, (from, to)) = fields.finish(read)?;
    Ok(FiguresWanted { party, by, from, to, of_own_services: request.of_own_services })
}

/// A day, or none.
fn day(fields: &mut Fields, field: &str, text: &str) -> Option<Option<u32>> {
    if text.is_empty() {
        return Some(None);
    }
    let day = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
    let since = day.and_then(|date| u32::try_from((date - EPOCH).get_days()).ok());
    let wrong = || Wrong::new("không phải một ngày, ví dụ 2025-07-14", "is no day, such as 2025-07-14");
    since.map(Some).or_else(|| fields.problem(field, wrong()))
}

type Days = (Option<u32>, Option<u32>);

fn period(fields: &mut Fields, (from, to): Days) -> Option<Days> {
    match (from, to) {
        (Some(_), None) => fields.problem(
            "to_day",
            Wrong::new("bị thiếu: có ngày đầu thì phải có ngày cuối", "is missing: a first day needs a last one"),
        ),
        (Some(from), Some(to)) if to < from => {
            fields.problem("to_day", Wrong::new("trước ngày đầu", "is before the first day"))
        }
        (Some(from), Some(to)) if to - from >= DAYS_MAX => fields.problem(
            "from_day",
            Wrong::new(
                format!("cách ngày cuối quá {DAYS_MAX} ngày: hãy hỏi từng quãng"),
                format!("makes it more than {DAYS_MAX} days: ask piece by piece"),
            ),
        ),
        days => Some(days),
    }
}

/// The answer to [`wanted`].
pub(crate) fn told(figures: Figures) -> v1::FiguresResponse {
    let Figures { sum, with_dossiers, days: (from, to) } = figures;
    let others = (sum.others != Counts::default())
        .then(|| v1::FigureLine { others: true, ..line(CountName::default(), sum.others, with_dossiers) });
    let lines = sum.lines.into_iter().map(|(name, counts)| line(name, counts, with_dossiers));
    v1::FiguresResponse { lines: lines.chain(others).collect(), from_day: text(from), to_day: text(to) }
}

fn line(name: CountName, counts: Counts, with_dossiers: bool) -> v1::FigureLine {
    // What is counted without its clerk is the rest of its party.
    let others = name.clerk.as_deref() == Some("");
    v1::FigureLine {
        party: name.party.unwrap_or_default(),
        clerk: name.clerk.unwrap_or_default(),
        procedure_code: name.procedure.unwrap_or_default(),
        service: name.service.unwrap_or_default(),
        day: name.day.map(text).unwrap_or_default(),
        answered: counts.answered,
        refused: counts.refused,
        failed: counts.failed,
        unknown: counts.unknown,
        dossiers: with_dossiers.then_some(counts.dossiers),
        others,
    }
}

fn text(day: u32) -> String {
    let since = jiff::Span::new().try_days(day).ok().and_then(|days| EPOCH.checked_add(days).ok());
    since.map(|date| date.to_string()).unwrap_or_default()
}
