//! `lgsp inbox retry` and `skip`: what a person decides about a parked dossier. The gateway records who and why.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::{HandleParkedRequest, ParkedActionKind, ParkedRequest};
use lgsp_proto::{Reason, Refusal};
use serde_json::json;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Retry,
    Skip,
}

/// Decides about a parked dossier.
#[derive(Args, Debug)]
pub(super) struct Handle {
    /// The dossier's code, or one of its aliases.
    code: String,
    /// The party it is parked for.
    #[arg(id = "inbox", long = "party", value_name = "PARTY")]
    party: PartyId,
    /// Why; 1 to 500 characters, kept sealed with the dossier.
    #[arg(long, value_name = "TEXT")]
    why: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Handle {
    pub(super) async fn run(self, action: Action, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let question = super::question(&profile, std::slice::from_ref(&self.party));
        let answer = super::ask(&link, ParkedRequest { dossier_code: self.code.clone(), ..question }).await?;
        let Some(parked) = answer.dossiers.into_iter().next() else {
            let refusal = Refusal::new(Reason::ParkedNotFound).detail("dossier_code", &self.code);
            let refused = CallError::from_status(refusal.detail("party", &self.party).to_status());
            return Err(Failure::of_link(refused, &link, None));
        };
        let named = parked.r#ref.context("the gateway answered without the delivery's name")?;
        let (kind, done) = match action {
            Action::Retry => (ParkedActionKind::Retry, lang.pick("Giao lại", "Delivered again")),
            Action::Skip => (ParkedActionKind::Skip, lang.pick("Đã bỏ qua", "Skipped")),
        };
        let request = HandleParkedRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            r#ref: Some(named.clone()),
            action: kind.into(),
            why: self.why.clone(),
        };
        let answer = link.inbox().handle_parked(link.request(request, None)).await.map_err(CallError::from_status);
        let waiting = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner().waiting;
        let json = || {
            let action = super::word(kind.as_str_name(), "PARKED_ACTION_KIND_");
            json!({
                "party": named.party, "dossier_code": named.dossier_code, "sequence": named.sequence, "action": action,
                "waiting": waiting,
            })
        };
        self.output.print(json, || {
            let flow = lang.pick("bản tin đang chờ giao", "deliveries flow again");
            format!("{done}: {} #{} → {}; {waiting} {flow}\n", named.dossier_code, named.sequence, named.party)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
