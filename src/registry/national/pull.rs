//! `lgsp registry national pull`: the whole catalogue over the bus, as a party that may call the two services.
//!
//! What was fetched is kept line by line, so a pull that stops goes on where it was. An entry whose line in the list has not changed since
//! the last snapshot is not asked for again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lgsp_adapters::link::{CallError, Link, Profile};
use lgsp_domain::registry::national::{Detail, Listed, National, Snapshot};
use lgsp_proto::Reason;
use lgsp_proto::types::ProcedureCode;
use lgsp_proto::v1::AskRequest;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::folder::{self, Unfinished};
use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

const LIST: &str = "thu-tuc-danh-sach";
const ONE: &str = "thu-tuc-chi-tiet";

/// So often a question is put before it counts as unanswered.
const TRIES: u32 = 6;

/// The first wait before another try; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// So long in all a question waits where it is told when to come again, as by a service that is left alone after it failed: for some
/// twenty trials of it. Then the pull ends, and goes on another time.
const PATIENCE: Duration = Duration::from_secs(120);

/// The longest of these waits, whatever was told; the shortest is [`FIRST_WAIT`].
const WAIT_MOST: Duration = Duration::from_secs(10);

/// With so many entries that the service fails for, it is the service and not the entries.
const FAILED_MOST: usize = 50;

/// Fetches the catalogue.
#[derive(Args, Debug)]
pub(super) struct Pull {
    /// The folder of snapshots; made if need be.
    #[arg(long, value_name = "DIR", default_value = "national")]
    out: PathBuf,
    /// Why it is asked; one of the services' purposes.
    #[arg(long, value_name = "PURPOSE", default_value = "dong-bo-danh-muc")]
    purpose: String,
    /// Questions under way at one time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    at_once: u16,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// A page of the list.
#[derive(Deserialize)]
struct Page {
    list: String,
    total: usize,
    procedures: Vec<Listed>,
}

/// Whoever asks.
#[derive(Clone)]
struct Asking {
    link: Link,
    profile: Profile,
    purpose: String,
    lang: Lang,
}

/// What became of one entry.
enum Fetched {
    Detail(Box<Detail>),
    LeftOut(National),
}

impl Pull {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        std::fs::create_dir_all(&self.out).map_err(|error| Failure::of_file(&self.out, &error))?;
        let before = folder::newest(&self.out)?;
        let (profile, link) = self.connection.open()?;
        let asking = Asking { link, profile, purpose: self.purpose.clone(), lang };
        let listed = asking.list().await?;
        let count = listed.len();
        let (wanted, mut left_out) = sorted(listed);

        let (mut unfinished, fetched) = Unfinished::open(&self.out)?;
        let mut have: BTreeMap<String, Detail> = BTreeMap::new();
        if let Some((_, snapshot)) = before {
            have.extend(snapshot.procedures.into_iter().map(|detail| (detail.code.clone(), detail)));
        }
        have.extend(fetched);
        let is_there = |listed: &Listed| have.get(&listed.code).is_some_and(|detail| listed.is_of(detail));
        let (there, missing): (Vec<Listed>, Vec<Listed>) = wanted.into_iter().partition(is_there);
        let mut procedures: Vec<Detail> = there.iter().filter_map(|listed| have.remove(&listed.code)).collect();
        let (known, asked) = (procedures.len(), missing.len());

        let mut failed = 0;
        let mut missing = missing.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < usize::from(self.at_once) {
                let Some(listed) = missing.next() else { break };
                let asking = asking.clone();
                under_way.spawn(async move { asking.one(listed).await });
            }
            let Some(done) = under_way.join_next().await else { break };
            match done?? {
                Fetched::Detail(detail) => {
                    unfinished.add(&detail)?;
                    procedures.push(*detail);
                }
                Fetched::LeftOut(one) => {
                    failed += 1;
                    left_out.push(one);
                }
            }
            if failed > FAILED_MOST {
                anyhow::bail!(lang.pick(
                    "dịch vụ không trả lời được quá nhiều thủ tục; đã giữ phần tải được, hãy chạy lại sau",
                    "the service fails for too many procedures; what was fetched is kept, run it again later",
                ));
            }
            told(procedures.len() - known + failed, asked, lang);
        }
        let snapshot = Snapshot::of(count, procedures, left_out);
        let current = folder::keep(&self.out, &snapshot)?;
        unfinished.finish()?;

