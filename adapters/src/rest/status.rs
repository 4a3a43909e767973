//! How the adapter is, for operators and probes. No personal data, no dossier.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, ToSpan as _};
use lgsp_journal::room::Shortage;
use lgsp_telemetry::{Format, Page};
use serde::Serialize;
use utoipa::ToSchema;

use super::describe::Always;
use super::remote::Closed;
use super::{Api, json};
use crate::folder::FolderJson;
use crate::link::TurnedAway;
use crate::offline::wall_clock;
use crate::spool::{Told, now_ms};
use crate::tables::TablesJson;
use crate::telemetry;

/// Whether the adapter can keep its promises.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
struct HealthJson {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_vi: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskJson>,
}

/// There is too little room on the spool's disk.
#[derive(Serialize, ToSchema)]
#[schema(as = Disk)]
struct DiskJson {
    free_bytes: u64,
    needed_bytes: u64,
}

impl DiskJson {
    fn of(api: &Api) -> Option<Self> {
        let shortage = api.office.spool.shortage();
        shortage.map(|Shortage { free_bytes, needed_bytes }| Self { free_bytes, needed_bytes })
    }
}

/// What waits where, and since when.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
struct StatusJson {
    gateway: String,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_seconds: Option<u64>,
    /// How many connections were made since the start.
    connections: u64,
    certificate: CertificateJson,
    /// The epoch of the gateway's books, once an inbox stream has told it. Until then no refusal counts as final.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    /// A lower epoch than the one known, as the inbox stream told it: the gateway may be an old copy, and gets no entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch_behind: Option<u32>,
    parties: Vec<String>,
    /// Those of them that the gateway does not let this system act for; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parties_refused: Vec<String>,
    outgoing: OutgoingJson,
    incoming: IncomingJson,
    webhooks: WebhooksJson,
    /// The way in from other machines; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<RemoteJson>,
    offline: OfflineJson,
    /// The watched folder; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<FolderJson>,
    /// The tables in the agency's database; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<TablesJson>,
    /// Whether the spool can be written.
    writable: bool,
    /// Absent unless the disk is nearly full: then nothing new is taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<DiskJson>,
    uptime_seconds: u64,
}

/// The adapter's own certificate.
#[derive(Serialize, ToSchema)]
#[schema(as = Certificate)]
struct CertificateJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    sha256: String,
    not_after: String,
    /// Until it expires; 0 when it has.
    seconds_left: u64,
    /// When the adapter will renew it; absent when somebody else has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_from: Option<String>,
    /// How often it was renewed since the start.
    renewals: u64,
    /// Why there is no way to the gateway, as a stable word; absent unless it is because of a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    turned_away: Option<&'static str>,
    /// What is the matter, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem_vi: Option<String>,
}

impl CertificateJson {
    fn new(api: &Api) -> Self {
        let view = api.certificate.view();
        let left = view.not_after.duration_since(SystemTime::now()).ok();
        // One that has expired is turned away as such sooner or later; it is known here before that.
        let turned_away = api.office.link.connectivity().borrow().turned_away;
        let turned_away = if left.is_none() { Some(TurnedAway::Expired) } else { turned_away };
        let [vi, en] = match turned_away {
            Some(why) => why.texts().map(|text| Some(text.to_owned())),
            None => view.clone().problem().map_or([None, None], |texts| texts.map(Some)),
        };
        let moment = |time| Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default();
        Self {
            system: view.system,
            sha256: api.office.link.certificate().to_string(),
            not_after: moment(view.not_after),
            seconds_left: left.map_or(0, |left| left.as_secs()),
            renew_from: view.renew_from.map(moment),
            renewals: view.renewals,
            turned_away: turned_away.map(TurnedAway::as_str),
            problem: en,
            problem_vi: vi,
        }
    }
}

/// Calls on their way to the gateway, and those answered whose outcome is still kept.
#[derive(Serialize, ToSchema)]
#[schema(as = Outgoing)]
struct OutgoingJson {
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    admitted: usize,
    refused: usize,
}

/// Deliveries on their way to the agency's own system.
#[derive(Serialize, ToSchema)]
#[schema(as = Incoming)]
struct IncomingJson {
    not_handed_over: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    /// Handed over, and the gateway does not know it yet.
    unconfirmed: usize,
    /// Dossiers of which something goes back to the gateway, and it does not know it yet.
    returned: usize,
}

