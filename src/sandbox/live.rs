//! What the developer sees as it happens: a line for each event, and for what they have to know beside. For people in their
//! language, in colour on a terminal; with `--json` a document a line, for programs.

use std::io::IsTerminal as _;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use lgsp_proto::types::BusinessTime;
use lgsp_proto::v1;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::scenario::Scenario;
use super::story::Happened;
use crate::lang::Lang;
use crate::output::print;

/// Two dates differ when nobody would call them the same moment.
const APART_SECONDS: u64 = 60;

/// Where the lines go.
#[derive(Clone)]
pub(super) struct Live {
    lang: Lang,
    json: bool,
    colour: bool,
    /// Cancelled when nobody reads any more.
    stop: CancellationToken,
}

/// How a line strikes the eye.
#[derive(Clone, Copy)]
enum Tone {
    Plain,
    Good,
    Attention,
    Bad,
    Faint,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Attention => "33",
            Self::Bad => "31",
            Self::Faint => "2",
        }
    }
}

impl Live {
    pub(super) fn new(lang: Lang, json: bool, stop: CancellationToken) -> Self {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { lang, json, colour, stop }
    }

    pub(super) fn lang(&self) -> Lang {
        self.lang
    }

    /// Everything runs: `page` for people, `facts` for programs.
    pub(super) fn ready(&self, page: &str, facts: Value) {
        if self.json { self.document("ready", facts) } else { self.write(page) }
    }

    /// Something happened to a dossier.
    pub(super) fn happened(&self, happened: &Happened) {
        if self.json {
            return self.document("event", serde_json::to_value(happened).unwrap_or_default());
        }
        let lang = self.lang;
        let kind = v1::EventKind::from_str_name(&format!("EVENT_KIND_{}", happened.event.to_uppercase()));
        let kind = kind.map_or(happened.event.as_str(), |kind| lang.event_kind(kind));
        let status = happened.status().map_or_else(
            || happened.status.clone(),
            |status| format!("{} {}", status.number(), lang.pick(status.vietnamese(), status.english())),
        );
        let mut line = format!(
            "{}  {}  {kind}  {} → {}  [{status}]",
            clock(happened.admitted_at.as_deref()),
            happened.dossier_code,
            happened.from,
            happened.to.join(", "),
        );
        if let Some(due) = happened.due_at.as_deref().and_then(|due| due.parse::<BusinessTime>().ok()) {
            line.push_str(&format!("  {} {}", lang.pick("hẹn trả", "due"), day(due)));
        }
        if let Some(dated) = dated_elsewhere(happened) {
            line.push_str(&format!("  {} {}", lang.pick("ghi ngày", "dated"), day(dated)));
        }
        line.push_str(&format!("  ({})", happened.scenario.word()));
        let tone = match happened.event.as_str() {
            "refused" | "stopped" | "supplement_expired" | "withdrawn" => Tone::Bad,
            "supplement_requested" | "fee_requested" | "extended" | "paused" | "result_recalled" => Tone::Attention,
            "resolved" | "returned" => Tone::Good,
            _ => Tone::Plain,
        };
        self.line(tone, &line);
    }

    /// It is the developer's turn, and how they would take it.
    pub(super) fn your_turn(&self, code: &str, scenario: Scenario, event: &str, command: &str) {
        if self.json {
            let facts = json!({"dossier_code": code, "event": event, "scenario": scenario, "command": command});
            return self.document("your_turn", facts);
        }
        let text = self.lang.pick(
            format!("{}  {code}  đến lượt bạn: {event}  ({})", now(), scenario.word()),
            format!("{}  {code}  your turn: {event}  ({})", now(), scenario.word()),
        );
        self.line(Tone::Attention, &text);
        self.write(&format!("  {command}\n"));
    }

    /// A post to the developer's webhook that was not taken, and why.
    pub(super) fn webhook_failed(&self, url: &str, event: &str, dossier: Option<&str>, why: &str) {
        if self.json {
            return self
                .document("webhook_failed", json!({"url": url, "event": event, "dossier_code": dossier, "why": why}));
        }
        let dossier = dossier.unwrap_or("-");
        let again = self.lang.pick("sẽ gửi lại", "it comes again");
        self.line(Tone::Bad, &format!("{}  {dossier}  webhook {url}: {event}: {why}; {again}", now()));
    }

    /// The bus has refused a request of the developer's: why, what to do, and where all of it can be read.
    pub(super) fn refused(&self, key: &str, reason: &str, what: &str, remedy: &str) {
        if self.json {
            let facts = json!({"request_key": key, "reason": reason, "message": what, "remedy": remedy});
            return self.document("refused", facts);
        }
        let says = self.lang.pick("bị từ chối", "refused");
        self.line(Tone::Bad, &format!("{}  {key}  {says}: {reason}: {what} {remedy}", now()));
    }

    /// Something about the sandbox itself; `what` is its stable word.
    pub(super) fn note(&self, what: &str, vi: impl Into<String>, en: impl Into<String>) {
        let (vi, en) = (vi.into(), en.into());
        if self.json {
            return self.document("note", json!({"what": what, "message": self.lang.pick(vi, en)}));
        }
        self.line(Tone::Faint, &format!("{}  · {}", now(), self.lang.pick(vi, en)));
    }

    fn document(&self, kind: &str, mut facts: Value) {
        facts["type"] = kind.into();
        self.write(&format!("{facts}\n"));
    }

    fn line(&self, tone: Tone, text: &str) {
        // What others wrote into a name must not steer the terminal.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match self.colour {
            true => self.write(&format!("\u{1b}[{}m{text}\u{1b}[0m\n", tone.code())),
            false => self.write(&format!("{text}\n")),
        }
    }

    fn write(&self, text: &str) {
        // Nobody reads any more: there is nobody to play for.
        if print(text).is_err() {
            self.stop.cancel();
        }
    }
}

/// The date of an event that lies elsewhere than its admission: dated ahead, or handed in later.
fn dated_elsewhere(happened: &Happened) -> Option<BusinessTime> {
    let dated: BusinessTime = happened.occurred_at.parse().ok()?;
    let admitted: Timestamp = happened.admitted_at.as_deref()?.parse().ok()?;
    (dated.unix_seconds().abs_diff(admitted.as_second()) > APART_SECONDS).then_some(dated)
}

fn day(time: BusinessTime) -> String {
    time.civil().strftime("%d/%m/%Y %H:%M").to_string()
}

/// The time of day of a moment, in Vietnam's legal time.
fn clock(moment: Option<&str>) -> String {
    moment.and_then(|moment| moment.parse::<Timestamp>().ok()).map_or_else(now, time_of_day)
}

fn now() -> String {
    time_of_day(Timestamp::now())
}

fn time_of_day(moment: Timestamp) -> String {
    moment.to_zoned(TimeZone::fixed(Offset::constant(7))).strftime("%H:%M:%S").to_string()
}
