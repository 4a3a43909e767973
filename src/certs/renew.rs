//! `lgsp certs renew`: another certificate, and a new key, for a connection profile, over the present certificate.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use lgsp_adapters::identity::{RenewError, Renewed, renew};
use lgsp_certs::CertificateFacts;
use serde_json::json;

use super::second;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

/// Renew the certificate of a profile, before it ends.
///
/// The new key is made here and never leaves this machine. A call is made with the new certificate before anything is exchanged;
/// then key and certificate are exchanged at once, and the profile is good as it is: its files become links into NAME.identity
/// beside the key, where those from before stay until the next renewal.
#[derive(Args, Debug)]
pub(super) struct Renew {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Renew {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link, credentials) = self.connection.open_to_renew()?;
        let files = &profile.address.tls;
        let renewed = renew(&link, files, &credentials).await.map_err(|error| match error {
            RenewError::Call(error) => Failure::of_link(error, &link, None),
            error => Failure::usage(explain(error, lang)),
        })?;
        let before = CertificateFacts::read(credentials.certificate()).map(|facts| facts.not_after);
        let before = before.unwrap_or_else(|_| SystemTime::now());
        let Renewed { system, not_after, folder } = renewed;
        let (before, until) = (second(before)?, second(not_after)?);
        let json = || {
            json!({
                "system": system,
                "certificate": files.certificate.display().to_string(),
                "not_after": until.to_string(),
                "not_after_before": before.to_string(),
                "folder": folder.display().to_string(),
            })
        };
        let text = || {
            let table = Table::of_pairs([
                (lang.pick("Hệ thống", "System"), system.clone()),
                (lang.pick("Chứng thư", "Certificate"), files.certificate.display().to_string()),
                (lang.pick("Đến", "Until"), until.to_string()),
                (lang.pick("Trước đây đến", "Before until"), before.to_string()),
            ]);
            let foot = lang.pick(
                format!("Đã gia hạn với khoá mới; bộ trước được giữ trong {}.", folder.display()),
                format!("Renewed, with a new key; those from before are kept in {}.", folder.display()),
            );
            format!("{table}{foot}\n")
        };
        self.output.print(json, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What is the matter, and what to do.
fn explain(error: RenewError, lang: Lang) -> String {
    match error {
        RenewError::OtherCa => lang
            .pick(
                "Chứng thư của hồ sơ kết nối này không do CA của trục cấp nên trục không gia hạn được.\n  Xin CA đã cấp chứng thư \
                 đó (ví dụ CA của cơ quan) cấp chứng thư mới; chưa có gì bị thay đổi.",
                "The certificate of this profile is not of the bus's CA, so the bus cannot renew it.\n  Get another from the CA \
                 that issued it, an agency's own for example; nothing was changed.",
            )
            .to_owned(),
        RenewError::NotOurLink(file) => lang.pick(
            format!(
                "{} là liên kết do công cụ khác tạo; công cụ đó phải gia hạn chứng thư. Chưa có gì bị thay đổi.",
                file.display()
            ),
            format!(
                "{} is a link that something else made, and that has to renew the certificate. Nothing was changed.",
                file.display()
            ),
        ),
        RenewError::Failed([vi, en]) => lang.pick(
            format!("Chưa gia hạn được, chứng thư hiện tại vẫn dùng như trước: {vi}"),
            format!("Not renewed, the present certificate is in force as before: {en}"),
        ),
        RenewError::Call(error) => error.to_string(),
    }
}
