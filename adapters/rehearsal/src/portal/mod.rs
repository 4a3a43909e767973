//! The national public service portal as provinces meet it: a login and a session, records that are inserted or updated and never both,
//! and steps in calls of ten. What it has can be read at `/_rehearsal/dossiers`, so that both sides can be compared, and be lost there.

mod book;
mod form;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::behaviour::Behaviour;
use crate::rehearsal::{Counterpart, Rehearsal};
use crate::report::Check;
use book::{Book, Entered};

/// Calls with a session that was said to be over, before that counts as not having understood: some were under way.
const STALE_MAX: u32 = 16;

/// Logins in a row without a call: an answer may be lost on the way, or whoever logged in may die. Each of many callers for itself is more.
const UNUSED_MAX: u32 = 3;

/// Everything that a connector has to do right towards it.
const CHECKS: &[Check] = &[
    Check {
        id: "destination", vi: "Mọi yêu cầu có dstcode", en: "Every request names its destination in dstcode"
    },
    Check {
        id: "session-used",
        vi: "Phiên nhận được thì được dùng, không đăng nhập liên tiếp",
        en: "A session is used, and not one login after the other",
    },
    Check {
        id: "session-given-up",
        vi: "Phiên đã hết hạn không còn được dùng",
        en: "A session that was said to be over is used no more",
    },
    Check {
        id: "insert-then-update",
        vi: "Hồ sơ đã tồn tại thì được cập nhật, không thêm lại",
        en: "What exists is updated, not inserted again",
    },
    Check {
        id: "update-then-insert",
        vi: "Hồ sơ chưa tồn tại thì được thêm mới, không cập nhật lại",
        en: "What does not exist is inserted, not updated again",
    },
    Check {
        id: "fields", vi: "Các trường đúng dạng và độ dài", en: "Fields have their forms and lengths"
    },
    Check {
        id: "status-course",
        vi: "Trạng thái đi đúng thứ tự",
        en: "A dossier's status goes where it may, in order",
    },
    Check { id: "steps-of-ten", vi: "Mỗi lần không quá mười bước", en: "At most ten steps in a call" },
    Check {
        id: "steps-reception-first", vi: "Bước đầu là Tiếp nhận", en: "The first step is the reception"
    },
    Check {
        id: "steps-in-order", vi: "Các bước theo thứ tự thời gian", en: "Steps are in the order of time"
    },
    Check {
        id: "steps-after-record", vi: "Có hồ sơ rồi mới có bước", en: "Steps are of dossiers that it has"
    },
];

/// See the module.
pub struct Portal {
    username: String,
    password: String,
    /// Procedures whose dossiers it refuses.
    refuses: Vec<String>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    book: Book,
    logins: u64,
    /// The session in force, if any, and the logins since one was last used.
    session: Option<String>,
    unused: u32,
    /// Calls with a session since it was said to be over.
    stale: u32,
}

/// What the routes work with.
#[derive(Clone)]
struct Routed {
    portal: Arc<Portal>,
    rehearsal: Arc<Rehearsal>,
}

impl Portal {
    /// Where one logs in.
    pub const LOGIN: &str = "/login";

    /// Where everything else is posted.
    pub const SERVICE: &str = "/service";

    /// The user of a rehearsal.
    pub const USER: &str = "hue";

    /// The user's password.
    pub const PASSWORD: &str = "dien-tap";

    /// What a request usually takes.
    pub const TAKES: Duration = Duration::from_millis(20);

    /// One with this account that refuses the dossiers of these procedures.
    pub fn new(username: &str, password: &str, refuses: Vec<String>) -> Self {
        Self { username: username.to_owned(), password: password.to_owned(), refuses, desk: Mutex::default() }
    }

    /// What it has, by codes and times only.
    pub fn dossiers(&self) -> Value {
        self.desk().book.listed()
    }

    /// Loses a dossier, as a portal that was restored from a backup has. Whether it had it.
    pub fn lose(&self, code: &str) -> bool {
        self.desk().book.lose(code)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // No holder panics between two statements that belong together.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counterpart for Portal {
    fn name(&self) -> &'static str {
        "portal"
    }

