//! `lgsp inbox release`: takes from an installation that does not come back what it had taken over.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::ReleaseRequest;
use serde_json::json;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;

/// Delivers again what an installation had taken over and not handed over. Only for one that does not come back: what it has on
/// its disk it would hand over as well.
#[derive(Args, Debug)]
pub(super) struct Release {
    /// Whose deliveries.
    #[arg(id = "inbox", long = "party", value_name = "PARTY")]
    party: PartyId,
    /// The system that had them, by the name in its certificate.
    #[arg(long, value_name = "SYSTEM")]
    system: String,
    /// Which of its installations.
    #[arg(long, value_name = "NAME", default_value = "main")]
    instance: String,
    /// The ground: a word such as DISK_LOST; no personal data.
    #[arg(long, value_name = "WORD")]
    why: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Release {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = ReleaseRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            party: self.party.to_string(),
            system: self.system.clone(),
            instance: self.instance.clone(),
            why: self.why.clone(),
        };
        let answer = link.inbox().release(link.request(request, None)).await.map_err(CallError::from_status);
        let released = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner().released;
        self.output.print(
            || json!({ "party": self.party.to_string(), "released": released }),
            || format!("{released} {}\n", lang.pick("bản tin được giao lại", "deliveries are owed again")),
        )?;
        Ok(ExitCode::SUCCESS)
    }
}
