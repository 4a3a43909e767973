//! `lgsp adapter portal`: how far the national portal is behind, and what it has beside what it should have, at the adapter that tells it.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::{HeaderMap, Method};
use lgsp_proto::types::BusinessTime;
use serde_json::{Value, json};

use crate::failure::{NO_ANSWER, REFUSED, UNEXPECTED};
use crate::lang::Lang;
use crate::local::{Local, refused};
use crate::moment;
use crate::output::Output;
use crate::table::Table;

const EXAMPLES: &str = "\
reconcile compares the dossiers received in a period, by codes and times only. It ends with 0 when both sides are the same, with 1 when
they differ, also if --repair has sent again what is missing or different: run it once more to see that nothing is left. The adapter
does the work, and goes on if this command is ended; the same command again joins it.

Examples:
  lgsp adapter portal status
  lgsp adapter portal reconcile --from 2025-07-14 --to 2025-07-15
  lgsp adapter portal reconcile --from 2025-07-01 --to 2025-08-01 --repair --json";

/// The national portal, at the adapter that keeps dossiers in step there.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// How far the portal is behind, what failed and why.
    Status(Status),
    /// What the portal has beside what it should have.
    Reconcile(Reconcile),
}

#[derive(Args, Debug)]
struct Status {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    local: Local,
}

#[derive(Args, Debug)]
struct Reconcile {
    /// The first moment of reception, or a day.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    from: BusinessTime,
    /// The moment after the last one; a day is not in it.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    to: BusinessTime,
    /// Send again what is missing or different.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    local: Local,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Status(status) => crate::block_on(status.run(lang)),
            Action::Reconcile(reconcile) => crate::block_on(reconcile.run(lang)),
        }
    }
}

impl Status {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.local.ask(Method::GET, "/v1/portal", HeaderMap::new(), Value::Null).await? {
            Ok(answer) => {
                self.output.print(|| answer.clone(), || status(&answer, lang))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problem) if is_no_portal(&problem) => Ok(no_portal(lang)),
            Err(problem) => refused(&problem, lang),
        }
    }
}

/// Whether the adapter says that it has no such path, which is so where it tells no portal.
fn is_no_portal(problem: &Value) -> bool {
    problem["reason"] == "RESOURCE_NOT_FOUND"
}

/// Says that this is the wrong adapter, or one whose configuration lacks the portal.
fn no_portal(lang: Lang) -> ExitCode {
    eprintln!(
        "{}",
        lang.pick(
            "Bộ kết nối này không có phần [portal] trong cấu hình.\n  Cần làm: Chạy lệnh trong thư mục có adapter.toml của bộ kết nối báo cho cổng, \
             hoặc nêu bộ kết nối đó bằng --adapter và --token-file.",
            "This adapter has no [portal] in its configuration.\n  What to do: Run the command in the folder of the adapter.toml that has it, \
             or name that adapter with --adapter and --token-file.",
        )
    );
    ExitCode::from(REFUSED)
}

