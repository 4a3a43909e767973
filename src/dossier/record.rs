//! `lgsp dossier record`: one thing a party says about an existing dossier.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use lgsp_proto::types::BusinessTime;
use lgsp_proto::v1;
use lgsp_proto::v1::entry::What;
use prost::Message as _;

use super::documents::NamedFile;
use super::send::Sending;
use super::submission::{Words, hand_back};
use crate::lang::Lang;
use crate::moment;

/// Records an entry. Which of the flags a type needs is in its description; the gateway names what is missing.
#[derive(Args, Debug)]
pub(super) struct Record {
    /// The dossier's code, or one of its aliases.
    code: String,
    /// What happened.
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: Kind,
    /// The reason, where the law wants one.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A note.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// What is missing, piece by piece (supplement-requested). May be given several times.
    #[arg(long, value_name = "TEXT")]
    item: Vec<String>,
    /// Until when the citizen may supplement (supplement-requested), or the new due date (extended).
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    until: Option<BusinessTime>,
    /// A fee in đồng (fee-requested): 'Lệ phí=8000'. May be given several times.
    #[arg(long, value_name = "NAME=AMOUNT", value_parser = fee)]
    fee: Vec<v1::Fee>,
    /// The payment's reference at the platform (fee-paid).
    #[arg(long, value_name = "TEXT")]
    payment_reference: Option<String>,
    /// What was paid, in đồng (fee-paid).
    #[arg(long, value_name = "AMOUNT", default_value_t = 0)]
    amount: u64,
    /// A result (resolved) or a paper brought (supplement-provided). Uploaded first. May be given several times.
    #[arg(long, value_name = "[CODE=]FILE")]
    document: Vec<NamedFile>,
    /// The name of a result that has no file (resolved). May be given several times.
    #[arg(long, value_name = "NAME")]
    result: Vec<String>,
    /// How the result went out (returned): direct, post or online.
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Why the clock stops or runs again (paused, resumed).
    #[arg(long, value_enum)]
    cause: Option<Cause>,
    /// The step inside the authority (progressed).
    #[arg(long, value_name = "TEXT")]
    step: Option<String>,
    /// When it happened; now if not given.
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at: Option<BusinessTime>,
    /// Refuse when the dossier has moved on from this event.
    #[arg(long, value_name = "N", default_value_t = 0)]
    expected_sequence: u32,
    #[command(flatten)]
    sending: Sending,
}

/// What may be recorded.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The authority's clerk has received it.
    Accepted,
    /// Refused at reception, form 03; needs --reason.
    Refused,
    /// Form 02; needs --reason and --until.
    SupplementRequested,
    /// The citizen brought what was asked.
    SupplementProvided,
    /// The deadline for supplements has passed.
    SupplementExpired,
    /// The citizen takes it back.
    Withdrawn,
    /// Work has begun.
    ProcessingStarted,
    /// Something is to be paid; needs --fee.
    FeeRequested,
    /// It was paid; needs --payment-reference.
    FeePaid,
    /// Stopped without a result, form 05; needs --reason.
    Stopped,
    /// Decided; needs --document or --result.
    Resolved,
    /// A result is taken back before it was handed out; needs --reason.
    ResultRecalled,
    /// Handed to the citizen; needs --channel.
    Returned,
    /// Form 04; needs --reason and --until.
    Extended,
    /// The clock stops; needs --cause.
    Paused,
    /// The clock runs again; needs --cause.
    Resumed,
    /// A step inside the authority; needs --step.
    Progressed,
}

/// Named causes for which the clock stands still, other than supplement and fee.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Cause {
    PaperTransit,
    Expertise,
    PublicNotice,
    OtherAgency,
}

