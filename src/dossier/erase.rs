//! `lgsp dossier erase`: erases the content of a closed dossier for good, by an operator who names the decision.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::{EraseRequest, EraseResponse};
use serde_json::json;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Erases a dossier's content.
#[derive(Args, Debug)]
pub(super) struct Erase {
    /// The dossier's code, or one of its aliases.
    code: String,
    /// The decision by which it is erased, e.g. QD-123/2026. It stays on record; it must not name a person.
    #[arg(long, value_name = "WORD")]
    ground: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Erase {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = EraseRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            dossier_code: self.code.clone(),
            ground: self.ground.clone(),
        };
        let answer = link.operations().erase(link.request(request, None)).await.map_err(CallError::from_status);
        // Saying it again changes nothing, so no answer is answered by asking again.
        let erased = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
        let json = || {
            json!({
                "dossier_code": erased.dossier_code,
                "erased_at": erased.erased_at.as_ref().map(ToString::to_string),
                "ground": erased.ground,
                "keys_destroyed": erased.keys,
                "repeated": erased.repeated,
            })
        };
        self.output.print(json, || text(&erased, lang))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(erased: &EraseResponse, lang: Lang) -> String {
    let table = Table::of_pairs([
        (lang.pick("Mã hồ sơ", "Dossier"), erased.dossier_code.clone()),
        (lang.pick("Xoá lúc", "Erased at"), moment::short(erased.erased_at.as_ref(), lang)),
        (lang.pick("Căn cứ", "Ground"), erased.ground.clone()),
        (lang.pick("Khoá đã huỷ", "Keys destroyed"), erased.keys.to_string()),
    ]);
    let foot = if erased.repeated {
        lang.pick("Hồ sơ đã được xoá từ trước.", "It had been erased before.")
    } else {
        lang.pick(
            "Nội dung đã bị xoá vĩnh viễn; phong bì và sổ sách vẫn còn.",
            "The content is erased for good; the envelope and the books remain.",
        )
    };
    format!("{table}{foot}\n")
}
