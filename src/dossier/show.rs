//! `lgsp dossier show`: how a dossier stands and everything that happened to it, from a gateway or from a stopped node's
//! data folder. No personal data: that is in the sealed bodies.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::{Dossier, Event, EventKind, GetRequest, ListQueriesRequest, PauseCause, QueryOnRecord};
use serde_json::{Value, json};

use super::{stored, views};
use crate::failure::Failure;
use crate::fsck::NodeKeyFile;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Look-ups that are shown with a dossier; `lgsp query list` has them all.
const LOOK_UPS: u32 = 50;

/// Shows a dossier.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The dossier's code, or one of its aliases.
    code: String,
    /// Read a stopped node's data folder instead of asking a gateway.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    node_key: NodeKeyFile,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// A dossier with its events, in order.
pub(crate) struct Standing {
    pub(crate) dossier: Dossier,
    pub(crate) events: Vec<Event>,
    /// Whether what was said was erased for good.
    pub(crate) erased: bool,
    /// What was looked up for it, the newest first, as far as the asking party may know; never from a stopped node's folder.
    pub(crate) look_ups: Vec<QueryOnRecord>,
    /// Whether there are more of them.
    pub(crate) more_look_ups: bool,
}

impl Show {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let standing = match &self.data {
            Some(dir) => stored::read(dir, &self.node_key.of(dir), &self.code, lang)?,
            None => crate::block_on(self.ask_gateway())?,
        };
        let json = || {
            let event = |event| {
                let mut event = views::event(event);
                // As the adapters' REST interface has it: nothing where nothing was erased.
                if standing.erased {
                    event["erased"] = true.into();
                }
                event
            };
            let events = standing.events.iter().map(event).collect::<Value>();
            let mut shown = json!({ "dossier": views::dossier(&standing.dossier), "events": events });
            if !standing.look_ups.is_empty() {
                shown["look_ups"] = standing.look_ups.iter().map(crate::query::json_of).collect();
                shown["more_look_ups"] = standing.more_look_ups.into();
            }
            shown
        };
        self.output.print(json, || text(&standing, lang))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Asks the gateway, until it has told every event.
    async fn ask_gateway(&self) -> anyhow::Result<Standing> {
        let (profile, link) = self.connection.open()?;
        let (mut events, mut erased): (Vec<Event>, _) = (Vec::new(), false);
        loop {
            let request = GetRequest {
                acting_party: profile.acting_party.to_string(),
                actor: profile.actor.to_string(),
                dossier_code: self.code.clone(),
                with_bodies: false,
                after_sequence: events.last().map_or(0, |event| event.sequence),
            };
            let answer = link.dossiers().get(link.request(request, None)).await.map_err(CallError::from_status);
            let answer = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
            let dossier = answer.dossier.context("the gateway answered without the dossier")?;
            let known = events.len();
            erased |= answer.events.iter().any(|recorded| recorded.erased);
            events.extend(answer.events.into_iter().filter_map(|recorded| recorded.event));
            let last = events.last().map_or(0, |event| event.sequence);
            if last >= dossier.sequence || events.len() == known {
                let request = ListQueriesRequest {
                    acting_party: profile.acting_party.to_string(),
                    actor: profile.actor.to_string(),
                    dossier_code: dossier.code.clone(),
                    page_size: LOOK_UPS,
                    page_token: String::new(),
                };
                let page = link.queries().list(link.request(request, None)).await.map_err(CallError::from_status);
                let page = page.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
                let more_look_ups = !page.next_page_token.is_empty();
                return Ok(Standing { dossier, events, erased, look_ups: page.queries, more_look_ups });
            }
        }
    }
}

/// How it stands, for people.
pub(crate) fn text(standing: &Standing, lang: Lang) -> String {
    let Standing { dossier, events, erased, look_ups, .. } = standing;
    let mut table = Table::new(match lang {
        Lang::Vi => ["#", "Lúc", "Sự kiện", "Cơ quan", "Cán bộ", "Trạng thái"],
        Lang::En => ["#", "When", "Event", "Party", "Actor", "Status"],
    });
    for event in events {
        table.row([
            event.sequence.to_string(),
            moment::short(event.occurred_at.as_ref(), lang),
            lang.event_kind(EventKind::try_from(event.kind).unwrap_or_default()).to_owned(),
            event.party.clone(),
            event.actor.clone(),
            lang.status(event.status),
        ]);
    }
    let gone = lang.pick("Nội dung đã bị xoá vĩnh viễn.\n", "The content was erased for good.\n");
    let looked_up = if look_ups.is_empty() { String::new() } else { looked_up(standing, lang) };
    format!("{}{}\n{table}{looked_up}", facts(dossier, lang), if *erased { gone } else { "" })
}

