//! What the portal has: each dossier's record and its steps, and which of inserting and updating it was last refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Where a status may lead, as the one-stop rules have it; a status may be said again.
const COURSE: [(&str, &[&str]); 6] = [
    ("1", &["2", "3", "5", "7"]),
    ("2", &["4", "5", "6", "7", "8", "9"]),
    ("4", &["5", "6", "7", "8", "9"]),
    ("5", &["1", "2", "3", "4", "7", "8"]),
    ("6", &["2", "4", "7", "8"]),
    ("9", &["4", "10"]),
];

/// How often the refused one of inserting and updating may be said again: the refusal may have been lost on the way, or with whoever
/// was told.
const REPEATS_MAX: u32 = 2;

/// See the module.
#[derive(Default)]
pub(super) struct Book {
    dossiers: BTreeMap<String, Dossier>,
    /// What was refused last, by code, and how often in a row: an insert of what exists, or an update of what does not.
    refused: BTreeMap<String, (Refused, u32)>,
}

struct Dossier {
    record: Value,
    steps: Vec<Value>,
    inserts: u64,
    updates: u64,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Refused {
    Insert,
    Update,
}

/// What became of a record.
pub(super) struct Entry {
    pub(super) what: Entered,
    /// Whether its status leads on from the one before, if both are known.
    pub(super) course: Option<Result<(), [String; 2]>>,
    pub(super) repeats_a_refused_insert: bool,
    pub(super) repeats_a_refused_update: bool,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entered {
    Inserted { after_missing: bool },
    Updated { after_exists: bool },
    Exists,
    Missing,
}

impl Book {
    /// Inserts or updates a record; refuses the wrong one of both.
    pub(super) fn enter(&mut self, record: &Value, is_updating: bool) -> Entry {
        let code = text(record, "MaHoSo");
        let (before, times) = self.refused.remove(&code).map_or((None, 0), |(what, times)| (Some(what), times));
        let known = self.dossiers.get_mut(&code);
        let goes_on = |what| before == Some(what) && times > REPEATS_MAX;
        let repeats_a_refused_insert = goes_on(Refused::Insert) && !is_updating && known.is_some();
        let repeats_a_refused_update = goes_on(Refused::Update) && is_updating && known.is_none();
        let again = |what| (what, if before == Some(what) { times + 1 } else { 1 });
        let mut course = None;
        let what = match (known, is_updating) {
            (Some(_), false) => {
                self.refused.insert(code, again(Refused::Insert));
                Entered::Exists
            }
            (None, true) => {
                self.refused.insert(code, again(Refused::Update));
                Entered::Missing
            }
            (Some(dossier), true) => {
                course = Some(leads(&text(&dossier.record, "TrangThaiHoSo"), &text(record, "TrangThaiHoSo")));
                dossier.record = record.clone();
                dossier.updates += 1;
                Entered::Updated { after_exists: before == Some(Refused::Insert) }
            }
            (None, false) => {
                let dossier = Dossier { record: record.clone(), steps: Vec::new(), inserts: 1, updates: 0 };
                self.dossiers.insert(code, dossier);
                Entered::Inserted { after_missing: before == Some(Refused::Update) }
            }
        };
        Entry { what, course, repeats_a_refused_insert, repeats_a_refused_update }
    }

    /// Takes steps; one that is there already is the same one. `false`: a dossier of theirs is not there, and nothing was taken.
    pub(super) fn take_steps(&mut self, steps: &[Value]) -> bool {
        if steps.iter().any(|step| !self.dossiers.contains_key(&text(step, "MaHoSo"))) {
            return false;
        }
        for step in steps {
            if let Some(dossier) = self.dossiers.get_mut(&text(step, "MaHoSo"))
                && !dossier.steps.contains(step)
            {
                dossier.steps.push(step.clone());
            }
        }
        true
    }

