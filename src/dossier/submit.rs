//! `lgsp dossier submit`: hands in a dossier described by a file, by flags, or by a file with flags on top.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lgsp_proto::v1;
use prost::Message as _;

use super::documents::NamedFile;
use super::send::Sending;
use super::submission::SubmissionFile;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;

/// Hands in a dossier.
#[derive(Args, Debug)]
pub(super) struct Submit {
    /// A JSON file, as an adapter takes it at POST /v1/dossiers. A flag given as well wins over it.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// National procedure code, e.g. 1.001193.
    #[arg(long, value_name = "CODE")]
    procedure: Option<String>,
    /// The case of the procedure, where it has several.
    #[arg(long, value_name = "CASE")]
    case: Option<String>,
    /// The unit the matter belongs to: five digits of a commune, or two of a province.
    #[arg(long, value_name = "UNIT")]
    locality: Option<String>,
    /// The citizen's full name.
    #[arg(long, value_name = "NAME")]
    applicant: Option<String>,
    /// The citizen's 12-digit personal number, or the 9 digits of an old card.
    #[arg(long, value_name = "DIGITS")]
    number: Option<String>,
    /// The citizen's date of birth, yyyy-mm-dd.
    #[arg(long, value_name = "DATE")]
    born: Option<String>,
    /// How it came in: direct, online or postal; direct if not given.
    #[arg(long, value_name = "CHANNEL")]
    intake: Option<String>,
    /// How the result goes out: direct, post or online; direct if not given.
    #[arg(long = "return", value_name = "CHANNEL")]
    hand_back: Option<String>,
    /// The desk where the citizen wants the result; the intake desk if not given.
    #[arg(long, value_name = "PARTY")]
    return_desk: Option<String>,
    /// The agent point that helped to file.
    #[arg(long, value_name = "PARTY")]
    support_point: Option<String>,
    /// What it is about, in a line.
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    /// When the desk received it, RFC 3339; now if neither this nor the file says.
    #[arg(long, value_name = "TIME")]
    received_at: Option<String>,
    /// A paper to attach, with the code of the component it is: to-khai=form.pdf. Uploaded first. May be given several times.
    #[arg(long, value_name = "[CODE=]FILE")]
    document: Vec<NamedFile>,
    #[command(flatten)]
    sending: Sending,
}

impl Submit {
    pub(super) async fn run(mut self, lang: Lang) -> anyhow::Result<ExitCode> {
        self.described_at_all()?;
        let file = self.file.as_deref().map(SubmissionFile::read).transpose()?.unwrap_or_default();
        let described = self.described(file)?;
        let received_at = described.received_at.clone().unwrap_or_default();

        let (profile, link) = self.sending.connection.open()?;
        let mut submission = described.into_message(&profile)?;
        for file in &self.document {
            let document = Some(file.upload(&link, &profile).await?);
            let component =
                v1::Component { code: file.code.clone(), name: file.name(), document, originals: 0, copies: 1 };
            submission.components.push(component);
        }
        let key = self.sending.key(&submission)?;
        submission.request_key = key.to_string();
        let answer = link.submit(submission.encode_to_vec().into(), None).await;
        self.sending.finish(answer, &link, format!("--request-key {key} --received-at {received_at}"), lang)
    }

    /// Without a file there is no dossier without these; what else a procedure needs, the gateway knows.
    fn described_at_all(&self) -> anyhow::Result<()> {
        let needed =
            [("--procedure", &self.procedure), ("--locality", &self.locality), ("--applicant", &self.applicant)];
        let missing: Vec<_> = needed.iter().filter(|(_, given)| given.is_none()).map(|(flag, _)| *flag).collect();
        if self.file.is_some() || missing.is_empty() {
            return Ok(());
        }
        let missing = missing.join(", ");
        Err(Failure::usage(format!(
            "missing: {missing}. Describe the dossier by these flags, or by --file; `lgsp dossier --help` has examples"
        )))
    }

    /// The file with the flags on top of it.
    fn described(&mut self, mut file: SubmissionFile) -> anyhow::Result<SubmissionFile> {
        let on_top =
            |place: &mut String, flag: &mut Option<String>| *place = flag.take().unwrap_or(std::mem::take(place));
        on_top(&mut file.procedure_code, &mut self.procedure);
        on_top(&mut file.case_code, &mut self.case);
        on_top(&mut file.locality, &mut self.locality);
        on_top(&mut file.applicant.full_name, &mut self.applicant);
        on_top(&mut file.applicant.personal_number, &mut self.number);
        on_top(&mut file.applicant.date_of_birth, &mut self.born);
        on_top(&mut file.return_desk, &mut self.return_desk);
        on_top(&mut file.support_point, &mut self.support_point);
        on_top(&mut file.summary, &mut self.summary);
        let chosen = |flag: &mut Option<String>, file: Option<String>, usual: &str| {
            flag.take().or(file).or_else(|| Some(usual.to_owned()))
        };
        file.applicant.kind = file.applicant.kind.or_else(|| Some("citizen".to_owned()));
        file.intake_channel = chosen(&mut self.intake, file.intake_channel, "direct");
        file.return_channel = chosen(&mut self.hand_back, file.return_channel, "direct");
        file.received_at = chosen(&mut self.received_at, file.received_at, &moment::now()?.to_string());
        Ok(file)
    }
}
