//! A national portal that is told of every dossier: a dossier's whole life with the adapter killed between any two of its steps, each effect had
//! once; a portal that is slow, breaks off, forgets sessions and closes; and both sides compared until nothing differs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::{HeaderMap, Method};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use lgsp_rehearsal::portal::Portal;
use lgsp_rehearsal::rehearsal::Rehearsal;
use lgsp_rehearsal::server::{Files, Server};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agency::Agency;
use crate::place::{Adapter, Gateway, Place};
use crate::{http, until, within};

const SYSTEM: &str = "cong-dich-vu";
const PARTY: &str = "H99.CDV";

/// A procedure whose dossiers the portal refuses.
const REFUSED: &str = "1.000001";

/// The portal, over HTTPS.
struct There {
    url: String,
    portal: Arc<Portal>,
    rehearsal: Arc<Rehearsal>,
    way: Arc<Way>,
    _stop: DropGuard,
}

/// What lies between the adapter and the portal.
#[derive(Default)]
struct Way {
    door: watch::Sender<Door>,
    /// Whether every session is said to be over for the dossiers of [`REFUSED`], and for no others.
    forgets: AtomicBool,
}

/// Where one record can be held up, as a network holds it up, while others pass.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Door {
    #[default]
    Open,
    /// The next record will be held up.
    Watched,
    /// One stands here until it is open again.
    Held,
}

async fn pass(State(way): State<Arc<Way>>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let says = |words: &str| body.windows(words.len()).any(|part| part == words.as_bytes());
    if way.forgets.load(Ordering::SeqCst) && says(&format!("\"MaTTHC\":\"{REFUSED}\"")) {
        return Json(json!({ "error_code": "-3" })).into_response();
    }
    let is_held = says("DongBoHoSoMC")
        && way.door.send_if_modified(|door| {
            let is_watched = *door == Door::Watched;
            if is_watched {
                *door = Door::Held;
            }
            is_watched
        });
    if is_held {
        way.door.subscribe().wait_for(|door| *door == Door::Open).await.unwrap();
    }
    next.run(Request::from_parts(head, Body::from(body))).await
}

impl There {
    async fn open(place: &Place, script: &str) -> Self {
        let folder = place.folder().join("portal");
        std::fs::create_dir(&folder).unwrap();
        let server = Server::bind(0, &Files::in_folder(&folder).unwrap()).await.unwrap();
        let portal = Arc::new(Portal::new("hue", "mật khẩu", vec![REFUSED.to_owned()]));
        let rehearsal = Rehearsal::new(&*portal, script.parse().unwrap(), Duration::from_millis(1));
        let (url, stop) = (server.url(), CancellationToken::new());
        let way = Arc::new(Way::default());
        let routes = rehearsal.routes(portal.clone()).layer(from_fn_with_state(way.clone(), pass));
        tokio::spawn(server.serve(routes, stop.clone()));
        Self { url, portal, rehearsal, way, _stop: stop.drop_guard() }
    }

    /// Waits until a record stands at the door.
    async fn holds_one(&self) {
        let mut door = self.way.door.subscribe();
        within("a record held up", door.wait_for(|door| *door == Door::Held)).await.unwrap();
    }

    fn dossier(&self, code: &str) -> Option<Value> {
        self.portal.dossiers().as_array().unwrap().iter().find(|dossier| dossier["MaHoSo"] == code).cloned()
    }

    /// Waits until it has a dossier with this status.
    async fn has(&self, code: &str, status: &str) -> Value {
        until("a dossier at the portal", async || {
            self.dossier(code).filter(|dossier| dossier["TrangThaiHoSo"] == status)
        })
        .await
    }

    /// Nothing that a connector may not do was seen.
    fn found_nothing_wrong(&self) {
        let report = self.rehearsal.report();
        assert!(report.checks.iter().all(|check| check.failed == 0), "{}", report.text(false));
    }
}

/// Two agencies with adapters of their own, and the portal's.
struct Play {
    place: Place,
    gateway: Gateway,
    there: There,
    desk: Agency,
    authority: Agency,
    others: Vec<Adapter>,
}

