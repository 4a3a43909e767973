//! `lgsp inbox`: what waits for a person: parked dossiers, and what an installation that is gone had taken over.

mod handle;
mod list;
mod release;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lgsp_adapters::link::{CallError, Link, Profile};
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::{DeclineKind, EventKind, ParkedDossier, ParkedRequest, ParkedResponse};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::table::Table;

const EXAMPLES: &str = "\
A dossier is parked for one party when a delivery to it was refused for good, or failed too often. Its later deliveries to that
party wait with it; everything else flows on. Retry delivers the failed one again, skip counts it as handed over:
  lgsp inbox retry H57.101-250714-0001 --party H57.101 --why 'the agency has repaired its system' --profile operator.toml
  lgsp inbox skip H57.101-250714-0001 --party H57.101 --why 'handed over on paper' --profile operator.toml

Examples:
  lgsp inbox list --profile operator.toml
  lgsp inbox list --party H57.102 --json --profile desk.toml
  lgsp inbox show H57.101-250714-0001 --profile operator.toml
  lgsp inbox release --party H57.102 --system mot-cua-hue --instance old --why DISK_LOST --profile operator.toml";

/// What waits for a person: list, show, retry, skip, release.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Parked dossiers, the longest parked first.
    List(list::List),
    /// One parked dossier, with what was done about it before.
    Show(show::Show),
    /// Deliver a parked dossier's failed delivery again, and the later ones after it.
    Retry(handle::Handle),
    /// Count a parked dossier's failed delivery as handed over, and go on with the next one.
    Skip(handle::Handle),
    /// Deliver again what an installation that does not come back had taken over and not handed over.
    Release(release::Release),
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(list) => crate::block_on(list.run(lang)),
            Action::Show(show) => crate::block_on(show.run(lang)),
            Action::Retry(handle) => crate::block_on(handle.run(handle::Action::Retry, lang)),
            Action::Skip(handle) => crate::block_on(handle.run(handle::Action::Skip, lang)),
            Action::Release(release) => crate::block_on(release.run(lang)),
        }
    }
}

/// Asks the gateway what is parked.
async fn ask(link: &Link, request: ParkedRequest) -> anyhow::Result<ParkedResponse> {
    let answer = link.inbox().parked(link.request(request, None)).await.map_err(CallError::from_status);
    Ok(answer.map_err(|error| Failure::of_link(error, link, None))?.into_inner())
}

/// A question in the name of the profile's party, about these parties.
fn question(profile: &Profile, parties: &[PartyId]) -> ParkedRequest {
    ParkedRequest {
        acting_party: profile.acting_party.to_string(),
        actor: profile.actor.to_string(),
        parties: parties.iter().map(ToString::to_string).collect(),
        ..ParkedRequest::default()
    }
}

/// Parked dossiers for people.
fn table(parked: &[ParkedDossier], lang: Lang) -> Table {
    let mut table = Table::new(match lang {
        Lang::Vi => ["Cơ quan", "Mã hồ sơ", "#", "Sự kiện", "Lý do", "", "Số lần", "Dừng lúc", "Đang chờ"],
        Lang::En => ["Party", "Dossier", "#", "Event", "Reason", "", "Tries", "Parked", "Waiting"],
    });
    for one in parked {
        let named = one.r#ref.clone().unwrap_or_default();
        table.row([
            named.party,
            named.dossier_code,
            named.sequence.to_string(),
            lang.event_kind(one.kind()).to_owned(),
            one.reason.clone(),
            kind(one.decline_kind(), lang).to_owned(),
            one.attempts.to_string(),
            moment::short(one.parked_at.as_ref(), lang),
            one.waiting.to_string(),
        ]);
    }
    table
}

fn kind(kind: DeclineKind, lang: Lang) -> &'static str {
    match kind {
        DeclineKind::Permanent => lang.pick("từ chối hẳn", "for good"),
        DeclineKind::Transient | DeclineKind::Unspecified => lang.pick("lỗi lặp lại", "too often"),
        DeclineKind::Busy => lang.pick("bận", "busy"),
    }
}

/// A parked dossier for programs.
fn json_of(parked: &ParkedDossier) -> Value {
    let named = parked.r#ref.clone().unwrap_or_default();
    json!({
        "party": named.party,
        "dossier_code": named.dossier_code,
        "sequence": named.sequence,
        "event": word(EventKind::as_str_name(&parked.kind()), "EVENT_KIND_"),
        "reason": parked.reason,
        "kind": word(DeclineKind::as_str_name(&parked.decline_kind()), "DECLINE_KIND_"),
        "attempts": parked.attempts,
        "parked_at": moment::rfc3339(parked.parked_at.as_ref()),
        "waiting": parked.waiting,
        "system": parked.system,
    })
}

/// A word of the wire as programs know it.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase()
}
