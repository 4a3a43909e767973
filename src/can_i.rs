//! `lgsp can-i`: whether something would be allowed, by what, or what is missing and whom to ask.

use std::process::ExitCode;

use clap::Args;
use lgsp_adapters::link::CallError;
use lgsp_proto::types::PartyId;
use lgsp_proto::v1::{CanIRequest, CanIResponse, CanIStep};
use serde_json::{Value, json};

use crate::failure::{Failure, REFUSED};
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;

const EXAMPLES: &str = "\
Examples:
  lgsp can-i submit --procedure 1.001193 --profile desk.toml
  lgsp can-i decide --dossier H57.101-250714-0001 --profile desk.toml
  lgsp can-i --party H57.101 --profile desk.toml
  lgsp can-i submit --system mot-cua-hue --party H57.101 --profile operator.toml
  lgsp can-i call --service dan-cu-037 --purpose doi-chieu --fields ho-ten,ngay-sinh --profile desk.toml --json

Rights: submit, decide, hand-out, payment, post, support, subscribe, registry, operate, audit, certify, call; without one it is
asked whether the system acts for the party. Exit code 0 when it is allowed, 3 when it is not.";

/// Ask whether something would be allowed: by what, or what is missing and whom to ask for it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Command {
    /// What: a right as grants.toml names it.
    right: Option<String>,
    /// For this procedure.
    #[arg(long, value_name = "CODE", conflicts_with = "dossier")]
    procedure: Option<String>,
    /// With this dossier, by code or alias; it stands for its procedure.
    #[arg(long, value_name = "CODE")]
    dossier: Option<String>,
    /// The party that wants to; the profile's if not given.
    #[arg(id = "about", long = "party", value_name = "PARTY")]
    party: Option<PartyId>,
    /// The system that acts for it; the certificate's if not given.
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    /// For the right call: the data service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// For the right call: why.
    #[arg(long, value_name = "NAME")]
    purpose: Option<String>,
    /// For the right call: the fields, all that are granted if not given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    fields: Vec<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Command {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        crate::block_on(self.ask(lang))
    }

    async fn ask(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let request = CanIRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            system: self.system.unwrap_or_default(),
            party: self.party.map_or_else(String::new, |party| party.to_string()),
            right: self.right.unwrap_or_default(),
            procedure_code: self.procedure.unwrap_or_default(),
            dossier_code: self.dossier.unwrap_or_default(),
            service: self.service.unwrap_or_default(),
            purpose: self.purpose.unwrap_or_default(),
            fields: self.fields,
        };
        let answer = link.registry().can_i(link.request(request, None)).await.map_err(CallError::from_status);
        let answer = answer.map_err(|error| Failure::of_call(error, link.gateway(), None))?.into_inner();
        self.output.print(|| json_of(&answer), || text(&answer, lang))?;
        Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
    }
}

fn text(answer: &CanIResponse, lang: Lang) -> String {
    let said = if answer.allowed {
        lang.pick("Được phép", "Allowed")
    } else {
        lang.pick("Không được phép", "Not allowed")
    };
    let version = answer.registry_version;
    let head = lang
        .pick(format!("{said} (sổ đăng ký phiên bản {version})\n"), format!("{said} (registry version {version})\n"));
    let line = |step: &CanIStep| {
        let sentence = lang.pick(&step.message_vi, &step.message_en);
        if step.met {
            format!("  + {sentence}\n    {}\n", step.by)
        } else {
            let ask = match step.owner.as_str() {
                "" => String::new(),
                owner => {
                    let name = &step.owner_name;
                    lang.pick(format!("; hỏi {name} ({owner})"), format!("; ask {name} ({owner})"))
                }
            };
            let explained = format!("{}: {}", lang.explained_by(), lgsp_proto::explain::page(&step.reason));
            format!("  - {sentence}\n    {}{ask}\n    {explained}\n", step.reason)
        }
    };
    head + &answer.steps.iter().map(line).collect::<String>()
}

fn json_of(answer: &CanIResponse) -> Value {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let step = |step: &CanIStep| {
        json!({
            "condition": step.condition, "met": step.met, "by": some(&step.by), "reason": some(&step.reason),
            "owner": some(&step.owner), "owner_name": some(&step.owner_name),
            "message_vi": step.message_vi, "message_en": step.message_en,
            "explain": some(&step.reason).map(|reason| lgsp_proto::explain::page(&reason)),
        })
    };
    json!({
        "allowed": answer.allowed,
        "registry_version": answer.registry_version,
        "steps": answer.steps.iter().map(step).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_met_names_the_command_that_explains_it() {
        let missing = CanIStep { reason: "GRANT_MISSING".into(), ..CanIStep::default() };
        let answer = CanIResponse { steps: vec![missing], ..CanIResponse::default() };
        assert!(text(&answer, Lang::En).contains("\n    Explained by: lgsp explain GRANT_MISSING\n"));
        assert_eq!(json_of(&answer)["steps"][0]["explain"], "lgsp explain GRANT_MISSING");
    }
}
