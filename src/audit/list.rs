//! `lgsp audit list`: entries by kind, time, account and what they are about.

use std::process::ExitCode;

use clap::Args;
use jiff::{Span, Timestamp};
use lgsp_adapters::link::CallError;
use lgsp_proto::types::ActorId;
use lgsp_proto::v1::{AuditEntry, AuditKind, ListAuditRequest};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::paging::tell_of_more;
use crate::profile::Connection;
use crate::table::Table;

/// Entries that are asked for at once.
const PAGE: u32 = 500;

/// What fits with the other columns into a terminal of 100 columns.
const ABOUT_WIDTH: usize = 29;
const BY_WIDTH: usize = 20;

/// Lists entries of the audit.
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only this kind, e.g. registry-applied, token-issued, certificate-revoked, delivery-handled, dossier-erased, exported. May
    /// be given several times.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<AuditKind>,
    /// From this moment or day on, or from so long ago: 7d, 12h, 30m.
    #[arg(long, value_name = "TIME", value_parser = moment_or_ago)]
    since: Option<prost_types::Timestamp>,
    /// Before this moment or day, or before so long ago.
    #[arg(long, value_name = "TIME", value_parser = moment_or_ago)]
    until: Option<prost_types::Timestamp>,
    /// Only what this account did.
    #[arg(long, value_name = "ACCOUNT")]
    by: Option<ActorId>,
    /// Only what is about this: a system, a party, a dossier's code, an archive, a digest in full.
    #[arg(long, value_name = "NAME")]
    about: Option<String>,
    /// Everything that is known of each entry.
    #[arg(long)]
    details: bool,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All of them, however many.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where a list ended.
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl List {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let (mut found, mut next) = (Vec::new(), self.page_token.clone().unwrap_or_default());
        loop {
            let missing = if self.all { PAGE } else { self.limit.saturating_sub(u32::try_from(found.len())?) };
            let request = ListAuditRequest {
                acting_party: profile.acting_party.to_string(),
                actor: profile.actor.to_string(),
                kinds: self.kind.iter().map(|kind| i32::from(*kind)).collect(),
                since: self.since,
                until: self.until,
                by_actor: self.by.as_ref().map(ToString::to_string).unwrap_or_default(),
                subject: self.about.clone().unwrap_or_default(),
                page_size: missing.min(PAGE),
                page_token: next,
            };
            let answer = link.audit().list(link.request(request, None)).await.map_err(CallError::from_status);
            let page = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
            found.extend(page.entries);
            next = page.next_page_token;
            if next.is_empty() || (!self.all && found.len() >= self.limit as usize) {
                break;
            }
        }
        let json = || {
            let token = Some(&next).filter(|token| !token.is_empty());
            json!({ "entries": found.iter().map(json_of).collect::<Value>(), "next_page_token": token })
        };
        self.output.print(json, || match (found.is_empty(), self.details) {
            (true, _) => lang.pick("Không có mục nào\n", "There are no entries\n").to_owned(),
            (false, true) => found.iter().map(|entry| in_full(entry, lang)).collect::<Vec<_>>().join("\n"),
            (false, false) => table(&found, lang).to_string(),
        })?;
        if !self.output.json {
            tell_of_more(&next, lang);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A kind by its word, as `--json` tells it or with dashes.
fn kind(word: &str) -> Result<AuditKind, String> {
    let name = format!("AUDIT_KIND_{}", word.replace('-', "_").to_uppercase());
    let known = AuditKind::from_str_name(&name).filter(|kind| *kind != AuditKind::Unspecified);
    known.ok_or_else(|| {
        let all =
            (1..).map_while(|number| AuditKind::try_from(number).ok()).map(|kind| word_of(kind).replace('_', "-"));
        format!("is no kind of entry; there are {}", all.collect::<Vec<_>>().join(", "))
    })
}

fn word_of(kind: AuditKind) -> String {
    let name = kind.as_str_name();
    name.strip_prefix("AUDIT_KIND_").unwrap_or(name).to_lowercase()
}

/// A moment, a day, or a time before now.
fn moment_or_ago(text: &str) -> Result<prost_types::Timestamp, String> {
    let ago = text.split_at_checked(text.len().saturating_sub(1)).and_then(|(number, unit)| {
        let number: i64 = number.parse().ok().filter(|number| (0..=1_000_000).contains(number))?;
        match unit {
            "d" => number.checked_mul(24).map(|hours| Span::new().hours(hours)),
            "h" => Some(Span::new().hours(number)),
            "m" => Some(Span::new().minutes(number)),
            _ => None,
        }
    });
    let Some(ago) = ago else { return moment::parse(text).map(moment::wire) };
    let at = Timestamp::now().checked_sub(ago).map_err(|_| "lies too far back".to_owned())?;
    Ok(prost_types::Timestamp { seconds: at.as_second(), nanos: 0 })
}

fn table(entries: &[AuditEntry], lang: Lang) -> Table {
    let mut table = Table::new(match lang {
        Lang::Vi => ["Vị trí", "Lúc", "Việc", "Về", "Ai"],
        Lang::En => ["Position", "When", "What", "About", "By"],
    });
    for entry in entries {
        let ground = Some(&entry.ground).filter(|ground| !ground.is_empty());
        let more = ground.or_else(|| ["version", "action", "epoch"].iter().find_map(|name| entry.facts.get(*name)));
        let about = more.map_or_else(|| entry.subject.clone(), |more| format!("{} ({more})", entry.subject));
        let by = if entry.actor.is_empty() { &entry.system } else { &entry.actor };
        table.row([
            entry.position.to_string(),
            moment::short(entry.at.as_ref(), lang),
            what(entry.kind(), lang).to_owned(),
            cut(&about, ABOUT_WIDTH),
            cut(by, BY_WIDTH),
        ]);
    }
    table
}

/// At most so many characters, and a sign where some were left out.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn in_full(entry: &AuditEntry, lang: Lang) -> String {
    let mut facts: Vec<(&str, String)> =
        entry.facts.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    facts.sort();
    let head = [
        (lang.pick("Vị trí", "Position"), entry.position.to_string()),
        (lang.pick("Việc", "What"), what(entry.kind(), lang).to_owned()),
        (lang.pick("Lúc", "When"), moment::rfc3339(entry.at.as_ref()).unwrap_or_default()),
        (lang.pick("Về", "About"), entry.subject.clone()),
        (lang.pick("Căn cứ", "Ground"), entry.ground.clone()),
        (lang.pick("Tài khoản", "Account"), entry.actor.clone()),
        (lang.pick("Cơ quan", "Party"), entry.acting_party.clone()),
        (lang.pick("Hệ thống", "System"), entry.system.clone()),
    ];
    Table::of_pairs(head.into_iter().chain(facts)).to_string()
}

fn json_of(entry: &AuditEntry) -> Value {
    json!({
        "position": entry.position,
        "kind": word_of(entry.kind()),
        "at": moment::rfc3339(entry.at.as_ref()),
        "acting_party": entry.acting_party,
        "actor": entry.actor,
        "system": entry.system,
        "subject": entry.subject,
        "ground": entry.ground,
        "facts": entry.facts.iter().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn what(kind: AuditKind, lang: Lang) -> &'static str {
    match kind {
        AuditKind::Unspecified => lang.pick("(chưa rõ)", "(unknown)"),
        AuditKind::RegistryApplied => lang.pick("áp dụng sổ đăng ký", "registry applied"),
        AuditKind::TokenIssued => lang.pick("cấp mã tham gia", "token issued"),
        AuditKind::TokenWithdrawn => lang.pick("rút mã tham gia", "token withdrawn"),
        AuditKind::CertificateIssued => lang.pick("cấp chứng thư", "certificate issued"),
        AuditKind::CertificateRevoked => lang.pick("thu hồi chứng thư", "certificate revoked"),
        AuditKind::DeliveryHandled => lang.pick("xử lý bản tin dừng", "delivery handled"),
        AuditKind::DeliveriesReleased => lang.pick("lấy lại bản tin", "deliveries released"),
        AuditKind::DossierErased => lang.pick("xoá nội dung hồ sơ", "dossier erased"),
        AuditKind::DossiersArchived => lang.pick("lưu trữ hồ sơ", "dossiers archived"),
        AuditKind::EpochStarted => lang.pick("khôi phục sổ", "books restored"),
        AuditKind::CertificateSeen => lang.pick("chứng thư mới gặp", "certificate seen"),
        AuditKind::Exported => lang.pick("sao chép sổ", "books copied out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_into_a_hundred_columns_whatever_is_in_it() {
        let entry = |kind: i32| AuditEntry {
            position: 9_999_999,
            kind,
            at: Some(prost_types::Timestamp { seconds: 1_752_458_400, nanos: 0 }),
            actor: "a".repeat(64),
            subject: "archive-2026-11-0001-of-a-long-name.lgsp".to_owned(),
            ground: "G".repeat(64),
            ..AuditEntry::default()
        };
        let entries: Vec<_> = (0..=12).map(entry).collect();
        assert!(AuditKind::try_from(12).is_ok() && AuditKind::try_from(13).is_err(), "a kind without a row here");
        for lang in [Lang::Vi, Lang::En] {
            for line in table(&entries, lang).to_string().lines() {
                assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
            }
        }
    }

    #[test]
    fn a_kind_is_named_with_dashes_and_another_word_is_told_which_there_are() {
        assert_eq!(kind("registry-applied"), Ok(AuditKind::RegistryApplied));
        assert_eq!(kind("exported"), Ok(AuditKind::Exported));
        for wrong in ["", "unspecified", "erased"] {
            let told = kind(wrong).unwrap_err();
            assert!(told.contains("certificate-seen, exported"), "{told}");
        }
    }

    #[test]
    fn a_time_is_a_moment_a_day_or_so_long_ago() {
        let week = moment_or_ago("7d").unwrap().seconds;
        let expected = Timestamp::now().as_second() - 7 * 86_400;
        assert!((expected - 5..=expected).contains(&week));
        assert!(moment_or_ago("90m").unwrap().seconds > moment_or_ago("2h").unwrap().seconds);
        assert_eq!(moment_or_ago("2025-07-14T09:00:00+07:00").unwrap().seconds, 1_752_458_400);
        for wrong in ["", "d", "7w", "-7d", "9999999999d", "7đ"] {
            assert!(moment_or_ago(wrong).is_err(), "{wrong}");
        }
    }
}