impl Record {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.sending.connection.open()?;
        let at = self.at.map_or_else(moment::now, Ok)?;
        let mut documents = Vec::new();
        for file in &self.document {
            documents.push((file, file.upload(&link, &profile).await?));
        }
        let mut entry = v1::Entry {
            request_key: String::new(),
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            dossier_code: self.code.clone(),
            expected_sequence: self.expected_sequence,
            occurred_at: Some(moment::wire(at)),
            what: Some(self.what(documents)?),
        };
        let key = self.sending.key(&entry)?;
        entry.request_key = key.to_string();
        let answer = link.record(entry.encode_to_vec().into(), None).await;
        self.sending.finish(answer, &link, format!("--request-key {key} --at {at}"), lang)
    }

    fn what(&self, documents: Vec<(&NamedFile, v1::DocumentRef)>) -> anyhow::Result<What> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (reason, note) = (text(&self.reason), text(&self.note));
        let until = self.until.map(moment::wire);
        let cause = self.cause.map_or(0, |cause| cause.number() as i32);
        let named = documents.into_iter().map(|(file, document)| (file.code.clone(), file.name(), Some(document)));
        Ok(match self.kind {
            Kind::Accepted => What::Accepted(v1::Accepted { note }),
            Kind::Refused => What::Refused(v1::Refused { reason }),
            Kind::SupplementRequested => {
                What::SupplementRequested(v1::SupplementRequested { reason, items: self.item.clone(), until })
            }
            Kind::SupplementProvided => {
                let component =
                    |(code, name, document)| v1::Component { code, name, document, originals: 0, copies: 1 };
                What::SupplementProvided(v1::SupplementProvided { components: named.map(component).collect(), note })
            }
            Kind::SupplementExpired => What::SupplementExpired(v1::SupplementExpired { reason }),
            Kind::Withdrawn => What::Withdrawn(v1::Withdrawn { reason }),
            Kind::ProcessingStarted => What::ProcessingStarted(v1::ProcessingStarted { note }),
            Kind::FeeRequested => What::FeeRequested(v1::FeeRequested { fees: self.fee.clone() }),
            Kind::FeePaid => {
                What::FeePaid(v1::FeePaid { payment_reference: text(&self.payment_reference), amount_vnd: self.amount })
            }
            Kind::Stopped => What::Stopped(v1::Stopped { reason }),
            Kind::Resolved => {
                let attached = named.map(|(code, name, document)| v1::Result { code, name, document });
                let bare = self.result.iter().map(|name| v1::Result { name: name.clone(), ..v1::Result::default() });
                What::Resolved(v1::Resolved { results: attached.chain(bare).collect(), note })
            }
            Kind::ResultRecalled => What::ResultRecalled(v1::ResultRecalled { reason }),
            Kind::Returned => {
                let mut words = Words::default();
                let channel = words.read("--channel", self.channel.as_deref(), hand_back);
                words.finish(What::Returned(v1::Returned { channel, note }))?
            }
            Kind::Extended => What::Extended(v1::Extended { reason, new_due_at: until }),
            Kind::Paused => What::Paused(v1::Paused { cause, reason }),
            Kind::Resumed => What::Resumed(v1::Resumed { cause }),
            Kind::Progressed => What::Progressed(v1::Progressed { step: text(&self.step), unit: String::new(), note }),
        })
    }
}

impl Cause {
    fn number(self) -> v1::PauseCause {
        match self {
            Self::PaperTransit => v1::PauseCause::PaperTransit,
            Self::Expertise => v1::PauseCause::Expertise,
            Self::PublicNotice => v1::PauseCause::PublicNotice,
            Self::OtherAgency => v1::PauseCause::OtherAgency,
        }
    }
}

fn fee(text: &str) -> Result<v1::Fee, String> {
    let (name, amount) = text.rsplit_once('=').ok_or("is not of the form NAME=AMOUNT")?;
    let amount_vnd = amount.parse().map_err(|_| format!("{amount:?} is not an amount in whole đồng"))?;
    Ok(v1::Fee { code: String::new(), name: name.to_owned(), amount_vnd })
}