/// What was looked up for it; what was told then, `lgsp query show` has.
fn looked_up(standing: &Standing, lang: Lang) -> String {
    let mut table = Table::new(match lang {
        Lang::Vi => {
            ["Tra cứu lúc", "Dịch vụ", "Mục đích", "Cán bộ", "Các trường", "Kết quả", "SHA-256", "Mã lượt khai thác"]
        }
        Lang::En => ["Looked up", "Service", "Purpose", "Clerk", "Fields", "Outcome", "SHA-256", "Query"],
    });
    for query in &standing.look_ups {
        let service = query.service.clone().unwrap_or_default();
        table.row([
            moment::short(query.asked_at.as_ref(), lang),
            format!("{}/{}", service.name, service.version),
            query.purpose.clone(),
            query.actor.clone(),
            query.fields.join(", "),
            crate::query::outcome(query).to_owned(),
            HEXLOWER.encode(&query.reply_sha256),
            HEXLOWER.encode(&query.query_id),
        ]);
    }
    let more = match standing.more_look_ups {
        true => {
            lang.pick("Còn nữa: lgsp query list --dossier ", "There are more: lgsp query list --dossier ").to_owned()
                + &standing.dossier.code
                + "\n"
        }
        false => String::new(),
    };
    format!("\n{table}{more}")
}

fn facts(dossier: &Dossier, lang: Lang) -> Table {
    let time = |time: Option<&prost_types::Timestamp>| moment::short(time, lang);
    let clock = dossier.clock.clone().unwrap_or_default();
    let territory = lang.pick(" (phi địa giới)", " (non-territorial)");
    let late = if clock.late { lang.pick(" QUÁ HẠN", " LATE") } else { "" };
    let moved = clock.due_at.is_some() && clock.due_at != clock.original_due_at;
    let extended = if clock.extended { lang.pick(" (đã gia hạn)", " (extended)") } else { "" };
    // An extension moves the date the citizen is told, not the one that being on time is measured against.
    let (late_by_due, late_by_promise) = if clock.extended { ("", late) } else { (late, "") };
    let due = match &clock.due_at {
        Some(due) => time(Some(due)) + extended + late_by_due,
        None => lang.pick("không quy định", "no published limit").to_owned(),
    };
    let pauses =
        clock.pauses.iter().map(|pause| format!("{} {}", cause(pause.cause(), lang), time(pause.from.as_ref())));
    Table::of_pairs([
        (lang.pick("Mã hồ sơ", "Dossier"), dossier.code.clone()),
        (lang.pick("Mã khác", "Aliases"), dossier.aliases.join(", ")),
        (
            lang.pick("Thủ tục", "Procedure"),
            [&*dossier.procedure_code, &*dossier.case_code].join(" ").trim_end().to_owned(),
        ),
        (lang.pick("Địa bàn", "Locality"), dossier.locality.clone()),
        (lang.pick("Trạng thái", "Status"), lang.status(dossier.status)),
        (lang.pick("Điểm đại lý", "Support point"), dossier.support_point.clone()),
        (lang.pick("Nơi tiếp nhận", "Intake desk"), dossier.intake_desk.clone()),
        (
            lang.pick("Cơ quan giải quyết", "Authority"),
            dossier.competent_authority.clone() + if dossier.non_territorial { territory } else { "" },
        ),
        (lang.pick("Theo quy tắc", "By the rule"), dossier.route_rule.clone()),
        (lang.pick("Nơi trả kết quả", "Return desk"), dossier.return_desk.clone()),
        (lang.pick("Nhận lúc", "Received"), time(dossier.received_at.as_ref())),
        (lang.pick("Ngày hẹn trả", "Due"), due),
        (
            lang.pick("Đúng hạn đến", "On time until"),
            if clock.extended { time(clock.promised_at.as_ref()) + late_by_promise } else { String::new() },
        ),
        (
            lang.pick("Hẹn ban đầu", "First promised"),
            if moved { time(clock.original_due_at.as_ref()) } else { String::new() },
        ),
        (lang.pick("Đang tạm dừng", "Clock stopped for"), pauses.collect::<Vec<_>>().join(", ")),
        (lang.pick("Hạn bổ sung", "Supplement until"), time(dossier.supplement_until.as_ref())),
        (lang.pick("Có kết quả lúc", "Resolved"), time(dossier.resolved_at.as_ref())),
        (lang.pick("Trả kết quả lúc", "Returned"), time(dossier.returned_at.as_ref())),
        (
            lang.pick("Tài liệu", "Documents"),
            if dossier.documents.is_empty() { String::new() } else { dossier.documents.len().to_string() },
        ),
    ])
}

fn cause(cause: PauseCause, lang: Lang) -> &'static str {
    match cause {
        PauseCause::Unspecified => lang.pick("(chưa rõ)", "(unknown)"),
        PauseCause::Supplement => lang.pick("bổ sung hồ sơ", "supplement"),
        PauseCause::FinancialObligation => lang.pick("nghĩa vụ tài chính", "fee"),
        PauseCause::PaperTransit => lang.pick("luân chuyển hồ sơ giấy", "paper in transit"),
        PauseCause::Expertise => lang.pick("giám định, thẩm định", "expertise"),
        PauseCause::PublicNotice => lang.pick("niêm yết công khai", "public notice"),
        PauseCause::OtherAgency => lang.pick("lấy ý kiến cơ quan khác", "another agency"),
    }
}
