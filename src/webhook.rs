//! `lgsp webhook`: what the developer of an agency's system does about its webhooks, at the adapter beside it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::{HeaderMap, Method};
use lgsp_adapters::config::Config;
use lgsp_adapters::webhook::{begin_change, finish_change};
use lgsp_proto::types::{DossierCode, PartyId};
use serde_json::{Value, json};

use crate::failure::{Failure, REFUSED, because};
use crate::lang::Lang;
use crate::local::{Local, refused};
use crate::node::environment;
use crate::output::{Output, print};
use crate::table::Table;

const EXAMPLES: &str = "\
A test event is posted once, signed like any other, to the webhooks of the adapter's configuration and nowhere else. The answer's
status and time are printed, and in words what to mend. It says nothing about any dossier.

To change the secret: `secret --begin` writes a new one above the old one, and every post carries both signatures. Give the new
one, the file's first line, to the agency's system, and then `secret --finish` removes the old one. The running adapter takes up both by itself.

Ends with 3 if any webhook did not take its test event.

Examples:
  lgsp webhook test
  lgsp webhook test --party H57.101 --json
  lgsp webhook list
  lgsp webhook attempts --party H57.101
  lgsp webhook secret --config adapter.toml --begin
  lgsp webhook secret --config adapter.toml --finish";

/// Webhooks, at the adapter: try them, see how they do, change their secret.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Post a test event and say what became of it.
    Test(Test),
    /// How each webhook does: what waits, and since when it fails.
    List(List),
    /// The last posts, the latest first.
    Attempts(Attempts),
    /// Where the secret is, and changing it.
    Secret(Secret),
}

#[derive(Args, Debug)]
struct Test {
    /// One webhook, by its URL.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The webhook of one party.
    #[arg(long, value_name = "PARTY")]
    party: Option<PartyId>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    local: Local,
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    local: Local,
}

#[derive(Args, Debug)]
struct Attempts {
    /// Those to one party only.
    #[arg(long, value_name = "PARTY")]
    party: Option<PartyId>,
    /// Those about one dossier only.
    #[arg(long, value_name = "CODE")]
    dossier: Option<DossierCode>,
    /// At most so many, up to 200.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    most: u8,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    local: Local,
}

#[derive(Args, Debug)]
struct Secret {
    /// The adapter's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Add a new secret above the old one.
    #[arg(long, conflicts_with = "finish")]
    begin: bool,
    /// Remove the old one.
    #[arg(long)]
    finish: bool,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Test(test) => crate::block_on(test.run(lang)),
            Action::List(list) => crate::block_on(list.run(lang)),
            Action::Attempts(attempts) => crate::block_on(attempts.run(lang)),
            Action::Secret(secret) => secret.run(lang),
        }
    }
}