    fn checks(&self) -> &'static [Check] {
        CHECKS
    }

    fn routes(self: Arc<Self>, rehearsal: Arc<Rehearsal>) -> Router {
        Router::new()
            .route(Self::LOGIN, post(login))
            .route(Self::SERVICE, post(service))
            .route("/_rehearsal/dossiers", get(dossiers))
            .route("/_rehearsal/dossiers/{code}", delete(lost))
            .with_state(Routed { portal: self, rehearsal })
    }
}

async fn dossiers(State(Routed { portal, .. }): State<Routed>) -> Json<Value> {
    Json(portal.dossiers())
}

/// From outside, what [`Portal::lose`] is from inside: nothing else makes a connector update what is not there.
async fn lost(State(Routed { portal, .. }): State<Routed>, Path(code): Path<String>) -> StatusCode {
    if portal.lose(&code) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

async fn login(
    State(Routed { portal, rehearsal }): State<Routed>,
    Extension(behaviour): Extension<Behaviour>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    destination(&rehearsal, &headers);
    if let Some(answer) = misbehaved(behaviour) {
        return answer;
    }
    if body["username"] != portal.username.as_str() || body["password"] != portal.password.as_str() {
        return said("-1", "Sai tên đăng nhập hoặc mật khẩu");
    }
    let mut desk = portal.desk();
    desk.unused += 1;
    let is_too_much = desk.unused > UNUSED_MAX;
    rehearsal.check("session-used", if is_too_much { Err("many logins and no call between them") } else { Ok(()) });
    desk.logins += 1;
    let session = format!("phien-{}", desk.logins);
    (desk.session, desk.stale) = (Some(session.clone()), 0);
    Json(json!({ "error_code": "0", "message": "", "session": session })).into_response()
}

async fn service(
    State(Routed { portal, rehearsal }): State<Routed>,
    Extension(behaviour): Extension<Behaviour>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    destination(&rehearsal, &headers);
    if let Some(answer) = misbehaved(behaviour) {
        return answer;
    }
    let mut desk = portal.desk();
    if behaviour == Behaviour::ExpiredSession {
        desk.session = None;
    }
    if desk.session.as_deref().is_none_or(|session| body["session"] != session) {
        desk.stale += 1;
        let is_too_much = desk.stale > STALE_MAX;
        rehearsal.check(
            "session-given-up",
            if is_too_much { Err("it goes on with a session that is over") } else { Ok(()) },
        );
        return said("-3", "Phiên làm việc không hợp lệ hoặc đã hết hạn");
    }
    desk.unused = 0;
    if body["madonvi"].as_str().is_none_or(str::is_empty) {
        return said("3", "Thiếu mã đơn vị");
    }
    let Some(data) = body["data"].as_array() else { return said("3", "Thiếu dữ liệu") };
    match body["service"].as_str() {
        Some("DongBoHoSoMC") => {
            let answer = record(&portal, &rehearsal, &mut desk, &body, data);
            // Somebody on the way has sent it twice; what the second one got is what comes back.
            if behaviour == Behaviour::Duplicate { record(&portal, &rehearsal, &mut desk, &body, data) } else { answer }
        }
        Some("CapNhatTienDoHoSoMC") => steps(&rehearsal, &mut desk, data),
        Some("TraCuuHoSo") => look_up(&desk, data),
        _ => said("3", "Không có dịch vụ này"),
    }
}

fn record(portal: &Portal, rehearsal: &Rehearsal, desk: &mut Desk, body: &Value, data: &[Value]) -> Response {
    let is_updating = match body["isUpdating"].as_str() {
        Some("True") => true,
        Some("False") => false,
        _ => return said("3", "isUpdating phải là True hoặc False"),
    };
    let [record] = data else { return said("3", "Mỗi lần một hồ sơ") };
    if let Err(field) = form::record(record) {
        rehearsal.check("fields", Err(format!("{field} has not its form")));
        return said("3", &format!("Sai định dạng trường {field}"));
    }
    rehearsal.check::<&str>("fields", Ok(()));
    if portal.refuses.iter().any(|refused| record["MaTTHC"] == refused.as_str()) {
        return said("3", "Thủ tục không có trên cổng");
    }
    let entered = desk.book.enter(record, is_updating);
    if let Some(course) = entered.course {
        rehearsal.check("status-course", course.map_err(|[from, to]| format!("from {from} to {to}")));
    }
    if entered.repeats_a_refused_insert {
        rehearsal.check("insert-then-update", Err("what exists was inserted again"));
    }
    if entered.repeats_a_refused_update {
        rehearsal.check("update-then-insert", Err("what does not exist was updated again"));
    }
    match entered.what {
        Entered::Inserted { after_missing } => {
            if after_missing {
                rehearsal.check::<&str>("update-then-insert", Ok(()));
            }
            said("0", "Thành công")
        }
        Entered::Updated { after_exists } => {
            if after_exists {
                rehearsal.check::<&str>("insert-then-update", Ok(()));
            }
            said("0", "Thành công")
        }
        Entered::Exists => said("-1", "Hồ sơ đã tồn tại trên hệ thống"),
        Entered::Missing => said("-1", "Hồ sơ không tồn tại trên hệ thống"),
    }
}

fn steps(rehearsal: &Rehearsal, desk: &mut Desk, data: &[Value]) -> Response {
    let holds = |id: &'static str, held: bool, or: &'static str| {
        rehearsal.check(id, if held { Ok(()) } else { Err(or) });
        held
    };
    if !holds("steps-of-ten", (1..=10).contains(&data.len()), "none, or more than ten steps") {
        return said("3", "Mỗi lần từ một đến mười bước");
    }
    if let Some(Err(field)) = data.iter().map(form::step).find(Result::is_err) {
        rehearsal.check("fields", Err(format!("{field} of a step has not its form")));
        return said("3", &format!("Sai định dạng trường {field}"));
    }
    let is_first = holds("steps-reception-first", data[0]["TrangThai"] == "2", "the first step is another one");
    let times = data.iter().map(|step| step["ThoiDiemXuLy"].as_str().unwrap_or_default());
    let in_order = holds("steps-in-order", times.is_sorted(), "a later step stands before an earlier one");
    if !is_first || !in_order {
        return said("3", "Bước đầu tiên phải là Tiếp nhận, các bước theo thứ tự");
    }
    if !holds("steps-after-record", desk.book.take_steps(data), "it does not have the dossier") {
        return said("-1", "Hồ sơ không tồn tại trên hệ thống");
    }
    said("0", "Thành công")
}

fn look_up(desk: &Desk, data: &[Value]) -> Response {
    let asked = data.first().unwrap_or(&Value::Null);
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| asked[name].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
    let (page, size) = (number("Trang"), number("SoLuong"));
    if page == 0 || !(1..=200).contains(&size) {
        return said("3", "Trang từ 1, SoLuong từ 1 đến 200");
    }
    let found = desk.book.received(&text("TuNgay"), &text("DenNgay"));
    let on_page: Vec<_> = found.iter().skip((page - 1) * size).take(size).collect();
    Json(json!({ "error_code": "0", "message": "", "TongSo": found.len(), "data": on_page })).into_response()
}

fn destination(rehearsal: &Rehearsal, headers: &HeaderMap) {
    let is_there = headers.get("dstcode").is_some_and(|value| !value.is_empty());
    rehearsal.check("destination", if is_there { Ok(()) } else { Err("dstcode is missing") });
}

/// What it answers instead of doing anything.
fn misbehaved(behaviour: Behaviour) -> Option<Response> {
    match behaviour {
        Behaviour::Maintenance => {
            let answer = Json(json!({ "error_code": "-1", "message": "Hệ thống đang bảo trì" }));
            Some((StatusCode::SERVICE_UNAVAILABLE, answer).into_response())
        }
        Behaviour::WrongSchema => Some(Json(json!({ "ma_loi": 0, "ket_qua": [] })).into_response()),
        _ => None,
    }
}

fn said(code: &str, message: &str) -> Response {
    Json(json!({ "error_code": code, "message": message })).into_response()
}
