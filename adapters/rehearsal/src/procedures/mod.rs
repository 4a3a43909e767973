//! The national procedure database: log-in, session, `LayDanhSachTTHC` and `LayThuTuc`, in the shapes that provinces have met since 2020.
//!
//! Owns the answers and what is checked of a connector; the [`catalogue`] is what it tells. It has a day of its own, which
//! `PUT /_rehearsal/day` moves, so that decrees can come into force while a connector looks.

pub mod catalogue;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Path};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::behaviour::Behaviour;
use crate::rehearsal::{AT_ONCE, Counterpart, Rehearsal};
use crate::report::Check;
use catalogue::{Catalogue, Published};

/// The account a connector is given.
pub const USER: &str = "tinh-dien-tap";

/// Its password: a rehearsal's, and no secret.
pub const PASSWORD: &str = "dien-tap-tthc";

const CHECKS: &[Check] = &[
    Check {
        id: "login-well-formed",
        vi: "Đăng nhập đúng tài khoản được cấp",
        en: "It logs in with the account it was given",
    },
    Check {
        id: "one-session",
        vi: "Không đăng nhập lại khi phiên còn dùng được",
        en: "It does not log in again while its session is good",
    },
    Check {
        id: "session-renewed",
        vi: "Phiên hết hạn thì đăng nhập lại và hỏi tiếp",
        en: "It logs in and asks again once its session is over",
    },
    Check {
        id: "session-known",
        vi: "Mỗi yêu cầu mang phiên đã được cấp",
        en: "Each question carries a session that was given",
    },
    Check {
        id: "unit-named",
        vi: "Mỗi yêu cầu nêu mã đơn vị (madonvi)",
        en: "Each question names the unit that asks (madonvi)",
    },
    Check {
        id: "service-named",
        vi: "Tên dịch vụ trong yêu cầu đúng với địa chỉ",
        en: "The service named in a question is the one it is posted to",
    },
    Check {
        id: "codes-as-listed",
        vi: "Chỉ hỏi chi tiết những mã có trong danh sách",
        en: "It asks only for codes that the list has",
    },
    Check {
        id: "details-once",
        vi: "Mỗi thủ tục chỉ hỏi chi tiết một lần sau mỗi danh sách",
        en: "It asks for each procedure once for each list",
    },
    AT_ONCE,
];

/// The database as a connector meets it.
pub struct Procedures {
    catalogue: Catalogue,
    at_once: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    published: Arc<Published>,
    /// Sessions that are good, and how many questions each was used for.
    sessions: BTreeMap<String, u64>,
    /// Sessions that were ended here, and how often each was used after that.
    over: BTreeMap<String, u64>,
    given: u64,
    asked: BTreeSet<String>,
    last: Option<Value>,
}

