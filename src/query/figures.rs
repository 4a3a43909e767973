//! `lgsp query figures`: how often was asked, and how many dossiers there were.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use lgsp_adapters::link::CallError;
use lgsp_proto::types::Date;
use lgsp_proto::v1::{FigureLine, FiguresBy, FiguresRequest};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

const EXAMPLES: &str = "\
Many questions for few dossiers are a clerk who looks where there is nothing to look for; dossiers without questions are a desk that does
not look. What was refused before a service was asked is not counted.

Examples:
  lgsp query figures --profile operator.toml
  lgsp query figures --by party --from 2025-07-01 --to 2025-07-31 --profile operator.toml
  lgsp query figures --own-services --by clerk --json --profile owner.toml";

/// Adds up questions and dossiers: of all for operators and auditors, else of the profile's party.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Figures {
    /// What is added up.
    #[arg(long, value_name = "WHAT", default_value = "clerk")]
    by: By,
    /// From this day on; the 30 days up to the last if not given. At most 100 days.
    #[arg(long, value_name = "DAY", requires = "to")]
    from: Option<Date>,
    /// Up to this day; today if not given.
    #[arg(long, value_name = "DAY")]
    to: Option<Date>,
    /// Of the services that the profile's party owns, whoever asked.
    #[arg(long)]
    own_services: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Clerk,
    Party,
    Procedure,
    Service,
    Day,
}

impl Figures {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let day = |day: Option<Date>| day.map(|day| day.to_string()).unwrap_or_default();
        let by = match self.by {
            By::Clerk => FiguresBy::Clerk,
            By::Party => FiguresBy::Party,
            By::Procedure => FiguresBy::Procedure,
            By::Service => FiguresBy::Service,
            By::Day => FiguresBy::Day,
        };
        let request = FiguresRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            by: by.into(),
            from_day: day(self.from),
            to_day: day(self.to),
            of_own_services: self.own_services,
        };
        let answer = link.queries().figures(link.request(request, None)).await.map_err(CallError::from_status);
        let told = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner();
        let lines = told.lines.iter().map(json_of);
        let json = || json!({ "from": told.from_day, "to": told.to_day, "lines": lines.collect::<Value>() });
        self.output.print(json, || {
            if told.lines.is_empty() {
                let none = lang.pick("Không có lượt khai thác, không có hồ sơ", "No questions, and no dossiers");
                return format!("{none} ({} – {})\n", told.from_day, told.to_day);
            }
            self.table(&told.lines, lang).to_string()
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn table(&self, lines: &[FigureLine], lang: Lang) -> Table {
        let names: &[&str] = match self.by {
            By::Clerk => &[lang.pick("Cơ quan", "Party"), lang.pick("Cán bộ", "Clerk")],
            By::Party => &[lang.pick("Cơ quan", "Party")],
            By::Procedure => &[lang.pick("Thủ tục", "Procedure")],
            By::Service => &[lang.pick("Dịch vụ", "Service")],
            By::Day => &[lang.pick("Ngày", "Day")],
        };
        let counts = match lang {
            Lang::Vi => ["Lượt hỏi", "Có trả lời", "Từ chối", "Lỗi", "Không rõ", "Hồ sơ", "Lượt/hồ sơ"],
            Lang::En => ["Questions", "Answered", "Refused", "Failed", "Unknown", "Dossiers", "Per dossier"],
        };
        let mut table = Table::new(names.iter().chain(&counts).copied());
        for line in lines {
            let others = || lang.pick("(còn lại)", "(others)").to_owned();
            let name = |text: &str| match (line.others, text) {
                (true, "") => others(),
                (false, "") => "–".to_owned(),
                (_, text) => text.to_owned(),
            };
            let names = match self.by {
                By::Clerk => vec![name(&line.party), name(&line.clerk)],
                By::Party => vec![name(&line.party)],
                By::Procedure => vec![name(&line.procedure_code)],
                By::Service => vec![name(&line.service)],
                By::Day => vec![name(&line.day)],
            };
            let counts =
                [questions(line), line.answered, line.refused, line.failed, line.unknown].map(|n| n.to_string());
            let dossiers = line.dossiers.map_or_else(|| "–".to_owned(), |dossiers| dossiers.to_string());
            let ratio = per_dossier(line).map_or_else(|| "–".to_owned(), |ratio| decimal(ratio, lang));
            table.row(names.into_iter().chain(counts).chain([dossiers, ratio]));
        }
        table
    }
}

fn questions(line: &FigureLine) -> u64 {
    line.answered + line.refused + line.failed + line.unknown
}

/// Questions for each dossier; nothing where there is none, or it is not told.
fn per_dossier(line: &FigureLine) -> Option<f64> {
    let dossiers = line.dossiers.filter(|dossiers| *dossiers > 0)?;
    Some((questions(line) as f64 / dossiers as f64 * 100.0).round() / 100.0)
}

fn decimal(ratio: f64, lang: Lang) -> String {
    let text = format!("{ratio:.2}");
    if lang == Lang::Vi { text.replace('.', ",") } else { text }
}

fn json_of(line: &FigureLine) -> Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    json!({
        "party": some(&line.party),
        "clerk": some(&line.clerk),
        "procedure_code": some(&line.procedure_code),
        "service": some(&line.service),
        "day": some(&line.day),
        "questions": questions(line),
        "answered": line.answered,
        "refused": line.refused,
        "failed": line.failed,
        "unknown": line.unknown,
        "dossiers": line.dossiers,
        "per_dossier": per_dossier(line),
        "others": line.others,
    })
}
