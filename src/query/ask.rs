//! `lgsp query ask`: one question, and its answer.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::Proof;
use lgsp_proto::types::{ProcedureCode, RequestKey};
use lgsp_proto::v1::AskRequest;
use lgsp_proto::v1::ask_request::Matter;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Asks a data service.
#[derive(Args, Debug)]
pub(super) struct Ask {
    /// The service, e.g. dan-cu.
    service: String,
    /// The request, a JSON file by the service's schema; standard input for "-".
    file: PathBuf,
    /// Why it is asked; one of the service's purposes.
    #[arg(long, value_name = "PURPOSE")]
    purpose: String,
    /// For which procedure; the dossier's if not given.
    #[arg(long, value_name = "CODE")]
    procedure: Option<ProcedureCode>,
    /// For which dossier.
    #[arg(long, value_name = "CODE", conflicts_with = "intake_key")]
    dossier: Option<String>,
    /// For the dossier that will be handed in under this request key.
    #[arg(long, value_name = "KEY")]
    intake_key: Option<RequestKey>,
    /// Only these fields; all that are granted if not given.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    fields: Vec<String>,
    /// Which version of the service; the newest in force if not given.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    service_version: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Ask {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let payload = self.payload()?;
        let (profile, link) = self.connection.open()?;
        let matter = match (&self.dossier, &self.intake_key) {
            (Some(code), _) => Some(Matter::DossierCode(code.clone())),
            (None, Some(key)) => Some(Matter::IntakeKey(key.to_string())),
            (None, None) => None,
        };
        let question = AskRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            service: self.service.clone(),
            version: self.service_version,
            purpose: self.purpose.clone(),
            procedure_code: self.procedure.as_ref().map(ToString::to_string).unwrap_or_default(),
            matter,
            fields: self.fields.clone(),
            payload: payload.into(),
        };
        let told = link.ask(question, None).await;
        let told = told.map_err(|error| Failure::of_call(error, link.gateway(), None))?;
        let reply: Value = serde_json::from_slice(&told.reply)?;
        let (id, digest) = (HEXLOWER.encode(&told.answer.query_id), HEXLOWER.encode(&told.answer.reply_sha256));
        let json = || {
            json!({
                "query_id": id,
                "answered_at": moment::rfc3339(told.answer.answered_at.as_ref()),
                "fields": told.answer.fields,
                "reply_sha256": digest,
                "signature": if told.proof == Proof::Verified { "verified" } else { "certificate_not_met" },
                "reply": reply,
            })
        };
        self.output.print(json, || {
            let facts = Table::of_pairs([
                (lang.pick("Mã lượt khai thác", "Query"), id.clone()),
                (lang.pick("Trả lời lúc", "Answered"), moment::short(told.answer.answered_at.as_ref(), lang)),
                (lang.pick("Các trường", "Fields"), told.answer.fields.join(", ")),
                ("SHA-256", digest.clone()),
            ]);
            format!("{facts}\n{reply:#}\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn payload(&self) -> anyhow::Result<Vec<u8>> {
        let mut payload = Vec::new();
        let read = match self.file.to_str() {
            Some("-") => std::io::stdin().read_to_end(&mut payload).map(drop),
            _ => std::fs::read(&self.file).map(|read| payload = read),
        };
        read.map_err(|error| Failure::usage(format!("{}: {error}", self.file.display())))?;
        Ok(payload)
    }
}
