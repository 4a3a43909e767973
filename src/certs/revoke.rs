//! `lgsp certs revoke`: puts a certificate, a key or all of a system out of force on the bus, for good; or, in a CA's folder, one
//! certificate on its revocation list.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_certs::SystemName;
use lgsp_proto::v1::revoke_request::What;
use lgsp_proto::v1::{RevokeRequest, RevokeResponse};
use serde_json::{Value, json};

use super::folder::{self, ListValidity};
use super::hex;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

#[derive(Args, Debug)]
pub(super) struct Revoke {
    /// The folder of the CA that issued it (the root's, for an issuing CA): FILE goes on its revocation list, without a gateway.
    #[arg(long, value_name = "DIR", requires = "file", conflicts_with_all = ["what", "ground"])]
    ca: Option<PathBuf>,
    /// With --ca: the certificate, PEM. Of several in the file, the first is meant.
    #[arg(requires = "ca", required_unless_present = "what", conflicts_with_all = ["what", "ground"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    validity: ListValidity,
    #[command(flatten)]
    what: WhatToRevoke,
    /// Why, one word that stays on record, e.g. KEY_STOLEN. It must not name a person.
    #[arg(long, value_name = "WORD", required_unless_present = "ca")]
    ground: Option<String>,
    /// Also if it is a key of the gateway or of the CA it issues by, or if nobody who may keep the bus in order has a key left.
    /// It cannot be undone.
    #[arg(long, conflicts_with = "ca")]
    despite_lockout: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What is put out of force on the bus.
#[derive(Args, Debug)]
#[group(id = "what", multiple = false)]
struct WhatToRevoke {
    /// Every certificate and key that this system was known by so far. It may join again with a new key.
    #[arg(long, value_name = "NAME")]
    system: Option<SystemName>,
    /// One certificate, by its SHA-256, and with it its key.
    #[arg(long, value_name = "HEX", value_parser = hex::<32>)]
    certificate_sha256: Option<[u8; 32]>,
    /// A key, by the SHA-256 of its SubjectPublicKeyInfo, seen or not.
    #[arg(long, value_name = "HEX", value_parser = hex::<32>)]
    key_sha256: Option<[u8; 32]>,
}

impl Revoke {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        if let (Some(ca), Some(file)) = (self.ca.clone(), self.file.clone()) {
            folder::Revoke { ca, file, validity: self.validity }.run(lang)?;
            return Ok(ExitCode::SUCCESS);
        }
        crate::block_on(self.ask(lang))
    }

    async fn ask(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let what = &self.what;
        let system = what.system.as_ref().map(|system| What::System(system.to_string()));
        let certificate = || what.certificate_sha256.map(|digest| What::CertificateSha256(digest.to_vec().into()));
        let key = || what.key_sha256.map(|digest| What::KeySha256(digest.to_vec().into()));
        let request = RevokeRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            what: system.or_else(certificate).or_else(key),
            ground: self.ground.clone().unwrap_or_default(),
            despite_lockout: self.despite_lockout,
        };
        let answer = link.certificates().revoke(link.request(request, None)).await.map_err(CallError::from_status);
        // Saying it again changes nothing, so no answer is answered by asking again.
        let revoked = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
        let json = || {
            json!({
                "certificates": revoked.certificate_sha256.iter().map(|digest| HEXLOWER.encode(digest)).collect::<Value>(),
                "revoked_at": moment::rfc3339(revoked.revoked_at.as_ref()),
                "connections_cut": revoked.connections_cut,
                "tokens_withdrawn": revoked.tokens_withdrawn,
                "repeated": revoked.repeated,
            })
        };
        self.output.print(json, || text(&revoked, lang))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(revoked: &RevokeResponse, lang: Lang) -> String {
    let table = Table::of_pairs([
        (lang.pick("Thu hồi lúc", "Revoked at"), moment::short(revoked.revoked_at.as_ref(), lang)),
        (lang.pick("Chứng thư đã biết", "Known certificates"), revoked.certificate_sha256.len().to_string()),
        (lang.pick("Kết nối đã cắt", "Connections cut"), revoked.connections_cut.to_string()),
        (lang.pick("Mã tham gia đã rút", "Tokens withdrawn"), revoked.tokens_withdrawn.to_string()),
    ]);
    let foot = if revoked.repeated {
        lang.pick("Đã thu hồi từ trước.", "It had been revoked before.")
    } else {
        lang.pick(
            "Khoá không dùng lại được trong bất kỳ chứng thư nào; để quay lại cần mã tham gia mới và khoá mới.",
            "The key is good in no certificate any more; to come back takes a new token and a new key.",
        )
    };
    format!("{table}{foot}\n")
}