/// How webhooks do, all together; `GET /v1/webhooks` says it of each.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhooksStatus)]
struct WebhooksJson {
    /// How many URLs there are.
    configured: usize,
    /// How many of them did not take the last post.
    failing: usize,
    /// Events and outcomes that they have still to take.
    waiting: usize,
    /// Why the file of secrets is not used as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_problem: Option<String>,
}

impl WebhooksJson {
    fn new(api: &Api) -> Self {
        let webhooks = &api.webhooks;
        let places = 0..webhooks.all.len();
        Self {
            configured: places.len(),
            failing: places.clone().filter(|at| webhooks.attempts.health(*at).failing_since_ms.is_some()).count(),
            waiting: places.map(|at| api.office.spool.parcels(at, |lanes| lanes.len())).sum(),
            secret_problem: webhooks.secrets.as_ref().and_then(|secrets| secrets.problem()),
        }
    }
}

/// The way in from other machines.
#[derive(Serialize, ToSchema)]
#[schema(as = RemoteStatus)]
struct RemoteJson {
    /// Where it listens.
    address: String,
    /// Whether anybody gets in: not without a certificate that can be used.
    open: bool,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem_vi: Option<&'static str>,
}

impl RemoteJson {
    fn new(api: &Api) -> Option<Self> {
        let (tls, address) = api.remote.as_ref()?;
        let texts = tls.closed().map(Closed::texts);
        Some(Self {
            address: address.to_string(),
            open: texts.is_none(),
            problem: texts.map(|texts| texts.en),
            problem_vi: texts.map(|texts| texts.vi),
        })
    }
}

/// Whether the desk could work without a line, and what it did so far.
#[derive(Serialize, ToSchema)]
#[schema(as = OfflineStatus)]
struct OfflineJson {
    enabled: bool,
    /// Whether nobody answers at the other end just now.
    line_down: bool,
    registry: RegistryJson,
    numbers: Vec<NumbersJson>,
    clock: ClockJson,
    /// Taken in without a line, and not answered by the gateway yet.
    waiting: usize,
    /// Numbers given out in vain that a clerk has to work off.
    exceptions: usize,
}

/// The registry's copy.
#[derive(Serialize, ToSchema)]
#[schema(as = RegistryCopy)]
struct RegistryJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// How long ago it was last known to be in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    /// Why there is no newer one, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// The numbers left to give out, for a day.
#[derive(Serialize, ToSchema)]
#[schema(as = Numbers)]
struct NumbersJson {
    desk: String,
    authority: String,
    day: String,
    left: u32,
}

/// This machine's clock against the gateway's.
#[derive(Serialize, ToSchema)]
#[schema(as = Clock)]
struct ClockJson {
    /// By how much the gateway's is ahead; absent until they were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    skew_seconds: Option<f64>,
    tolerance_seconds: u64,
    exceeded: bool,
}

impl OfflineJson {
    fn new(api: &Api, waiting: usize, exceptions: usize) -> Self {
        let config = &api.office.desk.config;
        let copy = api.office.desk.copy.view();
        let today = wall_clock().date();
        let last = today.checked_add(i64::from(config.days_ahead).days()).unwrap_or(today);
        let numbers = api.office.spool.numbers_overview(today, last);
        let skew_seconds = |skew_ms: i64| std::time::Duration::from_millis(skew_ms.unsigned_abs()).as_secs_f64();
        Self {
            enabled: config.enabled,
            line_down: api.office.link.is_down(),
            registry: RegistryJson {
                version: copy.version,
                age_seconds: copy.synced_at_ms.map(seconds_since),
                problem: copy.problem,
            },
            numbers: numbers
                .into_iter()
                .map(|(desk, authority, day, left)| NumbersJson {
                    desk: desk.to_string(),
                    authority: authority.to_string(),
                    day: day.to_string(),
                    left,
                })
                .collect(),
            clock: ClockJson {
                skew_seconds: api
                    .office
                    .desk
                    .skew_ms()
                    .map(|skew| skew_seconds(skew).copysign(if skew < 0 { -1.0 } else { 1.0 })),
                tolerance_seconds: config.skew_tolerance.as_secs(),
                exceeded: api.office.desk.is_skewed(),
            },
            waiting,
            exceptions,
        }
    }
}

