//! What submitting and recording have in common: the key, the call, the receipt.

use std::process::ExitCode;

use aws_lc_rs::digest::{SHA256, digest};
use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::{Admitted, CallError, Link, Proof};
use lgsp_proto::types::RequestKey;
use prost::Message;

use super::views;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// How a request is sent and its receipt shown.
#[derive(Args, Debug)]
pub(super) struct Sending {
    /// The key of the request: the same key with the same content is admitted once. Made of the content if not given.
    #[arg(long, value_name = "KEY")]
    request_key: Option<RequestKey>,
    #[command(flatten)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Sending {
    /// The key given; or one made of `content`, the message without its key, so that the same sent twice is admitted once.
    pub(super) fn key(&self, content: &impl Message) -> anyhow::Result<RequestKey> {
        if let Some(key) = &self.request_key {
            return Ok(key.clone());
        }
        let digest = digest(&SHA256, &content.encode_to_vec());
        Ok(format!("cli-{}", &HEXLOWER.encode(digest.as_ref())[..32]).parse()?)
    }

    /// Shows the receipt, or explains why there is none. `again` are the flags that make the same request once more.
    pub(super) fn finish(
        &self,
        answer: Result<Admitted, CallError>,
        link: &Link,
        again: String,
        lang: Lang,
    ) -> anyhow::Result<ExitCode> {
        let admitted = answer.map_err(|error| Failure::of_link(error, link, Some(again)))?;
        self.output.print(|| views::admitted(&admitted), || receipt_text(&admitted, lang))?;
        for warning in &admitted.warnings {
            let text = lang.pick(&warning.message_vi, &warning.message_en);
            eprintln!("{}: {} {text}", lang.pick("Lưu ý", "Warning"), warning.field);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the citizen is told at the desk.
fn receipt_text(admitted: &Admitted, lang: Lang) -> String {
    let receipt = &admitted.receipt;
    let repeated =
        if admitted.repeated { lang.pick(" (đã ghi nhận từ trước)", " (admitted before)") } else { "" };
    let authority = match receipt.non_territorial {
        true => format!("{} ({})", receipt.competent_authority, lang.pick("phi địa giới", "non-territorial")),
        false => receipt.competent_authority.clone(),
    };
    let due = match &receipt.due_at {
        Some(due) => crate::moment::short(Some(due), lang),
        None => lang.pick("không quy định", "no published limit").to_owned(),
    };
    let proof = match admitted.proof {
        Proof::Verified => lang.pick("đã kiểm tra", "checked"),
        Proof::CertificateNotMet => lang.pick("chưa kiểm tra được", "could not be checked"),
    };
    Table::of_pairs([
        (lang.pick("Mã hồ sơ", "Dossier"), format!("{}{repeated}", receipt.dossier_code)),
        (lang.pick("Trạng thái", "Status"), lang.status(receipt.status)),
        (lang.pick("Cơ quan giải quyết", "Authority"), authority),
        (lang.pick("Ngày hẹn trả", "Due"), due),
        (
            lang.pick("Hạn tiếp nhận", "To be accepted by"),
            crate::moment::short(receipt.acceptance_due_at.as_ref(), lang),
        ),
        (lang.pick("Ghi nhận lúc", "Admitted at"), crate::moment::short(receipt.admitted_at.as_ref(), lang)),
        (lang.pick("Khoá yêu cầu", "Request key"), receipt.request_key.clone()),
        (lang.pick("Chữ ký của trục", "Gateway's signature"), format!("{proof} ({})", receipt.gateway)),
    ])
    .to_string()
}