/// What came of a check.
type Finding = (&'static str, Result<(), String>);

impl Procedures {
    /// The catalogue of `count` procedures that the seed gives, as it is on `day` (`yyyymmdd`), for connectors that ask at most
    /// `at_once` questions at one time.
    pub fn new(seed: u64, count: usize, day: u32, at_once: usize) -> Self {
        let catalogue = Catalogue::new(seed, count);
        let state = State { published: Arc::new(catalogue.published(day)), ..State::default() };
        Self { catalogue, at_once: at_once as u64, state: Mutex::new(state) }
    }

    /// What usually passes until it answers.
    pub const TAKES: Duration = Duration::from_millis(2);

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to another day; `yyyy-mm-dd` or `yyyymmdd`.
    fn go_to(&self, day: &str) -> StatusCode {
        let day = day.trim();
        let day = ["%Y-%m-%d", "%Y%m%d"].iter().find_map(|form| jiff::civil::Date::strptime(form, day).ok());
        match day.map(|day| day.strftime("%Y%m%d").to_string().parse::<u32>()) {
            Some(Ok(day)) if (20_000_101..=21_001_231).contains(&day) => {
                let published = Arc::new(self.catalogue.published(day));
                self.state().published = published;
                StatusCode::NO_CONTENT
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer to a request, and what was found. Slowness and broken lines are none of its business.
    fn answer(&self, endpoint: &str, body: &[u8], behaviour: Behaviour, findings: &mut Vec<Finding>) -> Value {
        let Ok(asked) = serde_json::from_slice::<Value>(body) else {
            findings.push(("service-named", Err("a request that is no JSON".to_owned())));
            return fault("yêu cầu không phải JSON");
        };
        if behaviour == Behaviour::Maintenance {
            return json!({ "error_code": "3", "message": "Hệ thống đang bảo trì" });
        }
        let mut state = self.state();
        if endpoint == "login" {
            return login(&mut state, &asked, findings);
        }
        if let Err(refused) = admitted(&mut state, self.at_once, endpoint, &asked, behaviour, findings) {
            return refused;
        }
        let published = Arc::clone(&state.published);
        let answer = match endpoint {
            "LayDanhSachTTHC" => {
                // A line that broke leaves nobody with a list; the next one counts.
                state.asked.clear();
                let listed = published.entries.iter().map(catalogue::listed);
                if behaviour == Behaviour::Duplicate {
                    listed.flat_map(|one| [one.clone(), one]).collect()
                } else {
                    listed.collect::<Value>()
                }
            }
            _ => {
                let code = asked["data"][0]["MATTHC"].as_str().unwrap_or_default();
                let Some(entry) = published.one(code) else {
                    findings.push(("codes-as-listed", Err("a code that is not listed".to_owned())));
                    return json!({ "error_code": "-1", "message": "Không tìm thấy thủ tục" });
                };
                findings.push(("codes-as-listed", Ok(())));
                if matches!(behaviour, Behaviour::Normal | Behaviour::Slow(_)) {
                    let first = state.asked.insert(code.to_owned());
                    let again = || format!("{code} was asked for again");
                    findings.push(("details-once", if first { Ok(()) } else { Err(again()) }));
                }
                let detail = catalogue::detail(entry);
                let before = state.last.replace(detail.clone());
                match (behaviour, before) {
                    // The answer to the question before: a slip of a pool of connections, seen in practice.
                    (Behaviour::Duplicate, Some(before)) => before,
                    _ => detail,
                }
            }
        };
        match behaviour {
            Behaviour::WrongSchema => {
                json!({ "error_code": "0", "result": { "MATTHC": { "gia-tri": answer.is_array() } } })
            }
            _ => json!({ "error_code": "0", "message": "Thành công", "result": answer }),
        }
    }
}

fn login(state: &mut State, asked: &Value, findings: &mut Vec<Finding>) -> Value {
    if (asked["username"].as_str(), asked["password"].as_str()) != (Some(USER), Some(PASSWORD)) {
        findings.push(("login-well-formed", Err("another username or password".to_owned())));
        return fault("Sai tên đăng nhập hoặc mật khẩu");
    }
    findings.push(("login-well-formed", Ok(())));
    // One that was never used may have been lost on the way to whoever asked for it.
    let in_use = state.sessions.values().any(|used| *used > 0);
    findings.push(("one-session", if in_use { Err("a log-in beside a good session".to_owned()) } else { Ok(()) }));
    state.given += 1;
    let session = format!("phien-{:08x}", state.given.wrapping_mul(0x9e37_79b9));
    state.sessions = BTreeMap::from([(session.clone(), 0)]);
    json!({ "error_code": "0", "message": "", "session": session })
}

fn admitted(
    state: &mut State,
    at_once: u64,
    endpoint: &str,
    asked: &Value,
    behaviour: Behaviour,
    findings: &mut Vec<Finding>,
) -> Result<(), Value> {
    let over = || json!({ "error_code": "-3", "message": "Phiên làm việc đã hết hạn" });
    let session = asked["session"].as_str().unwrap_or_default().to_owned();
    if let Some(used) = state.over.get_mut(&session) {
        findings.push(("session-known", Ok(())));
        // The question that ended it may have had as many beside it as there may be, and each of those one to follow.
        *used += 1;
        if *used > 2 * at_once {
            let still = || "a session that is over is used again and again".to_owned();
            findings.push(("session-renewed", Err(still())));
        }
        return Err(over());
    }
    let Some(used) = state.sessions.get_mut(&session) else {
        findings.push(("session-known", Err("a session that was never given, or given up since".to_owned())));
        return Err(over());
    };
    findings.push(("session-known", Ok(())));
    // Each session is good for at least one question, or nobody would ever be answered.
    if behaviour == Behaviour::ExpiredSession && *used > 0 {
        state.sessions.remove(&session);
        state.over.insert(session, 0);
        return Err(over());
    }
    *used += 1;
    if *used == 1 && !state.over.is_empty() {
        findings.push(("session-renewed", Ok(())));
    }
    let unit = asked["madonvi"].as_str().unwrap_or_default();
    let plain = !unit.is_empty() && unit.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    findings.push(("unit-named", if plain { Ok(()) } else { Err("madonvi is missing or malformed".to_owned()) }));
    let fits = asked["service"].as_str() == Some(endpoint);
    findings.push(("service-named", if fits { Ok(()) } else { Err(format!("another service posted to {endpoint}")) }));
    Ok(())
}

fn fault(message: &str) -> Value {
    json!({ "error_code": "-1", "message": message })
}

impl Counterpart for Procedures {
    fn name(&self) -> &'static str {
        "procedures"
    }

    fn checks(&self) -> &'static [Check] {
        CHECKS
    }

    fn routes(self: Arc<Self>, rehearsal: Arc<Rehearsal>) -> Router {
        let days = Arc::clone(&self);
        let asked = move |Path(endpoint): Path<String>, Extension(behaviour): Extension<Behaviour>, body: Bytes| async move {
            if !["login", "LayDanhSachTTHC", "LayThuTuc"].contains(&endpoint.as_str()) {
                rehearsal.check("service-named", Err("another service than agreed"));
                return StatusCode::NOT_FOUND.into_response();
            }
            let mut findings = Vec::new();
            let answer = self.answer(&endpoint, &body, behaviour, &mut findings);
            for (id, held) in findings {
                rehearsal.check(id, held);
            }
            answered(&answer)
        };
        Router::new()
            .route("/{endpoint}", post(asked))
            .route("/_rehearsal/day", put(move |day: String| async move { days.go_to(&day) }))
    }
}

fn answered(answer: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], answer.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(national: &Procedures, endpoint: &str, body: &Value, how: Behaviour) -> (Value, Vec<&'static str>) {
        let mut findings = Vec::new();
        let answer = national.answer(endpoint, body.to_string().as_bytes(), how, &mut findings);
        (answer, findings.into_iter().filter(|(_, held)| held.is_err()).map(|(id, _)| id).collect())
    }

    fn log_in(national: &Procedures) -> (String, Vec<&'static str>) {
        let account = json!({ "username": USER, "password": PASSWORD });
        let (answer, failed) = ask(national, "login", &account, Behaviour::Normal);
        (answer["session"].as_str().unwrap().to_owned(), failed)
    }

    fn list(session: &str) -> Value {
        json!({ "session": session, "madonvi": "H57", "service": "LayDanhSachTTHC", "data": [] })
    }

    #[test]
    fn it_goes_to_days_that_there_are_and_to_no_other() {
        let national = Procedures::new(1, 150, 20_260_815, 4);
        for day in ["2026-09-01", "20260901", " 2028-02-29\n"] {
            assert_eq!(national.go_to(day), StatusCode::NO_CONTENT, "{day}");
        }
        for day in ["2026-13-01", "2026-02-30", "20260931", "tomorrow", "1999-12-31", ""] {
            assert_eq!(national.go_to(day), StatusCode::BAD_REQUEST, "{day}");
        }
    }

    #[test]
    fn a_session_is_over_when_the_script_says_so_and_a_log_in_beside_a_good_one_is_noted() {
        let national = Procedures::new(1, 150, 20_260_815, 4);
        let (first, failed) = log_in(&national);
        assert_eq!(failed, [""; 0]);
        assert_eq!(ask(&national, "LayDanhSachTTHC", &list(&first), Behaviour::ExpiredSession).0["error_code"], "0");
        assert_eq!(ask(&national, "LayDanhSachTTHC", &list(&first), Behaviour::ExpiredSession).0["error_code"], "-3");
        let (second, failed) = log_in(&national);
        assert_eq!(failed, [""; 0]);
        assert_eq!(ask(&national, "LayDanhSachTTHC", &list(&second), Behaviour::Normal).1, [""; 0]);
        assert_eq!(log_in(&national).1, ["one-session"]);
        assert_eq!(ask(&national, "LayDanhSachTTHC", &list("made-up"), Behaviour::Normal).1, ["session-known"]);
    }

    #[test]
    fn who_keeps_to_a_session_that_is_over_or_sends_no_json_is_found_out() {
        let national = Procedures::new(1, 150, 20_260_815, 2);
        let (first, _) = log_in(&national);
        ask(&national, "LayDanhSachTTHC", &list(&first), Behaviour::Normal);
        ask(&national, "LayDanhSachTTHC", &list(&first), Behaviour::ExpiredSession);
        let still = || ask(&national, "LayDanhSachTTHC", &list(&first), Behaviour::Normal);
        // What was under way when it ended comes back with it, and is told so.
        for _ in 0..4 {
            assert_eq!(still().1, [""; 0]);
        }
        assert_eq!((still().1, &still().0["error_code"]), (vec!["session-renewed"], &json!("-3")));
        let mut findings = Vec::new();
        national.answer("LayThuTuc", b"<xml/>", Behaviour::Normal, &mut findings);
        assert!(matches!(&findings[..], [("service-named", Err(_))]), "{findings:?}");
    }

    #[test]
    fn what_is_asked_for_twice_or_is_not_listed_is_noted() {
        let national = Procedures::new(1, 150, 20_260_815, 4);
        let session = log_in(&national).0;
        let detail = |code: &str| json!({ "session": session, "madonvi": "H57", "service": "LayThuTuc", "data": [{ "MATTHC": code }] });
        let of = |code: &str| ask(&national, "LayThuTuc", &detail(code), Behaviour::Normal);
        assert_eq!(of("1.001193").1, [""; 0]);
        assert_eq!(of("1.001193").1, ["details-once"]);
        assert_eq!(of("9.999999").1, ["codes-as-listed"]);
        ask(&national, "LayDanhSachTTHC", &list(&session), Behaviour::Normal);
        assert_eq!(of("1.001193").1, [""; 0]);
    }
}