/// `GET /healthz`: 200 while the adapter can keep its promises. A line that is down is no reason to restart it.
#[utoipa::path(
    get, path = "/healthz", tag = "operators", operation_id = "health",
    summary = "Whether the adapter can keep its promises", description = "A line that is down is no reason to restart it.",
    security(()),
    responses(
        (status = 200, description = "It can", body = HealthJson),
        (status = 503, description = "It cannot; `status` says why", body = HealthJson),
    ),
)]
pub(super) async fn health(State(api): State<Arc<Api>>) -> Response {
    if api.office.spool.broken().is_cancelled() {
        let status = "the spool cannot write any more; restart the adapter once the disk is well";
        let status_vi = Some("hàng đợi không ghi được nữa; hãy khởi động lại bộ kết nối khi đĩa đã ổn");
        return json(StatusCode::SERVICE_UNAVAILABLE, &HealthJson { status, status_vi, disk: None });
    }
    if let disk @ Some(_) = DiskJson::of(&api) {
        let status = "the disk is nearly full: what is here goes on, nothing new is taken in; free some space";
        let status_vi = Some("đĩa sắp đầy: hồ sơ đã nhận vẫn được chuyển, chưa nhận thêm; hãy giải phóng dung lượng");
        return json(StatusCode::SERVICE_UNAVAILABLE, &HealthJson { status, status_vi, disk });
    }
    json(StatusCode::OK, &HealthJson { status: "ok", status_vi: None, disk: None })
}

/// `GET /status`: what waits where.
#[utoipa::path(
    get, path = "/status", tag = "operators", operation_id = "status",
    summary = "What waits where, and since when",
    responses((status = 200, description = "How it is", body = StatusJson), Always),
)]
pub(super) async fn status(State(api): State<Arc<Api>>) -> Response {
    let counts = api.office.spool.counts();
    let connectivity = *api.office.link.connectivity().borrow();
    let status = StatusJson {
        gateway: api.office.link.gateway().to_string(),
        connected: connectivity.connected_since.is_some(),
        connected_seconds: connectivity.connected_since.map(|since| seconds_since(unix_ms(since))),
        connections: connectivity.connections,
        certificate: CertificateJson::new(&api),
        epoch: api.office.spool.is_epoch_certain().then(|| api.office.spool.epoch()).filter(|epoch| *epoch > 0),
        epoch_behind: match api.office.spool.epoch_told() {
            Told::Behind { epoch } => Some(epoch),
            Told::Nothing { .. } | Told::Known => None,
        },
        parties: api.office.acting.all().iter().map(ToString::to_string).collect(),
        parties_refused: api.office.acting.shut_out().iter().map(ToString::to_string).collect(),
        outgoing: OutgoingJson {
            waiting: counts.waiting,
            oldest_seconds: counts.oldest_waiting_ms.map(seconds_since),
            admitted: counts.admitted,
            refused: counts.refused,
        },
        incoming: IncomingJson {
            not_handed_over: counts.not_handed_over,
            oldest_seconds: counts.oldest_not_handed_over_ms.map(seconds_since),
            unconfirmed: counts.unconfirmed,
            returned: counts.returned,
        },
        webhooks: WebhooksJson::new(&api),
        remote: RemoteJson::new(&api),
        offline: OfflineJson::new(&api, counts.offline_waiting, counts.exceptions),
        folder: api.folder.as_ref().map(|folder| folder.to_json()),
        tables: api.tables.as_ref().map(|tables| tables.to_json()),
        writable: !api.office.spool.broken().is_cancelled(),
        disk: DiskJson::of(&api),
        uptime_seconds: api.started.elapsed().as_secs(),
    };
    json(StatusCode::OK, &status)
}

/// `GET /metrics`: the figures for Prometheus, in the form it asks for.
#[utoipa::path(
    get, path = "/metrics", tag = "operators", operation_id = "metrics",
    summary = "The figures for Prometheus",
    description = "OpenMetrics 1.0 for who asks for it by `Accept`, else the text form 0.0.4.",
    responses(
        (status = 200, description = "The figures", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
        Always,
    ),
)]
pub(super) async fn metrics(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let Page { content_type, body } = telemetry::page(&api, Format::for_accept(accept));
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn seconds_since(unix_ms: i64) -> u64 {
    u64::try_from(now_ms().saturating_sub(unix_ms) / 1000).unwrap_or(0)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
