//! The simulated people: whoever decides, hands in, pays and hands out, except the developer.
//!
//! They know the bus as an agency's developer would: the adapter's REST API outwards, webhooks inwards. The portal is told of
//! every event; each telling is written down, shown, and answered by whoever's turn it is under the dossier's scenario, at the
//! sandbox's pace. Each act says which event it answers, so that the developer may come first. A developer who is a desk has
//! the authority's acts of their own party simulated too, through their own adapter, as their clerks would do them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::SignedDuration;
use lgsp_domain::registry::Registry;
use lgsp_domain::transition::Act;
use lgsp_proto::types::{BusinessTime, PartyId};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::asking::until_answered;
use super::guide::Guide;
use super::live::Live;
use super::place::{DEVELOPER, DEVELOPERS_UNIT, NEIGHBOUR, PAYMENT};
use super::scenario::Scenario;
use super::story::{Chronicle, Happened, Story};
use crate::moment;
use crate::staging::http::Client;

/// In which capacity the developer tries the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Role {
    /// Hands dossiers in; authorities are simulated.
    Desk,
    /// Decides dossiers that a simulated desk hands in.
    Authority,
}

/// Whether the gateway takes dates that lie far ahead, as events of late dossiers do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ahead {
    /// No more than any other.
    Refused,
    /// It is to be started again, so that it does.
    Wanted,
    /// It does.
    Taken,
}

/// How long the outcome of an act is waited for at a time, in milliseconds.
const WAIT_MS: u32 = 20_000;
/// By how much an extension puts off the date, and by how much a late dossier misses even that: working hours.
const EXTENSION: Duration = Duration::from_secs(16 * 3600);
const TOO_LATE: Duration = Duration::from_secs(2 * 3600);
/// The clerk of every simulated party.
const CLERK: &str = "cb.mo-phong";
/// What the keys of simulated requests begin with.
pub(super) const BY_US: &str = "mo-phong-";

/// Everybody who is simulated.
pub(super) struct People {
    pub(super) role: Role,
    pub(super) pace: Duration,
    pub(super) registry: Registry,
    pub(super) live: Live,
    pub(super) guide: Guide,
    /// The developer's adapter, and that of everybody else.
    pub(super) developers: Client,
    pub(super) simulated: Client,
    pub(super) scenario: watch::Sender<Scenario>,
    pub(super) ahead: watch::Sender<Ahead>,
    pub(super) chronicle: Mutex<Chronicle>,
    /// Something was written down.
    pub(super) news: Notify,
    /// When this start was, in seconds.
    pub(super) started: i64,
}

/// What becomes of a request.
enum Outcome {
    Admitted(Value),
    Refused(String),
}

impl People {
    /// Goes on with every dossier that has not ended, after a start.
    pub(super) fn resume(self: &Arc<Self>) {
        let stories: Vec<Happened> = self.chronicle().all().map(|story| story.last.clone()).collect();
        stories.iter().for_each(|last| self.turn_later(last));
    }

    /// Takes what the portal is told. It is written down when this returns.
    ///
    /// # Errors
    /// It is no delivery, or cannot be written down.
    pub(super) fn told(self: &Arc<Self>, delivery: &Value) -> anyhow::Result<()> {
        let (event, dossier) = (&delivery["event"], &delivery["dossier"]);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let code = text(&delivery["dossier_code"]).context("a delivery without a dossier")?;
        let matter = super::story::Matter {
            procedure_code: text(&dossier["procedure_code"]).context("a dossier without a procedure")?,
            intake_desk: text(&dossier["intake_desk"]).context("a dossier without an intake desk")?,
            competent_authority: text(&dossier["competent_authority"]).context("a dossier without an authority")?,
            return_desk: text(&dossier["return_desk"]).context("a dossier without a return desk")?,
            return_channel: text(&dossier["return_channel"]).unwrap_or_default(),
        };
        let from = text(&event["party"]).context("an event of nobody")?;
        let happened = Happened {
            admitted_at: text(&event["admitted_at"]),
            sequence: delivery["sequence"].as_u64().and_then(|n| u32::try_from(n).ok()).context("no sequence")?,
            event: text(&event["type"]).unwrap_or_default(),
            status: text(&event["status"]).unwrap_or_default(),
            to: matter.others(&from),
            from,
            occurred_at: text(&event["occurred_at"]).context("an event without a time")?,
            due_at: text(&event["due_at"]),
            scenario: self.scenario_of(&code),
            dossier_code: code,
            matter,
        };
        self.happened(&happened)
    }

