//! What the portal has of a period, asked for page by page, by codes and times only.

use std::collections::BTreeMap;

use lgsp_proto::types::BusinessTime;
use serde_json::{Value, json};

use super::line::{Failure, Line};
use super::reconcile::{DOSSIERS_MAX, PAGE, timestamp};
use super::record::{COMPARED, stamp};
use super::trouble::Trouble;

/// How dossiers are looked for.
const LOOK_UP: &str = "TraCuuHoSo";

/// The values of [`COMPARED`], in that order.
pub(super) type Codes = [String; COMPARED.len()];

/// What the portal has, by dossier code. `seen` is told how many there are so far.
///
/// `TuNgay` and `DenNgay` are our guess, and that the moment `DenNgay` itself is not in the period is, too: at a portal that takes it in, a
/// dossier received in that very second shows as extra.
///
/// # Errors
/// Those of the line; `Unreadable` when it is not what was asked for; `PeriodTooLong`.
pub(super) async fn there(
    line: &Line,
    [from, to]: [BusinessTime; 2],
    seen: impl Fn(usize),
) -> Result<BTreeMap<String, Codes>, Failure> {
    let mut there = BTreeMap::new();
    let [from, to] = [from, to].map(|time| stamp(Some(&timestamp(time))));
    for page in 1_u64.. {
        let asked = json!([{ "TuNgay": from, "DenNgay": to, "Trang": page, "SoLuong": PAGE }]);
        let answer = line.call(LOOK_UP, None, &asked).await?;
        let Value::Array(dossiers) = answer.data else { return Err(Trouble::Unreadable.into()) };
        let (before, is_empty) = (there.len(), dossiers.is_empty());
        for dossier in dossiers {
            let Some(code) = dossier["MaHoSo"].as_str() else { return Err(Trouble::Unreadable.into()) };
            there.insert(code.to_owned(), codes(&dossier));
        }
        seen(there.len());
        if there.len() > DOSSIERS_MAX {
            return Err(Trouble::PeriodTooLong.into());
        }
        let has_more = answer.total.map(|total| u64::try_from(there.len()).is_ok_and(|len| len < total));
        match (is_empty || has_more == Some(false), there.len() > before) {
            (true, _) => break,
            (false, true) => {}
            // It gives the same page again: by its own count that is not all, and without a count nobody knows.
            (false, false) if has_more == Some(true) => return Err(Trouble::Unreadable.into()),
            (false, false) => break,
        }
    }
    Ok(there)
}

/// What is compared of a record.
pub(super) fn codes(record: &Value) -> Codes {
    COMPARED.map(|name| match &record[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::extract::State;
    use axum::routing::post;
    use axum::{Json, Router};

    use super::super::line::tests::at;
    use super::*;

    /// A portal of so many dossiers, with so many on a page at most, that says how many there are, or not. It always gives the same page
    /// if `pages` is false.
    #[derive(Clone, Copy)]
    struct Kept {
        dossiers: usize,
        on_a_page: usize,
        says_how_many: bool,
        pages: bool,
    }

    async fn service(State(kept): State<Kept>, Json(body): Json<Value>) -> Json<Value> {
        let asked = &body["data"][0];
        let number = |name: &str| usize::try_from(asked[name].as_u64().unwrap()).unwrap();
        let size = number("SoLuong").min(kept.on_a_page);
        let first = if kept.pages { (number("Trang") - 1) * size } else { 0 };
        let dossiers = (first..kept.dossiers).take(size).map(|number| json!({ "MaHoSo": format!("H57-{number}") }));
        let mut answer = json!({ "error_code": "0", "data": dossiers.collect::<Value>() });
        if kept.says_how_many {
            answer["TongSo"] = kept.dossiers.into();
        }
        Json(answer)
    }

    async fn found(kept: Kept) -> Result<usize, Failure> {
        let login = || async { Json(json!({ "error_code": "0", "session": "1" })) };
        let routes = Router::new().route("/login", post(login)).route("/service", post(service)).with_state(kept);
        let folder = tempfile::tempdir().unwrap();
        let mut config = at(routes).await;
        config.password_file = folder.path().join("password");
        std::fs::write(&config.password_file, "x").unwrap();
        let line = Line::open(&config).unwrap();
        let day = |day: &str| day.parse::<BusinessTime>().unwrap();
        let (from, to) = (day("2025-07-14T00:00:00+07:00"), day("2025-07-15T00:00:00+07:00"));
        let seen = Mutex::new(0);
        let there = there(&line, [from, to], |so_far| *seen.lock().unwrap() = so_far).await?;
        assert_eq!(*seen.lock().unwrap(), there.len());
        Ok(there.len())
    }

    #[tokio::test]
    async fn all_pages_are_asked_for_whether_the_portal_says_how_many_there_are_or_not() {
        for (dossiers, on_a_page) in [(0, 100), (99, 100), (100, 100), (150, 100), (150, 40)] {
            for says_how_many in [true, false] {
                let kept = Kept { dossiers, on_a_page, says_how_many, pages: true };
                assert_eq!(found(kept).await, Ok(dossiers), "{dossiers} by {on_a_page}, {says_how_many}");
            }
        }
    }

    #[tokio::test]
    async fn a_portal_that_gives_the_same_page_again_and_speaks_of_more_is_not_believed() {
        let kept = Kept { dossiers: 150, on_a_page: 100, says_how_many: true, pages: false };
        assert_eq!(found(kept).await, Err(Failure::Trouble(Trouble::Unreadable)));
    }
}