impl Reconcile {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let answer = match self.compared(lang).await? {
            Ok(answer) => answer,
            Err(ended) => return Ok(ended),
        };
        self.output.print(|| answer.clone(), || differences(&answer, lang))?;
        let differ = answer["differences"].as_array().is_some_and(|differences| !differences.is_empty());
        Ok(match answer["trouble"].is_string() {
            true => ExitCode::from(NO_ANSWER),
            false if differ => ExitCode::from(UNEXPECTED),
            false => ExitCode::SUCCESS,
        })
    }

    /// Has both sides compared and waits for the end, however long that takes. The adapter answers each question in a moment.
    async fn compared(&self, lang: Lang) -> anyhow::Result<Result<Value, ExitCode>> {
        const PATH: &str = "/v1/portal/reconcile";
        let body = json!({
            "received_from": self.from.to_string(), "received_to": self.to.to_string(), "repair": self.repair,
        });
        let line = Line { watched: std::io::stderr().is_terminal() };
        let mut standing = match self.local.ask(Method::POST, PATH, HeaderMap::new(), body).await? {
            Ok(standing) => standing,
            // Whoever reads the general text would look at the gateway.
            Err(problem) if problem["reason"] == "OVERLOADED" => {
                eprintln!(
                    "{}",
                    lang.pick(
                        "Bộ kết nối đang đối chiếu một khoảng khác với cổng; hãy chạy lại khi xong.",
                        "The adapter is comparing another period with the portal; run this again when that is over.",
                    )
                );
                return Ok(Err(ExitCode::from(REFUSED)));
            }
            Err(problem) if is_no_portal(&problem) => return Ok(Err(no_portal(lang))),
            Err(problem) => return refused(&problem, lang).map(Err),
        };
        let begun = standing["started_at"].clone();
        while standing["running"] == true {
            line.show(&progress(&standing, lang));
            standing = match self.local.ask(Method::GET, PATH, HeaderMap::new(), Value::Null).await? {
                Ok(standing) if standing["started_at"] == begun => standing,
                Err(problem) if problem["reason"] != "RESOURCE_NOT_FOUND" => return refused(&problem, lang).map(Err),
                _ => {
                    drop(line);
                    eprintln!(
                        "{}",
                        lang.pick(
                            "Lần đối chiếu này không còn: bộ kết nối đã khởi động lại, hoặc có lần khác bắt đầu sau khi nó xong. Hãy chạy lại lệnh.",
                            "This comparison is gone: the adapter was started anew, or another one began after its end. Run the command again.",
                        )
                    );
                    return Ok(Err(ExitCode::from(NO_ANSWER)));
                }
            };
        }
        Ok(Ok(standing["report"].take()))
    }
}

/// A line of standard error that says how far it is, for who watches; nothing is left of it at the end.
struct Line {
    watched: bool,
}