    /// From now on dossiers are handed in under this scenario.
    pub(super) fn set(&self, scenario: Scenario) {
        if scenario == Scenario::Late {
            self.want_ahead();
        }
        self.scenario.send_replace(scenario);
    }

    fn want_ahead(&self) {
        self.ahead.send_if_modified(|ahead| {
            let refused = *ahead == Ahead::Refused;
            if refused {
                *ahead = Ahead::Wanted;
            }
            refused
        });
    }

    /// The scenario of a dossier: that under which it was handed in.
    pub(super) fn scenario_of(&self, code: &str) -> Scenario {
        self.chronicle().of(code).map_or_else(|| *self.scenario.borrow(), |story| story.last.scenario)
    }

    /// Waits until one more dossier under `scenario` has come as far as `act` than have when this is called.
    pub(super) fn has_come(&self, scenario: Scenario, act: Act) -> impl Future<Output = ()> {
        let count = move || {
            let chronicle = self.chronicle();
            chronicle.all().filter(|story| story.last.scenario == scenario && story.acts.contains(&act)).count()
        };
        let before = count();
        async move {
            loop {
                let news = self.news.notified();
                if count() > before {
                    return;
                }
                news.await;
            }
        }
    }

    /// A simulated desk hands in a birth that the developer's party has to register. Returns the request's key.
    ///
    /// # Errors
    /// The adapter does not take it.
    pub(super) async fn hand_in(&self) -> anyhow::Result<String> {
        let key = format!("{BY_US}{}", jiff::Timestamp::now().as_millisecond());
        let paper = self.upload(NEIGHBOUR, "to-khai.txt", &format!("TỜ KHAI GIẢ LẬP {key}\n")).await?;
        let body = json!({
            "procedure_code": "1.001193", "locality": DEVELOPERS_UNIT,
            "applicant": {"kind": "citizen", "full_name": "Nguyễn Thị Thử", "personal_number": "046190000001"},
            "intake_channel": "direct", "return_channel": "direct", "summary": "Hồ sơ giả lập",
            "components": [{"code": "to-khai", "originals": 1, "document": paper}],
        });
        match self.send(NEIGHBOUR, &key, "/v1/dossiers", &body).await? {
            Outcome::Admitted(_) => Ok(key),
            Outcome::Refused(reason) => bail!("the simulated desk was refused: {reason}"),
        }
    }

    fn happened(self: &Arc<Self>, happened: &Happened) -> anyhow::Result<()> {
        if self.chronicle().write(happened)? {
            self.live.happened(happened);
            self.turn_later(happened);
            self.news.notify_waiters();
        }
        Ok(())
    }

    /// Whoever's turn it is after this event acts when the pace says so. Ends with the sandbox.
    fn turn_later(self: &Arc<Self>, after: &Happened) {
        let (people, code, sequence) = (Arc::clone(self), after.dossier_code.clone(), after.sequence);
        tokio::spawn(async move {
            tokio::time::sleep(people.pace).await;
            if let Err(error) = people.turn(&code, sequence).await {
                people.live.note("not_played", format!("{code}: {error:#}"), format!("{code}: {error:#}"));
            }
        });
    }

    async fn turn(self: &Arc<Self>, code: &str, sequence: u32) -> anyhow::Result<()> {
        // Somebody was faster; their event has a turn of its own.
        let story = self.chronicle().of(code).cloned().filter(|story| story.last.sequence == sequence);
        let Some(story) = story else { return Ok(()) };
        let (Some(status), scenario) = (story.last.status(), story.last.scenario) else { return Ok(()) };
        let at = moment::now()?.max(story.last_at().context("an event without a time")?);
        let extendable = story.due().is_some_and(|due| at < due);
        let Some(act) = scenario.next(status, &story.acts, extendable) else { return Ok(()) };
        let party = self.who(act, &story);
        let simulated = party != DEVELOPER || (self.role == Role::Desk && is_the_authoritys(act));
        if !simulated {
            let command = self.guide.answer(act, &story, at)?;
            self.live.your_turn(code, scenario, act.as_str(), &command);
            return Ok(());
        }
        let body = self.body(act, party, &story, at).await?;
        // New at every start: what an earlier one may have sent of this is told by its own event, or was refused.
        let key = format!("{BY_US}{code}-{}-{}", sequence + 1, self.started % 1_000_000);
        match self.send(party, &key, &format!("/v1/dossiers/{code}/events"), &body).await? {
            // The portal is not told of what it said itself; whatever it is told comes to the same.
            Outcome::Admitted(receipt) => self.happened(&said(&story, party, &receipt)?),
            Outcome::Refused(reason) if reason == "STALE_VERSION" => Ok(()),
            Outcome::Refused(reason) => Err(anyhow!("{party} {}: {reason}", act.as_str())),
        }
    }