impl Play {
    async fn set(script: &str) -> Self {
        let place = Place::new();
        let gateway = place.gateway().await;
        let there = There::open(&place, script).await;
        let (desk, authority) = (Agency::open("H99.102").await, Agency::open("H99.CA.101").await);
        let mut others = Vec::new();
        for (system, agency, party) in [("mot-cua-binh", &desk, "H99.102"), ("cong-an", &authority, "H99.CA.101")] {
            let adapter = place.adapter(system, party, gateway.bus, agency.hook).await;
            agency.use_adapter(adapter.rest);
            others.push(adapter);
        }
        Self { place, gateway, there, desk, authority, others }
    }

    async fn portals_adapter(&self, fault: Option<&str>) -> Adapter {
        self.place.adapter_by_portal(SYSTEM, PARTY, self.gateway.bus, &self.there.url, fault).await
    }

    async fn submit(&self, key: &str) -> String {
        self.desk.submit(key, &submission("1.000002")).await;
        self.desk.outcome(key).await["dossier_code"].as_str().unwrap().to_owned()
    }

    /// The authority says something at a later time.
    async fn say(&self, code: &str, at: &str, what: Value) {
        self.gateway.set_clock(at).await;
        self.authority.say(code, at, what).await;
    }

    async fn end(self, adapter: Adapter) {
        for adapter in self.others.into_iter().chain([adapter]) {
            adapter.settled().await;
            adapter.stop().await;
        }
        self.gateway.stop().await;
        self.place.fsck().await;
    }
}

