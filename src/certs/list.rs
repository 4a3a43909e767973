//! `lgsp certs list`: certificates by when they expire, and the tokens that are open.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_certs::SystemName;
use lgsp_proto::v1::{CertificateEntry, ListCertificatesRequest, TokenEntry};
use serde_json::{Value, json};

use super::folder::{self, Days};
use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::paging::{Paging, tell_of_more};
use crate::profile::Connection;
use crate::table::Table;

#[derive(Args, Debug)]
pub(super) struct List {
    /// The folder of a CA, or of its root: what was issued there, without a gateway.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["of_system", "all"])]
    ca: Option<PathBuf>,
    /// Only those in force that end within this time, e.g. 30d, and that no later one in use has taken the place of.
    #[arg(long, value_name = "DAYS")]
    expiring: Option<Days>,
    /// Only those of this system.
    #[arg(id = "of_system", long = "system", value_name = "NAME")]
    system: Option<SystemName>,
    /// Expired and revoked ones as well.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl List {
    pub(super) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        if let Some(ca) = self.ca {
            folder::List { ca, expiring: self.expiring, output: self.output }.run(lang)?;
            return Ok(ExitCode::SUCCESS);
        }
        crate::block_on(self.ask(lang))
    }

    async fn ask(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let end = |Days(days)| SystemTime::now() + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
        let question = ListCertificatesRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            system: self.system.as_ref().map(ToString::to_string).unwrap_or_default(),
            // To the minute, so that a list that is continued soon after is still the same question.
            expiring_before: self.expiring.map(|days| to_the_minute(end(days).into())),
            with_past: self.all,
            ..ListCertificatesRequest::default()
        };
        let mut tokens = Vec::new();
        let ask = async |page_size, page_token| {
            let request = ListCertificatesRequest { page_size, page_token, ..question.clone() };
            let answer = link.certificates().list(link.request(request, None)).await.map_err(CallError::from_status);
            let answer = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
            tokens.extend(answer.tokens);
            Ok((answer.certificates, answer.next_page_token))
        };
        let (certificates, next) = self.paging.collect(ask).await?;
        let json = || {
            json!({
                "certificates": certificates.iter().map(certificate_json).collect::<Value>(),
                "tokens": tokens.iter().map(token_json).collect::<Value>(),
                "next_page_token": Some(&next).filter(|token| !token.is_empty()),
            })
        };
        self.output.print(json, || text(&certificates, &tokens, lang))?;
        if !self.output.json {
            tell_of_more(&next, lang);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn to_the_minute(time: prost_types::Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: (time.seconds / 60 + 1) * 60, nanos: 0 }
}

fn text(certificates: &[CertificateEntry], tokens: &[TokenEntry], lang: Lang) -> String {
    let mut out = if certificates.is_empty() {
        lang.pick("Không có chứng thư nào.\n", "There is no such certificate.\n").to_owned()
    } else {
        let mut table = Table::new(match lang {
            Lang::Vi => ["Hệ thống", "Hết hạn", "Trạng thái", "Cấp tại", "SHA-256"],
            Lang::En => ["System", "Expires", "State", "Issued", "SHA-256"],
        });
        for one in certificates {
            let system = if one.system.is_empty() { lang.pick("(trục)", "(gateway)") } else { &one.system };
            let issued =
                if one.issued_here { lang.pick("trục", "here") } else { lang.pick("nơi khác", "elsewhere") };
            table.row([
                system.to_owned(),
                moment::short(one.not_after.as_ref(), lang),
                state(one, lang),
                issued.to_owned(),
                HEXLOWER.encode(&one.sha256),
            ]);
        }
        table.to_string()
    };
    if !tokens.is_empty() {
        let mut table = Table::new(match lang {
            Lang::Vi => ["Mã tham gia còn mở", "Hệ thống", "Dùng được đến", "Người cấp"],
            Lang::En => ["Open join token", "System", "Good until", "Issued by"],
        });
        for token in tokens {
            let until = moment::short(token.expires_at.as_ref(), lang);
            table.row([HEXLOWER.encode(&token.token_id), token.system.clone(), until, token.actor.clone()]);
        }
        out += &format!("\n{table}");
    }
    out
}

fn state(one: &CertificateEntry, lang: Lang) -> String {
    if one.revoked_at.is_some() {
        return format!("{} ({})", lang.pick("ĐÃ THU HỒI", "REVOKED"), one.revoked_ground);
    }
    let now = prost_types::Timestamp::from(SystemTime::now()).seconds;
    let is_past = one.not_after.as_ref().is_some_and(|until| until.seconds < now);
    let word = match is_past {
        true => lang.pick("đã hết hạn", "expired"),
        false if is_due(one, now) => lang.pick("đã đến lúc gia hạn", "due for renewal"),
        false => lang.pick("còn hiệu lực", "in force"),
    };
    word.to_owned()
}

/// Whether two thirds of its life are over: an adapter would have renewed it.
fn is_due(one: &CertificateEntry, now: i64) -> bool {
    let (Some(begin), Some(end)) = (&one.not_before, &one.not_after) else { return false };
    now >= begin.seconds + (end.seconds - begin.seconds) / 3 * 2
}

fn certificate_json(one: &CertificateEntry) -> Value {
    json!({
        "system": Some(&one.system).filter(|system| !system.is_empty()),
        "not_before": moment::rfc3339(one.not_before.as_ref()),
        "not_after": moment::rfc3339(one.not_after.as_ref()),
        "issuer": one.issuer,
        "issued_here": one.issued_here,
        "first_seen_at": moment::rfc3339(one.first_seen_at.as_ref()),
        "revoked_at": moment::rfc3339(one.revoked_at.as_ref()),
        "revoked_ground": Some(&one.revoked_ground).filter(|ground| !ground.is_empty()),
        "sha256": HEXLOWER.encode(&one.sha256),
        "key_sha256": HEXLOWER.encode(&one.key_sha256),
    })
}

fn token_json(token: &TokenEntry) -> Value {
    json!({
        "token_id": HEXLOWER.encode(&token.token_id),
        "system": token.system,
        "issued_at": moment::rfc3339(token.issued_at.as_ref()),
        "expires_at": moment::rfc3339(token.expires_at.as_ref()),
        "actor": token.actor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_should_have_been_renewed_says_so() {
        let now = prost_types::Timestamp::from(SystemTime::now()).seconds;
        let at = |seconds: i64| Some(prost_types::Timestamp { seconds: now + seconds, nanos: 0 });
        let one = |begin, end| CertificateEntry { not_before: at(begin), not_after: at(end), ..Default::default() };
        assert_eq!(state(&one(-600, 400), Lang::En), "in force");
        assert_eq!(state(&one(-700, 200), Lang::En), "due for renewal");
        assert_eq!(state(&one(-700, -5), Lang::En), "expired");
    }
}