impl Test {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let body = json!({ "url": self.url, "party": self.party.as_ref().map(PartyId::as_str) });
        let answer = match self.local.ask(Method::POST, "/v1/webhooks/test", HeaderMap::new(), body).await? {
            Ok(answer) => answer,
            Err(problem) => return refused(&problem, lang),
        };
        let results = answer["results"].as_array().cloned().unwrap_or_default();
        self.output.print(|| answer.clone(), || results.iter().map(|result| tried(result, lang)).collect())?;
        let all_taken = results.iter().all(|result| result["outcome"] == "taken");
        Ok(if all_taken { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

impl List {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.local.ask(Method::GET, "/v1/webhooks", HeaderMap::new(), Value::Null).await? {
            Ok(answer) => {
                self.output.print(|| answer.clone(), || table(&answer, lang))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problem) => refused(&problem, lang),
        }
    }
}

impl Attempts {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let mut path = format!("/v1/webhooks/attempts?page_size={}", self.most);
        if let Some(party) = &self.party {
            path += &format!("&party={party}");
        }
        if let Some(dossier) = &self.dossier {
            path += &format!("&dossier_code={dossier}");
        }
        match self.local.ask(Method::GET, &path, HeaderMap::new(), Value::Null).await? {
            Ok(answer) => {
                self.output.print(|| answer.clone(), || posts(&answer, lang))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problem) => refused(&problem, lang),
        }
    }
}

impl Secret {
    fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let config = Config::load(&self.config, environment());
        let config = config.map_err(|problems| Failure::usage(problems.to_string()))?;
        let file: &Path = &config.webhook.secret_file;
        let done = if self.begin {
            begin_change(file)
        } else if self.finish {
            finish_change(file)
        } else {
            Ok(())
        };
        done.map_err(|error| Failure::usage(format!("{}: {}", file.display(), because(&error))))?;
        let file = file.display();
        let text = if self.begin {
            let then = format!("lgsp webhook secret --config {} --finish", as_a_word(&self.config));
            lang.pick(
                format!("{file}\n  Đã thêm mã mới ở dòng đầu; thông báo mang cả hai chữ ký.\n  Đưa mã mới cho hệ thống của cơ quan, rồi: {then}\n"),
                format!("{file}\n  A new secret stands in the first line; posts carry both signatures.\n  Give it to the agency's system, then: {then}\n"),
            )
        } else if self.finish {
            lang.pick(format!("{file}\n  Đã bỏ mã cũ.\n"), format!("{file}\n  The old secret is removed.\n"))
        } else {
            format!("{file}\n")
        };
        print(text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A path as a shell takes it for one word.
fn as_a_word(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !path.is_empty() && path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// What became of a trial, for a person.
fn tried(result: &Value, lang: Lang) -> String {
    let message = text(&result[lang.pick("message_vi", "message_en")]);
    let exposed = match result["unencrypted"] == true {
        true => lang.pick(
            "\n  Cảnh báo: gửi qua mạng không mã hoá; dùng https:// và webhook.bundle.",
            "\n  Warning: this leaves the machine unencrypted; use https:// and webhook.bundle.",
        ),
        false => "",
    };
    format!(
        "{} ({}): {}, {} ms\n  {message}{exposed}\n",
        text(&result["url"]),
        parties(result),
        outcome(result),
        result["duration_ms"]
    )
}

fn table(answer: &Value, lang: Lang) -> String {
    let webhooks = answer["webhooks"].as_array().cloned().unwrap_or_default();
    if webhooks.is_empty() {
        return lang.pick("Chưa cấu hình webhook nào.\n", "No webhook is set up.\n").to_owned();
    }
    let mut table = Table::new([
        "URL",
        lang.pick("Cơ quan", "Parties"),
        lang.pick("Đang chờ", "Waiting"),
        lang.pick("Thành công gần nhất", "Last success"),
        lang.pick("Lỗi từ lúc", "Failing since"),
        lang.pick("Lỗi gần nhất", "Last failure"),
        lang.pick("Thử lại lúc", "Next attempt"),
    ]);
    for webhook in &webhooks {
        let failure = &webhook["last_failure"];
        table.row([
            text(&webhook["url"]),
            parties(webhook),
            webhook["waiting"].to_string(),
            text(&webhook["last_success_at"]),
            text(&webhook["failing_since"]),
            if failure.is_null() { String::new() } else { outcome(failure) },
            text(&webhook["next_attempt_at"]),
        ]);
    }
    let problem = text(&answer["secret_problem"]);
    let problem = if problem.is_empty() { problem } else { format!("webhook.secret_file: {problem}\n") };
    format!("{table}{problem}")
}

fn posts(answer: &Value, lang: Lang) -> String {
    let attempts = answer["attempts"].as_array().cloned().unwrap_or_default();
    if attempts.is_empty() {
        return lang.pick("Chưa gửi lần nào từ khi khởi động.\n", "Nothing was posted since the start.\n").to_owned();
    }
    let mut table = Table::new([
        lang.pick("Lúc", "At"),
        "ID",
        lang.pick("Loại", "Type"),
        lang.pick("Lần", "Attempt"),
        lang.pick("Kết quả", "Outcome"),
        "ms",
    ]);
    for attempt in &attempts {
        table.row([
            text(&attempt["at"]),
            text(&attempt["id"]),
            text(&attempt["type"]),
            attempt["attempt"].to_string(),
            outcome(attempt),
            attempt["duration_ms"].to_string(),
        ]);
    }
    table.to_string()
}

fn outcome(result: &Value) -> String {
    match &result["http_status"] {
        Value::Number(status) => format!("HTTP {status}"),
        _ => text(&result["outcome"]),
    }
}

fn parties(webhook: &Value) -> String {
    let names = webhook["parties"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
