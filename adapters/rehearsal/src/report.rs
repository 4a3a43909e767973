//! The verdict of a rehearsal: which checks passed, which failed and with what, and which were never put to the test.
//!
//! Nothing in it is about a citizen: an example of a failure names fields and codes, never their content.

use std::collections::BTreeMap;

use serde::Serialize;

/// Something that a connector has to do right, with a name that never changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Check {
    /// Its name, e.g. `clock-within-bounds`.
    pub id: &'static str,
    /// What it says, in Vietnamese.
    pub vi: &'static str,
    /// The same in English.
    pub en: &'static str,
}

/// How one check went.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The check's name.
    pub id: &'static str,
    /// What it says, in Vietnamese.
    pub vi: &'static str,
    /// The same in English.
    pub en: &'static str,
    /// How often it held.
    pub passed: u64,
    /// How often it did not.
    pub failed: u64,
    /// The first failure, without anybody's data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// Whether a connector is ready for the real system.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every check was put to the test and held.
    Ready,
    /// Nothing failed, and something was not tried: rehearse with a longer script.
    NotSeen,
    /// Something failed.
    NotReady,
}

/// What a rehearsal has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which counterpart.
    pub counterpart: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// Requests met.
    pub requests: u64,
    /// Requests by how they were treated.
    pub behaviours: BTreeMap<&'static str, u64>,
    /// Each check.
    pub checks: Vec<Checked>,
}

impl Checked {
    /// Whether it was put to the test and held each time.
    pub const fn holds(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }
}

impl Report {
    /// The verdict over these checks.
    pub(crate) fn new(
        counterpart: &'static str,
        requests: u64,
        behaviours: BTreeMap<&'static str, u64>,
        checks: Vec<Checked>,
    ) -> Self {
        let verdict = if checks.iter().any(|check| check.failed > 0) {
            Verdict::NotReady
        } else if checks.iter().all(Checked::holds) {
            Verdict::Ready
        } else {
            Verdict::NotSeen
        };
        Self { counterpart, verdict, requests, behaviours, checks }
    }

    /// For people, in Vietnamese or English.
    pub fn text(&self, vietnamese: bool) -> String {
        let pick = |vi: &'static str, en: &'static str| if vietnamese { vi } else { en };
        let mut lines = vec![format!("{}: {}", pick("Số yêu cầu đã nhận", "Requests met"), self.requests)];
        lines.extend(self.behaviours.iter().map(|(name, times)| format!("  {name:<16} {times}")));
        for check in &self.checks {
            let word = match check {
                check if check.failed > 0 => pick("SAI", "FAILED"),
                check if check.passed > 0 => pick("đạt", "passed"),
                _ => pick("chưa gặp", "not seen"),
            };
            lines.push(format!("{word:<9} {:<26} {}", check.id, pick(check.vi, check.en)));
            if let Some(example) = &check.example {
                let of = check.passed + check.failed;
                lines.push(format!("          {}/{of}, {}: {example}", check.failed, pick("ví dụ", "e.g.")));
            }
        }
        lines.push(match self.verdict {
            Verdict::Ready => pick("Sẵn sàng kết nối hệ thống thật.", "Ready for the real system.").to_owned(),
            Verdict::NotSeen => pick(
                "Chưa kết luận: không có gì sai nhưng có mục chưa được thử; hãy diễn tập với kịch bản dài hơn.",
                "No verdict: nothing failed, but something was not tried; rehearse with a longer script.",
            )
            .to_owned(),
            Verdict::NotReady => {
                pick("CHƯA sẵn sàng: xem các mục sai ở trên.", "NOT ready: see what failed above.").to_owned()
            }
        });
        lines.join("\n") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tallies: &[(u64, u64)]) -> Report {
        let checks = tallies.iter().map(|(passed, failed)| Checked {
            id: "keys-complete",
            vi: "Đủ ba khóa",
            en: "All three keys are given",
            passed: *passed,
            failed: *failed,
            example: (*failed > 0).then(|| "HoVaTen is missing".to_owned()),
        });
        Report::new("population", 3, [("normal", 3)].into(), checks.collect())
    }

    #[test]
    fn ready_is_only_what_was_tried_throughout_and_never_failed() {
        assert_eq!(report(&[(1, 0), (7, 0)]).verdict, Verdict::Ready);
        assert_eq!(report(&[(1, 0), (0, 0)]).verdict, Verdict::NotSeen);
        assert_eq!(report(&[(100, 1), (0, 0)]).verdict, Verdict::NotReady);
    }

    #[test]
    fn it_reads_in_both_languages_and_shows_the_first_failure() {
        let failed = report(&[(2, 1)]);
        assert!(failed.text(false).contains("1/3, e.g.: HoVaTen is missing\nNOT ready"), "{}", failed.text(false));
        assert!(failed.text(true).contains("Đủ ba khóa"));
        assert!(failed.text(true).ends_with("CHƯA sẵn sàng: xem các mục sai ở trên.\n"));
    }
}