    /// Loses a dossier.
    pub(super) fn lose(&mut self, code: &str) -> bool {
        self.dossiers.remove(code).is_some()
    }

    /// Those received in a period, its end exclusive: codes and times only.
    pub(super) fn received(&self, from: &str, to: &str) -> Vec<Value> {
        let in_period =
            |dossier: &&Dossier| (from..to).contains(&dossier.record["NgayTiepNhan"].as_str().unwrap_or_default());
        self.dossiers.values().filter(in_period).map(|dossier| codes(&dossier.record)).collect()
    }

    /// All of them: codes and times, and how they came to be.
    pub(super) fn listed(&self) -> Value {
        let one = |dossier: &Dossier| {
            let mut listed = codes(&dossier.record);
            let steps = dossier.steps.iter().map(|step| json!([step["ThoiDiemXuLy"], step["TrangThai"]]));
            listed["steps"] = steps.collect();
            listed["inserts"] = dossier.inserts.into();
            listed["updates"] = dossier.updates.into();
            listed
        };
        self.dossiers.values().map(one).collect()
    }
}

fn leads(from: &str, to: &str) -> Result<(), [String; 2]> {
    let next = COURSE.iter().find(|(status, _)| *status == from).map_or(&[][..], |(_, next)| next);
    if from == to || next.contains(&to) { Ok(()) } else { Err([from.to_owned(), to.to_owned()]) }
}

fn codes(record: &Value) -> Value {
    const CODES: [&str; 9] = [
        "MaHoSo",
        "MaTTHC",
        "KenhThucHien",
        "TrangThaiHoSo",
        "NgayTiepNhan",
        "NgayHenTra",
        "NgayKetThucXuLy",
        "NgayTra",
        "NgayTuChoi",
    ];
    CODES.into_iter().map(|name| (name.to_owned(), record[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: &str) -> Value {
        json!({ "MaHoSo": "H57.01-250714-0001", "TrangThaiHoSo": status, "NgayTiepNhan": "20250714090000" })
    }

    #[test]
    fn what_exists_is_not_inserted_and_what_does_not_is_not_updated() {
        let mut book = Book::default();
        assert_eq!(book.enter(&record("1"), true).what, Entered::Missing);
        for _ in 0..REPEATS_MAX {
            assert!(!book.enter(&record("1"), true).repeats_a_refused_update, "the answer may have been lost");
        }
        assert!(book.enter(&record("1"), true).repeats_a_refused_update);
        assert_eq!(book.enter(&record("1"), false).what, Entered::Inserted { after_missing: true });
        assert_eq!(book.enter(&record("2"), false).what, Entered::Exists);
        for _ in 0..REPEATS_MAX {
            assert!(!book.enter(&record("2"), false).repeats_a_refused_insert);
        }
        assert!(book.enter(&record("2"), false).repeats_a_refused_insert);
        let updated = book.enter(&record("2"), true);
        assert_eq!((updated.what, updated.course), (Entered::Updated { after_exists: true }, Some(Ok(()))));
        let invented = book.enter(&record("10"), true);
        assert_eq!(invented.course, Some(Err(["2".to_owned(), "10".to_owned()])));
    }

    #[test]
    fn a_step_said_twice_is_one_step_and_the_end_of_a_period_is_not_in_it() {
        let mut book = Book::default();
        let step = json!({ "MaHoSo": "H57.01-250714-0001", "ThoiDiemXuLy": "20250714100000", "TrangThai": "2" });
        assert!(!book.take_steps(std::slice::from_ref(&step)));
        book.enter(&record("2"), false);
        assert!(book.take_steps(&[step.clone(), step.clone()]) && book.take_steps(&[step]));
        assert_eq!(book.listed()[0]["steps"].as_array().unwrap().len(), 1);
        assert_eq!(book.received("20250714000000", "20250714090000").len(), 0);
        assert_eq!(book.received("20250714090000", "20250715000000").len(), 1);
    }
}
