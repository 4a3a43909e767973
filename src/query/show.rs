//! `lgsp query show`: one earlier question with its snapshot.

use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::LookRequest;
use serde_json::Value;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Shows what was asked and told at the time. For the party that asked, and the authority of the dossier; others who may know of it see it
/// without content.
#[derive(Args, Debug)]
pub(super) struct Show {
    /// The query, in hexadecimal digits.
    #[arg(value_parser = id)]
    query: [u8; 16],
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Show {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = LookRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            query_id: self.query.to_vec().into(),
        };
        let answer = link.queries().look(link.request(request, None)).await.map_err(CallError::from_status);
        let answer = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner();
        let document = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
        let (asked, told) = (document(&answer.payload), document(&answer.reply));
        let query = answer.query.unwrap_or_default();
        let json = || {
            let mut shown = super::json_of(&query);
            shown["erased"] = answer.erased.into();
            shown["payload"] = asked.clone();
            shown["reply"] = told.clone();
            shown
        };
        self.output.print(json, || {
            let service = query.service.clone().unwrap_or_default();
            let facts = Table::of_pairs([
                (lang.pick("Dịch vụ", "Service"), format!("{}/{}", service.name, service.version)),
                (lang.pick("Mục đích", "Purpose"), query.purpose.clone()),
                (lang.pick("Thủ tục", "Procedure"), query.procedure_code.clone()),
                (lang.pick("Hồ sơ", "Dossier"), query.dossier_code.clone()),
                (lang.pick("Cơ quan", "Party"), query.acting_party.clone()),
                (lang.pick("Cán bộ", "Clerk"), query.actor.clone()),
                (lang.pick("Hỏi lúc", "Asked"), moment::short(query.asked_at.as_ref(), lang)),
                (lang.pick("Kết quả", "Outcome"), super::outcome(&query).to_owned()),
                (lang.pick("Các trường", "Fields"), query.fields.join(", ")),
                ("SHA-256", HEXLOWER.encode(&query.reply_sha256)),
            ]);
            let left = match (answer.erased, &asked, &told) {
                (true, _, _) => lang.pick("Nội dung đã bị xoá.", "The content was erased.").to_owned(),
                (false, Value::Null, Value::Null) => String::new(),
                (false, asked, Value::Null) => format!("{asked:#}"),
                (false, asked, told) => format!("{asked:#}\n\n{told:#}"),
            };
            format!("{facts}\n{left}\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn id(text: &str) -> Result<[u8; 16], String> {
    let bytes = HEXLOWER.decode(text.to_lowercase().as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| "is not 32 hexadecimal digits".to_owned())
}