    /// Whose act it is.
    fn who<'a>(&self, act: Act, story: &'a Story) -> &'a str {
        let matter = &story.last.matter;
        match act {
            Act::ProvideSupplement | Act::Withdraw | Act::Submit => &matter.intake_desk,
            Act::ConfirmPayment if matter.intake_desk == DEVELOPER => &matter.intake_desk,
            Act::ConfirmPayment => PAYMENT,
            Act::ReturnResult => &matter.return_desk,
            _ => &matter.competent_authority,
        }
    }

    /// What is said with an act.
    async fn body(&self, act: Act, party: &str, story: &Story, at: BusinessTime) -> anyhow::Result<Value> {
        let calendar = self.registry.calendar_of(&party.parse::<PartyId>()?);
        let later = |seconds| at.checked_add(SignedDuration::from_secs(seconds)).context("beyond the calendar");
        let expires = story.last.scenario == Scenario::Expired;
        let sequence = story.last.sequence + 1;
        let code = &story.last.dossier_code;
        let mut at = at;
        let mut body = match act {
            Act::Submit => bail!("a dossier is opened once"),
            Act::Accept | Act::StartProcessing => json!({}),
            Act::Refuse => json!({"reason": "Hồ sơ không thuộc trường hợp được giải quyết (giả lập)"}),
            Act::RequestSupplement => {
                // A term of a second, where it is to run out; else a week of working days.
                let until = match expires {
                    true => later(1)?,
                    false => calendar.working_day_after(at.date(), 5)?.at(17, 0, 0, 0).try_into()?,
                };
                json!({"reason": "Thiếu Giấy chứng sinh (giả lập)", "items": ["Giấy chứng sinh"], "until": until.to_string()})
            }
            Act::ProvideSupplement => {
                let text = format!("GIẤY TỜ BỔ SUNG GIẢ LẬP {code} {sequence}\n");
                let paper = self.upload(party, "bo-sung.txt", &text).await?;
                json!({"components": [{"name": "Giấy chứng sinh", "copies": 1, "document": paper}]})
            }
            Act::ExpireSupplement => {
                at = later(2)?;
                json!({"reason": "Quá hạn bổ sung (giả lập)"})
            }
            Act::Withdraw => json!({"reason": "Công dân đề nghị rút hồ sơ (giả lập)"}),
            Act::RequestFee => {
                json!({"fees": [{"code": "LP", "name": "Lệ phí (giả lập)", "amount_vnd": super::guide::FEE_VND}]})
            }
            Act::ConfirmPayment => {
                json!({"payment_reference": format!("TT-{code}-{sequence}"), "amount_vnd": super::guide::FEE_VND})
            }
            Act::Stop => json!({"reason": "Không đủ căn cứ giải quyết tiếp (giả lập)"}),
            Act::Resolve => {
                if let (Scenario::Late, Some(due)) = (story.last.scenario, story.due()) {
                    self.want_ahead();
                    self.ahead.subscribe().wait_for(|ahead| *ahead == Ahead::Taken).await?;
                    let late = calendar.after_working_time(due.civil().max(at.civil()), TOO_LATE)?;
                    at = late.try_into()?;
                }
                let paper = self.upload(party, "ket-qua.txt", &format!("KẾT QUẢ GIẢ LẬP {code} {sequence}\n")).await?;
                json!({"results": [{"name": "Kết quả giải quyết (giả lập)", "document": paper}]})
            }
            Act::RecallResult => json!({"reason": "Phát hiện sai sót khi đóng dấu (giả lập)"}),
            Act::ReturnResult => json!({"channel": story.last.matter.return_channel}),
            Act::Extend => {
                let due = story.due().context("nothing to put off")?;
                let new_due: BusinessTime = calendar.after_working_time(due.civil(), EXTENSION)?.try_into()?;
                json!({"reason": "Cần xác minh thêm, xin lỗi công dân (giả lập)", "new_due_at": new_due.to_string()})
            }
            Act::Pause => json!({"cause": "expertise", "reason": "Chờ giám định (giả lập)"}),
            Act::Resume => json!({"cause": "expertise"}),
            Act::Progress => json!({"step": "Thẩm định hồ sơ (giả lập)"}),
        };
        body["type"] = act.as_str().into();
        body["occurred_at"] = at.to_string().into();
        body["expected_sequence"] = story.last.sequence.into();
        Ok(body)
    }

    fn adapter_of(&self, party: &str) -> &Client {
        if party == DEVELOPER { &self.developers } else { &self.simulated }
    }

    async fn upload(&self, party: &str, file_name: &str, text: &str) -> anyhow::Result<Value> {
        let mut headers = headers(party)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let path = format!("/v1/documents?file_name={file_name}");
        let asked = (Method::POST, &*path);
        let text = Bytes::from(text.to_owned());
        let (status, answer) = until_answered(self.adapter_of(party), &self.live, asked, headers, text).await;
        if status != StatusCode::CREATED {
            bail!("a document was not taken: {status} {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Hands a request to the adapter, and waits for what becomes of it, however long the line is down or the adapter busy.
    async fn send(&self, party: &str, key: &str, path: &str, body: &Value) -> anyhow::Result<Outcome> {
        let adapter = self.adapter_of(party);
        let mut with_key = headers(party)?;
        with_key.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        with_key.insert("idempotency-key", key.parse()?);
        let asked = (Method::POST, path);
        let (status, answer) =
            until_answered(adapter, &self.live, asked, with_key, Bytes::from(body.to_string())).await;
        let reason = |problem: &Value| problem["reason"].as_str().unwrap_or("NONE_GIVEN").to_owned();
        match status {
            StatusCode::ACCEPTED => {}
            status if status.is_client_error() => {
                return Ok(Outcome::Refused(reason(&serde_json::from_slice(&answer)?)));
            }
            status => bail!("the adapter answered {status} {}", String::from_utf8_lossy(&answer)),
        }
        loop {
            let path = format!("/v1/requests/{key}?wait_ms={WAIT_MS}");
            let asked = (Method::GET, &*path);
            let (_, answer) = until_answered(adapter, &self.live, asked, headers(party)?, Bytes::new()).await;
            let mut request: Value = serde_json::from_slice(&answer)?;
            match request["state"].as_str() {
                Some("admitted") => return Ok(Outcome::Admitted(request["receipt"].take())),
                Some("refused") => return Ok(Outcome::Refused(reason(&request["problem"]))),
                Some(_) => {}
                None => bail!("the adapter does not know {key}: {request}"),
            }
        }
    }

    pub(super) fn chronicle(&self) -> std::sync::MutexGuard<'_, Chronicle> {
        self.chronicle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn headers(party: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert("lgsp-party", party.parse()?);
    headers.insert("lgsp-actor", HeaderValue::from_static(CLERK));
    Ok(headers)
}

/// Whether the competent authority alone does it.
fn is_the_authoritys(act: Act) -> bool {
    !matches!(act, Act::Submit | Act::ProvideSupplement | Act::Withdraw | Act::ConfirmPayment | Act::ReturnResult)
}

/// What a receipt says of an act.
fn said(story: &Story, party: &str, receipt: &Value) -> anyhow::Result<Happened> {
    let text = |field: &str| receipt[field].as_str().map(str::to_owned);
    Ok(Happened {
        admitted_at: text("admitted_at"),
        sequence: receipt["sequence"].as_u64().and_then(|n| u32::try_from(n).ok()).context("no sequence")?,
        event: text("type").unwrap_or_default(),
        status: text("status").unwrap_or_default(),
        from: party.to_owned(),
        to: story.last.matter.others(party),
        occurred_at: text("occurred_at").context("a receipt without a time")?,
        due_at: text("due_at"),
        ..story.last.clone()
    })
}