impl Line {
    fn show(&self, words: &str) {
        if self.watched {
            eprint!("\r\x1b[K{words}");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.show("");
    }
}

fn progress(standing: &Value, lang: Lang) -> String {
    let [portals, looked_at, ours] =
        ["portal_dossiers", "looked_at", "gateway_dossiers"].map(|name| standing[name].as_u64());
    match (portals.unwrap_or_default(), looked_at.unwrap_or_default(), ours) {
        (portals, _, None) => lang.pick(
            format!("Đang đọc danh sách: {portals} hồ sơ ở cổng"),
            format!("Reading the lists: {portals} dossiers at the portal"),
        ),
        (_, looked_at, Some(ours)) => {
            lang.pick(format!("Đã xem {looked_at}/{ours} hồ sơ"), format!("{looked_at}/{ours} dossiers looked at"))
        }
    }
}

fn status(answer: &Value, lang: Lang) -> String {
    let failures = answer["failures"].as_object().into_iter().flatten();
    let failures: Vec<_> = failures.map(|(reason, times)| format!("{reason} {times}")).collect();
    let mut shown = Table::of_pairs([
        (lang.pick("Chậm (giây)", "Behind (seconds)"), answer["age_seconds"].to_string()),
        (lang.pick("Sự kiện chờ lâu nhất từ", "Oldest event not there since"), text(&answer["oldest_admitted_at"])),
        (lang.pick("Thành công gần nhất", "Last success"), text(&answer["last_success_at"])),
        (lang.pick("Đã báo từ khi khởi động", "Told since the start"), answer["told"].to_string()),
        (lang.pick("Lỗi theo lý do", "Failures by reason"), failures.join(", ")),
    ])
    .to_string();
    for trouble in answer["troubles"].as_array().into_iter().flatten() {
        shown += &format!("{}\n  {}\n", text(&trouble["trouble"]), text(&trouble[lang.pick("problem_vi", "problem")]));
    }
    let dossiers = answer["dossiers"].as_array().cloned().unwrap_or_default();
    if dossiers.is_empty() {
        return shown;
    }
    let mut table = Table::new([
        lang.pick("Hồ sơ", "Dossier"),
        lang.pick("Lý do", "Reason"),
        lang.pick("Từ lúc", "Since"),
        lang.pick("Số lần", "Times"),
    ]);
    for dossier in &dossiers {
        let cells = ["dossier_code", "trouble", "since"].map(|name| text(&dossier[name]));
        table.row(cells.into_iter().chain([dossier["times"].to_string()]));
    }
    shown + &table.to_string()
}

fn differences(answer: &Value, lang: Lang) -> String {
    let differences = answer["differences"].as_array().cloned().unwrap_or_default();
    let said = lang.pick(
        format!(
            "Đã so {} hồ sơ: {} khác biệt, {} đã gửi lại; {} đang trên đường, {} đã xoá nội dung.\n",
            answer["compared"],
            differences.len(),
            answer["repaired"],
            answer["under_way"],
            answer["erased"]
        ),
        format!(
            "{} dossiers compared: {} differences, {} sent again; {} under way, {} with their content erased.\n",
            answer["compared"],
            differences.len(),
            answer["repaired"],
            answer["under_way"],
            answer["erased"]
        ),
    );
    let said = match answer["trouble"].as_str() {
        Some(trouble) => {
            let broke_off =
                lang.pick("Chưa xong: đây chỉ là phần đã so.", "Not finished: this is what was found until then.");
            format!("{trouble}\n  {}\n{said}{broke_off}\n", text(&answer[lang.pick("problem_vi", "problem")]))
        }
        None => said,
    };
    if differences.is_empty() {
        return said;
    }
    let mut table = Table::new([
        lang.pick("Hồ sơ", "Dossier"),
        lang.pick("Khác biệt", "Difference"),
        lang.pick("Trường", "Field"),
        lang.pick("Ở trục", "Ours"),
        lang.pick("Ở cổng", "Portal"),
        lang.pick("Đã gửi lại", "Sent again"),
    ]);
    for difference in &differences {
        let (code, what) = (text(&difference["dossier_code"]), text(&difference["what"]));
        let sent = match difference["repaired"] == true {
            true => lang.pick("có", "yes").to_owned(),
            false => text(&difference["trouble"]),
        };
        let fields = difference["fields"].as_array().cloned().unwrap_or_default();
        if fields.is_empty() {
            table.row([code, what, String::new(), String::new(), String::new(), sent]);
            continue;
        }
        for field in &fields {
            let [name, ours, portal] = ["field", "ours", "portal"].map(|name| text(&field[name]));
            table.row([code.clone(), what.clone(), name, ours, portal, sent.clone()]);
        }
    }
    format!("{said}{table}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_compared_is_told_and_what_was_found_before_it_broke_off_too() {
        let mut report = json!({ "compared": 0, "under_way": 0, "erased": 7, "differences": [], "repaired": 0 });
        let said = differences(&report, Lang::En);
        assert_eq!(
            said,
            "0 dossiers compared: 0 differences, 0 sent again; 0 under way, 7 with their content erased.\n"
        );
        report["trouble"] = "PORTAL_NO_DOSSIER".into();
        report["differences"] = json!([{ "dossier_code": "H57-1", "what": "missing", "repaired": true }]);
        let said = differences(&report, Lang::En);
        assert!(said.starts_with("PORTAL_NO_DOSSIER\n") && said.contains("Not finished"), "{said}");
        assert!(said.contains("7 with their content erased"), "{said}");
        assert!(said.contains("H57-1"), "a repair that was made is told: {said}");
    }

    #[test]
    fn progress_says_what_is_known_so_far() {
        let reading = json!({ "portal_dossiers": 300, "looked_at": 0 });
        assert_eq!(progress(&reading, Lang::En), "Reading the lists: 300 dossiers at the portal");
        let comparing = json!({ "portal_dossiers": 300, "gateway_dossiers": 310, "looked_at": 12 });
        assert_eq!(progress(&comparing, Lang::En), "12/310 dossiers looked at");
    }
}