        let json = || {
            json!({
                "file": current.file, "sha256": current.sha256, "decision": current.decision, "date": current.date,
                "listed": count, "procedures": snapshot.procedures.len(), "asked": asked, "kept": known,
                "left_out": left_out_json(&snapshot.left_out),
            })
        };
        self.output.print(json, || {
            let file = self.out.join(&current.file).display().to_string();
            let facts = Table::of_pairs([
                (lang.pick("Bản chụp", "Snapshot"), file),
                ("SHA-256", current.sha256.clone()),
                (lang.pick("Quyết định mới nhất", "Newest decision"), format!("{} {}", current.decision, current.date)),
                (lang.pick("Trong danh mục", "In the list"), count.to_string()),
                (lang.pick("Thủ tục", "Procedures"), snapshot.procedures.len().to_string()),
                (lang.pick("Hỏi lần này", "Asked now"), asked.to_string()),
                (lang.pick("Để ngoài", "Left out"), snapshot.left_out.len().to_string()),
            ]);
            let lines = snapshot
                .left_out
                .iter()
                .map(|one| format!("  {}: {}\n", one.code, lang.pick(&one.why_vi, &one.why_en)));
            format!("{facts}{}", lines.collect::<String>())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Asking {
    /// Every page of one list. If it changes between two pages, it begins anew.
    async fn list(&self) -> anyhow::Result<Vec<Listed>> {
        let (mut entries, mut list): (Vec<Listed>, String) = (Vec::new(), String::new());
        loop {
            let request = if list.is_empty() { json!({}) } else { json!({ "from": entries.len(), "list": list }) };
            let page: Page = self.ask(LIST, &request).await?;
            if page.list != list && !entries.is_empty() {
                (entries, list) = (Vec::new(), String::new());
                continue;
            }
            list = page.list;
            let more = !page.procedures.is_empty();
            entries.extend(page.procedures);
            if entries.len() >= page.total {
                return Ok(entries);
            }
            anyhow::ensure!(
                more,
                self.lang.pick("danh mục ngắn hơn tổng số công bố", "the list is shorter than it says")
            );
        }
    }

    async fn one(self, listed: Listed) -> anyhow::Result<Fetched> {
        let left = |vi: &str, en: &str| {
            Fetched::LeftOut(National { code: listed.code.clone(), why_vi: vi.to_owned(), why_en: en.to_owned() })
        };
        let version = format!("{} {} {}", listed.decision, listed.decided, listed.state);
        let asked: anyhow::Result<Detail> = self.ask(ONE, &json!({ "code": listed.code, "version": version })).await;
        let mut detail = match asked {
            Ok(detail) => detail,
            Err(error) => {
                return match error.downcast_ref::<Failure>() {
                    Some(failure) if reason(failure) == Some(Reason::SubjectNotFound) => Ok(left(
                        "có trong danh mục nhưng không có chi tiết",
                        "is listed, and there is nothing behind it",
                    )),
                    Some(failure) if reason(failure) == Some(Reason::ServiceFailed) => Ok(left(
                        "cơ sở dữ liệu quốc gia trả lời không dùng được",
                        "the national database's answer is of no use",
                    )),
                    _ => Err(error),
                };
            }
        };
        // What the entry does not repeat is as the list has it.
        for (here, there) in [
            (&mut detail.decision, &listed.decision),
            (&mut detail.decided, &listed.decided),
            (&mut detail.state, &listed.state),
        ] {
            if here.is_empty() {
                here.clone_from(there);
            }
        }
        Ok(if listed.is_of(&detail) {
            Fetched::Detail(Box::new(detail))
        } else {
            left("thay đổi trong lúc tải; hãy tải lại", "changed while it was fetched; pull again")
        })
    }

    /// The answer of a service; put again, later, as long as nobody knows or the other side is not able to. Where the gateway says when
    /// to come again nobody was asked, so that is waited for and counts as no try.
    async fn ask<T: DeserializeOwned>(&self, service: &str, payload: &Value) -> anyhow::Result<T> {
        let mut wait = FIRST_WAIT;
        let mut tries = 0;
        let mut waited = Duration::ZERO;
        loop {
            let question = AskRequest {
                acting_party: self.profile.acting_party.to_string(),
                actor: self.profile.actor.to_string(),
                service: service.to_owned(),
                purpose: self.purpose.clone(),
                payload: payload.to_string().into(),
                ..AskRequest::default()
            };
            let error = match self.link.ask(question, None).await {
                Ok(told) => return Ok(serde_json::from_slice(&told.reply)?),
                Err(error) => error,
            };
            if let Some((reason, after)) = come_again(&error)
                && waited < PATIENCE
            {
                let after = after.clamp(FIRST_WAIT, WAIT_MOST);
                waited += after;
                waits(reason, after, self.lang);
                tokio::time::sleep(after).await;
                continue;
            }
            tries += 1;
            if tries >= TRIES || waited >= PATIENCE || !may_pass(&error) {
                return Err(Failure::of_call(error, self.link.gateway(), None));
            }
            // A question changes nothing: put again it costs the other side some work and nobody anything else.
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }
}

/// Why and for how long a question is to wait that was not passed on, where that was told.
fn come_again(error: &CallError) -> Option<(Reason, Duration)> {
    match error {
        CallError::Refused(refused) | CallError::NotNow(refused) => {
            let refusal = refused.refusal()?;
            Some((refusal.reason(), refusal.retry_after()?))
        }
        CallError::Unknown(_) | CallError::Receipt(_) | CallError::Body(_) => None,
    }
}

/// Whether the same question may be answered later.
fn may_pass(error: &CallError) -> bool {
    match error {
        CallError::Refused(refused) | CallError::NotNow(refused) => {
            let reason = refused.refusal().map(lgsp_proto::Refusal::reason);
            reason.is_some_and(|reason| reason.is_transient() || reason == Reason::ServiceFailed)
        }
        CallError::Unknown(_) => true,
        CallError::Receipt(_) | CallError::Body(_) => false,
    }
}

fn reason(failure: &Failure) -> Option<Reason> {
    match failure {
        Failure::Refused(refused) => refused.refusal().map(lgsp_proto::Refusal::reason),
        _ => None,
    }
}

/// The entries to ask for, each code once, and those that are none.
fn sorted(listed: Vec<Listed>) -> (Vec<Listed>, Vec<National>) {
    let mut left_out = Vec::new();
    let mut wanted: BTreeMap<String, Listed> = BTreeMap::new();
    for one in listed {
        let well_formed = one.code.parse::<ProcedureCode>().is_ok_and(|code| code.as_str() == one.code);
        if !well_formed {
            let why_vi = "không đúng dạng mã thủ tục quốc gia".to_owned();
            let why_en = "is no code of the national procedure database".to_owned();
            left_out.push(National { code: one.code, why_vi, why_en });
            continue;
        }
        // Listed twice, the newer decision counts.
        match wanted.get(&one.code) {
            Some(there) if (&there.decided, &there.decision) >= (&one.decided, &one.decision) => {}
            _ => _ = wanted.insert(one.code.clone(), one),
        }
    }
    (wanted.into_values().collect(), left_out)
}

fn left_out_json(left_out: &[National]) -> Value {
    left_out.iter().map(|one| json!({ "code": one.code, "why_vi": one.why_vi, "why_en": one.why_en })).collect()
}

/// Progress, where somebody looks.
fn told(done: usize, of: usize, lang: Lang) {
    use std::io::IsTerminal as _;
    if !std::io::stderr().is_terminal() {
        return;
    }
    if done == of {
        eprint!("\r\x1b[K");
    } else {
        eprint!("\r\x1b[K{} {done}/{of}", lang.pick("Đã tải", "Fetched"));
    }
}

/// That it goes on by itself, where somebody looks.
fn waits(reason: Reason, after: Duration, lang: Lang) {
    use std::io::IsTerminal as _;
    if std::io::stderr().is_terminal() {
        let seconds = after.as_millis().div_ceil(1000);
        let words = lang.pick("hỏi lại sau (giây):", "asked again in (seconds):");
        eprint!("\r\x1b[K{reason}, {words} {seconds}");
    }
}
