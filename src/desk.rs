//! `lgsp desk`: what a clerk of a one-stop desk does at the adapter beside their system.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use lgsp_proto::types::{ActorId, PartyId, RequestKey};
use serde_json::{Value, json};

use crate::lang::Lang;
use crate::local::{Local, refused};
use crate::output::{Output, print};
use crate::table::Table;

const EXAMPLES: &str = "\
A code that was given out while the line was down, and whose dossier the gateway refused later, stays used. It stands in this
list until somebody says what became of it: the citizen was told, or the dossier was handed in anew under another key.

Examples:
  lgsp desk exceptions list --as H57.101
  lgsp desk exceptions list --as H57.101 --handled --json
  lgsp desk exceptions handle ho-so-1 --as H57.101 --actor cb01 --note 'đã báo công dân' --replaced-by ho-so-1b";

/// A desk's own affairs, at the adapter: what was given out without a line in vain.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Codes given out without a line whose intake was refused later.
    Exceptions {
        #[command(subcommand)]
        action: Exceptions,
    },
}

#[derive(Debug, Subcommand)]
enum Exceptions {
    /// What has to be worked off, the earliest refusal first.
    List(List),
    /// Say what became of one.
    Handle(Box<Handle>),
}

/// At which adapter, for which desk.
#[derive(Args, Debug)]
struct AtDesk {
    #[command(flatten)]
    local: Local,
    /// The desk, e.g. H57.101.
    #[arg(long = "as", value_name = "PARTY", env = "LGSP_PARTY")]
    party: PartyId,
}

#[derive(Args, Debug)]
struct List {
    /// Those worked off too, as long as they are kept.
    #[arg(long)]
    handled: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    desk: AtDesk,
}

#[derive(Args, Debug)]
struct Handle {
    /// The request key of the refused intake.
    key: RequestKey,
    /// What was done.
    #[arg(long, value_name = "TEXT")]
    note: String,
    /// The request that took its place, if one did.
    #[arg(long, value_name = "KEY")]
    replaced_by: Option<RequestKey>,
    /// The clerk's account; never a person's name.
    #[arg(long, value_name = "ID", env = "LGSP_ACTOR")]
    actor: ActorId,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    desk: AtDesk,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let Action::Exceptions { action } = self.action;
        crate::block_on(async move {
            match action {
                Exceptions::List(list) => list.run(lang).await,
                Exceptions::Handle(handle) => handle.run(lang).await,
            }
        })
    }
}

impl List {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let mut exceptions = Vec::new();
        let mut page = String::new();
        loop {
            let path = format!("/v1/exceptions?page_size=200&handled={}{page}", self.handled);
            let mut answer = match self.desk.ask(Method::GET, &path, None, Value::Null).await? {
                Ok(answer) => answer,
                Err(problem) => return refused(&problem, lang),
            };
            if let Some(Value::Array(some)) = answer.get_mut("exceptions").map(Value::take) {
                exceptions.extend(some);
            }
            match answer["next_page_token"].as_str() {
                Some(token) => page = format!("&page_token={token}"),
                None => break,
            }
        }
        let count = exceptions.len();
        self.output.print(|| json!({ "exceptions": exceptions }), || table(&exceptions, lang))?;
        if count > 0 && !self.output.json && !self.handled {
            let text = lang.pick(
                format!("{count} trường hợp cần xử lý: lgsp desk exceptions handle KHOÁ --note …\n"),
                format!("{count} to work off: lgsp desk exceptions handle KEY --note …\n"),
            );
            print(text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Handle {
    async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let body = json!({
            "actor": self.actor.as_str(),
            "note": self.note,
            "replaced_by_request_key": self.replaced_by.as_ref().map(RequestKey::as_str),
        });
        // A colon is all that a key may hold and a path may not.
        let key = self.key.as_str().replace(':', "%3A");
        let path = format!("/v1/exceptions/{key}/handled");
        match self.desk.ask(Method::POST, &path, Some(&self.actor), body).await? {
            Ok(exception) => {
                let done = lang.pick("Đã ghi nhận xử lý", "Noted as worked off");
                self.output.print(|| exception.clone(), || format!("{done}: {}\n", number(&exception)))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(problem) => refused(&problem, lang),
        }
    }
}

impl AtDesk {
    /// The adapter's answer, or its refusal.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        actor: Option<&ActorId>,
        body: Value,
    ) -> anyhow::Result<Result<Value, Value>> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| HeaderValue::from_str(text).context("a header");
        headers.insert(HeaderName::from_static("lgsp-party"), value(self.party.as_str())?);
        if let Some(actor) = actor {
            headers.insert(HeaderName::from_static("lgsp-actor"), value(actor.as_str())?);
        }
        self.local.ask(method, path, headers, body).await
    }
}

fn table(exceptions: &[Value], lang: Lang) -> String {
    if exceptions.is_empty() {
        return lang.pick("Không có trường hợp nào cần xử lý.\n", "Nothing to work off.\n").to_owned();
    }
    let mut table = Table::new([
        lang.pick("Số đã cấp", "Number given"),
        lang.pick("Khoá yêu cầu", "Request key"),
        lang.pick("Cơ quan", "Authority"),
        lang.pick("Tiếp nhận lúc", "Received"),
        lang.pick("Lý do từ chối", "Refused for"),
        lang.pick("Đã xử lý", "Worked off"),
    ]);
    for exception in exceptions {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let handled = &exception["handled"];
        let by = [text(&handled["actor"]), text(&handled["note"])].join(" ");
        table.row([
            number(exception),
            text(&exception["request_key"]),
            text(&exception["competent_authority"]),
            text(&exception["received_at"]),
            text(&exception["problem"]["reason"]),
            by.trim().to_owned(),
        ]);
    }
    table.to_string()
}

/// The code, or the provisional number.
fn number(exception: &Value) -> String {
    let given = exception["dossier_code"].as_str().or(exception["provisional_number"].as_str());
    given.unwrap_or_default().to_owned()
}
