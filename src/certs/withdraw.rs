//! `lgsp certs withdraw`: takes back a join token that was not spent.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::v1::WithdrawTokenRequest;
use serde_json::json;

use super::hex;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;

#[derive(Args, Debug)]
pub(super) struct Withdraw {
    /// The token's id, as it was told with the token and as `lgsp certs list` shows it.
    #[arg(value_name = "ID", value_parser = hex::<16>)]
    id: [u8; 16],
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Withdraw {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = WithdrawTokenRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            token_id: self.id.to_vec().into(),
        };
        let answer =
            link.certificates().withdraw_token(link.request(request, None)).await.map_err(CallError::from_status);
        // Saying it again changes nothing, so no answer is answered by asking again.
        let withdrawn = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner();
        let at = withdrawn.withdrawn_at.as_ref();
        let json = || json!({ "withdrawn_at": moment::rfc3339(at), "repeated": withdrawn.repeated });
        let text = || match (withdrawn.repeated, lang) {
            (false, Lang::Vi) => format!("Đã thu hồi mã lúc {}\n", moment::short(at, lang)),
            (false, Lang::En) => format!("Withdrawn at {}\n", moment::short(at, lang)),
            (true, Lang::Vi) => format!("Mã đã được thu hồi từ trước, lúc {}\n", moment::short(at, lang)),
            (true, Lang::En) => format!("It had been withdrawn before, at {}\n", moment::short(at, lang)),
        };
        self.output.print(json, text)?;
        Ok(ExitCode::SUCCESS)
    }
}
