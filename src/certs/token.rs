//! `lgsp certs token`: a join token for a system, told once or left in a file, with the one command to run at the agency.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::CallError;
use lgsp_certs::SystemName;
use lgsp_proto::v1::{IssueTokenRequest, IssueTokenResponse};
use serde_json::json;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;
use crate::table::Table;

#[derive(Args, Debug)]
pub(super) struct Token {
    /// The system that joins, by the name the registry knows it by, or will.
    #[arg(long, value_name = "NAME")]
    system: SystemName,
    /// For which parties it acts, e.g. H57.130 or H57.BD.*; for a system that is not in the registry yet.
    #[arg(long, value_name = "PARTY,…", value_delimiter = ',')]
    acts_for: Vec<String>,
    /// What it is, for people; for a system that is not in the registry yet.
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// How long the token is good, e.g. 2h or 3d, at most 7d; as the gateway has it if not given.
    #[arg(long, value_name = "TIME")]
    valid: Option<Validity>,
    /// Write the token to this new file, which only its owner may read, instead of showing it.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// A time in seconds, minutes, hours or days: `45m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Validity(u32);

impl FromStr for Validity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "it is a number with s, m, h or d behind it, e.g. 2h";
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(wrong),
        };
        let number: u32 = number.parse().map_err(|_| wrong)?;
        number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Self).ok_or(wrong)
    }
}

impl Token {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        // Before there is a token that could then not be kept.
        let file = self.to.as_deref().map(TokenFile::create).transpose()?;
        let request = IssueTokenRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            system: self.system.to_string(),
            acts_for: self.acts_for.iter().map(|party| party.trim().to_owned()).collect(),
            description: self.description.clone(),
            valid_seconds: self.valid.map_or(0, |Validity(seconds)| seconds),
        };
        let answer = link.certificates().issue_token(link.request(request, None)).await.map_err(CallError::from_status);
        // Without an answer there may be a token that nobody has: it lapses, or is withdrawn, and another one is asked for.
        let issued = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
        if let Some(file) = file {
            file.fill(&issued.token)?;
        }
        let json = || {
            json!({
                "system": self.system.as_str(),
                "token": self.to.is_none().then_some(&issued.token),
                "token_file": self.to.as_deref().map(|file| file.display().to_string()),
                "token_id": HEXLOWER.encode(&issued.token_id),
                "expires_at": moment::rfc3339(issued.expires_at.as_ref()),
                "registry_version": (issued.registry_version != 0).then_some(issued.registry_version),
                "command": self.command(),
            })
        };
        self.output.print(json, || self.text(&issued, lang))?;
        Ok(ExitCode::SUCCESS)
    }

    /// What is run at the agency. The token is not among its words: there it would stand in the list of processes and in the
    /// shell's history for as long as it is good.
    fn command(&self) -> String {
        let token = self.to.as_deref().map_or_else(|| "-".to_owned(), |file| file.display().to_string());
        format!("lgsp adapter join {token} --dir {}", self.system)
    }

    fn text(&self, issued: &IssueTokenResponse, lang: Lang) -> String {
        let entered = match issued.registry_version {
            0 => String::new(),
            version => match lang {
                Lang::Vi => format!("mới, vào sổ ở phiên bản {version}"),
                Lang::En => format!("new, entered by version {version} of the registry"),
            },
        };
        let table = Table::of_pairs([
            (lang.pick("Hệ thống", "System"), self.system.to_string()),
            (lang.pick("Sổ đăng ký", "Registry"), entered),
            (lang.pick("Dùng được đến", "Good until"), moment::short(issued.expires_at.as_ref(), lang)),
            (lang.pick("Số của mã", "Token id"), HEXLOWER.encode(&issued.token_id)),
        ]);
        let head = match &self.to {
            None => lang.pick(
                "Mã tham gia chỉ hiện một lần này. Ai có mã đều tham gia được một lần: hãy gửi riêng cho cơ quan.\n\
                 Chạy trên máy của cơ quan, rồi dán mã vào:",
                "The join token is shown this once. Whoever has it can join once: hand it to the agency and nobody else.\n\
                 To be run on the agency's machine, where it then waits for the token to be pasted:",
            ),
            Some(_) => lang.pick(
                "Ai có tệp mã đều tham gia được một lần: hãy gửi riêng cho cơ quan.\nChạy trên máy của cơ quan:",
                "Whoever has the token's file can join once: hand it to the agency and nobody else.\n\
                 To be run on the agency's machine:",
            ),
        };
        let token = if self.to.is_none() { format!("\n{}\n", issued.token) } else { String::new() };
        format!("{table}\n{head}\n\n  {}\n{token}", self.command())
    }
}

/// A new file for a token, readable by its owner alone. One that stays empty is removed.
struct TokenFile<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl<'a> TokenFile<'a> {
    fn create(path: &'a Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| Failure::of_file(path, &error))?;
        Ok(Self { path, file: Some(file) })
    }

    fn fill(mut self, token: &str) -> anyhow::Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let written =
            file.write_all(token.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all());
        written.with_context(|| format!("{}: the token is lost; ask for another one", self.path.display()))
    }
}

impl Drop for TokenFile<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // There is no token: what would be left is an empty file.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("45m", 2_700), ("2h", 7_200), ("7d", 604_800)] {
            assert_eq!(text.parse(), Ok(Validity(seconds)), "{text}");
        }
        for text in ["", "2", "h", "0d", "-1h", "2w", "99999999d", "1ngày"] {
            assert!(text.parse::<Validity>().is_err(), "{text}");
        }
    }
}
