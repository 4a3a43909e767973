//! `lgsp adapter join`: one token, one command, and the adapter can run. Said again with a new token, it gives an adapter that
//! lost its certificate another one, and leaves everything else as it is.

use std::io::{self, BufRead, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use lgsp_adapters::config::{Config, IDENTITY, WebhookUrl, Wishes, write_starter};
use lgsp_adapters::identity::{Folder, JoinError, Joined};
use lgsp_adapters::link::{GatewayUrl, Timings};
use lgsp_certs::CertificateFacts;
use lgsp_proto::types::{JoinToken, PartyId};
use serde_json::json;
use zeroize::Zeroizing;

use crate::failure::{Failure, of_system};
use crate::lang::Lang;
use crate::output::{Output, print};
use crate::table::Table;

/// The configuration's name in the folder.
const CONFIG: &str = "adapter.toml";

/// A token has some 300 characters; what is longer is none.
const MAX_TOKEN_BYTES: u64 = 8192;

const EXAMPLES: &str = "\
The operator of the bus makes the token: lgsp certs token --system NAME --acts-for H57.101,… It can be used once, within its
time. The private key is made here and never leaves this machine. The gateway is known by the fingerprint in the token.

Safe to repeat with the same token if anything goes wrong. An adapter whose certificate has expired or was revoked joins again
with a new token in the same folder: configuration and spool stay, and an adapter that is running takes the certificate up.

Examples:
  lgsp adapter join lgsp-join-1.… --dir adapter
  lgsp adapter join token.txt --dir adapter --listen-rest 127.0.0.1:8490 --webhook http://127.0.0.1:9000/lgsp
  cat token.txt | lgsp adapter join - --dir adapter          # keeps the token out of the shell's history";

/// Join the bus with a token: make the key, get the certificate, write a configuration to begin with.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Join {
    /// The token itself, a file that holds it, or - for standard input.
    token: Zeroized,
    /// The adapter's folder: identity, adapter.toml and spool are in it. Made if need be.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where the local interface shall listen, in a new configuration.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8480")]
    listen_rest: SocketAddr,
    /// Where deliveries shall be posted, in a new configuration.
    #[arg(long, value_name = "URL", value_parser = webhook)]
    webhook: Option<WebhookUrl>,
    /// For whom the adapter shall act, in a new configuration; all that the registry names, if not given.
    #[arg(long, value_name = "PARTY,…", value_delimiter = ',')]
    parties: Vec<PartyId>,
    #[command(flatten)]
    output: Output,
}

/// An argument that may be a secret: not shown, and wiped.
#[derive(Clone)]
struct Zeroized(Zeroizing<String>);

impl std::str::FromStr for Zeroized {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl std::fmt::Debug for Zeroized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zeroized(..)")
    }
}

/// What became of the configuration.
enum Written {
    New,
    /// There was one, and it uses the identity.
    Kept,
    /// There was one, and it does not.
    Other,
}