/// What both sides differ in, and with which status the command ends.
async fn reconciled(place: &Place, adapter: &Adapter, repair: bool) -> Value {
    let address = adapter.rest.to_string();
    let mut words = vec!["adapter", "portal", "reconcile", "--from", "2025-07-14", "--to", "2025-07-15", "--json"];
    words.extend(["--adapter", &address]);
    words.extend(repair.then_some("--repair"));
    place.answered(&words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dossiers_whole_life_is_at_the_portal_once_whenever_the_adapter_dies() {
    let play = Play::set("normal").await;
    let mut adapter = play.portals_adapter(Some("portal.record:1")).await;
    let code = play.submit("residence-1").await;
    // It has the record, and whoever sent it has died before knowing that.
    adapter.died().await;
    adapter = play.portals_adapter(Some("portal.told:2")).await;
    play.there.has(&code, "1").await;
    play.say(&code, "2025-07-14T10:00:00+07:00", json!({ "type": "accepted" })).await;
    adapter.died().await;
    adapter = play.portals_adapter(None).await;
    play.there.has(&code, "2").await;

    // More steps than go into one call, and killed from outside, wherever it is.
    for number in 0..14 {
        let at = format!("2025-07-15T09:{number:02}:00+07:00");
        play.say(&code, &at, json!({ "type": "progressed", "step": format!("Bước {number}") })).await;
        if number % 5 == 0 {
            adapter.kill().await;
            adapter = play.portals_adapter(None).await;
        }
    }
    play.say(&code, "2025-07-16T09:00:00+07:00", json!({ "type": "processing_started" })).await;
    play.say(&code, "2025-07-17T09:00:00+07:00", json!({ "type": "resolved", "results": [{ "name": "Thông báo" }] }))
        .await;
    adapter.kill().await;
    adapter = play.portals_adapter(None).await;
    let there = play.there.has(&code, "9").await;
    adapter.settled().await;
    let there_then = play.there.dossier(&code).unwrap();
    assert_eq!((&there["inserts"], there_then["steps"].as_array().unwrap().len()), (&json!(1), 17));
    let times =
        ["NgayTiepNhan", "NgayKetThucXuLy", "NgayTra"].map(|name| there_then[name].as_str().unwrap().to_owned());
    assert_eq!(times, ["20250714080000", "20250717090000", ""], "Vietnam's time, without a zone");
    let compared = reconciled(&play.place, &adapter, false).await;
    assert_eq!((&compared["code"], &compared["said"]["compared"]), (&json!(0), &json!(1)), "{compared}");
    play.there.found_nothing_wrong();
    play.end(adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_misbehaves_has_everything_in_the_end_and_what_it_lost_is_sent_again() {
    let play = Play::set("normal:4,expired-session:1,flaky:8,duplicate:2,wrong-schema:2,maintenance:3,expired-session:1,slow(50x):6,normal").await;
    let adapter = play.portals_adapter(None).await;
    let mut codes = Vec::new();
    for number in 0..6 {
        codes.push(play.submit(&format!("residence-{number}")).await);
    }
    play.gateway.set_clock("2025-07-14T10:00:00+07:00").await;
    for code in &codes {
        play.authority.event(code, 1).await;
        play.authority.say(code, "2025-07-14T10:00:00+07:00", json!({ "type": "accepted" })).await;
    }
    for code in &codes {
        play.there.has(code, "2").await;
    }
    adapter.settled().await;
    play.there.found_nothing_wrong();
    assert_eq!(reconciled(&play.place, &adapter, false).await["code"], 0);

    // Restored from a backup, it has lost one.
    assert!(play.there.portal.lose(&codes[3]));
    let missing = reconciled(&play.place, &adapter, false).await;
    let one = &missing["said"]["differences"][0];
    assert_eq!(
        (&missing["code"], &one["what"], &one["dossier_code"]),
        (&json!(1), &json!("missing"), &json!(codes[3]))
    );
    assert_eq!(reconciled(&play.place, &adapter, true).await["said"]["repaired"], 1);
    let after = reconciled(&play.place, &adapter, false).await;
    assert_eq!((&after["code"], &after["said"]["compared"]), (&json!(0), &json!(6)), "{after}");

    let address = adapter.rest.to_string();
    let status = play.place.ask(&["adapter", "portal", "status", "--json", "--adapter", &address]).await;
    assert_eq!((&status["age_seconds"], &status["dossiers"]), (&json!(0), &json!([])));
    assert!(status["failures"]["PORTAL_MAINTENANCE"].as_u64().unwrap() > 0, "{status}");
    play.end(adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dossier_that_the_portal_refuses_is_parked_and_the_others_go_on() {
    let play = Play::set("normal").await;
    let adapter = play.portals_adapter(None).await;
    play.desk.submit("refused", &submission(REFUSED)).await;
    let refused = play.desk.outcome("refused").await["dossier_code"].as_str().unwrap().to_owned();
    until("a parked delivery", async || (play.gateway.figure("deliveries_parked").await == 1).then_some(())).await;
    let code = play.submit("residence-1").await;
    play.there.has(&code, "1").await;
    assert_eq!(play.there.dossier(&refused), None);
    let operator = play.place.profile("operator.toml", "van-hanh", "H99.VH", play.gateway.bus);
    let listed = play.place.ask(&["inbox", "list", "--json", "--profile", &operator]).await;
    let parked = &listed["parked"][0];
    assert_eq!(listed["parked"].as_array().unwrap().len(), 1);
    assert_eq!((&parked["dossier_code"], &parked["reason"]), (&json!(refused), &json!("AGENCY_REFUSED")));
    // Nothing waits at the adapter, and the portal is behind all the same.
    adapter.settled().await;
    let address = adapter.rest.to_string();
    let status = play.place.ask(&["adapter", "portal", "status", "--json", "--adapter", &address]).await;
    assert_eq!(
        (&status["dossiers"][0]["dossier_code"], &status["dossiers"][0]["trouble"]),
        (&json!(refused), &json!("PORTAL_REFUSED"))
    );
    let admitted_at = &play.desk.outcome("refused").await["receipt"]["admitted_at"];
    assert!(admitted_at.is_string());
    assert_eq!(&status["oldest_admitted_at"], admitted_at);
    play.end(adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dossier_for_which_every_session_is_refused_keeps_no_other_back_and_goes_back_to_the_gateway() {
    let play = Play::set("normal").await;
    play.there.way.forgets.store(true, Ordering::SeqCst);
    let adapter = play.portals_adapter(None).await;
    play.desk.submit("unlucky", &submission(REFUSED)).await;
    let unlucky = play.desk.outcome("unlucky").await["dossier_code"].as_str().unwrap().to_owned();
    until("a refused session", async || {
        let known = http::get(adapter.rest, "/v1/portal").await;
        (known["dossiers"][0]["trouble"] == "PORTAL_SESSION_REFUSED").then_some(())
    })
    .await;
    let mut others = 0;
    while adapter.status().await["incoming"]["not_handed_over"] != 0 {
        assert!(others < 100, "the dossier is still tried");
        others += 1;
        let code = play.submit(&format!("residence-{others}")).await;
        play.there.has(&code, "1").await;
    }
    assert!(others > 1, "it is tried more than once");
    assert_eq!(play.there.dossier(&unlucky), None);
    // Delivered anew, it has another answer.
    play.there.way.forgets.store(false, Ordering::SeqCst);
    until("a parked delivery", async || (play.gateway.figure("deliveries_parked").await == 1).then_some(())).await;
    play.end(adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_never_stands_over_what_came_after_it() {
    let play = Play::set("normal").await;
    let adapter = play.portals_adapter(None).await;
    let (code, other) = (play.submit("residence-1").await, play.submit("residence-2").await);
    play.say(&code, "2025-07-14T10:00:00+07:00", json!({ "type": "accepted" })).await;
    play.there.has(&code, "2").await;
    adapter.settled().await;
    assert!(play.there.portal.lose(&code));

    // The repair has read the dossier and is held up on its way; then the dossier goes on.
    play.there.way.door.send_replace(Door::Watched);
    let repaired = reconciled(&play.place, &adapter, true);
    let meanwhile = async {
        play.there.holds_one().await;
        play.say(&code, "2025-07-15T09:00:00+07:00", json!({ "type": "processing_started" })).await;
        // What was said later elsewhere has arrived: so had this, did it not wait for the repair.
        play.say(&other, "2025-07-15T10:00:00+07:00", json!({ "type": "accepted" })).await;
        play.there.has(&other, "2").await;
        play.there.way.door.send_replace(Door::Open);
    };
    let (repaired, ()) = tokio::join!(repaired, meanwhile);
    let said = &repaired["said"];
    assert_eq!((&repaired["code"], &said["repaired"], &said["under_way"]), (&json!(1), &json!(1), &json!(1)), "{said}");
    adapter.settled().await;
    assert_eq!(play.there.dossier(&code).unwrap()["TrangThaiHoSo"], "4");
    assert_eq!(reconciled(&play.place, &adapter, false).await["code"], 0);
    play.there.found_nothing_wrong();
    play.end(adapter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_goes_on_when_whoever_asked_for_it_is_gone_and_tells_the_next_one_how_far_it_is() {
    let play = Play::set("normal").await;
    let adapter = play.portals_adapter(None).await;
    let code = play.submit("residence-1").await;
    play.there.has(&code, "1").await;
    adapter.settled().await;
    assert!(play.there.portal.lose(&code));

    play.there.way.door.send_replace(Door::Watched);
    let period = json!({
        "received_from": "2025-07-14T00:00:00+07:00", "received_to": "2025-07-15T00:00:00+07:00", "repair": true,
    });
    let ask = |period: &Value| {
        let (rest, body) = (adapter.rest, period.to_string().into());
        async move { http::send(rest, Method::POST, "/v1/portal/reconcile", HeaderMap::new(), body).await }
    };
    let asked = tokio::spawn(ask(&period));
    play.there.holds_one().await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    let standing = http::get(adapter.rest, "/v1/portal/reconcile").await;
    assert_eq!((&standing["running"], &standing["looked_at"]), (&json!(true), &json!(0)), "{standing}");
    assert_eq!((&standing["portal_dossiers"], &standing["gateway_dossiers"]), (&json!(0), &json!(1)));
    assert_eq!(ask(&period).await.json(200)["started_at"], standing["started_at"], "it joins");
    let another = json!({ "received_from": period["received_from"], "received_to": period["received_to"] });
    assert_eq!(ask(&another).await.json(503)["reason"], "OVERLOADED");

    play.there.way.door.send_replace(Door::Open);
    play.there.has(&code, "1").await;
    let over = until("the end of the comparison", async || {
        let standing = http::get(adapter.rest, "/v1/portal/reconcile").await;
        (standing["running"] == false).then_some(standing)
    })
    .await;
    assert_eq!((&over["report"]["repaired"], &over["looked_at"]), (&json!(1), &json!(1)), "{over}");
    assert_eq!(reconciled(&play.place, &adapter, false).await["code"], 0);
    play.end(adapter).await;
}

/// Somebody moves to commune An, and says so in commune Binh. Whoever it is is invented.
fn submission(procedure: &str) -> Value {
    let form = if procedure == REFUSED { json!({ "code": "to-khai" }) } else { json!({ "name": "Tờ khai" }) };
    json!({
        "procedure_code": procedure,
        "applicant": {
            "kind": "citizen", "full_name": "NGƯỜI KIỂM THỬ", "personal_number": "046301123456",
            "date_of_birth": "2001-05-20", "sex": "female",
        },
        "locality": "99001",
        "intake_channel": "direct",
        "return_channel": "direct",
        "received_at": "2025-07-14T08:00:00+07:00",
        "components": [form],
    })
}
