//! `lgsp certs withdraw`: takes back a join token that was not spent.

use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use data_encoding::HEXLOWER;
use lgsp_adapters::link::{CallError, Link, Profile};
use lgsp_proto::v1::{ListCertificatesRequest, TokenEntry, WithdrawTokenRequest};
use serde_json::json;

use crate::failure::Failure;
use crate::lang::Lang;
use crate::moment;
use crate::output::Output;
use crate::profile::Connection;

#[derive(Args, Debug)]
pub(super) struct Withdraw {
    /// The token's id, as it was told with the token and as `lgsp certs list` shows it; of an open one, its first 8 digits or more.
    #[arg(value_name = "ID")]
    id: Beginning,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// An id, or as much of its beginning as somebody typed.
#[derive(Clone, Debug)]
struct Beginning(String);

const ID_DIGITS: usize = 32;

impl FromStr for Beginning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_one = (8..=ID_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let problem = || format!("it is {ID_DIGITS} hexadecimal digits, or the first 8 of them or more");
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err(problem()) }
    }
}

impl Beginning {
    /// The id that is meant: itself, or that of the one open token that begins so.
    async fn resolve(&self, profile: &Profile, link: &Link, lang: Lang) -> anyhow::Result<Vec<u8>> {
        let Self(digits) = self;
        if digits.len() == ID_DIGITS {
            return Ok(HEXLOWER.decode(digits.as_bytes())?);
        }
        let request = ListCertificatesRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            // The tokens come with the first page, all of them.
            page_size: 1,
            ..ListCertificatesRequest::default()
        };
        let answer = link.certificates().list(link.request(request, None)).await.map_err(CallError::from_status);
        let tokens = answer.map_err(|error| Failure::of_link(error, link, None))?.into_inner().tokens;
        self.among(&tokens, lang)
    }

    /// The one of `tokens` that begins so.
    fn among(&self, tokens: &[TokenEntry], lang: Lang) -> anyhow::Result<Vec<u8>> {
        let Self(digits) = self;
        let begins_so = |token: &&TokenEntry| HEXLOWER.encode(&token.token_id).starts_with(digits);
        let meant: Vec<_> = tokens.iter().filter(begins_so).collect();
        match &meant[..] {
            [token] => Ok(token.token_id.to_vec()),
            [] => Err(Failure::usage(lang.pick(
                format!("Không có mã tham gia nào còn mở bắt đầu bằng {digits}; xem: lgsp certs list"),
                format!("No open join token begins with {digits}; see: lgsp certs list"),
            ))),
            several => {
                let line = |token: &&TokenEntry| format!("\n  {}  {}", HEXLOWER.encode(&token.token_id), token.system);
                let lines: String = several.iter().map(line).collect();
                Err(Failure::usage(lang.pick(
                    format!("Có nhiều mã tham gia còn mở bắt đầu bằng {digits}; ghi thêm chữ số:{lines}"),
                    format!("Several open join tokens begin with {digits}; give more digits:{lines}"),
                )))
            }
        }
    }
}

impl Withdraw {
    pub(super) async fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let (profile, link) = self.connection.open()?;
        let id = self.id.resolve(&profile, &link, lang).await?;
        let request = WithdrawTokenRequest {
            acting_party: profile.acting_party.to_string(),
            actor: profile.actor.to_string(),
            token_id: id.into(),
        };
        let answer =
            link.certificates().withdraw_token(link.request(request, None)).await.map_err(CallError::from_status);
        // Saying it again changes nothing, so no answer is answered by asking again.
        let withdrawn = answer.map_err(|error| Failure::of_link(error, &link, None))?.into_inner();
        let at = withdrawn.withdrawn_at.as_ref();
        let json = || json!({ "withdrawn_at": moment::rfc3339(at), "repeated": withdrawn.repeated });
        let text = || match (withdrawn.repeated, lang) {
            (false, Lang::Vi) => format!("Đã thu hồi mã lúc {}\n", moment::short(at, lang)),
            (false, Lang::En) => format!("Withdrawn at {}\n", moment::short(at, lang)),
            (true, Lang::Vi) => format!("Mã đã được thu hồi từ trước, lúc {}\n", moment::short(at, lang)),
            (true, Lang::En) => format!("It had been withdrawn before, at {}\n", moment::short(at, lang)),
        };
        self.output.print(json, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_that_two_tokens_share_names_both_and_means_neither() {
        let token = |last: u8, system: &str| TokenEntry {
            token_id: [&[0xab; 15][..], &[last]].concat().into(),
            system: system.into(),
            ..TokenEntry::default()
        };
        let tokens = [token(1, "xa-moi"), token(2, "xa-cu")];
        let beginning: Beginning = "ABABABAB".parse().unwrap();
        let said = beginning.among(&tokens, Lang::En).unwrap_err().to_string();
        assert!(said.contains("ab01  xa-moi") && said.contains("ab02  xa-cu"), "{said}");
        assert_eq!(beginning.among(&tokens[1..], Lang::En).unwrap(), tokens[1].token_id);
        for text in ["abababa", &"a".repeat(33), "abababag", "ababábab"] {
            assert!(text.parse::<Beginning>().is_err(), "{text}");
        }
    }
}