impl Join {
    pub(crate) fn run(self, lang: Lang) -> anyhow::Result<ExitCode> {
        let token = self.token(lang)?;
        let folder = Folder::at(self.dir.join(IDENTITY));
        let file = self.dir.join(CONFIG);
        if let Some(until) = in_force_by(&token, &folder, &file) {
            return self.tell_again(until, &file, lang);
        }
        let configured = configured_gateway(&file);
        let joined = crate::block_on(async {
            let joining = lgsp_adapters::identity::join(&token, &folder, configured.as_ref(), Timings::default());
            joining.await.map_err(|error| failure(error, lang))
        })?;
        let written = self.configure(&file, &folder, &joined);
        let written = written.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        // The key has been kept until here, so that the same command could be said again.
        folder.joined(token.id()).map_err(|error| failure(JoinError::Disk(error), lang))?;
        self.tell(&joined, &file, &written, lang)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The token, from where it was said to be.
    fn token(&self, lang: Lang) -> anyhow::Result<JoinToken> {
        let given = self.token.0.as_str();
        let mut text = Zeroizing::new(String::new());
        let unreadable = |error: io::Error| {
            let (vi, en) = ("Không đọc được mã tham gia", "The token cannot be read");
            Failure::usage(format!("{}: {error}", lang.pick(vi, en)))
        };
        if given == "-" {
            text = pasted(&mut io::stdin().lock()).map_err(unreadable)?;
        } else if given.starts_with("lgsp-join-") {
            text.push_str(given);
        } else {
            let file = std::fs::File::open(given);
            let read = file.and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text));
            read.map_err(|error| {
                // What was given may be a damaged token: it is not repeated.
                let (vi, en) = (
                    "Đây không phải mã tham gia (lgsp-join-1.…) và cũng không phải tệp đọc được",
                    "This is neither a join token (lgsp-join-1.…) nor a file that can be read",
                );
                let [why_vi, why_en] = of_system(&error);
                Failure::usage_in(format!("{vi}: {why_vi}"), format!("{en}: {why_en}"))
            })?;
        }
        unfolded(&text).parse().map_err(|problem: lgsp_proto::types::Malformed| {
            let (subject, what) = lang.pick(("Mã tham gia", problem.vietnamese()), ("The token", problem.to_string()));
            Failure::usage(format!("{subject} {what}"))
        })
    }

    /// Writes a configuration, unless there is one.
    fn configure(&self, file: &Path, folder: &Folder, joined: &Joined) -> io::Result<Written> {
        let wishes = Wishes { listen: self.listen_rest, webhook: self.webhook.clone(), parties: self.parties.clone() };
        if write_starter(file, joined, &wishes)? {
            return Ok(Written::New);
        }
        let config = Config::load(file, []).ok();
        let uses_it = config.is_some_and(|config| config.identity.folder.as_deref() == Some(folder.path()));
        Ok(if uses_it { Written::Kept } else { Written::Other })
    }

    /// The same command once more, when nothing is left to be done. It is no theft, as the gateway would have to suppose.
    fn tell_again(&self, until: Timestamp, file: &Path, lang: Lang) -> anyhow::Result<ExitCode> {
        let config = file.display().to_string();
        let facts = || json!({ "repeated": true, "not_after": until.to_string(), "config": config });
        self.output.print(facts, || {
            lang.pick(
                format!(
                    "Thư mục này đã tham gia bằng mã này rồi; chứng thư đến {until}.\nChạy tiếp: lgsp adapter --config {config}\n\
                     Nếu chứng thư đã bị thu hồi, xin mã mới.\n"
                ),
                format!(
                    "This folder has joined with this token; the certificate is good until {until}.\n\
                     Now run: lgsp adapter --config {config}\nIf the certificate was revoked, ask for a new token.\n"
                ),
            )
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, joined: &Joined, file: &Path, written: &Written, lang: Lang) -> anyhow::Result<()> {
        let until = Timestamp::try_from(joined.not_after)?;
        let acts_for: Vec<_> =
            joined.parties.iter().map(ToString::to_string).chain(joined.families.iter().cloned()).collect();
        let is_new = matches!(written, Written::New);
        let facts = || {
            json!({
                "system": joined.system,
                "gateway": joined.gateway.to_string(),
                "acts_for": acts_for,
                "not_after": until.to_string(),
                "first": joined.is_first,
                "config": file.display().to_string(),
                "config_written": is_new,
            })
        };
        if let Some(address) = &joined.looked_for_at {
            let (file, gateway) = (file.display(), &joined.gateway);
            eprintln!("{}", lang.pick(
                format!(
                    "Cảnh báo: theo {file}, cổng ở {address}, còn trục cho biết là {gateway}; {file} giữ nguyên. Nếu đó không phải địa\n\
                     chỉ riêng của cơ quan cho cùng cổng này, hãy sửa gateway trong tệp."
                ),
                format!(
                    "Warning: {file} has the gateway at {address}, and the bus says it is at {gateway}; {file} is as it was. Unless that\n\
                     is the agency's own address of the same gateway, mend gateway in the file."
                ),
            ));
        }
        self.output.print(facts, || {
            let table = Table::of_pairs([
                (lang.pick("Hệ thống", "System"), joined.system.clone()),
                (lang.pick("Cổng", "Gateway"), joined.gateway.to_string()),
                (lang.pick("Thay mặt", "Acts for"), acts_for.join(", ")),
                (lang.pick("Chứng thư đến", "Certificate until"), until.to_string()),
            ]);
            let done = match joined.is_first {
                true => lang.pick("Đã tham gia trục", "Joined the bus"),
                false => lang.pick("Đã tham gia lại; hàng đợi được giữ nguyên", "Joined again; the spool was kept"),
            };
            format!("{done}.\n{table}")
        })?;
        if self.output.json {
            return Ok(());
        }
        let config = file.display();
        Ok(print(match written {
            Written::New if self.parties.is_empty() && joined.parties.is_empty() => lang.pick(
                format!("\nGhi các cơ quan vào parties trong {config}, rồi chạy: lgsp adapter --config {config}\n"),
                format!("\nWrite the parties to act for into {config}, then run: lgsp adapter --config {config}\n"),
            ),
            Written::New => lang.pick(
                format!("\nChạy tiếp: lgsp adapter --config {config}\n"),
                format!("\nNow run: lgsp adapter --config {config}\n"),
            ),
            Written::Kept => lang.pick(
                format!("\n{config} giữ nguyên. Bộ kết nối đang chạy sẽ tự dùng chứng thư mới; nếu chưa chạy: lgsp adapter --config {config}\n"),
                format!("\n{config} is as it was. An adapter that is running takes the certificate up by itself; if none is: lgsp adapter --config {config}\n"),
            ),
            Written::Other => lang.pick(
                format!("\n{config} có sẵn và được giữ nguyên; để dùng chứng thư này, ghi trong đó: [tls] identity = \"{IDENTITY}\"\n"),
                format!("\n{config} was there and is as it was; to use this certificate, write in it: [tls] identity = \"{IDENTITY}\"\n"),
            ),
        })?)
    }
}

/// What is pasted as a token: until it is one, and whoever pastes it need not say that nothing follows. A mail may have folded it,
/// and what is left unread is typed into the shell, and kept in its history.
fn pasted(input: &mut impl BufRead) -> io::Result<Zeroizing<String>> {
    // Room for all of it at once: a string that grows leaves what it was behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_TOKEN_BYTES).unwrap_or_default()));
    let mut input = input.take(MAX_TOKEN_BYTES);
    loop {
        let read = input.read_line(&mut text)?;
        let is_blank = text[text.len() - read..].trim().is_empty();
        let token = unfolded(&text);
        if read == 0 || is_blank && !token.is_empty() || token.parse::<JoinToken>().is_ok() {
            return Ok(text);
        }
    }
}

/// Mails and editors break long lines; a token itself has no blanks.
fn unfolded(text: &str) -> Zeroizing<String> {
    let mut token = Zeroizing::new(String::with_capacity(text.len()));
    token.extend(text.split_whitespace());
    token
}

/// Until when the certificate in force is good, if it is, was joined for with this token, and all that goes with it is written.
fn in_force_by(token: &JoinToken, folder: &Folder, config: &Path) -> Option<Timestamp> {
    if !folder.has_joined(token.id()) || !config.exists() {
        return None;
    }
    let set = folder.read().ok()??;
    let until = CertificateFacts::read(set.chain.first()?).ok()?.not_after;
    Timestamp::try_from(until).ok().filter(|until| *until > Timestamp::now())
}

/// The gateway that a configuration names, if there is one that can be read so far. What else is in it is for its user.
fn configured_gateway(file: &Path) -> Option<GatewayUrl> {
    #[derive(serde::Deserialize)]
    struct Named {
        gateway: String,
    }
    let named: Named = toml::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    named.gateway.parse().ok()
}

fn webhook(text: &str) -> Result<WebhookUrl, String> {
    text.parse().map_err(|problem: <WebhookUrl as std::str::FromStr>::Err| problem.to_string())
}

fn failure(error: JoinError, lang: Lang) -> anyhow::Error {
    match error {
        JoinError::Call { gateway, source } => Failure::of_call(source, &gateway, None),
        error => {
            let [vi, en] = error.texts();
            let text = lang.pick(vi, en);
            match error {
                JoinError::Disk(_) | JoinError::NoKey(_) => anyhow::anyhow!(text),
                _ => Failure::usage(text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Zeroizing<String> {
        let until = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let url = "https://gw.lgsp.hue.test:7444";
        let secret = Zeroizing::new([2; 32]);
        JoinToken::new(url, None, vec![[7; 32]], [1; 16], secret, "one-stop", until).unwrap().to_text()
    }

    /// What is taken, and what is left for whoever reads next.
    fn reads(given: &str) -> (String, String) {
        let mut input = given.as_bytes();
        let text = pasted(&mut input).unwrap();
        (unfolded(&text).to_string(), String::from_utf8(input.to_vec()).unwrap())
    }

    #[test]
    fn a_token_that_a_mail_has_folded_is_read_to_its_end_and_no_further() {
        let token = token();
        let (first, rest) = token.split_at(72);
        let (second, third) = rest.split_at(72);
        let folded = format!("\n{first}\r\n  {second}\r\n{third}\r\n");
        assert_eq!(reads(&format!("{folded}next line\n")), (token.to_string(), "next line\n".to_owned()));
        assert_eq!(reads(&token), (token.to_string(), String::new()));
    }

    #[test]
    fn what_is_no_token_ends_with_a_blank_line_or_with_all_there_is() {
        assert_eq!(reads("\nlgsp-join-1.\nabc\n\nrest\n"), ("lgsp-join-1.abc".to_owned(), "rest\n".to_owned()));
        assert_eq!(reads("abc\nd"), ("abcd".to_owned(), String::new()));
        let endless = "x".repeat(3 * 8192);
        assert_eq!(reads(&endless).0.len(), 8192);
    }
}
